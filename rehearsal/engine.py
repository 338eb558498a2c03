"""Deploys the program with Pulumi's own engine into the emulated account: its state, diff, previews and policies, and
the official providers.

Driven by the Automation API. All that belongs to the run lies in a folder of its own: project file, stack file, state;
the user's stack files, backend and login are neither read nor touched. Plugins are those that the user has, or are
installed where Pulumi keeps them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from pulumi import automation
from pulumi.automation import events

from rehearsal.calls import handlers
from rehearsal.emulator import Account
from rehearsal.monitor import SECRET, Action, Change, Deployment, DeploymentFailed, Progress, Result

INSTALL = "https://www.pulumi.com/docs/iac/download-install/"
POLICY_PACK = Path("policies")
"""The program's policy pack, below its directory."""

_PROVIDERS = {"aws": "pulumi-aws", "docker": "pulumi-docker"}
"""Resource plugins that the program needs, each with the package whose version they have."""

_ACTIONS: Mapping[events.OpType, Action] = {
    events.OpType.SAME: "same",
    events.OpType.CREATE: "created",
    events.OpType.UPDATE: "changed",
    events.OpType.REPLACE: "replaced",
    events.OpType.DELETE: "deleted",
    events.OpType.IMPORT: "imported",
}
"""Logical steps; what a replacement consists of is told once, as the replacement."""


_SAID_OTHERWISE: Mapping[str, Mapping[str, str]] = {
    "aws:cloudwatch/metricAlarm:MetricAlarm": {
        "statistic": "DescribeAlarms of the emulator names an average beside an extended statistic; AWS names none"
    }
}
"""Type -> property -> what the emulator answers otherwise than AWS, beside what the handlers know to be unstored."""


class EngineMissing(Exception):
    """Pulumi's CLI, or a plugin that the program needs, is not there and cannot be had.

    The message names each, says why, and how to get it.
    """


def available() -> bool:
    """Whether `pulumi` is on the PATH."""
    return shutil.which("pulumi") is not None


def ensure() -> str:
    """Have the CLI, its Python support, and the providers of the program's versions; the CLI's version.

    Installs a missing provider, as the engine itself would at its first use. Raises `EngineMissing` with all that is
    missing.
    """
    command = shutil.which("pulumi")
    if command is None:
        raise EngineMissing(
            "Pulumi's own engine cannot be used: there is no pulumi on the PATH.\n"
            f"  do  install the Pulumi CLI ({INSTALL}), or run without --engine pulumi"
        )
    workspace = automation.LocalWorkspace(work_dir=str(Path(command).parent))
    missing = []
    if not _beside(command, "pulumi-language-python"):
        missing.append(
            f"  the language host pulumi-language-python, which comes with the CLI, is not beside {command}\n"
            f"      do  install the whole of Pulumi's CLI: {INSTALL}"
        )
    for name, package in _PROVIDERS.items():
        version = f"v{metadata.version(package)}"
        if reason := _install(workspace, command, name, version):
            missing.append(
                f"  the provider {name} {version} cannot be installed: {reason}\n"
                f"      do  pulumi plugin install resource {name} {version}, or put pulumi-resource-{name} on the PATH"
            )
    if missing:
        raise EngineMissing("Pulumi's own engine cannot be used; missing:\n" + "\n".join(missing))
    return str(workspace.pulumi_version)


def _install(workspace: automation.LocalWorkspace, command: str, name: str, version: str) -> str:
    """Why a provider cannot be had; empty when it is there, or was installed."""
    # What is on the PATH, the engine takes before anything else.
    if _beside(command, f"pulumi-resource-{name}"):
        return ""
    installed = {(plugin.name, str(plugin.version)) for plugin in workspace.list_plugins()}
    if (name, version.removeprefix("v")) in installed:
        return ""
    try:
        with commands_end_with_us():
            workspace.install_plugin(name, version)
    except automation.CommandError as error:
        lines = [line for line in str(error).splitlines() if "error:" in line] or str(error).splitlines()
        return lines[-1].strip().removeprefix("stderr:").strip()
    return ""


def _beside(command: str, plugin: str) -> bool:
    return shutil.which(plugin) is not None or (Path(command).resolve().parent / plugin).is_file()


@dataclass
class Run:
    """What one command of the engine did, or would do."""

    deployment: Deployment = field(default_factory=Deployment)
    policies: list[str] = field(default_factory=list)
    """What the policy pack reported, a line each."""


