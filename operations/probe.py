"""What `verify` asks from inside the VPC: by a one-off task beside the service's own."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from checks.check import Failed, NotRun
from components.settings import Service
from operations.target import Target

TASK_LIMIT = 300.0
"""Seconds for a task of Fargate to be placed, to have its image pulled, to ask and to end; pulling takes most of it."""

_SAME = (
    "taskRoleArn",
    "executionRoleArn",
    "networkMode",
    "requiresCompatibilities",
    "cpu",
    "memory",
    "runtimePlatform",
)
"""What the task definition has in common with the service's."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What became of a one-off task."""

    task: str
    """Its id."""
    code: int | None
    """Exit code of its container; None: it has none, because it did not start or did not end."""
    why: str
    """What ECS says of it."""
    notes: tuple[str, ...]
    """What could not be cleaned up, with the command that does it."""


def entrance(
    own: Mapping[str, Sequence[Mapping[str, Any]]], port: int, *, balancers: Collection[str], networks: Sequence[str]
) -> str | None:
    """The security group that a task beside the service needs beside the service's own, so that these let it in on
    `port`; empty: none. None: they let in nobody in the VPC but the load balancer.

    own: the service's groups by id, each with its rules, as EC2's IpPermissions. balancers: ids of the load balancer's
    groups, which no task should be in. networks: address ranges of the subnets where the task runs.
    """
    admitted = list[str]()
    for rule in (rule for rules in own.values() for rule in rules):
        protocol, low, high = rule["IpProtocol"], rule.get("FromPort", 0), rule.get("ToPort", 65535)
        if protocol != "-1" and not (protocol == "tcp" and low <= port <= high):
            continue
        ranges = [ipaddress.ip_network(entry["CidrIp"]) for entry in rule.get("IpRanges", [])]
        if all(any(ipaddress.ip_network(network).subnet_of(each) for each in ranges) for network in networks):  # type: ignore[arg-type]
            return ""
        # A group of a peered VPC is none that a task here may have.
        pairs = [pair for pair in rule.get("UserIdGroupPairs", []) if not pair.get("VpcPeeringConnectionId")]
        admitted += [pair["GroupId"] for pair in pairs]
    if any(group in own for group in admitted):
        return ""
    return next((group for group in admitted if group not in balancers), None)


def network(target: Target, service: Service, described: Mapping[str, Any]) -> dict[str, Any]:
    """The network configuration of a task that may call the service, which ECS describes as `described`.

    Raises `NotRun` where nobody in the VPC may.
    """
    ec2, estate = target.client("ec2"), target.settings.estate
    wanted: dict[str, Any] = dict(described["networkConfiguration"]["awsvpcConfiguration"])
    groups = ec2.describe_security_groups(GroupIds=wanted["securityGroups"])["SecurityGroups"]
    subnets = ec2.describe_subnets(SubnetIds=wanted["subnets"])["Subnets"]
    balancers: set[str] = set()
    if service.public and estate.load_balancer:
        (balancer,) = target.client("elbv2").describe_load_balancers(Names=[estate.load_balancer])["LoadBalancers"]
        balancers = set(balancer["SecurityGroups"])
    further = entrance(
        {group["GroupId"]: group["IpPermissions"] for group in groups},
        service.port,
        balancers=balancers,
        networks=[subnet["CidrBlock"] for subnet in subnets],
    )
    if further is None:
        raise NotRun(
            f"nobody in the VPC but the load balancer may call port {service.port}: "
            f"{', '.join(wanted['securityGroups'])} admits no other group"
        )
    if further:
        wanted["securityGroups"] = [*wanted["securityGroups"], further]
    return {"awsvpcConfiguration": wanted}


def run(
    target: Target, service: Service, described: Mapping[str, Any], configuration: Mapping[str, Any], command: list[str]
) -> Ended:
    """Run `command` in a one-off task with the service's image and roles, in the network of `configuration`.

    The image's entry point is the server, and ECS cannot override that when it runs a task: so a task definition of
    its own is registered for it, and deregistered again. Raises `Failed` where ECS places no task.
    """
    ecs, cluster = target.client("ecs"), target.settings.estate.cluster
    running = ecs.describe_task_definition(taskDefinition=described["taskDefinition"])["taskDefinition"]
    first = running["containerDefinitions"][0]
    container = {
        **{name: first[name] for name in ("name", "image", "logConfiguration") if name in first},
        "essential": True,
        "entryPoint": command[:1],
        "command": command[1:],
    }
    definition: str = ecs.register_task_definition(
        family=f"{service.name}-verify",
        containerDefinitions=[container],
        **{name: running[name] for name in _SAME if running.get(name)},
    )["taskDefinition"]["taskDefinitionArn"]
    notes = list[str]()
    task, ended = "", False
    try:
        begun = ecs.run_task(
            cluster=cluster,
            taskDefinition=definition,
            launchType="FARGATE",
            networkConfiguration=configuration,
            # By them the pipeline's role knows which of the cluster's tasks it may stop.
            tags=[{"key": key, "value": value} for key, value in target.settings.tags_for(service).items()],
        )
        if not begun["tasks"]:
            reasons = ", ".join(failure.get("reason", "no reason") for failure in begun["failures"])
            raise Failed(f"ECS placed no task to ask with: {reasons or 'no reason'}")
        task = begun["tasks"][0]["taskArn"]
        seen, ended = _until_it_stops(ecs, cluster, task)
    finally:
        if task and not ended:
            notes += _tidied(
                lambda: ecs.stop_task(cluster=cluster, task=task, reason="verify took too long"),
                f"aws ecs stop-task --cluster {cluster} --task {task}",
            )
        notes += _tidied(
            lambda: ecs.deregister_task_definition(taskDefinition=definition),
            f"aws ecs deregister-task-definition --task-definition {definition}",
        )
    return Ended(
        task=task.rsplit("/", 1)[-1],
        code=next((c["exitCode"] for c in seen["containers"] if "exitCode" in c), None) if ended else None,
        why=_words(seen) if ended else f"it did not end within {TASK_LIMIT:.0f} s, and was {seen['lastStatus']}",
        notes=tuple(notes),
    )


def _until_it_stops(ecs: Any, cluster: str, task: str) -> tuple[dict[str, Any], bool]:
    """The task as it was seen last, and whether it had stopped."""
    deadline = time.monotonic() + TASK_LIMIT
    while True:
        (seen,) = ecs.describe_tasks(cluster=cluster, tasks=[task])["tasks"]
        if seen["lastStatus"] == "STOPPED" or time.monotonic() > deadline:
            return seen, seen["lastStatus"] == "STOPPED"
        time.sleep(1)


def _words(task: Mapping[str, Any]) -> str:
    reasons = [container.get("reason", "") for container in task["containers"]]
    return "; ".join(dict.fromkeys(reason for reason in (task.get("stoppedReason", ""), *reasons) if reason))


def _tidied(tidy: Callable[[], object], command: str) -> Iterator[str]:
    """A note with `command` where `tidy` failed: what was asked has its answer all the same."""
    try:
        tidy()
    except (BotoCoreError, ClientError) as error:
        yield f"not cleaned up ({error}); do: {command}"
