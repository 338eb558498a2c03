"""The shipped stack, exceptions, and many services at once."""

from __future__ import annotations

import datetime
import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import policies
from components import settings
from components.settings import ISSUER_KEPT, PolicyException
from policies import check_stack, enforcement, evaluate
from policies.registrations import ROOT, registrations
from policies.rule import UNKNOWN
from rehearsal.run import Stack
from tests.policies.specs import Registered, one
from tests.stacks import INTERNAL, SERVICE, changed

TODAY = datetime.date(2026, 12, 1)
VALKEY = {"backend": "valkey", "host": "cache.busyb.local"}
TRACING = {"collector": "public.ecr.aws/aws-observability/aws-otel-collector@sha256:" + "ab" * 32}
DELIVERY = {
    "repository": "busyb-ai/infrastructure",
    "stateBucket": "busyb-pulumi-state",
    "stateKey": "arn:aws:kms:us-east-1:758888582357:key/11111111-2222-3333-4444-555555555555",
    "createProvider": True,
}


def exception(**changes: object) -> PolicyException:
    return PolicyException.model_validate(
        {
            "rule": "ecr-repository-disallow-mutable-tags",
            "resource": "Repo*",
            "reason": "an old repository, to be replaced",
            "owner": "platform-team",
            "expires": "2026-12-31",
            **changes,
        }
    )


def mutable() -> list[Registered]:
    return [one("aws:ecr/repository:Repository", imageTagMutability="MUTABLE")]


def production() -> dict[str, str]:
    return settings.read_stack_file(ROOT / "Pulumi.production.yaml")


# --- the shipped stack


def test_the_production_stack_passes_with_its_recorded_exceptions_and_needs_each_of_them() -> None:
    config = production()
    exceptions = settings.parse(config).policy_exceptions
    findings = evaluate(registrations(config), exceptions, TODAY)

    assert not list(findings.violations)
    assert {(v.rule.id, v.resource.name) for v in findings.excepted} == {(e.rule, e.resource) for e in exceptions}


def test_a_canary_breaks_no_rule_but_that_on_tls_for_its_second_target_group() -> None:
    stack = changed(
        Stack.read("production"),
        {
            f"{SERVICE}.deployment.strategy": "canary",
            f"{SERVICE}.oauth.state": "dynamodb",
            f"{SERVICE}.routing": {"strategy": "host", "host": "mcp.busyb.ai", "priority": 50},
        },
    )
    findings = evaluate(registrations(stack.config), stack.settings.policy_exceptions, TODAY)
    broken = {(violation.rule.id, violation.resource.name) for violation in findings.violations}
    assert broken == {("lb-target-group-encrypt", "google-workspace-second-target-group")}


def test_with_all_that_is_off_by_default_no_further_rule_is_broken() -> None:
    collector = "public.ecr.aws/aws-observability/aws-otel-collector@sha256:" + "ab" * 32
    stack = changed(
        Stack.read("production"),
        {
            "monitoring.budget": {"limit": 40},
            "monitoring.slack": {"workspace": "T0123ABCD", "channel": "C0123ABCD"},
            f"{SERVICE}.alarms.anomalyBand": 3,
            f"{SERVICE}.logs.format": "json",
            f"{SERVICE}.tracing": {"collector": collector},
            f"{SERVICE}.oauth.state": {"backend": "valkey", "host": "cache.busyb.local"},
            f"{SERVICE}.autoscaling": {"maximum": 4, "requestsPerTarget": 900},
            f"{SERVICE}.capacity": {"onDemandBase": 1},
        },
    )
    findings = evaluate(registrations(stack.config), stack.settings.policy_exceptions, TODAY)

    assert not list(findings.violations)
    assert len(findings.excepted) == len(stack.settings.policy_exceptions)


def test_without_its_exceptions_the_production_stack_breaks_advisory_rules_only() -> None:
    findings = evaluate(registrations(production()), (), TODAY)

    assert len(findings.violations) == len(settings.parse(production()).policy_exceptions)
    assert not findings.stops


