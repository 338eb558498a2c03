"""A deploy tells the truth: each failure has its reason, and what ran before goes on answering."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from components.registry import healthy_tag
from components.rollout import NotRolledOut, follow, parse, reach
from engine.deployment import DeploymentFailed
from rehearsal.base_images import NoBaseImage
from rehearsal.run import Rehearsal, Stack
from tests import deployment_alarm
from tests.asking import Asked, Question, outcomes, without_pause
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


def asked_all_the_time(rehearsal: Rehearsal) -> AbstractContextManager[list[Asked]]:
    """A client that asks for /health through the load balancer without a pause, and what became of its requests."""
    assert rehearsal.edge
    return without_pause(f"{rehearsal.edge.url}/google-workspace", "api.busyb.ai", {"health": Question()})


def failing(rehearsal: Rehearsal, stack: Stack) -> str:
    """What is said of a deployment of `stack`, which must fail. The service's task definition and answers must stay as
    they were."""
    before = service(rehearsal)
    with asked_all_the_time(rehearsal) as asked, pytest.raises(DeploymentFailed) as failure:
        rehearsal.deploy(stack)
    text = str(failure.value)
    assert service(rehearsal)["taskDefinition"] == before["taskDefinition"], text
    assert len(asked) > 3
    assert outcomes(asked) == {200}, f"what ran before must go on answering: {text}"
    return text


def service(rehearsal: Rehearsal) -> dict[str, Any]:
    found: dict[str, Any] = rehearsal.account.client("ecs").describe_services(
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
    text = failing(running, changed(stack, {f"{SERVICE}.image.context": context}))
    assert "runs busyb-google-workspace-mcp:1, not busyb-google-workspace-mcp:2" in text
    assert "exit code 1" in text
    assert "partially initialized module b" in text
    assert "./ops rollback busyb-google-workspace-mcp:1" in text
    assert "ECS rolled the deployment back: ECS deployment circuit breaker was triggered" in text


def revision(number: int) -> str:
    """ARN of one of the service's task definitions."""
    return f"arn:aws:ecs:us-east-1:758888582357:task-definition/busyb-google-workspace-mcp:{number}"


def reached(rehearsal: Rehearsal, number: int) -> str:
    """What the program does where the engine finds nothing to change, as its state has the revision already."""
    return asyncio.run(
        reach(
            rehearsal.account.client,
            wanted=revision(number),
            cluster="busyb-cluster",
            service="busyb-google-workspace-mcp-service",
            log_group="/ecs/busyb-google-workspace-mcp",
        )
    )


def test_an_unchanged_up_after_a_rollback_tries_again_and_tells_the_same(running: Rehearsal) -> None:
    before = {entry["id"] for entry in service(running)["deployments"]}
    with asked_all_the_time(running) as asked, pytest.raises(NotRolledOut) as failure:
        reached(running, 2)
    text = str(failure.value)
    assert "runs busyb-google-workspace-mcp:1, not busyb-google-workspace-mcp:2: ECS rolled the deployment back" in text
    assert "exit code 1" in text
    assert "partially initialized module b" in text
    assert {entry["id"] for entry in service(running)["deployments"]} > before, "nothing was tried"
    assert outcomes(asked) == {200}


def test_the_end_of_a_deployment_is_not_that_of_the_one_before(running: Rehearsal) -> None:
    """DescribeServices shows for a moment the deployments of before UpdateService."""
    ecs = running.account.client("ecs")
    place: dict[str, Any] = {"cluster": "busyb-cluster", "service": "busyb-google-workspace-mcp-service"}
    begun = ecs.update_service(**place, forceNewDeployment=True)["service"]
    first = ecs.describe_services(cluster=place["cluster"], services=[place["service"]])["services"][0]
    assert begun["deployments"][0]["id"] not in {entry["id"] for entry in first["deployments"]}
    said: list[str] = []
    seen = asyncio.run(follow(ecs, **place, wanted=revision(1), begun=begun, progress=said.append))
    assert seen.healthy
    assert seen.id == begun["deployments"][0]["id"]
    assert said[0] == "busyb-google-workspace-mcp:1 IN_PROGRESS, 0 of 1 tasks, 1 of before"


def test_a_deployment_that_somebody_else_begins_meanwhile_is_told_as_that(
    running: Rehearsal, stack: Stack, tmp_path: Path
) -> None:
    ecs = running.account.client("ecs")

    def deploy_another() -> None:
        while service(running)["deployments"][0]["taskDefinition"] == revision(1):
            time.sleep(0.1)
        ecs.update_service(
            cluster="busyb-cluster", service="busyb-google-workspace-mcp-service", taskDefinition=revision(1)
        )

    somebody = threading.Thread(target=deploy_another)
    somebody.start()
    context = image(tmp_path / "slow", BASE + 'ENTRYPOINT ["sleep", "60"]\n')
    text = failing(running, changed(stack, {f"{SERVICE}.image.context": context}))
    somebody.join()
    assert "another deployment took its place, which somebody else began" in text
    assert "now      busyb-google-workspace-mcp:1 COMPLETED, 1 of 1 tasks" in text


