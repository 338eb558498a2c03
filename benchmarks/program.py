"""The program's whole graph, on mocks in a process of its own: how its time and memory grow with services and tasks."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks.bench import Bench
from benchmarks.sheet import Sheet
from components.settings import NAMESPACE, read_stack_file
from rehearsal.kept import ROOT

_REACH = {1: 2.0, 10: 3.0, 50: 8.0}
_CHILD = """
import json, sys
from policies.registrations import registrations
print(len(registrations(json.load(sys.stdin))))
"""


def measure(_bench: Bench, sheet: Sheet) -> None:
    """Look-ups answered, all resources registered, imports included."""
    command = [sys.executable, "-c", _CHILD]
    for services, reach in _REACH.items():
        name = f"whole graph, services: {services}"
        given = json.dumps(configuration(services))
        sheet.measure_command(name, command, given=given, memory=True, reach=reach, at=services, of="services")
    given = json.dumps(configuration(1, tasks=10))
    sheet.measure_command("whole graph, one service of 10 tasks", command, given=given, memory=True)
    sheet.without["terraform plan of the same resources"] = (
        "it takes the graph once more in HCL, and HashiCorp's provider for AWS, which no package index serves"
    )


def configuration(services: int, tasks: int = 1) -> Mapping[str, str]:
    """The production stack's, with its service so many times, each at a path of its own."""
    config = dict(read_stack_file(ROOT / "Pulumi.production.yaml"))
    key = f"{NAMESPACE}:services"
    ((first, shipped),) = json.loads(config[key]).items()
    made: dict[str, Any] = {}
    for number in range(services):
        service = copy.deepcopy(shipped) | {"desiredCount": tasks}
        if number:
            service["routing"] |= {"path": f"/service-{number}", "priority": 100 + 10 * number}
            service.pop("dashboard", None)
        made[f"service-{number}" if number else first] = service
    return config | {key: json.dumps(made)}
