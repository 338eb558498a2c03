"""Reading the configuration: of a running program, and of texts as the engine hands them over."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import config as runtime_config
from pydantic import TypeAdapter, ValidationError

from components.settings.errors import HIDDEN, SecretPath, SettingsError, explain, mistake
from components.settings.model import NAMESPACE
from components.settings.policy_exceptions import PolicyException
from components.settings.secrecy import encrypted_in, refused_secrets
from components.settings.stack import Settings
from components.settings.stack_file import read_stack_file


def load() -> Settings:
    """The configuration of the stack whose program is running."""
    raw = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    with_secrets = [key for key in raw if runtime_config.is_config_secret(key)]
    return parse(raw, secrets=_secret_paths(with_secrets) if with_secrets else ())


def _secret_paths(keys: Iterable[str]) -> Iterator[SecretPath]:
    """Where below `keys` the secrets are: as far as the stack's file shows it, which may be another one or none."""
    try:
        in_file = read_stack_file(Path(f"Pulumi.{pulumi.get_stack()}.yaml"))
    except SettingsError:
        in_file = {}
    for key in keys:
        namespace, _, name = key.partition(":")
        if namespace == NAMESPACE:
            found: list[SecretPath] = []
            with contextlib.suppress(ValueError):
                found += encrypted_in(_value(in_file.get(key, "")), (name,))
            yield from found or [(name, ...)]


def policy_exceptions(raw: Mapping[str, str]) -> list[PolicyException]:
    """The policy exceptions in a stack's configuration, for a policy pack. `raw`: full key -> text, objects as JSON.

    None where they cannot be read: what is wrong with them the program reports, and stops.
    """
    try:
        return TypeAdapter(list[PolicyException]).validate_json(raw.get(f"{NAMESPACE}:policyExceptions", "[]"))
    except ValidationError:
        return []


def parse(raw: Mapping[str, str], *, secrets: Iterable[SecretPath] = ()) -> Settings:
    """`raw` (full key -> text, objects as JSON) as settings.

    secrets: where there are secrets in what the engine has decrypted; `{secure: ...}` in `raw` is one as well.
    Raises `SettingsError` with every mistake there is; but with secrets alone where these have no place, since the
    other mistakes could not be told without telling them.
    """
    values: dict[str, Any] = {}
    mistakes: list[str] = []
    paths = list(secrets)
    for key, text in raw.items():
        namespace, _, name = key.partition(":")
        if namespace != NAMESPACE:
            continue
        try:
            values[name] = _value(text)
        except (ValueError, RecursionError) as error:
            shown = HIDDEN if any(path[0] == name for path in paths) else text
            mistakes.append(mistake(key, shown, f"JSON ({error})", f"pulumi config set --path '{key}.<name>' <value>"))
    mistakes += _spaced(values)
    paths += encrypted_in(values)
    mistakes += refused_secrets(paths, values)
    if mistakes:
        raise SettingsError(mistakes)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError([explain(problem, Settings, paths) for problem in error.errors()]) from None


def _value(text: str) -> Any:
    """What a key has: objects come as JSON, plain values as they are."""
    return json.loads(text) if isinstance(text, str) and text[:1] in "{[" else text


def _spaced(value: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Mistakes: keys with space at an end, which the models take away, so that `mail` and `mail ` would be one."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key != key.strip():
            place = f"{NAMESPACE}:{'.'.join(path)}"
            yield mistake(place, key, "a key without space at its ends", "take the space away, in the stack's file")
        yield from _spaced(inner, (*path, key))
