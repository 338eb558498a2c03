"""A whole rehearsal with cached layers, its phases, and another run on a kept one."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.sheet import Sheet


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
    sheet.without["a first one, on a fresh machine"] = "it takes a fresh machine"
    _ = bench.kept
    for _ in range(sheet.runs):
        report = bench.document("rehearsal", bench.stack, "--json")
        sheet.row("another on a kept one, nothing changed").put(report["seconds"])