class PulumiEngine:
    """One stack on Pulumi's own engine.

    Args:
        directory: holds the program's `__main__.py`, and its policy pack.
        project: project name, from Pulumi.yaml.
        stack: stack name.
        account: a running emulated account, with `real_registry`.
        docker_host: address of a Docker engine, which builds and pushes.
        folder: an empty folder for project file, stack file and state; it must outlive this object.
    """

    def __init__(
        self, directory: Path, *, project: str, stack: str, account: Account, docker_host: str, folder: Path
    ) -> None:
        self._directory, self._account, self._folder = directory, account, folder
        (folder / "state").mkdir(parents=True)
        # The program runs in its own directory; only what is the run's is here.
        project_file = {
            "name": project,
            "main": str(directory),
            "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}},
        }
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(project_file))
        environment = {
            "DOCKER_HOST": docker_host,
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": secrets.token_urlsafe(),
            "PULUMI_CONFIG_PASSPHRASE_FILE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        workspace = automation.LocalWorkspace(work_dir=str(folder), env_vars=environment, secrets_provider="passphrase")
        self._stack_file = folder / f"Pulumi.{stack}.yaml"
        self._stack = automation.Stack.create(stack, workspace)
        self._salt = yaml.safe_load(self._stack_file.read_text())

    def configure(self, config: Mapping[str, str]) -> None:
        """Set the stack's configuration: full key -> text, objects as JSON."""
        emulated = {
            # There is no account behind these questions, and no name below the bucket's.
            "aws:skipMetadataApiCheck": "true",
            "aws:skipCredentialsValidation": "true",
            "aws:s3UsePathStyle": "true",
        }
        self._stack_file.write_text(yaml.safe_dump({**self._salt, "config": {**config, **emulated}}))

    def take_in(self, file: Path) -> list[str]:
        """`pulumi import --file`: into the state alone. The names of what was taken in.

        Raises `ValueError` for a file that is none, and `LookupError` with what the engine said.
        """
        resources = json.loads(file.read_text())["resources"]
        try:
            with self._account.environment(), commands_end_with_us():
                self._stack.import_resources(resources=resources, protect=False, generate_code=False)
        except automation.CommandError as error:
            raise LookupError(_last(str(error))) from error
        return [resource["name"] for resource in resources if not resource.get("component")]

    def preview(self, progress: Callable[[Progress], None] | None = None) -> Run:
        """What `deploy` would do, held to the policy pack. Raises `DeploymentFailed`, for a mandatory policy too."""
        return self._run(self._stack.preview, progress, policy_packs=[str(self._directory / POLICY_PACK)])

    def deploy(self, progress: Callable[[Progress], None] | None = None) -> Run:
        """`pulumi up`, held to the policy pack. Raises `DeploymentFailed`."""
        run = self._run(self._stack.up, progress, policy_packs=[str(self._directory / POLICY_PACK)])
        outputs = self._stack.outputs()
        run.deployment.outputs = {name: SECRET if entry.secret else entry.value for name, entry in outputs.items()}
        return run

    def destroy(self, progress: Callable[[Progress], None] | None = None) -> Run:
        """`pulumi destroy`. Raises `DeploymentFailed`."""
        return self._run(self._stack.destroy, progress)

    def _run(self, command: Callable[..., Any], progress: Callable[[Progress], None] | None, **options: Any) -> Run:
        heard = Events(progress)
        started = time.monotonic()
        try:
            with self._account.environment(), commands_end_with_us():
                command(on_event=heard, color="never", suppress_progress=True, **options)
        except automation.CommandError as error:
            reason = EngineError(heard.errors or [_last(str(error))])
            raise DeploymentFailed(heard.run.deployment, reason) from reason
        finally:
            heard.run.deployment.seconds = time.monotonic() - started
        return heard.run


@contextlib.contextmanager
def commands_end_with_us() -> Iterator[None]:
    """Meanwhile a signal that ends this process kills what it has started since, with all that this started, first.

    Otherwise both would wait: this process for the command, and the command for what it makes. State and account are
    the run's own, so an orderly end would save nothing. To be entered in the main thread, or it does nothing.
    """
    own = os.getpid()
    others = set(_children(own))

    def interrupt(number: int, frame: FrameType | None) -> None:
        started = [child for child in _children(own) if child not in others]
        for pid in [*started, *(below for child in started for below in _descendants(child))]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        handlers_before[number](number, frame)

    handlers_before: dict[int, Callable[..., Any]] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)
            if callable(before):
                handlers_before[number] = before
                signal.signal(number, interrupt)
    try:
        yield
    finally:
        for each, before in handlers_before.items():
            if signal.getsignal(each) is interrupt:
                signal.signal(each, before)


