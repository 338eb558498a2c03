"""A stack on Pulumi's own engine: previewed, deployed, refreshed, destroyed, and read.

All that belongs to the stack lies in a folder of its own: project file, stack file, state, passphrase; the user's stack
files, backend and login are neither read nor touched. Driven by the Automation API.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import yaml
from pulumi import automation
from pulumi.automation._stack import StackInitMode

from engine import language
from engine.cli import Cli, EngineMissing
from engine.deployment import Deployment, DeploymentFailed, Listener, outputs_of, without_secrets
from engine.events import Events
from machine.processes import running
from providers import server
from providers.base import Context
from providers.provider import Provider
from providers.recording import Call

ROOT = Path(__file__).resolve().parent.parent
POLICY_PACK = Path("policies")
"""The program's policy pack, below its directory."""

Providers = Literal["own", "official"]
"""What carries resources out: `providers` of this project, or the plugins that pulumi-aws and pulumi-docker name."""

_OFFICIAL = {"aws": "pulumi-aws", "docker": "pulumi-docker"}
"""Resource plugins that the program needs, each with the package whose version they have."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """What a stack is made of."""

    directory: Path
    """Holds the program's `__main__.py`, and its policy pack."""
    name: str
    """The project's, from Pulumi.yaml."""
    stack: str
    """The stack's name."""


