"""A whole rehearsal with cached layers, its phases, and another run on a kept one."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.bench import Bench, printed_document
from benchmarks.sheet import Sheet
from engine.cli import cache
from rehearsal.kept import ROOT


def measure(bench: Bench, sheet: Sheet) -> None:
    """What nobody waits for twice is made before."""
    _ = bench.image
    for number in range(sheet.runs + 1):
        report = bench.document("rehearsal", bench.stack, "--json")
        if not number:
            continue  # The layers were not cached, perhaps.
        sheet.row("whole, from cached layers", reach=25).put(report["seconds"])
        for phase in report["phases"]:
            sheet.row(f"of it {phase['name'].lower()}").put(phase["seconds"])
        (image,) = (row["seconds"] for row in report["resources"] if row["type"] == "docker:Image")
        sheet.row("of it the image: built before, pushed", reach=5).put(image)
    with sheet.surviving("a first one, of a fresh clone with nothing cached"):
        _first(sheet)
    _ = bench.kept
    for _ in range(sheet.runs):
        report = bench.document("rehearsal", bench.stack, "--json")
        sheet.row("another on a kept one, nothing changed").put(report["seconds"])


def _first(sheet: Sheet) -> None:
    """What is committed, cloned, with a cache of its own, which has nothing but Pulumi's CLI; once, for it is long."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-first-") as folder:
        clone, own = Path(folder) / "clone", Path(folder) / "cache"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        (own / "mcp-on-ecs").mkdir(parents=True)
        (own / "mcp-on-ecs" / "pulumi").symlink_to(cache())
        environment = {name: value for name, value in os.environ.items() if name not in ("DOCKER_HOST", "VIRTUAL_ENV")}
        environment |= {"XDG_CACHE_HOME": str(own)}
        started = time.perf_counter()
        report = printed_document(["./rehearse", "--json"], clone, environment)
        whole = time.perf_counter() - started
    note = "Docker, debootstrap and Python are on the machine, and Pulumi's CLI is built"
    sheet.row("a first one, of a fresh clone with nothing cached", reach=150, note=note).put(whole)
    sheet.row("of the first one its environment").put(whole - report["seconds"])
    for phase in report["phases"]:
        sheet.row(f"of the first one {phase['name'].lower()}").put(phase["seconds"])
