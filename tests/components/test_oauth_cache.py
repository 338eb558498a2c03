"""The cache that the program makes for OAuth state: who reaches it, and its password, which no state has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.oauth_cache import ACCESS, NoCachePassword, give_password
from components.settings.server import PASSWORD, SIGNING_KEY
from tests.components.mistakes import SERVICE, at_odds, mistakes
from tests.components.program import Account, Deploy, Recorded, only, secret_arn
from tests.components.test_oauth_state import statements
from tests.conftest import ROOT

NAME = "busyb-google-workspace-mcp"
LABEL, SECRET = f"{NAME}-oauth-state", f"{NAME}-cache-password"
CUSTOMERS = "arn:aws:kms:us-east-1:758888582357:key/66666666-7777-8888-9999-000000000000"


def cached(config: dict[str, Any], **cache: Any) -> dict[str, Any]:
    """Two tasks that share a cache of theirs."""
    only(config)["desiredCount"] = 2
    only(config)["securityGroups"] = []
    only(config)["oauth"]["state"] = {"backend": "valkey", "cache": cache} if cache else "valkey"
    return config


def made(recorded: Recorded, part: str) -> dict[str, Any]:
    return recorded.inputs(f"google-workspace-{part}")


def test_without_a_host_the_program_makes_the_smallest_cache(deploy: Deploy, config: dict[str, Any]) -> None:
    recorded = deploy(cached(config))
    cache = made(recorded, "cache")
    assert cache.pop("tags")["Service"] == "google-workspace-mcp"
    assert cache == {
        "replicationGroupId": LABEL,
        "description": f"OAuth state of {NAME}",
        "engine": "valkey",
        "engineVersion": "8.0",
        "nodeType": "cache.t4g.micro",
        "numCacheClusters": 1,
        "automaticFailoverEnabled": False,
        "multiAzEnabled": False,
        "port": 6379,
        "subnetGroupName": LABEL,
        "securityGroupIds": [f"sg-{LABEL}"],
        "userGroupIds": [LABEL],
        "transitEncryptionEnabled": True,
        "transitEncryptionMode": "required",
        "atRestEncryptionEnabled": True,
        "autoMinorVersionUpgrade": True,
        "snapshotRetentionLimit": 0,
        "applyImmediately": True,
    }
    service = made(recorded, "service")
    assert made(recorded, "cache-subnets")["subnetIds"] == service["networkConfiguration"]["subnets"]


def test_a_size_copies_and_a_key_are_as_configured(deploy: Deploy, config: dict[str, Any]) -> None:
    cache = made(deploy(cached(config, nodeType="cache.r7g.large", replicas=2, kmsKey=CUSTOMERS)), "cache")
    assert (cache["nodeType"], cache["numCacheClusters"], cache["kmsKeyId"]) == ("cache.r7g.large", 3, CUSTOMERS)
    assert cache["automaticFailoverEnabled"] is cache["multiAzEnabled"] is True


def test_the_server_is_told_of_the_cache_and_of_its_user(deploy: Deploy, config: dict[str, Any]) -> None:
    container = deploy(cached(config)).container()
    prefix = "WORKSPACE_MCP_OAUTH_PROXY_"
    environment = {each["name"]: each["value"] for each in container["environment"] if each["name"].startswith(prefix)}
    assert environment == {
        f"{prefix}STORAGE_BACKEND": "valkey",
        f"{prefix}VALKEY_HOST": f"master.{LABEL}.abc123.use1.cache.amazonaws.com",
        f"{prefix}VALKEY_PORT": "6379",
        f"{prefix}VALKEY_DB": "0",
        f"{prefix}VALKEY_USE_TLS": "true",
        f"{prefix}VALKEY_USERNAME": LABEL,
    }
    secrets = {each["name"]: each["valueFrom"] for each in container["secrets"]}
    assert secrets[PASSWORD] == f"{secret_arn(SECRET)}:{PASSWORD}::"
    assert SIGNING_KEY in secrets


def test_the_tasks_alone_are_let_in_and_let_out_to_it(deploy: Deploy, config: dict[str, Any]) -> None:
    recorded = deploy(cached(config))
    rules = "aws:vpc/securityGroup{0}Rule:SecurityGroup{0}Rule"
    ways = {
        way: {name: inputs for name, inputs in recorded.of(rules.format(way)).items() if "cache" in name}
        for way in ("Ingress", "Egress")
    }
    tasks, cache = f"sg-{NAME}", f"sg-{LABEL}"
    ((_, in_),), ((_, out),) = ways["Ingress"].items(), ways["Egress"].items()
    assert (in_["securityGroupId"], in_["referencedSecurityGroupId"], in_["fromPort"]) == (cache, tasks, 6379)
    assert (out["securityGroupId"], out["referencedSecurityGroupId"], out["toPort"]) == (tasks, cache, 6379)
    assert not [name for name in recorded.of(rules.format("Egress")) if "oauth-state" in name], "the VPC is not opened"


def test_existing_groups_of_tasks_are_let_in_and_left_as_they_are(deploy: Deploy, config: dict[str, Any]) -> None:
    cached(config)
    only(config)["securityGroups"] = ["busyb-ecs-sg", "core-agent-sg"]
    recorded = deploy(config)
    let_in = [made(recorded, f"cache-from-tasks{end}")["referencedSecurityGroupId"] for end in ("", "-2")]
    assert let_in == ["sg-ecs", "sg-core-agent"]
    assert not [r for r in recorded.resources if r.inputs.get("securityGroupId") in let_in]


def test_the_password_is_in_the_secret_and_with_the_user_and_stands_nowhere_else(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    recorded = deploy(cached(config))
    password = json.loads(estate.filled[secret_arn(SECRET)])[PASSWORD]
    assert estate.cache_users == {LABEL: password} and len(password) == 64
    seen = json.dumps([[r.inputs for r in recorded.resources], recorded.outputs, recorded.calls], default=repr)
    assert LABEL in seen and password not in seen
    user = next(r for r in recorded.resources if r.type == "aws:elasticache/user:User")
    assert user.inputs["authenticationMode"] == {"type": "iam"} and user.inputs["accessString"] == ACCESS
    assert list(user.request.ignoreChanges) == ["authenticationMode"]


def test_a_preview_makes_no_password(deploy: Deploy, config: dict[str, Any], estate: Account) -> None:
    deploy(cached(config), preview=True)
    assert (estate.filled, estate.cache_users) == ({}, {})


def test_a_password_that_is_there_is_kept(deploy: Deploy, config: dict[str, Any], estate: Account) -> None:
    estate.filled[secret_arn(SECRET)], estate.cache_users[LABEL] = "rotated", "rotated"
    deploy(cached(config))
    assert (estate.filled[secret_arn(SECRET)], estate.cache_users) == ("rotated", {LABEL: "rotated"})


@pytest.mark.parametrize("half", ["the secret", "the user"])
def test_a_run_that_ended_between_the_two_is_gone_on_with(
    deploy: Deploy, config: dict[str, Any], estate: Account, half: str
) -> None:
    if half == "the secret":
        estate.filled[secret_arn(SECRET)] = "of the run before"
    else:
        estate.cache_users[LABEL] = "of the run before"
    deploy(cached(config))
    assert json.loads(estate.filled[secret_arn(SECRET)])[PASSWORD] == estate.cache_users[LABEL]


def test_a_password_that_cannot_be_given_fails_with_what_to_allow(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    estate.named[LABEL] = "refused"
    error = deploy(cached(config), fails=True).error
    assert isinstance(error, NoCachePassword)
    assert "allow elasticache:DescribeUsers and ModifyUser on it, secretsmanager:DescribeSecret" in str(error)
    assert "planted-password" not in str(error)


def test_a_user_that_is_being_changed_is_waited_for() -> None:
    asked: list[str] = []

    class Client:
        def describe_secret(self, **_: str) -> dict[str, Any]:
            return {}

        def get_random_password(self, **_: object) -> dict[str, str]:
            return {"RandomPassword": "made"}

        def put_secret_value(self, **_: str) -> None:
            asked.append("put")

        def describe_users(self, **_: str) -> dict[str, Any]:
            asked.append("describe")
            status = "active" if asked.count("describe") in (2, 4) else "modifying"
            return {"Users": [{"Status": status, "Authentication": {"Type": "iam"}}]}

        def modify_user(self, **_: object) -> None:
            asked.append("modify")

    give_password(lambda _: Client(), "user", "secret", pause=0)
    assert asked == ["put", "describe", "describe", "modify", "describe", "describe"]


def test_tasks_start_after_the_cache_which_comes_after_its_password(deploy: Deploy, config: dict[str, Any]) -> None:
    """What waits for something when it is made goes before it when both are deleted."""
    resources = {r.name: r for r in deploy(cached(config)).resources if not r.type.startswith("mcp-on-ecs:")}

    def after(later: str, *earlier: str) -> bool:
        needs = set(resources[f"google-workspace-{later}"].request.dependencies)
        return {resources[f"google-workspace-{name}"].urn for name in earlier} <= needs

    assert after("service", "cache", "cache-from-tasks", "to-cache", "signing-key")
    assert after("cache", "cache-users", "cache-subnets", "cache-security-group")
    assert after("cache-users", "cache-user", "cache-password")


def test_a_cache_that_fills_is_told_of(deploy: Deploy, config: dict[str, Any]) -> None:
    recorded = deploy(cached(config))
    alarms = [made(recorded, f"alarm-cache-{part}") for part in ("memory", "evictions")]
    assert [alarm["dimensions"] for alarm in alarms] == [{"CacheClusterId": f"{LABEL}-001"}] * 2
    assert [alarm["metricName"] for alarm in alarms] == ["DatabaseMemoryUsagePercentage", "Evictions"]
    page = (ROOT / "docs" / "operations.md").read_text()
    for alarm in alarms:
        assert f"`{alarm['name'].removeprefix(NAME + '-')}`" in page
    only(config)["oauth"]["state"] = "dynamodb"
    assert not [r.name for r in deploy(config).resources if "alarm-cache" in r.name]


def test_the_task_may_ask_aws_nothing_of_its_cache(deploy: Deploy, config: dict[str, Any]) -> None:
    recorded = deploy(cached(config))
    assert "elasticache" not in recorded.inputs("google-workspace-task-policy")["policy"]
    assert f"{secret_arn(SECRET)[:-6]}??????" in statements(recorded, "execution")["Secrets"]["Resource"]


@pytest.mark.parametrize(
    ("state", "secrets", "key", "told"),
    [
        (
            {"cache": {"replicas": 1}, "host": "cache.busyb.local"},
            {},
            "oauth.state.cache",
            "is for a cache that the program makes, and host names one that exists; remove one",
        ),
        (
            {"tls": False},
            {},
            "oauth.state.tls",
            "is for a cache that exists, and host names none; remove it, or name the host",
        ),
        ({}, {PASSWORD: {"secret": "s", "key": "K"}}, "secrets", f"{PASSWORD}: it is made with the cache; remove it"),
    ],
)
def test_what_a_cache_that_is_made_does_not_take_is_refused(
    config: dict[str, Any], state: dict[str, Any], secrets: dict[str, Any], key: str, told: str
) -> None:
    cached(config)
    only(config)["oauth"]["state"] = {"backend": "valkey", **state}
    only(config)["secrets"].update(secrets)
    assert mistakes(config) == [at_odds(f"{SERVICE}.{key}", told)]
