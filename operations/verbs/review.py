"""`./ops review`."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from operations.output import Output
from operations.verbs.base import OnAccount

if TYPE_CHECKING:
    from operations.target import Target


def _run(target: Target, _options: argparse.Namespace, output: Output) -> int:
    from operations.review import markdown, review

    parts = review(target)
    output.record("parts", [dataclasses.asdict(part) for part in parts])
    output.print(markdown(target, parts).rstrip())
    return 1 if any(check.passed is False for part in parts for check in part.checks) else 0


VERB = OnAccount(
    line="is the stack ready for production: all that asks, on one page of Markdown",
    more=(
        "Preflight, policies, verify, accept, alarms and whom they tell, age and scan of the image, and cost. "
        "Keep it: ./ops review > review.md."
    ),
    changes="as `verify`",
    run=_run,
)
