"""`./ops load`."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from operations.output import Output
from operations.verbs.accept import token_file
from operations.verbs.base import OnAccount

if TYPE_CHECKING:
    from operations.target import Target


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of them: write 1 or more")
    return int(text)


def _arguments(parser: argparse.ArgumentParser) -> None:
    token_file(parser)
    parser.add_argument(
        "profile",
        nargs="?",
        default="mixed",
        choices=("health", "tools", "search", "mixed", "stress"),
        help="what is asked (default: mixed); stress: mixed, by twice as many users until something breaks",
    )
    parser.add_argument(
        "--users",
        type=_positive,
        default=10,
        metavar="N",
        help="at once, each about once a second; stress begins with them (default: 10)",
    )
    parser.add_argument(
        "--seconds", type=_positive, default=30, metavar="N", help="for each number of users (default: 30)"
    )


def _run(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.load import load

    done = load(
        target,
        target.service(options.service),
        profile=options.profile,
        users=options.users,
        seconds=options.seconds,
        token_file=options.token_file,
    )
    output.record("steps", [dataclasses.asdict(step) for step in done.steps])
    output.table(
        [
            {"users": step.users, "request": f.name, "asked": f.count, "failed": f.failures}
            | {
                "a second": f"{f.rate:.1f}",
                "p50 ms": f.p50,
                "p95 ms": f.p95,
                "p99 ms": f.p99,
                "most ms": f"{f.most:.0f}",
            }
            for step in done.steps
            for f in step.figures
        ]
    )
    return output.checks(done.checks)


VERB = OnAccount(
    line="let many users ask at once, and hold the answers' times to their limits",
    changes="nothing; it asks, on a real account the real Google too",
    see="#load",
    arguments=_arguments,
    run=_run,
)
