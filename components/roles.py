"""Roles that a service of AWS takes in the stack's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from components.documents import policy_document
from components.names import role_name
from components.settings import Service


def trust(principal: str, condition: Mapping[str, Any]) -> str:
    """Who may take a role: a service of AWS, such as `ecs.amazonaws.com`. condition: IAM's, empty for none."""
    return policy_document([{"Action": "sts:AssumeRole", "Principal": {"Service": principal}, "Condition": condition}])


def make_role(
    name: str,
    service: Service,
    part: str,
    *,
    trusted: str,
    statements: Sequence[Mapping[str, Any]],
    tags: Mapping[str, str],
    opts: pulumi.ResourceOptions,
) -> tuple[pulumi.Output[str], list[pulumi.Resource]]:
    """A role with `statements` as its one policy: its ARN, and what must be there before it has its rights.

    name: what the logical names begin with. part: as for `role_name`. trusted: from `trust`. statements: none make no
    policy.
    """
    role = aws.iam.Role(
        f"{name}-{part}-role",
        name=role_name(service, part),
        assume_role_policy=trusted,
        tags=dict(tags),
        opts=opts,
    )
    if not statements:
        return role.arn, []
    policy = aws.iam.RolePolicy(
        f"{name}-{part}-policy",
        name=f"{service.name}-{part}",
        role=role.name,
        policy=policy_document(statements),
        opts=opts,
    )
    return role.arn, [policy]
