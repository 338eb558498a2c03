"""What is done to a bucket that exists already, and what the server may do in it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from components.estate import EstateError
from tests.components.mistakes import parsed
from tests.components.program import ACCOUNT, Account, Deploy, Recorded, arn, only
from tests.stacks import INTERNAL

BUCKET = "busyb-oauth-tokens-758888582357"
ARN = f"arn:aws:s3:::{BUCKET}"
MARK = "McpOnEcsBusybProduction706d52f4"
"""Of the prefix busyb and the environment production, and of no other stack."""
TLS_ONLY = {
    "Sid": f"{MARK}TlsOnly",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": [ARN, f"{ARN}/*"],
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


def of_bucket(recorded: Recorded) -> dict[str, dict[str, Any]]:
    """The bucket's settings: part -> inputs, but for the bucket's name."""
    found = {r.name: r.inputs for r in recorded.resources if r.type.startswith("aws:s3/")}
    assert {inputs.pop("bucket") for inputs in found.values()} <= {BUCKET}
    return {name.removeprefix(f"{BUCKET}-"): inputs for name, inputs in found.items()}


def statements(recorded: Recorded) -> dict[str, dict[str, Any]]:
    """The task role's statements, by Sid."""
    policy = json.loads(recorded.inputs("google-workspace-task-policy")["policy"])
    return {statement["Sid"]: statement for statement in policy["Statement"]}


def finding(recorded: Recorded) -> str:
    assert isinstance(recorded.error, EstateError)
    (found,) = recorded.error.findings
    assert not recorded.resources, "nothing is made where something does not fit"
    return str(found)


