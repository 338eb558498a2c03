"""What the look-ups find."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from components.rollout import HealthyRevision


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundSecret:
    """A secret in Secrets Manager. `kms_key` is None for the account's default key, which needs no further right."""

    arn: str
    """The secret's ARN, with its random end."""
    kms_key: str | None
    """ARN of the customer's key that encrypts it; None: AWS's own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estate:
    """Ids and ARNs of what exists. Dictionaries are keyed by what the configuration wrote."""

    account: str
    """Account id, 12 digits."""
    region: str
    """Region, such as us-east-1."""
    partition: str
    """`aws`, or another partition's name."""
    vpc: str
    """VPC id."""
    vpc_cidrs: tuple[str, ...]
    """The VPC's IPv4 ranges, the first of them the one that it was made with."""
    subnets: tuple[str, ...]
    """Ids of the tasks' subnets."""
    cluster: str
    """The cluster's ARN."""
    cluster_name: str
    """The ECS cluster's name."""
    namespace: str
    """Id of the private DNS namespace."""
    namespace_name: str
    """Its name, such as busyb.local."""
    listener: str | None
    """ARN of the HTTPS listener; None without a load balancer."""
    shares: Mapping[str, Mapping[str, int]]
    """Service -> name of each target group that its listener rule forwards to -> its weight. Where ECS shifts requests,
    it sets the weights. No entry: there is no rule yet, or rules could not be listed."""
    load_balancer_metric_name: str | None
    """The end of its ARN, `app/name/id`, as its metrics name it."""
    load_balancer_dns_name: str | None
    """DNS name that AWS gave the load balancer."""
    load_balancer_zone: str | None
    """Hosted zone of that name, for alias records."""
    load_balancer_dual_stack: bool
    """Whether it has IPv6 addresses too."""
    load_balancer_security_groups: tuple[str, ...]
    """Ids of the load balancer's security groups."""
    security_groups: dict[str, str]
    """Configured name or id -> id."""
    secrets: dict[str, FoundSecret]
    """Configured name or ARN -> what was found."""
    permitted_keys: dict[str, tuple[str, ...]]
    """Configured name of `permissions.secrets`, or beginning of names with a * -> ARNs of the customers' keys that
    encrypt what has such a name."""
    execution_roles: dict[str, str]
    """Configured name -> ARN."""
    hosted_zones: dict[str, str]
    """Configured zone -> id."""
    bucket_keys: dict[str, str]
    """Bucket -> ARN of the customer's key that it encrypts with; no entry for keys that need no further right."""
    healthy: dict[str, tuple[HealthyRevision, ...]]
    """Service -> revisions that became healthy in earlier deployments, newest first."""
    state_bucket_key: str | None
    """ARN of the customer's key that the bucket of the pipeline's state encrypts with; None: there is none, or it could
    not be asked."""
