"""The incidents that a stack of this kind has had: each mistake is stopped before anything is created.

Each test makes that very mistake in the production stack's configuration. Where the settings already refuse it, the
test shows that, and then that a rule stops what a program without such settings would register.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from components import settings
from policies import Findings, evaluate, rules
from policies.registrations import ROOT, Registration, registrations
from tests.policies.specs import Registered, one, routed, served, task

TODAY = datetime.date(2026, 12, 1)


def _production() -> dict[str, str]:
    return settings.read_stack_file(ROOT / "Pulumi.production.yaml")


def changed(change: Callable[[dict[str, Any]], None]) -> dict[str, str]:
    """The production stack's configuration with something changed in its one service."""
    config = _production()
    services = json.loads(config["mcp-on-ecs:services"])
    change(services["google-workspace"])
    return {**config, "mcp-on-ecs:services": json.dumps(services)}


def stopped(findings: Findings) -> set[str]:
    """Names of the rules that stop the deployment."""
    return {violation.rule.id for violation in findings.violations if violation.rule.stops}


def production() -> list[Registration]:
    return registrations(_production())


def with_container(registered: Iterable[Registration], change: Callable[[dict[str, Any]], None]) -> list[Registration]:
    """As if the program had made a mistake in the container that it defines."""
    result = []
    for registration in registered:
        inputs = copy.deepcopy(dict(registration.inputs))
        if registration.type == "mcp-on-ecs:index:McpService":
            (container,) = json.loads(inputs["containerDefinitions"])
            change(container)
            inputs["containerDefinitions"] = json.dumps([container])
        result.append(dataclasses.replace(registration, inputs=inputs))
    return result


def with_input(registered: Iterable[Registration], type_: str, **inputs: Any) -> list[Registration]:
    return [dataclasses.replace(r, inputs={**r.inputs, **inputs}) if r.type == type_ else r for r in registered]


def variable(container: dict[str, Any], name: str, value: str) -> None:
    container["environment"] = [v for v in container["environment"] if v["name"] != name] + [
        {"name": name, "value": value}
    ]


def test_without_a_mistake_nothing_is_stopped() -> None:
    assert stopped(evaluate(production(), today=TODAY)) == set()


def test_1_tasks_that_die_at_start_bring_the_service_back_to_the_old_version() -> None:
    mistake = with_input(production(), "aws:ecs/service:Service", deploymentCircuitBreaker={"enable": False})

    assert stopped(evaluate(mistake)) == {"ecs-service-require-rollback"}


def test_2_an_image_for_another_architecture_than_the_tasks() -> None:
    mistake = with_input(
        production(), "aws:ecs/taskDefinition:TaskDefinition", runtimePlatform={"cpuArchitecture": "ARM64"}
    )
    findings = evaluate(mistake)

    assert stopped(findings) == {"ecs-task-match-image-architecture"}
    assert any("built for linux/amd64, on ARM64" in line for line in findings.lines())


def test_2_an_image_for_whatever_machine_builds_it() -> None:
    build = {"context": "image", "dockerfile": "image/Dockerfile"}

    assert "docker-image-require-platform" in stopped(
        evaluate(with_input(production(), "docker:index/image:Image", build=build))
    )


def test_3_a_path_prefix_that_reaches_a_server_which_does_not_know_it() -> None:
    def pattern(service: dict[str, Any]) -> None:
        service["routing"] = {
            "strategy": "pattern",
            "host": "api.busyb.ai",
            "priority": 50,
            "path": "/google-workspace",
            "patterns": ["/google-workspace/*"],
        }

    findings = evaluate(registrations(changed(pattern)))

    assert stopped(findings) == {"lb-listener-rule-strip-prefix"}
    assert any("routing.strategy: rewrite" in line for line in findings.lines())


@pytest.mark.parametrize("pattern", ["/google-workspace/*", "/google-workspace*", "/google-workspace"])
def test_3_the_prefix_is_seen_in_every_pattern(pattern: str) -> None:
    assert "lb-listener-rule-strip-prefix" in stopped(evaluate(routed(pattern)))


@pytest.mark.parametrize("pattern", ["/*", "/mcp", "/mcp/*", "/mcp*", "/health"])
def test_3_patterns_of_what_the_server_answers_pass(pattern: str) -> None:
    assert "lb-listener-rule-strip-prefix" not in stopped(evaluate(routed(pattern)))


def test_3_a_server_that_is_told_its_prefix_passes() -> None:
    told = routed("/google-workspace/*", MCP_PATH_PREFIX="/google-workspace")

    assert "lb-listener-rule-strip-prefix" not in stopped(evaluate(told))


def test_4_credentials_by_names_that_the_server_does_not_read() -> None:
    def renamed(service: dict[str, Any]) -> None:
        service["secrets"] = {f"MCP_{name}": secret for name, secret in service["secrets"].items()}

    with pytest.raises(settings.SettingsError, match="GOOGLE_OAUTH_CLIENT_ID is missing"):
        settings.parse(changed(renamed))

    def renamed_in_container(container: dict[str, Any]) -> None:
        container["secrets"] = [{**secret, "name": f"MCP_{secret['name']}"} for secret in container["secrets"]]

    findings = evaluate(with_container(production(), renamed_in_container))
    assert stopped(findings) == {"mcp-server-name-variables"}
    assert any("nothing reads MCP_GOOGLE_OAUTH_CLIENT_ID" in line for line in findings.lines())