def test_a_server_that_ends_at_once_is_told_to_have_no_transport(
    running: Rehearsal, stack: Stack, tmp_path: Path
) -> None:
    context = image(tmp_path / "stdio", BASE + 'ENTRYPOINT ["python3", "-c", "pass"]\n')
    text = failing(running, changed(stack, {f"{SERVICE}.image.context": context}))
    assert "is its transport set" in text


def test_an_image_that_cannot_start_fails_its_build_before_anything_touches_the_service(
    running: Rehearsal, stack: Stack, tmp_path: Path
) -> None:
    context = image(tmp_path / "broken", BASE + 'RUN python3 -c "import a_module_that_is_missing"\n')
    text = failing(running, changed(stack, {f"{SERVICE}.image.context": context}))
    assert "a_module_that_is_missing" in text


def test_a_wrong_json_key_of_a_secret_names_the_key(running: Rehearsal, stack: Stack) -> None:
    key = f"{SERVICE}.secrets.GOOGLE_OAUTH_CLIENT_ID.key"
    text = failing(running, changed(stack, {key: "GOOGLE_CLIENT"}))
    assert "GOOGLE_CLIENT" in text


def test_a_missing_secret_stops_before_anything_is_made(running: Rehearsal, stack: Stack) -> None:
    key = f"{SERVICE}.secrets.GOOGLE_OAUTH_CLIENT_ID.secret"
    text = failing(running, changed(stack, {key: "busyb/google-oauth-client"}))
    assert "secret busyb/google-oauth-client" in text


def test_an_image_for_another_architecture_is_refused_before_it_is_registered(running: Rehearsal, stack: Stack) -> None:
    with pytest.raises((DeploymentFailed, NoBaseImage), match="arm64"):
        running.deploy(changed(stack, {f"{SERVICE}.image.platform": "linux/arm64"}))
    assert service(running)["taskDefinition"] == revision(1)


def test_a_finished_image_that_does_not_exist_fails_with_the_image_named(running: Rehearsal, stack: Stack) -> None:
    text = failing(running, changed(stack, {f"{SERVICE}.image.digest": "sha256:" + "1" * 64}))
    assert "1" * 64 in text


def test_only_what_became_healthy_is_remembered(running: Rehearsal) -> None:
    value = running.account.client("ssm").get_parameter(Name="/busyb/production/healthy/google-workspace")
    remembered = parse(value["Parameter"]["Value"])
    assert [entry.revision for entry in remembered] == ["busyb-google-workspace-mcp:1"]
    found = running.account.client("ecr").batch_get_image(
        repositoryName="busyb-google-workspace-mcp", imageIds=[{"imageTag": healthy_tag(remembered[0].digest)}]
    )["images"]
    assert [each["imageId"]["imageDigest"] for each in found] == [remembered[0].digest], (
        "the running image must not expire, however many are pushed after it"
    )


def test_a_log_group_that_somebody_deleted_is_made_again_and_no_request_fails(running: Rehearsal, stack: Stack) -> None:
    running.account.client("logs").delete_log_group(logGroupName="/ecs/busyb-google-workspace-mcp")
    with asked_all_the_time(running) as asked:
        deployed = running.deploy(stack)
    # A log group takes its metric filters with it.
    gone = {"google-workspace-logs"} | {
        f"google-workspace-filter-{of}" for of in ("errors", "oauth-failures", "refusals", "store-failures")
    }
    assert {r.name for r in deployed.resources if r.action == "created"} == gone
    assert outcomes(asked) == {200}


def test_the_mended_version_deploys_without_a_failed_request(running: Rehearsal, stack: Stack) -> None:
    with asked_all_the_time(running) as asked:
        deployed = running.deploy(changed(stack, {f"{SERVICE}.memory": 2048}))
    assert outcomes(asked) == {200}
    assert {r.name for r in deployed.resources if r.action == "replaced"} >= {"google-workspace-task-definition"}
    assert service(running)["taskDefinition"] == running.outputs["services"]["google-workspace"]["taskDefinition"]


