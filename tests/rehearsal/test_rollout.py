"""A deploy tells the truth: each failure has its reason, and what ran before goes on answering."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from components.rollout import parse
from engine.deployment import DeploymentFailed
from rehearsal.run import Rehearsal, Stack
from tests.stacks import SERVICE, changed, production


@pytest.fixture(scope="module")
def running(engine: object) -> Iterator[Rehearsal]:
    """The production stack, deployed and healthy."""
    with Rehearsal(production("rollout")) as rehearsal:
        rehearsal.deploy()
        assert all(check.passed is not False for check in rehearsal.check())
        yield rehearsal


@pytest.fixture(scope="module")
def stack(running: Rehearsal) -> Stack:
    return running.stack


@contextmanager
def asked_all_the_time(rehearsal: Rehearsal) -> Iterator[list[int]]:
    """A client that asks for /health through the load balancer without a pause; the statuses it got."""
    assert rehearsal.edge
    statuses: list[int] = []
    done = threading.Event()

    def ask() -> None:
        assert rehearsal.edge
        with httpx2.Client(trust_env=False, headers={"Host": "api.busyb.ai"}) as client:
            while not done.is_set():
                statuses.append(client.get(f"{rehearsal.edge.url}/google-workspace/health", timeout=10).status_code)
                time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        done.set()
        thread.join()


def failing(rehearsal: Rehearsal, stack: Stack) -> BaseException:
    """Deploy `stack`, which must fail; the error. The service's task definition and answers must stay as they were."""
    before = service(rehearsal)
    with asked_all_the_time(rehearsal) as statuses, pytest.raises(DeploymentFailed) as failure:
        rehearsal.deploy(stack)
    after = service(rehearsal)
    assert after["taskDefinition"] == before["taskDefinition"]
    assert len(statuses) > 3
    assert set(statuses) == {200}, "what ran before must go on answering"
    assert failure.value.__cause__
    return failure.value.__cause__


def kind(error: BaseException) -> str:
    """The error's class by name: each deployment imports the program's modules afresh, so classes are not the same."""
    return type(error).__name__


def service(rehearsal: Rehearsal) -> dict[str, str]:
    found: dict[str, str] = rehearsal.account.client("ecs").describe_services(
        cluster="busyb-cluster", services=["busyb-google-workspace-mcp-service"]
    )["services"][0]
    return found


def image(directory: Path, dockerfile: str) -> str:
    """A build context with one Dockerfile; its path."""
    directory.mkdir(exist_ok=True)
    (directory / "Dockerfile").write_text(dockerfile)
    return str(directory)


BASE = "FROM python:3.12.13-slim-bookworm\n"


def test_a_version_that_crashes_at_start_fails_the_deploy_with_exit_code_and_log_lines(
    running: Rehearsal, stack: Stack, tmp_path: Path
) -> None:
    crash = "import sys; sys.exit('ImportError: cannot import name a from partially initialized module b')"
    context = image(tmp_path / "v2", BASE + f'ENTRYPOINT ["python3", "-c", "{crash}"]\n')
    error = failing(running, changed(stack, {f"{SERVICE}.image.context": context}))
    assert kind(error) == "NotRolledOut"
    text = str(error)
    assert "runs busyb-google-workspace-mcp:1, not busyb-google-workspace-mcp:2" in text
    assert "exit code 1" in text
    assert "partially initialized module b" in text
    assert "./ops rollback busyb-google-workspace-mcp:1" in text


def test_a_server_that_ends_at_once_is_told_to_have_no_transport(
    running: Rehearsal, stack: Stack, tmp_path: Path
) -> None:
    context = image(tmp_path / "stdio", BASE + 'ENTRYPOINT ["python3", "-c", "pass"]\n')
    error = failing(running, changed(stack, {f"{SERVICE}.image.context": context}))
    assert kind(error) == "NotRolledOut"
    assert "is its transport set" in str(error)


