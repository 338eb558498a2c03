"""Caches, which hold OAuth state, and their users."""

from __future__ import annotations

from collections.abc import Iterator

from policies.rule import Resource, Severity, Stack, rule

_GROUP, _USER = "aws:elasticache/replicationGroup:ReplicationGroup", "aws:elasticache/user:User"


@rule(
    id="elasticache-group-encrypt-in-transit",
    controls=("ElastiCache.5", "CKV_AWS_30"),
    severity=Severity.HIGH,
    description="Caches take TLS alone.",
    why="passwords and tokens would cross the network in clear.",
    remedy="transitEncryptionEnabled: true, transitEncryptionMode: required.",
    types=frozenset({_GROUP}),
)
def in_transit(group: Resource, _: Stack) -> Iterator[str]:
    if group.get("transitEncryptionEnabled") is not True:
        yield "transitEncryptionEnabled is not true"
    elif group.get("transitEncryptionMode") == "preferred":
        yield "transitEncryptionMode is preferred, which lets clients in without TLS"


@rule(
    id="elasticache-group-encrypt-at-rest",
    controls=("ElastiCache.4", "CKV_AWS_29"),
    severity=Severity.HIGH,
    description="What caches write to disk is encrypted.",
    why="whoever gets at a disk or a snapshot would read it.",
    remedy="atRestEncryptionEnabled: true; for a key of yours services.<service>.oauth.state.cache.kmsKey.",
    types=frozenset({_GROUP}),
)
def at_rest(group: Resource, _: Stack) -> Iterator[str]:
    if group.get("atRestEncryptionEnabled") is not True:
        yield "atRestEncryptionEnabled is not true"


@rule(
    id="elasticache-group-require-users",
    controls=("ElastiCache.6",),
    severity=Severity.HIGH,
    description="Caches let in the users of a group alone.",
    why="whatever reaches the port would read and write everybody's sign-ins.",
    remedy="userGroupIds with one group, whose users have only the rights that they need.",
    types=frozenset({_GROUP}),
)
def users(group: Resource, _: Stack) -> Iterator[str]:
    if not group.items("userGroupIds"):
        yield "it has no group of users"


@rule(
    id="elasticache-keep-passwords-out-of-state",
    severity=Severity.HIGH,
    description="Passwords of caches are set outside of the program's resources.",
    why="it would be in the state and in every backup of it.",
    remedy="make the user for IAM, and give it its password as components/oauth_cache.py does.",
    types=frozenset({_GROUP, _USER}),
)
def passwords(resource: Resource, _: Stack) -> Iterator[str]:
    given = {
        "authToken": resource.get("authToken"),
        "passwords": resource.items("passwords"),
        "authenticationMode.passwords": resource.items("authenticationMode", "passwords"),
    }
    for name, value in given.items():
        if value:
            yield f"{name} is set"
