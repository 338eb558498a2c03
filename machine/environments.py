"""Virtual environments apart from the project's own, for what pins other versions of the same packages."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


class NotInstalled(Exception):
    """The environment could not be made. The message has pip's last lines and what to do."""


def installed(home: Path, *requirements: str, file: Path | None = None) -> Path:
    """The Python interpreter of the environment `home`, made unless it has exactly these packages already.

    requirements: as on pip's command line, `ministack==1.5.33`. file: instead of them a requirements file, with hashes
    and with all that its packages need. Raises `NotInstalled`.
    """
    with alone(home):
        return _install(home, requirements, file)


@contextlib.contextmanager
def alone(home: Path) -> Iterator[None]:
    """Nobody else fills `home` meanwhile: two runs in one checkout would install over each other."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(home: Path, requirements: tuple[str, ...], file: Path | None) -> Path:
    python, stamp = home / "bin" / "python", home / "installed.txt"
    wanted = "\n".join((*requirements, file.read_text() if file else "", sys.version.split()[0]))
    if stamp.is_file() and stamp.read_text() == wanted and python.exists():
        return python
    shutil.rmtree(home, ignore_errors=True)
    # A locked file is whole; pip would look past its pins for a package that another asks for with extras.
    arguments = [*requirements, *(["--require-hashes", "--no-deps", "--requirement", str(file)] if file else [])]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", str(home)], [*pip, *arguments]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise NotInstalled(
                f"{home} could not be made: `{' '.join(command)}` ended with {done.returncode}:\n"
                f"{(done.stderr or done.stdout).strip()[-1500:]}\n"
                "Check that pip can reach its package index, then run again."
            )
    stamp.write_text(wanted)
    return python
