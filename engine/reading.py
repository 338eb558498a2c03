"""Reads what is deployed: outputs and state of a stack, by Pulumi's CLI or from a file; the same for both."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from engine import cli
from engine.deployment import outputs_of


class NotReadable(Exception):
    """The stack cannot be read: why, and what to do."""


class Deployed(Protocol):
    """What is deployed of a stack. Both raise `NotReadable`."""

    def outputs(self) -> dict[str, Any]:
        """Stack outputs, a secret one as `[secret]`; empty before the first deployment."""

    def resources(self) -> list[dict[str, Any]]:
        """Resources as `pulumi stack export` has them; none before the first deployment."""


@dataclass(frozen=True, kw_only=True)
class ByCli:
    """A stack that Pulumi's CLI reads."""

    stack: str
    directory: Path
    """Where its project file is."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables of the command, beside this process's."""

    def outputs(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self._run("The stack's outputs are read", "stack", "output", "--json") or "{}"
        )
        return found

    def resources(self) -> list[dict[str, Any]]:
        # Secrets are encrypted in it.
        exported = json.loads(self._run("The stack's state is read", "stack", "export") or '{"deployment": {}}')
        return list(exported["deployment"].get("resources") or [])

    def configuration(self, key: str) -> str:
        """A value of the stack's file, decrypted; objects as JSON. Raises `NotReadable`."""
        value = self._run(f"{key} is encrypted in the stack's file, and read", "config", "get", key).rstrip("\n")
        if not value:
            raise NotReadable(
                f"{key} is encrypted in the stack's file, and there is no such stack. Log in: pulumi login"
            )
        return value

    def _run(self, what: str, *arguments: str) -> str:
        """What `pulumi ...` prints; empty where there is no such stack."""
        found = cli.find()
        if found is None:
            raise NotReadable(
                f"{what} with the Pulumi CLI {cli.VERSION} or newer, which is not at hand. "
                f"Install it ({cli.INSTALL}), or: {cli.BUILD}"
            )
        done = subprocess.run(
            [found.path, *arguments, "--stack", self.stack, "--non-interactive"],
            cwd=self.directory,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if "no stack named" in done.stderr:
            return ""
        if done.returncode:
            raise NotReadable(f"pulumi {' '.join(arguments)} failed: {done.stderr.strip()}. Log in: pulumi login")
        return done.stdout


@dataclass(frozen=True)
class ByFile:
    """A stack whose state is a file as `pulumi stack export` writes it."""

    file: Path

    def outputs(self) -> dict[str, Any]:
        return outputs_of(self.resources())

    def resources(self) -> list[dict[str, Any]]:
        if not self.file.exists():
            return []
        found: list[dict[str, Any]] = json.loads(self.file.read_text())["resources"]
        return found
