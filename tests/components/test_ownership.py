"""What has the names of a stack and is another stack's is found before anything is made, and said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components import ownership
from components.estate import EstateError
from rehearsal.emulator import Emulator
from tests.components.clients import Named
from tests.components.mistakes import parsed
from tests.components.program import Account, Deploy, Recorded, only
from tests.conftest import ACCOUNT, REGION, VPC

ROLE = "busyb-google-workspace-mcp-task-role"
PRODUCTION = {"Environment": "production", "ManagedBy": "pulumi", "Service": "google-workspace-mcp"}


@pytest.fixture
def staging(config: dict[str, Any]) -> dict[str, Any]:
    """The production stack's file, copied for staging with nothing but another environment."""
    return {**config, "environment": "staging"}


def refused(recorded: Recorded) -> list[str]:
    assert isinstance(recorded.error, EstateError)
    assert recorded.resources == []
    return [str(finding) for finding in recorded.error.findings]


@pytest.mark.parametrize("preview", [True, False])
def test_another_environments_stack_with_the_same_prefix_is_named_before_anything_is_made(
    deploy: Deploy, staging: dict[str, Any], estate: Account, preview: bool
) -> None:
    estate.named = {ROLE: PRODUCTION}
    assert refused(deploy(staging, preview=preview, fails=True)) == [
        "  the name busyb-google-workspace-mcp for google-workspace\n"
        f"      looked   at the role {ROLE}\n"
        "      found    it is of the environment production, and so are its log group, repository, alarms and whatever "
        "else has that name\n"
        "      do       set another namePrefix, or services.google-workspace.name; if this stack was production itself "
        f"until now: aws iam tag-role --role-name {ROLE} --tags Key=Environment,Value=staging"
    ]


def test_what_the_message_says_to_do_lets_the_deployment_go_on(
    deploy: Deploy, staging: dict[str, Any], estate: Account
) -> None:
    estate.named = {ROLE: PRODUCTION}
    deploy({**staging, "namePrefix": "stage"})
    only(staging)["name"] = "busyb-staging-mail"
    deploy(staging)
    del only(staging)["name"]
    estate.named = {ROLE: {**PRODUCTION, "Environment": "staging"}}
    deploy(staging)


def test_topics_discovery_and_dashboard_of_another_environment_are_told_at_once(
    deploy: Deploy, staging: dict[str, Any], estate: Account
) -> None:
    staging["namePrefix"] = "stage"
    only(staging)["dashboard"] = "GoogleWorkspaceMCP"
    body = {"widgets": [{"metrics": [["McpOnEcs", "busyb-google-workspace-mcp-errors"]]}]}
    estate.named = {
        "critical-alerts": PRODUCTION,
        "warnings": PRODUCTION,
        "google-workspace": PRODUCTION,
        "GoogleWorkspaceMCP": json.dumps(body),
    }
    found = refused(deploy(staging, fails=True))
    assert [(text.splitlines()[0].strip(), text.splitlines()[-1].strip()) for text in found] == [
        (
            "the discovery name google-workspace for google-workspace",
            "do       set services.google-workspace.discovery.name to another name",
        ),
        ("the topic critical-alerts", "do       set monitoring.topics.critical to another name"),
        ("the topic warnings", "do       set monitoring.topics.warning to another name"),
        (
            "the dashboard GoogleWorkspaceMCP for google-workspace",
            "do       set services.google-workspace.dashboard to another name, or remove it",
        ),
    ]


@pytest.mark.parametrize(
    "tags",
    [
        PRODUCTION,
        {},
        {"Environment": "production"},
        {"Environment": "prod", "ManagedBy": "terraform"},
        {"ManagedBy": "pulumi"},
    ],
)
def test_what_is_this_stacks_or_made_by_hand_is_no_other_stacks(
    deploy: Deploy, config: dict[str, Any], estate: Account, tags: dict[str, str]
) -> None:
    names = (ROLE, "critical-alerts", "google-workspace")
    own = {"widgets": [{"metrics": [["McpOnEcs", "busyb-google-workspace-mcp-errors"]]}]}
    estate.named = dict.fromkeys(names, tags)
    for body in (json.dumps(own), json.dumps({"widgets": []})):
        estate.named["busyb-google-workspace-mcp"] = body
        deploy(config)


def test_what_could_not_be_asked_is_told_as_a_warning_and_the_rest_is_asked(config: dict[str, Any]) -> None:
    account = Account(named={ROLE: "refused", "warnings": {**PRODUCTION, "Environment": "staging"}})
    warned: list[str] = []
    found = ownership.conflicts(
        parsed(config),
        client=lambda _: Named(account),
        topic_arn=lambda name: f"arn:aws:sns:us-east-1:758888582357:{name}",
        namespace="ns-1",
        warn=warned.append,
    )
    assert [what for what, *_ in found] == ["the topic warnings"]
    assert len(warned) == 1
    assert "AccessDenied" in warned[0]


def test_an_emulated_account_says_whose_its_names_are(config: dict[str, Any], emulator: Emulator, unique: str) -> None:
    only(config).update(name=unique, dashboard=unique, discovery={"name": unique})
    config["monitoring"] = {
        "topics": {topic: f"{unique}-{topic}" for topic in ("critical", "operations", "warning", "deployments")}
    }
    cloud_map = emulator.client("servicediscovery")
    operation = cloud_map.create_private_dns_namespace(Name=f"{unique}.local", Vpc=VPC)["OperationId"]
    namespace = cloud_map.get_operation(OperationId=operation)["Operation"]["Targets"]["NAMESPACE"]
    tags = [{"Key": key, "Value": value} for key, value in PRODUCTION.items()]
    warned: list[str] = []

    def found(environment: str) -> list[str]:
        conflicts = ownership.conflicts(
            parsed({**config, "environment": environment}),
            client=emulator.client,
            topic_arn=lambda name: f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}",
            namespace=namespace,
            warn=warned.append,
        )
        return sorted(what for what, *_ in conflicts)

    assert found("staging") == [], "nothing is there yet"
    emulator.client("iam").create_role(RoleName=f"{unique}-task-role", AssumeRolePolicyDocument="{}", Tags=tags)
    emulator.client("sns").create_topic(Name=f"{unique}-warning", Tags=tags)
    cloud_map.create_service(Name=unique, NamespaceId=namespace, Tags=tags)
    body = {"widgets": [{"type": "metric", "properties": {"metrics": [["McpOnEcs", "other-errors"]]}}]}
    emulator.client("cloudwatch").put_dashboard(DashboardName=unique, DashboardBody=json.dumps(body))
    dashboard = f"the dashboard {unique} for google-workspace"
    assert found("staging") == [
        dashboard,
        f"the discovery name {unique} for google-workspace",
        f"the name {unique} for google-workspace",
        f"the topic {unique}-warning",
    ]
    assert found("production") == [dashboard]
    assert warned == []
