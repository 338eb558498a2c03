# mypy: disable-error-code="import-not-found"
"""ECS: deployments that wait for health as on AWS, and what their containers are given."""

import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from rehearsal.emulator_process.needs import need
from rehearsal.emulator_process.traffic_shift import Groups

HEALTH_LIMIT = 60.0
"""Seconds in which a task's targets must become healthy; the edge asks more often than configured, so this is ample."""

LEARNING_LIMIT = 30.0
"""Seconds in which the edge must have learnt that a target was deregistered; it takes less than one."""

LATENESS = 0.5
"""Seconds for which DescribeServices shows the deployments of before UpdateService; on AWS there is no telling."""


def roll_out_by_target_health(ecs: Any, alb: Any, note: Path, groups_of: Groups) -> None:
    """Make ECS wait for target health, and let a target drain before its task is stopped, as AWS does.

    MiniStack counts a task as healthy one second after its container has started, and takes the container of a task
    that it replaces away at once. AWS counts it once its targets are healthy (a deployment's tasks that become
    unhealthy are failures), and deregisters a target, and waits until its last answer has ended, for as long as the
    group's deregistration delay says, before it stops the task. To have room for a third version, it stops one that
    never became healthy.

    ecs, alb: the modules of MiniStack. note: file with the address at which the edge says the health of its targets;
    while there is none (no load balancer), MiniStack's own way stands. groups_of: says a task's target groups.

    Goes when MiniStack asks the targets of its load balancers for their health itself, and ECS waits for it and drains.
    """
    need(
        ecs,
        "_record_service_task_healthy",
        "_stop_task",
        "_fail_task_start",
        "_sync_service_targets",
        "_task_ip",
        "_ACTION_MAP",
        "_primary_deployment",
        "_tasks",
    )
    need(alb, "_tgs", "_tg_attrs")
    count_as_healthy, stop = ecs._record_service_task_healthy, ecs._stop_task

    def targets(groups: list[str], ip: str) -> list[dict[str, Any]]:
        """What the edge says of the task's targets."""
        health = json.load(urllib.request.urlopen(note.read_text(), timeout=5))  # noqa: S310
        names = [alb._tgs[arn]["TargetGroupName"] for arn in groups if arn in alb._tgs]
        return [
            next((target for target in health.get(name, []) if target["target"] == ip), {"state": "unused"})
            for name in names
        ]

    def unhealthy(groups: list[str], ip: str) -> str:
        """What the edge says of the task's targets that are not healthy; empty when all are."""
        return ", ".join(
            f"{state['state']}: {state.get('description') or 'not yet asked'}"
            for state in targets(groups, ip)
            if state["state"] != "healthy"
        )

    def drain(groups: list[str], ip: str) -> None:
        """Wait until the targets, deregistered already, have answered what was under way; or are out of time."""
        attributes = [entry for arn in groups for entry in alb._tg_attrs.get(arn, [])]
        delays = [int(e["Value"]) for e in attributes if e["Key"] == "deregistration_delay.timeout_seconds"]

        def while_any(*states: str, seconds: float) -> None:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and any(one["state"] in states for one in targets(groups, ip)):
                time.sleep(0.1)

        with contextlib.suppress(OSError):  # The edge is gone, and with it whoever asked.
            while_any("initial", "healthy", "unhealthy", seconds=LEARNING_LIMIT)
            while_any("draining", seconds=max(delays, default=0))

    def record_when_healthy(service_key: str, task: dict[str, Any]) -> None:
        service = ecs._services.get(service_key) or {}
        groups = groups_of(service, task) if service else []
        deadline = time.monotonic() + HEALTH_LIMIT
        while groups and note.exists():
            if not ecs._task_is_active(task["taskArn"], task):
                return
            seen = unhealthy(groups, ecs._task_ip(task))
            if not seen:
                break
            if time.monotonic() > deadline:
                reason = f"Task failed ELB health checks ({seen})"
                ecs._fail_task_start(task, ecs._get_docker(), reason)
                return
            time.sleep(0.1)
        count_as_healthy(service_key, task)

    def least(service: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
        """A task of an older version that never became healthy, in place of one that may answer."""
        newest = (ecs._primary_deployment(service) or {}).get("id")
        return next(
            (
                one
                for one in list(ecs._tasks.values())
                if (one.get("group"), one.get("lastStatus")) == (task["group"], "RUNNING")
                and not one.get("_startup_stable")
                and one.get("_deployment_id") != newest
            ),
            task,
        )

    def stop_after_draining(request: dict[str, Any]) -> Any:
        cluster = ecs._resolve_cluster_name(request.get("cluster", "default"))
        task = ecs._resolve_task(request.get("task", ""), cluster) if cluster else None
        service = ecs._services.get(f"{cluster}/{(task or {}).get('group', '').removeprefix('service:')}")
        if task and service and request.get("reason") == "Deployment capacity limit":
            # Room for a new version: MiniStack takes the oldest task, which may be the only one that answers.
            task = least(service, task)
            request = request | {"task": task["taskArn"]}
        if note.exists() and task and service and service.get("loadBalancers") and task.get("lastStatus") == "RUNNING":
            ip = ecs._task_ip(task)
            # A task without an address is no target.
            task["attachments"] = []
            task["_container_ip"] = None
            ecs._sync_service_targets(cluster, service)
            drain(groups_of(service, task), ip)
        return stop(request)

    ecs._record_service_task_healthy = record_when_healthy
    ecs._stop_task = stop_after_draining
    ecs._ACTION_MAP["StopTask"] = stop_after_draining


def add_to_containers(ecs: Any, additions: dict[str, Any]) -> None:
    """Give containers that have a certain variable others, volumes and host names that no task definition knows of.

    additions: {"having": name, "environment": {name: value}, "volumes": ["SOURCE:TARGET:ro"], "hosts": {name:
    address}}; empty: nobody gets anything.

    Goes when the server's image can be given a proxy and an authority for Google by its task definition.
    """
    need(ecs, "_build_run_kwargs")
    build = ecs._build_run_kwargs

    def build_with_additions(container: Any, task_definition: Any, environment: Any, *others: Any) -> Any:
        # Not by family: a service may be added to a rehearsal that is kept.
        added = additions if additions.get("having") in environment else {}
        arguments = build(container, task_definition, {**environment, **added.get("environment", {})}, *others)
        volumes = [*arguments.get("volumes", ()), *added.get("volumes", ())]
        hosts = {**(arguments.get("extra_hosts") or {}), **added.get("hosts", {})}
        return arguments | ({"volumes": volumes} if volumes else {}) | ({"extra_hosts": hosts} if hosts else {})

    ecs._build_run_kwargs = build_with_additions


def update_whole_service(ecs: Any) -> None:
    """Let UpdateService change a service's registries and tagging too, and leave what a deploymentConfiguration does
    not name, as AWS does; MiniStack ignores the first and forgets the second.

    Goes when MiniStack's UpdateService keeps what it is not given and takes registries and tagging.
    """
    update = ecs._update_service

    def update_all(request: dict[str, Any]) -> Any:
        cluster = ecs._resolve_cluster_name(request.get("cluster", "default"))
        service = ecs._services.get(f"{cluster}/{request['service'].rsplit('/', 1)[-1]}")
        if service and "deploymentConfiguration" in request:
            kept = service["deploymentConfiguration"]
            request = request | {"deploymentConfiguration": kept | request["deploymentConfiguration"]}
        answer = update(request)
        for name in ("serviceRegistries", "enableECSManagedTags", "propagateTags"):
            if service and name in request:
                service[name] = request[name]
        return answer

    ecs._ACTION_MAP["UpdateService"] = update_all


def describe_services_late(ecs: Any) -> None:
    """Let DescribeServices show, for a moment after UpdateService began a deployment, the deployments of before it, as
    AWS may: who looks for the end of one must not take the one before for it.

    Stays: it is AWS's eventual consistency, which MiniStack does not have.
    """
    from ministack.core.responses import json_response

    update, describe = ecs._ACTION_MAP["UpdateService"], ecs._ACTION_MAP["DescribeServices"]
    before: dict[str, tuple[float, list[dict[str, Any]]]] = {}

    def described(request: dict[str, Any]) -> list[dict[str, Any]]:
        services: list[dict[str, Any]] = json.loads(describe(request)[2]).get("services", [])
        return services

    def update_and_note(request: dict[str, Any]) -> Any:
        place = {"cluster": request.get("cluster", "default"), "services": [request["service"]]}
        known = described(place)
        answer = update(request)
        for old, new in zip(known, described(place), strict=False):
            if {entry["id"] for entry in old["deployments"]} != {entry["id"] for entry in new["deployments"]}:
                before[old["serviceArn"]] = time.monotonic() + LATENESS, old["deployments"]
        return answer

    def describe_late(request: dict[str, Any]) -> Any:
        answer = describe(request)
        document = json.loads(answer[2])
        for service in document.get("services", []):
            until, deployments = before.get(service["serviceArn"], (0.0, []))
            if time.monotonic() < until:
                service["deployments"] = deployments
        return json_response(document, answer[0])

    ecs._ACTION_MAP |= {"UpdateService": update_and_note, "DescribeServices": describe_late}


def one_step_at_a_time(ecs: Any) -> None:
    """Let the steps of ECS's scheduler follow each other, which are threads in MiniStack: one that starts and stops
    tasks by what the deployment was before another one failed it stops those that are gone back to, for good.

    Goes when MiniStack holds a lock over the steps of a service's deployment.
    """
    lock = threading.RLock()  # Steps take others.

    def locked(step: Callable[..., Any]) -> Callable[..., Any]:
        def take(*arguments: Any, **named: Any) -> Any:
            with lock:
                return step(*arguments, **named)

        return take

    steps = (
        "_update_service",
        "_reconcile_service_tasks",
        "_record_service_task_failure",
        "_complete_service_deployment",
    )
    need(ecs, *steps)
    for name in steps:
        setattr(ecs, name, locked(getattr(ecs, name)))


def begin_first_deployments(ecs: Any) -> None:
    """Let a service's first deployment be IN_PROGRESS until its tasks are healthy, and fail by the circuit breaker, as
    every later one and on AWS; MiniStack calls it COMPLETED from the start.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html

    Goes when MiniStack's CreateService begins a deployment IN_PROGRESS.
    """
    need(ecs, "_make_deployment")
    make = ecs._make_deployment

    def make_begun(*arguments: Any, **named: Any) -> Any:
        return make(*arguments, **named) | {"rolloutState": "IN_PROGRESS", "rolloutStateReason": ""}

    ecs._make_deployment = make_begun


def tell_milliseconds(ecs: Any) -> None:
    """Tell ECS's times with milliseconds, as AWS does; MiniStack cuts them to seconds. The provider takes a deployment
    that began before its own call for an older one, and so could call a first deployment stable that is not.

    Goes when MiniStack's ECS answers with fractions of a second.
    """
    need(ecs, "_ts_to_epoch")
    ecs._ts_to_epoch = lambda value: datetime.fromisoformat(value).timestamp() if isinstance(value, str) else value


def give_credentials_to_tasks(ecs: Any) -> None:
    """Give tasks credentials and a region in their environment. MiniStack names an address for credentials that AWS's
    libraries refuse, as it is neither loopback nor link-local, and no region, which Fargate does.

    Goes when MiniStack serves credentials to tasks at 169.254.170.2, and sets AWS_REGION.
    """
    need(ecs, "_register_metadata", "get_account_id", "get_region")
    register = ecs._register_metadata

    def with_credentials(task_arn: str, cluster: str, td: Any, cdef: Any, launch: str, env: Any, *place: Any) -> Any:
        token = register(task_arn, cluster, td, cdef, launch, env, *place)
        for name in ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"):
            env.pop(name, None)
        env |= {
            "AWS_ACCESS_KEY_ID": ecs.get_account_id(),
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_REGION": ecs.get_region(),
        }
        return token

    ecs._register_metadata = with_credentials


def tell_service_deployments(ecs: Any) -> None:
    """Answer ListServiceDeployments, DescribeServiceDeployments and DescribeServiceRevisions from the services' own
    deployments, newest first, as AWS does and the provider waits for; MiniStack always says there are none.

    Goes when MiniStack answers ListServiceDeployments from the deployments that it has.
    """
    need(ecs, "_services", "_ACTION_MAP")
    from ministack.core.responses import json_response

    states = {"COMPLETED": "SUCCESSFUL", "IN_PROGRESS": "IN_PROGRESS", "FAILED": "ROLLBACK_SUCCESSFUL"}

    def known() -> list[dict[str, Any]]:
        found = []
        for service in ecs._services.values():
            newest_first = sorted(service.get("deployments", []), key=lambda one: one["createdAt"], reverse=True)
            for deployment in newest_first:
                place = f"{service['serviceArn'].partition(':service/')[2]}/{deployment['id'].rpartition('/')[2]}"
                start = service["serviceArn"].partition(":service/")[0]
                found.append(
                    {
                        "serviceDeploymentArn": f"{start}:service-deployment/{place}",
                        "targetServiceRevisionArn": f"{start}:service-revision/{place}",
                        "serviceArn": service["serviceArn"],
                        "clusterArn": service["clusterArn"],
                        "createdAt": deployment["createdAt"],
                        "taskDefinition": deployment["taskDefinition"],
                        "status": states[deployment["rolloutState"]],
                        "statusReason": deployment.get("rolloutStateReason") or "",
                        "lifecycleStage": deployment.get("_stage", "SCALE_UP"),
                        "alarms": {"triggeredAlarmNames": deployment.get("triggeredAlarmNames", [])},
                    }
                )
        return found

    def listed(request: Any) -> Any:
        name, states = request["service"].rpartition("/")[2], request.get("status")
        mine = [one for one in known() if one["serviceArn"].rpartition("/")[2] == name]
        asked = [one for one in mine if not states or one["status"] in states]
        return json_response({"serviceDeployments": asked[: request.get("maxResults", 100)]})

    def described(request: Any) -> Any:
        wanted = request["serviceDeploymentArns"]
        return json_response({"serviceDeployments": [one for one in known() if one["serviceDeploymentArn"] in wanted]})

    def described_revisions(request: Any) -> Any:
        wanted = request["serviceRevisionArns"]
        found = [
            {**one, "serviceRevisionArn": one["targetServiceRevisionArn"]}
            for one in known()
            if one["targetServiceRevisionArn"] in wanted
        ]
        return json_response({"serviceRevisions": found})

    ecs._ACTION_MAP |= {
        "ListServiceDeployments": listed,
        "DescribeServiceDeployments": described,
        "DescribeServiceRevisions": described_revisions,
    }
