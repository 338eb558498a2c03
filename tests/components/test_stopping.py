"""Stopping without loss: what follows from the longest request."""

from __future__ import annotations

from typing import Any

from components.settings import SettingsError
from tests.components.program import Deploy, only


def test_a_task_that_goes_has_as_long_as_the_longest_request_takes(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["longestRequest"] = 90
    recorded = deploy(config)
    assert recorded.inputs("google-workspace-target-group")["deregistrationDelay"] == 90
    assert recorded.container()["stopTimeout"] == 100


def test_a_request_that_is_longer_than_fargate_lets_a_task_stop_is_refused(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    only(config)["longestRequest"] = 111
    error = deploy(config, fails=True).error
    assert isinstance(error, SettingsError)
    assert "services.google-workspace.longestRequest" in str(error) and "110" in str(error)
