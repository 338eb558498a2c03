"""The verbs of `./ops`, a file for each."""

from __future__ import annotations

import argparse
import importlib

from operations.errors import STATUSES
from operations.verbs.base import OnAccount, OnConfiguration

GROUPS: dict[str, tuple[str, ...]] = {
    "before a deployment": ("preflight", "adopt", "policies", "rights", "clients", "cost", "timing", "diagram"),
    "after it": ("verify", "accept", "conformance", "load", "review"),
    "what runs": ("status", "history", "logs", "exec"),
    "when something is wrong": ("rollback", "restart"),
}
"""What a person is about to do -> the verbs for it."""

NAMES = tuple(name for names in GROUPS.values() for name in names)


def find(name: str) -> OnAccount | OnConfiguration:
    """The verb of this name, which is one of `NAMES`."""
    verb: OnAccount | OnConfiguration = importlib.import_module(f"operations.verbs.{name}").VERB
    return verb


def overview() -> str:
    """All verbs, grouped, a line each."""
    lines = ["usage: ./ops VERB [--stack STACK] [--service KEY] [--rehearsal] [--json] ..."]
    for title, names in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {name:<11} {find(name).line}" for name in names)]
    return "\n".join(
        [*lines, "", "one verb, with its arguments: ./ops VERB --help; more: docs/operations.md", STATUSES]
    )


def table() -> str:
    """The verbs as docs/operations.md has them, in Markdown. `python -m operations.verbs` prints it."""
    lines = ["| verb | what it does | changes |", "|---|---|---|"]
    for name in NAMES:
        verb = find(name)
        own = argparse.ArgumentParser(add_help=False)
        verb.arguments(own)
        positional = [f"[{a.dest.upper()}]" for a in own._actions if not a.option_strings]
        link = f"[More]({verb.see})." if verb.see else ""
        words = " ".join(filter(None, [f"{verb.line[0].upper()}{verb.line[1:]}.", verb.more, link]))
        options = [_described(action) for action in own._actions if action.option_strings]
        cells = (f"`{' '.join([name, *positional])}`", "<br>".join([words, *options]), verb.changes)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _described(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    words = str(action.help).replace("*", "\\*").replace("|", "\\|")
    return f"`{action.option_strings[0]}{value}`: {words}"