def _children(pid: int) -> list[int]:
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # Gone meanwhile.
            found += [int(child) for child in children.read_text().split()]
    return found


def _descendants(pid: int) -> list[int]:
    return [found for child in _children(pid) for found in (child, *_descendants(child))]


class EngineError(Exception):
    """What the engine, a provider or a mandatory policy said, a paragraph each."""

    def __init__(self, said: list[str]) -> None:
        super().__init__("\n".join(said))


def _last(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-15:])


class Events:
    """Makes of the engine's events what the monitor tells of its own work. Called with each event, from any thread."""

    def __init__(self, progress: Callable[[Progress], None] | None = None) -> None:
        self.run = Run()
        self.errors: list[str] = []
        """What the engine, a provider or a mandatory policy said, in order."""
        self._progress = progress or (lambda _event: None)
        self._begun: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, event: events.EngineEvent) -> None:
        with self._lock:
            if event.resource_pre_event:
                self._begin(event.resource_pre_event.metadata)
            elif event.res_outputs_event:
                self._end(event.res_outputs_event.metadata, _ACTIONS.get(event.res_outputs_event.metadata.op))
            elif event.res_op_failed_event:
                self._end(event.res_op_failed_event.metadata, "failed")
            elif event.diagnostic_event:
                self._diagnose(event.diagnostic_event)
            elif event.policy_event:
                self._hold(event.policy_event)

    def _begin(self, step: events.StepEventMetadata) -> None:
        self._begun.setdefault(step.urn, time.monotonic())
        if _counts(step):
            self._progress(Progress(step.urn, step.type, _name(step.urn), None))

    def _end(self, step: events.StepEventMetadata, action: Action | None) -> None:
        if action is None or not _counts(step):
            return
        seconds = time.monotonic() - self._begun.get(step.urn, time.monotonic())
        inputs = (step.new.inputs if step.new else None) or {}
        kind = handlers.get(step.type)
        recorded = {name: why for name, why in (kind.recorded_only if kind else {}).items() if name in inputs}
        changes = _changes(step)
        gaps = {**(kind.recorded_only if kind else {}), **_SAID_OTHERWISE.get(step.type, {})}
        if action == "changed" and changes and changes.keys() <= gaps.keys():
            # Each preview finds these anew. The report names them.
            action, changes, recorded = "same", {}, recorded | {name: gaps[name] for name in changes}
        result = Result(step.urn, step.type, _name(step.urn), action, seconds, changes, recorded)
        self.run.deployment.resources.append(result)
        self._progress(Progress(step.urn, step.type, result.name, action, seconds))

    def _diagnose(self, event: events.DiagnosticEvent) -> None:
        text = _plain(event.message).strip()
        if not text or event.ephemeral:
            return
        severity = {"info#err": "info"}.get(event.severity, event.severity)
        self.run.deployment.messages.append((severity, text))
        if severity == "error":
            self.errors.append(f"{_name(event.urn)}: {text}" if event.urn else text)

    def _hold(self, event: events.PolicyEvent) -> None:
        line = f"{event.enforcement_level}: {event.policy_name}: {' '.join(_plain(event.message).split())}"
        self.run.policies.append(line)
        if event.enforcement_level == "mandatory":
            self.errors.append(line)


def _counts(step: events.StepEventMetadata) -> bool:
    """Whether it is a resource of the program's that a provider looks after."""
    state = step.new or step.old
    return bool(state and state.custom) and not step.type.startswith("pulumi:")


def _name(urn: str) -> str:
    return urn.rsplit("::", 1)[-1]


def _plain(text: str) -> str:
    """Without the engine's colour marks, `<{%reset%}>`."""
    return re.sub(r"<\{%.*?%\}>", "", text)


def _changes(step: events.StepEventMetadata) -> dict[str, Change]:
    """What differs, by the engine's own property paths; values only where the events have them in clear."""
    if step.op not in (events.OpType.UPDATE, events.OpType.REPLACE):
        return {}
    paths = list(step.detailed_diff or {}) or list(step.diffs or [])
    before, after = (dict((state.inputs if state else None) or {}) for state in (step.old, step.new))
    return {path: Change(_at(before, path), _at(after, path)) for path in paths}


def _at(properties: Mapping[str, Any], path: str) -> Any:
    value: Any = properties
    for part in re.findall(r"[^.\[\]\"]+", path):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value if isinstance(value, str | int | float | bool | None) else json.dumps(value)