@pytest.mark.parametrize(
    "options",
    [
        {f"{SERVICE}.autoscaling": {"maximum": 4}, f"{SERVICE}.tracing": TRACING, f"{SERVICE}.oauth.state": VALKEY},
        {f"{SERVICE}.desiredCount": 2},
        {f"{SERVICE}.routing": {"strategy": "host", "host": "mcp.busyb.ai", "priority": 50, "hostedZone": "busyb.ai"}},
        {f"{SERVICE}.{section}": value for section, value in INTERNAL.items()},
        {f"{SERVICE}.securityGroups": [], f"{SERVICE}.consumers": ["core-agent-sg"]},
        {
            "monitoring.slack": {"workspace": "T0123456789", "channel": "C0123456789"},
            "monitoring.budget": {"limit": 40},
        },
        {"delivery": DELIVERY},
        {"delivery": DELIVERY, f"{SERVICE}.desiredCount": 2},
        {"delivery": DELIVERY, f"{SERVICE}.oauth.state": VALKEY},
        {
            "delivery": DELIVERY,
            "monitoring.subscriptions": [{"topic": "critical", "protocol": "email", "endpoint": "team@example.com"}],
        },
    ],
    ids=[
        "several tasks",
        "two tasks",
        "host",
        "internal",
        "own group",
        "notifications",
        "delivery",
        "delivery of two tasks",
        "delivery of a cache",
        "delivery of subscriptions",
    ],
)
def test_whatever_is_chosen_the_program_breaks_no_rule(options: dict[str, Any]) -> None:
    stack = changed(Stack.read("production"), options)
    findings = evaluate(registrations(stack.config), stack.settings.policy_exceptions, TODAY)

    assert list(findings.violations) == []


def test_nothing_about_containers_is_left_undecided_in_a_preview_that_builds_the_image() -> None:
    registered = registrations(production())
    (task,) = (r for r in registered if r.type == "aws:ecs/taskDefinition:TaskDefinition")
    findings = evaluate(registered, (), TODAY)

    assert task.inputs["containerDefinitions"] == UNKNOWN, "the case that this test is about"
    # An execution role's policy names ARNs that a first deployment makes.
    assert {undecided.resource.name for undecided in findings.undecided} <= {"google-workspace-execution-policy"}


def test_a_stack_is_checked_without_cloud_or_cli_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATH", "DOCKER_HOST", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir("/")
    findings = check_stack("production")

    assert findings.resources > 15
    assert Path.cwd() == Path("/")


def test_a_stack_that_does_not_exist_is_named() -> None:
    with pytest.raises(settings.SettingsError, match=r"Pulumi\.staging-9\.yaml"):
        check_stack("staging-9")


# --- exceptions


def test_an_exception_in_force_allows_what_it_names_and_is_listed() -> None:
    findings = evaluate(mutable(), [exception()], TODAY)

    assert {v.rule.id for v in findings.excepted} == {"ecr-repository-disallow-mutable-tags"}
    assert "ecr-repository-disallow-mutable-tags" not in {v.rule.id for v in findings.violations}
    listed = [line for line in findings.lines() if line.startswith("exception")]
    assert listed == [
        "exception  ecr-repository-disallow-mutable-tags on Repo*: "
        "an old repository, to be replaced (platform-team, until 2026-12-31)"
    ]


@pytest.mark.parametrize("other", [{"resource": "Other"}, {"rule": "ecr-repository-scan-on-push"}])
def test_an_exception_allows_nothing_else(other: dict[str, str]) -> None:
    findings = evaluate(mutable(), [exception(**other)], TODAY)

    assert "ecr-repository-disallow-mutable-tags" in {v.rule.id for v in findings.violations}


def test_an_expired_exception_allows_nothing_and_fails_by_itself() -> None:
    last_day = datetime.date(2026, 12, 31)
    on_it = evaluate(mutable(), [exception()], last_day)
    after = evaluate(mutable(), [exception()], last_day + datetime.timedelta(days=1))

    assert "policy-exception-renew" not in {v.rule.id for v in on_it.violations}
    assert {"policy-exception-renew", "ecr-repository-disallow-mutable-tags"} <= {v.rule.id for v in after.violations}
    assert after.stops
    assert not after.exceptions
    assert any("expired on 2026-12-31" in line for line in after.lines())


def test_an_exception_from_a_rule_that_does_not_exist_fails() -> None:
    findings = evaluate([], [exception(rule="ecr-repository-no-such-rule")], TODAY)

    assert [v.problem for v in findings.violations] == [
        "there is an exception from ecr-repository-no-such-rule, and no such rule"
    ]


def test_an_exception_from_what_preflight_holds_is_no_mistake() -> None:
    assert evaluate([], [exception(rule=ISSUER_KEPT)], TODAY).violations == ()


