"""Reading IAM policy documents, wherever they are attached."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any


def statements(document: Any, effect: str = "Allow") -> Iterator[Mapping[str, Any]]:
    """The statements of a policy document (parsed) with an effect; none for no document."""
    found = document.get("Statement", []) if isinstance(document, Mapping) else []
    for statement in [found] if isinstance(found, Mapping) else found:
        if statement.get("Effect") == effect:
            yield statement


def texts(value: Any) -> list[str]:
    """What a policy may write as one text or as a list of them."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(item) for item in value]


def name(statement: Mapping[str, Any]) -> str:
    """How to point at a statement."""
    return (
        f"statement {statement['Sid']}" if statement.get("Sid") else f"the statement on {', '.join(actions(statement))}"
    )


def actions(statement: Mapping[str, Any]) -> list[str]:
    return texts(statement.get("Action"))


def is_every_action(action: str) -> bool:
    """Whether nothing of an action's name is said: `*`, `s3:*`, `s3:?*`."""
    return not action.rpartition(":")[2].strip("*?")


def principals(statement: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(kind, principal); the kind of a bare * is *."""
    principal = statement.get("Principal")
    if isinstance(principal, str):
        return [("*", principal)]
    return [(kind, one) for kind, value in (principal or {}).items() for one in texts(value)]


def anyone(statement: Mapping[str, Any]) -> bool:
    """Whether the statement is about everybody, in any account."""
    return "NotPrincipal" in statement or any(one == "*" for kind, one in principals(statement) if kind in ("*", "AWS"))


_CALLER_KEYS = {
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceowner",
    "aws:sourceorgid",
    "aws:sourcevpc",
    "aws:sourcevpce",
}


def conditions(statement: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Condition key in lower case -> (operator, value) pairs."""
    found: dict[str, list[tuple[str, str]]] = {}
    for operator, tests in (statement.get("Condition") or {}).items():
        for key, value in tests.items():
            for text in texts(value):
                found.setdefault(key.lower(), []).append((operator, text))
    return found


# Operators that hold for the named values alone, and never where the key is missing: no Not, IfExists or ForAllValues.
_MATCHING = {"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"}

# An id in full, or an ARN with its account in full. A bucket's ARN has none, but its name is the world's only one.
_SOMEBODY = re.compile(r"[\w-]+|arn:[^:]*:[^:]*:[^:]*:[\w-]+:.+|arn:[^:]*:s3:[^:]*:[^:]*:[\w.-]+(/.*)?")


def limited(statement: Mapping[str, Any]) -> bool:
    """Whether a condition narrows who may, by naming an account, an organization, a network or a source."""
    return any(
        key in _CALLER_KEYS and all(operator in _MATCHING and _SOMEBODY.fullmatch(value) for operator, value in tests)
        for key, tests in conditions(statement).items()
    )


def public(document: Any) -> Iterator[str]:
    """What lets everybody in."""
    for statement in statements(document):
        if anyone(statement) and not limited(statement):
            yield f"{name(statement)} allows everybody, in any account"
