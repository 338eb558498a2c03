"""`./ops conformance`."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from operations.errors import OperationError
from operations.output import Output
from operations.verbs.accept import token_file
from operations.verbs.base import OnConfiguration

if TYPE_CHECKING:
    from acceptance import Subject


def _arguments(parser: argparse.ArgumentParser) -> None:
    token_file(parser)
    parser.add_argument(
        "url", nargs="?", help="a server's public URL, in place of a stack: https://host or https://host/path"
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="what the server is known not to do (default: conformance/baseline.yaml, that of workspace-mcp)",
    )


def _run(options: argparse.Namespace, output: Output) -> int:
    from conformance.baseline import FILE
    from operations.conformance import conformance

    outcomes, checks = conformance(_subject(options), options.baseline or FILE)
    output.record("outcomes", [dataclasses.asdict(outcome) for outcome in outcomes])
    return output.checks(checks)


def _subject(options: argparse.Namespace) -> Subject:
    from acceptance import Subject
    from checks import Expectations, PublicAddress
    from operations import users

    if not options.url:
        from operations.target import named

        target = named(options.stack, rehearsal=options.rehearsal)
        return users.from_outside(target, target.service(options.service), options.token_file)
    if options.rehearsal or options.service:
        raise OperationError("Name a URL or a stack's service, not both.", 2)
    try:
        address = PublicAddress(url=options.url)
    except ValueError as error:
        raise OperationError(f"{error}.", 2) from None
    return Subject(address=address, expectations=Expectations(oauth=None), token=users.token(options.token_file))


VERB = OnConfiguration(
    line="run the official conformance suite of MCP, each revision held to what is known to fail",
    more="Of a stack's service, or of any server by its URL.",
    changes="nothing; it asks as a user, for tools that no server has but the suite's own",
    see="conformance.md",
    arguments=_arguments,
    run=_run,
)
