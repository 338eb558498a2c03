"""Reading the configuration: inside a Pulumi program, and from a stack's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pulumi.runtime import config as runtime_config
from pydantic import TypeAdapter, ValidationError

from components.settings.errors import SettingsError, explain, mistake
from components.settings.model import NAMESPACE
from components.settings.policy_exceptions import PolicyException
from components.settings.stack import Settings


def load() -> Settings:
    """The configuration of the stack whose program is running."""
    raw = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    return parse(raw)


def load_policy_exceptions() -> list[PolicyException]:
    """The exceptions of the stack that a policy pack is run on: the engine gives a pack the configuration as well.

    None where they cannot be read: what is wrong with them the program reports, and stops.
    """
    raw = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    try:
        return TypeAdapter(list[PolicyException]).validate_json(raw.get(f"{NAMESPACE}:policyExceptions", "[]"))
    except ValidationError:
        return []


def read_stack_file(path: Path) -> dict[str, str]:
    """A `Pulumi.<stack>.yaml` as the engine hands it to the program: full key -> text, objects as JSON.

    Raises `SettingsError` where the file is missing or is not YAML. Encrypted values stay as they are.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        config = document.get("config") if isinstance(document, dict) else None
        if not isinstance(config, dict):
            raise SettingsError([f"  {path.name} has no `config:` with keys below it"])
        # YAML knows dates, which JSON has as text.
        return {
            str(key): value if isinstance(value, str) else json.dumps(value, default=str)
            for key, value in config.items()
        }
    except OSError as error:
        raise SettingsError([f"  {path.name}: {error.strerror}; write it, or name another stack"]) from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise SettingsError([f"  {path.name} is not the YAML of a stack: {' '.join(str(error).split())}"]) from None


def parse(raw: Mapping[str, str]) -> Settings:
    """`raw` (full key -> text, objects as JSON) as settings. Raises `SettingsError` with every mistake there is."""
    values: dict[str, Any] = {}
    mistakes: list[str] = []
    for key, text in raw.items():
        namespace, _, name = key.partition(":")
        if namespace != NAMESPACE:
            continue
        # Objects come as JSON, plain values as they are.
        if isinstance(text, str) and text[:1] in "{[":
            try:
                values[name] = json.loads(text)
            except (ValueError, RecursionError) as error:
                mistakes.append(
                    mistake(key, text, f"JSON ({error})", f"pulumi config set --path '{key}.<name>' <value>")
                )
        else:
            values[name] = text
    if mistakes:
        raise SettingsError(mistakes)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError([explain(problem, Settings) for problem in error.errors()]) from None
