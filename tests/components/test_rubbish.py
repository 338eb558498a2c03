"""Rubbish at any place of the configuration is taken or refused, and never makes a traceback."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from components.settings import SettingsError
from tests.components.mistakes import (
    parsed,
)
from tests.components.program import only
from tests.stacks import INTERNAL

RUBBISH: list[Any] = [
    None, True, False, 0, -1, 1.5, 1e400, 10**40, "", " ", "x", "\n", "é", "${x}", "{", "[", "*", "\x00", "'", '"',
    [], [None], [[]], ["x"], {}, {"": ""}, {"x": None}, {"x": {"x": []}}, "a" * 300,
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*path, key))


def put(config: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    *before, last = path
    place: Any = config
    for part in before:
        place = place[part]
    place[last] = value


def full(config: dict[str, Any]) -> dict[str, Any]:
    """The production stack with every section spelled out, so that there is a place for rubbish in each."""
    only(config).update(
        server="workspace-mcp",
        name="busyb-google-workspace-mcp",
        image={"context": "image", "dockerfile": "Dockerfile", "target": "x", "args": {"A": "x"}, "digest": None},
        environment={"A": "x"},
        variables={},
        consumers=[],
        executionRole="r",
        health={"path": "/health", "interval": 30, "timeout": 5, "startPeriod": 60, "gracePeriod": 60},
        discovery={"name": "g", "ttl": 60},
        tags={"Team": "x"},
    )
    only(config)["oauth"].update(
        allowedOrigins=["https://x"], state={"backend": "valkey", "host": "h", "port": 1, "tls": True, "database": 0}
    )
    return {**config, "tags": {"Team": "x"}}


def taken_or_refused(config: dict[str, Any]) -> None:
    try:
        parsed(config)
    except SettingsError as error:
        assert error.mistakes
        assert str(error)


def test_rubbish_at_every_place_is_taken_or_refused_and_never_a_traceback(config: dict[str, Any]) -> None:
    config = full(config)
    parsed(config)
    for path in places(config):
        for value in RUBBISH if path else ():
            bad = copy.deepcopy(config)
            put(bad, path, value)
            taken_or_refused(bad)


def test_rubbish_at_several_places_at_once_is_taken_or_refused_and_never_a_traceback(config: dict[str, Any]) -> None:
    config = full(config)
    found = [path for path in places(config) if path]
    chance = random.Random(3)
    for _ in range(300):
        bad = copy.deepcopy(config)
        # Deeper places first: rubbish higher up would take them away.
        for path in sorted(chance.sample(found, 4), key=len, reverse=True):
            put(bad, path, chance.choice(RUBBISH))
        taken_or_refused(bad)


@pytest.mark.parametrize("routing", [
    {"strategy": "host", "host": "a.example", "priority": 1, "hostedZone": "b"},
    {"strategy": "prefix", "host": "a.example", "path": "/x", "priority": 1, "variable": "X"},
    {"strategy": "pattern", "host": "a.example", "patterns": ["/x*"], "path": "/x", "priority": 1},
    {"strategy": "internal"},
])  # fmt: skip
def test_rubbish_in_every_strategy_is_taken_or_refused_and_never_a_traceback(
    config: dict[str, Any], routing: dict[str, Any]
) -> None:
    only(config)["routing"] = routing
    if routing["strategy"] == "internal":
        only(config).update(INTERNAL)
    parsed(config)
    for path in places(routing):
        for value in RUBBISH if path else ():
            bad = copy.deepcopy(config)
            put(only(bad)["routing"], path, value)
            taken_or_refused(bad)
