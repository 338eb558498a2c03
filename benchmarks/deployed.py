"""The production stack's service in a rehearsal, at the root of a host, where a task can be asked past the load
balancer too."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import checks
from acceptance.subject import StandIn, Subject
from benchmarks.bench import STACK
from checks.deployment import task_address
from components.settings import NAMESPACE, parse
from rehearsal.run import Rehearsal, Stack

SERVICE = "google-workspace"
VALKEY = {"backend": "valkey", "host": "cache.benchmark.local"}
"""`oauth.state` with a real cache, which several tasks can share."""


def stack(name: str, state: dict[str, str] | None = None, **changes: Any) -> Stack:
    """The stack `benchmark-<name>`. state: the service's `oauth.state`; changes: its other settings."""
    shipped = Stack.read("production")
    services = json.loads(shipped.config[f"{NAMESPACE}:services"])
    services[SERVICE] |= changes
    if state:
        services[SERVICE].setdefault("oauth", {})["state"] = state
    services[SERVICE]["routing"] = {"strategy": "host", "host": "mcp.busyb.ai", "priority": 50}
    config = {**shipped.config, f"{NAMESPACE}:services": json.dumps(services)}
    return dataclasses.replace(shipped, name=f"{STACK}-{name}", config=config, settings=parse(config))


def addresses(rehearsal: Rehearsal) -> set[str]:
    """Of the service's tasks, as the account has them."""
    ecs, settings = rehearsal.account.client("ecs"), rehearsal.stack.settings
    cluster = settings.estate.cluster
    arns = ecs.list_tasks(cluster=cluster, serviceName=f"{settings.services[SERVICE].name}-service")["taskArns"]
    details = [
        detail
        for task in ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"]
        for attachment in task["attachments"]
        for detail in attachment["details"]
    ]
    return {detail["value"] for detail in details if detail["name"] == "privateIPv4Address"}


def subject(rehearsal: Rehearsal, *, edge: bool) -> Subject:
    """What is asked: through the load balancer's edge, or one task past it. Raises `RuntimeError`."""
    service, google = rehearsal.stack.settings.services[SERVICE], rehearsal.google
    task = task_address(rehearsal.account.client("ecs"), rehearsal.stack.settings, service)
    if google is None or task is None or service.url is None or rehearsal.edge is None:
        raise RuntimeError("no container runs: it takes a Docker engine")
    return Subject(
        address=checks.address(service, service.url, rehearsal.edge.url if edge else task),
        expectations=checks.expectations(service),
        google=StandIn(proxy=google.proxy, authority=google.authority).client,
    )
