"""`./rehearse [stack]`: deploy a stack into an emulated AWS on this machine, with real containers, and check the
result."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from machine import output
from machine.output import INTERRUPTED, NotWritten, writable, write

if TYPE_CHECKING:
    from engine.cli import Cli
    from rehearsal.report import Report

EXIT = (
    "exit status: 0 all of it held; 1 something did not; 2 wrong configuration or command line; "
    "3 Pulumi's engine or a plugin is missing, where it is asked for; 130 interrupted"
)


def parser() -> argparse.ArgumentParser:
    """Its command line."""
    parser = argparse.ArgumentParser(prog="./rehearse", description=__doc__, epilog=EXIT)
    parser.add_argument("stack", nargs="?", default="production", help="the stack to rehearse (default: production)")
    parser.add_argument(
        "--engine",
        choices=("pulumi", "embedded"),
        help="what deploys: Pulumi's own engine, which is the default where its CLI is at hand or can be downloaded, "
        "or a driver in this process, which is the default elsewhere",
    )
    parser.add_argument(
        "--providers",
        choices=("own", "official"),
        default="own",
        help="what carries resources out: this project's own (default), or the official plugins of pulumi-aws and "
        "pulumi-docker, on Pulumi's engine",
    )
    parser.add_argument("--full", action="store_true", help="also update the image, destroy, and look for remains")
    parser.add_argument("--keep", action="store_true", help="leave it running; a further run deploys onto it")
    parser.add_argument(
        "--import",
        dest="adopt",
        type=Path,
        metavar="FILE",
        help="first take in what ./ops adopt found on a kept one",
    )
    parser.add_argument("--stop", action="store_true", help="end a rehearsal that was kept")
    parser.add_argument(
        "--compare",
        choices=("engines", "providers"),
        help="deploy in two ways, and hold the accounts against each other: the embedded driver and Pulumi's engine, "
        "or own and official providers",
    )
    parser.add_argument(
        "--make-engine",
        action="store_true",
        help="have Pulumi's CLI downloaded, or built (about 8 minutes on two cores, once), and end",
    )
    parser.add_argument("--report", type=writable, metavar="FILE.md", help="write the report as Markdown")
    parser.add_argument("--json", action="store_true", help="print the report as JSON, and nothing else")
    return parser


def _arguments() -> argparse.Namespace:
    own = parser()
    options = own.parse_args()
    if options.providers == "official" and (options.keep or options.adopt):
        own.error("--keep and --import: with --providers official nothing stays to be kept")
    if options.keep and options.full:
        own.error("--keep and --full: a full rehearsal destroys what it deployed, so nothing is left to be kept")
    if options.engine == "embedded" and (options.providers == "official" or options.compare):
        own.error("--engine embedded: the official providers, and comparisons, need Pulumi's engine")
    return options


_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Ctrl-C, a termination and a closed terminal end it alike; a second one must not end the cleaning up."""
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """Run it; the exit status."""
    options = _arguments()
    for number in _ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # As nohup and a shell's background jobs want it.
            signal.signal(number, _interrupt)
    # Here, where Ctrl-C is told in a word, and after a mistake in the command line: they take a while.
    from rich.console import Console

    from components.settings import SettingsError
    from rehearsal.report import Narrator, Report

    console = Console(stderr=False)
    report = Report(stack=options.stack)
    try:
        from engine import cli as clis  # here, so that a mistake in the command line is told at once
        from engine import forks
        from engine.stack import ensure_official_providers

        if options.make_engine:
            print(clis.ensure(lambda line: print(line, flush=True), build=True))
            return 0
        if not options.stop:
            forks.prepare()
        from rehearsal import kept, phases, run

        if options.stop:
            found = kept.stop(options.stack)
            console.print(
                f"The kept rehearsal of {options.stack} was ended."
                if found
                else f"No rehearsal of {options.stack} is kept."
            )
            return 0
        stack = run.Stack.read(options.stack)
        cli = _engine(options)
        if cli and (options.providers == "official" or options.compare == "providers"):
            ensure_official_providers(cli)
        report.engine = str(cli or "embedded driver")
        report.providers = options.providers
    except SettingsError as error:
        print(error, file=sys.stderr)
        report.failure = str(error)
        _write(report, options)
        return 2
    except clis.EngineMissing as error:
        print(error, file=sys.stderr)
        report.failure = str(error)
        _write(report, options)
        return 3
    except KeyboardInterrupt:
        print("Interrupted before anything was started.", file=sys.stderr)
        return INTERRUPTED
    narrator = Narrator(report, console, quiet=options.json)
    narrator.print(f"Engine: {report.engine}; providers: {report.providers}")
    if cli is None:
        narrator.print(f"Pulumi's own engine is not at hand; it is used from the next run on after: {clis.BUILD}")
    interrupted = False
    try:
        if options.compare:
            assert cli
            phases.compare(stack, narrator, options.compare, cli)
        else:
            phases.rehearse(
                stack,
                narrator,
                cli=cli,
                providers=options.providers,
                keep=options.keep,
                full=options.full,
                adopt=options.adopt,
            )
    except KeyboardInterrupt:
        report.failure, interrupted = "Interrupted; what this run had started was removed.", True
    except Exception as error:
        report.failure = run.explain(error)
    narrator.conclude()
    written = _write(report, options)
    return INTERRUPTED if interrupted else 0 if report.passed and written else 1


def _engine(options: argparse.Namespace) -> Cli | None:
    """Pulumi's CLI; None: the embedded driver. Raises `EngineMissing` where the engine is asked for."""
    from engine import cli as clis

    if options.engine == "embedded":
        return None
    try:
        # Nobody waits for the long build unasked.
        return clis.ensure(lambda line: print(line, file=sys.stderr), build=False)
    except clis.EngineMissing:
        if options.engine == "pulumi" or options.providers == "official" or options.compare:
            raise
        return None


def _write(report: Report, options: argparse.Namespace) -> bool:
    """Whether the report is where it was wanted; where it is not, that is told."""
    if options.json:
        print(report.to_json())
    try:
        if options.report:
            write(options.report, report.to_markdown())
    except NotWritten as error:
        print(error, file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(output.run(main))
