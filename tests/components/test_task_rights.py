"""What a service's own roles may do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.components.program import (
    Account,
    Deploy,
    Recorded,
    only,
    secret_arn,
)


@pytest.mark.parametrize("part", ["task", "execution"])
def test_only_ecs_tasks_of_this_account_and_region_may_take_a_role(production: Recorded, part: str) -> None:
    role = production.inputs(f"google-workspace-{part}-role")
    assert role["name"] == f"busyb-google-workspace-mcp-{part}-role"
    assert json.loads(role["assumeRolePolicy"]) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"Service": "ecs-tasks.amazonaws.com"},
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": "758888582357"},
                    "ArnLike": {"aws:SourceArn": "arn:aws:ecs:us-east-1:758888582357:*"},
                },
            }
        ],
    }


def test_the_task_may_use_its_bucket_its_secrets_and_execute_command_and_nothing_else(production: Recorded) -> None:
    policy = production.inputs("google-workspace-task-policy")
    assert policy["role"] == "busyb-google-workspace-mcp-task-role"
    assert json.loads(policy["policy"]) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Objects",
                "Effect": "Allow",
                "Action": ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
                "Resource": "arn:aws:s3:::busyb-oauth-tokens-758888582357/*",
            },
            {
                "Sid": "Bucket",
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": "arn:aws:s3:::busyb-oauth-tokens-758888582357",
            },
            {
                "Sid": "Secrets",
                "Effect": "Allow",
                "Action": "secretsmanager:GetSecretValue",
                "Resource": ["arn:aws:secretsmanager:us-east-1:758888582357:secret:busyb/*"],
            },
            {
                "Sid": "ExecuteCommand",
                "Effect": "Allow",
                "Action": [
                    "ssmmessages:CreateControlChannel",
                    "ssmmessages:CreateDataChannel",
                    "ssmmessages:OpenControlChannel",
                    "ssmmessages:OpenDataChannel",
                ],
                "Resource": "*",
            },
        ],
    }


def test_the_execution_role_may_pull_this_image_write_this_log_and_read_these_secrets(production: Recorded) -> None:
    policy = production.inputs("google-workspace-execution-policy")
    assert policy["role"] == "busyb-google-workspace-mcp-execution-role"
    assert json.loads(policy["policy"])["Statement"] == [
        {"Sid": "RegistryLogin", "Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
        {
            "Sid": "Image",
            "Effect": "Allow",
            "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            "Resource": "arn:aws:ecr:us-east-1:758888582357:repository/busyb-google-workspace-mcp",
        },
        {
            "Sid": "Logs",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": "arn:aws:logs:us-east-1:758888582357:log-group:/ecs/busyb-google-workspace-mcp:*",
        },
        {
            "Sid": "Secrets",
            "Effect": "Allow",
            "Action": "secretsmanager:GetSecretValue",
            "Resource": [
                secret_arn("busyb/google-oauth-client-id"),
                secret_arn("busyb/google-oauth-client-secret"),
            ],
        },
    ]


@pytest.mark.parametrize("given", ["arn:aws:kms:us-east-1:758888582357:key/1", "1", "alias/1"])
def test_the_execution_role_may_decrypt_secrets_that_have_a_key_of_their_own(
    deploy: Deploy, config: dict[str, Any], estate: Account, given: str
) -> None:
    key = "arn:aws:kms:us-east-1:758888582357:key/1"
    estate.secrets["busyb/google-oauth-client-secret"] = given
    policy = json.loads(deploy(config).inputs("google-workspace-execution-policy")["policy"])
    assert policy["Statement"][-1] == {
        "Sid": "SecretKeys",
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": [key],
    }


def test_the_key_that_aws_manages_takes_no_right(deploy: Deploy, config: dict[str, Any], estate: Account) -> None:
    estate.secrets = dict.fromkeys(estate.secrets, "alias/aws/secretsmanager")
    recorded = deploy(config)
    for part in ("execution", "task"):
        assert "kms:Decrypt" not in recorded.inputs(f"google-workspace-{part}-policy")["policy"]


def test_a_key_of_a_secret_that_cannot_be_asked_is_told(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    estate.secrets["busyb/google-oauth-client-secret"] = "gone"
    text = str(deploy(config, fails=True).error)
    assert "the key gone of secret busyb/google-oauth-client-secret" in text
    assert "do       allow kms:DescribeKey on it" in text


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["busyb/*"], ["1", "2"]),
        (["busyb/mail"], ["2"]),
        (["busyb/mai"], []),
        (["busyb/plain"], []),
        (["busyb/m*", "other/*"], ["2", "3"]),
    ],
)
def test_the_task_may_decrypt_what_it_may_read_and_nothing_else(
    deploy: Deploy, config: dict[str, Any], estate: Account, names: list[str], keys: list[str]
) -> None:
    estate.secrets |= {"busyb/own": "alias/1", "busyb/mail": "2", "busyb/plain": None, "other/x": "3", "busy": "4"}
    only(config)["permissions"]["secrets"] = names
    statements = json.loads(deploy(config).inputs("google-workspace-task-policy")["policy"])["Statement"]
    found = [statement for statement in statements if statement["Sid"] == "SecretKeys"]
    assert found == (
        [
            {
                "Sid": "SecretKeys",
                "Effect": "Allow",
                "Action": "kms:Decrypt",
                "Resource": [f"arn:aws:kms:us-east-1:758888582357:key/{key}" for key in keys],
                "Condition": {"StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"}},
            }
        ]
        if keys
        else []
    )
