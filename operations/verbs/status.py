"""`./ops status`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from operations.output import Output
from operations.verbs.base import OnAccount

if TYPE_CHECKING:
    from operations.target import Target


def _run(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.revisions import status

    found = [status(target, service) for service in target.services(options.service)]
    output.record("services", found)
    for service in found:
        for name, value in service.items():
            lines = value if isinstance(value, list) else [value]
            for line in lines or ["none"]:
                text = ", ".join(f"{part}" for part in line.values() if part) if isinstance(line, dict) else line
                output.print(f"  {name:<12} {text}")
    return 0


VERB = OnAccount(
    line="what runs, since when, from which image; deployments, alarms, refused clients, the last events",
    more="With the source's revision, and why a deployment failed.",
    run=_run,
)
