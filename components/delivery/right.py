"""A row of the tables in `rights/`, and the few words that they are written with.

Texts are templates. `{its.name}` is the input `name` of each declared resource that the row is about; any other name in
braces is a fact of the stack, listed in `statements.facts`, of which there may be none or several.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

Condition = Mapping[str, Mapping[str, str | tuple[str, ...]]]
"""Operator -> condition key -> values, as in a policy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Right:
    """Actions on resources: `read` for both roles, `write` for the one that deploys."""

    sid: str
    """Id of its statement, letters and digits."""
    on: tuple[str, ...] = ("*",)
    """ARNs. Default: *, for actions that know no resources, or whose resources nobody can name before."""
    of: str = ""
    """The type whose resources fill in `{its...}`. Default: the type that the row stands for."""
    sibling: str = ""
    """Only those of them that have a resource of this type as a sibling: what that one is a part of."""
    read: tuple[str, ...] = ()
    """Actions that a preview needs as well."""
    write: tuple[str, ...] = ()
    """Actions that a deployment needs besides; among them what only asks, to wait for a change."""
    condition: Condition = dataclasses.field(default_factory=dict)
    """On all of them. Default: none."""


def arn(service: str, resource: str) -> str:
    """A resource's ARN in the stack's region and account."""
    return f"arn:{{partition}}:{service}:{{region}}:{{account}}:{resource}"


def global_arn(service: str, resource: str) -> str:
    """The ARN of a resource that belongs to the account in all regions."""
    return f"arn:{{partition}}:{service}::{{account}}:{resource}"


def bare_arn(service: str, resource: str) -> str:
    """The ARN of a resource whose ARN names neither region nor account: S3's and Route 53's."""
    return f"arn:{{partition}}:{service}:::{resource}"


def own_tags(keys: str, service: str = "{service_tag}") -> dict[str, str | tuple[str, ...]]:
    """The tags by which this stack's resources are known where AWS makes up their names.

    keys: aws:ResourceTag for what a resource has, aws:RequestTag for what the call gives it. service: value of the tag
    Service; default: any of the stack's services.
    """
    return {f"{keys}/ManagedBy": "pulumi", f"{keys}/Environment": "{environment}", f"{keys}/Service": service}


def has_own_tags(service: str = "{service_tag}") -> Condition:
    """Only what has the stack's tags."""
    return {"StringEquals": own_tags("aws:ResourceTag", service)}


def gets_own_tags(service: str = "{service_tag}") -> Condition:
    """Only what gets the stack's tags by this call."""
    return {"StringEquals": own_tags("aws:RequestTag", service)}


def tags_new_or_own(service: str = "{service_tag}") -> Condition:
    """The same for tagging: what is new has no tags yet, and what has others is somebody else's."""
    return {
        "StringEquals": own_tags("aws:RequestTag", service),
        "StringEqualsIfExists": own_tags("aws:ResourceTag", service),
    }
