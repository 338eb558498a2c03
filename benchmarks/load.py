"""How many requests a task answers, and how fast: sizes of a task, one and two of them, through the edge and past it.

Each is asked twice: by as many as wait for nothing but their answers, which is the most that it does; and by as many
people, each with a request a second, as use `SHARE` of that, where autoscaling keeps it.
"""

from __future__ import annotations

import loadtest
from acceptance.subject import Subject
from benchmarks import deployed
from benchmarks.bench import Bench
from benchmarks.sheet import Sheet
from components.settings import Autoscaling
from operations.load import signed_in
from rehearsal.edge_process import wait_for_target_health
from rehearsal.run import Rehearsal

MIXED = loadtest.PROFILES["mixed"]
SIZES = {0.25: (256, 512), 0.5: (512, 1024), 1.0: (1024, 2048)}
"""CPUs -> CPU units and MiB."""
WAYS = ("one task, directly", "one task", "two tasks")
"""Through the edge, but for the first."""
SHARE = Autoscaling(maximum=2).tracked["cpu"] / 100
MOST, KEPT = "the most", f"at {SHARE:.0%}"
FIGURES = ("p50", "p95", "p99")
_AT_ONCE, _SECONDS = 10, 15
_BARE = ("1 CPU, one task, directly, the most: rate", "a bare server in Python, 50 users, by a public benchmark", 292.0)
"""Of FastMCP without sign-in: https://www.tmdevlab.com/mcp-server-performance-benchmark.html"""


def measure(bench: Bench, sheet: Sheet) -> None:
    """A rehearsal for each size and number of tasks."""
    _ = bench.image
    for cpus, (units, mebibytes) in SIZES.items():
        for tasks in (1, 2):
            with sheet.surviving(f"{cpus:g} CPU, {tasks} of them, to its end"):
                size = {"cpu": units, "memory": mebibytes, "desiredCount": tasks}
                stack = deployed.stack("load", deployed.VALKEY if tasks > 1 else None, **size)
                with Rehearsal(stack) as rehearsal:
                    rehearsal.deploy()
                    _limit(rehearsal, tasks, cpus)
                    for way in WAYS[2:] if tasks > 1 else WAYS[:2]:
                        asked = deployed.subject(rehearsal, edge="directly" not in way)
                        for _run in range(sheet.runs):
                            _ask(sheet, f"{cpus:g} CPU, {way}", asked, tasks)
    row, peer, rate = _BARE
    if row in sheet.rows:
        sheet.rows[row].beside[peer] = [rate]


def _limit(rehearsal: Rehearsal, tasks: int, cpus: float) -> None:
    """Tasks get the processor that Fargate would give them; the emulated account gives them all that there is."""
    assert rehearsal.engine and rehearsal.edge
    wait_for_target_health(rehearsal.stack.settings.services[deployed.SERVICE], rehearsal.edge)
    addresses = deployed.addresses(rehearsal)
    running = [
        container
        for container in rehearsal.engine.api.containers.list()
        for network in container.attrs["NetworkSettings"]["Networks"].values()
        if network["IPAddress"] in addresses
    ]
    if len(running) != tasks:
        raise RuntimeError(f"{len(running)} tasks run in place of {tasks}")
    for container in running:
        container.update(cpu_period=100_000, cpu_quota=int(cpus * 100_000))


def _ask(sheet: Sheet, where: str, subject: Subject, tasks: int) -> None:
    people = signed_in(subject, MIXED)
    most = loadtest.run(subject.address, people, MIXED, users=_AT_ONCE * tasks, seconds=_SECONDS, pause=(0, 0))
    _put(sheet, f"{where}, {MOST}", most)
    users = max(1, int(most.rate * SHARE))
    _put(sheet, f"{where}, {KEPT}", loadtest.run(subject.address, people, MIXED, users=users, seconds=_SECONDS))


def _put(sheet: Sheet, where: str, found: loadtest.Measured) -> None:
    note = "the machine that asked was busy" if found.busy else ""
    if found.failed():
        sheet.row(where).failure = found.failed()
    sheet.row(f"{where}: rate", unit="/s", note=note).put(found.rate)
    for each in found.figures:
        if each.name in MIXED:  # Not `initialize`, of the protocol before: one for each user, so hardly any.
            for figure in FIGURES:
                sheet.row(f"{where}: {each.name}, {figure}", unit="ms", note=note).put(getattr(each, figure))
