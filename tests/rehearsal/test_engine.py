"""The rehearsal on Pulumi's own engine: what it needs is asked for first; what its events become in the report; and,
where there is a CLI, the whole way and the comparison of both engines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation.events import EngineEvent

from rehearsal import engine as pulumi_engine
from rehearsal.docker import Engine
from rehearsal.run import with_changed_image
from tests.conftest import ROOT
from tests.rehearsal.test_rehearse import left_behind
from tests.stacks import SERVICE, beside, changed, in_a_file, production, with_cli

URN = "urn:pulumi:production::mcp-on-ecs::mcp-on-ecs:index:McpService$aws:ecs/service:Service::api-service"


def rehearse(*arguments: str, path: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start it as ./rehearse does, with `path` for its PATH."""
    return subprocess.run(
        [sys.executable, "-m", "rehearsal", *arguments],
        cwd=ROOT,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )


def cli_without_plugins(folder: Path) -> None:
    """A CLI that has no plugin and reaches no place to get one from. The real one is not everywhere, nor is such a
    network."""
    (folder / "pulumi-language-python").touch(mode=0o755)
    script = folder / "pulumi"
    script.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "  *version*) echo v3.272.0 ;;\n"
        '  *"plugin ls"*) echo "[]" ;;\n'
        '  *) echo "error: [resource plugin] downloading from : 403 HTTP error fetching plugin" >&2; exit 1 ;;\n'
        "esac\n"
    )
    script.chmod(0o755)


def hanging_cli(folder: Path, at: str) -> None:
    """A CLI that never ends a command that holds `at`, like the real one with a plugin in a process group of its own;
    neither heeds a signal that can be caught. `folder/started` is there once it does."""
    cli_without_plugins(folder)
    if at != "plugin install":
        for name in ("aws", "docker"):
            (folder / f"pulumi-resource-{name}").touch(mode=0o755)
    plugin = folder / "pulumi-plugin"
    plugin.write_text(f"#!/bin/sh\ntrap '' INT TERM HUP\ntouch {folder}/started\nwhile :; do sleep 1; done\n")
    plugin.chmod(0o755)
    (folder / "pulumi").write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        f"  *'{at}'*) trap '' INT TERM HUP; setsid {plugin} & wait; sleep 300 ;;\n"
        "  *version*) echo v3.272.0 ;;\n"
        '  *"plugin ls"*) echo "[]" ;;\n'
        '  *"stack init"*) echo "encryptionsalt: v1:none" >Pulumi.production.yaml ;;\n'
        "esac\n"
    )


def running(part: str) -> list[str]:
    """Processes that have `part` in their command line."""
    return subprocess.run(["pgrep", "-af", part], capture_output=True, text=True).stdout.splitlines()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("plugin install", "Interrupted before anything was started."),
        ("preview", "Interrupted; what this run had started was removed."),
    ],
)
def test_an_interrupt_ends_the_command_with_all_that_it_has_started(
    engine: Engine, tmp_path: Path, number: signal.Signals, at: str, told: str
) -> None:
    before = left_behind(engine)
    hanging_cli(tmp_path, at)
    process = subprocess.Popen(
        [sys.executable, "-m", "rehearsal", "--engine", "pulumi"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "DOCKER_HOST": engine.host},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "started").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    assert (tmp_path / "started").exists(), process.communicate(timeout=10)[0]
    process.send_signal(number)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 130, printed
    assert told in printed
    assert "Traceback" not in printed
    assert running(str(tmp_path)) == []
    assert sorted(left_behind(engine)) == sorted(before)


@pytest.mark.parametrize("wanted", ["pulumi", "both"])
def test_without_a_cli_it_says_how_to_get_one_and_starts_nothing(tmp_path: Path, wanted: str) -> None:
    done = rehearse("--engine", wanted, path=str(tmp_path))
    assert done.returncode == 3
    assert "there is no pulumi on the PATH" in done.stderr
    assert pulumi_engine.INSTALL in done.stderr
    assert done.stdout == "", "nothing was rehearsed in its place"


