"""`./rehearse` as a person runs it: the whole way, its reports, its mistakes, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.docker import Engine
from rehearsal.estate import SECRET_VALUE
from tests.commands import ops
from tests.conftest import MARK, ROOT
from tests.stacks import SERVICE, changed, in_a_file, production


@pytest.fixture
def stack_file() -> Iterator[Path]:
    """A stack of its own, as a file beside the shipped ones."""
    path = ROOT / f"Pulumi.test-{os.getpid()}.yaml"
    path.write_text((ROOT / "Pulumi.production.yaml").read_text())
    yield path
    path.unlink()


def rehearse(*arguments: str, engine: Engine, wait: bool = True) -> subprocess.Popen[str]:
    """Start it as ./rehearse does where Pulumi's engine is not at hand, on the session's Docker engine."""
    command = [sys.executable, "-m", "rehearsal", "--engine", "embedded", *arguments]
    environment = {**os.environ, "DOCKER_HOST": engine.host}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if wait:
        process.wait(300)
    return process


def text(process: subprocess.Popen[str]) -> str:
    assert process.stdout and process.stderr
    return process.stdout.read() + process.stderr.read()


def stack_name(path: Path) -> str:
    return path.name.removeprefix("Pulumi.").removesuffix(".yaml")


def left_behind(engine: Engine) -> set[str]:
    """Processes that this test process's rehearsals have started, and containers of theirs or of nobody any more:
    other tests may run beside this one."""
    mine, instances, alive = set(), set(), set()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = environment.read_bytes().decode(errors="replace").split("\0")
            command = (environment.parent / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        names = {entry.partition("=")[2] for entry in variables if entry.startswith("MINISTACK_HOSTNAME=")}
        alive |= names
        if MARK in variables and re.search("emulator_process|google_process|rehearsal.edge", command):
            mine.add(command)
            instances |= names
    for container in engine.api.containers.list(all=True, ignore_removed=True):
        instance = container.labels.get("ministack.instance", "").partition(":")[0]
        if instance and (instance in instances or instance not in alive):
            mine.add(container.name)
    return mine


def nothing_more_left_behind(engine: Engine, before: set[str]) -> bool:
    """Whether, within 20 s, no more is left than there was: what is others' is being removed meanwhile."""
    deadline = time.monotonic() + 20
    while left_behind(engine) - before:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def test_the_production_stack_passes_and_says_what_it_did(engine: Engine, stack_file: Path, tmp_path: Path) -> None:
    before = left_behind(engine)
    process = rehearse(stack_name(stack_file), "--json", "--report", str(tmp_path / "report.md"), engine=engine)
    printed = text(process)
    assert process.returncode == 0, printed
    report = json.loads(printed)
    assert report["passed"]
    assert [phase["name"] for phase in report["phases"]] == [
        "Docker engine",
        "Stand-in for Google",
        "Emulated AWS",
        "Estate",
        "Preview",
        "Deployment",
        "Checks",
        "Second preview",
        "Refresh",
        "Cleaning up",
    ]
    assert {row["action"] for row in report["resources"]} == {"created"}
    assert "0 of" in next(phase["detail"] for phase in report["phases"] if phase["name"] == "Second preview")
    assert [check["name"] for check in report["checks"] if check["passed"] is False] == []
    assert "MCP without a token is refused and told where to sign in" in {check["name"] for check in report["checks"]}
    markdown = (tmp_path / "report.md").read_text()
    assert markdown.startswith(f"# Rehearsal of {stack_name(stack_file)}: passed")
    planted = SECRET_VALUE.split("{")[0]
    assert planted not in printed + markdown, "no secret in a report"
    assert nothing_more_left_behind(engine, before), left_behind(engine) - before


def test_a_mistake_in_the_configuration_is_told_without_a_traceback(engine: Engine, stack_file: Path) -> None:
    stack_file.write_text(stack_file.read_text().replace("cpu: 512", "cpuu: 512"))
    process = rehearse(stack_name(stack_file), "--json", engine=engine)
    assert process.stdout and process.stderr
    report, printed = json.loads(process.stdout.read()), process.stderr.read()
    assert process.returncode == 2
    assert "rename it to cpu" in printed
    assert "Traceback" not in printed
    assert report["failure"] in printed and report["passed"] is False


def test_a_report_that_cannot_be_written_is_told_before_the_rehearsal(engine: Engine, tmp_path: Path) -> None:
    process = rehearse("--report", str(tmp_path / "missing" / "report.md"), engine=engine)
    printed = text(process)
    assert process.returncode == 2
    assert "name a file in a folder that exists" in printed
    assert "Traceback" not in printed


