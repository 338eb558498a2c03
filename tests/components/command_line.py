"""Pulumi's own command line, for what the configuration's messages say to do with it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from components.settings import NAMESPACE
from engine.cli import Cli


class CommandLine:
    """Pulumi's own, in a project that is nothing but its configuration."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self.path = cli.path
        self.folder, self.state = folder, folder / "state"
        self.state.mkdir()
        (folder / "Pulumi.yaml").write_text(f"name: {NAMESPACE}\nruntime: yaml\n")
        self("stack", "init", "s")
        self.file = folder / "Pulumi.s.yaml"

    def __call__(self, *arguments: str) -> str:
        home = {"PULUMI_HOME": str(self.folder / "home"), "PULUMI_BACKEND_URL": f"file://{self.state}"}
        return subprocess.run(
            [self.path, *arguments, "--non-interactive"],
            cwd=self.folder,
            env={**os.environ, **home, "PULUMI_CONFIG_PASSPHRASE": "x", "PULUMI_SKIP_UPDATE_CHECK": "1"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
