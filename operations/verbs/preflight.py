"""`./ops preflight`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from operations.output import Output
from operations.verbs.base import OnAccount

if TYPE_CHECKING:
    from operations.target import Target


def _run(target: Target, _options: argparse.Namespace, output: Output) -> int:
    from operations.preflight import preflight

    return output.checks(preflight(target))


VERB = OnAccount(
    line="check, before a deployment, everything that it needs",
    more="All faults are told at once, each with its remedy.",
    run=_run,
)
