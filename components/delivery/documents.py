"""Policy documents made of grants, each as full as IAM takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components.delivery.statements import Grant
from components.service import canonical_json

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
POLICY_LIMIT = 6_144
"""Characters of a managed policy."""
POLICIES_LIMIT = 10
"""Managed policies of a role."""


class OversizedPolicy(pulumi.RunError):
    """The deploy role's rights are more than IAM takes."""


def policies(rights: Sequence[Grant], *, write: bool) -> list[str]:
    """`rights` as policy documents, each as full as IAM takes it. Raises `OversizedPolicy`."""
    documents: list[str] = []
    statements: list[dict[str, Any]] = []
    for grant in rights:
        if not grant.resources or not (grant.read or (write and grant.write)):
            continue
        statement = {
            "Sid": grant.sid,
            "Effect": "Allow",
            "Action": _brief(*grant.read, *(grant.write if write else ())),
            "Resource": _brief(*grant.resources),
            "Condition": grant.condition,
        }
        if statements and len(_document([*statements, statement])) > POLICY_LIMIT:
            documents.append(_document(statements))
            statements = []
        statements.append(statement)
    documents.append(_document(statements))
    longest = max(len(document) for document in documents)
    if len(documents) > POLICIES_LIMIT or longest > POLICY_LIMIT:
        raise OversizedPolicy(
            f"The pipeline's role needs {len(documents)} policies, the longest of {longest:,} characters; IAM takes "
            f"{POLICIES_LIMIT} of {POLICY_LIMIT:,}, and nothing was changed. Spread the services over several "
            "stacks, each with a delivery of its own."
        )
    return documents


def _document(statements: Sequence[Mapping[str, Any]]) -> str:
    return canonical_json({"Version": "2012-10-17", "Statement": statements})


def _brief(*values: str) -> str | list[str]:
    return values[0] if len(values) == 1 else sorted(values)
