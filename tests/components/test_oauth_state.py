"""OAuth state that tasks share: the table, the signing key, and who may do what with them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.oauth_state import NoSigningKey
from components.settings.server import SIGNING_KEY
from tests.components.program import Account, Deploy, arn, only, secret_arn

NAME = "busyb-google-workspace-mcp"
TABLE, KEY = f"{NAME}-oauth-state", f"{NAME}-signing-key"
CUSTOMERS = "arn:aws:kms:us-east-1:758888582357:key/66666666-7777-8888-9999-000000000000"
MADE = ("aws:dynamodb/table:Table", "aws:secretsmanager/secret:Secret")


def statements(recorded: Any, part: str) -> dict[str, dict[str, Any]]:
    """Sid -> statement of a role's policy."""
    document = json.loads(recorded.inputs(f"google-workspace-{part}-policy")["policy"])
    return {statement["Sid"]: statement for statement in document["Statement"]}


def test_two_tasks_share_their_state_in_a_table_without_a_word_in_the_configuration(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    only(config)["desiredCount"] = 2
    recorded = deploy(config)
    table = recorded.inputs("google-workspace-oauth-state")
    assert table.pop("tags")["Service"] == "google-workspace-mcp"
    assert table == {
        "name": TABLE,
        "billingMode": "PAY_PER_REQUEST",
        "hashKey": "collection",
        "rangeKey": "key",
        "attributes": [{"name": "collection", "type": "S"}, {"name": "key", "type": "S"}],
        "ttl": {"attributeName": "ttl", "enabled": True},
        "pointInTimeRecovery": {"enabled": True},
        "serverSideEncryption": {"enabled": True},
        "deletionProtectionEnabled": True,
    }
    environment = {variable["name"]: variable["value"] for variable in recorded.container()["environment"]}
    assert environment["WORKSPACE_MCP_OAUTH_PROXY_STORAGE_BACKEND"] == "dynamodb"
    assert environment["WORKSPACE_MCP_OAUTH_PROXY_DYNAMODB_TABLE"] == TABLE


def test_a_number_of_tasks_that_may_grow_shares_its_state_too(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["autoscaling"] = {"maximum": 3}
    assert "google-workspace-oauth-state" in deploy(config).of(MADE[0])


@pytest.mark.parametrize("state", [None, "memory", {"backend": "memory"}])
def test_one_task_has_neither_table_nor_key(deploy: Deploy, config: dict[str, Any], state: object) -> None:
    if state:
        only(config)["oauth"]["state"] = state
    recorded = deploy(config)
    assert not [resource.name for resource in recorded.resources if resource.type in MADE]
    assert SIGNING_KEY not in {secret["name"] for secret in recorded.container()["secrets"]}


def test_one_task_may_have_its_state_in_a_table(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["oauth"]["state"] = "dynamodb"
    assert "google-workspace-oauth-state" in deploy(config).of(MADE[0])


def test_the_signing_key_is_made_in_secrets_manager_and_stands_nowhere_else(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    only(config)["desiredCount"] = 2
    recorded = deploy(config)
    (value,) = estate.filled.values()
    key = json.loads(value)[SIGNING_KEY]
    assert len(key) == 64
    seen = json.dumps([[r.inputs for r in recorded.resources], recorded.outputs, recorded.calls], default=repr)
    assert TABLE in seen and key not in seen
    given = {secret["name"]: secret["valueFrom"] for secret in recorded.container()["secrets"]}
    assert given[SIGNING_KEY] == f"{secret_arn(KEY)}:{SIGNING_KEY}::"


def test_a_key_that_is_there_is_kept(deploy: Deploy, config: dict[str, Any], estate: Account) -> None:
    only(config)["desiredCount"] = 2
    estate.filled[secret_arn(KEY)] = "what it was"
    deploy(config)
    assert estate.filled == {secret_arn(KEY): "what it was"}


def test_a_preview_makes_no_key(deploy: Deploy, config: dict[str, Any], estate: Account) -> None:
    only(config)["desiredCount"] = 2
    deploy(config, preview=True)
    assert estate.filled == {}


def test_a_key_that_cannot_be_made_fails_with_what_to_allow(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    only(config)["desiredCount"] = 2
    estate.named[secret_arn(KEY)] = "refused"
    error = deploy(config, fails=True).error
    assert isinstance(error, NoSigningKey)
    assert KEY in str(error) and "allow secretsmanager:DescribeSecret and PutSecretValue" in str(error)


def test_a_signing_key_of_yours_is_taken_in_place_of_a_new_one(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["desiredCount"] = 2
    yours = {"secret": "busyb/google-oauth-client-id", "key": SIGNING_KEY}
    only(config)["secrets"][SIGNING_KEY] = yours
    recorded = deploy(config)
    assert not recorded.of(MADE[1])
    given = {secret["name"]: secret["valueFrom"] for secret in recorded.container()["secrets"]}
    assert given[SIGNING_KEY] == f"{secret_arn(yours['secret'])}:{SIGNING_KEY}::"


def test_the_task_may_read_write_and_delete_in_its_table_and_no_more(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["desiredCount"] = 2
    recorded = deploy(config)
    assert statements(recorded, "task")["OAuthState"] == {
        "Effect": "Allow",
        "Sid": "OAuthState",
        "Action": ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"],
        "Resource": arn("dynamodb", f"table/{TABLE}"),
    }
    key = f"{secret_arn(KEY)[:-6]}??????"
    assert key in statements(recorded, "execution")["Secrets"]["Resource"]
    assert KEY not in recorded.inputs("google-workspace-task-policy")["policy"], "the task gets it by its environment"


def test_a_customers_key_encrypts_the_table_and_the_task_may_decrypt_by_dynamodb_alone(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    only(config)["oauth"]["state"] = {"backend": "dynamodb", "kmsKey": CUSTOMERS}
    recorded = deploy(config)
    table = recorded.inputs("google-workspace-oauth-state")
    assert table["serverSideEncryption"] == {"enabled": True, "kmsKeyArn": CUSTOMERS}
    assert statements(recorded, "task")["OAuthStateKey"] == {
        "Effect": "Allow",
        "Sid": "OAuthStateKey",
        "Action": "kms:Decrypt",
        "Resource": CUSTOMERS,
        "Condition": {"StringEquals": {"kms:ViaService": "dynamodb.us-east-1.amazonaws.com"}},
    }


def test_protection_is_taken_off_where_the_configuration_says_so(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["oauth"]["state"] = {"backend": "dynamodb", "deletionProtection": False}
    assert deploy(config).inputs("google-workspace-oauth-state")["deletionProtectionEnabled"] is False


def test_the_key_goes_only_after_the_table_and_tasks_start_only_after_both(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    only(config)["desiredCount"] = 2
    resources = {r.name: r for r in deploy(config).resources}
    key, table = resources["google-workspace-signing-key"], resources["google-workspace-oauth-state"]
    # What waits for something when it is made goes before it when both are deleted.
    service = next(r for r in resources.values() if r.type == "aws:ecs/service:Service")
    assert key.urn in table.request.dependencies
    assert {key.urn, table.urn} <= set(service.request.dependencies)


def test_another_server_has_no_oauth_state(deploy: Deploy, config: dict[str, Any]) -> None:
    own = only(config)
    own.pop("oauth")
    own.update(server="other", variables={"URL": "{url}"}, desiredCount=2)
    assert not [resource.name for resource in deploy(config).resources if resource.type in MADE]
