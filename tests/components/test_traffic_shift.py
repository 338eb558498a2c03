"""Deployments that shift requests: what they need, what stands in their way, and whose the rule's weights are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.rollout import LIMIT, limit
from components.settings import Deployment
from operations import timing
from tests.components.mistakes import mistakes, parsed
from tests.components.program import Account, Deploy, Recorded, listener_rule, only, target_group_arn
from tests.components.test_estate import rule_findings

NAME = "busyb-google-workspace-mcp"
FIRST, SECOND = f"{NAME}-tg", f"{NAME}-tgb"
HOST = {"strategy": "host", "host": "mcp.busyb.ai", "priority": 50}
MOVES = {
    "rule": "mcp-issuer-keep",
    "resource": "google-workspace",
    "reason": "nobody is signed in yet",
    "owner": "tests",
    "expires": "2099-12-31",
}
RULE, SERVICE = "google-workspace-rule-1", "google-workspace-service"


@pytest.fixture
def shared(config: dict[str, Any]) -> dict[str, Any]:
    """The shipped service at a host of its own, with state that tasks share."""
    only(config).update(routing=HOST)
    only(config)["oauth"]["state"] = "dynamodb"
    return config


def strategy(config: dict[str, Any], name: str, **others: Any) -> dict[str, Any]:
    only(config)["deployment"] = {"strategy": name, **others}
    return config


def found(estate: Account, **weights: int) -> None:
    """Let the service's rule forward to target groups: `tg` or `tgb` -> weight."""
    rule = listener_rule(50, [], "unused", ["mcp.busyb.ai"])
    groups = [{"TargetGroupArn": target_group_arn(f"{NAME}-{end}"), "Weight": w} for end, w in weights.items()]
    rule["Actions"] = [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]
    estate.rules.append(rule)


def shares(recorded: Recorded) -> list[int]:
    (action,) = recorded.inputs(RULE)["actions"]
    return [int(group["weight"]) for group in action["forward"]["targetGroups"]]


def ignored(recorded: Recorded) -> list[str]:
    (rule,) = [r for r in recorded.resources if r.name == RULE]
    return list(rule.request.ignoreChanges)


def groups(recorded: Recorded) -> list[str]:
    return sorted(inputs["name"] for inputs in recorded.of("aws:lb/targetGroup:TargetGroup").values())


def test_a_canary_has_a_second_target_group_like_the_first_and_a_rule_with_both(
    deploy: Deploy, shared: dict[str, Any]
) -> None:
    recorded = deploy(strategy(shared, "canary", canaryPercent=2.5, canaryMinutes=7, bakeMinutes=0))
    # Which of the two is registered first is chance.
    made = {inputs["name"]: inputs for inputs in recorded.of("aws:lb/targetGroup:TargetGroup").values()}
    first, second = made[FIRST], made[SECOND]
    assert {**first, "name": ""} == {**second, "name": ""}
    assert shares(recorded) == [100, 0]
    service = recorded.inputs(SERVICE)
    assert service["deploymentConfiguration"] == {
        "strategy": "CANARY",
        "bakeTimeInMinutes": "0",
        "canaryConfiguration": {"canaryPercent": 2.5, "canaryBakeTimeInMinutes": "7"},
    }
    (balancer,) = service["loadBalancers"]
    assert balancer["targetGroupArn"].split("/")[1] == FIRST
    advanced = balancer["advancedConfiguration"]
    assert advanced.keys() == {"alternateTargetGroupArn", "productionListenerRule", "roleArn"}
    assert advanced["alternateTargetGroupArn"].split("/")[1] == SECOND


@pytest.mark.parametrize(
    ("name", "others", "told"),
    [
        ("linear", {"stepPercent": 40, "stepMinutes": 2}, {"stepPercent": 40, "stepBakeTimeInMinutes": "2"}),
        ("blueGreen", {}, None),
    ],
)
def test_linear_and_blue_green_are_told_as_ecs_has_them(
    deploy: Deploy, shared: dict[str, Any], name: str, others: dict[str, Any], told: dict[str, Any] | None
) -> None:
    configuration = deploy(strategy(shared, name, **others)).inputs(SERVICE)["deploymentConfiguration"]
    assert configuration["strategy"] == {"linear": "LINEAR", "blueGreen": "BLUE_GREEN"}[name]
    assert configuration["bakeTimeInMinutes"] == "5"
    assert configuration.get("linearConfiguration") == told


