"""What preflight and verify ask of the store of OAuth state; each fault by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from checks.check import Failed, NotRun
from components.settings import Service
from components.settings.server import PASSWORD
from operations import stores
from rehearsal.emulator import Emulator
from tests.stacks import SERVICE, changed, production

CUSTOMERS = "arn:aws:kms:us-east-1:758888582357:key/66666666-7777-8888-9999-000000000000"


def service(state: object, **values: object) -> Service:
    stack = changed(production("asked"), {f"{SERVICE}.oauth.state": state, **values})
    return stack.settings.services["google-workspace"]


@pytest.fixture
def made(emulator: Emulator, unique: str) -> Iterator[Callable[..., Service]]:
    """A service with its table in the emulated account; named are the settings that the table has not got."""
    dynamodb = emulator.client("dynamodb")
    tables: list[str] = []

    def make(*without: str, keys: tuple[str, str] = ("collection", "key"), kms_key: str | None = None) -> Service:
        asked = service(
            {"backend": "dynamodb", **({"kmsKey": kms_key} if kms_key else {})}, **{f"{SERVICE}.name": unique}
        )
        sse = {} if "encryption" in without else {"SSESpecification": {"Enabled": True, "SSEType": "KMS"}}
        dynamodb.create_table(
            TableName=asked.oauth_store,
            KeySchema=[
                {"AttributeName": name, "KeyType": kind} for name, kind in zip(keys, ("HASH", "RANGE"), strict=True)
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
            BillingMode="PAY_PER_REQUEST",
            DeletionProtectionEnabled="protection" not in without,
            **sse,
        )
        tables.append(asked.oauth_store)
        if "ttl" not in without:
            dynamodb.update_time_to_live(
                TableName=asked.oauth_store, TimeToLiveSpecification={"AttributeName": "ttl", "Enabled": True}
            )
        dynamodb.update_continuous_backups(
            TableName=asked.oauth_store,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": "recovery" not in without},
        )
        return asked

    yield make
    for table in tables:
        dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
        dynamodb.delete_table(TableName=table)


def test_a_table_as_the_program_makes_it_passes(emulator: Emulator, made: Callable[..., Service]) -> None:
    asked = made()
    told = stores.table(emulator.client, asked, made=True)
    assert told == f"{asked.oauth_store}: on demand, expires by ttl, encrypted by KMS, recoverable"


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("ttl", "it does not expire items by ttl"),
        ("encryption", "it is not encrypted by KMS"),
        ("recovery", "it cannot be recovered as of a point in time"),
        ("protection", "it is not protected from deletion"),
    ],
)
def test_what_a_table_lacks_is_named(emulator: Emulator, made: Callable[..., Service], missing: str, told: str) -> None:
    with pytest.raises(Failed) as failed:
        stores.table(emulator.client, made(missing), made=True)
    assert str(failed.value).endswith(f": {told}")


def test_all_that_is_wrong_is_told_at_once(emulator: Emulator, made: Callable[..., Service]) -> None:
    with pytest.raises(Failed) as failed:
        stores.table(emulator.client, made("ttl", "recovery", keys=("id", "sort"), kms_key=CUSTOMERS), made=True)
    assert str(failed.value).count(";") == 3
    assert "its keys are id, sort, not collection and key" in str(failed.value)
    assert "not with oauth.state.kmsKey" in str(failed.value)


def test_a_table_that_is_not_there_yet_is_no_fault_before_a_deployment_and_one_after_it(
    emulator: Emulator, unique: str
) -> None:
    asked = service("dynamodb", **{f"{SERVICE}.name": unique})
    with pytest.raises(NotRun, match="still to be made"):
        stores.table(emulator.client, asked, made=False)
    with pytest.raises(Failed, match="there is no table"):
        stores.table(emulator.client, asked, made=True)


@pytest.fixture
def made_cache(emulator: Emulator, unique: str) -> Iterator[Callable[..., Service]]:
    """A service with its cache in the emulated account, as the program makes it but for what is named."""
    ec2, elasticache = emulator.client("ec2"), emulator.client("elasticache")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]

    def group(name: str) -> str:
        return str(ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"])

    def make(
        *, password: bool = True, others: bool = False, tasks: bool = True, users: bool = True, **cache: Any
    ) -> Service:
        asked = service("valkey", **{f"{SERVICE}.name": unique, f"{SERVICE}.securityGroups": []})
        name, door, outsiders = asked.oauth_store, group(asked.oauth_store), group(f"{unique}-others")
        let_in = [group(unique)] * tasks + [outsiders] * others
        for each in let_in:
            source = {"IpProtocol": "tcp", "FromPort": 6379, "ToPort": 6379, "UserIdGroupPairs": [{"GroupId": each}]}
            ec2.authorize_security_group_ingress(GroupId=door, IpPermissions=[source])
        access = {"UserId": name, "UserName": name, "Engine": "valkey", "AccessString": "on ~* -@all"}
        elasticache.create_user(**access, AuthenticationMode={"Type": "iam"})
        if password:
            mode = {"Type": "password", "Passwords": ["a-password-of-more-than-16"]}
            elasticache.modify_user(UserId=name, AuthenticationMode=mode)
        elasticache.create_user_group(UserGroupId=name, Engine="valkey", UserIds=[name])
        usual: dict[str, Any] = {
            "Engine": "valkey",
            "CacheNodeType": "cache.t4g.micro",
            "NumCacheClusters": 1,
            "SecurityGroupIds": [door],
            **({"UserGroupIds": [name]} if users else {}),
            "TransitEncryptionEnabled": True,
            "TransitEncryptionMode": "required",
            "AtRestEncryptionEnabled": True,
        }
        elasticache.create_replication_group(
            ReplicationGroupId=name, ReplicationGroupDescription="state", **{**usual, **cache}
        )
        return asked

    yield make
    name = f"{unique}-oauth-state"
    elasticache.delete_replication_group(ReplicationGroupId=name)
    elasticache.delete_user_group(UserGroupId=name)
    elasticache.delete_user(UserId=name)


def test_a_cache_as_the_program_makes_it_passes(emulator: Emulator, made_cache: Callable[..., Service]) -> None:
    told = stores.made_cache(emulator.client, made_cache(), made=True)
    assert told.endswith(
        "-oauth-state: cache.t4g.micro, nodes: 1, TLS, encrypted at rest, for the tasks and their user alone"
    )


@pytest.mark.parametrize(
    ("without", "told"),
    [
        ({"password": False}, "has no password"),
        ({"others": True}, "it lets in others: sg-"),
        ({"tasks": False}, "it does not let in the tasks, of sg-"),
        ({"users": False}, "it has no user for the tasks"),
        ({"TransitEncryptionEnabled": False}, "it has no TLS"),
        ({"TransitEncryptionMode": "preferred"}, "it lets clients in without TLS"),
        ({"AtRestEncryptionEnabled": False}, "it is not encrypted at rest"),
        ({"NumCacheClusters": 2}, "it has 2 nodes, not 1"),
    ],
)
def test_what_is_wrong_with_a_cache_is_named(
    emulator: Emulator, made_cache: Callable[..., Service], without: dict[str, Any], told: str
) -> None:
    with pytest.raises(Failed) as failed:
        stores.made_cache(emulator.client, made_cache(**without), made=True)
    assert told in str(failed.value)
    assert ";" not in str(failed.value), "and nothing else"


def test_a_cache_that_is_not_there_yet_is_no_fault_before_a_deployment_and_one_after_it(
    emulator: Emulator, unique: str
) -> None:
    asked = service("valkey", **{f"{SERVICE}.name": unique})
    with pytest.raises(NotRun, match="still to be made"):
        stores.made_cache(emulator.client, asked, made=False)
    with pytest.raises(Failed, match="there is no cache"):
        stores.made_cache(emulator.client, asked, made=True)


CACHE: dict[str, Any] = {
    "ReplicationGroupId": "sessions",
    "Status": "available",
    "ClusterEnabled": False,
    "TransitEncryptionEnabled": True,
    "TransitEncryptionMode": "required",
    "AtRestEncryptionEnabled": True,
    "AuthTokenEnabled": False,
    "NodeGroups": [{"PrimaryEndpoint": {"Address": "cache.busyb.local", "Port": 6379}}],
}
AT = {"backend": "valkey", "host": "cache.busyb.local"}


def asked_of(groups: list[dict[str, Any]], wanted: Service) -> str:
    """What is said where ElastiCache has these, held to AWS's own model."""
    client = boto3.client("elasticache", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        stub.add_response("describe_replication_groups", {"ReplicationGroups": groups}, {})
        return stores.cache(lambda _: client, wanted)


def test_a_cache_that_the_tasks_can_use_passes() -> None:
    assert asked_of([CACHE], service(AT)) == "sessions in ElastiCache: TLS, encrypted at rest"


@pytest.mark.parametrize(
    ("there", "configured", "told"),
    [
        ({"Status": "creating"}, {}, "it is creating"),
        ({}, {"port": 6380}, "it listens on 6379, not on oauth.state.port 6380"),
        ({"ClusterEnabled": True}, {}, "its cluster mode is on"),
        ({}, {"tls": False}, "it takes TLS alone, and oauth.state.tls is false"),
        ({"TransitEncryptionEnabled": False}, {}, "it has no TLS, and oauth.state.tls is true"),
        ({"AtRestEncryptionEnabled": False}, {}, "it is not encrypted at rest"),
        ({"AuthTokenEnabled": True}, {}, f"it wants a password, and secrets has no {PASSWORD}"),
    ],
)
def test_what_keeps_tasks_from_a_cache_is_named(there: dict[str, Any], configured: dict[str, Any], told: str) -> None:
    with pytest.raises(Failed) as failed:
        asked_of([CACHE | there], service(AT | configured))
    assert told in str(failed.value)


def test_a_cache_outside_of_elasticache_is_left_to_the_tasks() -> None:
    with pytest.raises(NotRun, match=r"ElastiCache has nothing at cache\.busyb\.local"):
        asked_of([], service(AT))


def test_a_group_that_lets_nobody_out_is_named() -> None:
    open_ = {"GroupId": "sg-1", "IpPermissionsEgress": [{"IpProtocol": "-1"}]}
    https = {"GroupId": "sg-2", "IpPermissionsEgress": [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}]}
    assert stores.reach([open_], stores.port(service(AT))) == "sg-1 lets them out on 6379"
    assert stores.reach([https], stores.port(service("dynamodb"))) == "sg-2 lets them out on 443"
    with pytest.raises(Failed, match="none of sg-2 lets them out on 6379"):
        stores.reach([https], stores.port(service(AT)))
