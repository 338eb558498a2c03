"""Every rule, on a resource as it should be, as it must not be, with its value unknown at preview, and without it."""

from __future__ import annotations

import importlib
import inspect

import pytest

from policies import Findings, evaluate, rules
from policies.rule import SERVICE_COMPONENT, UNKNOWN, Rule
from policies.rules.tags import TAGGABLE
from policies.table import markdown
from providers import handlers
from tests.conftest import ROOT
from tests.policies.specs import IMAGE, SERVICE, SPECS, TASK, Registered, by, document, one, served, task, variables

RULES = {rule.id: rule for rule in rules()}
each_rule = pytest.mark.parametrize("name", sorted(RULES))


def held(name: str, resources: list[Registered]) -> Findings:
    return evaluate(resources, hold_to=[RULES[name]])


def test_every_rule_has_a_spec_and_every_spec_a_rule() -> None:
    assert SPECS.keys() == RULES.keys()
    assert len(RULES) == len(rules()), "two rules share a name"


def test_the_table_of_rules_in_docs_is_fresh() -> None:
    assert (ROOT / "docs" / "policies.md").read_text() == markdown(), (
        "run: .venv/bin/python -m policies.table > docs/policies.md"
    )
    assert f"| {len(RULES)} policies, " in (ROOT / "README.md").read_text(), "README has another number"


@each_rule
def test_a_resource_as_it_should_be_passes(name: str) -> None:
    findings = held(name, SPECS[name].passes)

    assert not findings.violations
    assert not findings.undecided


@each_rule
def test_a_resource_as_it_must_not_be_fails_and_the_message_says_why(name: str) -> None:
    rule, spec = RULES[name], SPECS[name]
    for resources, says in spec.fails:
        findings = held(name, resources)

        assert [v.problem for v in findings.violations if says in v.problem], (says, findings.violations)
        message = rule.message(findings.violations[0].problem)
        assert rule.why in message
        assert rule.remedy in message


@each_rule
def test_an_unknown_value_never_makes_a_rule_go_quiet(name: str) -> None:
    resources, outcome = SPECS[name].unknown
    findings = held(name, resources)

    assert not findings.violations
    if outcome == "undecided":
        assert any(f"not decided at preview  {name} on " in line for line in findings.lines())
    else:
        assert not findings.undecided


@each_rule
def test_an_absent_value_counts_as_what_AWS_makes_of_it(name: str) -> None:
    resources, outcome = SPECS[name].absent

    assert bool(held(name, resources).violations) == (outcome == "fails")


@each_rule
def test_a_rule_leaves_resources_of_other_types_alone(name: str) -> None:
    assert not held(name, [one("aws:sqs/queue:Queue", policy="{", tags={})]).violations


def test_a_rule_that_is_decided_for_one_resource_says_so_though_another_is_unknown() -> None:
    unknown = Registered("aws:ecr/repository:Repository", {"imageTagMutability": UNKNOWN}, parent="first")
    findings = held("ecr-repository-disallow-mutable-tags", [unknown, one(unknown.type)])

    assert len(findings.violations) == len(findings.undecided) == 1


def test_the_containers_of_a_task_whose_image_is_being_built_are_held_to_the_rules_by_their_component() -> None:
    bad = served(MCP_ENABLE_OAUTH21="1")[0].inputs["containerDefinitions"]
    resources = [
        one(SERVICE_COMPONENT, containerDefinitions=bad),
        one(TASK, inside=SERVICE_COMPONENT, containerDefinitions=UNKNOWN),
    ]
    findings = held("mcp-server-spell-oauth", resources)

    assert [violation.resource.type for violation in findings.violations] == [SERVICE_COMPONENT]
    assert not findings.undecided