def test_ecs_may_change_this_one_rule_and_register_in_these_two_groups(deploy: Deploy, shared: dict[str, Any]) -> None:
    recorded = deploy(strategy(shared, "blueGreen"))
    trust = json.loads(recorded.inputs("google-workspace-infrastructure-role")["assumeRolePolicy"])
    assert [statement["Principal"] for statement in trust["Statement"]] == [{"Service": "ecs.amazonaws.com"}]
    policy = json.loads(recorded.inputs("google-workspace-infrastructure-policy")["policy"])
    targets, weights = [statement for statement in policy["Statement"] if statement["Resource"] != "*"]
    assert [arn.split(":")[-1] for arn in targets["Resource"]] == [f"targetgroup/{g}/*" for g in (FIRST, SECOND)]
    assert weights["Action"] == "elasticloadbalancing:ModifyRule"
    # The listener is shared, and rules of others have other tags.
    assert weights["Resource"].split(":")[-1] == "listener-rule/443/*"
    tags = recorded.inputs(RULE)["tags"]
    own = {"Environment": "production", "ManagedBy": "pulumi", "Service": "google-workspace-mcp"}
    assert weights["Condition"]["StringEquals"] == {f"aws:ResourceTag/{key}": value for key, value in own.items()}
    assert own.items() <= tags.items()
    (service,) = [r for r in recorded.resources if r.name == SERVICE]
    (rights,) = [r.urn for r in recorded.resources if r.name == "google-workspace-infrastructure-policy"]
    assert rights in service.request.dependencies


def test_once_ecs_has_shifted_no_deployment_sets_the_weights_back(
    deploy: Deploy, shared: dict[str, Any], estate: Account
) -> None:
    assert ignored(deploy(strategy(shared, "canary"))) == ["actions"], "there is no rule yet"
    found(estate, tg=0, tgb=100)
    assert ignored(deploy(shared)) == ["actions"]


def test_a_rule_of_before_is_changed_and_those_who_have_its_requests_keep_them(
    deploy: Deploy, shared: dict[str, Any], estate: Account
) -> None:
    found(estate, tgb=1)
    recorded = deploy(strategy(shared, "canary"))
    assert ignored(recorded) == []
    assert shares(recorded) == [0, 100]


def test_back_to_rolling_the_group_that_has_the_tasks_stays(
    deploy: Deploy, shared: dict[str, Any], estate: Account
) -> None:
    found(estate, tg=0, tgb=100)
    recorded = deploy(strategy(shared, "rolling"))
    assert groups(recorded) == [SECOND]
    (action,) = recorded.inputs(RULE)["actions"]
    assert action["targetGroupArn"].split("/")[1] == SECOND
    assert ignored(recorded) == []
    (balancer,) = recorded.inputs(SERVICE)["loadBalancers"]
    assert balancer["targetGroupArn"].split("/")[1] == SECOND and "advancedConfiguration" not in balancer
    assert recorded.inputs(SERVICE)["deploymentConfiguration"] == {"strategy": "ROLLING"}
    assert "google-workspace-infrastructure-role" not in recorded.of("aws:iam/role:Role")


def test_so_it_does_with_another_priority_or_at_another_address(
    deploy: Deploy, shared: dict[str, Any], estate: Account
) -> None:
    found(estate, tg=0, tgb=100)
    only(shared)["routing"] = {"host": "api.busyb.ai", "path": "/google-workspace", "priority": 60}
    shared["policyExceptions"] = [*shared["policyExceptions"], MOVES]
    assert groups(deploy(shared)) == [SECOND]


def test_what_never_shifted_keeps_its_one_group(deploy: Deploy, shared: dict[str, Any], estate: Account) -> None:
    assert groups(deploy(shared)) == [FIRST]
    found(estate, tg=1)
    assert groups(deploy(shared)) == [FIRST]


def test_while_requests_are_shifted_the_strategy_does_not_become_rolling(
    deploy: Deploy, shared: dict[str, Any], estate: Account
) -> None:
    found(estate, tg=90, tgb=10)
    (text,) = rule_findings(deploy, strategy(shared, "rolling"))
    assert f"a deployment shifts requests between {FIRST} and {SECOND}" in text and "./ops status" in text
    assert groups(deploy(strategy(shared, "canary"))) == [FIRST, SECOND], "a deployment takes its place"


def test_another_port_wants_a_rolling_deployment(deploy: Deploy, shared: dict[str, Any], estate: Account) -> None:
    found(estate, tg=0, tgb=100)
    only(shared)["port"] = 8001
    (text,) = rule_findings(deploy, strategy(shared, "canary"))
    assert "no strategy but rolling changes the port" in text
    assert groups(deploy(strategy(shared, "rolling"))) == [f"{NAME}-8001"]


def test_alarms_and_dashboard_see_both_target_groups(deploy: Deploy, shared: dict[str, Any]) -> None:
    recorded = deploy(strategy(shared, "canary"))
    alarms = recorded.of("aws:cloudwatch/metricAlarm:MetricAlarm")
    balanced = {
        name.removeprefix("google-workspace-alarm-"): inputs["metricQueries"]
        for name, inputs in alarms.items()
        if "metricQueries" in inputs
    }
    assert balanced.keys() == {"unhealthy-targets", "no-healthy-target", "server-errors", "unreachable", "slow"}
    for part, (first, second, seen) in balanced.items():
        named = [query["metric"]["dimensions"]["TargetGroup"].split("/")[1] for query in (first, second)]
        assert named == [FIRST, SECOND]
        assert [query["returnData"] for query in (first, second, seen)] == [False, False, True]
        # Without requests a group has no data, and adding nothing to something is nothing.
        adds = seen["expression"] == "FILL(first, 0) + FILL(second, 0)"
        assert adds == (part != "slow") or seen["expression"] == "MAX([FILL(first, 0), FILL(second, 0)])"
    body = json.loads(recorded.inputs("google-workspace-dashboard")["dashboardBody"])
    rows = [row for widget in body["widgets"] for row in widget["properties"].get("metrics", [])]
    hidden = [row[-1]["id"] for row in rows if row[-1].get("visible") is False]
    assert len(hidden) == len(set(hidden)) == 14
    used = " ".join(row[0]["expression"] for row in rows if isinstance(row[0], dict))
    assert all(id_ in used for id_ in hidden)


