"""What takes a deployment back: the alarms that ECS is told of, and the configuration of them."""

from __future__ import annotations

from typing import Any

import pytest

from components.settings import ROLLBACK_ALARMS
from tests.components.mistakes import PREFIX, at_odds, mistakes, parsed
from tests.components.program import Deploy, only
from tests.stacks import INTERNAL

SERVICE = "google-workspace-service"
NAME = "busyb-google-workspace-mcp"


def test_ecs_watches_alarms_of_the_service_that_are_made_and_count_no_refusal(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    recorded = deploy(config)
    alarms = recorded.inputs(SERVICE)["alarms"]
    made = {alarm["name"]: alarm for alarm in recorded.of("aws:cloudwatch/metricAlarm:MetricAlarm").values()}
    assert (alarms["enable"], alarms["rollback"]) == (True, True)
    assert len(alarms["alarmNames"]) == 3
    for name in alarms["alarmNames"]:
        assert "4XX" not in made[name]["metricName"]
        # Without data, as before anybody asks for anything, it must not go off.
        assert made[name]["treatMissingData"] == "notBreaching"


def test_the_alarms_come_after_the_service_so_that_none_takes_a_first_deployment_back(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    recorded = deploy(config)
    healthy = next(r.urn for r in recorded.resources if r.name == "google-workspace-healthy")
    alarms = [r for r in recorded.resources if r.type == "aws:cloudwatch/metricAlarm:MetricAlarm"]
    assert alarms
    assert all(healthy in alarm.request.dependencies for alarm in alarms)
    # Nor can the service wait for them: that would be a circle.
    (service,) = [r for r in recorded.resources if r.name == SERVICE]
    assert not {alarm.urn for alarm in alarms} & set(service.request.dependencies)


@pytest.mark.parametrize("of", [["unreachable"], ["unreachable", "server-errors", "unreachable"]])
def test_which_alarms_is_configuration(deploy: Deploy, config: dict[str, Any], of: list[str]) -> None:
    only(config)["deployment"] = {"rollbackAlarms": of}
    alarms = deploy(config).inputs(SERVICE)["alarms"]
    assert alarms == {"enable": True, "rollback": True, "alarmNames": sorted({f"{NAME}-{part}" for part in of})}


def without_monitoring(config: dict[str, Any]) -> None:
    del config["monitoring"]


def internal(config: dict[str, Any]) -> None:
    only(config).update(INTERNAL)


def none_wanted(config: dict[str, Any]) -> None:
    only(config)["deployment"] = {"rollbackAlarms": []}


@pytest.mark.parametrize("change", [without_monitoring, internal, none_wanted])
def test_where_none_is_made_or_wanted_ecs_is_told_to_watch_none(
    deploy: Deploy, config: dict[str, Any], change: Any
) -> None:
    """Said, not left out, and with names: else the provider would send nothing, and ECS would go on watching."""
    change(config)
    alarms = deploy(config).inputs(SERVICE)["alarms"]
    names = sorted(f"{NAME}-{part}" for part in ROLLBACK_ALARMS)
    assert alarms == {"enable": False, "rollback": False, "alarmNames": names}


@pytest.mark.parametrize(
    ("change", "lacking"),
    [(without_monitoring, "the stack has no monitoring"), (internal, "it is not reached from outside")],
)
def test_alarms_that_are_asked_for_and_not_made_are_a_mistake(
    config: dict[str, Any], change: Any, lacking: str
) -> None:
    change(config)
    only(config)["deployment"] = {"rollbackAlarms": ["server-errors"]}
    assert mistakes(config) == [
        at_odds(
            f"{PREFIX}:services",
            f"google-workspace.deployment.rollbackAlarms names alarms that are not made, since {lacking}; remove it",
        )
    ]


def test_a_server_that_may_start_more_slowly_than_the_alarm_allows_is_told_before_it_is_taken_back(
    config: dict[str, Any],
) -> None:
    only(config)["health"] = {"gracePeriod": 201}
    (text,) = mistakes(config)
    assert "gracePeriod is 201 s" in text and "after 200 s" in text
    assert "leave unhealthy-targets out of google-workspace.deployment.rollbackAlarms" in text
    only(config)["deployment"] = {"rollbackAlarms": ["server-errors", "unreachable"]}
    parsed(config)
    del only(config)["deployment"]
    only(config)["health"] = {"gracePeriod": 200}
    parsed(config)
    only(config)["health"] = {"gracePeriod": 600}
    del config["monitoring"]
    parsed(config)
