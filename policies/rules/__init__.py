"""All rules, a family of them in each module."""

from __future__ import annotations

import functools
from types import ModuleType

from policies.rule import Rule
from policies.rules import (
    alarms,
    containers,
    dynamodb,
    ecr,
    ecs,
    elasticache,
    exceptions,
    iam,
    loadbalancing,
    logs,
    mcp,
    network,
    s3,
    sns,
    tags,
)

FAMILIES = (
    ecr,
    ecs,
    containers,
    mcp,
    loadbalancing,
    network,
    iam,
    logs,
    tags,
    alarms,
    sns,
    s3,
    dynamodb,
    elasticache,
    exceptions,
)


@functools.cache
def rules() -> tuple[Rule, ...]:
    """Every rule, in the order of its family."""
    return tuple(rule for family in FAMILIES for rule in of_family(family))


def of_family(family: ModuleType) -> list[Rule]:
    """The rules that a module of this package defines."""
    return [value for value in vars(family).values() if isinstance(value, Rule)]
