"""Log groups."""

from __future__ import annotations

from collections.abc import Iterator

from components.settings import Logs
from policies.rule import Resource, Severity, Stack, rule

_GROUPS = frozenset({"aws:cloudwatch/logGroup:LogGroup"})
_USUAL = int(Logs.model_fields["retention_days"].default)


@rule(
    id="logs-group-set-retention",
    controls=("CKV_AWS_66",),
    severity=Severity.HIGH,
    description="Log groups have a retention.",
    why="logs are kept and paid for until somebody remembers them.",
    remedy="services.<service>.logs.retentionDays.",
    types=_GROUPS,
)
def limited(group: Resource, _: Stack) -> Iterator[str]:
    if not group.number("retentionInDays"):
        yield "its lines are kept for ever"


@rule(
    id="logs-group-explain-retention",
    severity=Severity.HIGH,
    description="A retention other than the usual one is explained.",
    why="nobody knows later whether it was meant.",
    remedy="services.<service>.logs.retentionReason; it becomes the tag RetentionReason.",
    types=_GROUPS,
)
def explained(group: Resource, _: Stack) -> Iterator[str]:
    days = group.number("retentionInDays")
    if days and days != _USUAL and not group.get("tags", "RetentionReason"):
        yield f"it keeps lines for {days:.0f} days, not the usual {_USUAL}, and does not say why"


@rule(
    id="logs-group-keep-a-year",
    controls=("CloudWatch.16", "CKV_AWS_338"),
    severity=Severity.MEDIUM,
    description="Log groups keep a year.",
    why="incidents that are found late cannot be looked into.",
    remedy="services.<service>.logs.retentionDays: 365, or record an exception under policyExceptions.",
    types=_GROUPS,
)
def a_year(group: Resource, _: Stack) -> Iterator[str]:
    days = group.number("retentionInDays")
    if days and days < 365:
        yield f"it keeps lines for {days:.0f} days"


@rule(
    id="logs-group-encrypt-with-kms",
    controls=("CKV_AWS_158",),
    severity=Severity.LOW,
    description="Log groups are encrypted with a KMS key.",
    why="who may read logs is then decided and logged by the key as well.",
    remedy="set kmsKeyId, or record an exception under policyExceptions.",
    types=_GROUPS,
)
def kms(group: Resource, _: Stack) -> Iterator[str]:
    # A key that is being made is a key.
    if group.knows("kmsKeyId") and not group.get("kmsKeyId"):
        yield "it is not encrypted with a KMS key of yours"
