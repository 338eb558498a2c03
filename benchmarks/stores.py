"""What a login and the check of a token take with each store of OAuth state, asked of a task past the load balancer."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from typing import Any

import checks
from acceptance.sign_in import Session, ask, sign_in
from acceptance.subject import StandIn, Subject
from benchmarks.bench import STACK, Bench
from benchmarks.sheet import Sheet
from checks.deployment import task_address
from checks.http import expect, modern
from components.settings import NAMESPACE, parse
from rehearsal.run import Rehearsal, Stack

STORES: dict[str, dict[str, str]] = {
    "memory": {"backend": "memory"},
    "dynamodb, emulated": {"backend": "dynamodb"},
    "valkey": {"backend": "valkey", "host": "cache.benchmark.local"},
}
LOGINS, CHECKS = 5, 50
"""Of each run; of the checks the median counts."""
SERVICE = "google-workspace"


def measure(bench: Bench, sheet: Sheet) -> None:
    """A rehearsal for each store, of one task."""
    _ = bench.image  # What is built before is not measured here.
    for name, state in STORES.items():
        with sheet.surviving(f"a login: {name}"), Rehearsal(_stack(state)) as rehearsal:
            rehearsal.deploy()
            subject = _subject(rehearsal)
            ask(sign_in(subject, "first@example.com"))  # What only the first one waits for.
            for _run in range(sheet.runs):
                people = []
                for number in range(LOGINS):
                    started = time.perf_counter()
                    people.append(ask(sign_in(subject, f"person{number}@example.com")))
                    sheet.row(f"a login: {name}", unit="ms").put((time.perf_counter() - started) * 1000)
                sheet.row(f"a token's check: {name}", unit="ms").put(ask(_check(subject, people[0])) * 1000)
    sheet.without["DynamoDB and ElastiCache of AWS"] = (
        "it takes an account; each question of a task to them takes some milliseconds, which is not in these figures"
    )


def _stack(state: dict[str, str]) -> Stack:
    """The production stack with a store, at the root of a host, where a task can be asked past the load balancer."""
    stack = Stack.read("production")
    services = json.loads(stack.config[f"{NAMESPACE}:services"])
    services[SERVICE].setdefault("oauth", {})["state"] = state
    services[SERVICE]["routing"] = {"strategy": "host", "host": "mcp.busyb.ai", "priority": 50}
    config = {**stack.config, f"{NAMESPACE}:services": json.dumps(services)}
    return dataclasses.replace(stack, name=f"{STACK}-stores", config=config, settings=parse(config))


def _subject(rehearsal: Rehearsal) -> Subject:
    service, google = rehearsal.stack.settings.services[SERVICE], rehearsal.google
    task = task_address(rehearsal.account.client("ecs"), rehearsal.stack.settings, service)
    if google is None or task is None or service.url is None:
        raise RuntimeError("no container runs: it takes a Docker engine")
    return Subject(
        address=checks.address(service, service.url, task),
        expectations=checks.expectations(service),
        google=StandIn(proxy=google.proxy, authority=google.authority).client,
    )


async def _check(subject: Subject, person: Session) -> float:
    """Seconds of a request that needs little but the check of its token."""
    asked: dict[str, Any] = modern("server/discover")
    asked["headers"] = {**asked["headers"], "Authorization": f"Bearer {person.token}"}
    taken = []
    async with subject.address.client() as http:
        for _ in range(CHECKS):
            started = time.perf_counter()
            expect(await http.post(subject.address.mcp_url, **asked), 200)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)
