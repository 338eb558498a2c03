"""The rehearsal on Pulumi's own engine: the whole way, interrupts, what is kept, and comparisons."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine.cli import Cli
from rehearsal.docker import Engine
from rehearsal.kept import Kept
from rehearsal.phases import with_changed_image
from rehearsal.run import built_here
from tests.commands import ops
from tests.conftest import ROOT
from tests.rehearsal.test_rehearse import left_behind, nothing_more_left_behind
from tests.stacks import SERVICE, beside, changed, in_a_file, production


def rehearse(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start it as ./rehearse does."""
    return subprocess.run(
        [sys.executable, "-m", "rehearsal", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )


def commands_of(parent: int, cli: Cli) -> list[int]:
    """The CLI's processes that a process has started: other tests may run the same CLI."""
    found = subprocess.run(["pgrep", "-P", str(parent), "-f", str(cli.path)], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--providers", "official", "--keep"], "with --providers official nothing stays to be kept"),
        (["--full", "--keep"], "a full rehearsal destroys what it deployed"),
        (["--engine", "embedded", "--providers", "official"], "need Pulumi's engine"),
    ],
)
def test_what_does_not_go_together_is_told_before_anything_is_started(arguments: list[str], words: str) -> None:
    done = rehearse(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize("wanted", [["--engine", "pulumi"], ["--compare", "engines"], ["--providers", "official"]])
def test_an_engine_that_is_asked_for_and_cannot_be_had_is_no_rehearsal(tmp_path: Path, wanted: list[str]) -> None:
    nothing = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "https_proxy": "http://127.0.0.1:9"}
    done = rehearse(*wanted, **nothing)
    assert done.returncode == 3
    assert "./rehearse --make-engine" in done.stderr
    assert done.stdout == "", "nothing was rehearsed in its place"


def test_a_changed_image_has_the_same_files_and_one_more_label(tmp_path: Path) -> None:
    stack = production("changed-image")
    updated = with_changed_image(stack, tmp_path)
    assert updated
    (service,) = updated.settings.services.values()
    context = Path(service.image.context)
    assert context == tmp_path / "google-workspace"
    assert (context / "requirements.txt").read_bytes() == (ROOT / "image" / "requirements.txt").read_bytes()
    before, after = ((folder / "Dockerfile").read_text() for folder in (ROOT / "image", context))
    assert after.removeprefix(before).strip() == "LABEL rehearsal.update=true"
    assert updated.config.keys() == stack.config.keys()


def test_a_stack_of_finished_images_has_none_to_change(tmp_path: Path) -> None:
    stack = changed(production("finished"), {f"{SERVICE}.image": {"digest": f"sha256:{'0' * 64}"}})
    assert with_changed_image(stack, tmp_path) is None


def test_what_a_rollback_pinned_is_built_in_an_account_that_has_no_images() -> None:
    stack = production("pinned")
    assert built_here(changed(stack, {f"{SERVICE}.image": {"digest": f"sha256:{'0' * 64}"}})) == (
        changed(stack, {f"{SERVICE}.image": {}}),
        ["google-workspace"],
    )
    elsewhere = changed(stack, {f"{SERVICE}.image": {"digest": f"registry.example/mail@sha256:{'0' * 64}"}})
    assert built_here(elsewhere) == (elsewhere, [])


