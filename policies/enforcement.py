"""How a rule is enforced where its severity shall not decide: `policies/enforcement.json`, if there is one.

    {"ecs-container-require-user": "mandatory", "logs-group-keep-a-year": "disabled"}

It is what `pulumi preview --policy-pack-config FILE` takes; as a file of the pack it holds wherever the rules do.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi_policy import EnforcementLevel as Level

from components.settings import SettingsError
from policies.rule import Rule
from policies.rules import rules

FILE = Path(__file__).with_name("enforcement.json")
_LEVELS = {level.value: level for level in (Level.MANDATORY, Level.ADVISORY, Level.DISABLED)}


class EnforcementError(SettingsError):
    """The file cannot be used. `mistakes` has one text each; the message shows all of them."""

    def __init__(self, file: Path, mistakes: Sequence[str]) -> None:
        self.mistakes = list(mistakes)
        pulumi.RunError.__init__(self, "\n".join(f"{file.parent.name}/{file.name}: {mistake}" for mistake in mistakes))


def levels(file: Path = FILE) -> dict[str, Level]:
    """The levels by the rule's name; empty where there is no file. Raises `EnforcementError`."""
    if not file.exists():
        return {}
    given: Any = None
    repeated: list[str] = []

    def noting_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated.extend(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        return dict(pairs)

    try:
        given = json.loads(file.read_text(), object_pairs_hook=noting_repeated)
        mistakes = [*(f"{name} is there more than once" for name in repeated), *_mistakes(given)]
    except OSError as error:
        mistakes = [f"cannot be read: {error.strerror}"]
    except RecursionError:
        mistakes = ["is nested too deeply"]
    except ValueError as error:
        mistakes = [f"no JSON: {error}"]
    if mistakes:
        raise EnforcementError(file, mistakes)
    return {name: _LEVELS[level] for name, level in given.items()}


def _mistakes(given: Any) -> Iterator[str]:
    if not isinstance(given, dict):
        yield 'must be an object such as {"ecs-container-require-user": "mandatory"}'
        return
    known = {rule.id for rule in rules()}
    for name, level in given.items():
        if name not in known:
            yield f"there is no rule {name}; ./ops policies --list lists them"
        if not isinstance(level, str) or level not in _LEVELS:
            yield f"{name} is {level!r}; must be one of {', '.join(_LEVELS)}"


def enforced(found: Sequence[Rule], by: Mapping[str, Level]) -> list[Rule]:
    """The rules that are not disabled, each as it is enforced."""
    return [
        dataclasses.replace(rule, enforced=by[rule.id] is Level.MANDATORY) if rule.id in by else rule
        for rule in found
        if by.get(rule.id) is not Level.DISABLED
    ]
