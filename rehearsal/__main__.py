"""`./rehearse [stack]`: deploy a stack into an emulated AWS on this machine, with real containers, and check the
result."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console

from components.settings import SettingsError
from rehearsal.report import Narrator, Report

EXIT = (
    "exit status: 0 all of it held; 1 something did not; 2 wrong configuration or command line; "
    "3 Pulumi's CLI or a plugin is missing, for --engine pulumi and both; 130 interrupted"
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./rehearse", description=__doc__, epilog=EXIT)
    parser.add_argument("stack", nargs="?", default="production", help="the stack to rehearse (default: production)")
    parser.add_argument(
        "--engine",
        choices=("in-process", "pulumi", "both"),
        default="in-process",
        help="what deploys: a small engine in this process (default); Pulumi's own with the official providers, "
        "for which its CLI must be installed; or both, to compare what they made",
    )
    parser.add_argument("--keep", action="store_true", help="leave it running; a further run deploys onto it")
    parser.add_argument(
        "--import",
        dest="adopt",
        type=Path,
        metavar="FILE",
        help="first take in what ./ops adopt found on a kept one",
    )
    parser.add_argument("--stop", action="store_true", help="end a rehearsal that was kept")
    parser.add_argument("--report", type=_writable, metavar="FILE.md", help="write the report as Markdown")
    parser.add_argument("--json", action="store_true", help="print the report as JSON, and nothing else")
    options = parser.parse_args()
    if (options.keep or options.adopt) and options.engine != "in-process":
        parser.error(f"--keep and --import: with --engine {options.engine} nothing stays to be kept")
    return options


def _writable(text: str) -> Path:
    """A path that a report can be written to: told before the rehearsal, not after it."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} cannot be written: name a file in a folder that exists")
    return path


_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Ctrl-C, a termination and a closed terminal end it alike; a second one must not end the cleaning up."""
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """Run it; the exit status."""
    options = _arguments()
    console = Console(stderr=False)
    for number in _ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # As nohup and a shell's background jobs want it.
            signal.signal(number, _interrupt)
    report = Report(stack=options.stack)
    try:
        from rehearsal import engine, run  # here, so that a mistake in the command line is told at once

        if options.stop:
            found = run.stop(options.stack)
            console.print(
                f"The kept rehearsal of {options.stack} was ended."
                if found
                else f"No rehearsal of {options.stack} is kept."
            )
            return 0
        stack = run.Stack.read(options.stack)
        if options.engine != "in-process":
            report.engine = f"pulumi {engine.ensure()}"
    except SettingsError as error:
        print(error, file=sys.stderr)
        report.failure = str(error)
        _write(report, options)
        return 2
    except engine.EngineMissing as error:
        print(error, file=sys.stderr)
        report.failure = str(error)
        _write(report, options)
        return 3
    except KeyboardInterrupt:
        print("Interrupted before anything was started.", file=sys.stderr)
        return 130
    narrator = Narrator(report, console, quiet=options.json)
    interrupted = False
    try:
        if options.engine == "both":
            run.compare(stack, narrator)
        else:
            run.rehearse(stack, narrator, keep=options.keep, adopt=options.adopt, engine=options.engine)
    except KeyboardInterrupt:
        report.failure, interrupted = "Interrupted; what this run had started was removed.", True
    except Exception as error:
        report.failure = run.explain(error)
    narrator.conclude()
    if options.engine == "in-process" and engine.available():
        narrator.say("pulumi is on the PATH: ./rehearse --engine pulumi rehearses with it and the official providers.")
    _write(report, options)
    return 130 if interrupted else 0 if report.passed else 1


def _write(report: Report, options: argparse.Namespace) -> None:
    if options.json:
        print(report.to_json())
    if options.report:
        options.report.write_text(report.to_markdown())


if __name__ == "__main__":
    sys.exit(main())
