"""Reading IAM policy documents, wherever they are attached."""

from __future__ import annotations

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
            found.setdefault(key.lower(), []).extend((operator, text) for text in texts(value))
    return found


def limited(statement: Mapping[str, Any]) -> bool:
    """Whether a condition narrows who may: by account, organization, network or source, without a bare *."""
    return any(
        key in _CALLER_KEYS
        and all(operator.startswith(("StringEquals", "StringLike", "Arn")) for operator, _ in tests)
        and all(value != "*" for _, value in tests)
        for key, tests in conditions(statement).items()
    )


def public(document: Any) -> Iterator[str]:
    """What lets everybody in."""
    for statement in statements(document):
        if anyone(statement) and not limited(statement):
            yield f"{name(statement)} allows everybody, in any account"
