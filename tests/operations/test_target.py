"""Which account a verb works on: the one that the stack's aws provider works on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components import settings
from components.names import service_name
from engine.cli import Cli
from operations import target
from operations.console import execute
from operations.errors import OperationError
from operations.target import real
from rehearsal.emulator import Emulator
from tests.conftest import ACCOUNT, ROOT

TARGET = "222222222222"
ROLES = f"  aws:assumeRoles: [{{roleArn: 'arn:aws:iam::{TARGET}:role/deployer', sessionName: pulumi}}]\n"
ALLOWED = f'  aws:allowedAccountIds: ["{ACCOUNT}"]\n'

Written = Callable[[str], str]


@pytest.fixture
def written(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    """Writes the production stack with other lines for the accounts, in a shell that is logged in to the emulated one;
    the stack's name."""
    monkeypatch.setattr(target, "ROOT", tmp_path)
    monkeypatch.setattr(settings, "stack_file", lambda stack: tmp_path / f"Pulumi.{stack}.yaml")

    def write(lines: str) -> str:
        text = (ROOT / "Pulumi.production.yaml").read_text()
        assert ALLOWED in text
        (tmp_path / "Pulumi.elsewhere.yaml").write_text(text.replace(ALLOWED, lines))
        return "elsewhere"

    with emulator.environment():
        yield write


def test_a_verb_works_on_the_account_of_the_role_that_the_provider_assumes(written: Written) -> None:
    found = real(written(ROLES))
    assert (found.account, found.partition, found.region) == (TARGET, "aws", "us-east-1")
    found.client("ecs").create_cluster(clusterName="of-the-target")
    assert found.client("ecs").list_clusters()["clusterArns"] == [
        f"arn:aws:ecs:us-east-1:{TARGET}:cluster/of-the-target"
    ]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (ROLES + ALLOWED, f"logged in to account {TARGET}, but stack elsewhere is for {ACCOUNT}"),
        (
            f'  aws:forbiddenAccountIds: ["{ACCOUNT}"]\n',
            f"account {ACCOUNT}, but stack elsewhere is never for {ACCOUNT}",
        ),
    ],
)
def test_an_account_that_the_provider_refuses_is_refused(written: Written, lines: str, words: str) -> None:
    with pytest.raises(OperationError, match=words) as error:
        real(written(lines))
    assert error.value.status == 3


def test_a_configuration_of_the_provider_that_cannot_be_read_is_told(written: Written) -> None:
    with pytest.raises(OperationError, match=r"aws:assumeRoles\.0\.roleArn: Field required") as error:
        real(written("  aws:assumeRoles: [{}]\n"))
    assert error.value.status == 2


@pytest.mark.parametrize(
    ("variable", "value", "service"),
    [
        ("AWS_ENDPOINT_URL_STS", "garbage", "sts"),
        ("AWS_ENDPOINT_URL_ECS", "garbage", "ecs"),
        ("AWS_MAX_ATTEMPTS", "abc", "sts"),
    ],
)
def test_an_environment_that_cannot_be_read_is_told_by_its_variable(
    written: Written, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, service: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(OperationError, match=f"'?{value}'?. Correct {variable}") as error:
        real(written("")).client(service)
    assert error.value.status == 3


@pytest.mark.engine
def test_what_is_encrypted_is_read_with_pulumis_cli_or_told(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pulumi_cli: Cli
) -> None:
    stack = written("")
    (tmp_path / "Pulumi.yaml").write_text((ROOT / "Pulumi.yaml").read_text())
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path / 'state'}")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "of the test")
    monkeypatch.setenv("PULUMI_SKIP_UPDATE_CHECK", "true")

    def pulumi(*arguments: str) -> None:
        command = [str(pulumi_cli.path), *arguments, "--stack", stack, "--non-interactive"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    pulumi("stack", "init", "--secrets-provider", "passphrase")
    pulumi("config", "set", "--secret", "--path", "aws:assumeRoles[0].roleArn", f"arn:aws:iam::{TARGET}:role/hidden")
    assert "role/hidden" not in (tmp_path / f"Pulumi.{stack}.yaml").read_text()
    assert real(stack).account == TARGET

    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "another")
    with pytest.raises(OperationError, match=r"pulumi config get aws:assumeRoles failed: .*passphrase") as error:
        real(stack)
    assert error.value.status == 3
    pulumi("stack", "rm", "--yes", "--preserve-config")
    with pytest.raises(OperationError, match="aws:assumeRoles is encrypted in the stack's file, and there is no such"):
        real(stack)


def test_without_pulumis_cli_what_is_encrypted_is_told(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        OperationError, match="aws:assumeRoles is encrypted in the stack's file, and read with"
    ) as error:
        real(written("  aws:assumeRoles: {secure: 'v1:abc'}\n"))
    assert error.value.status == 3


def test_exec_hands_the_aws_cli_who_we_are_in_its_environment_and_no_argument(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = real(written(ROLES))
    service = found.service(None)
    deployed(found.client("ecs"), found.settings.estate.cluster, service_name(service))
    program = "import json, os, sys\njson.dump([sys.argv, dict(os.environ)], open(os.environ['SEEN'], 'w'))\n"
    for name in ("aws", "session-manager-plugin"):
        command(tmp_path / name, program)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen.json"))
    monkeypatch.setenv("AWS_PROFILE", "somebody-else")
    assert execute(found, service, ["true"]) == 0
    arguments, environment = json.loads((tmp_path / "seen.json").read_text())
    assert arguments[1:3] == ["ecs", "execute-command"]
    wanted = found.credentials()
    assert wanted["AWS_SESSION_TOKEN"]
    assert wanted.items() <= environment.items()
    assert "AWS_PROFILE" not in environment
    assert not any(secret in argument for secret in wanted.values() for argument in arguments)


def command(file: Path, program: str) -> None:
    file.write_text(f"#!{sys.executable}\n{program}")
    file.chmod(0o755)


def deployed(ecs: object, cluster: str, name: str) -> None:
    """A service of that name with a task, which the emulator only simulates."""
    ecs.create_cluster(clusterName=cluster)  # type: ignore[attr-defined]
    ecs.register_task_definition(  # type: ignore[attr-defined]
        family=name, containerDefinitions=[{"name": "server", "image": "image", "memory": 128}]
    )
    ecs.create_service(cluster=cluster, serviceName=name, taskDefinition=name, desiredCount=1)  # type: ignore[attr-defined]
