"""ECS: deployments that shift requests from one target group to another, by the weights of a listener rule."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from rehearsal.emulator_process.needs import need

MINUTE = 1.0
"""Seconds for which the emulated ECS waits a minute of a strategy."""

Groups = Callable[[dict[str, Any], dict[str, Any]], list[str]]
"""ARNs of the target groups in which a service (first) has a task (second)."""


def shift_requests(ecs: Any, alb: Any) -> Groups:
    """Let a service's `strategy` be what AWS documents for BLUE_GREEN, CANARY and LINEAR; MiniStack rolls them all.

    The tasks of a new version are registered in that one of two target groups that has no requests. Once all are
    healthy, the weights of the production listener rule change in steps, with the strategy's waits between them, of
    which a minute takes `MINUTE` here. The tasks of before stay until the bake time is over. A deployment that the
    circuit breaker or an alarm takes back gives the requests back at once. As was seen on AWS, the first deployment
    ends in the second group, too. A changed load balancer begins a deployment, as on AWS.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-blue-green.html

    ecs, alb: the modules of MiniStack.

    Goes when MiniStack's ECS knows deployment strategies.
    """
    need(
        ecs,
        "_services",
        "_tasks",
        "_ACTION_MAP",
        "_primary_deployment",
        "_deployment_for_task",
        "_complete_service_deployment",
        "_sync_service_targets",
        "_task_ip",
        "_resolve_cluster_name",
        "resource_lock",
        "request_scope",
        "spawn_background",
        "get_account_id",
        "get_region",
    )
    need(alb, "_rules", "set_targets_for_group")
    complete, sync, update = (
        ecs._complete_service_deployment,
        ecs._sync_service_targets,
        ecs._ACTION_MAP["UpdateService"],
    )

    def shifted(service: dict[str, Any]) -> dict[str, Any] | None:
        """The load balancer of a service that shifts requests, as the service has it; None: its deployments roll."""
        if (service.get("deploymentConfiguration") or {}).get("strategy", "ROLLING") == "ROLLING":
            return None
        return next((one for one in service.get("loadBalancers") or [] if one.get("advancedConfiguration")), None)

    def both(balancer: dict[str, Any]) -> tuple[str, str]:
        return balancer["targetGroupArn"], balancer["advancedConfiguration"]["alternateTargetGroupArn"]

    def serving(service: dict[str, Any]) -> str:
        """The target group that has the requests."""
        balancer = shifted(service)
        if balancer is None:
            return next((one["targetGroupArn"] for one in service.get("loadBalancers") or []), "")
        rule = alb._rules.get(balancer["advancedConfiguration"]["productionListenerRule"]) or {"Actions": []}
        found = [
            group for action in rule["Actions"] for group in action.get("ForwardConfig", {}).get("TargetGroups", [])
        ]
        weights = {group["TargetGroupArn"]: group["Weight"] for group in found}
        return max(both(balancer), key=lambda arn: weights.get(arn, 0))

    def weigh(balancer: dict[str, Any], new: str, percent: float) -> None:
        """Give `percent` of the requests to one target group, and the rest to the other."""
        share = max(1, round(percent))
        groups = [{"TargetGroupArn": arn, "Weight": share if arn == new else 100 - share} for arn in both(balancer)]
        rule = alb._rules[balancer["advancedConfiguration"]["productionListenerRule"]]
        rule["Actions"] = [{"Type": "forward", "Order": 1, "ForwardConfig": {"TargetGroups": groups}}]

    def group_of(service: dict[str, Any], deployment: dict[str, Any]) -> str:
        """The target group of a deployment's tasks: of a new one the one that has no requests."""
        if "_targetGroup" not in deployment:
            balancer, taken = shifted(service), serving(service)
            assert balancer
            deployment["_targetGroup"] = next(arn for arn in both(balancer) if arn != taken)
        return str(deployment["_targetGroup"])

    def groups_of(service: dict[str, Any], task: dict[str, Any]) -> list[str]:
        if shifted(service) is None:
            return [one["targetGroupArn"] for one in service.get("loadBalancers") or [] if one.get("targetGroupArn")]
        deployment = ecs._deployment_for_task(service, task)
        return [group_of(service, deployment)] if deployment else []

    def sync_by_version(cluster: str, service: dict[str, Any]) -> None:
        balancer = shifted(service)
        if balancer is None:
            sync(cluster, service)
            return
        addresses: dict[str, list[tuple[str, int]]] = {arn: [] for arn in both(balancer)}
        for task in list(ecs._tasks.values()) if service.get("status") == "ACTIVE" else []:
            mine = task.get("group") == f"service:{service['serviceName']}"
            if mine and task.get("clusterArn") == service["clusterArn"] and task.get("lastStatus") == "RUNNING":
                deployment, address = ecs._deployment_for_task(service, task), ecs._task_ip(task)
                # Of a deployment that another one overtook, nobody is sent to its tasks any more.
                overtaken = (
                    deployment and deployment["status"] != "PRIMARY" and deployment["rolloutState"] == "IN_PROGRESS"
                )
                if deployment and address and not overtaken:
                    addresses[group_of(service, deployment)].append((address, balancer["containerPort"]))
        ledger = service.setdefault("_published_targets", {})
        for arn, targets in addresses.items():
            with ecs.resource_lock("elbv2-targets", arn):
                alb.set_targets_for_group(arn, targets, ledger.get(arn, ()))
                ledger[arn] = [address for address, _ in targets]

    def update_and_remember(request: dict[str, Any]) -> Any:
        cluster = ecs._resolve_cluster_name(request.get("cluster", "default"))
        service = ecs._services.get(f"{cluster}/{request['service'].rsplit('/', 1)[-1]}")
        if service:
            for deployment in service["deployments"]:
                if deployment["rolloutState"] == "COMPLETED":
                    deployment.setdefault("_targetGroup", serving(service))
                    deployment["_shifted"] = True
            if "loadBalancers" in request and request["loadBalancers"] != service["loadBalancers"]:
                request = request | {"forceNewDeployment": True}
        return update(request)

    def ready(service: dict[str, Any], deployment: dict[str, Any]) -> bool:
        """Whether all tasks of a deployment are there and healthy."""
        stable = [
            task
            for task in list(ecs._tasks.values())
            if task.get("_deployment_id") == deployment["id"]
            and task.get("lastStatus") == "RUNNING"
            and task.get("_startup_stable", False)
        ]
        return len(stable) >= int(service.get("desiredCount", 0))

    def complete_once_shifted(cluster: str, key: str, expected_deployment_id: str | None = None) -> None:
        service = ecs._services.get(key)
        primary = ecs._primary_deployment(service) if service else None
        balancer = shifted(service) if service else None
        if not service or not primary or not balancer or primary.get("rolloutState") != "IN_PROGRESS":
            complete(cluster, key, expected_deployment_id)
        elif expected_deployment_id in (None, primary["id"]) and ready(service, primary):
            if primary.get("_shifted"):  # By a deployment of before: this one was gone back to.
                if serving(service) != group_of(service, primary):
                    weigh(balancer, group_of(service, primary), 100)
                complete(cluster, key, expected_deployment_id)
            elif not primary.get("_shifting"):
                primary["_shifting"] = True
                place = cluster, key, primary["id"], ecs.get_account_id(), ecs.get_region()
                ecs.spawn_background(lambda: shift(*place), thread_name=f"rehearsal-shift-{key.rsplit('/', 1)[-1][:8]}")

    def shift(cluster: str, key: str, deployment_id: str, account: str, region: str) -> None:
        with ecs.request_scope(account, region):
            service = ecs._services.get(key) or {"deployments": []}
            deployment = next((one for one in service["deployments"] if one["id"] == deployment_id), None)
            balancer = shifted(service)
            if not deployment or not balancer:
                return

            def goes_on() -> bool:
                return (deployment["status"], deployment["rolloutState"]) == ("PRIMARY", "IN_PROGRESS")

            before = [one for one in service["deployments"] if one.get("_shifted")]
            for percent, minutes in _steps(service["deploymentConfiguration"], first=not before):
                if goes_on():
                    weigh(balancer, group_of(service, deployment), percent)
                    deployment["_stage"] = "PRODUCTION_TRAFFIC_SHIFT" if percent < 100 else "BAKE_TIME"
                    until = time.monotonic() + minutes * MINUTE
                    while goes_on() and time.monotonic() < until:
                        time.sleep(0.05)
            if goes_on():
                deployment |= {"_shifted": True, "_stage": "CLEAN_UP"}
                ecs._complete_service_deployment(cluster, key, deployment_id)
            elif before:
                weigh(balancer, group_of(service, before[0]), 100)

    ecs._complete_service_deployment, ecs._sync_service_targets = complete_once_shifted, sync_by_version
    ecs._ACTION_MAP["UpdateService"] = update_and_remember
    return groups_of


def _steps(configuration: dict[str, Any], *, first: bool) -> Iterator[tuple[float, float]]:
    """Percent of the requests that the new tasks have, and the minutes until there are more, or until the end. A first
    deployment has nothing to shift from."""
    strategy = configuration["strategy"]
    if strategy == "CANARY" and not first:
        canary = configuration["canaryConfiguration"]
        yield canary["canaryPercent"], canary["canaryBakeTimeInMinutes"]
    if strategy == "LINEAR" and not first:
        linear = configuration["linearConfiguration"]
        percent = linear["stepPercent"]
        while percent < 100:
            yield percent, linear["stepBakeTimeInMinutes"]
            percent += linear["stepPercent"]
    yield 100, 0 if first else configuration.get("bakeTimeInMinutes", 0)
