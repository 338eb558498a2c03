"""The rollout of a service: that ECS begins it, that it ends well, and why it did not.

The provider does not wait for it (`waitForSteadyState` is off). It would judge by what its own call began: a deployment
that failed in an earlier run it does not begin again, and of one that ECS rolled back it says no more than that.
`deployed` waits in the program instead, in one place for every way in which a deployment can end, and judges the
service's PRIMARY deployment. What passes is remembered in a parameter, as what there is to go back to.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import pulumi
import pulumi_aws as aws
from botocore.exceptions import BotoCoreError, ClientError

from components import account, deployment_alarms
from components.settings import Deployment

REMEMBERED = 10
"""Healthy revisions that are remembered, and whose images are kept from expiry."""

LIMIT = 20 * 60.0
"""Seconds that a rollout may take, beside what its strategy waits: as long as the provider waits."""

_PAUSES = (0.2, 5.0)
"""Seconds between two questions: the first time, and at most."""

_LOG_LINES = 15
_STOPPED_TASKS = 3
_EVENTS = 3


def limit(deployment: Deployment) -> float:
    """Seconds that a rollout may take in all."""
    return LIMIT + deployment.minutes * 60


class NotRolledOut(pulumi.RunError):
    """ECS does not run what was deployed; the message says what runs instead and why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HealthyRevision:
    """A revision of the task definition that became healthy."""

    revision: str
    """`family:number`."""
    digest: str
    """`sha256:...` of its image."""
    tag: str | None
    """The image's tag, if it was built by a deployment of ours."""
    rejected: bool = False
    """Whether somebody went back from it: healthy, but wrong."""


def healthy_parameter(prefix: str, key: str) -> str:
    """Name of the parameter that holds a service's healthy revisions. `prefix`: `Settings.parameter_prefix`."""
    return f"{prefix}/healthy/{key}"


def parse(text: str) -> tuple[HealthyRevision, ...]:
    """The parameter's value: a JSON list, newest first."""
    return tuple(HealthyRevision(**entry) for entry in json.loads(text))


def remembering(known: Sequence[HealthyRevision], task_definition: str, image: str, tag: str | None) -> str:
    """The parameter's value once `task_definition` (ARN) with `image` (`...@sha256:...`) has become healthy."""
    revision, digest = task_definition.rsplit("/", 1)[-1], image.partition("@")[2]
    # A finished image has no tag here; it has the one that it was built under.
    tag = tag or next((entry.tag for entry in known if entry.digest == digest), None)
    newest = HealthyRevision(revision=revision, digest=digest, tag=tag)
    entries = [newest, *(entry for entry in known if entry.revision != revision)]
    return json.dumps([dataclasses.asdict(entry) for entry in entries[:REMEMBERED]])


def deployed(
    service: aws.ecs.Service,
    task_definition: pulumi.Output[str],
    log_group: pulumi.Output[str],
    healthy: Sequence[HealthyRevision],
    limit: float = LIMIT,
) -> pulumi.Output[str]:
    """The task definition's ARN, once healthy tasks of it are all that `service` wants. Fails with `NotRolledOut`.

    Nothing is asked at a preview. `healthy`: what is remembered of earlier deployments. limit: seconds that it may
    take.
    """
    if pulumi.runtime.is_dry_run():
        return task_definition
    known = frozenset(entry.revision for entry in healthy)

    def progress(text: str) -> None:
        pulumi.log.info(text, resource=service, ephemeral=True)

    return pulumi.Output.all(
        wanted=task_definition, cluster=service.cluster, service=service.name, log_group=log_group
    ).apply(lambda facts: reach(account.client, **facts, healthy=known, progress=progress, limit=limit))