@pytest.mark.engine
def test_the_whole_way_on_pulumis_own_engine(engine: Engine, pulumi_cli: Cli) -> None:
    files = {ROOT / name: (ROOT / name).read_bytes() for name in ("Pulumi.yaml", "Pulumi.production.yaml")}
    done = rehearse("--engine", "pulumi", "--full", "--json", DOCKER_HOST=engine.host)
    report = json.loads(done.stdout)
    assert done.returncode == 0, report["failure"]
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
        "Changed image",
        "Checks",
        "Destroy",
        "Nothing left",
        "Cleaning up",
    ]
    assert (report["engine"], report["providers"]) == (str(pulumi_cli), "own")
    assert {row["action"] for row in report["resources"]} == {"created"}
    assert [check["name"] for check in report["checks"] if check["passed"] is False] == []
    assert {path: path.read_bytes() for path in files} == files, "the user's files are untouched"


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_deployment_leaves_nothing(engine: Engine, pulumi_cli: Cli, number: signal.Signals) -> None:
    before = left_behind(engine)
    process = subprocess.Popen(
        [sys.executable, "-m", "rehearsal", "--engine", "pulumi"],
        cwd=ROOT,
        env={**os.environ, "DOCKER_HOST": engine.host},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    printed = ""
    while "✓ Preview" not in printed and (line := process.stdout.readline()):
        printed += line
    time.sleep(3)  # The deployment is under way.
    mine = commands_of(process.pid, pulumi_cli)
    process.send_signal(number)
    printed += process.communicate(timeout=60)[0]
    assert process.returncode == 130, printed
    assert mine, printed
    assert "Interrupted; what this run had started was removed." in printed
    assert not [pid for pid in mine if Path(f"/proc/{pid}").exists()]
    assert nothing_more_left_behind(engine, before), left_behind(engine) - before


@pytest.mark.engine
def test_pulumi_in_plain_works_on_a_kept_one_with_what_the_run_prints(engine: Engine, pulumi_cli: Cli) -> None:
    with in_a_file(production("kept-on-the-engine")) as stack:
        try:
            kept = rehearse(stack, "--engine", "pulumi", "--keep", DOCKER_HOST=engine.host)
            assert kept.returncode == 0, kept.stdout + kept.stderr
            (source,) = [line for line in kept.stdout.splitlines() if "; pulumi preview" in line]
            file = source.partition("source ")[2].partition(";")[0]
            clean = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "AWS_"))}

            def plain(command: str) -> str:
                done = subprocess.run(
                    ["bash", "-c", f"source {file} && {command}"], cwd=ROOT, env=clean, capture_output=True, text=True
                )
                assert done.returncode == 0, done.stdout + done.stderr
                return done.stdout

            assert "Current stack resources (" in plain(f"pulumi stack --stack {stack}")
            assert "unchanged" in plain(f"pulumi preview --stack {stack} --expect-no-changes --non-interactive")
            assert "unchanged" in plain(f"pulumi up --stack {stack} --yes --skip-preview --non-interactive")
            status = ops("status", "--stack", stack, "--rehearsal")
            assert status.returncode == 0, status.stdout + status.stderr
        finally:
            rehearse(stack, "--stop")
        assert not Kept.folder(stack).exists()


MORE: dict[str, Any] = {
    "services.inside": beside(production("more")) | {"securityGroups": []},
    "delivery": {
        "repository": "busyb-ai/infrastructure",
        "createProvider": True,
        "stateBucket": "busyb-pulumi-state",
        "stateKey": "arn:aws:kms:us-east-1:758888582357:key/11111111-2222-3333-4444-555555555555",
        "topic": "google-workspace-mcp-deployments",
    },
    "monitoring.subscriptions": [
        {"topic": "critical", "protocol": "email", "endpoint": "team@example.com"},
        {"topic": "deployments", "protocol": "https", "endpoint": "https://hooks.example.com/x"},
    ],
}
"""Beside all that production has: a second service with a security group of its own, a pipeline, subscriptions."""


@pytest.mark.engine
def test_the_engine_and_the_embedded_driver_leave_the_same(engine: Engine, pulumi_cli: Cli) -> None:
    with in_a_file(changed(production("both"), MORE)) as name:
        done = rehearse(name, "--compare", "engines", "--json", DOCKER_HOST=engine.host)
    report = json.loads(done.stdout)
    assert done.returncode == 0, report["failure"]
    (found,) = [phase["detail"] for phase in report["phases"] if phase["name"] == "Comparison"]
    assert "equal but for what docs/gaps.md has" in found


@pytest.mark.engine
def test_own_and_official_providers_leave_the_same_where_these_can_be_had(engine: Engine, pulumi_cli: Cli) -> None:
    with in_a_file(production("providers")) as name:
        done = rehearse(name, "--compare", "providers", "--json", DOCKER_HOST=engine.host)
    if done.returncode == 3:
        assert (
            "pulumi plugin install resource aws" in done.stderr
            and "pulumi plugin install resource docker" in done.stderr
        )
        pytest.skip(f"the official providers cannot be had here: {done.stderr.splitlines()[1].strip()}")
    report = json.loads(done.stdout)
    assert done.returncode == 0, report["failure"]
    (found,) = [phase["detail"] for phase in report["phases"] if phase["name"] == "Comparison"]
    assert "equal but for what docs/gaps.md has" in found
