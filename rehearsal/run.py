"""The rehearsal itself: emulated account, estate, deployment, edge, checks, a second pass, and nothing left behind; on
an engine in this process, or on Pulumi's own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import pulumi
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

import checks
import policies
from checks import Check, deployment
from components import settings as configuration
from components.routing import target_group_name
from components.settings import Service, Settings
from policies.registrations import registrations
from policies.rule import Registered
from rehearsal import estate, inventory, monitor
from rehearsal.apart import NotInstalled
from rehearsal.docker import BuildFailed, Engine, NoBaseImage, NoEngine, PushFailed
from rehearsal.emulator import Account, Emulator, EmulatorError, ensure_installed, stop_kept
from rehearsal.engine import PulumiEngine, Run
from rehearsal.google import Google, StandInError, Starting
from rehearsal.google import ensure_installed as ensure_stand_in
from rehearsal.report import Narrator, Phase, Report, Row

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".rehearsal"
"""Caches that make the next rehearsal quick, and notes of kept ones."""

_HEALTH_FACTOR = 0.05
"""Target health is asked this much more often than configured, so that 2 x 30 s become 3 s; what it means is the
same."""

EngineName = Literal["in-process", "pulumi"]
"""What carries the deployment out: `rehearsal.monitor` in this process, or Pulumi's CLI with the official providers."""

_ONLY_THE_OTHER: Mapping[EngineName, str] = {
    "in-process": "Pulumi's engine and the providers' own code, with their diff, state and previews: "
    "./rehearse --engine pulumi runs them",
    "pulumi": "whether the emulator kept each property that it was given: the in-process engine reads it back, "
    "providers need not",
}

_BEYOND = (
    "TLS: the edge speaks plain HTTP; the listener's certificate is not exercised",
    "IAM: the emulated account allows every call, also what the roles' policies would deny",
    "the network: security groups, subnets and private DNS carry no traffic here",
)


class RehearsalError(Exception):
    """The rehearsal cannot go on; the message says why and what to do."""


_KNOWN = (
    RehearsalError,
    EmulatorError,
    StandInError,
    NotInstalled,
    NoEngine,
    NoBaseImage,
    BuildFailed,
    PushFailed,
    pulumi.RunError,
)
"""Errors whose message says all there is to say."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack's name, raw configuration, and settings."""

    name: str
    config: Mapping[str, str]
    settings: Settings

    @classmethod
    def read(cls, name: str) -> Stack:
        """From `Pulumi.<name>.yaml` of the project. Raises `SettingsError`."""
        config = configuration.read_stack_file(ROOT / f"Pulumi.{name}.yaml")
        return cls(name=name, config=config, settings=configuration.parse(config))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
    """A rehearsal that was left running, as noted in `.rehearsal/kept/<stack>.json`."""

    emulator: dict[str, Any]
    docker_host: str | None
    edge_pid: int
    edge_url: str | None
    health_url: str | None
    outputs: dict[str, Any]
    state: str
    """The file in which the monitor remembers what it registered."""
    google: dict[str, Any] | None = None
    """The stand-in for Google, where one runs."""

    @staticmethod
    def file(stack: str) -> Path:
        """Where the note is."""
        return HOME / "kept" / f"{stack}.json"

    @staticmethod
    def state_file(stack: str) -> Path:
        """Where the monitor remembers what it registered."""
        return HOME / "kept" / f"{stack}.state.json"

    @classmethod
    def read(cls, stack: str) -> Kept | None:
        """The note, or None if no rehearsal of the stack is kept."""
        try:
            # Of a rehearsal that an older version has kept, the note does not say where the state is.
            return cls(**{"state": str(cls.state_file(stack)), **json.loads(cls.file(stack).read_text())})
        except FileNotFoundError:
            return None

    def write(self, stack: str) -> None:
        """Note it."""
        self.file(stack).parent.mkdir(parents=True, exist_ok=True)
        self.file(stack).write_text(json.dumps(dataclasses.asdict(self), indent=2))

    def account(self) -> Account:
        """The emulated account, reached anew."""
        return Account(self.emulator["endpoint"], self.emulator["account"], self.emulator["region"])

    def answering(self, stack: str) -> Account:
        """The same. Raises `RehearsalError` if it does not answer any more."""
        account = self.account()
        try:
            account.client("sts").get_caller_identity()
        except (BotoCoreError, ClientError) as error:
            raise RehearsalError(
                f"The kept rehearsal of {stack} does not answer any more ({error}). "
                f"End it, and make another: ./rehearse {stack} --stop; ./rehearse {stack} --keep"
            ) from None
        return account


