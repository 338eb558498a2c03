"""How long a rollout takes by the settings' arithmetic, beside AWS's defaults."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.sheet import Sheet
from operations import timing
from rehearsal.kept import ROOT

_DEFAULTS = "AWS's defaults"


def measure(_bench: Bench, sheet: Sheet) -> None:
    """Of the shipped stack, as `./ops timing` has it."""
    (spans,) = timing.of_stack(ROOT / "Pulumi.production.yaml").values()
    for span in spans:
        sheet.rows[span.what] = sheet.row(
            span.what, values=[float(span.seconds)], beside={_DEFAULTS: [float(span.default)]}
        )
    sheet.row(
        "from a new task that answers until the old one is gone, at most",
        values=[float(sum(span.seconds for span in spans))],
        beside={_DEFAULTS: [float(sum(span.default for span in spans))]},
        reach=90,
    )
    sheet.without["ECS Express Mode"] = "it is to be had on AWS alone; its documentation says 6 minutes of baking"
