"""The stand-in for Google, servers that use it, and a clock that can be set."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.google import Google, Starting
from tests.checks.conftest import start_server
from tests.conftest import ROOT

__all__ = ["start_server"]


@pytest.fixture(scope="session")
def google(google_python: Path) -> Iterator[Google]:
    """The stand-in, on loopback only."""
    starting = Starting(python=google_python)
    with starting:
        yield starting.wait()


@pytest.fixture(scope="session")
def faketime() -> Path:
    """Debian's libfaketime, unpacked beside the rehearsal's caches; without it, what sets clocks is skipped."""
    folder = ROOT / ".rehearsal" / "faketime"
    if not list(folder.glob("usr/lib/*/faketime/libfaketime.so.1")):
        folder.mkdir(parents=True, exist_ok=True)
        command = "apt-get download --quiet libfaketime && dpkg --extract libfaketime_*.deb . && rm libfaketime_*.deb"
        done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            reason = f"libfaketime cannot be had, which takes Debian's apt: {done.stderr.strip()[-200:]}"
            pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return next(folder.glob("usr/lib/*/faketime/libfaketime.so.1"))