def stop(stack: str) -> bool:
    """End a kept rehearsal and remove what it left; False if there was none."""
    kept = Kept.read(stack)
    if kept is None:
        return False
    # The pid may be another program's by now.
    with contextlib.suppress(OSError):
        if kept.emulator["endpoint"].encode() in Path(f"/proc/{kept.edge_pid}/cmdline").read_bytes():
            os.kill(kept.edge_pid, signal.SIGTERM)
    stop_kept(kept.emulator)
    if kept.google:
        Google(**kept.google).stop()
    Kept.file(stack).unlink()
    Kept.state_file(stack).unlink(missing_ok=True)
    if not list(Kept.file(stack).parent.glob("*.json")):
        Engine(HOME / "docker").release()
    return True


def explain(error: Exception) -> str:
    """What went wrong, for a person: the program's own words, without a traceback where the cause is known."""
    if isinstance(error, monitor.DeploymentFailed):
        done = ", ".join(
            f"{result.name} {result.action}" for result in error.deployment.resources if result.action != "same"
        )
        cause = error.__cause__ or error
        return f"{cause}\nUntil then: {done or 'nothing was changed'}."
    if isinstance(error, _KNOWN):
        return str(error)
    return "".join(traceback.format_exception(error))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edge:
    """The load balancer's data plane, as a process of its own."""

    url: str
    health_url: str
    pid: int
    process: subprocess.Popen[bytes] | None = None
    """None for one that an earlier run left."""

    @classmethod
    def start(cls, account: Account, listener: str, *, outlive: bool) -> Edge:
        """Start the process; `outlive`: it goes on when this one is killed."""
        command = [sys.executable, "-m", "rehearsal.edge", "--endpoint", account.endpoint, "--listener", listener]
        command += ["--health-interval-factor", str(_HEALTH_FACTOR), *([] if outlive else ["--follow-parent"])]
        log = HOME / "edge.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert process.stdout
        try:
            line = process.stdout.readline()
            if not line:
                raise RehearsalError(f"The edge did not start: {log.read_text().strip()}")
            return cls(pid=process.pid, process=process, **json.loads(line))
        except BaseException:
            process.kill()
            process.wait()
            raise

    def stop(self) -> None:
        """End the process."""
        if self.process:
            self.process.terminate()
            self.process.wait(10)

    def health(self) -> dict[str, list[dict[str, Any]]]:
        """Target group name -> targets, in AWS's words."""
        import httpx2

        with httpx2.Client(trust_env=False) as client:
            found: dict[str, list[dict[str, Any]]] = client.get(self.health_url, timeout=5).json()
            return found


