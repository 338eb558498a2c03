"""How many tasks a service has, and on what capacity: what is registered, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from components import capacity
from components.estate import EstateError
from components.settings import Settings
from tests.components.mistakes import SERVICE, at_odds, mistakes, parsed, service, wrong
from tests.components.program import Account, Deploy, Recorded, only
from tests.conftest import ROOT

POLICY = "aws:appautoscaling/policy:Policy"
TARGET = "aws:appautoscaling/target:Target"
ACTION = "aws:appautoscaling/scheduledAction:ScheduledAction"
OFFICE = {"schedule": "cron(0 8 ? * MON-FRI *)", "timezone": "Europe/Zurich", "minimum": 3}
EXAMPLES = "such as cron(0 8 ? * MON-FRI *) for 8:00 on working days, or at(2027-01-31T08:00:00) for once"


def ignored(recorded: Recorded, name: str) -> list[str]:
    (found,) = (r for r in recorded.resources if r.name == name and r.request.custom)
    return list(found.request.ignoreChanges)


def tracked(recorded: Recorded) -> dict[str, Any]:
    """A policy's physical name -> what it keeps the number of tasks at."""
    return {
        policy["name"]: policy["targetTrackingScalingPolicyConfiguration"] for policy in recorded.of(POLICY).values()
    }


# --- metrics


def test_a_number_of_tasks_that_follows_their_cpu_is_not_reset(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config).update({"desiredCount": 2, "autoscaling": {"minimum": 2, "maximum": 6, "cpuPercent": 50}})
    recorded = deploy(config)
    (target,) = recorded.of(TARGET).values()
    assert (target["minCapacity"], target["maxCapacity"]) == (2, 6)
    assert target["resourceId"] == "service/busyb-cluster/busyb-google-workspace-mcp-service"
    assert tracked(recorded) == {
        "busyb-google-workspace-mcp-cpu": {
            "predefinedMetricSpecification": {"predefinedMetricType": "ECSServiceAverageCPUUtilization"},
            "targetValue": 50,
            "scaleOutCooldown": 60,
            "scaleInCooldown": 300,
        }
    }
    assert ignored(recorded, "google-workspace-service") == ["desiredCount"]
    assert ignored(recorded, "google-workspace-scaling") == [], "the limits are the program's, without schedules"


def test_without_autoscaling_the_number_of_tasks_is_the_programs(deploy: Deploy, config: dict[str, Any]) -> None:
    recorded = deploy(config)
    assert not [r.type for r in recorded.resources if "autoscaling" in r.type]
    assert not ignored(recorded, "google-workspace-service")


@pytest.mark.parametrize(
    ("asked", "metrics"),
    [
        ({}, {"cpu": 60}),
        ({"memoryPercent": 75}, {"memory": 75}),
        ({"requestsPerTarget": 900}, {"requests": 900}),
        ({"cpuPercent": 55, "memoryPercent": 75, "requestsPerTarget": 900}, {"cpu": 55, "memory": 75, "requests": 900}),
        ({"schedules": {"office": OFFICE}}, {}),
        ({"cpuPercent": 55, "schedules": {"office": OFFICE}}, {"cpu": 55}),
    ],
)
def test_only_what_was_asked_for_is_looked_at(
    deploy: Deploy, config: dict[str, Any], asked: dict[str, Any], metrics: dict[str, int]
) -> None:
    only(config)["autoscaling"] = {"maximum": 6, **asked}
    found = {name.rpartition("-")[2]: policy["targetValue"] for name, policy in tracked(deploy(config)).items()}
    assert found == metrics