def test_plugins_that_cannot_be_had_are_all_named_with_version_reason_and_remedy(tmp_path: Path) -> None:
    cli_without_plugins(tmp_path)
    done = rehearse("--engine", "pulumi", path=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == 3
    for name in ("aws", "docker"):
        version = f"v{metadata.version(f'pulumi-{name}')}"
        assert f"the provider {name} {version} cannot be installed: error: [resource plugin]" in done.stderr
        assert f"pulumi plugin install resource {name} {version}" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_cli_without_python_support_is_no_cli(tmp_path: Path) -> None:
    cli_without_plugins(tmp_path)
    (tmp_path / "pulumi-language-python").unlink()
    done = rehearse("--engine", "pulumi", path=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == 3
    assert "pulumi-language-python, which comes with the CLI" in done.stderr


def test_what_the_engine_destroys_cannot_be_kept(tmp_path: Path) -> None:
    done = rehearse("--engine", "pulumi", "--keep", path=str(tmp_path))
    assert done.returncode == 2
    assert "with --engine pulumi nothing stays to be kept" in done.stderr


def test_with_a_cli_on_the_path_its_engine_is_suggested(engine: Engine, tmp_path: Path) -> None:
    cli_without_plugins(tmp_path)
    broken = changed(production("suggested"), {f"{SERVICE}.environment": {"API_TOKEN": "abcdef0123456789abcdef"}})
    with in_a_file(broken) as stack:
        # A rehearsal that ends early: a policy stops it.
        done = rehearse(stack, path=f"{tmp_path}:{os.environ['PATH']}", DOCKER_HOST=engine.host)
    assert done.returncode == 1
    assert "./rehearse --engine pulumi" in done.stdout.splitlines()[-1]


def event(kind: str, op: str, *, urn: str = URN, type_: str = "aws:ecs/service:Service", **more: Any) -> EngineEvent:
    """An event as the engine's log has it."""
    state = {"type": type_, "urn": urn, "id": "", "parent": "", "provider": "", "custom": True}
    step = {
        "op": op,
        "urn": urn,
        "type": type_,
        "provider": "",
        "old": state | {"inputs": {"desiredCount": 1, "tags": {"a": "b"}}},
        "new": state | {"inputs": {"desiredCount": 2, "tags": {"a": "b"}, "availabilityZoneRebalancing": "ENABLED"}},
        "detailedDiff": {"desiredCount": {"diffKind": "update", "inputDiff": False}},
    }
    return EngineEvent.from_json({"sequence": 1, "timestamp": 1, kind: {"metadata": step | more}})


def test_an_update_is_told_with_what_differs_and_what_the_emulator_ignores() -> None:
    told = pulumi_engine.Events()
    told(event("resourcePreEvent", "update"))
    told(event("resOutputsEvent", "update"))
    (result,) = told.run.deployment.resources
    assert (result.name, result.type, result.action) == ("api-service", "aws:ecs/service:Service", "changed")
    assert {path: (change.before, change.after) for path, change in result.changes.items()} == {"desiredCount": (1, 2)}


def test_a_replacement_is_one_result_and_components_and_providers_are_none() -> None:
    told = pulumi_engine.Events()
    for op in ("create-replacement", "replace", "delete-replaced"):
        told(event("resourcePreEvent", op))
        told(event("resOutputsEvent", op))
    provider = "pulumi:providers:aws"
    told(event("resOutputsEvent", "create", urn=f"urn:pulumi:production::x::{provider}::default", type_=provider))
    assert [result.action for result in told.run.deployment.resources] == ["replaced"]


def test_a_failure_is_told_in_the_providers_words_by_the_resources_name() -> None:
    told = pulumi_engine.Events()
    diagnostic = {
        "urn": URN,
        "message": "<{%reset%}>creating ECS Service: AccessDenied<{%reset%}>\n",
        "severity": "error",
    }
    told(EngineEvent.from_json({"sequence": 1, "timestamp": 1, "diagnosticEvent": diagnostic}))
    told(event("resOpFailedEvent", "create"))
    assert told.errors == ["api-service: creating ECS Service: AccessDenied"]
    assert [result.action for result in told.run.deployment.resources] == ["failed"]


def test_a_mandatory_policy_is_an_error_and_an_advisory_one_is_not() -> None:
    told = pulumi_engine.Events()
    for level in ("mandatory", "advisory"):
        policy = {"policyName": "ecs-rule", "enforcementLevel": level, "message": f"{level}  words", "resourceUrn": URN}
        told(EngineEvent.from_json({"sequence": 1, "timestamp": 1, "policyEvent": policy}))
    assert told.run.policies == ["mandatory: ecs-rule: mandatory words", "advisory: ecs-rule: advisory words"]
    assert told.errors == ["mandatory: ecs-rule: mandatory words"]


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


@with_cli
def test_the_whole_way_on_pulumis_own_engine(engine: Engine) -> None:
    files = {path: path.read_bytes() for path in ROOT.glob("Pulumi*.yaml")}
    done = rehearse("--engine", "pulumi", "--json", path=os.environ["PATH"], DOCKER_HOST=engine.host)
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
        "Changed image",
        "Checks",
        "Destroy",
        "Nothing left",
        "Cleaning up",
    ]
    assert report["engine"].startswith("pulumi 3.")
    assert {row["action"] for row in report["resources"]} == {"created"}
    assert [check["name"] for check in report["checks"] if check["passed"] is False] == []
    assert {path: path.read_bytes() for path in ROOT.glob("Pulumi*.yaml")} == files, "the user's files are untouched"


@with_cli
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_deployment_leaves_nothing(engine: Engine, number: signal.Signals) -> None:
    before, plugins = left_behind(engine), running("pulumi-(resource|language|analyzer)")
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
    while "Preview" not in printed and (line := process.stdout.readline()):
        printed += line
    time.sleep(8)  # The deployment is under way.
    process.send_signal(number)
    printed += process.communicate(timeout=60)[0]
    assert process.returncode == 130, printed
    assert "Interrupted; what this run had started was removed." in printed
    assert running("pulumi-(resource|language|analyzer)") == plugins
    assert sorted(left_behind(engine)) == sorted(before)


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
"""A second service with a security group of its own, roles for a pipeline, and people who are told."""


@with_cli
@pytest.mark.parametrize("more", [{}, MORE], ids=["production", "more"])
def test_both_engines_leave_the_same(engine: Engine, more: dict[str, Any]) -> None:
    with in_a_file(changed(production("both"), more)) as name:
        done = rehearse(name, "--engine", "both", "--json", path=os.environ["PATH"], DOCKER_HOST=engine.host)
    report = json.loads(done.stdout)
    assert done.returncode == 0, report["failure"]
    assert "equal but for identifiers" in next(p["detail"] for p in report["phases"] if p["name"] == "Comparison")
