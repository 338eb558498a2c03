"""Whether ECS kept what was deployed: after a rollback of its own, ECS looks as steady as after a success.

`checked` fails the `up` with the reason; what passes is remembered in a parameter, as what there is to go back to.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pulumi
import pulumi_aws as aws
from botocore.exceptions import BotoCoreError, ClientError

from components import account

REMEMBERED = 10
"""Healthy revisions that are remembered, and whose images are kept from expiry."""

_LOG_LINES = 15
_STOPPED_TASKS = 3
_EVENTS = 3


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


def checked(
    service: aws.ecs.Service, task_definition: pulumi.Output[str], log_group: pulumi.Output[str]
) -> pulumi.Output[str]:
    """The task definition's ARN, once `service` (which waited for its steady state) runs it. Fails with `NotRolledOut`.

    Not decided at a preview, where nothing has been rolled out yet.
    """
    if pulumi.runtime.is_dry_run():
        return task_definition
    found = aws.ecs.get_service_output(
        cluster_arn=service.cluster, service_name=service.name, opts=pulumi.InvokeOutputOptions(depends_on=[service])
    )
    return pulumi.Output.all(
        wanted=task_definition,
        running=found.task_definition,
        cluster=service.cluster,
        service=service.name,
        log_group=log_group,
    ).apply(_compare)


def _compare(facts: dict[str, str]) -> str:
    wanted, running = facts["wanted"], facts["running"]
    if running == wanted:
        return wanted
    short = [arn.rsplit("/", 1)[-1] for arn in (wanted, running)]
    evidence = "\n".join(why(account.client, facts["cluster"], facts["service"], wanted, facts["log_group"]))
    raise NotRolledOut(
        f"{facts['service']} runs {short[1]}, not {short[0]}: "
        "ECS rolled the deployment back, or somebody else deployed.\n"
        f"{evidence}\n"
        f"  do       mend the cause and run pulumi up again; {short[1]} serves meanwhile. More: ./ops status\n"
        f"           to stay on it: ./ops rollback {short[1]}"
    )


def why(
    client: Callable[[str], Any], cluster: str, service: str, task_definition: str, log_group: str
) -> Iterator[str]:
    """Lines that say why tasks of `task_definition` (ARN) stopped: ECS's reasons, exit codes, and their last log lines;
    where none was started, the service's last events.

    `client` gives a boto3 client by service name. What cannot be asked is said so; nothing is raised.
    """
    lines = list(_evidence(client, cluster, service, task_definition, log_group))
    yield from lines
    for words, hint in _MEANINGS.items():
        if any(words in line for line in lines):
            yield f"  hint     {words}: {hint}"


def _evidence(
    client: Callable[[str], Any], cluster: str, service: str, task_definition: str, log_group: str
) -> Iterator[str]:
    try:
        tasks = _stopped(client("ecs"), cluster, task_definition)
        described = client("ecs").describe_services(cluster=cluster, services=[service])["services"]
    except (BotoCoreError, ClientError) as error:
        yield f"  stopped  could not be asked: {error}"
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
            told = f"exit code {container['exitCode']}" if "exitCode" in container else "no exit code"
            reason = f" - {container['reason']}" if container.get("reason") else ""
            yield f"           {container['name']}: {told}{reason}"
            if hint := _HINTS.get(container.get("exitCode", -1)):
                yield f"           {hint}"
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
