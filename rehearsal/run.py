"""A rehearsal's parts: emulated account, estate, Docker engine, edge, and who deploys; started, used, and removed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
import traceback
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rich.console import Console

import checks
import policies
from checks import Check, deployment
from components import settings as configuration
from components.account import without_identity
from components.settings import Service, Settings
from engine.cli import BUILD, Cli, EngineMissing
from engine.deployment import Deployment, DeploymentFailed, Listener, Result
from engine.stack import Project, Providers, PulumiStack
from machine.environments import NotInstalled
from policies.rule import Registered
from providers import Context
from providers.docker_client import BuildFailed, NoEngine, PushFailed
from rehearsal import cache, estate, gaps
from rehearsal.base_images import NoBaseImage
from rehearsal.docker import Engine
from rehearsal.edge_process import Edge, listener_of, wait_for_target_health, wait_until_listening
from rehearsal.embedded import EmbeddedStack
from rehearsal.emulator import Account, Emulator, EmulatorError, ensure_installed
from rehearsal.google import Google, StandInError, Starting
from rehearsal.google import ensure_installed as ensure_stand_in
from rehearsal.kept import HOME, ROOT, Kept, RehearsalError, write_commands
from rehearsal.report import Narrator, Report

_KNOWN = (
    RehearsalError,
    EmulatorError,
    StandInError,
    NotInstalled,
    NoEngine,
    NoBaseImage,
    BuildFailed,
    PushFailed,
    EngineMissing,
)
"""Errors whose message says all there is to say."""


SPEAKS_WITH_GOOGLE = "WORKSPACE_MCP_TRANSPORT"
"""A variable that the task definitions of workspace-mcp have, and no others."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack's name, raw configuration, and settings."""

    name: str
    config: Mapping[str, str]
    settings: Settings

    @classmethod
    def read(cls, name: str) -> Stack:
        """From `Pulumi.<name>.yaml` of the project. Raises `SettingsError`."""
        config = configuration.read_stack_file(configuration.stack_file(name))
        # An emulated account takes anybody, and a profile or a role of the real one is not to be had there.
        return cls(name=name, config=without_identity(config), settings=configuration.parse(config))


def built_here(stack: Stack) -> tuple[Stack, list[str]]:
    """The stack for an account without images, and the services of it that are built in place of being pinned to one in
    their own repository, as a rollback leaves them."""
    pinned = [key for key, s in stack.settings.services.items() if (s.image.digest or "").startswith("sha256:")]
    if not pinned:
        return stack, []
    config, key = dict(stack.config), f"{configuration.NAMESPACE}:services"
    services = json.loads(config[key])
    for name in pinned:
        del services[name]["image"]["digest"]
    config[key] = json.dumps(services)
    return dataclasses.replace(stack, config=config, settings=configuration.parse(config)), pinned


def explain(error: Exception) -> str:
    """What went wrong, for a person: the program's own words, without a traceback where the cause is known."""
    if isinstance(error, DeploymentFailed):
        if error.deployment.preview:
            return str(error)
        done = ", ".join(
            f"{result.name} {result.action}" for result in error.deployment.resources if result.action != "same"
        )
        return f"{error}\nUntil then: {done or 'nothing was changed'}."
    if isinstance(error, _KNOWN):
        return str(error)
    return "".join(traceback.format_exception(error))


