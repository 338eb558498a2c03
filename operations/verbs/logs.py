"""`./ops logs`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from operations.errors import OperationError
from operations.output import Output
from operations.verbs.base import OnAccount

if TYPE_CHECKING:
    from operations.target import Target


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", default="1h", metavar="SPAN", help="how far back: 90s, 15m, 2h, 7d (default: 1h)")
    parser.add_argument("--follow", action="store_true", help="go on until interrupted")


def _run(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.console import logs

    if options.follow and output.machines:
        raise OperationError("--json prints one document, and --follow never ends: leave out one of them.", 2)
    lines: list[str] = []
    write = lines.append if output.machines else output.print
    logs(target, target.service(options.service), write, since=options.since, follow=options.follow)
    output.record("lines", lines)
    return 0


VERB = OnAccount(line="log lines", arguments=_arguments, run=_run)
