"""The load balancer's listener as it is found: its certificates, its rules, and which of them stand in the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from components.listener_rules import ListenerRule, overlaps
from components.names import is_target_group_of, target_group_names
from components.settings import Service


@dataclasses.dataclass(frozen=True, kw_only=True)
class TakenRule:
    """A rule that stands on the listener, with its target groups by name."""

    arn: str
    """The rule's."""
    priority: int
    """Its number, 1 to 50000."""
    hosts: tuple[str, ...]
    """Host patterns; none: any host."""
    paths: tuple[str, ...]
    """Path patterns; none: any path."""
    narrowed: bool
    """Whether it has other conditions too (header, query, regular expression): host and path do not decide then."""
    shares: Mapping[str, int]
    """Name of each target group that it forwards to -> its weight, of which it gets its share of the requests."""

    @property
    def target_groups(self) -> tuple[str, ...]:
        """Names of the groups that it forwards to."""
        return tuple(sorted(self.shares))

    @property
    def holder(self) -> str:
        """Words for who has it."""
        to = f" to target group {', '.join(self.target_groups)}" if self.target_groups else ""
        return f"rule {self.priority} ({' '.join((*self.hosts, *self.paths)) or 'any request'}){to}"


def certificate_names(client: Callable[[str], Any], listener: str) -> set[str]:
    """The names, in lower case, that the listener's certificates cover. `client` gives a boto3 client."""
    pages = client("elbv2").get_paginator("describe_listener_certificates").paginate(ListenerArn=listener)
    arns = {certificate["CertificateArn"] for page in pages for certificate in page["Certificates"]}
    found = [client("acm").describe_certificate(CertificateArn=arn)["Certificate"] for arn in sorted(arns)]
    return {name.lower() for each in found for name in (each["DomainName"], *each.get("SubjectAlternativeNames", []))}


def listener_holders(elbv2: Any, listener: str) -> list[TakenRule]:
    """The listener's rules but the default one, in order of priority. `elbv2`: a boto3 client."""
    pages = elbv2.get_paginator("describe_rules").paginate(ListenerArn=listener)
    rules = [_taken(rule) for page in pages for rule in page["Rules"] if not rule["IsDefault"]]
    return sorted(rules, key=lambda rule: rule.priority)


def _taken(rule: dict[str, Any]) -> TakenRule:
    values: dict[str, list[str]] = {"host-header": [], "path-pattern": []}
    narrowed = False
    for condition in rule["Conditions"]:
        # Old rules have their values at the condition itself, new ones in a member named after the field.
        config = next((condition[member] for member in condition if member.endswith("Config")), condition)
        narrowed |= condition["Field"] not in values or not config.get("Values")
        values.setdefault(condition["Field"], []).extend(config.get("Values") or [])
    groups: dict[str, int] = {}
    for action in rule["Actions"]:
        # What is forwarded to one group alone may be described in both ways.
        named = action.get("ForwardConfig", {}).get("TargetGroups") or [action]
        groups |= {group["TargetGroupArn"]: group.get("Weight", 1) for group in named if "TargetGroupArn" in group}
    return TakenRule(
        arn=rule["RuleArn"],
        priority=int(rule["Priority"]),
        hosts=tuple(values["host-header"]),
        paths=tuple(values["path-pattern"]),
        narrowed=narrowed,
        shares={arn.split("/")[1]: weight for arn, weight in groups.items()},
    )


def rule_conflicts(taken: list[TakenRule], services: list[Service]) -> list[tuple[str, str, str, str]]:
    """What stands in the way of the services' rules: (what, where, why, remedy) each.

    A rule that forwards to one of a service's own target groups is no conflict, so a hand-made one can be adopted.
    """
    conflicts = []
    for service in services:
        foreign = [rule for rule in taken if not forwards_to(rule, service)]
        wanted = service.listener_rules
        others = {rule.priority for other in services if other is not service for rule in other.listener_rules}
        for rule in wanted:
            for holder in foreign:
                if holder.priority == rule.priority:
                    free = free_priority({r.priority for r in foreign} | others, len(wanted), wanted[0].priority)
                    conflicts.append(
                        (
                            f"listener priority {rule.priority} for {service.key}",
                            "among the listener's rules",
                            f"it is taken by {holder.holder}",
                            f"set services.{service.key}.routing.priority to {free}",
                        )
                    )
                elif _takes_requests(rule, holder):
                    conflicts.append(
                        (
                            f"address {rule.host}{' '.join(rule.paths)} for {service.key}",
                            "among the listener's rules",
                            f"its requests go to {holder.holder}"
                            if holder.priority < rule.priority
                            else f"it would take the requests of {holder.holder}",
                            f"choose another path or host in services.{service.key}.routing, or remove that rule",
                        )
                    )
    return conflicts


def shares(taken: list[TakenRule], service: Service) -> Mapping[str, int]:
    """The target groups that the service's rules forward to, as they are found, with their weights; none: there is no
    such rule yet. Where they differ, those of the rule with the service's priority, which may be about to change."""
    first = min((rule.priority for rule in service.listener_rules), default=0)
    own = [rule for rule in taken if forwards_to(rule, service)]
    return next((rule.shares for rule in sorted(own, key=lambda rule: rule.priority != first)), {})


def shift_conflicts(found: Mapping[str, int], service: Service) -> list[tuple[str, str, str, str]]:
    """What stands in the way of changing how requests come to a service: (what, where, why, remedy) each.

    found: the groups that its rule forwards to, with their weights.
    """
    what, where = f"the listener rule of {service.key}", "among the listener's rules"
    key, groups = f"services.{service.key}", " and ".join(sorted(found))
    if service.deployment.shifts and found and not found.keys() <= set(target_group_names(service)):
        return [
            (
                what,
                where,
                f"it forwards to {groups}, of another port, and no strategy but rolling changes the port",
                f"deploy the new port with {key}.deployment.strategy: rolling, and then set the strategy again",
            )
        ]
    if not service.deployment.shifts and sum(weight > 0 for weight in found.values()) > 1:
        return [
            (
                what,
                where,
                f"a deployment shifts requests between {groups}, and the strategy is to be rolling",
                "wait until it has ended: ./ops status",
            )
        ]
    return []


def forwards_to(rule: TakenRule, service: Service) -> bool:
    """Whether `rule` leads to one of the service's own target groups, whoever made it."""
    return any(is_target_group_of(service, name) for name in rule.target_groups)


def _takes_requests(rule: ListenerRule, holder: TakenRule) -> bool:
    """Whether the one with the lower priority number takes requests that are meant for the other."""
    if holder.narrowed:
        return False  # Not decided here, and so not refused.
    catch_all = not holder.paths or {"*", "/*"} & set(holder.paths)
    if holder.priority > rule.priority and (catch_all or not (rule.paths or holder.hosts)):
        return False  # It is there for what nobody else takes.
    # Of a host of its own, a service needs the MCP endpoint; what else the host's paths are for is not known.
    paths = rule.paths or ("/mcp",)
    return overlaps((rule.host,), [h.lower() for h in holder.hosts] or ["*"]) and overlaps(paths, holder.paths or ["*"])


def free_priority(taken: set[int], count: int, after: int) -> str:
    """The first `count` consecutive priorities above `after` that nobody has, in words."""
    free = next((p for p in range(after + 1, 50_001 - count) if not taken & set(range(p, p + count))), None)
    if free is None:
        return "a lower number"
    return f"{free}, which is free" if count == 1 else f"{free}; {free} to {free + count - 1} are free"
