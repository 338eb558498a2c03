"""A rollout's seconds, by the settings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.settings import parse
from components.settings.tasks import Health
from operations import timing
from operations.__main__ import main
from tests.stacks import INTERNAL, SERVICE, changed, production


def seconds(**changes: Any) -> dict[str, int]:
    config = changed(production("timing"), {f"{SERVICE}.{path}": value for path, value in changes.items()}).config
    (service,) = parse(config).services.values()
    return {span.setting: span.seconds for span in timing.spans(service)}


def test_each_second_follows_from_a_setting() -> None:
    assert seconds() == {
        "health.interval x health.healthyThreshold": 60,
        "longestRequest": 30,
        "longestRequest + 10": 40,
    }
    quick = seconds(health={"interval": 5, "timeout": 4}, longestRequest=5)
    assert list(quick.values()) == [10, 5, 15]


def test_by_default_a_rollout_takes_86_seconds_and_a_task_that_answers_nothing_80_to_be_taken_out() -> None:
    assert sum(seconds(health={}).values()) == 86
    health = Health()
    assert health.interval * health.unhealthy_threshold == 80


def test_without_a_load_balancer_nothing_drains() -> None:
    assert seconds(**INTERNAL) == {"health.interval": 30, "longestRequest + 10": 40}


def test_the_command_tells_the_whole_and_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["timing"]) == 0
    whole, *parts = capsys.readouterr().out.splitlines()
    assert whole == (
        "google-workspace: from a new task that answers until the old one is gone 130 s at most; "
        "480 s with AWS's defaults"
    )
    assert parts[1] == "    30 s  requests under way on the old task end (longestRequest; AWS's default 300 s)"
    assert main(["timing", "--json"]) == 0
    (spans,) = json.loads(capsys.readouterr().out)["timing"].values()
    assert sum(span["seconds"] for span in spans) == 130