def test_an_image_that_cannot_start_fails_its_build_before_anything_touches_the_service(
    running: Rehearsal, stack: Stack, tmp_path: Path
) -> None:
    context = image(tmp_path / "broken", BASE + 'RUN python3 -c "import a_module_that_is_missing"\n')
    error = failing(running, changed(stack, {f"{SERVICE}.image.context": context}))
    assert kind(error) == "BuildFailed"
    assert "a_module_that_is_missing" in str(error)


def test_a_wrong_json_key_of_a_secret_names_the_key(running: Rehearsal, stack: Stack) -> None:
    key = f"{SERVICE}.secrets.GOOGLE_OAUTH_CLIENT_ID.key"
    error = failing(running, changed(stack, {key: "GOOGLE_CLIENT"}))
    assert kind(error) in (
        "NotRolledOut",
        "ProviderError",
    )
    assert "GOOGLE_CLIENT" in str(error)


def test_a_missing_secret_stops_before_anything_is_made(running: Rehearsal, stack: Stack) -> None:
    key = f"{SERVICE}.secrets.GOOGLE_OAUTH_CLIENT_ID.secret"
    error = failing(running, changed(stack, {key: "busyb/google-oauth-client"}))
    assert kind(error) == "EstateError"
    assert "secret busyb/google-oauth-client" in str(error)


def test_an_image_for_another_architecture_is_refused_before_it_is_registered(running: Rehearsal, stack: Stack) -> None:
    error = failing(running, changed(stack, {f"{SERVICE}.image.platform": "linux/arm64"}))
    assert kind(error) in (
        "NoBaseImage",
        "BuildFailed",
    )
    assert "arm64" in str(error)


def test_a_finished_image_that_does_not_exist_fails_with_the_image_named(running: Rehearsal, stack: Stack) -> None:
    error = failing(running, changed(stack, {f"{SERVICE}.image.digest": "sha256:" + "1" * 64}))
    assert kind(error) in (
        "NotRolledOut",
        "ProviderError",
    )
    assert "1" * 64 in str(error)


def test_only_what_became_healthy_is_remembered(running: Rehearsal) -> None:
    value = running.account.client("ssm").get_parameter(Name="/busyb/production/healthy/google-workspace")
    remembered = parse(value["Parameter"]["Value"])
    assert [entry.revision for entry in remembered] == ["busyb-google-workspace-mcp:1"]
    policy = json.loads(
        running.account.client("ecr").get_lifecycle_policy(repositoryName="busyb-google-workspace-mcp")[
            "lifecyclePolicyText"
        ]
    )
    protected = [rule["selection"].get("tagPatternList") for rule in policy["rules"]]
    assert [remembered[0].tag] in protected, "the running image must not expire, however many are pushed after it"


def test_a_log_group_that_somebody_deleted_is_made_again_and_no_request_fails(running: Rehearsal, stack: Stack) -> None:
    running.account.client("logs").delete_log_group(logGroupName="/ecs/busyb-google-workspace-mcp")
    with asked_all_the_time(running) as statuses:
        deployed = running.deploy(stack)
    # A log group takes its metric filters with it.
    gone = {"google-workspace-logs"} | {
        f"google-workspace-filter-{of}" for of in ("errors", "oauth-failures", "store-failures")
    }
    assert {r.name for r in deployed.resources if r.action == "created"} == gone
    assert set(statuses) == {200}


def test_the_mended_version_deploys_without_a_failed_request(running: Rehearsal, stack: Stack) -> None:
    with asked_all_the_time(running) as statuses:
        deployed = running.deploy(changed(stack, {f"{SERVICE}.memory": 2048}))
    assert set(statuses) == {200}
    assert {r.name for r in deployed.resources if r.action == "replaced"} >= {"google-workspace-task-definition"}
    assert service(running)["taskDefinition"] == running.outputs["services"]["google-workspace"]["taskDefinition"]
