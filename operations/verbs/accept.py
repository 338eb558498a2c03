"""`./ops accept`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from machine.output import writable, write
from operations.output import Output
from operations.verbs.base import OnAccount

if TYPE_CHECKING:
    from operations.target import Target


def token_file(parser: argparse.ArgumentParser) -> None:
    """The argument of verbs that sign in: a token is never on the command line."""
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="holds a signed-in user's token (default: ACCEPTANCE_TOKEN)"
    )


def _arguments(parser: argparse.ArgumentParser) -> None:
    token_file(parser)
    parser.add_argument("--report", type=writable, metavar="FILE.md", help="write the report as Markdown")


def _run(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.accept import accept

    report = accept(target, target.service(options.service), token_file=options.token_file)
    status = output.checks(report.checks) or (0 if report.passed else 1)
    if options.report:
        write(options.report, report.to_markdown())
    return status


VERB = OnAccount(
    line="test sign-in, endpoints and tools as clients and their users use them",
    changes="nothing; it leaves a handful of registered clients",
    see="#acceptance",
    arguments=_arguments,
    run=_run,
)
