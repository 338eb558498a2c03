"""A stack's configuration with a mistake in it, and what its reader is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from components.settings import Settings, SettingsError, parse
from tests.components.program import only

Change = Callable[[dict[str, Any]], object]


PREFIX = "mcp-on-ecs"


SERVICE = f"{PREFIX}:services.google-workspace"


def parsed(config: dict[str, Any]) -> Settings:
    """`config` (name -> value) as the engine would hand it over: everything but text as JSON."""
    return parse(
        {f"{PREFIX}:{name}": value if isinstance(value, str) else json.dumps(value) for name, value in config.items()}
    )


def mistakes(config: dict[str, Any]) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        parsed(config)
    count = len(refused.value.mistakes)
    first = f"{count} mistake{'' if count == 1 else 's'} in the stack's configuration; nothing was changed."
    assert str(refused.value) == "\n".join([first, *refused.value.mistakes])
    return refused.value.mistakes


def service(**changes: Any) -> Change:
    return lambda config: only(config).update(changes)


def routing(**changes: Any) -> Change:
    return lambda config: only(config)["routing"].update(changes)


def wrong(key: str, value: Any, allowed: str, do: str | None = None) -> str:
    """A mistake in one value, in the four lines that every such message has."""
    quote = "'" if set(key) & set("[]{}$ ") else ""
    command = f"pulumi config set --path {quote}{key}{quote} <value>"
    shown = json.dumps(value, ensure_ascii=False)
    return f"  {key}\n      is       {shown}\n      allowed  {allowed}\n      do       {do or command}"


def not_text(key: str, value: Any) -> str:
    """A value that YAML does not take for text, where text is wanted."""
    quote = "'" if set(key) & set("[]{}$ ") else ""
    return wrong(
        key,
        value,
        "text; without quotation marks YAML takes it for something else: 010 for 8, 3.10 for 3.1",
        f"pulumi config set --path {quote}{key}{quote} --type string <value>",
    )


def unset(key: str, allowed: str) -> str:
    command = f"pulumi config set --path {key} <value>"
    return f"  {key}\n      is       not set\n      allowed  {allowed}\n      do       {command}"


def at_odds(key: str, text: str) -> str:
    """Settings that do not go together."""
    return f"  {key}\n      {text}"