class Rehearsal:
    """A stack, an emulated account with its estate, a Docker engine and an edge; what the phases do, and tests use.

    Entering finds or starts all of it; leaving removes all that was started, unless it is to be kept.
    `stack.name` of a kept rehearsal: its account, state and edge are used again.
    """

    engine: Engine | None
    account: Account
    edge: Edge | None = None
    google: Google | None = None
    pulumi: PulumiEngine | None = None
    """What deploys, where it is not the monitor."""
    estate: inventory.Inventory
    """What the account contained before the first deployment, where Pulumi's engine deploys."""

    def __init__(
        self, stack: Stack, *, keep: bool = False, narrator: Narrator | None = None, engine: EngineName = "in-process"
    ) -> None:
        self.stack = stack
        self.engine_name = engine
        # What Pulumi's engine made it also destroys, so it has an account of its own.
        self.kept = Kept.read(stack.name) if engine == "in-process" else None
        self.keep = keep or self.kept is not None
        self.narrator = narrator or Narrator(Report(stack=stack.name), Console(), quiet=True)
        self.outputs: dict[str, Any] = {}
        self._cleanup = contextlib.ExitStack()
        self._goes_on = False

    def __enter__(self) -> Rehearsal:
        kept_account = self.kept.answering(self.stack.name) if self.kept else None
        with contextlib.ExitStack() as cleanup:
            self.engine = self._start_engine(cleanup)
            starting = self._start_google(cleanup)
            self.account = kept_account or self._start_account(cleanup)
            self._state = Kept.state_file(self.stack.name)
            if not self.keep:
                folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-"))
                self._state = Path(folder) / "state.json"
            if self.kept is None:
                with self.narrator.phase("Estate") as detail:
                    estate.make(self.account, self.stack.settings)
                    detail.append(f"account {self.account.account}, {self.account.region}")
            if self.engine_name == "pulumi":
                self._start_pulumi(cleanup)
            if self.kept and self.kept.edge_url and self.kept.health_url:
                self.edge = Edge(url=self.kept.edge_url, health_url=self.kept.health_url, pid=self.kept.edge_pid)
            elif self.engine and (listener := _listener(self.account, self.stack.settings)):
                self.edge = Edge.start(self.account, listener, outlive=self.keep)
                cleanup.callback(self._stop_edge, self.edge)
                if isinstance(self.account, Emulator):
                    self.account.target_health.write_text(self.edge.health_url)
            if starting:
                starting.wait()
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
            kind = error = trace = None
        elif self.kept and self.outputs:
            dataclasses.replace(self.kept, outputs=self.outputs).write(self.stack.name)
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
            outputs=self.outputs,
            state=str(self._state),
            google=self.google.noted if self.google else None,
        )

    def _start_engine(self, cleanup: contextlib.ExitStack) -> Engine | None:
        with self.narrator.phase("Docker engine") as detail:
            try:
                engine = cleanup.enter_context(Engine(HOME / "docker"))
            except NoEngine as error:
                # The Docker provider builds on a real engine or not at all.
                if os.environ.get("CI") == "true" or self.engine_name == "pulumi":
                    raise
                self.narrator.report.unproven.append(
                    f"the image, the containers, and what a client sees: simulated or not asked, because {error}"
                )
                detail.append("none: containers are simulated")
                return None
            detail.append(engine.host)
            return engine

    def _start_google(self, cleanup: contextlib.ExitStack) -> Starting | None:
        """Begin to start the stand-in for Google, for the servers that need one; a kept one is found again."""
        if self.kept:
            self.google = Google(**self.kept.google) if self.kept.google else None
            return None
        if self.engine is None or not self._families():
            return None
        with self.narrator.phase("Stand-in for Google") as detail:
            starting = Starting(
                python=ensure_stand_in(ROOT), bridge_address=self.engine.bridge_address(), outlive=self.keep
            )
            self.google = cleanup.enter_context(starting)
            detail.append(self.google.proxy)
        return starting

    def _families(self) -> list[str]:
        """Task definition families of the servers that speak with Google."""
        return [s.name for s in self.stack.settings.services.values() if s.server == "workspace-mcp"]

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
                additions=dict.fromkeys(self._families(), self.google.container()) if self.google else None,
                outlive=self.keep,
                real_registry=self.engine_name == "pulumi",
            )
            cleanup.enter_context(emulator)
            detail.append(emulator.endpoint)
            return emulator

    def take_in(self, file: Path) -> None:
        """Take what the import file names into the state, as `pulumi import --file` does. Raises `RehearsalError`."""
        with self.narrator.phase("Import") as detail:
            try:
                if self.pulumi:
                    self._configure_pulumi(self.pulumi)
                    taken = self.pulumi.take_in(file)
                else:
                    taken = monitor.take_in(
                        file,
                        project=configuration.NAMESPACE,
                        stack=self.stack.name,
                        account=self.account,
                        state=self._state,
                    )
            except (OSError, ValueError, LookupError) as error:
                raise RehearsalError(
                    f"{file} cannot be imported: {error}. Write it anew: ./ops adopt --rehearsal --out {file}"
                ) from error
            detail.append(f"{len(taken)} resources taken into the state")

    def _start_pulumi(self, cleanup: contextlib.ExitStack) -> None:
        assert self.engine
        self.estate = inventory.read(self.account)
        folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-pulumi-"))
        self.pulumi = PulumiEngine(
            ROOT,
            project=configuration.NAMESPACE,
            stack=self.stack.name,
            account=self.account,
            docker_host=self.engine.host,
            folder=Path(folder),
        )

    def deploy(self, stack: Stack | None = None, *, phase: str = "Deployment") -> monitor.Deployment:
        """Deploy the stack (or `stack`, a changed configuration of it) onto the account. Raises `DeploymentFailed`."""
        self.stack = stack or self.stack
        with self.narrator.phase(phase) as detail:
            progress = self._progress(phase)
            if self.pulumi:
                self._configure_pulumi(self.pulumi)
                deployed = self.pulumi.deploy(progress).deployment
            else:
                deployed = monitor.deploy(
                    ROOT,
                    project=configuration.NAMESPACE,
                    stack=self.stack.name,
                    config=dict(self.stack.config),
                    account=self.account,
                    docker=_Images(self.engine) if self.engine else None,
                    state=self._state,
                    progress=progress,
                )
            detail.append(_counted(deployed))
        self.outputs = dict(deployed.outputs)
        return deployed

    def preview(self, *, phase: str) -> Run:
        """What Pulumi's engine would do, held to the policy pack; nothing is made. Raises `DeploymentFailed`."""
        assert self.pulumi
        with self.narrator.phase(phase) as detail:
            self._configure_pulumi(self.pulumi)
            run = self.pulumi.preview(self._progress(phase))
            detail.append(_counted(run.deployment))
        return run

    def destroy(self, *, phase: str = "Destroy") -> monitor.Deployment:
        """Delete all that was deployed. Raises `DeploymentFailed`."""
        with self.narrator.phase(phase) as detail:
            progress = self._progress(phase)
            if self.pulumi:
                deleted = self.pulumi.destroy(progress).deployment
            else:
                deleted = monitor.destroy(account=self.account, state=self._state, progress=progress)
            detail.append(_counted(deleted))
        return deleted

    def _progress(self, phase: str) -> Callable[[monitor.Progress], None]:
        return lambda event: self.narrator.progress(f"{phase}: {event.name} {event.action or '...'}")

    def _configure_pulumi(self, pulumi: PulumiEngine) -> None:
        assert self.engine
        for service in self.stack.settings.services.values():
            if service.image.digest is None:
                dockerfile = ROOT / service.image.context / service.image.dockerfile
                self.engine.ensure_base_images(dockerfile, service.image.args, service.image.platform)
        pulumi.configure(self.stack.config)

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
            results.append(_wait_for_target_health(service, self.edge))
            results += checks.run(checks.address(service, service.url, self.edge.url), expected)
        elif task := task_address(self.account.client("ecs"), self.stack.settings, service):
            # As a consumer in the VPC: under the private name, which leads to the task's own address there.
            # Without a load balancer nobody has waited until it answers.
            _wait_until_listening(task)
            url = self.outputs["services"][service.key]["internalUrl"]
            results += checks.run(checks.address(service, url, task), expected)
        deployed = deployment.of_service(self.stack.settings, service, self.outputs)
        return results + deployment.run(deployed, self.account.client, simulated=self.engine is None)


