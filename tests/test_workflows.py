"""The pipeline: valid, without known weaknesses, and as it says in docs/pipeline.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

BIN = Path(sys.executable).parent
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CREDENTIALS = "aws-actions/configure-aws-credentials"


def read(name: str) -> dict[str, Any]:
    document = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())
    document["on"] = document.pop(True)  # YAML takes `on` for a truth value.
    return dict(document)


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def tool(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True)


def test_there_are_the_four_of_them() -> None:
    assert [file.stem for file in FILES] == ["deploy", "drift", "pull-request", "rollback"]


def test_they_are_valid_by_githubs_schema() -> None:
    done = tool(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *FILES)
    assert done.returncode == 0, done.stdout


def test_the_schema_refuses_a_mistyped_key(tmp_path: Path) -> None:
    broken = tmp_path / "deploy.yml"
    broken.write_text((ROOT / ".github/workflows/deploy.yml").read_text().replace("steps:", "step:"))
    done = tool(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", broken)
    assert done.returncode != 0


def test_a_security_linter_finds_nothing() -> None:
    done = tool(BIN / "zizmor", "--offline", "--no-progress", "--persona", "regular", *FILES)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("persist-credentials: false", "fetch-tags: false", "artipacked"),
        ("pull_request:", "pull_request_target:", "dangerous-triggers"),
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7", "unpinned-uses"),
        ('"$RUN_URL" >comment.md', '"${{ github.event.pull_request.title }}" >comment.md', "template-injection"),
    ],
)
def test_the_security_linter_would_find(tmp_path: Path, old: str, new: str, finding: str) -> None:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    text = (ROOT / ".github/workflows/pull-request.yml").read_text()
    assert old in text
    (folder / "pull-request.yml").write_text(text.replace(old, new))
    done = tool(BIN / "zizmor", "--offline", "--no-progress", folder)
    assert done.returncode != 0
    assert finding in done.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_action_is_pinned_by_commit_with_its_version_beside(file: Path) -> None:
    uses = re.findall(r"uses: (.*)", file.read_text())
    assert uses
    assert [use for use in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_goes_on_after_an_error_and_there_are_no_long_lived_keys(file: Path) -> None:
    text = file.read_text()
    for word in ("continue-on-error", "aws-access-key-id", "AWS_SECRET_ACCESS_KEY", "PULUMI_ACCESS_TOKEN", "|| true"):
        assert word not in text
    # The one secret is where nothing else will do: Slack's webhook.
    assert set(re.findall(r"secrets\.(\w+)", text)) <= {"SLACK_WEBHOOK"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_rights_are_given_to_jobs_one_by_one(file: Path) -> None:
    workflow = read(file.stem)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"]["contents"] in ("read", "write")
        asks_for_a_role = any(CREDENTIALS in step.get("uses", "") for step in job["steps"])
        assert ("id-token" in job["permissions"]) == asks_for_a_role
        # The role's trust is in the environment.
        assert ("environment" in job) == asks_for_a_role


def test_a_pull_request_from_a_fork_never_sees_credentials() -> None:
    workflow = read("pull-request")
    assert workflow["on"] == {"pull_request": {"branches": ["main"]}}
    for name, job in workflow["jobs"].items():
        if any(CREDENTIALS in step.get("uses", "") for step in job["steps"]):
            assert job["if"] == "github.event.pull_request.head.repo.full_name == github.repository", name
        else:
            assert "secrets." not in str(job) and "id-token" not in job["permissions"], name


def test_only_deploy_and_rollback_take_the_role_that_deploys() -> None:
    takers = {file.stem for file in FILES if "AWS_DEPLOY_ROLE" in file.read_text()}
    assert takers == {"deploy", "rollback"}
    for name in takers:
        assert {job["environment"] for job in read(name)["jobs"].values()} == {"production"}


def test_a_stack_has_one_update_at_a_time_which_is_never_cancelled() -> None:
    wanted = {"group": "stack-production", "cancel-in-progress": False}
    assert read("deploy")["concurrency"] == read("rollback")["concurrency"] == wanted


def test_deploy_goes_from_preflight_to_verify_and_tells_of_it_whatever_happened() -> None:
    workflow = read("deploy")
    assert workflow["on"] == {"push": {"branches": ["main"]}}
    named = [step for step in steps(workflow) if "name" in step]
    assert [step["name"] for step in named] == ["Preflight", "Up", "Verify", "Notify"]
    assert [step.get("if") for step in named] == [None, None, None, "always()"]


def test_commands_in_the_workflows_exist() -> None:
    for file in FILES:
        for command in re.findall(r"(?<![\w/])\./(?:ops|rehearse) [a-z]+", file.read_text()):
            script, verb = command.split()
            if script == "./ops":
                assert tool(sys.executable, "-m", "operations", verb, "--help").returncode == 0, command


def test_scripts_in_the_workflows_are_valid_shell() -> None:
    scripts = [step["run"] for file in FILES for step in steps(read(file.stem)) if "run" in step]
    assert len(scripts) > 10
    for script in [*scripts, (ROOT / ".github" / "notify").read_text()]:
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stderr}\n{script}"


@pytest.fixture
def slack() -> Iterator[HTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self.server.told.append((self.path, self.rfile.read(length).decode()))  # type: ignore[attr-defined]
            self.send_response(404 if "dead" in self.path else 200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.told = []  # type: ignore[attr-defined]
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def notify(**variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", **variables}
    return subprocess.run(
        [ROOT / ".github" / "notify", 'Deployment of "production": failure', "https://github.com/o/r/actions/runs/1"],
        env=environment,
        capture_output=True,
        text=True,
    )


def test_slack_is_told(slack: HTTPServer) -> None:
    done = notify(SLACK_WEBHOOK=f"http://127.0.0.1:{slack.server_port}/hook")
    assert done.returncode == 0
    assert done.stdout == ""
    ((path, body),) = slack.told  # type: ignore[attr-defined]
    assert path == "/hook"
    assert yaml.safe_load(body) == {
        "text": 'Deployment of "production": failure\nhttps://github.com/o/r/actions/runs/1'
    }


def test_a_dead_webhook_is_a_warning_without_its_address(slack: HTTPServer) -> None:
    done = notify(SLACK_WEBHOOK=f"http://127.0.0.1:{slack.server_port}/dead-secret")
    assert done.returncode == 0
    assert "::warning::Slack did not take the notification" in done.stdout
    assert "dead-secret" not in done.stdout + done.stderr


def test_where_nobody_is_to_be_told_nothing_happens() -> None:
    done = notify()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
