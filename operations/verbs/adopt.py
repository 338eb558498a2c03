"""`./ops adopt`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from machine.output import writable
from operations.output import Output
from operations.verbs.base import OnAccount

if TYPE_CHECKING:
    from operations.target import Target


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=writable, metavar="FILE", help="write what pulumi import --file takes")


def run(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations import adopt

    found = adopt.survey(target)
    for name, value in adopt.document(found).items():
        output.record(name, value)
    output.table(adopt.table(found))
    for thing in found.adoptable:
        lines = list(adopt.changes(thing))
        if lines:
            output.print("\n    ".join([f"{thing.name}: {thing.fate}", *lines]))
    for revision in found.continued:
        output.print(
            f"{revision} stays, and can be gone back to; it is not imported, and the stack's revisions come after it."
        )
    for thing in found.existing:
        if thing.obstacle:
            output.print(f"in the way: {thing.noun} {thing.id}: {thing.obstacle}\n    do: {thing.remedy}")
    for what, where, why, remedy in found.conflicts:
        output.print(f"in the way: {what} {where}: {why}\n    do: {remedy}")
    for leftover in found.leftovers:
        output.print(f"stays: {leftover.what}: {leftover.why}\n    remove it after the up: {leftover.remedy}")
    if not found.existing:
        output.print("Nothing of the stack exists outside of its state: there is nothing to adopt.")
    else:
        output.print(f"{len(found.existing)} exist, {found.managed} are in the state, {found.new} will be made.")
    if found.unknown:
        output.print(f"not known: what the first up changes, since Pulumi's preview of it fails: {found.unknown}")
    if found.adoptable:
        if options.out:
            adopt.write(found, options.out)
            output.print(f"{options.out} has what can be adopted: {len(found.adoptable)} resources. Next:")
        for command in adopt.commands(target.stack, options.out, rehearsed=target.rehearsed):
            output.print(f"  {command}")
    return 1 if found.stops else 0


VERB = OnAccount(
    line="what of the stack exists already, what the first up changes on it, and an import file for it",
    changes="nothing but FILE",
    see="deploying.md#resources-that-were-made-by-hand",
    arguments=_arguments,
    run=run,
)
