"""ECS: task definitions and services; look-ups of clusters, services and task definitions."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from providers.aws.task_definitions import retag
from providers.base import (
    Context,
    Handler,
    Properties,
    ProviderError,
    completing,
    function,
    given,
    resource,
    tag_list,
    tag_map,
)


@resource
class Service(Handler):
    type = "aws:ecs/service:Service"
    properties = frozenset(
        {
            "name",
            "cluster",
            "taskDefinition",
            "launchType",
            "platformVersion",
            "networkConfiguration",
            "loadBalancers",
            "serviceRegistries",
            "healthCheckGracePeriodSeconds",
            "enableExecuteCommand",
            "enableEcsManagedTags",
            "propagateTags",
            "schedulingStrategy",
            "desiredCount",
            "deploymentMaximumPercent",
            "deploymentMinimumHealthyPercent",
            "deploymentCircuitBreaker",
            "deploymentController",
            "deploymentConfiguration",
            "alarms",
            "capacityProviderStrategies",
            "tags",
        }
    )
    replacing = frozenset({"name", "cluster", "launchType", "schedulingStrategy", "deploymentController"})
    remembered = frozenset({"triggers"})
    steering = frozenset({"waitForSteadyState", "forceNewDeployment", "forceDelete", "sigintRollback"})
    recorded_only = {"availabilityZoneRebalancing": "the emulator has one zone and stores no setting for it"}
    defaults = {
        "serviceRegistries": None,
        "loadBalancers": [],
        "enableExecuteCommand": False,
        "enableEcsManagedTags": False,
        "propagateTags": "NONE",
        "desiredCount": 0,
        "triggers": {},
        "deploymentMaximumPercent": 200,
        "deploymentMinimumHealthyPercent": 100,
        "schedulingStrategy": "REPLICA",
        "capacityProviderStrategies": [],
        "tags": {},
    }
    name_property = "name"
    unordered = frozenset({"networkConfiguration", "loadBalancers", "capacityProviderStrategies", "alarms"})
    # The circuit breaker may have put the service back by now.
    unverified = frozenset({"taskDefinition"})

    def create(self, inputs: Properties) -> str:
        controller = inputs.get("deploymentController")
        found = self.context.client("ecs").create_service(
            **given(
                serviceName=inputs["name"],
                cluster=inputs.get("cluster"),
                desiredCount=inputs.get("desiredCount", 0),
                launchType=inputs.get("launchType"),
                schedulingStrategy=inputs.get("schedulingStrategy"),
                deploymentController={"type": controller["type"]} if controller else None,
                capacityProviderStrategy=inputs.get("capacityProviderStrategies") or None,
                enableECSManagedTags=inputs.get("enableEcsManagedTags"),
                propagateTags=inputs.get("propagateTags"),
                tags=tag_list(inputs.get("tags"), "key", "value") or None,
                **_changeable(inputs, self._changeable),
            )
        )
        arn = str(found["service"]["serviceArn"])
        with completing(arn):
            self._wait(found["service"], inputs, "create")
        return arn

    _changeable = frozenset(
        {
            "taskDefinition",
            "platformVersion",
            "networkConfiguration",
            "loadBalancers",
            "serviceRegistries",
            "healthCheckGracePeriodSeconds",
            "enableExecuteCommand",
            "deploymentConfiguration",
        }
    )

    def find(self, inputs: Properties) -> str | None:
        cluster = str(inputs["cluster"]).rsplit("/", 1)[-1]
        return self._if_there(self.locate(f"{cluster}/{inputs['name']}"))

    def import_id(self, locator: str) -> str:
        return "/".join(locator.split("/")[-2:])

    def locate(self, import_id: str) -> str:
        """The provider imports a service as CLUSTER/NAME."""
        cluster, _, name = import_id.rpartition("/")
        account = self.context.account
        return (
            import_id
            if import_id.startswith("arn:")
            else f"arn:{self.context.partition}:ecs:{account.region}:{account.account}:service/{cluster}/{name}"
        )

    def read(self, locator: str) -> Properties | None:
        found = find_service(self.context, locator.split("/")[-2], locator)
        if found is None or found["status"] == "INACTIVE":
            return None
        return service_properties(self.context, found)

    def equal(self, name: str, wanted: Any, actual: Any, inputs: Properties) -> bool:
        if name == "cluster":  # Given as name or ARN.
            return str(wanted).rsplit("/", 1)[-1] == str(actual).rsplit("/", 1)[-1]
        if name == "taskDefinition" and not str(wanted).startswith("arn:"):  # Given as family or family:revision.
            return str(actual).rsplit("/", 1)[-1].startswith(str(wanted))
        return super().equal(name, wanted, actual, inputs)

    def refused(self, inputs: Properties, changed: Collection[str]) -> str:
        if "capacityProviderStrategies" in changed and not inputs.get("forceNewDeployment"):
            return "force_new_deployment should be true when capacity_provider_strategy is being updated"
        return ""

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        deployment = {
            "deploymentMaximumPercent",
            "deploymentMinimumHealthyPercent",
            "deploymentCircuitBreaker",
            "deploymentConfiguration",
            "alarms",
        }
        passed = set(changed) | ({"deploymentConfiguration"} if changed & deployment else set())
        parameters = _changeable(inputs, self._changeable & passed)
        if "desiredCount" in changed:
            parameters["desiredCount"] = inputs.get("desiredCount", 0)
        if "enableEcsManagedTags" in changed:
            parameters["enableECSManagedTags"] = inputs.get("enableEcsManagedTags", False)
        if "capacityProviderStrategies" in changed:
            parameters["capacityProviderStrategy"] = inputs.get("capacityProviderStrategies", [])
        if "propagateTags" in changed:
            parameters["propagateTags"] = inputs.get("propagateTags", "NONE")
        if inputs.get("forceNewDeployment") and changed - {"tags"}:
            parameters["forceNewDeployment"] = True
        if "tags" in changed:
            retag(self.context, locator, inputs.get("tags"))
        if parameters:
            cluster = locator.split("/")[-2]
            found = self.context.client("ecs").update_service(cluster=cluster, service=locator, **parameters)
            self._wait(found["service"], inputs, "update")

    def _wait(self, answer: dict[str, Any], inputs: Properties, doing: str) -> None:
        """Wait as the provider does, until the deployment of its own call is all that runs; only if the program asks
        for it. That ECS goes back is an error.

        answer: the service as CreateService or UpdateService answered.
        """
        if not inputs.get("waitForSteadyState"):
            return
        arn = answer["serviceArn"]
        mine = next(entry["id"] for entry in answer["deployments"] if entry["status"] == "PRIMARY")
        deadline = time.monotonic() + self.context.steady_timeout
        cluster = arn.split("/")[-2]
        while True:
            found = find_service(self.context, cluster, arn)
            if found is None or found["status"] != "ACTIVE":
                raise ProviderError(
                    f"waiting for ECS Service ({arn}) {doing}: unexpected state "
                    f"'{found['status'] if found else 'MISSING'}', wanted target 'tfSTABLE'"
                )
            # The emulator keeps failed deployments in the list for ever; on AWS they go, so they do not count here.
            live = [entry for entry in found["deployments"] if entry.get("rolloutState") != "FAILED"]
            if (
                [entry["id"] for entry in live] == [mine]
                and live[0].get("rolloutState") == "COMPLETED"
                and found["runningCount"] == found["desiredCount"]
            ):
                return
            failed = any(entry["id"] == mine for entry in found["deployments"] if entry not in live)
            if failed or time.monotonic() > deadline:
                stopped = self._stopped(cluster, found["serviceName"])
                why = (
                    # Of a first deployment there is none to go back to.
                    f"deployment failed: tasks failed to start{', rolled back' if live else ''}"
                    if failed
                    else "timeout while waiting for state to become 'tfSTABLE' "
                    f"(last state: 'tfPENDING', timeout: {self.context.steady_timeout:.0f}s)"
                )
                raise ProviderError(
                    f"waiting for ECS Service ({arn}) {doing}: {why}: {found['runningCount']} "
                    f"of {found['desiredCount']} tasks run. {self._last_stop(cluster, stopped)}"
                )
            self.context.pause(0.2 if self.context.docker else 0.02)

    def _stopped(self, cluster: str, service: str) -> list[str]:
        found = self.context.client("ecs").list_tasks(cluster=cluster, serviceName=service, desiredStatus="STOPPED")
        return list(found["taskArns"])

    def _last_stop(self, cluster: str, stopped: list[str]) -> str:
        if not stopped:
            return "No task has stopped."
        tasks = self.context.client("ecs").describe_tasks(cluster=cluster, tasks=stopped[:100])["tasks"]
        last = max(tasks, key=lambda task: str(task.get("stoppedAt", "")))
        codes = [
            f"{container['name']} exited with {container['exitCode']}"
            for container in last.get("containers", [])
            if container.get("exitCode") is not None
        ]
        return f"The last stopped task says: {'; '.join([last.get('stoppedReason', 'no reason'), *codes])}"

    def delete(self, locator: str, recorded: Properties) -> None:
        if self.read(locator) is None:
            return
        ecs = self.context.client("ecs")
        cluster = locator.split("/")[-2]
        if not recorded.get("forceDelete"):
            ecs.update_service(cluster=cluster, service=locator, desiredCount=0)
        ecs.delete_service(cluster=cluster, service=locator, force=bool(recorded.get("forceDelete")))


def _changeable(inputs: Properties, names: frozenset[str]) -> dict[str, Any]:
    network, breaker = inputs.get("networkConfiguration"), inputs.get("deploymentCircuitBreaker")
    registries = inputs.get("serviceRegistries")
    every = given(
        taskDefinition=inputs.get("taskDefinition"),
        platformVersion=inputs.get("platformVersion"),
        networkConfiguration={
            "awsvpcConfiguration": given(
                subnets=network["subnets"],
                securityGroups=network.get("securityGroups"),
                assignPublicIp="ENABLED" if network.get("assignPublicIp") else "DISABLED",
            )
        }
        if network
        else None,
        loadBalancers=[
            given(
                targetGroupArn=entry.get("targetGroupArn"),
                containerName=entry["containerName"],
                containerPort=entry["containerPort"],
                advancedConfiguration=entry.get("advancedConfiguration"),
            )
            for entry in inputs.get("loadBalancers", [])
        ],
        serviceRegistries=[
            given(
                registryArn=registries["registryArn"],
                containerName=registries.get("containerName"),
                containerPort=registries.get("containerPort"),
                port=registries.get("port"),
            )
        ]
        if registries
        else [],
        healthCheckGracePeriodSeconds=inputs.get("healthCheckGracePeriodSeconds"),
        enableExecuteCommand=inputs.get("enableExecuteCommand", False),
        deploymentConfiguration={
            **({"alarms": inputs["alarms"]} if inputs.get("alarms") else {}),
            **_strategy(inputs.get("deploymentConfiguration") or {}),
            "maximumPercent": inputs.get("deploymentMaximumPercent", 200),
            "minimumHealthyPercent": inputs.get("deploymentMinimumHealthyPercent", 100),
            "deploymentCircuitBreaker": {
                "enable": bool((breaker or {}).get("enable")),
                "rollback": bool((breaker or {}).get("rollback")),
            },
        },
    )
    return {name: value for name, value in every.items() if name in names}


# Of those members of a deployment's configuration that the provider takes as texts, the name of each -> of its inner
# ones. https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/ecs/service.go
_WAITS = {
    "canaryConfiguration": ("canaryPercent", "canaryBakeTimeInMinutes"),
    "linearConfiguration": ("stepPercent", "stepBakeTimeInMinutes"),
}


def _strategy(wanted: Properties) -> dict[str, Any]:
    """The strategy as AWS takes it: the provider has minutes as texts."""
    told: dict[str, Any] = given(strategy=wanted.get("strategy"))
    if minutes := wanted.get("bakeTimeInMinutes"):
        told["bakeTimeInMinutes"] = int(minutes)
    for name, (percent, wait) in _WAITS.items():
        if inner := wanted.get(name):
            told[name] = {percent: float(inner[percent]), wait: int(inner[wait])}
    return told


def _read_strategy(found: dict[str, Any]) -> Properties:
    """The other way round."""
    told: Properties = {"strategy": found.get("strategy", "ROLLING")}
    if told["strategy"] != "ROLLING" and "bakeTimeInMinutes" in found:
        told["bakeTimeInMinutes"] = str(found["bakeTimeInMinutes"])
    for name, (percent, wait) in _WAITS.items():
        if inner := found.get(name):
            # The engine's numbers have no .0 behind them.
            share = float(inner[percent])
            told[name] = {percent: int(share) if share.is_integer() else share, wait: str(inner[wait])}
    return told


def find_service(context: Context, cluster: str, service: str) -> dict[str, Any] | None:
    """The service (name or ARN) as ECS describes it, or None."""
    found = context.client("ecs").describe_services(cluster=cluster, services=[service], include=["TAGS"])
    return dict(found["services"][0]) if found["services"] else None


def service_properties(context: Context, found: dict[str, Any]) -> Properties:
    """ECS's description in Pulumi's terms."""
    network = found.get("networkConfiguration", {}).get("awsvpcConfiguration")
    deployment = found.get("deploymentConfiguration", {})
    tags = tag_map(found.get("tags"), "key", "value")
    registries = found.get("serviceRegistries")
    return {
        "id": found["serviceArn"],
        "arn": found["serviceArn"],
        "name": found["serviceName"],
        "cluster": found["clusterArn"],
        "taskDefinition": found["taskDefinition"],
        "desiredCount": found["desiredCount"],
        "launchType": found.get("launchType"),
        "platformVersion": found.get("platformVersion") or "LATEST",
        "networkConfiguration": {
            "subnets": network["subnets"],
            "securityGroups": network.get("securityGroups", []),
            "assignPublicIp": network.get("assignPublicIp") == "ENABLED",
        }
        if network
        else None,
        "loadBalancers": [dict(entry) for entry in found.get("loadBalancers", [])],
        "serviceRegistries": dict(registries[0]) if registries else None,
        "healthCheckGracePeriodSeconds": found.get("healthCheckGracePeriodSeconds", 0),
        "enableExecuteCommand": found.get("enableExecuteCommand", False),
        "enableEcsManagedTags": found.get("enableECSManagedTags", False),
        "propagateTags": found.get("propagateTags", "NONE"),
        "schedulingStrategy": found.get("schedulingStrategy"),
        "deploymentMaximumPercent": deployment.get("maximumPercent"),
        "deploymentMinimumHealthyPercent": deployment.get("minimumHealthyPercent"),
        "deploymentCircuitBreaker": dict(
            deployment.get("deploymentCircuitBreaker", {"enable": False, "rollback": False})
        ),
        "alarms": dict(deployment["alarms"]) if deployment.get("alarms") else None,
        "deploymentConfiguration": _read_strategy(deployment),
        "deploymentController": {"type": found.get("deploymentController", {}).get("type", "ECS")},
        "capacityProviderStrategies": found.get("capacityProviderStrategy") or [],
        "tags": tags,
        "tagsAll": tags,
    }


@function("aws:ecs/getCluster:getCluster", "clusterName")
def get_cluster(context: Context, args: Properties) -> Properties:
    found = context.client("ecs").describe_clusters(clusters=[args["clusterName"]], include=["TAGS"])["clusters"]
    if not found:
        raise ProviderError(f"reading ECS Cluster ({args['clusterName']}): couldn't find resource")
    cluster = found[0]
    return {
        "id": cluster["clusterArn"],
        "arn": cluster["clusterArn"],
        "clusterName": cluster["clusterName"],
        "status": cluster["status"],
        "runningTasksCount": cluster["runningTasksCount"],
        "pendingTasksCount": cluster["pendingTasksCount"],
        "registeredContainerInstancesCount": cluster["registeredContainerInstancesCount"],
        "settings": cluster.get("settings", []),
        "tags": tag_map(cluster.get("tags"), "key", "value"),
    }


@function("aws:ecs/getService:getService", "clusterArn", "serviceName")
def get_service(context: Context, args: Properties) -> Properties:
    found = find_service(context, args["clusterArn"], args["serviceName"])
    if found is None or found["status"] == "INACTIVE":
        raise ProviderError(
            f"reading ECS Service ({args['serviceName']}): couldn't find resource in {args['clusterArn']}"
        )
    # Only what programs ask of it; the look-up nests some of the rest differently from the resource.
    return {
        "id": found["serviceArn"],
        "arn": found["serviceArn"],
        "clusterArn": found["clusterArn"],
        "serviceName": found["serviceName"],
        "taskDefinition": found["taskDefinition"],
        "desiredCount": found["desiredCount"],
        "status": found["status"],
        "runningCount": found["runningCount"],
        "pendingCount": found["pendingCount"],
    }
