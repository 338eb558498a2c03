"""Whether policies allow a request, as IAM evaluates them; what it does not know, it refuses to judge.

It is for policies like the pipeline's: statements that allow, with actions, resources and conditions.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

Statement = Mapping[str, Any]


class NotJudged(ValueError):
    """A statement has something that this judge does not know; the message says what."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What IAM is asked: one action on one resource. A call may ask several, each of which must be allowed."""

    action: str
    """Such as sns:Publish."""
    resource: str = "*"
    """ARN; * where the action knows no resources."""
    context: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Condition keys and their values."""

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


def allowing(statements: Iterable[Statement], request: Request) -> Statement | None:
    """The first of `statements` that allows `request`; None: it is denied. Raises `NotJudged`."""
    return next((statement for statement in statements if _allows(statement, request)), None)


def covers(statement: Statement, *, action: str | None = None, resource: str | None = None) -> bool:
    """Whether the statement names the action and the resource, where given, whatever its conditions."""
    return (action is None or _like(action.lower(), _lower(statement["Action"]))) and (
        resource is None or _like(resource, statement["Resource"])
    )


def texts(value: Any) -> list[str]:
    """A policy's value as a list: it may be one text instead."""
    return [value] if isinstance(value, str) else list(value)


def _allows(statement: Statement, request: Request) -> bool:
    unknown = statement.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}
    if statement["Effect"] != "Allow" or unknown:
        raise NotJudged(f"statement {statement.get('Sid')} has {', '.join(sorted(unknown)) or 'an effect but Allow'}")
    return covers(statement, action=request.action, resource=request.resource) and all(
        _holds(operator, request.context.get(key), wanted)
        for operator, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    )


def _lower(value: Any) -> list[str]:
    return [text.lower() for text in texts(value)]


def _like(value: str, patterns: Any) -> bool:
    return any(_pattern(pattern).fullmatch(value) for pattern in texts(patterns))


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in text), re.DOTALL)


def _holds(operator: str, actual: str | None, wanted: Any) -> bool:
    compared = operator.removeprefix("ForAllValues:").removesuffix("IfExists")
    if actual is None:
        return compared != operator
    match compared:
        case "StringEquals":
            return actual in texts(wanted)
        case "ArnEquals" | "ArnLike":
            return _like(actual, wanted)
    raise NotJudged(f"condition operator {operator}")
