"""What a server is known not to do: `baseline.yaml`, a line for each, with its reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("baseline.yaml")
"""That of workspace-mcp."""

Baseline = Mapping[str, Mapping[str, str]]
"""Revision -> what fails, `scenario` or `scenario:check` -> why it does."""


class BaselineError(ValueError):
    """The file is no baseline; the message has all that is wrong with it."""


def read(file: Path, revisions: Sequence[str]) -> Baseline:
    """The baseline in a YAML file. Raises `BaselineError`."""
    try:
        # All of it is text: a revision looks like a date.
        found = yaml.load(file.read_text(), Loader=yaml.BaseLoader) or {}  # noqa: S506
    except OSError as error:
        raise BaselineError(f"The baseline {file} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BaselineError(f"The baseline {file} is no YAML: {error}") from None
    mistakes = list(_mistakes(found, revisions))
    if mistakes:
        shape = "Write, below a revision, a line for each scenario or scenario:check that fails, and why it does."
        raise BaselineError("\n".join([f"The baseline {file} is wrong:", *(f"- {m}" for m in mistakes), shape]))
    return {revision: dict(found.get(revision) or {}) for revision in revisions}


def _mistakes(found: object, revisions: Sequence[str]) -> list[str]:
    if not isinstance(found, dict):
        return ["it is no mapping of revisions"]
    mistakes = []
    for revision, lines in found.items():
        if revision not in revisions:
            mistakes.append(f"{revision}: no revision that is tried; these are: {', '.join(revisions)}")
        if lines and not isinstance(lines, dict):
            mistakes.append(f"{revision}: its lines are no mapping")
            continue
        for name, reason in (lines or {}).items():
            if not re.fullmatch(r"[^:\s]+(:[^:\s]+)?", name):
                mistakes.append(f"{revision}, {name}: not scenario or scenario:check")
            if not isinstance(reason, str) or not reason.strip():
                mistakes.append(f"{revision}, {name}: the reason is missing")
            scenario, colon, _ = name.partition(":")
            if colon and scenario in lines:
                mistakes.append(f"{revision}, {name}: the whole scenario has a line too")
    return mistakes


def as_the_suite_takes_it(names: Sequence[str]) -> str:
    """The file of expected failures, as the suite's README has it."""
    return yaml.safe_dump({"server": list(names)})