def test_requests_are_counted_at_the_services_own_target_group(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["autoscaling"] = {"maximum": 6, "requestsPerTarget": 900}
    recorded = deploy(config)
    (policy,) = tracked(recorded).values()
    assert policy["predefinedMetricSpecification"] == {
        "predefinedMetricType": "ALBRequestCountPerTarget",
        # app/NAME/ID/targetgroup/NAME/ID, which are the ends of the two ARNs.
        "resourceLabel": "app/busyb-alb/1/targetgroup/busyb-google-workspace-mcp-tg/1",
    }


def test_the_first_policy_keeps_its_logical_name(deploy: Deploy, config: dict[str, Any]) -> None:
    # Under another one it would be made anew by its physical name, and then deleted by that name as the old one.
    only(config)["autoscaling"] = {"maximum": 6, "cpuPercent": 55, "memoryPercent": 75}
    assert set(deploy(config).of(POLICY)) == {
        "google-workspace-scaling-policy",
        "google-workspace-scaling-policy-memory",
    }


# --- schedules


def test_a_schedule_sets_the_limits_that_it_names_and_up_does_not_set_them_back(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    only(config)["autoscaling"] = {
        "maximum": 6,
        "cpuPercent": 55,
        "schedules": {"office": OFFICE, "evening": {"schedule": "cron(0 18 ? * MON-FRI *)", "minimum": 1}},
    }
    recorded = deploy(config)
    actions = recorded.of(ACTION)
    assert actions["google-workspace-schedule-office"] == {
        "name": "busyb-google-workspace-mcp-office",
        "serviceNamespace": "ecs",
        "scalableDimension": "ecs:service:DesiredCount",
        "resourceId": "service/busyb-cluster/busyb-google-workspace-mcp-service",
        "schedule": "cron(0 8 ? * MON-FRI *)",
        "timezone": "Europe/Zurich",
        "scalableTargetAction": {"minCapacity": 3},
    }
    assert actions["google-workspace-schedule-evening"]["timezone"] == "UTC"
    assert ignored(recorded, "google-workspace-scaling") == ["minCapacity"], "the most tasks are still the program's"
    assert ignored(recorded, "google-workspace-service") == ["desiredCount"]


def test_tasks_that_a_schedule_adds_share_their_state(config: dict[str, Any]) -> None:
    launch = {"schedule": "at(2027-01-31T08:00:00)", "minimum": 8, "maximum": 12}
    only(config)["autoscaling"] = {"maximum": 6, "schedules": {"launch": launch}}
    found = parsed(config).services["google-workspace"]
    assert found.task_range == (1, 12)
    assert found.oauth_state and found.oauth_state.backend == "dynamodb"


@pytest.mark.parametrize(
    "schedule",
    [
        "cron(0 8 ? * MON-FRI *)",
        "cron(0/15 * * * ? *)",
        "cron(*/5 8-18 ? JAN,JUL 2-6 2027-2030)",
        "cron(0 8 L * ? *)",
        "cron(0 8 15W * ? *)",
        "cron(0 8 ? * 6#3 *)",
        "cron(0 8 ? * FRIL *)",
        "cron(0,30 8 1,15 * ? *)",
        "at(2028-02-29T23:59:59)",
    ],
)
def test_what_aws_takes_for_a_schedule_is_taken(config: dict[str, Any], schedule: str) -> None:
    only(config)["autoscaling"] = {"maximum": 6, "schedules": {"office": {**OFFICE, "schedule": schedule}}}
    assert parsed(config).services["google-workspace"].autoscaling


FIELDS = "minutes, hours, day of month, month, day of week, year"


@pytest.mark.parametrize(
    ("schedule", "allowed"),
    [
        ("0 8 * * 1-5", f"cron(...) or at(...), {EXAMPLES}"),
        ("rate(1 hour)", f"cron(...) or at(...), {EXAMPLES}"),
        ("cron(0 8 * * 1-5)", f"cron(...) with six fields ({FIELDS}; 5 are here), {EXAMPLES}"),
        ("cron(0 24 ? * MON *)", f"cron(...) with 0 to 23 for the hours, which is 24; {EXAMPLES}"),
        ("cron(60 8 ? * MON *)", f"cron(...) with 0 to 59 for the minutes, which is 60; {EXAMPLES}"),
        ("cron(0 8 ? * 0 *)", f"cron(...) with 1 to 7 for the day of week, which is 0; {EXAMPLES}"),
        ("cron(0 8 ? * MO *)", f"cron(...) with 1 to 7 for the day of week, which is MO; {EXAMPLES}"),
        ("cron(0/0 8 ? * MON *)", f"cron(...) with 0 to 59 for the minutes, which is 0/0; {EXAMPLES}"),
        (
            "cron(0 8 * * MON *)",
            f"cron(...) with ? for the day of month or for the day of week, not both, {EXAMPLES}",
        ),
        ("cron(0 8 ? * ? *)", f"cron(...) with ? for the day of month or for the day of week, not both, {EXAMPLES}"),
        ("at(2027-02-30T08:00:00)", f"at(yyyy-mm-ddThh:mm:ss), a day and time that exist, {EXAMPLES}"),
        ("at(2027-01-31 08:00)", f"at(yyyy-mm-ddThh:mm:ss), a day and time that exist, {EXAMPLES}"),
    ],
)
def test_what_aws_would_refuse_as_a_schedule_is_told_with_what_it_takes(
    config: dict[str, Any], schedule: str, allowed: str
) -> None:
    only(config)["autoscaling"] = {"maximum": 6, "schedules": {"office": {**OFFICE, "schedule": schedule}}}
    assert mistakes(config) == [wrong(f"{SERVICE}.autoscaling.schedules.office.schedule", schedule, allowed)]


def test_a_time_zone_that_nobody_knows_is_told(config: dict[str, Any]) -> None:
    only(config)["autoscaling"] = {"maximum": 6, "schedules": {"office": {**OFFICE, "timezone": "Europe/Zuerich"}}}
    words = "the name of a time zone as IANA has it, such as Europe/Zurich or UTC"
    assert mistakes(config) == [
        wrong(f"{SERVICE}.autoscaling.schedules.office.timezone", "Europe/Zuerich", words),
    ]


AT_ODDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "requests of a service that has no load balancer": (
        {
            "autoscaling": {"maximum": 4, "requestsPerTarget": 900},
            "routing": {"strategy": "internal"},
            "server": "other",
            "oauth": {},
        },
        "autoscaling",
        "requestsPerTarget counts what the load balancer passes on, and routing.strategy is internal: nothing comes "
        "through one; use cpuPercent or memoryPercent",
    ),
    "a schedule without limits": (
        {"autoscaling": {"maximum": 4, "schedules": {"office": {"schedule": OFFICE["schedule"]}}}},
        "autoscaling.schedules.office.minimum",
        "is not set, nor is maximum; set one of them, or remove the schedule",
    ),
    "a schedule upside down": (
        {"autoscaling": {"maximum": 4, "schedules": {"office": {**OFFICE, "maximum": 2}}}},
        "autoscaling.schedules.office.minimum",
        "is 3; it must not be more than maximum, 2",
    ),
    "a schedule with more than the most": (
        {"autoscaling": {"maximum": 4, "schedules": {"office": {**OFFICE, "minimum": 5}}}},
        "autoscaling.schedules",
        "office.minimum is 5, but a maximum of 4 may hold then; set office.maximum as well",
    ),
    "a schedule with fewer than another leaves": (
        {
            "autoscaling": {
                "maximum": 4,
                "schedules": {"office": OFFICE, "night": {"schedule": "cron(0 22 * * ? *)", "maximum": 2}},
            }
        },
        "autoscaling.schedules",
        "office.minimum is 3, but a maximum of 2 may hold then; set office.maximum as well",
    ),
    "the only task on Spot, with sign-ins in its memory": (
        {"capacity": {"onDemandBase": 0}},
        "capacity",
        "onDemandBase is 0, so that its only task may run on Spot, and sign-ins are in that task's memory: AWS takes "
        "it away at two minutes' notice, and everybody signs in again; set onDemandBase: 1, or oauth.state: dynamodb",
    ),
    "nowhere to run": (
        {"capacity": {"spotWeight": 0}},
        "capacity.spotWeight",
        "is 0, and so is onDemandWeight: tasks above the base would have nowhere to run; set onDemandWeight: 1 to have "
        "all on demand",
    ),
}


@pytest.mark.parametrize("case", AT_ODDS)
def test_what_does_not_go_together_is_told_with_what_to_do(config: dict[str, Any], case: str) -> None:
    changes, key, told = AT_ODDS[case]
    service(**changes)(config)
    assert at_odds(f"{SERVICE}.{key}", told) in mistakes(config)


def test_what_the_page_shows_is_taken_as_it_stands(config: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "several-tasks.md").read_text()
    shown = [yaml.safe_load(block.split("```")[0]) for block in page.split("```yaml\n")[1:]]
    assert [list(settings) for settings in shown] == [["oauth"], ["autoscaling"], ["capacity"]]
    clients = only(config)["oauth"]
    only(config).update({"desiredCount": 2, **shown[1], **shown[2], "oauth": clients | shown[0]["oauth"]})
    taken = parsed(config).services["google-workspace"]
    assert taken.task_range == (2, 6)
    assert taken.oauth_cache and taken.oauth_cache.replicas == 1


# --- capacity


def placement(recorded: Recorded) -> dict[str, Any]:
    inputs = recorded.inputs("google-workspace-service")
    named = ("launchType", "capacityProviderStrategies", "forceNewDeployment", "platformVersion")
    return {name: inputs[name] for name in named if name in inputs}


def test_tasks_above_the_base_run_on_spot(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config).update({"desiredCount": 3, "capacity": {"onDemandBase": 2}})
    assert placement(deploy(config)) == {
        "capacityProviderStrategies": [
            {"capacityProvider": "FARGATE", "base": 2, "weight": 0},
            {"capacityProvider": "FARGATE_SPOT", "base": 0, "weight": 1},
        ],
        # Without it the provider refuses to change the strategy, and ECS too.
        "forceNewDeployment": True,
        # What Spot needs: 1.3.0 for x86, 1.4.0 for ARM.
        "platformVersion": "LATEST",
    }


def test_spot_can_be_left_without_a_replacement(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["capacity"] = {"spotWeight": 0, "onDemandWeight": 1}
    found = placement(deploy(config))
    assert found["capacityProviderStrategies"] == [{"capacityProvider": "FARGATE", "base": 1, "weight": 1}]


def test_without_a_word_of_capacity_tasks_run_on_demand_by_launch_type(production: Recorded) -> None:
    assert placement(production) == {"launchType": "FARGATE", "platformVersion": "LATEST"}


def test_tasks_that_share_their_state_may_all_run_on_spot(config: dict[str, Any]) -> None:
    only(config).update({"desiredCount": 2, "capacity": {"onDemandBase": 0}})
    assert parsed(config).services["google-workspace"].capacity


def finding(deploy: Deploy, config: dict[str, Any]) -> str:
    recorded = deploy(config, fails=True)
    assert isinstance(recorded.error, EstateError) and not recorded.resources
    (found,) = recorded.error.findings
    return str(found)


def test_a_cluster_without_the_capacity_provider_stops_all_with_the_command_that_associates_it(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    only(config).update({"desiredCount": 2, "capacity": {}})
    default = [{"capacityProvider": "FARGATE", "weight": 1, "base": 0}]
    estate.capacity = {"capacityProviders": ["FARGATE"], "defaultCapacityProviderStrategy": default}
    assert finding(deploy, config) == (
        "  capacity provider FARGATE_SPOT\n"
        "      looked   among those of cluster busyb-cluster, for services.google-workspace.capacity\n"
        "      found    it has FARGATE; ECS refuses a service that names another\n"
        "      do       aws ecs put-cluster-capacity-providers --cluster busyb-cluster --capacity-providers FARGATE "
        "FARGATE_SPOT --default-capacity-provider-strategy "
        '\'[{"capacityProvider":"FARGATE","weight":1,"base":0}]\''
    )


def test_a_service_is_not_replaced_to_take_it_off_its_capacity_providers(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    estate.runs_on = ["FARGATE", "FARGATE_SPOT"]
    told = finding(deploy, config)
    assert "could lose them only by being replaced, which is an outage" in told
    assert "set services.google-workspace.capacity to {spotWeight: 0, onDemandWeight: 1}, and leave it there" in told
    only(config)["capacity"] = {"spotWeight": 0, "onDemandWeight": 1}
    assert deploy(config).resources


def test_any_number_of_services_is_asked_for_in_calls_that_ecs_takes(config: dict[str, Any]) -> None:
    asked: list[list[str]] = []

    class Ecs:
        def describe_services(self, *, cluster: str, services: list[str]) -> dict[str, Any]:
            asked.append(services)
            return {"services": [{"serviceName": name, "status": "ACTIVE"} for name in services]}

    one = parsed(config)
    (found,) = one.services.values()
    many = {f"s{n}": found.model_copy(update={"key": f"s{n}", "name": f"s{n}"}) for n in range(23)}
    settings: Settings = one.model_copy(update={"services": many})
    assert not list(capacity.conflicts(settings, client=lambda _: Ecs()))
    assert [len(names) for names in asked] == [10, 10, 3] and len({n for names in asked for n in names}) == 23