def test_production_protects_its_bucket_in_all_ways_that_shut_nobody_out(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    found = of_bucket(deploy(config, preview=True))
    assert json.loads(found.pop("policy")["policy"]) == {"Version": "2012-10-17", "Statement": [TLS_ONLY]}
    assert found == {
        "public-access": {
            "blockPublicAcls": True,
            "blockPublicPolicy": True,
            "ignorePublicAcls": True,
            "restrictPublicBuckets": True,
        },
        "ownership": {"rule": {"objectOwnership": "BucketOwnerEnforced"}},
        "versioning": {"versioningConfiguration": {"status": "Enabled"}},
        "lifecycle": {
            "rules": [
                {
                    "id": MARK,
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "noncurrentVersionExpiration": {"noncurrentDays": 30},
                    "expiration": {"expiredObjectDeleteMarker": True},
                    "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
                }
            ]
        },
    }


def test_no_protection_is_taken_back_with_the_stack(deploy: Deploy, config: dict[str, Any]) -> None:
    settings = [r for r in deploy(config).resources if r.type.startswith("aws:s3/")]
    assert settings
    assert all(r.request.retainOnDelete for r in settings)


@pytest.mark.parametrize(
    ("option", "parts"),
    [
        ({}, set()),
        ({"blockPublicAccess": True}, {"public-access"}),
        ({"tlsOnly": True}, {"policy"}),
        ({"disableAcls": True}, {"ownership"}),
        ({"keepVersionsDays": 7}, {"versioning", "lifecycle"}),
    ],
)
def test_each_option_is_off_until_it_is_set(
    deploy: Deploy, config: dict[str, Any], option: dict[str, Any], parts: set[str]
) -> None:
    config["buckets"] = {BUCKET: option}
    assert of_bucket(deploy(config)).keys() == parts


def test_the_bucket_itself_is_never_taken_over(deploy: Deploy, config: dict[str, Any]) -> None:
    assert not deploy(config).of("aws:s3/bucket:Bucket")


@pytest.mark.parametrize("policy", [{"Statement": [{"Sid": "Theirs"}, TLS_ONLY]}, {"Statement": {"Sid": "Theirs"}}])
def test_a_policy_with_statements_of_others_is_not_overwritten(
    deploy: Deploy, config: dict[str, Any], estate: Account, policy: dict[str, Any]
) -> None:
    estate.bucket_settings = {BUCKET: {"policy": policy}}
    text = finding(deploy(config, fails=True))
    assert "found    it has Theirs\n" in text
    assert f"do       set buckets.{BUCKET}.tlsOnly and .tasksOnly to false" in text
    config["buckets"][BUCKET]["tlsOnly"] = False
    assert "policy" not in of_bucket(deploy(config))


def test_lifecycle_rules_of_others_are_not_overwritten(deploy: Deploy, config: dict[str, Any], estate: Account) -> None:
    estate.bucket_settings = {BUCKET: {"rules": [{"ID": "archive"}, {"Prefix": "tmp/"}]}}
    text = finding(deploy(config, fails=True))
    assert "found    it has archive, unnamed\n" in text
    assert f"do       remove buckets.{BUCKET}.keepVersionsDays" in text


def test_what_this_stack_wrote_itself_is_no_finding(deploy: Deploy, config: dict[str, Any], estate: Account) -> None:
    estate.bucket_settings = {BUCKET: {"policy": {"Statement": [TLS_ONLY]}, "rules": [{"ID": MARK}]}}
    assert of_bucket(deploy(config))


@pytest.mark.parametrize(
    ("prefix", "environment"),
    [("busyb", "production2"), ("busyb", "production-2"), ("busyb-production", "2"), ("busyb", "production-tasks1")],
)
def test_what_a_stack_with_a_longer_name_wrote_is_somebody_elses(
    deploy: Deploy, config: dict[str, Any], estate: Account, prefix: str, environment: str
) -> None:
    only(config)["name"] = "busyb-google-workspace-mcp"  # Fits, whatever the prefix.
    theirs = parsed({**config, "namePrefix": prefix, "environment": environment}).mark
    for found, text in (
        ({"policy": {"Statement": [{**TLS_ONLY, "Sid": f"{theirs}TlsOnly"}]}}, f"it has {theirs}TlsOnly"),
        ({"policy": {"Statement": [{**TLS_ONLY, "Sid": f"{MARK}TlsOnly2"}]}}, f"it has {MARK}TlsOnly2"),
        ({"rules": [{"ID": theirs}]}, f"it has {theirs}"),
    ):
        estate.bucket_settings = {BUCKET: found}
        assert text in finding(deploy(config, fails=True))


def test_no_two_stacks_have_one_mark(config: dict[str, Any]) -> None:
    stacks = [("a-b", "c"), ("a", "b-c"), ("ab", "c"), ("a", "bc"), ("a", "b2"), ("a", "b-2"), ("a-b", "2")]
    marks = {parsed({**config, "namePrefix": prefix, "environment": name}).mark for prefix, name in stacks}
    assert len(marks) == len(stacks)
    assert all(mark.isalnum() for mark in marks)


def test_a_bucket_that_does_not_show_its_policy_is_a_finding_and_no_reason_to_overwrite(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    estate.bucket_settings = {BUCKET: {"refusal": "AccessDenied"}}
    assert "do       allow s3:GetEncryptionConfiguration, s3:GetBucketPolicy" in finding(deploy(config, fails=True))


@pytest.fixture
def internal(config: dict[str, Any]) -> dict[str, Any]:
    only(config).update(copy.deepcopy(INTERNAL), permissions={})
    return config


def test_the_task_may_use_its_tokens_and_no_other_object(deploy: Deploy, internal: dict[str, Any]) -> None:
    found = statements(deploy(internal))
    assert found.keys() == {"Tokens", "TokensBucket", "ExecuteCommand"}
    assert found["Tokens"]["Action"] == ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    assert found["Tokens"]["Resource"] == f"{ARN}/tokens/google/*"
    assert (found["TokensBucket"]["Action"], found["TokensBucket"]["Resource"]) == ("s3:ListBucket", ARN)


def test_the_server_is_told_where_its_tokens_are(deploy: Deploy, internal: dict[str, Any]) -> None:
    only(internal)["tokens"]["prefix"] = "tokens/mail"
    environment = {v["name"]: v["value"] for v in deploy(internal).container()["environment"]}
    assert environment["WORKSPACE_MCP_CREDENTIAL_STORE_BACKEND"] == "s3"
    assert environment["WORKSPACE_MCP_S3_BUCKET"] == BUCKET
    assert environment["WORKSPACE_MCP_S3_PREFIX"] == "tokens/mail"
    assert environment["WORKSPACE_MCP_STATELESS_MODE"] == "false", "a stateless server asks no store"


@pytest.mark.parametrize("key", ["0a1b", "alias/tokens", arn("kms", "key/0a1b")])
def test_a_customers_key_of_the_bucket_may_be_used_through_s3_alone(
    deploy: Deploy, internal: dict[str, Any], estate: Account, key: str
) -> None:
    estate.bucket_settings = {BUCKET: {"key": key}}
    statement = statements(deploy(internal))["BucketKeys"]
    assert statement["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert statement["Resource"] == [arn("kms", f"key/{key.rpartition('/')[2]}")]
    assert statement["Condition"] == {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}}


def test_the_key_that_aws_manages_takes_no_right(deploy: Deploy, internal: dict[str, Any], estate: Account) -> None:
    estate.bucket_settings = {BUCKET: {"key": "alias/aws/s3"}}
    assert "BucketKeys" not in statements(deploy(internal))


def test_tokens_can_be_shut_to_all_but_the_task(deploy: Deploy, internal: dict[str, Any]) -> None:
    internal["buckets"][BUCKET] = {"tasksOnly": True}
    (statement,) = json.loads(of_bucket(deploy(internal, preview=True))["policy"]["policy"])["Statement"]
    assert statement == {
        "Sid": f"{MARK}Tasks1",
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:DeleteObject*", "s3:GetObject*", "s3:PutObject*"],
        "Resource": f"{ARN}/tokens/google/*",
        "Condition": {
            "ArnNotEquals": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/busyb-google-workspace-mcp-task-role"}
        },
    }


@pytest.mark.parametrize(("prefix", "clash"), [("tokens/google", True), ("tokens", True), ("tokens/googlemail", False)])
def test_two_servers_do_not_share_their_tokens(
    deploy: Deploy, internal: dict[str, Any], prefix: str, clash: bool
) -> None:
    tokens = {"bucket": BUCKET, "prefix": prefix}
    internal["services"]["second"] = {**only(internal), "tokens": tokens}
    recorded = deploy(internal, fails=clash)
    if clash:
        assert "google-workspace and second both have the tokens below tokens/google/" in str(recorded.error)
