"""Pulumi's engine and the embedded driver deploy real images: one runs, one that crashes is rolled back, which is an
error. Both are held to the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.cli import Cli
from engine.deployment import DeploymentFailed
from rehearsal.docker import Engine
from rehearsal.emulator import Emulator
from tests.rehearsal.programs import ACCOUNT, REGION, Program, actions

SERVICE = """
import pulumi, pulumi_aws as aws, pulumi_docker as docker
config = pulumi.Config()
name = config.require("name")
repository = aws.ecr.Repository("repository", name=name, image_tag_mutability="IMMUTABLE", force_delete=True)
image = docker.Image("image",
                     image_name=pulumi.Output.format("{0}:{1}", repository.repository_url, config.require("tag")),
                     build={"context": "image", "args": {"COMMAND": config.require("command")}})
cluster = aws.ecs.get_cluster(cluster_name=name)
definition = aws.ecs.TaskDefinition("definition", family=name, container_definitions=pulumi.Output.json_dumps(
    [{"name": "server", "image": image.repo_digest, "memory": 64}]))
aws.ecs.Service("service", name=name, cluster=cluster.arn, task_definition=definition.arn, desired_count=1,
                deployment_circuit_breaker={"enable": True, "rollback": True}, wait_for_steady_state=True)
pulumi.export("definition", definition.arn)
"""


@pytest.fixture
def real(engine: Engine, emulator_python: Path, tmp_path: Path, cli: Cli | None) -> Iterator[Program]:
    """A program in an account of its own with real containers."""
    context = tmp_path / "program" / "image"
    context.mkdir(parents=True)
    (context / "Dockerfile").write_text(
        'FROM python:3.12-slim\nARG COMMAND\nENV COMMAND=$COMMAND\nCMD ["sh", "-c", "$COMMAND"]\n'
    )
    engine.ensure_base_images(context / "Dockerfile")
    with Emulator(
        ACCOUNT, REGION, python=emulator_python, docker_host=engine.host, bridge_address=engine.bridge_address()
    ) as account:
        account.client("ecs").create_cluster(clusterName="real")
        yield Program(tmp_path / "program", account, "real", cli)


def test_a_real_image_runs_and_that_a_crashing_one_is_rolled_back_is_an_error(engine: Engine, real: Program) -> None:
    first = real.deploy(SERVICE, docker=engine.client, tag="v1", command="sleep 600")
    assert set(actions(first).values()) == {"created"}
    assert set(actions(real.deploy(docker=engine.client, tag="v1", command="sleep 600")).values()) == {"same"}

    with pytest.raises(DeploymentFailed, match=r"tasks failed to start, rolled back.*exited with 3"):
        real.deploy(docker=engine.client, tag="v2", command="exit 3")
    service = real.account.client("ecs").describe_services(cluster="real", services=["real"])["services"][0]
    assert service["taskDefinition"] == first.outputs["definition"]
    assert any(deployment["rolloutState"] == "FAILED" for deployment in service["deployments"])


@pytest.mark.parametrize(
    ("breaker", "words"),
    [(True, "deployment failed: tasks failed to start"), (False, r"timeout while waiting .*of 1 tasks run")],
)
def test_a_first_deployment_that_fails_gives_the_last_tasks_reason_and_the_next_goes_on_from_it(
    engine: Engine, real: Program, breaker: bool, words: str
) -> None:
    text = SERVICE.replace('"enable": True', f'"enable": {breaker}')
    (real.directory / "__main__.py").write_text(text)
    with pytest.raises(DeploymentFailed, match=f"{words}.*exited with 3"):
        real.deploy(docker=engine.client, steady_timeout=60 if breaker else 4, tag="v1", command="exit 3")
    mended = real.deploy(text, docker=engine.client, tag="v2", command="sleep 600")
    assert actions(mended)["service"] == "changed"