async def reach(
    client: Callable[[str], Any],
    *,
    wanted: str,
    cluster: str,
    service: str,
    log_group: str,
    healthy: frozenset[str] = frozenset(),
    progress: Callable[[str], None] = lambda _text: None,
    limit: float = LIMIT,
) -> str:
    """`wanted`, a task definition's ARN, once healthy tasks of it are all that the service wants.

    client: gives a boto3 client by service name. healthy: revisions that are remembered. limit: seconds that it may
    take. Raises `NotRolledOut`.
    """
    try:
        ecs = client("ecs")
        begun = await asyncio.to_thread(_begin, ecs, cluster, service, wanted, healthy)
        seen = await follow(ecs, cluster, service, wanted, begun, progress=progress, limit=limit)
    except (BotoCoreError, ClientError) as error:
        raise NotRolledOut(
            f"Whether {service} runs {short(wanted)} could not be asked: {error}\n"
            "  do       mend that, and run pulumi up again; what ECS has begun goes on meanwhile: ./ops status"
        ) from None
    if seen.healthy and seen.task_definition == wanted:
        return wanted
    given_up = bool(seen.instead) or seen.state == "FAILED"
    lines = await asyncio.to_thread(lambda: list(why(client, cluster, service, wanted, log_group, given_up=given_up)))
    raise NotRolledOut("\n".join([_what_is(service, wanted, seen, limit), *lines, *_what_to_do(wanted, seen)]))