def rewritten(config: dict[str, Any]) -> None:
    only(config)["routing"] = {"host": "api.busyb.ai", "path": "/google-workspace", "priority": 50}


def internal(config: dict[str, Any]) -> None:
    only(config).update(routing={"strategy": "internal"}, oauth={"enabled": False})
    only(config)["tokens"] = {"bucket": "busyb-oauth-tokens-758888582357"}


def in_memory(config: dict[str, Any]) -> None:
    only(config)["oauth"]["state"] = "memory"


def by_requests(config: dict[str, Any]) -> None:
    only(config)["autoscaling"] = {"maximum": 3, "requestsPerTarget": 600}


def with_a_long_name(config: dict[str, Any]) -> None:
    only(config).update(name="a" * 26, port=18000)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rewritten, "rewrite takes 3 listener rules, for each of which ECS wants two target groups"),
        (internal, "routing.strategy is internal: nothing comes through a load balancer"),
        (in_memory, "a sign-in that one of them began fails on the other; set oauth.state: dynamodb"),
        (by_requests, "autoscaling.requestsPerTarget counts the requests of one target group"),
        (with_a_long_name, "whose name would have 33 characters"),
    ],
)
def test_a_service_whose_requests_cannot_be_shifted_is_told_why(shared: dict[str, Any], change: Any, told: str) -> None:
    change(strategy(shared, "canary"))
    assert any("strategy is canary, " in text and told in text for text in mistakes(shared))


def test_all_that_is_in_the_way_is_told_at_once(shared: dict[str, Any]) -> None:
    strategy(shared, "linear")
    rewritten(shared)
    in_memory(shared)
    by_requests(shared)
    assert sum("strategy is linear" in text for text in mistakes(shared)) == 3


def test_up_to_four_patterns_are_one_rule_and_can_be_shifted(shared: dict[str, Any]) -> None:
    patterns = {"strategy": "pattern", "host": "mcp.busyb.ai", "priority": 50, "patterns": ["/a", "/b", "/c", "/d"]}
    only(shared)["routing"] = patterns
    parsed(strategy(shared, "canary"))
    patterns["patterns"] = ["/a", "/b", "/c", "/d", "/e"]
    assert any("pattern takes 2 listener rules" in text for text in mistakes(shared))


def test_blue_green_may_keep_sign_ins_in_memory(shared: dict[str, Any]) -> None:
    """All requests go to the new tasks at one moment: no sign-in meets two versions."""
    in_memory(strategy(shared, "blueGreen"))
    parsed(shared)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"strategy": "canary", "stepMinutes": 3}, "is for strategy linear, and this one is canary"),
        ({"strategy": "linear", "canaryPercent": 3}, "is for strategy canary, and this one is linear"),
        ({"bakeMinutes": 3}, "rolling leaves no old task beside the new ones"),
        ({"strategy": "canary", "canaryMinutes": 20, "bakeMinutes": 11}, "canary waits 31 minutes in all"),
        ({"strategy": "linear", "stepPercent": 3, "stepMinutes": 1}, "linear waits 38 minutes in all"),
        ({"strategy": "canary", "canaryPercent": 100}, "99.9"),
        ({"strategy": "bluegreen"}, "blueGreen"),
    ],
)
def test_what_a_strategy_does_not_take_is_a_mistake(shared: dict[str, Any], wanted: dict[str, Any], told: str) -> None:
    only(shared)["deployment"] = wanted
    (text,) = mistakes(shared)
    assert told in text


@pytest.mark.parametrize(
    ("wanted", "minutes"),
    [
        ({}, 0),
        ({"strategy": "blueGreen"}, 5),
        ({"strategy": "canary"}, 15),
        ({"strategy": "linear"}, 20),
        ({"strategy": "linear", "stepPercent": 40, "stepMinutes": 2, "bakeMinutes": 0}, 4),
    ],
)
def test_up_waits_as_much_longer_as_the_strategy_does(wanted: dict[str, Any], minutes: int) -> None:
    deployment = Deployment.model_validate(wanted)
    assert deployment.minutes == minutes
    assert limit(deployment) == LIMIT + 60 * minutes


def test_the_time_of_a_rollout_has_that_of_the_strategy(shared: dict[str, Any]) -> None:
    (service,) = parsed(strategy(shared, "canary", canaryMinutes=2)).services.values()
    assert {span.setting: span.seconds for span in timing.spans(service)}["deployment"] == 7 * 60
