"""Deployments that shift requests, with real containers: who asks meanwhile loses nothing, and an alarm takes a bad
version back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from acceptance.sign_in import ask, sign_in
from components.clients import CLIENTS
from engine.deployment import DeploymentFailed
from operations.revisions import status
from operations.rollback import rollback
from operations.target import Target, of_rehearsal
from rehearsal.base_images import NoBaseImage
from rehearsal.edge_process import listener_of
from rehearsal.run import Rehearsal, Stack
from tests import deployment_alarm
from tests.asking import Asked, Question, lost, of_both_eras, without_pause
from tests.conftest import ROOT
from tests.rehearsal.test_oauth_store import service, subject_at
from tests.stacks import SERVICE, changed, production

HOST = "mcp.busyb.ai"
GROUP = "busyb-google-workspace-mcp-tg"
SHARED = {
    f"{SERVICE}.oauth.clients": list(CLIENTS),
    f"{SERVICE}.oauth.state": "dynamodb",
    f"{SERVICE}.routing": {"strategy": "host", "host": HOST, "priority": 50},
}
CANARY = {"strategy": "canary", "canaryPercent": 20, "canaryMinutes": 5, "bakeMinutes": 1}
LINEAR = {"strategy": "linear", "stepPercent": 40, "stepMinutes": 5, "bakeMinutes": 1}
BLUE_GREEN = {"strategy": "blueGreen", "bakeMinutes": 1}


def shifting(deployment: dict[str, Any] | None, **others: Any) -> Stack:
    """The production stack with its state shared, at a host of its own, and deployments as said; None: rolling."""
    values = {f"{SERVICE}.{name}": value for name, value in others.items()}
    return changed(production("strategies"), {**SHARED, f"{SERVICE}.deployment": deployment or {}, **values})


@pytest.fixture(scope="module")
def running(engine: object) -> Iterator[Rehearsal]:
    try:
        with Rehearsal(shifting(CANARY)) as rehearsal:
            rehearsal.deploy(policies=True)
            yield rehearsal
    except NoBaseImage as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def people(running: Rehearsal) -> dict[str, Question]:
    """Clients of both eras of the protocol."""
    assert running.edge
    token = ask(sign_in(subject_at(running, running.edge.url), "strategies@example.com")).token
    assert token
    return of_both_eras(token)


def weights(rehearsal: Rehearsal) -> dict[str, int]:
    """The end of each target group's name -> the weight that the service's rule gives it."""
    elb = rehearsal.account.client("elbv2")
    rules = elb.describe_rules(ListenerArn=listener_of(rehearsal.account, rehearsal.stack.settings))["Rules"]
    (rule,) = [rule for rule in rules if rule["Priority"] == "50"]
    groups = rule["Actions"][0].get("ForwardConfig", {}).get("TargetGroups") or [rule["Actions"][0]]
    return {group["TargetGroupArn"].split("/")[1].removeprefix(GROUP): group.get("Weight", 1) for group in groups}


@contextmanager
def meanwhile(
    rehearsal: Rehearsal, act: Callable[[dict[str, int]], None] = lambda _: None
) -> Iterator[list[dict[str, int]]]:
    """The weights that the rule has in between, each once; `act` is told of each."""
    seen: list[dict[str, int]] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            if (now := weights(rehearsal)) not in seen[-1:]:
                seen.append(now)
                act(now)
            time.sleep(0.1)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def whole(seen: list[dict[str, int]]) -> bool:
    """Whether one target group had all requests, each time."""
    return all(sorted(shares.values()) == [0, 100] for shares in seen)


def ask_all(rehearsal: Rehearsal, people: dict[str, Question]) -> AbstractContextManager[list[Asked]]:
    assert rehearsal.edge
    return without_pause(rehearsal.edge.url, HOST, people)


def unchanged(rehearsal: Rehearsal) -> bool:
    """Whether a further `up` changes nothing, and nothing has drifted."""
    again, drifted = rehearsal.deploy(), rehearsal.refresh()
    return [r.name for r in (*again.resources, *drifted.resources) if r.action != "same"] == []


def target(rehearsal: Rehearsal, file: Path) -> Target:
    return of_rehearsal("strategies", file, rehearsal.stack.settings, rehearsal.note())


def test_a_first_deployment_of_a_canary_serves_and_what_ecs_set_is_no_drift(running: Rehearsal) -> None:
    assert [(check.name, check.detail) for check in running.check() if check.passed is False] == []
    assert weights(running) == {"": 0, "b": 100}
    assert unchanged(running)


def test_a_canary_gets_some_requests_first_and_nobody_loses_one(
    running: Rehearsal, people: dict[str, Question]
) -> None:
    with ask_all(running, people) as asked, meanwhile(running) as seen:
        running.deploy(shifting(CANARY, environment={"VERSION": "2"}))
    assert seen == [{"": 0, "b": 100}, {"": 20, "b": 80}, {"": 100, "b": 0}]
    assert lost(asked) == []
    assert {one.question for one in asked} == people.keys()
    assert unchanged(running)


def test_a_canary_whose_alarm_goes_off_is_taken_back_and_the_reason_told(
    running: Rehearsal, people: dict[str, Question]
) -> None:
    stages: list[str] = []
    on_call = target(running, ROOT / "Pulumi.production.yaml")

    def go_off(shares: dict[str, int]) -> None:
        if shares == {"": 80, "b": 20}:
            stages.extend(status(on_call, service(running))["shift"])
            deployment_alarm.set_alarm(running.account.client, "ALARM")

    try:
        with (
            ask_all(running, people) as asked,
            meanwhile(running, go_off) as seen,
            pytest.raises(DeploymentFailed) as failure,
        ):
            running.deploy(shifting(CANARY, environment={"VERSION": "3"}))
    finally:
        deployment_alarm.set_alarm(running.account.client, "OK")
    assert seen == [{"": 100, "b": 0}, {"": 80, "b": 20}, {"": 100, "b": 0}]
    text = str(failure.value)
    assert "ECS rolled the deployment back: ECS deployment failed: alarm detected" in text
    assert f"alarm    {deployment_alarm.ALARM} went off: More than 5 answers of 5xx a minute" in text
    assert stages == ["canary: PRODUCTION_TRAFFIC_SHIFT", f"{GROUP} has 80, {GROUP}b has 20"]
    assert lost(asked) == []


def test_a_version_whose_tasks_do_not_start_gets_no_request(running: Rehearsal, people: dict[str, Question]) -> None:
    key = f"{SERVICE}.secrets.GOOGLE_OAUTH_CLIENT_ID.key"
    with (
        ask_all(running, people) as asked,
        meanwhile(running) as seen,
        pytest.raises(DeploymentFailed, match="circuit breaker was triggered"),
    ):
        running.deploy(changed(shifting(CANARY, environment={"VERSION": "2"}), {key: "GOOGLE_CLIENT"}))
    assert seen == [{"": 100, "b": 0}]
    assert lost(asked) == []


def test_blue_green_gives_all_requests_at_once_and_nobody_loses_one(
    running: Rehearsal, people: dict[str, Question]
) -> None:
    with ask_all(running, people) as asked, meanwhile(running) as seen:
        running.deploy(shifting(BLUE_GREEN, environment={"VERSION": "4"}))
    assert whole(seen) and len(seen) == 2
    assert lost(asked) == []
    assert unchanged(running)


def test_the_way_back_to_rolling_keeps_the_target_group_that_has_the_tasks(
    running: Rehearsal, people: dict[str, Question]
) -> None:
    (serving,) = [name for name, weight in weights(running).items() if weight]
    assert serving == "b", "otherwise nothing is shown"
    with ask_all(running, people) as asked:
        running.deploy(shifting(None, environment={"VERSION": "4"}))
    assert lost(asked) == []
    assert weights(running) == {"b": 1}
    assert unchanged(running)
    assert [(check.name, check.detail) for check in running.check() if check.passed is False] == []


def test_a_running_service_becomes_one_that_is_shifted_in_steps(
    running: Rehearsal, people: dict[str, Question]
) -> None:
    with ask_all(running, people) as asked, meanwhile(running) as seen:
        running.deploy(shifting(LINEAR, environment={"VERSION": "5"}))
    assert seen[-3:] == [{"": 40, "b": 60}, {"": 80, "b": 20}, {"": 100, "b": 0}]
    assert lost(asked) == []
    assert unchanged(running)


def test_a_rollback_goes_back_at_once_and_leaves_the_strategy(
    running: Rehearsal, people: dict[str, Question], tmp_path: Path
) -> None:
    file = tmp_path / "Pulumi.strategies.yaml"
    file.write_text((ROOT / "Pulumi.production.yaml").read_text())
    on_call = target(running, file)
    before = on_call.described(service(running))["deploymentConfiguration"]
    with ask_all(running, people) as asked, meanwhile(running) as seen:
        done = rollback(on_call, service(running))
    assert (done.left, done.to) == ("busyb-google-workspace-mcp:6", "busyb-google-workspace-mcp:5")
    assert [(check.name, check.detail) for check in done.checks if check.passed is False] == []
    assert whole(seen) and len(seen) == 2
    assert on_call.described(service(running))["deploymentConfiguration"] == before
    assert lost(asked) == []