def short(task_definition: str) -> str:
    """`family:number` of an ARN."""
    return task_definition.rsplit("/", 1)[-1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Primary:
    """A service's PRIMARY deployment, as ECS describes it. Of a service that is gone all is empty."""

    id: str = ""
    """`ecs-svc/...`"""
    task_definition: str = ""
    """ARN of what it rolls out."""
    state: Literal["COMPLETED", "FAILED", "IN_PROGRESS", "GONE"] = "GONE"
    """ECS's rolloutState. FAILED: ECS gave it up, and had nothing to go back to."""
    reason: str = ""
    """ECS's words for that."""
    running: int = 0
    """Tasks of it that run."""
    wanted: int = 0
    """Tasks of it that should."""
    leaving: int = 0
    """Tasks of earlier deployments that still run."""
    instead: str = ""
    """Of the deployment that it took the place of, ECS's words for why it gave that up; empty: it says nothing."""

    @property
    def healthy(self) -> bool:
        """Whether it is complete, and all its tasks run."""
        return self.state == "COMPLETED" and self.running >= self.wanted

    def __str__(self) -> str:
        leaving = f", {self.leaving} of before" if self.leaving else ""
        return f"{short(self.task_definition)} {self.state}, {self.running} of {self.wanted} tasks{leaving}"


def primary(described: Mapping[str, Any]) -> Primary:
    """The PRIMARY deployment of a service as boto3 describes it."""
    found = next((entry for entry in described.get("deployments", []) if entry["status"] == "PRIMARY"), None)
    if found is None or described.get("status", "ACTIVE") != "ACTIVE":
        return Primary()
    return Primary(
        id=found["id"],
        task_definition=found["taskDefinition"],
        state=found.get("rolloutState", "IN_PROGRESS"),
        reason=found.get("rolloutStateReason", ""),
        running=found["runningCount"],
        wanted=found["desiredCount"],
        leaving=sum(entry["runningCount"] for entry in described["deployments"] if entry is not found),
    )


def under_way(described: Mapping[str, Any]) -> bool:
    """Whether a deployment of a service, as boto3 describes it, is in progress.

    The service may have its task definition before it shows the deployment.
    """
    seen = primary(described)
    return seen.state == "IN_PROGRESS" or seen.task_definition != described["taskDefinition"]


def _begin(ecs: Any, cluster: str, service: str, wanted: str, healthy: frozenset[str]) -> dict[str, Any]:
    """The service with a deployment of `wanted`, which is begun anew where an earlier run's failed. What ECS is about,
    such as going back, is left to come to its end.

    Asked by UpdateService without a change: it begins nothing, and says what is. DescribeServices may for some seconds
    show what was before the provider's own update.
    """
    place = {"cluster": cluster, "service": service}
    found: dict[str, Any] = ecs.update_service(**place)["service"]
    seen = primary(found)
    if seen.state == "IN_PROGRESS" or (seen.task_definition == wanted and seen.state != "FAILED"):
        return found
    if seen.task_definition != wanted and short(wanted) in healthy:
        # The state has it, so the provider began nothing; and it did not fail, so somebody went back from it.
        raise NotRolledOut(
            f"{service} runs {short(seen.task_definition)}, not {short(wanted)}, which was healthy before: somebody "
            "went back from it, or deployed by other means. Nothing was begun.\n"
            f"  do       to have {short(wanted)} again: ./ops rollback {short(wanted)}\n"
            f"           to stay: ./ops rollback {short(seen.task_definition)} keeps its image in the stack's file; "
            "put back a setting there too if it differs"
        )
    # The state has a deployment that failed too, so the provider finds nothing to change.
    again = seen.task_definition == wanted
    return dict(ecs.update_service(**place, taskDefinition=wanted, forceNewDeployment=again)["service"])


async def follow(
    ecs: Any,
    cluster: str,
    service: str,
    wanted: str,
    begun: Mapping[str, Any],
    *,
    progress: Callable[[str], None] = lambda _text: None,
    limit: float = LIMIT,
) -> Primary:
    """The PRIMARY deployment once it has come to its end, whichever it is by then; or as it is after `limit` seconds.

    wanted: the task definition's ARN. begun: the service as UpdateService answered; what DescribeServices shows of
    before it is passed over.
    progress: told how far it is, whenever that changes. Raises boto3's errors.
    """
    deadline, (pause, longest), reported = time.monotonic() + limit, _PAUSES, ""
    first, before = primary(begun).id, {entry["id"] for entry in begun["deployments"]}
    described, caught_up, given_up = begun, False, ""
    while True:
        seen = primary(described)
        deployments = {entry["id"]: entry for entry in described.get("deployments", [])}
        caught_up = caught_up or (described is not begun and (first in deployments or not deployments.keys() <= before))
        current = caught_up or described is begun
        if current and seen.task_definition != wanted:
            given_up = _given_up(seen, wanted, deployments.values()) or given_up
        ended = (seen.healthy and not seen.leaving) or seen.state in ("FAILED", "GONE")
        if (ended and current) or time.monotonic() > deadline:
            return dataclasses.replace(seen, instead=given_up)
        if str(seen) != reported:
            progress(str(seen))
        reported = str(seen)
        await asyncio.sleep(pause)
        pause = min(longest, pause * 1.5)
        answer = await asyncio.to_thread(ecs.describe_services, cluster=cluster, services=[service])
        described = next(iter(answer["services"]), {})


def _given_up(seen: Primary, wanted: str, deployments: Iterable[Mapping[str, Any]]) -> str:
    """ECS's words for why it gave up the newest deployment of `wanted`, if it says that it did."""
    mine = [entry for entry in deployments if entry["taskDefinition"] == wanted]
    newest = max(mine, key=lambda entry: str(entry["createdAt"]), default={})
    if newest.get("rolloutState") == "FAILED":
        return str(newest.get("rolloutStateReason") or "it failed")
    return seen.reason if "rolling back" in seen.reason.lower() or "rollback" in seen.reason.lower() else ""


def _what_is(service: str, wanted: str, seen: Primary, limit: float) -> str:
    name, running = short(wanted), short(seen.task_definition)
    because = f": {seen.reason.rstrip('.')}" if seen.reason else ""
    if seen.state == "GONE":
        return f"{service} is gone, so {name} does not run: somebody deleted it."
    if seen.task_definition != wanted:
        why_not = f"ECS rolled the deployment back: {seen.instead.rstrip('.')}" if seen.instead else _SOMEBODY_ELSE
        return f"{service} runs {running}, not {name}: {why_not}.\n  now      {seen}{because}"
    if seen.state == "FAILED":
        return f"{name} did not become healthy, and {service} has nothing to go back to{because}.\n  now      {seen}"
    return f"{name} is not healthy after {limit / 60:.0f} minutes; ECS goes on.\n  now      {seen}{because}"


_SOMEBODY_ELSE = "another deployment took its place, which somebody else began"


def _what_to_do(wanted: str, seen: Primary) -> Iterator[str]:
    running = short(seen.task_definition)
    if seen.state == "GONE":
        yield "  do       pulumi up --refresh makes it again"
    elif seen.task_definition != wanted and seen.state != "FAILED":
        yield f"  do       mend the cause and run pulumi up again; {running} serves meanwhile. More: ./ops status"
        yield f"           to stay on it: ./ops rollback {running}"
    elif seen.state == "FAILED":
        yield "  do       mend the cause and run pulumi up again; nothing serves meanwhile. More: ./ops status"
    else:
        yield "  do       ./ops status shows how far it is; pulumi up waits for it again"


def why(
    client: Callable[[str], Any],
    cluster: str,
    service: str,
    task_definition: str,
    log_group: str,
    *,
    given_up: bool = True,
) -> Iterator[str]:
    """Lines that say why `task_definition` (ARN) was not kept: the alarms that took it back, or else why its tasks
    stopped: ECS's reasons and exit codes; and their last log lines. Where none was started, the service's last events.

    `client` gives a boto3 client by service name. given_up: whether ECS gave its deployment up, the last one that it
    did. What cannot be asked is said so; nothing is raised.
    """
    lines = list(_evidence(client, cluster, service, task_definition, log_group, given_up=given_up))
    yield from lines
    for words, hint in _MEANINGS.items():
        if any(words in line for line in lines):
            yield f"  hint     {words}: {hint}"


def _evidence(
    client: Callable[[str], Any], cluster: str, service: str, task_definition: str, log_group: str, *, given_up: bool
) -> Iterator[str]:
    try:
        tasks = _stopped(client("ecs"), cluster, task_definition)
        described = client("ecs").describe_services(cluster=cluster, services=[service])["services"]
        alarms = deployment_alarms.triggered(client, cluster, service) if given_up else {}
    except (BotoCoreError, ClientError) as error:
        yield f"  stopped  could not be asked: {error}"
        return
    for name, meaning in alarms.items():
        yield f"  alarm    {name} went off: {meaning}"
    if alarms:
        # ECS itself stopped its tasks, so their exit codes mean nothing.
        yield from _last_log_lines(client, tasks, log_group)
        return
    if not tasks:
        yield "  stopped  ECS lists no stopped task of it (it forgets them after an hour)"
        # Want of capacity or a quota stops no task: none is started, and only the events say so.
        for event in [event for found in described for event in found.get("events", [])][:_EVENTS]:
            yield f"  event    {event['message']}"
    for task in tasks[:_STOPPED_TASKS]:
        name = task["taskArn"].rsplit("/", 1)[-1]
        yield f"  stopped  task {name}: {task.get('stoppedReason') or 'no reason given'}"
        for container in task["containers"]:
            outcome = f"exit code {container['exitCode']}" if "exitCode" in container else "no exit code"
            reason = f" - {container['reason']}" if container.get("reason") else ""
            yield f"           {container['name']}: {outcome}{reason}"
            if hint := _HINTS.get(container.get("exitCode", -1)):
                yield f"           {hint}"
    yield from _last_log_lines(client, tasks, log_group)


def _last_log_lines(client: Callable[[str], Any], tasks: Sequence[Any], log_group: str) -> Iterator[str]:
    """Those of the first of `tasks`."""
    for task in tasks[:1]:
        for container in task["containers"]:
            stream = f"ecs/{container['name']}/{task['taskArn'].rsplit('/', 1)[-1]}"
            yield from _log_lines(client("logs"), log_group, stream)


_HINTS = {
    0: "exit code 0 at once: the server ended by itself; is its transport set (streamable-http)?",
    137: "exit code 137: killed, most often for want of memory",
    139: "exit code 139: crashed",
}
"""What an exit code most often means."""

_MEANINGS = {
    "exec format error": "the image is for another processor; see image.platform",
    "i/o timeout": "nothing answers from the tasks' subnets, most often for want of a way out: ./ops preflight",
}
"""What words of ECS or of the log most often mean."""


def _stopped(ecs: Any, cluster: str, task_definition: str) -> list[Any]:
    family = task_definition.rsplit("/", 1)[-1].split(":")[0]
    arns = ecs.list_tasks(cluster=cluster, family=family, desiredStatus="STOPPED")["taskArns"]
    tasks = ecs.describe_tasks(cluster=cluster, tasks=arns[:100])["tasks"] if arns else []
    mine = [task for task in tasks if task["taskDefinitionArn"] == task_definition]
    never = datetime.min.replace(tzinfo=UTC)
    return sorted(mine, key=lambda task: task.get("stoppedAt") or never, reverse=True)


def _log_lines(logs: Any, log_group: str, stream: str) -> Iterator[str]:
    try:
        events = logs.get_log_events(
            logGroupName=log_group, logStreamName=stream, limit=_LOG_LINES, startFromHead=False
        )["events"]
    except (BotoCoreError, ClientError):
        yield f"  log      there is no stream {stream} in {log_group}: the container never wrote"
        return
    yield f"  log      the last {len(events)} lines of {stream} in {log_group}:"
    yield from (f"           {event['message'].rstrip()}" for event in events)
