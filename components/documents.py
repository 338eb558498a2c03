"""JSON documents, as they are registered."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def canonical_json(document: Any) -> str:
    """JSON with sorted keys and without empty members, so that two runs give the same bytes."""
    return json.dumps(_without_empty(document), sort_keys=True, separators=(",", ":"))


def policy_document(statements: Iterable[Mapping[str, Any]]) -> str:
    """A policy in IAM's form. A statement without an effect allows."""
    return canonical_json(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]}
    )


def _without_empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: kept for key, item in value.items() if (kept := _without_empty(item)) not in (None, [], {})}
    if isinstance(value, list | tuple):
        return [_without_empty(item) for item in value]
    return value