def task_address(ecs: Any, settings: Settings, service: Service) -> str | None:
    """`http://address:port` of one of the service's tasks; None while none runs as a container."""
    arns = ecs.list_tasks(cluster=settings.estate.cluster, serviceName=f"{service.name}-service")["taskArns"]
    tasks = ecs.describe_tasks(cluster=settings.estate.cluster, tasks=arns)["tasks"] if arns else []
    details = [detail for task in tasks for each in task.get("attachments", []) for detail in each["details"]]
    found = next((detail["value"] for detail in details if detail["name"] == "privateIPv4Address"), None)
    return f"http://{found}:{service.port}" if found else None


def rehearse(
    stack: Stack, narrator: Narrator, *, keep: bool, adopt: Path | None = None, engine: EngineName = "in-process"
) -> None:
    """Run all phases; the outcome is in the narrator's report. Whatever happens, nothing but a kept rehearsal stays.

    adopt: an import file, taken in before the deployment (in process only).
    """
    report = narrator.report
    cleaning = time.monotonic()
    try:
        with Rehearsal(stack, keep=keep, narrator=narrator, engine=engine) as rehearsal:
            try:
                if engine == "pulumi":
                    _on_pulumi(rehearsal, narrator)
                else:
                    _in_process(rehearsal, narrator, adopt)
            finally:
                cleaning = time.monotonic()
    finally:
        if not keep:
            report.phases.append(Phase(name="Cleaning up", seconds=time.monotonic() - cleaning, detail=""))


def _in_process(rehearsal: Rehearsal, narrator: Narrator, adopt: Path | None) -> None:
    stack, report = rehearsal.stack, narrator.report
    with narrator.phase("Policies") as detail:
        _hold_to_policies(registrations(stack.config, stack=stack.name), stack, report)
        detail.append("before anything is made")
    if adopt:
        rehearsal.take_in(adopt)
    deployed = rehearsal.deploy()
    # Again, now that all values are known.
    _hold_to_policies(deployed.registrations, stack, report)
    _show(rehearsal, deployed, narrator)
    _check(rehearsal, narrator)
    _refuse_changes(rehearsal.deploy(phase="Second pass"), "A second deployment of the same program")