@pytest.mark.parametrize("missing", ["rule", "resource", "reason", "owner", "expires"])
def test_an_exception_has_reason_owner_and_last_day(missing: str) -> None:
    exceptions = json.loads(production()["mcp-on-ecs:policyExceptions"])
    del exceptions[0][missing]

    with pytest.raises(settings.SettingsError, match=rf"policyExceptions\[0\]\.{missing}"):
        settings.parse({**production(), "mcp-on-ecs:policyExceptions": json.dumps(exceptions)})


# --- enforcement


MUTABLE = "ecr-repository-disallow-mutable-tags"


@pytest.mark.parametrize(
    ("level", "effect"), [("mandatory", "stops"), ("advisory", "advises"), ("disabled", None), (None, "stops")]
)
def test_a_rule_is_enforced_by_its_severity_or_as_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str | None, effect: str | None
) -> None:
    file = tmp_path / "enforcement.json"
    if level:
        file.write_text(json.dumps({MUTABLE: level}))
    monkeypatch.setattr(enforcement.levels, "__defaults__", (file,))
    lines = [line.split()[0] for line in evaluate(mutable(), (), TODAY).lines() if MUTABLE in line]

    assert lines == ([effect] if effect else [])


def test_an_advisory_rule_can_be_made_to_stop(tmp_path: Path) -> None:
    file = tmp_path / "enforcement.json"
    file.write_text('{"logs-group-keep-a-year": "mandatory"}')
    rules = enforcement.enforced(policies.rules(), enforcement.levels(file))

    assert evaluate(registrations(production()), (), TODAY, hold_to=rules).stops


def test_all_mistakes_in_the_file_are_told(tmp_path: Path) -> None:
    file = tmp_path / "enforcement.json"
    file.write_text(json.dumps({"no-such-rule": "advisory", MUTABLE: "never", "logs-group-keep-a-year": ["advisory"]}))

    with pytest.raises(enforcement.EnforcementError) as raised:
        enforcement.levels(file)
    assert [mistake.partition(";")[0] for mistake in raised.value.mistakes] == [
        "there is no rule no-such-rule",
        f"{MUTABLE} is 'never'",
        "logs-group-keep-a-year is ['advisory']",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ("[]", "must be an object"),
        ("[" * 100_000, "is nested too deeply"),
        (f'{{"{MUTABLE}": "disabled", "{MUTABLE}": "mandatory"}}', f"{MUTABLE} is there more than once"),
    ],
    ids=["broken", "list", "deep", "repeated"],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "enforcement.json"
    file.write_text(text)

    with pytest.raises(enforcement.EnforcementError, match=rf"enforcement\.json: {says}"):
        enforcement.levels(file)


def test_a_directory_in_the_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "enforcement.json").mkdir()

    with pytest.raises(enforcement.EnforcementError, match=r"enforcement\.json: cannot be read: Is a directory"):
        enforcement.levels(tmp_path / "enforcement.json")


# --- scale


def many(count: int) -> dict[str, str]:
    config = production()
    (service,) = json.loads(config["mcp-on-ecs:services"]).values()
    services = {}
    for number in range(count):
        one_of_many = json.loads(json.dumps(service))
        one_of_many["routing"] |= {"path": f"/s{number}", "priority": 100 + 10 * number}
        one_of_many["dashboard"] = f"s{number}"
        services[f"s{number}"] = one_of_many
    return {**config, "mcp-on-ecs:services": json.dumps(services)}


def calls(work: Callable[[], object]) -> int:
    """How many Python functions `work` calls: its length, whatever else the machine does."""
    count = 0

    def counting(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    # What others left behind would end in between, and some of it calls functions as it does.
    gc.collect()
    gc.disable()
    sys.setprofile(counting)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def test_fifty_services_are_all_held_to_all_rules_and_each_takes_as_long_as_the_one_before() -> None:
    registered = registrations(many(50))
    findings = evaluate(registered, (), TODAY)

    per_service = len(evaluate(registrations(many(1)), (), TODAY).violations)
    assert len(findings.violations) == 50 * per_service
    assert not findings.stops
    names = {f"s{number}" for number in range(50)}
    assert {violation.resource.name.partition("-")[0] for violation in findings.violations} == names

    shared = [r for r in registered if r.name.partition("-")[0] not in names]
    first = [r for r in registered if r.name.partition("-")[0] in {f"s{number}" for number in range(25)}]
    of_25 = calls(lambda: evaluate([*shared, *first], (), TODAY))
    of_50 = calls(lambda: evaluate(registered, (), TODAY))
    assert of_50 <= 2.05 * of_25
