"""A small program of a test's own, deployed to the emulated account by Pulumi's engine or the embedded driver."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.cli import Cli
from engine.deployment import Deployer, Deployment, Listener
from engine.reading import ByCli, ByFile
from engine.stack import Project, PulumiStack
from providers import Context
from rehearsal.embedded import EmbeddedStack
from rehearsal.emulator import Account

ACCOUNT, REGION = "758888582357", "us-east-1"

LOG_GROUP = "import pulumi, pulumi_aws as aws\nconfig = pulumi.Config()\n"


@dataclass
class Program:
    """A program of the test's, its state, and the account that it is deployed to by Pulumi's engine or the driver."""

    directory: Path
    account: Account
    name: str
    cli: Cli | None = None
    """None: the embedded driver deploys."""
    vpc: str = ""
    secret: str = ""
    """What the configuration has as `value`, encrypted. Default: it has none."""
    _stacks: dict[tuple[Any, float], PulumiStack] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.directory.parent / "stack"

    @property
    def resources(self) -> list[dict[str, Any]]:
        """What the state has."""
        deployer = self.deployer()
        if isinstance(deployer, EmbeddedStack):
            return ByFile(deployer.file).resources()
        assert isinstance(deployer, PulumiStack)
        return ByCli(stack="stack", directory=deployer.folder, environment=deployer.environment).resources()

    @property
    def state(self) -> str:
        """All that is remembered, as text; while a deployment writes it, without what it renames just then."""
        texts = []
        for file in self.folder.rglob("*.json*"):
            with suppress(FileNotFoundError, IsADirectoryError):
                texts.append(file.read_text())
        return "\n".join(texts)

    def deployer(self, docker: Any = None, steady_timeout: float = 40) -> Deployer:
        project = Project(directory=self.directory, name="project", stack="stack")
        context = Context(account=self.account, docker=docker, directory=self.directory, steady_timeout=steady_timeout)
        if self.cli is None:
            environment = self.account.whole_environment
            return EmbeddedStack(project, folder=self.folder, environment=environment, context=context)
        key = docker, steady_timeout
        if key not in self._stacks:
            self._stacks[key] = PulumiStack(
                project,
                cli=self.cli,
                folder=self.folder,
                environment={},
                surroundings=self.account.environment,
                context=context,
            )
        return self._stacks[key]

    def configured(
        self, source: str | None, docker: Any, steady_timeout: float, settings: Mapping[str, str]
    ) -> Deployer:
        if source is not None:
            (self.directory / "__main__.py").write_text(textwrap.dedent(source))
        config = {"name": self.name, "vpc": self.vpc} | ({"value": self.secret} if self.secret else {}) | dict(settings)
        deployer = self.deployer(docker, steady_timeout)
        deployer.configure(
            {"aws:region": REGION} | {f"project:{key}": value for key, value in config.items()},
            ["project:value"] if self.secret else [],
        )
        return deployer

    def deploy(
        self,
        source: str | None = None,
        *,
        docker: Any = None,
        steady_timeout: float = 40,
        progress: Listener | None = None,
        **settings: str,
    ) -> Deployment:
        return self.configured(source, docker, steady_timeout, settings).up(progress, policies=False)

    def preview(self, source: str | None = None, **settings: str) -> Deployment:
        return self.configured(source, None, 40, settings).preview(policies=False)

    def refresh(self) -> Deployment:
        return self.deployer().refresh()

    def destroy(self) -> Deployment:
        return self.deployer().destroy()


def actions(deployment: Deployment) -> dict[str, str]:
    return {result.name: result.action for result in deployment.resources}


def changes(deployment: Deployment) -> Mapping[str, set[str]]:
    return {result.name: set(result.changes) for result in deployment.resources if result.action != "same"}