def _on_pulumi(rehearsal: Rehearsal, narrator: Narrator) -> None:
    report = narrator.report
    report.policies = rehearsal.preview(phase="Preview").policies
    _show(rehearsal, rehearsal.deploy(), narrator)
    _check(rehearsal, narrator)
    _refuse_changes(rehearsal.preview(phase="Second preview").deployment, "A preview of the same program, deployed,")
    with tempfile.TemporaryDirectory(prefix="rehearsal-context-") as folder:
        if changed := with_changed_image(rehearsal.stack, Path(folder)):
            updated = rehearsal.deploy(changed, phase="Changed image")
            if not any(result.type == "aws:ecs/service:Service" for result in _different(updated)):
                raise RehearsalError("The image was changed and deployed, but no ECS service was updated")
            _check(rehearsal, narrator, "after the update: ")
        else:
            report.unproven.append("an update with a changed image: every service uses a finished one")
        rehearsal.destroy()
    with narrator.phase("Nothing left") as detail:
        detail.append(_look_for_remains(rehearsal))


def _show(rehearsal: Rehearsal, deployed: monitor.Deployment, narrator: Narrator) -> None:
    report = narrator.report
    report.resources = [_row(result) for result in deployed.resources]
    report.outputs = rehearsal.outputs
    narrator.show_resources()
    narrator.show_outputs()
    narrator.show_policies()
    if rehearsal.google:
        report.unproven.append("Google: a stand-in signs users in and answers the server's calls")
    _note_unproven(report.unproven, deployed, rehearsal.engine, rehearsal.engine_name)


def _check(rehearsal: Rehearsal, narrator: Narrator, when: str = "") -> None:
    with narrator.phase("Checks") as detail:
        found = [dataclasses.replace(check, name=f"{when}{check.name}") for check in rehearsal.check()]
        narrator.report.checks += found
        whom = "as a client and of the account" if rehearsal.engine else "of the account alone"
        detail.append(f"{len(found)}, asked {whom}")
    narrator.show_checks(found)


def _different(deployed: monitor.Deployment) -> list[monitor.Result]:
    return [result for result in deployed.resources if result.action != "same"]


def _counted(deployed: monitor.Deployment) -> str:
    return f"{len(_different(deployed))} of {len(deployed.resources)} resources changed"


def _refuse_changes(deployed: monitor.Deployment, what: str) -> None:
    if different := _different(deployed):
        names = "; ".join(f"{result.name} {result.action} {', '.join(result.changes)}" for result in different)
        raise RehearsalError(f"{what} must change nothing, but: {names}")


def with_changed_image(stack: Stack, folder: Path) -> Stack | None:
    """The stack with another image for each service that builds one: the same Dockerfile with one more label.

    The changed contexts are put into `folder`. None if every service uses a finished image.
    """
    config = dict(stack.config)
    key = f"{configuration.NAMESPACE}:services"
    services = json.loads(config[key])
    built = [service for service in stack.settings.services.values() if service.image.digest is None]
    for service in built:
        context = folder / service.key
        shutil.copytree(ROOT / service.image.context, context, symlinks=True)
        with (context / service.image.dockerfile).open("a") as dockerfile:
            dockerfile.write("\nLABEL rehearsal.update=true\n")
        services[service.key].setdefault("image", {})["context"] = str(context)
    config[key] = json.dumps(services)
    return dataclasses.replace(stack, config=config, settings=configuration.parse(config)) if built else None


def _look_for_remains(rehearsal: Rehearsal) -> str:
    """Hold the account against what it was before the first deployment; what is left on purpose.

    Raises `RehearsalError` for anything else of ours, and where the estate was touched.
    """
    now = inventory.read(rehearsal.account)
    left = inventory.added(rehearsal.estate, now)
    # Revisions are kept, so that there is one to go back to (skipDestroy), and what protects a bucket (retainOnDelete).
    kept = [key for key in left if key.startswith(("task definition ", inventory.BUCKET_SETTING))]
    wrong = [f"{key} is left" for key in left if key not in kept] + inventory.changed(rehearsal.estate, now)
    if wrong:
        raise RehearsalError("After the destroy the account must be as it was before, but:\n" + "\n".join(wrong))
    return f"all {len(rehearsal.estate)} things of the estate are as before; kept on purpose: {', '.join(kept)}"


