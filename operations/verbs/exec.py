"""`./ops exec`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from operations.output import Output
from operations.verbs.base import OnAccount

if TYPE_CHECKING:
    from operations.target import Target


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("command", nargs="*", help="the command (default: a shell); after -- if it has options")


def _run(target: Target, options: argparse.Namespace, _output: Output) -> int:
    from operations.console import execute

    return execute(target, target.service(options.service), options.command)


VERB = OnAccount(
    line="run a command in a running task", changes="whatever the command does", arguments=_arguments, run=_run
)