class Rehearsal:
    """A stack, an emulated account with its estate, a Docker engine and an edge; what the phases do, and tests use.

    Entering finds or starts all of it; leaving removes all that was started, unless it is to be kept.
    `stack.name` of a kept rehearsal: its account, state and edge are used again.

    Args:
        stack: what is deployed.
        keep: leave it running.
        narrator: is told what goes on.
        cli: Pulumi's, whose engine deploys; None: the embedded driver does. A kept one goes on as it began.
        providers: what carries resources out; the official ones need the engine.
    """

    engine: Engine | None
    account: Account
    deployer: PulumiStack | EmbeddedStack
    edge: Edge | None = None
    google: Google | None = None

    def __init__(
        self,
        stack: Stack,
        *,
        keep: bool = False,
        narrator: Narrator | None = None,
        cli: Cli | None = None,
        providers: Providers = "own",
    ) -> None:
        # What the official providers would make must be gone with the run: nobody else could read their state.
        self.kept = Kept.read(stack.name) if providers == "own" else None
        self.stack, pinned = (stack, []) if self.kept else built_here(stack)
        self.keep = keep or self.kept is not None
        self.cli = None if self.kept and self.kept.pulumi is None else cli
        self.providers = providers
        self.narrator = narrator or Narrator(Report(stack=stack.name), Console(), quiet=True)
        if pinned:
            self.narrator.report.unproven.append(gaps.PINNED_IMAGES.what.format(names=", ".join(pinned)))
        self.caches = [cache.Cache(**noted) for noted in self.kept.caches] if self.kept else []
        """What the stack keeps OAuth state in, where that is a cache."""
        self.outputs: dict[str, Any] = {}
        self.calls: list[dict[str, Any]] = []
        """Of official providers, as `./ops rights --calls` reads them; own ones are in each deployment's result."""
        self._cleanup = contextlib.ExitStack()
        self._goes_on = False

    def __enter__(self) -> Rehearsal:
        kept_account = self.kept.answering(self.stack.name) if self.kept else None
        if self.kept and self.kept.pulumi is not None and self.cli is None:
            raise RehearsalError(
                f"The kept rehearsal of {self.stack.name} is a stack on Pulumi's engine, which is not at hand. "
                f"Have it made: {BUILD}; or end the rehearsal: ./rehearse {self.stack.name} --stop"
            )
        with contextlib.ExitStack() as cleanup:
            self.engine = self._start_engine(cleanup)
            starting = self._start_google(cleanup)
            self.account = kept_account or self._start_account(cleanup)
            if self.kept is None:
                with self.narrator.phase("Estate") as detail:
                    estate.make(self.account, self.stack.settings)
                    detail.append(f"account {self.account.account}, {self.account.region}")
            if self.kept and self.kept.edge_url and self.kept.health_url:
                self.edge = Edge(url=self.kept.edge_url, health_url=self.kept.health_url, pid=self.kept.edge_pid)
            elif self.engine and (listener := listener_of(self.account, self.stack.settings)):
                self.edge = Edge.start(self.account, listener, outlive=self.keep)
                cleanup.callback(self._stop_edge, self.edge)
                if isinstance(self.account, Emulator):
                    self.account.target_health.write_text(self.edge.health_url)
            self.deployer = self._deployer(cleanup)
            if starting:
                starting.wait()
                self._start_caches(cleanup)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What failed is kept too: there is most to see. What was interrupted is not.
        self._goes_on = self.keep and self.kept is None and (error is None or isinstance(error, Exception))
        if self._goes_on:
            self.note().write(self.stack.name)
            if self.engine:
                self.engine.keep = True
            if isinstance(self.deployer, PulumiStack):
                variables = {**self.account.variables, **self._docker_variables(), **self.deployer.environment}
                assert self.cli
                file = write_commands(self.deployer.folder, self.cli, variables)
                self.narrator.print(f"pulumi in plain works on it: source {file.relative_to(ROOT)}; pulumi preview")
            kind = error = trace = None
        self._cleanup.__exit__(kind, error, trace)

    def _stop_edge(self, edge: Edge) -> None:
        if not self._goes_on:
            edge.stop()

    def note(self) -> Kept:
        """What operations need to find this rehearsal."""
        assert isinstance(self.account, Emulator)
        return Kept(
            emulator=self.account.kept,
            docker_host=self.engine.host if self.engine else None,
            edge_pid=self.edge.pid if self.edge else 0,
            edge_url=self.edge.url if self.edge else None,
            health_url=self.edge.health_url if self.edge else None,
            state=str(self.deployer.folder if isinstance(self.deployer, PulumiStack) else self.deployer.file),
            pulumi=dict(self.deployer.environment) if isinstance(self.deployer, PulumiStack) else None,
            google=self.google.noted if self.google else None,
            caches=[started.noted for started in self.caches],
        )

    def _docker_variables(self) -> dict[str, str]:
        if self.engine is None:
            return {}
        network = self.engine.client.network
        return {"DOCKER_HOST": self.engine.host, **({"DOCKER_BUILD_NETWORK": network} if network else {})}

    def _start_engine(self, cleanup: contextlib.ExitStack) -> Engine | None:
        with self.narrator.phase("Docker engine") as detail:
            try:
                engine = cleanup.enter_context(Engine(HOME / "docker"))
            except NoEngine as error:
                # The official Docker provider builds on a real engine or not at all.
                if os.environ.get("CI") == "true" or self.providers == "official":
                    raise
                self.narrator.report.unproven.append(gaps.SIMULATED.what.format(reason=error))
                detail.append("none: containers are simulated")
                return None
            detail.append(engine.host)
            return engine

    def _start_google(self, cleanup: contextlib.ExitStack) -> Starting | None:
        """Begin to start the stand-in for Google, for the servers that need one; a kept one is found again."""
        if self.kept:
            self.google = Google(**self.kept.google) if self.kept.google else None
            return None
        if self.engine is None or not any(s.server == "workspace-mcp" for s in self.stack.settings.services.values()):
            return None
        with self.narrator.phase("Stand-in for Google") as detail:
            starting = Starting(
                python=ensure_stand_in(ROOT), bridge_address=self.engine.bridge_address(), outlive=self.keep
            )
            self.google = cleanup.enter_context(starting)
            detail.append(self.google.proxy)
        return starting

    def _start_caches(self, cleanup: contextlib.ExitStack) -> None:
        """Start what the stack keeps OAuth state in, where that is a cache; a kept one goes on."""
        assert self.engine and self.google
        authority = Path(self.google.authority).with_name("mitmproxy-ca.pem")
        assert isinstance(self.account, Emulator)
        for wanted in cache.wanted(self.stack.settings.services.values()):
            with self.narrator.phase("Cache") as detail:
                started = cache.start(
                    wanted,
                    root=ROOT,
                    address=self.engine.bridge_address(),
                    authority=authority,
                    control=self.account.cache,
                )
                self.caches.append(started)
                cleanup.callback(self._stop_cache, started)
                detail.append(f"{', '.join(wanted.hosts)} at {started.address}")

    def _stop_cache(self, started: cache.Cache) -> None:
        if not self._goes_on:
            started.stop()

    def _added_to_containers(self) -> dict[str, Any]:
        """What the containers of servers are given that speak with Google: the way to it, and to the stack's caches."""
        assert self.engine and self.google
        wanted = cache.wanted(self.stack.settings.services.values())
        hosts = {host: self.engine.bridge_address() for each in wanted for host in each.hosts}
        return {"having": SPEAKS_WITH_GOOGLE, **self.google.container(), "hosts": hosts}

    def _start_account(self, cleanup: contextlib.ExitStack) -> Emulator:
        with self.narrator.phase("Emulated AWS") as detail:
            account, region = estate.account_and_region(self.stack.config)
            emulator = Emulator(
                account,
                region,
                python=ensure_installed(ROOT),
                docker_host=self.engine.host if self.engine else None,
                bridge_address=self.engine.bridge_address() if self.engine else None,
                ids=estate.pinned_ids(self.stack.settings),
                additions=self._added_to_containers() if self.google else None,
                private_names=len(self.stack.settings.services) > 1,
                outlive=self.keep,
            )
            cleanup.enter_context(emulator)
            detail.append(emulator.endpoint)
            return emulator

    def _deployer(self, cleanup: contextlib.ExitStack) -> PulumiStack | EmbeddedStack:
        if self.keep:
            folder = Kept.folder(self.stack.name)
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-stack-")))
        project = Project(directory=ROOT, name=configuration.NAMESPACE, stack=self.stack.name)
        own = Context(account=self.account, docker=_Images(self.engine) if self.engine else None, directory=ROOT)
        if self.cli is None:
            return EmbeddedStack(
                project,
                folder=folder,
                environment=self.account.whole_environment,
                context=own,
                policies=self._held_to_policies,
            )
        return PulumiStack(
            project,
            cli=self.cli,
            folder=folder,
            environment=self._docker_variables(),
            surroundings=self.account.environment,
            context=own if self.providers == "own" else None,
        )

    def _held_to_policies(self, registered: Iterable[Registered]) -> tuple[list[str], bool]:
        findings = policies.evaluate(registered, self.stack.settings.policy_exceptions)
        return list(findings.lines()), findings.stops

    def _configured(self) -> PulumiStack | EmbeddedStack:
        config = dict(self.stack.config)
        if self.engine:
            for service in self.stack.settings.services.values():
                if service.image.digest is None:
                    dockerfile = ROOT / service.image.context / service.image.dockerfile
                    self.engine.ensure_base_images(dockerfile, service.image.args, service.image.platform)
        if self.providers == "official":
            # There is no account behind these questions, and no name below the bucket's.
            config |= dict.fromkeys(
                ("aws:skipMetadataApiCheck", "aws:skipCredentialsValidation", "aws:s3UsePathStyle"), "true"
            )
        self.deployer.configure(config)
        return self.deployer

    def take_in(self, file: Path) -> None:
        """Take what the import file names into the state, as `pulumi import --file` does. Raises `RehearsalError`."""
        with self._command("Import", "import") as detail:
            try:
                taken = self._configured().take_in(file)
            except (OSError, ValueError, LookupError) as error:
                raise RehearsalError(
                    f"{file} cannot be imported: {error}. Write it anew: ./ops adopt --rehearsal --out {file}"
                ) from error
            detail.append(f"{len(taken)} resources taken into the state")

    @contextlib.contextmanager
    def _command(self, phase: str, kind: str) -> Iterator[list[str]]:
        """A phase with a command of the deployer; calls of official providers meanwhile are noted as of this `kind`."""
        try:
            with self.narrator.phase(phase) as detail:
                yield detail
        finally:
            if self.providers == "official" and isinstance(self.account, Emulator):
                known = self.account.official_calls()
                self.calls += [{**call, "phase": kind} for call in known[len(self.calls) :]]

    def deploy(
        self,
        stack: Stack | None = None,
        *,
        phase: str = "Deployment",
        kind: Literal["up", "update"] = "up",
        policies: bool = False,
    ) -> Deployment:
        """Deploy the stack (or `stack`, a changed configuration of it) onto the account. Raises `DeploymentFailed`.

        policies: hold it to them, which a preview before it has done otherwise.
        """
        self.stack = stack or self.stack
        with self._command(phase, kind) as detail:
            deployed = self._configured().up(self._progress(phase), policies=policies)
            detail.append(counted(deployed))
        self.outputs = dict(deployed.outputs)
        return deployed

    def preview(self, *, phase: str = "Preview", policies: bool = True) -> Deployment:
        """What `deploy` would do, held to the policies; nothing is made. Raises `DeploymentFailed`."""
        with self._command(phase, "preview") as detail:
            found = self._configured().preview(self._progress(phase), policies=policies)
            detail.append(counted(found))
        return found

    def refresh(self, *, phase: str = "Refresh") -> Deployment:
        """Read what there is into the state; what had drifted is changed. Raises `DeploymentFailed`."""
        with self._command(phase, "refresh") as detail:
            found = self.deployer.refresh(self._progress(phase))
            drifted = len(different(found))
            detail.append(f"{drifted} of {len(found.resources)} resources drifted" if drifted else "no drift")
        return found

    def destroy(self, *, phase: str = "Destroy") -> Deployment:
        """Delete all that was deployed. Raises `DeploymentFailed`."""
        with self._command(phase, "destroy") as detail:
            deleted = self.deployer.destroy(self._progress(phase))
            detail.append(counted(deleted))
        return deleted

    def _progress(self, phase: str) -> Listener:
        return lambda event: self.narrator.progress(f"{phase}: {event.name} {event.action or '...'}")

    def check(self) -> list[Check]:
        """All checks of all services, as a client and of the account."""
        services = self.stack.settings.services
        with ThreadPoolExecutor() as pool:
            results = list(pool.map(self._check_service, services.values()))
        several = len(services) > 1
        return [
            dataclasses.replace(check, name=f"{key}: {check.name}" if several else check.name)
            for key, found in zip(services, results, strict=True)
            for check in found
        ]

    def _check_service(self, service: Service) -> list[Check]:
        results: list[Check] = []
        expected = checks.expectations(service)
        if service.url and self.edge:
            results.append(wait_for_target_health(service, self.edge))
            results += checks.run(checks.address(service, service.url, self.edge.url), expected)
        elif task := deployment.task_address(self.account.client("ecs"), self.stack.settings, service):
            # As a consumer in the VPC: under the private name, which leads to the task's own address there.
            # Without a load balancer nobody has waited until it answers.
            wait_until_listening(task)
            url = self.outputs["services"][service.key]["internalUrl"]
            results += checks.run(checks.address(service, url, task), expected)
        deployed = deployment.of_service(self.stack.settings, service, self.outputs)
        return results + deployment.run(deployed, self.account.client, simulated=self.engine is None)


class _Images:
    """What builds and pushes: the engine's client as it is when it is asked, since base images change it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def build(self, context: Path, tag: str, **options: Any) -> object:
        return self._engine.client.build(context, tag, **options)

    def push(self, image: str, reference: str, username: str, password: str) -> str:
        return self._engine.client.push(image, reference, username, password)


def different(deployed: Deployment) -> list[Result]:
    """The resources that something was, or would be, done with."""
    return [result for result in deployed.resources if result.action != "same"]


def counted(deployed: Deployment) -> str:
    """For people."""
    return f"{len(different(deployed))} of {len(deployed.resources)} resources changed"
