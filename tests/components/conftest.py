"""The project's own program, run to its end, and what it registered: tests assert exact inputs of that."""

from __future__ import annotations

import copy
import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from components import account, settings
from engine.cli import Cli
from tests.components.clients import S3, Ecr, Ecs, Elbv2, Named
from tests.components.command_line import CommandLine
from tests.components.program import Account, Deploy, Recorded, run

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def estate() -> Account:
    """The account that the production stack expects; a test changes it before it deploys."""
    return Account()


@pytest.fixture
def config() -> dict[str, Any]:
    """The production stack's configuration: name without namespace -> value. A test changes it before it deploys."""
    raw = settings.read_stack_file(PROJECT / "Pulumi.production.yaml")
    own = {name.partition(":")[2]: text for name, text in raw.items() if name.startswith(f"{settings.NAMESPACE}:")}
    found = {name: json.loads(text) if text[:1] in "{[" else text for name, text in own.items()}
    services: Any = found["services"]
    for service in services.values():
        del service["dashboard"]  # There can be one of that name, and tests copy the service.
    return found


@pytest.fixture
def cli(pulumi_cli: Cli, tmp_path: Path) -> CommandLine:
    """Pulumi's command line in an empty project; for tests that are marked `engine`."""
    return CommandLine(pulumi_cli, tmp_path)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a small build context in `image/`, so that nothing is staged in the project."""
    context = tmp_path / "image"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (context / "requirements.txt").write_text("workspace-mcp==2.2.1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def deploy(workspace: Path, estate: Account, monkeypatch: pytest.MonkeyPatch) -> Deploy:
    """`deploy(config, preview=False, fails=False)` runs `__main__.py`; an error is raised unless `fails`."""

    def client(service: str) -> Any:
        kinds: dict[str, Any] = {"s3": S3, "kms": S3, "elbv2": Elbv2, "acm": Elbv2, "ecs": Ecs, "ecr": Ecr}
        kinds |= dict.fromkeys(("iam", "sns", "cloudwatch", "servicediscovery", "secretsmanager", "elasticache"), Named)
        if service not in kinds:
            raise NoCredentialsError  # So that what is asked beside these is asked of nobody.
        return kinds[service](estate)

    def deploy(config: dict[str, Any], *, preview: bool = False, fails: bool = False) -> Recorded:
        monkeypatch.setattr(account, "client", client)
        texts = {
            f"{settings.NAMESPACE}:{name}": value if isinstance(value, str) else json.dumps(value)
            for name, value in copy.deepcopy(config).items()
        }
        recorded = run(
            lambda: runpy.run_path(str(PROJECT / "__main__.py")) and None, estate, config=texts, preview=preview
        )
        if recorded.error and not fails:
            raise recorded.error
        assert bool(recorded.error) == fails, "the program ended well, but should not have"
        return recorded

    return deploy


@pytest.fixture
def production(deploy: Deploy, config: dict[str, Any]) -> Recorded:
    """What the production stack registers."""
    return deploy(config)