class PulumiStack:
    """One stack on Pulumi's own engine, made in `folder` or found there.

    Args:
        project: what it deploys.
        cli: the CLI.
        folder: for project file, stack file and state.
        environment: variables of the commands: where the Docker engine is.
        surroundings: is entered meanwhile, so that commands find the account.
        context: what this project's own providers act on; None: the official ones are used.
    """

    def __init__(
        self,
        project: Project,
        *,
        cli: Cli,
        folder: Path,
        environment: Mapping[str, str],
        surroundings: Callable[[], contextlib.AbstractContextManager[None]],
        context: Context | None,
    ) -> None:
        self.folder = folder
        self._project, self._cli, self._context, self._surroundings = project, cli, context, surroundings
        (folder / "state").mkdir(parents=True, exist_ok=True)
        # The program runs in its own directory; only what is the run's is here.
        project_file = {
            "name": project.name,
            "main": str(project.directory),
            "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}},
        }
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(project_file))
        passphrase = folder / "passphrase"
        if not passphrase.exists():
            passphrase.touch(mode=0o600)
            passphrase.write_text(secrets.token_urlsafe())
        self.environment = {
            **environment,
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        if context:  # Without plugins there is nothing of the user's to be found.
            self.environment["PULUMI_HOME"] = str(folder / "home")
        workspace = automation.LocalWorkspace(
            work_dir=str(folder),
            env_vars=dict(self.environment),
            secrets_provider="passphrase",
            pulumi_command=cli.command,
        )
        self._workspace = workspace
        self._stack_file = folder / f"Pulumi.{project.stack}.yaml"
        self._state_file = folder / "state" / ".pulumi" / "stacks" / project.name / f"{project.stack}.json"
        mode = StackInitMode.SELECT if self._state_file.exists() else StackInitMode.CREATE
        self._stack = _Stack(project.stack, workspace, mode)
        self._encrypted: dict[tuple[str, str], Any] = {}  # Key and value of a secret -> as the stack's file has it.

    def configure(self, config: Mapping[str, str], secret_keys: Collection[str] = ()) -> None:
        """Set the stack's configuration: full key -> text, objects as JSON. `secret_keys`: kept encrypted."""
        known = yaml.safe_load(self._stack_file.read_text()) or {}
        values = {name: value for name, value in config.items() if name not in secret_keys}
        hidden = {name: (name, config[name]) for name in secret_keys}
        values |= {name: self._encrypted[secret] for name, secret in hidden.items() if secret in self._encrypted}
        self._stack_file.write_text(yaml.safe_dump({**known, "config": values}))
        missing = {name: secret for name, secret in hidden.items() if name not in values}
        for name, (_, value) in missing.items():
            # The Automation API would hand the value over as an argument, which every process can read.
            command = [str(self._cli.path), "config", "set", "--secret", name, "--stack", self._project.stack]
            subprocess.run(
                command,
                input=value,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                text=True,
                capture_output=True,
                check=True,
            )
        if missing:
            written = yaml.safe_load(self._stack_file.read_text())["config"]
            self._encrypted |= {secret: written[name] for name, secret in missing.items()}

    def take_in(self, file: Path) -> list[str]:
        """`pulumi import --file`: into the state alone. The names of what was taken in.

        Raises `ValueError` for a file that is none, and `LookupError` with what the engine said.
        """
        resources = json.loads(file.read_text())["resources"]
        self._unlock()
        try:
            with self._attached(), killing_commands_on_signal():
                self._stack.import_resources(resources=resources, protect=False, generate_code=False)
        except automation.CommandError as error:
            raise LookupError(_last(str(error))) from error
        return [resource["name"] for resource in resources if not resource.get("component")]

    def preview(self, progress: Listener | None = None, *, policies: bool = True) -> Deployment:
        """What `up` would do, held to the policy pack. Raises `DeploymentFailed`, for a mandatory policy too."""
        return self._run(self._stack.preview, progress, policies=policies, preview=True)

    def up(self, progress: Listener | None = None, *, policies: bool = True) -> Deployment:
        """`pulumi up`, held to the policy pack. Raises `DeploymentFailed`."""
        return self._run(self._stack.up, progress, policies=policies)

    def refresh(self, progress: Listener | None = None) -> Deployment:
        """`pulumi refresh`: the state becomes what there is; what had drifted is changed. Raises `DeploymentFailed`."""
        return self._run(self._stack.refresh, progress)

    def destroy(self, progress: Listener | None = None) -> Deployment:
        """`pulumi destroy`. Raises `DeploymentFailed`."""
        return self._run(self._stack.destroy, progress)

    def put_state(self, resources: Sequence[Mapping[str, Any]]) -> None:
        """Begin with these resources, as `pulumi stack export` has them, but for their secrets."""
        now = self._stack.export_stack()
        document = {**(now.deployment or {}), "resources": [without_secrets(resource) for resource in resources]}
        self._stack.import_stack(automation.Deployment(version=now.version, deployment=document))

    def _run(
        self,
        command: Callable[..., Any],
        progress: Listener | None,
        *,
        policies: bool = False,
        preview: bool = False,
    ) -> Deployment:
        heard = Events(progress)
        heard.deployment.preview = preview
        options: dict[str, Any] = {"policy_packs": [str(self._project.directory / POLICY_PACK)]} if policies else {}
        started = time.monotonic()
        self._unlock()
        try:
            with self._attached() as heard.deployment.calls, killing_commands_on_signal():
                command(on_event=heard, color="never", suppress_progress=True, **options)
            heard.deployment.outputs = self._outputs()
        except automation.CommandError as error:
            raise DeploymentFailed(heard.deployment, heard.errors or [_last(str(error))]) from error
        finally:
            heard.deployment.seconds = time.monotonic() - started
        return heard.deployment

    def _outputs(self) -> dict[str, Any]:
        """The stack's outputs as they are in its state; a secret is `SECRET`."""
        return outputs_of(json.loads(self._state_file.read_text())["checkpoint"]["latest"].get("resources") or [])

    def _unlock(self) -> None:
        """Take away the locks of commands that were killed, so that nobody has to know of `pulumi cancel`."""
        locks = (self.folder / "state" / ".pulumi" / "locks").rglob(f"{self._project.stack}/*.json")
        holders = [json.loads(lock.read_text())["pid"] for lock in locks]
        if holders and not any(map(running, holders)):
            self._stack.cancel()

    @contextlib.contextmanager
    def _attached(self) -> Iterator[list[Call]]:
        """Meanwhile the engine finds what is served in this process: language host and providers. The calls of the
        providers, as they are made."""
        attached: dict[str, str] = {}
        calls: list[Call] = []
        with contextlib.ExitStack() as served:
            served.enter_context(self._surroundings())
            if self._context:
                self._context.stop.clear()
                provider = Provider(self._context)
                ports = {
                    package: served.enter_context(server.serving(server.Servicer(provider, package, calls)))
                    for package in _OFFICIAL
                }
                attached["PULUMI_DEBUG_PROVIDERS"] = ",".join(f"{package}:{port}" for package, port in ports.items())
            if not self._cli.has_language_host:
                port = served.enter_context(language.serving(language.LanguageHost()))
                attached["PULUMI_DEBUG_LANGUAGES"] = f"python:{port}"
            self._workspace.env_vars = {**self.environment, **attached}
            yield calls


class _Stack(automation.Stack):
    """After a command the Automation API asks for outputs and history; each is the start of another command, and
    neither is needed here: outputs are read from the state, all else is in the events."""

    def outputs(self) -> automation.OutputMap:
        return {}

    def info(self, show_secrets: bool | None = None) -> automation.UpdateSummary:  # noqa: ARG002
        return automation.UpdateSummary("", datetime.now(UTC), "", {}, {}, "")


def ensure_official_providers(cli: Cli) -> None:
    """Have the official providers, of the versions of this environment's packages.

    Installs a missing one, as the engine itself would at its first use. Raises `EngineMissing` with all that is
    missing.
    """
    workspace = automation.LocalWorkspace(work_dir=str(cli.path.parent), pulumi_command=cli.command)
    missing = []
    for name, package in _OFFICIAL.items():
        version = f"v{metadata.version(package)}"
        if reason := _install(workspace, cli, name, version):
            missing.append(
                f"  the provider {name} {version} cannot be installed: {reason}\n"
                f"      do  pulumi plugin install resource {name} {version}, or put pulumi-resource-{name} on the PATH"
            )
    if missing:
        raise EngineMissing("The official providers cannot be used; missing:\n" + "\n".join(missing))


def _install(workspace: automation.LocalWorkspace, cli: Cli, name: str, version: str) -> str:
    """Why a provider cannot be had; empty when it is there, or was installed."""
    plugin = f"pulumi-resource-{name}"
    # What is on the PATH, the engine takes before anything else.
    if shutil.which(plugin) is not None or (cli.path.resolve().parent / plugin).is_file():
        return ""
    installed = {(found.name, str(found.version)) for found in workspace.list_plugins()}
    if (name, version.removeprefix("v")) in installed:
        return ""
    try:
        with killing_commands_on_signal():
            workspace.install_plugin(name, version)
    except automation.CommandError as error:
        lines = [line for line in str(error).splitlines() if "error:" in line] or str(error).splitlines()
        return lines[-1].strip().removeprefix("stderr:").strip()
    return ""


@contextlib.contextmanager
def killing_commands_on_signal() -> Iterator[None]:
    """Meanwhile a signal that ends this process kills what it has started since, with all that this started, first.

    Otherwise both would wait: this process for the command, and the command for what it makes. State and account are
    the run's own, so an orderly end would save nothing. To be entered in the main thread, or it does nothing.
    """
    own = os.getpid()
    others = set(_descendants(own))

    def interrupt(number: int, frame: FrameType | None) -> None:
        for pid in [below for below in _descendants(own) if below not in others]:
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


def _last(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-15:])
