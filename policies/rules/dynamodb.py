"""Tables, which hold OAuth state."""

from __future__ import annotations

from collections.abc import Iterator

from policies.rule import Resource, Severity, Stack, rule

_TABLES = frozenset({"aws:dynamodb/table:Table"})


@rule(
    id="dynamodb-table-encrypt-with-kms",
    controls=("CKV_AWS_119",),
    severity=Severity.HIGH,
    description="Tables are encrypted with a KMS key of the account.",
    why="with DynamoDB's own key, nobody sees who decrypts, and nobody can take the key away.",
    remedy="serverSideEncryption: {enabled: true}; for a key of yours services.<service>.oauth.state.kmsKey.",
    types=_TABLES,
)
def encrypted(table: Resource, _: Stack) -> Iterator[str]:
    if table.get("serverSideEncryption", "enabled") is not True:
        yield "serverSideEncryption is not enabled"


@rule(
    id="dynamodb-table-recover-any-point",
    controls=("DynamoDB.2", "CKV_AWS_28"),
    severity=Severity.MEDIUM,
    description="Tables can be recovered as they were at any point in time.",
    why="what a mistake deletes is gone, and everybody has to sign in again.",
    remedy="pointInTimeRecovery: {enabled: true}.",
    types=_TABLES,
)
def recoverable(table: Resource, _: Stack) -> Iterator[str]:
    if table.get("pointInTimeRecovery", "enabled") is not True:
        yield "pointInTimeRecovery is not enabled"


@rule(
    id="dynamodb-table-protect-from-deletion",
    controls=("DynamoDB.6",),
    severity=Severity.MEDIUM,
    description="Tables are protected from deletion.",
    why="a wrong line in the configuration would delete everybody's sign-in.",
    remedy="services.<service>.oauth.state.deletionProtection: true; false only while the table is to go.",
    types=_TABLES,
)
def protected(table: Resource, _: Stack) -> Iterator[str]:
    if table.get("deletionProtectionEnabled") is not True:
        yield "deletionProtectionEnabled is not true"


@rule(
    id="dynamodb-table-expire-items",
    severity=Severity.HIGH,
    description="Tables have a time to live, by which DynamoDB deletes what has expired.",
    why="codes and tokens of people who left would stay for ever, and cost.",
    remedy="ttl: {enabled: true, attributeName: ttl}, which is the attribute that image/oauth_store.py writes.",
    types=_TABLES,
)
def expiring(table: Resource, _: Stack) -> Iterator[str]:
    if table.get("ttl", "enabled") is not True:
        yield "ttl is not enabled"