def test_a_report_that_is_not_written_after_all_is_told(engine: Engine) -> None:
    process = rehearse("nowhere", "--report", "/dev/full", engine=engine)
    assert "/dev/full cannot be written: No space left on device. Name another" in text(process)
    assert process.returncode == 2


def test_without_an_engine_it_runs_and_says_what_was_simulated(stack_file: Path) -> None:
    command = [sys.executable, "-m", "rehearsal", stack_name(stack_file), "--json"]
    environment = {**os.environ, "DOCKER_HOST": "unix:///no/engine.sock", "CI": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert any("containers" in line and "simulated" in line for line in report["unproven"])
    names = {check["name"] for check in report["checks"] if check["passed"]}
    assert {"the wanted revision runs", "its secrets are given by name and JSON key"} <= names
    assert not any("outside" in name for name in names), "nothing is claimed of what was not asked"


def test_an_unknown_stack_is_told_by_the_name_of_its_file(engine: Engine) -> None:
    process = rehearse("nowhere", engine=engine)
    printed = text(process)
    assert process.returncode == 2
    assert "Pulumi.nowhere.yaml" in printed
    assert "Traceback" not in printed


def test_a_broken_mandatory_policy_stops_it_before_anything_is_made(engine: Engine) -> None:
    broken = changed(production("broken"), {f"{SERVICE}.environment": {"API_TOKEN": "abcdef0123456789abcdef"}})
    with in_a_file(broken) as name:
        process = rehearse(name, "--json", engine=engine)
    report = json.loads(text(process))
    assert process.returncode == 1
    assert "API_TOKEN" in report["failure"]
    assert "The policies stop this deployment" in report["failure"]
    assert "Until then" not in report["failure"], "a preview does nothing"
    assert report["resources"] == []


@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGINT, ["--keep"]), (signal.SIGTERM, []), (signal.SIGHUP, [])]
)
def test_an_interrupted_rehearsal_leaves_nothing_behind(
    engine: Engine, stack_file: Path, number: signal.Signals, options: list[str]
) -> None:
    before = left_behind(engine)
    process = rehearse(stack_name(stack_file), "--json", *options, engine=engine, wait=False)
    deadline = time.monotonic() + 60
    # A container may be another test's, whose emulator has just ended.
    while not any("emulator_process" in name for name in left_behind(engine) - before):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(number)
    time.sleep(0.3)
    process.send_signal(number)  # An impatient second one must not end the cleaning up.
    process.wait(60)
    assert process.returncode == 130, text(process)
    assert nothing_more_left_behind(engine, before), left_behind(engine) - before


def test_a_kept_rehearsal_is_there_for_a_look_and_deployed_onto_again_until_it_is_stopped(
    engine: Engine, stack_file: Path, tmp_path: Path
) -> None:
    before, name, good = left_behind(engine), stack_name(stack_file), stack_file.read_text()
    (tmp_path / "Dockerfile").write_text(
        "FROM python:3.12.13-slim-bookworm\n"
        # It runs for a while first, but never answers.
        'ENTRYPOINT ["python3", "-c", "import time; time.sleep(4); raise SystemExit(3)"]\n'
    )
    stack_file.write_text(good.replace("      cpu: 512", f"      image: {{context: {tmp_path}}}\n      cpu: 512"))
    failed = rehearse(name, "--keep", "--json", engine=engine)
    try:
        report = json.loads(text(failed))
        assert (failed.returncode, "exit code 3" in report["failure"]) == (1, True), report["failure"]
        assert left_behind(engine) - before
        looked = ops("verify", "--stack", name, "--rehearsal")
        assert (looked.returncode, "no deployment of it has succeeded" in looked.stderr) == (1, True), looked.stderr
        stack_file.write_text(good)
        mended = rehearse(name, "--json", engine=engine)
        assert mended.returncode == 0, text(mended)
        looked = ops("verify", "--stack", name, "--rehearsal")
        assert looked.returncode == 0, looked.stdout + looked.stderr
        again = json.loads(text(rehearse(name, "--json", engine=engine)))
        assert again["passed"]
        assert {row["action"] for row in again["resources"]} == {"same"}
    finally:
        stopped = rehearse(name, "--stop", engine=engine)
    assert stopped.returncode == 0
    assert nothing_more_left_behind(engine, before), left_behind(engine) - before
    assert not (ROOT / ".rehearsal" / "kept" / name).exists()
