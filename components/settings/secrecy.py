"""Secrets in the configuration: where there are any, and which of them are refused.

What the program is told it writes into task definitions, names and tags, where it stands in clear in the state, in
previews and in outputs. The one place of a secret is a subscription's endpoint, which stays encrypted in the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import EllipsisType
from typing import Any

from components.settings.errors import SecretPath, command, key_text
from components.settings.model import NAMESPACE


def is_encrypted(value: Any) -> bool:
    """Whether `value` is how a stack's file has a secret: `{secure: ...}`."""
    return isinstance(value, dict) and value.keys() == {"secure"}


def encrypted_in(value: Any, path: SecretPath = ()) -> Iterator[SecretPath]:
    """The places of secrets in what a stack's file says."""
    waiting = [(path, value)]  # Not by recursion, which nested lists could drive to its limit.
    while waiting:
        place, found = waiting.pop()
        if is_encrypted(found):
            yield place
        elif isinstance(found, dict):
            waiting += [((*place, key), item) for key, item in found.items()]
        elif isinstance(found, list):
            waiting += [((*place, index), item) for index, item in enumerate(found)]


def refused_secrets(paths: Iterable[SecretPath], values: Mapping[str, Any]) -> list[str]:
    """A mistake for each secret of `paths` that would not stay one. `values`: name -> value of the configuration."""
    return [_mistake(path) for path in sorted(set(paths), key=str) if not _stays_secret(path, values)]


def _stays_secret(path: SecretPath, values: Mapping[str, Any]) -> bool:
    match path:
        case ("monitoring", "subscriptions", int(), "endpoint"):
            return True
        case ("monitoring", EllipsisType()):
            monitoring = values.get("monitoring")
            return isinstance(monitoring, dict) and bool(monitoring.get("subscriptions"))
    return False


def _mistake(path: SecretPath) -> str:
    known = [part for part in path if not isinstance(part, EllipsisType)]
    key = f"{NAMESPACE}:{key_text(known)}"
    if len(known) < len(path):
        what = "somewhere below it a secret: `secure:` in the stack's file, or of an environment of Pulumi ESC"
    else:
        what = "a secret"
    match known:
        case ("services", str(service), "environment" | "variables", str(variable)):
            reference = ["services", service, "secrets", variable]
            keep = "; ".join(
                [
                    command("rm", known),
                    command("set", [*reference, "secret"], "NAME"),
                    command("set", [*reference, "key"], "KEY"),
                ]
            )
            remedy = f"put it into a secret of AWS Secrets Manager, as KEY of its JSON, and name that here: {keep}"
        case _ if len(known) < len(path):
            remedy = (
                "what a server must know goes into AWS Secrets Manager, and services.<key>.secrets names it; "
                "what is not secret is set again with --plaintext"
            )
        case _:
            remedy = f"if it is not secret, set it in clear: {command('set', known, '--plaintext <value>')}"
    return (
        f"  {key}\n      is       {what}\n"
        "      allowed  what may be read by everybody who sees a preview, the state or the account: "
        f"it would stand there in clear\n      do       {remedy}"
    )
