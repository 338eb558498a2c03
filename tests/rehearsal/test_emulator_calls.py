"""What official providers ask of the emulated account is read off the wire, and can be held against the roles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from operations.rights import calls
from rehearsal.emulator import Emulator
from tests.conftest import ACCOUNT, REGION

GO = "APN/1.0 Pulumi/1.0 (+https://www.pulumi.com) aws-sdk-go-v2/1.41.1 ua/2.1 os/linux lang/go#1.25"


@pytest.fixture(scope="module")
def emulator(emulator_python: Path) -> Iterator[Emulator]:
    with Emulator(ACCOUNT, REGION, python=emulator_python) as running:
        yield running


def client(emulator: Emulator, service: str, user_agent: str = GO) -> Any:
    return boto3.client(
        service,
        endpoint_url=emulator.endpoint,
        region_name=REGION,
        aws_access_key_id="x",
        aws_secret_access_key="x",  # Not a secret: the emulator takes anything.
        config=Config(user_agent=user_agent, s3={"addressing_style": "path"}),
    )


def test_each_protocols_calls_are_noted_and_read_again_in_one_form(emulator: Emulator, tmp_path: Path) -> None:
    client(emulator, "ecs").create_cluster(clusterName="noted")
    client(emulator, "sns").create_topic(Name="noted", Tags=[{"Key": "Service", "Value": "x"}])
    client(emulator, "s3").create_bucket(Bucket="noted")
    client(emulator, "s3").get_bucket_location(Bucket="noted")
    client(emulator, "route53").list_hosted_zones_by_name(DNSName="noted")
    client(emulator, "cloudwatch").delete_alarms(AlarmNames=["noted"])
    file = tmp_path / "calls.jsonl"
    noted = emulator.official_calls()
    file.write_text("".join(json.dumps({**call, "phase": "up"}) + "\n" for call in noted))
    read = {(call.service, call.operation): call.parameters for call in calls.read(file)}
    assert read["ecs", "CreateCluster"] == {"clusterName": "noted"}
    assert read["sns", "CreateTopic"] == {"Name": "noted", "Tags": [{"Key": "Service", "Value": "x"}]}
    assert read["s3", "PutBucket"] == {"Bucket": "noted"}
    assert read["s3", "GetBucketLocation"] == {"Bucket": "noted"}
    assert ("route53", "ListHostedZonesByName") in read
    assert read["cloudwatch", "DeleteAlarms"] == {"AlarmNames": ["noted"]}


def test_calls_are_answered_as_without_and_no_others_are_noted(emulator: Emulator) -> None:
    before = emulator.official_calls()
    client(emulator, "ecs", "Boto3/1.42").create_cluster(clusterName="others")
    assert emulator.official_calls() == before
    big = "x" * 1_000_000
    client(emulator, "s3").create_bucket(Bucket="big")
    client(emulator, "s3").put_object(Bucket="big", Key="key", Body=big.encode())
    assert client(emulator, "s3").get_object(Bucket="big", Key="key")["Body"].read().decode() == big
    assert big not in json.dumps(emulator.official_calls())


def test_no_secret_is_noted(emulator: Emulator) -> None:
    client(emulator, "secretsmanager").create_secret(Name="noted", SecretString="hush-hush")
    client(emulator, "ssm").put_parameter(Name="/noted", Value="hush-hush", Type="SecureString")
    noted = emulator.official_calls()
    assert {"CreateSecret", "PutParameter"} <= {call["operation"] for call in noted}
    assert "hush-hush" not in json.dumps(noted)
