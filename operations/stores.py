"""The store of OAuth state as the account has it: what preflight asks before a deployment, and verify after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from checks.check import Failed, NotRun
from components.settings import DynamoDbState, Service, ValkeyState
from components.settings.server import PASSWORD

Clients = Callable[[str], Any]
"""Gives the boto3 client of a service by its name."""


def table(client: Clients, service: Service, *, made: bool) -> str:
    """What DynamoDB says of the table of OAuth state. made: whether there must be one already.

    Raises `Failed` with all that is not as the program makes it, and `NotRun` where there is none yet.
    """
    state, name, dynamodb = service.oauth_state, service.oauth_store, client("dynamodb")
    assert isinstance(state, DynamoDbState)
    try:
        found = dynamodb.describe_table(TableName=name)["Table"]
    except dynamodb.exceptions.ResourceNotFoundException:
        if made:
            raise Failed(f"there is no table {name}") from None
        raise NotRun(f"the table {name} is still to be made") from None
    ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    if wrong := list(_unfit(state, found, ttl, backups)):
        raise Failed(f"{name}: {'; '.join(wrong)}")
    return f"{name}: on demand, expires by {ttl['AttributeName']}, encrypted by KMS, recoverable"


def _unfit(state: DynamoDbState, found: dict[str, Any], ttl: dict[str, Any], backups: dict[str, Any]) -> Iterator[str]:
    if found["TableStatus"] not in ("ACTIVE", "UPDATING"):
        yield f"it is {found['TableStatus']}"
    keys = {each["KeyType"]: each["AttributeName"] for each in found["KeySchema"]}
    if keys != {"HASH": "collection", "RANGE": "key"}:
        yield f"its keys are {', '.join(keys.values())}, not collection and key"
    if ttl["TimeToLiveStatus"] not in ("ENABLED", "ENABLING") or ttl.get("AttributeName") != "ttl":
        yield "it does not expire items by ttl"
    encryption = found.get("SSEDescription", {})
    if encryption.get("Status") not in ("ENABLED", "ENABLING", "UPDATING"):
        yield "it is not encrypted by KMS"
    elif encryption.get("InaccessibleEncryptionDateTime"):
        yield f"its key {encryption.get('KMSMasterKeyArn')} cannot be used"
    elif state.kms_key and encryption.get("KMSMasterKeyArn") != state.kms_key:
        yield f"it is encrypted with {encryption.get('KMSMasterKeyArn')}, not with oauth.state.kmsKey"
    if backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") != "ENABLED":
        yield "it cannot be recovered as of a point in time"
    if state.deletion_protection and not found.get("DeletionProtectionEnabled"):
        yield "it is not protected from deletion"


def cache(client: Clients, service: Service) -> str:
    """What ElastiCache says of the cache with the configured address.

    Raises `Failed` with all that keeps the server from it, and `NotRun` where ElastiCache has none of that address.
    """
    state = service.oauth_state
    assert isinstance(state, ValkeyState)
    pages = client("elasticache").get_paginator("describe_replication_groups").paginate()
    for group in (group for page in pages for group in page["ReplicationGroups"]):
        ends = [node.get("PrimaryEndpoint", {}) for node in group.get("NodeGroups", [])]
        ends.append(group.get("ConfigurationEndpoint") or {})
        if state.host not in {end.get("Address") for end in ends}:
            continue
        if wrong := list(_unusable(state, group, service, {end["Port"] for end in ends if end.get("Port")})):
            raise Failed(f"{group['ReplicationGroupId']}: {'; '.join(wrong)}")
        return f"{group['ReplicationGroupId']} in ElastiCache: {'TLS' if state.tls else 'no TLS'}, encrypted at rest"
    raise NotRun(f"ElastiCache has nothing at {state.host}; the tasks try it when they start")


def _unusable(state: ValkeyState, group: dict[str, Any], service: Service, ports: set[int]) -> Iterator[str]:
    if group["Status"] not in ("available", "modifying", "snapshotting"):
        yield f"it is {group['Status']}"
    if ports and state.port not in ports:
        yield f"it listens on {', '.join(map(str, sorted(ports)))}, not on oauth.state.port {state.port}"
    if group.get("ClusterEnabled"):
        yield "its cluster mode is on, which the server does not speak"
    tls = bool(group.get("TransitEncryptionEnabled")) and group.get("TransitEncryptionMode", "required") == "required"
    if tls and not state.tls:
        yield "it takes TLS alone, and oauth.state.tls is false"
    if state.tls and not group.get("TransitEncryptionEnabled"):
        yield "it has no TLS, and oauth.state.tls is true"
    if not group.get("AtRestEncryptionEnabled"):
        yield "it is not encrypted at rest"
    if group.get("AuthTokenEnabled") and PASSWORD not in service.secrets:
        yield f"it wants a password, and secrets has no {PASSWORD}"


def reach(groups: list[dict[str, Any]], port: int) -> str:
    """That existing security groups let tasks out to a store's port. Raises `Failed` where none does."""
    for group in groups:
        for rule in group.get("IpPermissionsEgress", []):
            low, high = rule.get("FromPort", 0), rule.get("ToPort", 65535)
            if rule["IpProtocol"] == "-1" or (rule["IpProtocol"] == "tcp" and low <= port <= high):
                return f"{group['GroupId']} lets them out on {port}"
    raise Failed(f"none of {', '.join(group['GroupId'] for group in groups)} lets them out on {port}")


def port(service: Service) -> int:
    """The port on which the store is reached: DynamoDB speaks https."""
    return service.oauth_state.port if isinstance(service.oauth_state, ValkeyState) else 443
