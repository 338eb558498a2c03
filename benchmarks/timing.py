"""How long a rollout takes by the settings' arithmetic: of the shipped stack, and by default; beside AWS's own ways."""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.bench import Bench
from benchmarks.sheet import Sheet
from components.settings import NAMESPACE, parse, read_stack_file
from operations import timing
from rehearsal.kept import ROOT

_DEFAULTS, _EXPRESS = "AWS's defaults", "ECS Express Mode"
_BAKING = 6 * 60.0
"""Seconds. https://docs.aws.amazon.com/AmazonECS/latest/developerguide/express-service-update-full.html: 3 minutes with
5 % of the requests, and 3 more with all."""


def measure(_bench: Bench, sheet: Sheet) -> None:
    """As `./ops timing` has it."""
    shipped = read_stack_file(ROOT / "Pulumi.production.yaml")
    services = json.loads(shipped[f"{NAMESPACE}:services"])
    plain = {name: {k: v for k, v in service.items() if k != "health"} for name, service in services.items()}
    _put(sheet, "by default", shipped | {f"{NAMESPACE}:services": json.dumps(plain)})
    _put(sheet, "the shipped stack", shipped, note="its estate asks target groups every 30 s")


def _put(sheet: Sheet, which: str, config: dict[str, str], note: str = "") -> None:
    (spans,) = ([*timing.spans(service)] for service in parse(config).services.values())
    for span in spans:
        _row(sheet, f"{span.what}, {which}", [span])
    whole = f"from a new task that answers until the old one is gone, at most, {which}"
    _row(sheet, whole, spans)
    row = sheet.rows[whole]
    row.reach, row.note = 90, note
    row.beside[f"{_EXPRESS}, by its documentation, baking alone"] = [_BAKING]


def _row(sheet: Sheet, name: str, spans: Sequence[timing.Span]) -> None:
    own, default = (float(sum(getattr(span, member) for span in spans)) for member in ("seconds", "default"))
    sheet.row(name, values=[own], beside={_DEFAULTS: [default]})
