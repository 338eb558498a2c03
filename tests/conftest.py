"""What all tests share: an emulated account without containers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from engine import cli as clis  # noqa: E402
from providers.docker_client import NoEngine  # noqa: E402
from rehearsal.docker import Engine  # noqa: E402
from rehearsal.emulator import Emulator, ensure_installed  # noqa: E402
from rehearsal.google import ensure_installed as ensure_stand_in  # noqa: E402

# Ignored signals are inherited, and nohup or a background job ignores some: what tests start would not end by them.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGTERM, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

MARK = f"TESTS_OF={os.getpid()}"
"""Variable of everything that this process starts; several run side by side."""
os.environ["TESTS_OF"] = str(os.getpid())

ACCOUNT = "758888582357"
REGION = "us-east-1"
VPC = "vpc-0111b7630bcb61b61"


@pytest.fixture(scope="session")
def emulator_python() -> Path:
    """The interpreter that has MiniStack."""
    return ensure_installed(ROOT)


@pytest.fixture(scope="session")
def google_python() -> Path:
    """The interpreter that has what stands in for Google."""
    return ensure_stand_in(ROOT)


@pytest.fixture(scope="session")
def emulator(emulator_python: Path) -> Iterator[Emulator]:
    """One emulated account for the whole session, with `.endpoint` and `.client(service)`; tasks are simulated."""
    with Emulator(ACCOUNT, REGION, python=emulator_python, ids=[VPC]) as running:
        yield running


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker engine; where there is none and none can be had, what needs it is skipped, but never in CI."""
    try:
        with Engine(ROOT / ".rehearsal" / "docker") as running:
            yield running
    except NoEngine as reason:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(reason))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "engine: needs Pulumi's own engine, which is made beside the first tests")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Have Pulumi's engine made beside the first tests, where it is not at hand; at low priority."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly or clis.find():
        return
    command = ["nice", "-n", "15", sys.executable, "-m", "rehearsal", "--make-engine"]
    with (Path(tempfile.gettempdir()) / f"make-engine-{os.getpid()}.log").open("w") as log:
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the engine comes last, in its file and of all files that have nothing else."""
    items.sort(key=lambda item: item.get_closest_marker("engine") is not None)


@pytest.fixture(scope="session")
def pulumi_cli() -> clis.Cli:
    """Pulumi's CLI, waited for; where it cannot be had, what needs it is skipped, but never in CI."""
    try:
        return clis.ensure(lambda _line: None, build=True)
    except clis.EngineMissing as reason:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(reason))


@pytest.fixture
def unique() -> str:
    """A short name that no other test uses, for what is made in the shared account."""
    return f"t{uuid.uuid4().hex[:8]}"