@pytest.mark.parametrize("rule", [rule.id for rule in rules() if rule.id.startswith("mcp-service-")])
def test_where_neither_task_nor_component_knows_the_containers_the_report_says_so(rule: str) -> None:
    unknown, group, service = served(count=2, unknown=True)
    component = one(SERVICE_COMPONENT, taskDefinitionArn=UNKNOWN)
    inside = Registered(SERVICE, service.inputs, parent=component.urn, needs=service.needs)

    assert [undecided.resource.type for undecided in held(rule, [component, unknown, group, inside]).undecided] == [
        SERVICE
    ]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("EXTRA", "-----BEGIN RSA PRIVATE KEY-----"),
        ("CLIENT", "GOCSPX-planted"),
        ("WEBHOOK", "https://hooks.slack.com/services/T0/B0/x"),
        ("CACHE_URL", "rediss://user:planted@cache.example:6379"),
        ("SESSION", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.x"),
        ("DB_PASSWORD", "planted"),
        ("github_token", "planted"),
        ("AWS_ACCESS_KEY_ID", "planted"),
        ("ECS_ENGINE_AUTH_DATA", "planted"),
    ],
)
def test_a_secret_is_known_by_its_name_or_its_shape_and_is_not_repeated(variable: str, value: str) -> None:
    in_task = held("ecs-container-disallow-plain-secrets", [task({"name": "mcp", **variables(**{variable: value})})])
    in_build = held("ecs-container-disallow-plain-secrets", [one(IMAGE, build={"args": {variable: value}})])

    for findings in (in_task, in_build):
        report = "\n".join(findings.lines())
        assert f"{variable} looks like a secret" in report
        assert value not in report


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WORKSPACE_MCP_OAUTH_PROXY_STORAGE_BACKEND", "valkey"),
        ("GOOGLE_MCP_CREDENTIALS_DIR", "/tmp/credentials"),  # noqa: S108
        ("TOKEN_URL", "https://oauth2.googleapis.com/token"),
        ("API_KEY", ""),
    ],
)
def test_what_only_sounds_like_a_secret_passes(variable: str, value: str) -> None:
    assert not held(
        "ecs-container-disallow-plain-secrets", [task({"name": "m", **variables(**{variable: value})})]
    ).violations


@pytest.mark.parametrize(
    ("operator", "key", "value"),
    [
        ("StringEquals", "aws:SourceAccount", "758888582357"),
        ("StringLike", "aws:PrincipalOrgID", "o-a1b2c3d4e5"),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::758888582357:role/mcp-*"),
        ("ArnEquals", "AWS:SourceArn", "arn:aws:s3:::busyb-tokens"),
        ("StringEquals", "aws:SourceVpce", "vpce-0a1b2c3d"),
    ],
)
def test_a_condition_that_names_somebody_limits_a_statement(operator: str, key: str, value: str) -> None:
    statement = {"Principal": "*", "Action": "s3:GetObject", **by(operator, key, value)}

    assert not held(
        "s3-bucket-disallow-wildcard-principal", [one("aws:s3/bucketPolicy:BucketPolicy", policy=document(statement))]
    ).violations


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.id)
def test_a_rule_tells_people_what_they_need(rule: Rule) -> None:
    assert rule.description.endswith(".")
    assert rule.why.endswith(".")
    assert rule.remedy.endswith(".")
    assert rule.types


def test_every_type_of_the_program_that_takes_tags_is_asked_for_them() -> None:
    """The rehearsal carries out every type that the program uses."""
    types = [name for name in handlers if name.startswith("aws:")]
    takes_tags = set()
    for type_ in types:
        _, module, name = type_.split(":")
        resource = getattr(importlib.import_module(f"pulumi_aws.{module.split('/')[0]}"), name)
        if "tags" in inspect.signature(resource._internal_init).parameters:
            takes_tags.add(type_)

    assert len(takes_tags) > 15
    assert takes_tags - TAGGABLE == set()


def test_the_rules_cover_every_control_that_can_be_decided_at_preview() -> None:
    ids = {id_ for rule in rules() for id_ in rule.controls}
    wanted = """
        ECR.1 ECR.2 ECR.3 ECR.5 ECS.2 ECS.3 ECS.4 ECS.5 ECS.8 ECS.9 ECS.10 ECS.17 ECS.20 IAM.1 IAM.21 KMS.1 KMS.2
        CloudWatch.15 CloudWatch.16 CloudWatch.17 SNS.1 SNS.4 S3.2 S3.3 S3.5 S3.6 S3.8 S3.12 S3.13 S3.14 S3.17
        CKV_AWS_19 CKV_AWS_21 CKV_AWS_26 CKV_AWS_32 CKV_AWS_51 CKV_AWS_53 CKV_AWS_54 CKV_AWS_55 CKV_AWS_56 CKV_AWS_60
        CKV_AWS_61 CKV_AWS_62 CKV_AWS_63 CKV_AWS_66 CKV_AWS_70 CKV_AWS_93 CKV_AWS_136 CKV_AWS_145 CKV_AWS_158
        CKV_AWS_163 CKV_AWS_169 CKV_AWS_249 CKV_AWS_261 CKV_AWS_274 CKV_AWS_286 CKV_AWS_287 CKV_AWS_288 CKV_AWS_289
        CKV_AWS_290 CKV_AWS_300 CKV_AWS_319 CKV_AWS_332 CKV_AWS_333 CKV_AWS_334 CKV_AWS_335 CKV_AWS_336 CKV_AWS_338
        CKV_AWS_355 CKV_AWS_358 CKV_AWS_378 CKV_AWS_379 CKV_AWS_385 CKV_AWS_393 CKV2_AWS_6 CKV2_AWS_40 CKV2_AWS_56
        CKV2_AWS_61 CKV2_AWS_65 E3047 E3048 E3054"""

    assert set(wanted.split()) <= ids
