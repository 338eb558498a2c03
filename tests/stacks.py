"""Stacks for tests: the shipped production stack under another name, and changed configurations of it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from components.settings import NAMESPACE, parse
from rehearsal.run import Stack

SERVICE = "services.google-workspace"

INTERNAL: dict[str, Any] = {
    "oauth": {"enabled": False},
    "tokens": {"bucket": "busyb-oauth-tokens-758888582357"},
    "routing": {"strategy": "internal"},
}
"""A service that is reached from inside the VPC only."""


def production(name: str) -> Stack:
    """The production stack's configuration; `name` keeps it apart from a rehearsal that somebody keeps."""
    return dataclasses.replace(Stack.read("production"), name=name)


def changed(stack: Stack, values: dict[str, Any]) -> Stack:
    """`stack` with `values`: dotted path below the namespace -> value; None removes the key."""
    config = dict(stack.config)
    for path, value in values.items():
        top, *rest = path.split(".")
        key = f"{NAMESPACE}:{top}"
        document = {top: json.loads(config[key])} if rest or key in config else {}
        place = document
        for part in [top, *rest][:-1]:
            place = place.setdefault(part, {})
        if value is None:
            del place[[top, *rest][-1]]
        else:
            place[[top, *rest][-1]] = value
        if top not in document:
            del config[key]
            continue
        config[key] = document[top] if isinstance(document[top], str) else json.dumps(document[top])
    return dataclasses.replace(stack, config=config, settings=parse(config))
