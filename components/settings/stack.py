"""A stack: its environment, its estate and its services."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from components.listener_rules import overlaps
from components.settings.buckets import BucketOptions
from components.settings.delivery import Delivery
from components.settings.deployment import RollbackAlarm, seconds_to_unhealthy
from components.settings.estate import Estate
from components.settings.model import Model
from components.settings.monitoring import Monitoring
from components.settings.patterns import NAME_PATTERN, OWN_TAGS, BucketName, Name, NamePrefix, Tag, TagKey
from components.settings.policy_exceptions import PolicyException
from components.settings.service import Service

INNER_WORDS = {"key": ("cache", "second"), "name": ("cache", "oauth-state", "server", "unusual")}
"""What may stand between a service's key, or its name, and the end of a name that is made of it: the alarm
`server-errors` of mail and the alarm `errors` of mail-server have one name."""


class Settings(Model):
    """A stack's configuration: one environment, its estate, and one or more MCP services."""

    environment: Name
    """Value of the tag Environment, such as production."""
    name_prefix: NamePrefix
    """What physical names begin with, such as the company's name."""
    tags: dict[TagKey, Tag] = {}
    """Further tags for every resource."""
    estate: Estate
    """What exists already."""
    services: Annotated[dict[Name, Service], Field(min_length=1)]
    """The MCP services, by key."""
    buckets: dict[BucketName, BucketOptions] = {}
    """Protections for buckets that services use, by the bucket's name. Default: none is touched."""
    monitoring: Monitoring | None = None
    """Alarms and who hears of them. Default: none are made, since nobody would hear of them."""
    delivery: Delivery | None = None
    """The pipeline's roles. Default: none are made."""
    policy_exceptions: list[PolicyException] = []
    """Policy rules that resources of this stack may break for a time. Default: none."""

    @field_validator("services", mode="before")
    @classmethod
    def _keyed(cls, services: Any, info: ValidationInfo) -> Any:
        if not isinstance(services, dict):
            return services
        prefix = info.data.get("name_prefix", "unset")
        return {
            # A bad key is reported as such, and not again in all that is made of it.
            key: {"name": f"{prefix}-{key}-mcp", **value, "key": key}
            if isinstance(value, dict) and re.fullmatch(NAME_PATTERN, str(key))
            else value
            for key, value in services.items()
        }

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        for key, service in self.services.items():
            tags = [*self.tags, *(tag for tag in service.tags if tag not in self.tags)]
            for tag in tags[1:]:
                if alike := [other for other in tags[: tags.index(tag)] if other.lower() == tag.lower()]:
                    yield (
                        ("services", "tags"),
                        f"{key} has the tags {alike[0]} and {tag}, which are the same to IAM; spell them alike",
                    )
            if len(tags) + len(OWN_TAGS) > 50:
                yield (
                    ("services", "tags"),
                    f"{key} has {len(tags)} tags beside the {len(OWN_TAGS)} that are set for you; AWS takes 50 in all, "
                    "so remove some",
                )
        if self.delivery and len(f"{self.name_prefix}-{self.environment}-mcp-preview") > 64:
            yield (
                ("environment", "name_prefix"),
                "is too long for the names of the pipeline's roles; shorten it or namePrefix to 51 characters together",
            )
        for key, service in self.services.items():
            if service.public and self.estate.load_balancer is None:
                yield (
                    ("estate", "services"),
                    f"loadBalancer is missing: services.{key}.routing reaches the service from outside; "
                    "name one, or set routing.strategy: internal",
                )
            if service.deployment.names_alarms and not self.rollback_alarms(service):
                lacking = "the stack has no monitoring" if service.public else "it is not reached from outside"
                yield (
                    ("services",),
                    f"{key}.deployment.rollbackAlarms names alarms that are not made, since {lacking}; remove it",
                )
            health = service.health
            earliest = seconds_to_unhealthy(health.interval, health.unhealthy_threshold)
            if "unhealthy-targets" in self.rollback_alarms(service) and health.grace_period > earliest:
                yield (
                    ("services",),
                    f"{key}.health.gracePeriod is {health.grace_period} s, but a task that takes so long to start sets "
                    f"off the alarm unhealthy-targets after {earliest} s, and ECS takes the deployment back; shorten "
                    f"it, or leave unhealthy-targets out of {key}.deployment.rollbackAlarms",
                )
        used = {bucket for service in self.services.values() for bucket in service.buckets}
        for bucket in sorted(self.buckets.keys() - used):
            yield (
                ("buckets", "services"),
                f"{bucket} is used by no service (tokens.bucket, permissions.bucket), and other buckets "
                "are left alone; correct the name, or remove it",
            )
        for bucket, options in self.buckets.items():
            if options.tasks_only and not self.tokens_in(bucket) and bucket in used:
                yield (
                    ("buckets", "services"),
                    f"{bucket}.tasksOnly is true, but no service has it as tokens.bucket; remove tasksOnly",
                )
        for one, other in itertools.combinations(self.services.values(), 2):
            ours, theirs = one.listener_rules, other.listener_rules
            both = [f"the name {one.name}"] if one.name == other.name else []
            if one.discovery_name == other.discovery_name:
                both.append(f"the discovery name {one.discovery_name}")
            if self.monitoring and (one.dashboard or one.name) == (other.dashboard or other.name):
                both.append(f"the dashboard {one.dashboard or one.name}")
            if one.tokens and other.tokens and one.tokens.bucket == other.tokens.bucket:
                shorter, longer = sorted((f"{one.tokens.prefix}/", f"{other.tokens.prefix}/"), key=len)
                both += [f"the tokens below {longer}"] if longer.startswith(shorter) else []
            priorities = {rule.priority for rule in ours} & {rule.priority for rule in theirs}
            both += [f"the listener priority {priority}" for priority in sorted(priorities)]
            both += [
                f"requests to {mine.host}{path}"
                for mine, yours in itertools.product(ours, theirs)
                for path in mine.paths or ("/*",)
                if mine.host == yours.host and overlaps([path], yours.paths or ["/*"])
            ]
            for kind, words in INNER_WORDS.items():
                shorter, longer = sorted((getattr(one, kind), getattr(other, kind)), key=len)
                if longer in [f"{shorter}-{word}" for word in words]:
                    both.append(f"names that begin with {longer}- (by their {kind}s)")
            if both:
                yield ("services",), f"{one.key} and {other.key} both have {', '.join(both)}; change one of them"

    def tokens_in(self, bucket: str) -> list[Service]:
        """The services that keep tokens in a bucket."""
        return [service for service in self.services.values() if service.tokens and service.tokens.bucket == bucket]

    def rollback_alarms(self, service: Service) -> list[RollbackAlarm]:
        """Those of a service's alarms that take a deployment of it back: of those that are wanted, those that are
        made."""
        made = self.monitoring is not None and service.public is not None
        return service.deployment.rollback_alarms if made else []

    @property
    def mark(self) -> str:
        """What ids begin with that the stack writes into a document of somebody else's, such as a bucket's policy:
        letters and digits alone, and no two stacks have the same."""
        words = f"{self.name_prefix}-{self.environment}".split("-")
        # Read together, busyb and production2 are the words of busyb and production-2.
        tail = hashlib.sha256(self.parameter_prefix.encode()).hexdigest()[:8]
        return "McpOnEcs" + "".join(word.capitalize() for word in words) + tail

    @property
    def parameter_prefix(self) -> str:
        """Path under which the stack stores parameters."""
        return f"/{self.name_prefix}/{self.environment}"

    def tags_for(self, service: Service) -> dict[str, str]:
        """The tags of a service's resources. Environment, Service and ManagedBy are always there."""
        return {**self.own_tags(f"{service.key}-mcp"), **service.tags}

    def own_tags(self, part: str) -> dict[str, str]:
        """The tags of resources that are no single service's: `part` stands where a service's name does."""
        return {**self.tags, "Environment": self.environment, "Service": part, "ManagedBy": "pulumi"}
