"""The pipeline's roles: who may take them, and that their rights follow from what is declared."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components import delivery
from components.delivery import OversizedPolicy, UnknownRights
from components.estate import EstateError
from policies import evaluate
from policies.registrations import registrations
from policies.rules import rules
from providers import handlers
from tests.components.program import ACCOUNT, GITHUB, Account, Deploy, Recorded, only
from tests.iam import Request, allowed, may_assume
from tests.stacks import INTERNAL, SERVICE, changed, production

DELIVERY = {
    "repository": "busyb-ai/infrastructure",
    "stateBucket": "busyb-pulumi-state",
    "stateKey": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555",
}
ROLE = "aws:iam/role:Role"


def trust(recorded: Recorded, part: str) -> dict[str, Any]:
    (statement,) = json.loads(recorded.inputs(f"delivery-{part}-role")["assumeRolePolicy"])["Statement"]
    return dict(statement)


def statements(recorded: Recorded, part: str = "deploy") -> dict[str, dict[str, Any]]:
    found = recorded.of("aws:iam/policy:Policy")
    documents = [json.loads(found[name]["policy"]) for name in sorted(found) if f"-{part}-" in name]
    return {statement["Sid"]: statement for document in documents for statement in document["Statement"]}


@pytest.fixture
def delivered(config: dict[str, Any]) -> dict[str, Any]:
    """The production configuration with a pipeline."""
    return {**config, "delivery": dict(DELIVERY)}


def test_without_delivery_there_are_no_roles_for_it(deploy: Deploy, config: dict[str, Any]) -> None:
    recorded = deploy(config)
    assert sorted(recorded.of(ROLE)) == ["google-workspace-execution-role", "google-workspace-task-role"]
    assert "deployRole" not in recorded.outputs


def test_only_the_branch_in_its_environment_may_deploy(deploy: Deploy, delivered: dict[str, Any]) -> None:
    statement = trust(deploy(delivered), "deploy")
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"] == {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"}
    assert statement["Condition"] == {
        "StringEquals": {
            f"{GITHUB}:aud": "sts.amazonaws.com",
            f"{GITHUB}:sub": "repo:busyb-ai/infrastructure:environment:production",
            f"{GITHUB}:ref": "refs/heads/main",
        }
    }


def test_previews_are_for_an_environment_of_their_own(deploy: Deploy, delivered: dict[str, Any]) -> None:
    assert trust(deploy(delivered), "preview")["Condition"] == {
        "StringEquals": {
            f"{GITHUB}:aud": "sts.amazonaws.com",
            f"{GITHUB}:sub": "repo:busyb-ai/infrastructure:environment:preview",
        }
    }


PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"
OURS = "repo:busyb-ai/infrastructure"
DEPLOYING = {"aud": "sts.amazonaws.com", "sub": f"{OURS}:environment:production", "ref": "refs/heads/main"}
PREVIEWING = {"aud": "sts.amazonaws.com", "sub": f"{OURS}:environment:preview", "ref": "refs/pull/7/merge"}


OTHERS = {
    "a fork's main": {"sub": "repo:somebody/infrastructure:environment:production"},
    "another repository of the owner": {"sub": "repo:busyb-ai/website:environment:production"},
    "a repository whose name begins so": {"sub": f"{OURS}-2:environment:production"},
    "another branch in the environment": {"ref": "refs/heads/feature"},
    "a tag called main": {"ref": "refs/tags/main"},
    "a pull request in the environment": {"ref": "refs/pull/7/merge"},
    "a pull request": {"sub": f"{OURS}:pull_request", "ref": "refs/pull/7/merge"},
    "main outside of the environment": {"sub": f"{OURS}:ref:refs/heads/main"},
    "main in the environment of previews": {"sub": f"{OURS}:environment:preview"},
    "a token for another audience": {"aud": "https://github.com/busyb-ai"},
}


def test_a_token_of_a_fork_or_of_another_branch_is_denied_the_role_that_deploys(
    deploy: Deploy, delivered: dict[str, Any]
) -> None:
    document = {"Statement": [trust(deploy(delivered), "deploy")]}
    assert may_assume(document, provider=PROVIDER, claims=DEPLOYING)
    let_in = [
        who for who, claims in OTHERS.items() if may_assume(document, provider=PROVIDER, claims=DEPLOYING | claims)
    ]
    assert let_in == []
    other_issuer = PROVIDER.replace(GITHUB, "token.actions.example.com")
    assert not may_assume(document, provider=other_issuer, claims=DEPLOYING)


def test_a_token_is_denied_the_role_of_previews_unless_it_is_of_the_repository_and_its_environment(
    deploy: Deploy, delivered: dict[str, Any]
) -> None:
    document = {"Statement": [trust(deploy(delivered), "preview")]}
    assert may_assume(document, provider=PROVIDER, claims=PREVIEWING)
    for sub in ("repo:somebody/infrastructure:environment:preview", f"{OURS}:pull_request", DEPLOYING["sub"]):
        assert not may_assume(document, provider=PROVIDER, claims=PREVIEWING | {"sub": sub})


def test_a_repository_with_immutable_subjects_is_named_with_its_ids(deploy: Deploy, delivered: dict[str, Any]) -> None:
    delivered["delivery"]["repository"] = "busyb-ai@123456/infrastructure@456789"
    document = {"Statement": [trust(deploy(delivered), "deploy")]}
    claims = DEPLOYING | {"sub": "repo:busyb-ai@123456/infrastructure@456789:environment:production"}
    assert may_assume(document, provider=PROVIDER, claims=claims)
    # Somebody who took the names after they were given up.
    claims |= {"sub": "repo:busyb-ai@999999/infrastructure@888888:environment:production"}
    assert not may_assume(document, provider=PROVIDER, claims=claims)


def test_the_roles_are_outputs(deploy: Deploy, delivered: dict[str, Any]) -> None:
    outputs = deploy(delivered).outputs
    assert outputs["deployRole"] == f"arn:aws:iam::{ACCOUNT}:role/busyb-production-mcp-deploy"
    assert outputs["previewRole"] == f"arn:aws:iam::{ACCOUNT}:role/busyb-production-mcp-preview"


def test_the_policies_are_known_at_a_first_preview(deploy: Deploy, delivered: dict[str, Any]) -> None:
    assert statements(deploy(delivered, preview=True)) == statements(deploy(delivered))


def test_a_missing_provider_is_told_with_the_others_that_are_missing(
    deploy: Deploy, delivered: dict[str, Any], estate: Account
) -> None:
    estate.github_trusted = False
    estate.clusters.clear()
    error = deploy(delivered, fails=True).error
    assert isinstance(error, EstateError)
    assert {finding.what for finding in error.findings} == {"cluster busyb-cluster", "GitHub's OIDC provider"}
    assert "delivery.createProvider: true" in str(error)


def test_the_provider_is_created_where_wanted(deploy: Deploy, delivered: dict[str, Any], estate: Account) -> None:
    estate.github_trusted = False
    delivered["delivery"]["createProvider"] = True
    recorded = deploy(delivered)
    (inputs,) = recorded.of("aws:iam/openIdConnectProvider:OpenIdConnectProvider").values()
    assert (inputs["url"], inputs["clientIdLists"]) == (f"https://{GITHUB}", ["sts.amazonaws.com"])


def test_the_roles_that_may_be_passed_are_the_two_and_to_ecs_tasks_only(
    deploy: Deploy, delivered: dict[str, Any]
) -> None:
    passing = [s for s in statements(deploy(delivered)).values() if "iam:PassRole" in s["Action"]]
    assert passing == [
        {
            "Sid": "PassRoles",
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": [
                f"arn:aws:iam::{ACCOUNT}:role/busyb-google-workspace-mcp-execution-role",
                f"arn:aws:iam::{ACCOUNT}:role/busyb-google-workspace-mcp-task-role",
            ],
            "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        }
    ]


def test_with_a_given_execution_role_that_one_is_passed_and_not_changed(
    deploy: Deploy, delivered: dict[str, Any]
) -> None:
    only(delivered)["executionRole"] = "ecsTaskExecutionRole"
    found = statements(deploy(delivered))
    given = f"arn:aws:iam::{ACCOUNT}:role/ecsTaskExecutionRole"
    assert given in found["PassRoles"]["Resource"]
    assert [sid for sid, s in found.items() if given in s["Resource"]] == ["GivenRoles", "PassRoles"]
    assert found["GivenRoles"]["Action"] == "iam:GetRole"


def test_rights_come_and_go_with_what_is_declared(deploy: Deploy, delivered: dict[str, Any]) -> None:
    public = statements(deploy(delivered))
    assert {"Rules", "TargetGroups"} <= public.keys()
    assert "SecurityGroups" not in public
    only(delivered).update(INTERNAL, securityGroups=[])
    internal = statements(deploy(delivered))
    assert not {"Rules", "TargetGroups"} & internal.keys()
    assert "SecurityGroups" in internal


def test_the_role_is_the_same_after_a_rollback_since_it_may_not_change_itself(
    deploy: Deploy, delivered: dict[str, Any]
) -> None:
    """A rollback pins the image, which is then declared no more."""
    before = statements(deploy(delivered))
    only(delivered)["image"] = {"digest": "sha256:" + "0" * 64}
    assert statements(deploy(delivered)) == before
    assert "ecr:PutImage" in before["Push"]["Action"], "what became healthy is kept from expiry by a tag"


def test_a_type_without_rights_stops_the_program(
    deploy: Deploy, delivered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(delivery._RIGHTS, "aws:ssm/parameter:Parameter")
    error = deploy(delivered, fails=True).error
    assert isinstance(error, UnknownRights)
    assert "aws:ssm/parameter:Parameter (google-workspace-address, google-workspace-healthy)" in str(error)


def test_every_type_that_the_program_may_declare_has_rights() -> None:
    """The rehearsal carries out every type that the program uses; the pipeline's own are an administrator's."""
    own = {
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        "aws:iam/policy:Policy",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    }
    assert {name for name in handlers if name.startswith(("aws:", "docker:"))} - own - delivery._RIGHTS.keys() == set()


def with_services(config: dict[str, Any], count: int) -> dict[str, Any]:
    """`count` services beside the one."""
    template = only(config)
    for number in range(count):
        routing = {**template["routing"], "path": f"/s{number}", "priority": 100 + 10 * number}
        config["services"][f"s{number}"] = {**template, "routing": routing}
    return config


def test_ten_services_fit_and_every_policy_is_one_that_iam_takes(deploy: Deploy, delivered: dict[str, Any]) -> None:
    found = deploy(with_services(delivered, 9)).of("aws:iam/policy:Policy")
    sizes = {name: len(inputs["policy"]) for name, inputs in found.items()}
    assert max(sizes.values()) <= 6_144
    assert 2 <= sum("-deploy-" in name for name in sizes) <= 10


def test_more_than_iam_takes_is_refused(
    deploy: Deploy, delivered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_POLICIES_LIMIT", 1)
    error = deploy(delivered, fails=True).error
    assert isinstance(error, OversizedPolicy)
    assert "IAM takes 1 of 6,144" in str(error)


def test_all_rules_hold_for_the_pipeline_itself() -> None:
    stack = changed(production("delivery"), {"delivery": {**DELIVERY, "createProvider": True}})
    registered = registrations(stack.config)
    assert {r.name for r in registered if r.type == ROLE} >= {"delivery-deploy-role", "delivery-preview-role"}
    assert evaluate(registered, stack.settings.policy_exceptions).violations == ()


@pytest.mark.parametrize(
    ("subject", "problem"),
    [
        ("repo:busyb-ai/*", "does not name one repository"),
        ("repo:busyb-ai/infrastructure:*", "does not name one repository"),
        ("repo:busyb-ai/infrastructure:pull_request", "pull requests may take it"),
    ],
)
def test_a_wider_trust_would_be_stopped(subject: str, problem: str) -> None:
    stack = changed(production("delivery"), {"delivery": DELIVERY})
    registered = registrations(stack.config)
    (role,) = [r for r in registered if r.name == "delivery-deploy-role"]
    document = json.loads(role.inputs["assumeRolePolicy"])
    document["Statement"][0]["Condition"]["StringEquals"][f"{GITHUB}:sub"] = subject
    role.inputs["assumeRolePolicy"] = json.dumps(document)  # type: ignore[index]
    (rule,) = [rule for rule in rules() if rule.name == "iam-role-limit-github-subject"]
    assert any(problem in violation.problem for violation in evaluate([role], hold_to=[rule]).violations)


# --- what the rehearsal of the production stack does not deploy: asked as the service authorization reference says
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html

TAGS = {"ManagedBy": "pulumi", "Environment": "production", "Service": "google-workspace-mcp"}
NEW = {f"aws:RequestTag/{key}": value for key, value in TAGS.items()}
OWN = {f"aws:ResourceTag/{key}": value for key, value in TAGS.items()}
FOREIGN = OWN | {"aws:ResourceTag/Service": "core-agent"}
CHOSEN: dict[str, Any] = {
    "delivery": DELIVERY,
    "monitoring.slack": {"workspace": "T0123456789", "channel": "C0123456789"},
    f"{SERVICE}.autoscaling": {"maximum": 4},
    f"{SERVICE}.oauth.state": {"backend": "valkey", "host": "cache.busyb.local"},
    f"{SERVICE}.routing": {"strategy": "host", "host": "mcp.busyb.ai", "priority": 50, "hostedZone": "busyb.ai"},
    f"{SERVICE}.securityGroups": [],
}


def arn(service: str, rest: str, region: str = "us-east-1") -> str:
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{rest}"


def actions(service: str, *names: str, on: str, context: dict[str, str] | None = None) -> list[Request]:
    return [Request(f"{service}:{name}", (on,), context or {}) for name in names]


GROUP, RULE = arn("ec2", "security-group/sg-1"), arn("ec2", "security-group-rule/sgr-1")
TARGET = arn("application-autoscaling", "scalable-target/0a1b")
SCALING_ALARM = arn(
    "cloudwatch", "alarm:TargetTracking-service/busyb-cluster/busyb-google-workspace-mcp-service-High-1"
)
SCALING_ROLE = (
    "aws-service-role/ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService"
)
SLACK = arn("chatbot", "chat-configuration/slack-channel/busyb-production-mcp", "")


@pytest.fixture(scope="module")
def chosen() -> dict[str, dict[str, Any]]:
    """The statements of the role that deploys, by Sid, where everything that is optional is chosen."""
    registered = registrations(changed(production("delivery"), CHOSEN).config)
    documents = [
        r.inputs["policy"] for r in registered if r.type == "aws:iam/policy:Policy" and "-deploy-policy-" in r.name
    ]
    return {statement["Sid"]: statement for text in documents for statement in json.loads(text)["Statement"]}


def needed(zone: str) -> list[Request]:
    change = {"route53:ChangeResourceRecordSetsNormalizedRecordNames": "mcp.busyb.ai"}
    return [
        # A new security group, its rules, changes of them, and its end.
        *actions("ec2", "CreateSecurityGroup", on=GROUP, context=NEW),
        *actions("ec2", "CreateSecurityGroup", on=arn("ec2", "vpc/vpc-0111b7630bcb61b61")),
        *actions("ec2", "CreateTags", on=GROUP, context={"ec2:CreateAction": "CreateSecurityGroup"}),
        *actions("ec2", "AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", on=GROUP, context=OWN),
        *actions("ec2", "AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", on=RULE, context=NEW),
        *actions("ec2", "CreateTags", on=RULE, context={"ec2:CreateAction": "AuthorizeSecurityGroupIngress"}),
        *actions("ec2", "ModifySecurityGroupRules", on=GROUP, context=OWN),
        *actions("ec2", "ModifySecurityGroupRules", "CreateTags", "DeleteTags", on=RULE, context=OWN),
        *actions("ec2", "RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress", on=GROUP, context=OWN),
        *actions("ec2", "DeleteSecurityGroup", on=GROUP, context=OWN),
        # The host's record.
        *actions("route53", "GetHostedZone", "ListResourceRecordSets", on=zone),
        *actions("route53", "ChangeResourceRecordSets", on=zone, context=change),
        *actions("route53", "GetChange", on="arn:aws:route53:::change/C1"),
        # A number of tasks that follows their CPU.
        *actions("application-autoscaling", "DescribeScalableTargets", "DescribeScalingPolicies", on="*"),
        *actions("application-autoscaling", "RegisterScalableTarget", on=TARGET, context=NEW),
        *actions("application-autoscaling", "PutScalingPolicy", "DeregisterScalableTarget", on=TARGET, context=OWN),
        *actions("cloudwatch", "PutMetricAlarm", "DeleteAlarms", on=SCALING_ALARM),
        *actions(
            "iam",
            "CreateServiceLinkedRole",
            on=arn("iam", f"role/{SCALING_ROLE}", ""),
            context={"iam:AWSServiceName": "ecs.application-autoscaling.amazonaws.com"},
        ),
        # The channel in Slack.
        *actions("chatbot", "CreateSlackChannelConfiguration", "DeleteSlackChannelConfiguration", on=SLACK),
        *actions("chatbot", "DescribeSlackChannelConfigurations", on="*"),
        *actions(
            "iam",
            "PassRole",
            on=arn("iam", "role/busyb-production-mcp-slack", ""),
            context={"iam:PassedToService": "chatbot.amazonaws.com"},
        ),
    ]


def denied(statements: dict[str, dict[str, Any]], requests: list[Request], without: str = "") -> list[Request]:
    document = {"Statement": [statement for sid, statement in statements.items() if sid != without]}
    return [request for request in requests if not allowed(document, request)]


def test_what_is_optional_may_be_deployed_and_takes_each_of_its_statements(chosen: dict[str, dict[str, Any]]) -> None:
    (zone,) = [chosen["Zones"]["Resource"]]
    requests = needed(zone)
    assert denied(chosen, requests) == []
    own = ("Zone", "Record", "Scaling", "NewScaling", "Slack", "PassSlack", "SecurityGroup", "NewSecurityGroup")
    optional = [sid for sid in chosen if sid.startswith(own)]
    assert len(optional) > 12
    assert [sid for sid in optional if not denied(chosen, requests, without=sid)] == []


def test_nothing_of_others_comes_with_what_is_optional(chosen: dict[str, dict[str, Any]]) -> None:
    (zone,) = [chosen["Zones"]["Resource"]]
    other = {"route53:ChangeResourceRecordSetsNormalizedRecordNames": "api.busyb.ai"}
    to_ecs = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    requests = [
        *actions("ec2", "CreateSecurityGroup", on=GROUP),
        *actions("ec2", "AuthorizeSecurityGroupIngress", "DeleteSecurityGroup", on=GROUP, context=FOREIGN),
        *actions("ec2", "CreateTags", on=GROUP, context=FOREIGN | NEW),
        *actions("ec2", "AuthorizeSecurityGroupIngress", on=RULE),
        *actions("route53", "ChangeResourceRecordSets", on=zone, context=other),
        *actions("route53", "ChangeResourceRecordSets", on=f"{zone}2", context={}),
        *actions("route53", "DeleteHostedZone", on=zone),
        *actions("application-autoscaling", "PutScalingPolicy", "DeregisterScalableTarget", on=TARGET, context=FOREIGN),
        *actions("cloudwatch", "DeleteAlarms", on=SCALING_ALARM.replace("busyb-google-workspace-mcp", "core-agent")),
        *actions(
            "iam",
            "CreateServiceLinkedRole",
            on=arn("iam", "role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS", ""),
            context={"iam:AWSServiceName": "ecs.amazonaws.com"},
        ),
        *actions("chatbot", "DeleteSlackChannelConfiguration", on=f"{SLACK}-of-others"),
        *actions("iam", "PassRole", on=arn("iam", "role/busyb-production-mcp-slack", ""), context=to_ecs),
    ]
    assert [r for r in requests if r not in denied(chosen, requests)] == []
