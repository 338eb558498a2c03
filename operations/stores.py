"""The store of OAuth state as the account has it: what preflight asks before a deployment, and verify after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from checks.check import Failed, NotRun
from components.estate.network import is_id
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


def made_cache(client: Clients, service: Service, *, made: bool) -> str:
    """What ElastiCache says of the cache that the program makes. made: whether there must be one already.

    Raises `Failed` with all that is not as the program makes it, and `NotRun` where there is none yet.
    """
    name, wanted, elasticache = service.oauth_store, service.oauth_cache, client("elasticache")
    assert wanted and isinstance(service.oauth_state, ValkeyState)
    try:
        (group,) = elasticache.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"]
    except elasticache.exceptions.ReplicationGroupNotFoundFault:
        if made:
            raise Failed(f"there is no cache {name}") from None
        raise NotRun(f"the cache {name} is still to be made") from None
    users = elasticache.describe_users(UserId=name)["Users"] if name in group.get("UserGroupIds", []) else []
    nodes = elasticache.describe_cache_clusters(CacheClusterId=group["MemberClusters"][0])["CacheClusters"]
    ids = [each["SecurityGroupId"] for node in nodes for each in node["SecurityGroups"]]
    doors = client("ec2").describe_security_groups(GroupIds=ids)["SecurityGroups"] if ids else []
    vpcs = {door["VpcId"] for door in doors}
    tasks = {each["GroupId"] for each in tasks_groups(client, service) if each["VpcId"] in vpcs}
    wrong = [
        *_unusable(service.oauth_state, group, service, {service.oauth_state.port}),
        *_open(users, doors, tasks, service.oauth_state.port),
    ]
    if group.get("TransitEncryptionMode", "required") != "required":
        wrong.append("it lets clients in without TLS")
    if wanted.kms_key and group.get("KmsKeyId") not in (None, wanted.kms_key):
        wrong.append(f"it is encrypted with {group['KmsKeyId']}, not with oauth.state.cache.kmsKey")
    if (count := len(group["NodeGroups"][0]["NodeGroupMembers"])) != 1 + wanted.replicas:
        wrong.append(f"it has {count} nodes, not {1 + wanted.replicas}")
    if wrong:
        raise Failed(f"{name}: {'; '.join(wrong)}")
    return (
        f"{name}: {group['CacheNodeType']}, nodes: {count}, TLS, encrypted at rest, for the tasks and their user alone"
    )


def _open(users: list[dict[str, Any]], doors: list[dict[str, Any]], tasks: set[str], port: int) -> Iterator[str]:
    """What is wrong with who may use a cache. users: of its group. doors: its security groups. tasks: ids of theirs."""
    if not users:
        yield "it has no user for the tasks"
    for user in users:
        if user["Authentication"]["Type"] != "password":
            yield f"its user {user['UserId']} has no password"
        if user["Status"] != "active":
            yield f"its user {user['UserId']} is {user['Status']}"
    let_in: set[str] = set()
    for rule in (rule for door in doors for rule in door["IpPermissions"]):
        if rule["IpProtocol"] == "-1" or rule.get("FromPort", 0) <= port <= rule.get("ToPort", 65535):
            let_in |= {pair["GroupId"] for pair in rule.get("UserIdGroupPairs", [])}
            let_in |= {each["CidrIp"] for each in rule.get("IpRanges", [])}
            let_in |= {each["CidrIpv6"] for each in rule.get("Ipv6Ranges", [])}
    if missing := sorted(tasks - let_in):
        yield f"it does not let in the tasks, of {', '.join(missing)}"
    if others := sorted(let_in - tasks):
        yield f"it lets in others: {', '.join(others)}"


def tasks_groups(client: Clients, service: Service) -> list[dict[str, Any]]:
    """The security groups of a service's tasks, as EC2 describes them: those that it names, or its own."""
    found: list[dict[str, Any]] = []
    for wanted in service.security_groups or [service.name]:
        named = {"Filters": [{"Name": "group-name", "Values": [wanted]}]}
        by: dict[str, Any] = {"GroupIds": [wanted]} if is_id("sg", wanted) else named
        found += client("ec2").describe_security_groups(**by)["SecurityGroups"]
    return found


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
