"""The stack's ways on Pulumi's engine against the emulated account: preview, up, up again, another image, destroy."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.bench import STACK, Bench
from benchmarks.sheet import Sheet
from engine import forks
from rehearsal.phases import with_changed_image
from rehearsal.run import Rehearsal, Stack


def measure(bench: Bench, sheet: Sheet) -> None:
    """Each run in an account of its own."""
    if bench.cli is None:
        raise RuntimeError("Pulumi's engine is not at hand: ./rehearse --make-engine")
    _ = bench.image, bench.engine.host  # What is built before is not measured here.
    forks.prepare()
    stack = dataclasses.replace(Stack.read("production"), name=f"{STACK}-engine")
    for _ in range(sheet.runs):
        with Rehearsal(stack, cli=bench.cli) as rehearsal, tempfile.TemporaryDirectory() as folder:
            changed = with_changed_image(stack, Path(folder))
            assert changed
            commands: dict[str, Callable[[], object]] = {
                "preview, with policies": rehearsal.preview,
                "up": rehearsal.deploy,
                "up, unchanged": rehearsal.deploy,
                "up, another image": lambda changed=changed: rehearsal.deploy(changed),  # type: ignore[misc]
                "destroy": rehearsal.destroy,
            }
            for name, command in commands.items():
                started = time.perf_counter()
                command()
                sheet.row(name).put(time.perf_counter() - started)
    sheet.without["terraform plan and apply of the same"] = (
        "it takes the graph once more in HCL, and HashiCorp's provider for AWS, which no package index serves"
    )
