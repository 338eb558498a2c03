"""`./rehearse [stack]`: deploy a stack into an emulated AWS on this machine, with real containers, and check the
result."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from rich.console import Console

from components.settings import SettingsError
from rehearsal.report import Narrator, Report

EXIT = "exit status: 0 all of it held; 1 something did not; 2 wrong configuration or command line; 130 interrupted"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./rehearse", description=__doc__, epilog=EXIT)
    parser.add_argument("stack", nargs="?", default="production", help="the stack to rehearse (default: production)")
    parser.add_argument("--keep", action="store_true", help="leave it running; a further run deploys onto it")
    parser.add_argument("--stop", action="store_true", help="end a rehearsal that was kept")
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="write the report as Markdown")
    parser.add_argument("--json", action="store_true", help="print the report as JSON, and nothing else")
    return parser.parse_args()


def main() -> int:
    """Run it; the exit status."""
    options = _arguments()
    console = Console(stderr=False)
    # A termination leaves as much behind as Ctrl-C does: nothing.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        from rehearsal import run  # here, so that a mistake in the command line is told at once

        if options.stop:
            found = run.stop(options.stack)
            console.print(
                f"The kept rehearsal of {options.stack} was ended."
                if found
                else f"No rehearsal of {options.stack} is kept."
            )
            return 0
        stack = run.Stack.read(options.stack)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    report = Report(stack=options.stack)
    narrator = Narrator(report, console, quiet=options.json)
    interrupted = False
    try:
        run.rehearse(stack, narrator, keep=options.keep)
    except KeyboardInterrupt:
        report.failure, interrupted = "Interrupted; everything that had been started was removed.", True
    except Exception as error:
        report.failure = run.explain(error)
    narrator.conclude()
    if options.json:
        print(report.to_json())
    if options.report:
        options.report.write_text(report.to_markdown())
    return 130 if interrupted else 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