def test_5_a_secret_that_is_injected_whole() -> None:
    def whole(service: dict[str, Any]) -> None:
        del service["secrets"]["GOOGLE_OAUTH_CLIENT_ID"]["key"]

    with pytest.raises(settings.SettingsError, match=r"GOOGLE_OAUTH_CLIENT_ID\.key"):
        settings.parse(changed(whole))

    def whole_in_container(container: dict[str, Any]) -> None:
        for secret in container["secrets"]:
            secret["valueFrom"] = ":".join(secret["valueFrom"].split(":")[:7])

    assert stopped(evaluate(with_container(production(), whole_in_container))) == {"ecs-container-require-secret-key"}


def test_6_an_image_by_a_tag_that_can_be_pushed_again() -> None:
    latest = with_container(production(), lambda container: container.update(image="busyb-google-workspace-mcp:latest"))
    mutable = with_input(production(), "aws:ecr/repository:Repository", imageTagMutability="MUTABLE")

    assert stopped(evaluate(latest)) == {"ecs-container-require-image-digest"}
    assert stopped(evaluate(mutable)) == {"ecr-repository-disallow-mutable-tags"}


def test_6_a_task_definition_that_is_known_is_held_to_the_rule_itself() -> None:
    by_tag = [task({"name": "mcp", "image": "busyb-google-workspace-mcp:v7"})]

    assert "ecs-container-require-image-digest" in stopped(evaluate(by_tag))


def test_7_a_private_name_that_is_given_to_clients_outside() -> None:
    private = with_container(
        production(),
        lambda c: variable(c, "WORKSPACE_EXTERNAL_URL", "http://google-workspace.busyb.local:8000"),
    )
    findings = evaluate(private)

    assert stopped(findings) == {"mcp-service-tell-public-address"}
    assert any("known in the VPC only" in line for line in findings.lines())


@pytest.mark.parametrize(
    "mistake",
    [
        lambda r: with_input(r, "aws:lb/targetGroup:TargetGroup", port=8080),
        lambda r: with_container(r, lambda c: c.update(portMappings=[{"containerPort": 8080}])),
        lambda r: with_container(r, lambda c: variable(c, "PORT", "8080")),
    ],
    ids=["target group", "container", "server"],
)
def test_8_a_port_that_differs_from_the_others(mistake: Callable[[list[Registration]], list[Registration]]) -> None:
    assert stopped(evaluate(mistake(production()))) == {"ecs-service-match-ports"}


def test_8_one_number_in_the_configuration_changes_all_ports() -> None:
    findings = evaluate(registrations(changed(lambda service: service.update(port=8080))))

    assert "ecs-service-match-ports" not in stopped(findings)


def test_8_a_security_group_that_does_not_admit_the_port() -> None:
    group = "aws:ec2/securityGroup:SecurityGroup"
    rule = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    *others, service = served()
    with_group = dataclasses.replace(service, needs=(*service.needs, group))

    def admitting(port: int) -> list[Registered]:
        return [*others, with_group, one(group), one(rule, group, fromPort=port, toPort=port)]

    assert "ecs-service-match-ports" in stopped(evaluate(admitting(8080)))
    assert "ecs-service-match-ports" not in stopped(evaluate(admitting(8000)))


def test_oauth_switched_on_by_a_word_that_the_server_takes_for_no() -> None:
    word = with_container(production(), lambda container: variable(container, "MCP_ENABLE_OAUTH21", "1"))

    assert stopped(evaluate(word)) == {"mcp-server-spell-oauth", "mcp-service-require-oauth"}


@pytest.mark.parametrize(
    ("oauth", "stops"), [("true", set()), ("1", {"mcp-server-spell-oauth", "mcp-service-require-oauth"})]
)
def test_a_fork_of_version_1_is_held_to_its_login_and_not_to_the_names_of_version_2(
    oauth: str, stops: set[str]
) -> None:
    def fork(service: dict[str, Any]) -> None:
        del service["oauth"]
        service["server"] = "other"
        service["routing"]["strategy"] = "prefix"
        service["variables"] = {"PORT": "{port}", "WORKSPACE_MCP_BASE_URI": "{url}"}
        service["environment"] = {"MCP_ENABLE_OAUTH21": oauth, "WORKSPACE_MCP_PORT": "8000"}

    assert stopped(evaluate(registrations(changed(fork)))) == stops


def test_several_tasks_with_oauth_state_of_their_own() -> None:
    memory = {"clientRedirectUris": ["http://localhost:*"], "state": "memory"}
    with pytest.raises(settings.SettingsError, match="logins fail between tasks"):
        settings.parse(changed(lambda service: service.update(desiredCount=2, oauth=memory)))

    two = with_input(production(), "aws:ecs/service:Service", desiredCount=2)
    assert stopped(evaluate(two)) == {"mcp-service-share-oauth-state"}


def test_a_secret_in_the_configuration_of_a_variable() -> None:
    plain = changed(lambda service: service.update(environment={"GEMINI_API_KEY": "planted-value"}))
    findings = evaluate(registrations(plain))

    assert stopped(findings) == {"ecs-container-disallow-plain-secrets"}
    assert "planted-value" not in "\n".join(findings.lines())


def test_every_rule_that_an_incident_calls_for_stops_a_deployment() -> None:
    called_for = {
        "ecs-service-require-rollback",
        "ecs-task-match-image-architecture",
        "docker-image-require-platform",
        "lb-listener-rule-strip-prefix",
        "mcp-server-name-variables",
        "ecs-container-require-secret-key",
        "ecs-container-require-image-digest",
        "ecr-repository-disallow-mutable-tags",
        "mcp-service-tell-public-address",
        "ecs-service-match-ports",
        "mcp-server-spell-oauth",
        "mcp-service-require-oauth",
        "mcp-service-share-oauth-state",
        "ecs-container-disallow-plain-secrets",
        "aws-resource-require-tags",
        "logs-group-explain-retention",
    }

    assert called_for <= {rule.id for rule in rules() if rule.stops}
