"""From `./ops rollback` until it is verified, on a kept rehearsal."""

from __future__ import annotations

import itertools

from benchmarks.bench import Bench
from benchmarks.sheet import Sheet
from rehearsal.kept import ROOT


def measure(bench: Bench, sheet: Sheet) -> None:
    """A second revision is deployed, and then back and forth."""
    kept = bench.kept
    file = ROOT / f"Pulumi.{bench.stack}.yaml"
    file.write_text(file.read_text().replace("memory: 1024", "memory: 2048"))
    bench.document("rehearsal", bench.stack, "--json")

    revisions = itertools.cycle(("1", "2"))

    def back() -> None:
        bench.document("operations", "rollback", next(revisions), *kept, "--json")

    sheet.measure("rollback, from the command to verified", back, reach=30)
    sheet.without["by hand"] = "under 5 minutes at best; 1,198 s were seen in public"
