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
