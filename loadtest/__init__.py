"""Load tests: users who ask a deployed server at once, and what its answers must keep to.

Locust asks, in an environment of its own (`locust_process.py`). Each user asks about once a second, so that the number
of users is about the number of requests a second that is aimed at.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from checks import Check, PublicAddress
from machine.environments import installed

LOCUST = "locust==2.47.0"

PROFILES: Mapping[str, Mapping[str, int]] = {
    "health": {"health": 1},
    "tools": {"tools/list": 1},
    "search": {"search": 1},
    "mixed": {"health": 3, "tools/list": 2, "search": 5},
}
"""Profile -> request -> its weight. `stress` is `mixed` with ever more users."""

LIMITS: Mapping[str, Mapping[str, float]] = {
    "health": {"p95": 100, "p99": 200},
    "tools/list": {"p95": 500},
    "search": {"p95": 2000},
}
"""Request -> figure -> milliseconds that it must stay below. Besides, no request may fail."""

MOST_USERS = 1280
"""Where a stress test ends that breaks nothing."""


class LoadTestFailed(Exception):
    """There are no figures; the message says why."""


@dataclass(frozen=True)
class Person:
    """Somebody who has signed in, or with neither, anybody."""

    token: str | None = field(default=None, repr=False)
    search: Mapping[str, Any] | None = None
    """The tool call that `search` makes: `{"name": ..., "arguments": {...}}`."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one kind of request. Times in milliseconds, rate in requests a second."""

    name: str
    count: int
    failures: int
    rate: float
    p50: float
    p95: float
    p99: float
    most: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one number of users met."""

    users: int
    figures: Sequence[Figures]
    errors: Sequence[Mapping[str, Any]]
    """`name` of the request, `error`, `count`."""
    busy: bool
    """Whether the machine that asked was itself at its limit, so that the times are partly its own."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return sum(each.rate for each in self.figures)

    def failed(self) -> str:
        """Which requests failed, and how; empty if none did."""
        return ", ".join(f"{e['count']} x {e['name']}: {e['error']}" for e in self.errors)

    def limits(self) -> Iterator[tuple[str, bool, str]]:
        """For each limit on what was asked: what it is, whether it was broken, what was seen."""
        for each in self.figures:
            for figure, limit in LIMITS.get(each.name, {}).items():
                value = getattr(each, figure)
                yield f"{each.name}: {figure} below {limit:g} ms", value >= limit, f"{value:.0f} ms of {each.count}"


def run(
    address: PublicAddress, people: Sequence[Person], weights: Mapping[str, int], *, users: int, seconds: int,
    pause: tuple[float, float] = (0.5, 1.5),
) -> Measured:  # fmt: skip
    """Let `users` ask for `seconds`; each is one of `people`, in turn. pause: least and most seconds from an answer to
    the user's next request.

    Nothing of it runs on when this is interrupted, or this process is killed. Raises `LoadTestFailed`, and
    `machine.environments.NotInstalled` where Locust cannot be had.
    """
    python = installed(Path(__file__).resolve().parent.parent / ".rehearsal" / "load-venv", LOCUST)
    plan = {
        "url": address.url,
        "connectTo": address.connect_to,
        "mcpPath": address.mcp_path,
        "healthPath": address.health_path,
        "users": users,
        "seconds": seconds,
        "pause": pause,
        "weights": dict(weights),
        "people": [dataclasses.asdict(person) for person in people],
    }
    command = [str(python), "-I", str(Path(__file__).with_name("locust_process.py"))]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        try:
            assert process.stdin and process.stdout
            process.stdin.write(json.dumps(plan).encode() + b"\n")
            process.stdin.flush()  # Not closed: that would end it.
            line = process.stdout.readline()
        finally:
            process.kill()  # The end of the block waits until it is gone.
        if not line:
            log.seek(0)
            printed = log.read().decode(errors="replace").strip().splitlines()
            raise LoadTestFailed(f"Locust ended without figures: {printed[-1] if printed else 'it said nothing'}")
    document = json.loads(line)
    figures = sorted((Figures(**each) for each in document["figures"]), key=lambda each: each.name)
    return Measured(users=users, figures=figures, errors=document["errors"], busy=document["busy"])


def judge(measured: Measured, seconds: float, *, timed: bool) -> list[Check]:
    """The figures against the limits. timed: False where times say nothing of a deployment, and are not held to any."""
    failed = measured.failed()
    unanswered = "" if measured.figures else "nothing was answered"
    checks = [_check("no request failed", not (failed or unanswered), failed or unanswered or "none", seconds)]
    for name, broken, seen in measured.limits():
        if not timed:
            checks.append(_check(name, None, f"{seen}; the times of a rehearsal are this machine's", seconds))
        elif measured.busy:
            checks.append(
                _check(name, None, f"{seen}; the machine that asked was busy: ask from a larger one", seconds)
            )
        else:
            checks.append(_check(name, not broken, seen, seconds))
    return checks


def _check(name: str, passed: bool | None, detail: str, seconds: float) -> Check:
    remedy = "" if passed is not False else "see log and dashboard of these minutes: ./ops logs, docs/runbook.md"
    return Check(name=name, passed=passed, detail=detail, remedy=remedy, seconds=seconds)


def stress(measure: Callable[[int], Measured], *, users: int) -> tuple[list[Measured], Check]:
    """Measure with `users`, and twice as many, until something breaks; the steps, and how many users it holds."""
    started, steps, held = time.monotonic(), list[Measured](), 0
    why = "nothing broke"
    while users <= MOST_USERS:
        found = measure(users)
        steps.append(found)
        broken = [f"{name} is {seen}" for name, is_broken, seen in found.limits() if is_broken]
        if found.busy:
            why = f"at {users} the machine that asks was busy: use a larger one"
            break
        if found.failed() or broken:
            why = f"at {users}: {'; '.join(filter(None, [found.failed(), *broken]))}"
            break
        held, users = users, users * 2
    rate = next((step.rate for step in steps if step.users == held), 0.0)
    detail = f"{held} users at once, {rate:.0f} requests a second; {why}"
    return steps, _check("it holds some users at once", held > 0, detail, time.monotonic() - started)