def compare(stack: Stack, narrator: Narrator) -> None:
    """Deploy by both engines, each into an account of its own, and hold what is there then against each other.

    Raises `RehearsalError` where the accounts differ in more than identifiers.
    """
    with (
        Rehearsal(stack, narrator=narrator) as first,
        Rehearsal(stack, narrator=narrator, engine="pulumi") as second,
    ):
        first.deploy(phase="Deployment in process")
        _show(second, second.deploy(phase="Deployment by Pulumi"), narrator)
        with narrator.phase("Comparison") as detail:
            if different := inventory.compare(first.account, second.account):
                raise RehearsalError(
                    "The engines (first: in process, second: Pulumi's) left different accounts:\n"
                    + "\n".join(different)
                )
            detail.append(f"{len(inventory.read(first.account))} things, equal but for identifiers")


class _Images:
    """The engine, with base images seen to before each build."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.push = engine.push

    def build(
        self,
        context: Path,
        tag: str,
        *,
        dockerfile: Path | None,
        platform: str | None,
        args: Mapping[str, str] | None,
        target: str | None,
    ) -> object:
        substituted = self._engine.ensure_base_images(dockerfile or context / "Dockerfile", args, platform)
        # A stand-in's build reaches the package index as this machine does, through whatever proxy that takes.
        network = "host" if substituted else None
        return self._engine.build(
            context, tag, dockerfile=dockerfile, platform=platform, args=args, target=target, network=network
        )


def _hold_to_policies(registered: Sequence[Registered], stack: Stack, report: Report) -> None:
    """Raises `RehearsalError` where a mandatory rule is broken; the rest goes into the report."""
    findings = policies.evaluate(registered, stack.settings.policy_exceptions)
    report.policies = list(findings.lines())
    if findings.stops:
        raise RehearsalError("The policies stop this deployment:\n" + "\n".join(report.policies))


def _row(resource: monitor.Result) -> Row:
    return Row(
        name=resource.name,
        type=resource.type.split(":", 1)[0] + ":" + resource.type.rsplit(":", 1)[-1],
        action=resource.action,
        seconds=resource.seconds,
        changes={name: f"{change.before} -> {change.after}" for name, change in resource.changes.items()},
        recorded_only=resource.recorded_only,
    )


def _note_unproven(
    unproven: list[str], deployed: monitor.Deployment, engine: Engine | None, engine_name: EngineName
) -> None:
    if engine:
        unproven += [
            f"base image {name}: could not be pulled, a Debian made here stood in for it" for name in engine.stand_ins
        ]
    reasons: dict[str, set[str]] = {}
    for resource in deployed.resources:
        for name, reason in resource.recorded_only.items():
            reasons.setdefault(reason, set()).add(f"{resource.type.rsplit(':', 1)[-1]}.{name}")
    unproven += [f"{', '.join(sorted(names))}: recorded only, {reason}" for reason, names in reasons.items()]
    unproven += (*_BEYOND, _ONLY_THE_OTHER[engine_name])


def _listener(account: Account, settings: Settings) -> str | None:
    if settings.estate.load_balancer is None or not any(service.public for service in settings.services.values()):
        return None
    elb = account.client("elbv2")
    balancer = elb.describe_load_balancers(Names=[settings.estate.load_balancer])["LoadBalancers"][0]["LoadBalancerArn"]
    listeners = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
    arns: dict[int, str] = {listener["Port"]: listener["ListenerArn"] for listener in listeners}
    return arns[settings.estate.listener_port]


def _wait_until_listening(origin: str) -> None:
    """Wait, for at most 30 s, until connections to `http://address:port` are accepted."""
    host, port = origin.removeprefix("http://").split(":")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.1)


def _wait_for_target_health(service: Service, edge: Edge) -> Check:
    """Target health as the load balancer asks for it: the group's own path, port, matcher and thresholds."""
    started, limit = time.monotonic(), 60.0
    while True:
        targets = edge.health().get(target_group_name(service), [])
        # One that drains belongs to a task that is on its way out.
        states = [target["state"] for target in targets if target["state"] != "draining"]
        waiting = not states or any(state in ("initial", "unhealthy") for state in states)
        if not waiting or time.monotonic() - started > limit:
            break
        time.sleep(0.1)
    told = [
        f"{t['target']}:{t['port']} {t['state']}{' (' + t['description'] + ')' if t.get('description') else ''}"
        for t in targets
    ]
    return Check(
        name="the load balancer finds its targets healthy",
        passed=not waiting,
        detail=", ".join(told) or "no target is registered",
        remedy="compare health.path and port with what the server answers on; see its log",
        seconds=time.monotonic() - started,
    )
