"""`./ops rollback`."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from operations.output import Output
from operations.verbs.base import OnAccount

if TYPE_CHECKING:
    from operations.target import Target


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("revision", nargs="?", help="number or family:number (default: the last healthy one)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument("--even-if-never-healthy", action="store_true", help="go to a revision that never was")


def _run(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.rollback import rollback

    done = rollback(
        target,
        target.service(options.service),
        options.revision,
        dry_run=options.dry_run,
        even_if_never_healthy=options.even_if_never_healthy,
        progress=output.print,
    )
    output.record("rollback", dataclasses.asdict(done))
    if done.dry_run:
        output.print(f"Would go back from {done.left} to {done.to}, {done.image}, and set {done.pinned}.")
        return 0
    status = output.checks(done.checks)
    output.print(f"{done.service} is back on {done.to} (from {done.left}) after {done.seconds:.1f} s.")
    output.print(
        f"{done.pinned} keeps it at the next pulumi up. Remove the key when the mended version is to be built."
    )
    if done.same_image:
        output.print(
            f"The image is that of {done.left}: a setting differs. Put it back too, or pulumi up brings it again."
        )
    return status


VERB = OnAccount(
    line="go back to the last revision that was healthy, or to the one named",
    changes="service, `Pulumi.<stack>.yaml`",
    see="#back-in-one-command",
    arguments=_arguments,
    run=_run,
)
