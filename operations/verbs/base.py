"""What every verb has: words, arguments and an outcome.

A verb's file is read whenever the verbs are listed: what it does with is imported where it is used.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from operations.errors import STATUSES, no_service
from operations.output import Output

if TYPE_CHECKING:
    from operations.target import Target


def no_arguments(_parser: argparse.ArgumentParser) -> None:
    """A verb with no arguments but those of all."""


@dataclass(frozen=True, kw_only=True)
class Verb:
    """What `./ops`, its help and docs/operations.md say of a verb."""

    line: str
    """What it does, in a line."""
    more: str = ""
    """What else should be known of it, in a sentence or two."""
    changes: str = "nothing"
    """What it changes, and where."""
    see: str = ""
    """Where docs say more of it: a file in docs/, a heading of docs/operations.md, or both (deploying.md#heading)."""
    arguments: Callable[[argparse.ArgumentParser], None] = no_arguments
    """Adds its own arguments."""

    def parser(self, name: str) -> argparse.ArgumentParser:
        """Its command line, with the arguments of all verbs."""
        page = f"operations.md{self.see}" if self.see.startswith("#") else self.see
        paragraphs = [f"{self.line[0].upper()}{self.line[1:]}. {self.more}", f"More: docs/{page}" if page else ""]
        parser = argparse.ArgumentParser(
            prog=f"./ops {name}",
            # As it is: the page's address would be broken at a hyphen.
            formatter_class=argparse.RawDescriptionHelpFormatter,
            description="\n".join(textwrap.fill(words, 100) for words in paragraphs if words),
            epilog=STATUSES,
        )
        parser.add_argument("--stack", default="production", help="the stack (default: production)")
        parser.add_argument("--service", metavar="KEY", help="the service, where the stack has several")
        parser.add_argument("--rehearsal", action="store_true", help="work on the kept rehearsal of the stack")
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        self.arguments(parser)
        return parser


def check_service(options: argparse.Namespace) -> None:
    """A verb that works on the whole stack, too, refuses a service that it has not got. Raises `OperationError`,
    `SettingsError`."""
    if options.service is None:
        return
    from components.settings import parse, read_stack_file, stack_file

    known = parse(read_stack_file(stack_file(options.stack))).services
    if options.service not in known:
        raise no_service(options.stack, options.service, known)


@dataclass(frozen=True, kw_only=True)
class OnAccount(Verb):
    """A verb that works on a stack's account or on a kept rehearsal."""

    run: Callable[[Target, argparse.Namespace, Output], int]
    """Does it, and tells the outcome; the exit status."""


@dataclass(frozen=True, kw_only=True)
class OnConfiguration(Verb):
    """A verb that needs the stack's configuration alone."""

    run: Callable[[argparse.Namespace, Output], int]
    """Does it, and tells the outcome; the exit status."""
