"""The pipeline's roles: who may take them, and that their rights follow from what is declared."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.delivery import OversizedPolicy, UnknownRights, documents, rights
from components.estate import EstateError
from operations.rights.evaluation import Request, allowing
from policies import evaluate
from policies.registrations import registrations
from policies.rules import rules
from providers import handlers
from tests.components.program import ACCOUNT, GITHUB, Account, Deploy, Recorded, only
from tests.stacks import INTERNAL, changed, production

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


def may_assume(statement: dict[str, Any], *, provider: str, claims: dict[str, str]) -> bool:
    """Whether a role's trust lets the bearer of a provider's token with `claims` take it."""
    if statement["Principal"] != {"Federated": provider}:
        return False
    issuer = provider.partition(":oidc-provider/")[2]
    context = {f"{issuer}:{key}": text for key, text in claims.items()}
    asked = Request("sts:AssumeRoleWithWebIdentity", context=context)
    policy = {key: value for key, value in statement.items() if key != "Principal"}
    return allowing([{**policy, "Resource": "*"}], asked) is not None


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
    document = trust(deploy(delivered), "deploy")
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
    document = trust(deploy(delivered), "preview")
    assert may_assume(document, provider=PROVIDER, claims=PREVIEWING)
    for sub in ("repo:somebody/infrastructure:environment:preview", f"{OURS}:pull_request", DEPLOYING["sub"]):
        assert not may_assume(document, provider=PROVIDER, claims=PREVIEWING | {"sub": sub})


def test_a_repository_with_immutable_subjects_is_named_with_its_ids(deploy: Deploy, delivered: dict[str, Any]) -> None:
    delivered["delivery"]["repository"] = "busyb-ai@123456/infrastructure@456789"
    document = trust(deploy(delivered), "deploy")
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


def test_the_provider_stays_when_the_stack_goes_because_an_account_has_one_for_all(
    deploy: Deploy, delivered: dict[str, Any], estate: Account
) -> None:
    delivered["delivery"]["createProvider"] = True
    kept = {r.type for r in deploy(delivered).resources if r.request.retainOnDelete and r.parent == "delivery"}
    assert kept == {"aws:iam/openIdConnectProvider:OpenIdConnectProvider"}


def test_every_alarm_is_one_that_the_rights_on_alarms_are_about(deploy: Deploy, delivered: dict[str, Any]) -> None:
    """They go by the service's name, which stands before the alarm's."""
    recorded = deploy(with_services(delivered, 2))
    names = [inputs["name"] for inputs in recorded.of("aws:cloudwatch/metricAlarm:MetricAlarm").values()]
    names += [inputs["alarmName"] for inputs in recorded.of("aws:cloudwatch/compositeAlarm:CompositeAlarm").values()]
    alarms = statements(recorded)["Alarms"]
    assert len(names) > 10
    for name in names:
        alarm = f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:{name}"
        assert allowing([alarms], Request("cloudwatch:PutMetricAlarm", alarm)), name


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


def test_a_state_bucket_with_a_key_of_ones_own_takes_data_keys_of_it(
    deploy: Deploy, delivered: dict[str, Any], estate: Account
) -> None:
    key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/99999999-2222-3333-4444-555555555555"
    assert "StateBucketKey" not in statements(deploy(delivered))
    estate.bucket_settings["busyb-pulumi-state"] = {"key": key}
    recorded = deploy(delivered)
    writes, reads = (statements(recorded, part)["StateBucketKey"] for part in ("deploy", "preview"))
    assert (writes["Resource"], reads["Resource"]) == (key, key)
    assert writes["Action"] == ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"]
    assert reads["Action"] == ["kms:Decrypt", "kms:DescribeKey"]


def test_a_state_bucket_that_may_not_be_asked_is_told_and_stops_nothing(
    deploy: Deploy, delivered: dict[str, Any], estate: Account, caplog: pytest.LogCaptureFixture
) -> None:
    estate.bucket_settings["busyb-pulumi-state"] = {"refusal": "AccessDenied"}
    assert "StateBucketKey" not in statements(deploy(delivered))
    assert "How state bucket busyb-pulumi-state is encrypted could not be asked" in caplog.text


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
    monkeypatch.delitem(rights.RIGHTS, "aws:ssm/parameter:Parameter")
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
    assert {name for name in handlers if name.startswith(("aws:", "docker:"))} - own - rights.RIGHTS.keys() == set()


def with_services(config: dict[str, Any], count: int) -> dict[str, Any]:
    """`count` services beside the one."""
    template = only(config)
    for number in range(count):
        routing = {**template["routing"], "path": f"/s{number}", "priority": 100 + 10 * number}
        config["services"][f"s{number}"] = {**template, "routing": routing}
    return config


@pytest.mark.parametrize(("services", "policies"), [(1, 3), (10, 6), (20, 9)])
def test_so_many_services_fit_and_every_policy_is_one_that_iam_takes(
    deploy: Deploy, delivered: dict[str, Any], services: int, policies: int
) -> None:
    """docs/pipeline.md says these numbers."""
    recorded = deploy(with_services(delivered, services - 1))
    sizes = {name: len(inputs["policy"]) for name, inputs in recorded.of("aws:iam/policy:Policy").items()}
    assert max(sizes.values()) <= 6_144
    assert sum("-deploy-" in name for name in sizes) == policies
    # None was lost where a statement was too long for a policy.
    rules = {arn for s in statements(recorded).values() if "events:PutRule" in s["Action"] for arn in s["Resource"]}
    assert len(rules) == len(recorded.of("aws:cloudwatch/eventRule:EventRule")) >= 4


def test_more_than_iam_takes_is_refused(
    deploy: Deploy, delivered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "POLICIES_LIMIT", 1)
    error = deploy(delivered, fails=True).error
    assert isinstance(error, OversizedPolicy)
    assert "IAM takes 1, and nothing was changed" in str(error)


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
    (rule,) = [rule for rule in rules() if rule.id == "iam-role-limit-github-subject"]
    assert any(problem in violation.problem for violation in evaluate([role], hold_to=[rule]).violations)
