"""A rehearsal that was left running: its note, how it is found again, and how it ends. Operations find it here."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from components.settings import NAMESPACE
from engine.cli import BUILD, Cli, find
from engine.deployment import Deployer
from engine.reading import ByCli, ByFile, Deployed
from engine.stack import Project, PulumiStack
from providers import Context
from rehearsal.cache import Cache
from rehearsal.docker import Engine
from rehearsal.embedded import EmbeddedStack
from rehearsal.emulator import Account, stop_kept
from rehearsal.google import Google

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".rehearsal"
"""Caches that make the next rehearsal quick, and what belongs to kept ones."""


class RehearsalError(Exception):
    """The rehearsal cannot go on; the message says why and what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
    """A rehearsal that was left running, as noted in `.rehearsal/kept/<stack>/note.json`."""

    emulator: dict[str, Any]
    docker_host: str | None
    edge_pid: int
    edge_url: str | None
    health_url: str | None
    state: str
    """The embedded driver's state file, or the folder of a stack on Pulumi's engine."""
    pulumi: dict[str, str] | None = None
    """Variables by which Pulumi's CLI finds the stack; None: the embedded driver deployed it."""
    google: dict[str, Any] | None = None
    """The stand-in for Google, where one runs."""
    caches: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """The caches that the stack keeps OAuth state in."""

    @staticmethod
    def folder(stack: str) -> Path:
        """What belongs to the kept rehearsal of the stack."""
        return HOME / "kept" / stack

    @staticmethod
    def file(stack: str) -> Path:
        """Where the note is."""
        return Kept.folder(stack) / "note.json"

    @classmethod
    def read(cls, stack: str) -> Kept | None:
        """The note, or None if no rehearsal of the stack is kept."""
        try:
            return cls(**json.loads(cls.file(stack).read_text()))
        except FileNotFoundError:
            return None

    def write(self, stack: str) -> None:
        """Note it."""
        self.folder(stack).mkdir(parents=True, exist_ok=True)
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

    def deployed(self, stack: str) -> Deployed:
        """Outputs and state."""
        if self.pulumi is None:
            return ByFile(Path(self.state))
        return ByCli(stack=stack, directory=Path(self.state), environment=self.pulumi)

    def copy(self, stack: str, folder: Path) -> Deployer:
        """The stack on a copy of its state in `folder`, to be previewed. Raises `RehearsalError`."""
        account = self.account()
        project = Project(directory=ROOT, name=NAMESPACE, stack=stack)
        context = Context(account=account, docker=None, directory=ROOT)
        if self.pulumi is None:
            copied = EmbeddedStack(project, folder=folder, environment=account.whole_environment, context=context)
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(self.state, copied.file)
            return copied
        if (cli := find()) is None:
            raise RehearsalError(f"The rehearsal is a stack on Pulumi's engine, which is not at hand. Do: {BUILD}")
        shutil.copytree(self.state, folder, dirs_exist_ok=True)
        return PulumiStack(
            project, cli=cli, folder=folder, environment={}, surroundings=account.environment, context=context
        )


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
    for noted in kept.caches:
        Cache(**noted).stop()
    shutil.rmtree(Kept.folder(stack))
    if not list((HOME / "kept").glob("*/note.json")):
        Engine(HOME / "docker").release(kept.docker_host or "")
    return True


def write_commands(folder: Path, cli: Cli, variables: Mapping[str, str]) -> Path:
    """What makes `pulumi` in plain work on a stack on Pulumi's engine: a file for a shell to source.

    The CLI gets this project's own providers as its plugins, and its language host where the CLI has none.
    """
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    plugins = {f"pulumi-resource-{package}": f"providers {package}" for package in ("aws", "docker")}
    if not cli.has_language_host:
        plugins["pulumi-language-python"] = "engine.language"
    for name, module in plugins.items():
        script = programs / name
        script.write_text(
            f"#!/bin/sh\nexport PYTHONPATH={shlex.quote(str(ROOT))}\n"
            f'exec {shlex.quote(sys.executable)} -m {module} "$@"\n'
        )
        script.chmod(0o755)
    with contextlib.suppress(FileExistsError):
        (programs / "pulumi").symlink_to(cli.path)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    lines += [f"export PATH={shlex.quote(str(programs))}:$PATH", f"cd {shlex.quote(str(folder))}"]
    file = folder / "environment.sh"
    file.touch(mode=0o600)
    file.write_text("\n".join(lines) + "\n")
    return file
