"""Policy documents made of grants, each as full as IAM takes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pulumi

from components.delivery.statements import Grant
from components.documents import policy_document

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
POLICY_LIMIT = 6_144
"""Characters of a managed policy."""
POLICIES_LIMIT = 10
"""Managed policies of a role."""


Statement = Mapping[str, Any]


class OversizedPolicy(pulumi.RunError):
    """The deploy role's rights are more than IAM takes."""


def policies(rights: Sequence[Grant], *, write: bool) -> list[str]:
    """`rights` as policy documents, each as full as IAM takes it. Raises `OversizedPolicy`."""
    documents: list[list[Statement]] = [[]]
    for grant in rights:
        if not grant.resources or not (grant.read or (write and grant.write)):
            continue
        for statement in _fitting(grant.sid, grant, write=write):
            room = (each for each in documents if len(policy_document([*each, statement])) <= POLICY_LIMIT)
            into = next(room, None)
            if into is None:
                documents.append(into := [])
            into.append(statement)
    if len(documents) > POLICIES_LIMIT:
        raise OversizedPolicy(
            f"The pipeline's role needs {len(documents)} policies of {POLICY_LIMIT:,} characters; IAM takes "
            f"{POLICIES_LIMIT}, and nothing was changed. Spread the services over several stacks, each with a delivery "
            "of its own."
        )
    return [policy_document(statements) for statements in documents]


def _fitting(sid: str, grant: Grant, *, write: bool) -> Iterator[Statement]:
    """The grant as a statement; as several where its resources are more than a policy takes."""
    statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": _brief(*grant.read, *(grant.write if write else ())),
        "Resource": _brief(*grant.resources),
        "Condition": grant.condition,
    }
    half = len(grant.resources) // 2
    if len(policy_document([statement])) <= POLICY_LIMIT or not half:
        yield statement
        return
    first, second = (
        dataclasses.replace(grant, resources=part) for part in (grant.resources[:half], grant.resources[half:])
    )
    yield from _fitting(f"{sid}1", first, write=write)
    yield from _fitting(f"{sid}2", second, write=write)


def _brief(*values: str) -> str | list[str]:
    return values[0] if len(values) == 1 else sorted(values)