def test_an_alarm_that_goes_off_meanwhile_takes_it_back_and_is_named_with_the_last_log_lines(
    running: Rehearsal, stack: Stack, tmp_path: Path
) -> None:
    context = image(tmp_path / "errors", deployment_alarm.ERRORS)
    with deployment_alarm.goes_off_meanwhile(running.account):
        text = failing(running, changed(stack, {f"{SERVICE}.image.context": context}))
    assert "ECS rolled the deployment back: ECS deployment failed: alarm detected" in text
    assert f"alarm    {deployment_alarm.ALARM} went off: More than 5 answers of 5xx a minute. ./ops logs" in text
    assert deployment_alarm.LINE in text
    assert "exit code" not in text, "ECS stopped the tasks itself; their exit codes would mislead"
    # One that has gone off already is no reason: a mended version must get through.
    running.deploy(changed(stack, {f"{SERVICE}.memory": 2048}))


# It ends with what the secret decides, so that its cause can be mended without a change of the program.
FINICKY = (
    BASE
    + "RUN mkdir /www && touch /www/health\n"
    + 'ENTRYPOINT ["sh", "-c", "[ $GOOGLE_OAUTH_CLIENT_ID != wrong ] || { echo no such client; exit 3; }; '
    'exec python3 -m http.server 8000 --directory /www"]\n'
)


@pytest.fixture(scope="module")
def finicky(engine: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rehearsal, Stack]]:
    """A stack whose server wants the right secret, and has a wrong one; nothing is deployed yet."""
    context = image(tmp_path_factory.mktemp("finicky"), FINICKY)
    stack = changed(production("rollout-first"), {f"{SERVICE}.image.context": context})
    with Rehearsal(stack) as rehearsal:
        put_secret(rehearsal, "wrong")
        yield rehearsal, stack


def put_secret(rehearsal: Rehearsal, value: str) -> None:
    rehearsal.account.client("secretsmanager").put_secret_value(
        SecretId="busyb/google-oauth-client-id", SecretString=json.dumps({"GOOGLE_OAUTH_CLIENT_ID": value})
    )


def test_a_first_deployment_that_failed_is_told_each_time_and_never_taken_for_healthy(
    finicky: tuple[Rehearsal, Stack],
) -> None:
    rehearsal, stack = finicky
    tasks: set[str] = set()
    for _ in range(2):
        with pytest.raises(DeploymentFailed) as failure:
            rehearsal.deploy(stack)
        text = str(failure.value)
        assert "busyb-google-workspace-mcp:1 did not become healthy" in text
        assert "has nothing to go back to: ECS deployment circuit breaker was triggered" in text
        assert "exit code 3" in text
        assert "no such client" in text
        assert "run pulumi up again; nothing serves meanwhile. More: ./ops status" in text
        stopped = set(re.findall(r"stopped  task (\w+)", text))
        assert stopped
        assert not stopped & tasks, "a new deployment has tasks of its own"
        tasks |= stopped
    with pytest.raises(rehearsal.account.client("ssm").exceptions.ParameterNotFound):
        rehearsal.account.client("ssm").get_parameter(Name="/busyb/production/healthy/google-workspace")
    assert not rehearsal.account.client("cloudwatch").describe_alarms()["MetricAlarms"], "nobody is paged for it"


def test_it_is_begun_anew_when_its_cause_is_mended_though_nothing_of_the_program_changed(
    finicky: tuple[Rehearsal, Stack],
) -> None:
    rehearsal, stack = finicky
    put_secret(rehearsal, "right")
    rehearsal.deploy(stack)
    assert service(rehearsal)["taskDefinition"] == revision(1)
    assert rehearsal.account.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert all(result.action == "same" for result in rehearsal.deploy(stack).resources)


def test_content_a_then_b_then_a_again_deploys_the_first_image_and_leaves_nothing_to_change(
    finicky: tuple[Rehearsal, Stack], tmp_path: Path
) -> None:
    rehearsal, stack = finicky
    first = rehearsal.outputs["services"]["google-workspace"]
    other = changed(stack, {f"{SERVICE}.image.context": image(tmp_path / "b", FINICKY + "LABEL content=b\n")})
    rehearsal.deploy(other)
    second = rehearsal.outputs["services"]["google-workspace"]
    assert second["image"] != first["image"]
    for of, wanted in ((stack, first), (other, second), (stack, first)):
        # As after `git revert`, on a machine that never built it.
        back = rehearsal.deploy(of)
        assert not [r for r in back.resources if r.type == "docker:index/image:Image" and r.action != "deleted"]
        assert rehearsal.outputs["services"]["google-workspace"]["image"] == wanted["image"]
        assert rehearsal.outputs["services"]["google-workspace"]["tag"] == wanted["tag"]
        assert all(result.action == "same" for result in rehearsal.deploy(of).resources)
