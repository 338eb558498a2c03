"""The pipeline: valid, without known weaknesses, and as it says in docs/pipeline.md."""

from __future__ import annotations

import dataclasses
import json
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

from engine.cli import VERSION
from operations.comment import marker
from operations.notify import message
from rehearsal.emulator import Emulator
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


def test_pinned_actions_are_kept_up_to_date() -> None:
    file = ROOT / ".github" / "dependabot.yml"
    done = tool(BIN / "check-jsonschema", "--builtin-schema", "vendor.dependabot", file)
    assert done.returncode == 0, done.stdout
    assert [update["package-ecosystem"] for update in yaml.safe_load(file.read_text())["updates"]] == ["github-actions"]


def test_a_job_that_builds_the_stacks_image_runs_where_the_variable_says() -> None:
    builds = re.compile(r"(pulumi up|\./rehearse|\./test)\b")
    jobs = [job for file in FILES for job in read(file.stem)["jobs"].values()]
    chosen = {job["runs-on"] for job in jobs if any(builds.search(step.get("run", "")) for step in job["steps"])}
    assert chosen == {"${{ vars.RUNNER || 'ubuntu-24.04' }}"}


def test_documents_name_the_cli_that_operations_and_rehearsals_take() -> None:
    assert f" {VERSION} or newer |" in (ROOT / "docs" / "deploying.md").read_text()


def test_the_schema_refuses_a_mistyped_key(tmp_path: Path) -> None:
    broken = tmp_path / "deploy.yml"
    broken.write_text((ROOT / ".github/workflows/deploy.yml").read_text().replace("steps:", "step:"))
    done = tool(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", broken)
    assert done.returncode != 0


def test_a_security_linter_finds_nothing() -> None:
    done = tool(BIN / "zizmor", "--offline", "--no-progress", "--persona", "regular", ROOT / ".github")
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
    # Secrets are where nothing else will do: Slack's webhook, and the app that makes the rollback's pull request.
    app = {"ROLLBACK_APP_PRIVATE_KEY"} if file.stem == "rollback" else set()
    assert set(re.findall(r"secrets\.(\w+)", text)) <= {"SLACK_WEBHOOK"} | app


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
            assert job["if"] == (
                "${{ !cancelled() && github.event.pull_request.head.repo.full_name == github.repository }}"
            ), name
        else:
            assert "secrets." not in str(job) and "id-token" not in job["permissions"], name


def test_a_pull_request_is_rehearsed_with_own_and_official_providers_and_they_are_compared() -> None:
    scripts = "\n".join(step.get("run", "") for step in steps(read("pull-request")))
    ways = re.findall(r"\./rehearse production(?: (--(?:providers|compare) \w+))?", scripts)
    assert sorted(ways) == ["", "--compare providers", "--providers official"]


def test_only_deploy_and_rollback_take_the_role_that_deploys() -> None:
    takers = {file.stem for file in FILES if "AWS_DEPLOY_ROLE" in file.read_text()}
    assert takers == {"deploy", "rollback"}
    for name in takers:
        assert {job["environment"] for job in read(name)["jobs"].values()} == {"production"}


def test_a_stack_has_one_update_at_a_time_which_is_never_cancelled_and_none_that_waits_is_dropped() -> None:
    wanted = {"group": "stack-production", "cancel-in-progress": False, "queue": "max"}
    assert read("deploy")["concurrency"] == read("rollback")["concurrency"] == read("drift")["concurrency"] == wanted


def test_deploy_goes_from_preflight_to_verify_and_tells_of_it_whatever_happened() -> None:
    workflow = read("deploy")
    assert workflow["on"] == {"push": {"branches": ["main"]}}
    named = [step for step in steps(workflow) if "name" in step]
    assert [step["name"] for step in named] == ["Preflight", "Up", "Verify", "Notify"]
    assert [step.get("if") for step in named] == [None, None, None, "always()"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_failure_before_a_pipe_is_one(file: Path) -> None:
    """GitHub's own default is a shell without pipefail."""
    assert read(file.stem)["defaults"] == {"run": {"shell": "bash"}}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_pulumi_is_of_the_programs_version_and_knows_where_the_state_is(file: Path) -> None:
    """The action does not log in where it only installs: the command reads the environment."""
    for job in read(file.stem)["jobs"].values():
        for action in (step for step in job["steps"] if step.get("uses", "").startswith("pulumi/actions@")):
            assert set(action["with"]) == {"pulumi-version"}
            assert action["with"]["pulumi-version"] == VERSION, "the CLI that the rehearsal has, too"
            # A rehearsal's state is its own.
            if not any("./rehearse" in step.get("run", "") for step in job["steps"]):
                assert job["env"] == {"PULUMI_BACKEND_URL": "${{ vars.PULUMI_BACKEND_URL }}"}


def test_commands_in_the_workflows_exist() -> None:
    scripts = "\n".join(file.read_text() for file in FILES)
    used = set(re.findall(r"(?:\./ops|python\S* -m operations) ([a-z]+)", scripts))
    assert used >= {"preflight", "verify", "rollback", "policies", "cost"}
    told = tool(sys.executable, "-m", "operations", "--help").stdout
    assert used <= set(re.findall(r"^ +([a-z]+)\s", told, re.MULTILINE))
    assert set(re.findall(r"-m (operations\.[a-z]+)", scripts)) == {"operations.comment", "operations.notify"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shell_linter_finds_nothing_in_the_scripts_of_workflows(file: Path, tmp_path: Path) -> None:
    scripts = []
    for number, step in enumerate(step for step in steps(read(file.stem)) if "run" in step):
        scripts.append(tmp_path / f"{number}.sh")
        scripts[-1].write_text("set -eo pipefail\n" + step["run"])
    done = tool(BIN / "shellcheck", "--shell", "bash", *scripts)
    assert done.returncode == 0, done.stdout


def test_a_shell_linter_finds_nothing_in_the_scripts_of_the_project() -> None:
    files = [file for file in [*ROOT.iterdir(), ROOT / ".ci" / "run"] if file.is_file()]
    listed = [file for file in files if file.suffix == ".sh" or file.read_bytes().startswith(b"#!/usr/bin/env bash")]
    assert {"test", "ops", "rehearse", "environment.sh", "run"} <= {file.name for file in listed}
    done = tool(BIN / "shellcheck", "--shell", "bash", "--external-sources", *listed)
    assert done.returncode == 0, done.stdout


# --- the scripts that keep one comment and one issue, with GitHub's command line stood in for


@dataclasses.dataclass
class Desk:
    """Runs a workflow's step in a directory of its own, where `gh` records what it is asked."""

    home: Path

    def run(self, workflow: str, name: str, *, found: str = "", **variables: str) -> list[list[str]]:
        """What `gh` was asked. `found`: what it finds when it is asked to look."""
        gh, asked = self.home / "bin" / "gh", self.home / "asked"
        gh.parent.mkdir(exist_ok=True)
        asked.unlink(missing_ok=True)
        gh.write_text(
            f"#!{sys.executable}\n"
            "import json, os, sys\n"
            f"open({str(asked)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
            f"print({found!r}) if '--jq' in sys.argv and {found!r} else None\n"
            f"open({str(self.home / 'token')!r}, 'a').write(os.environ.get('GH_TOKEN', '') + '\\n')\n"
        )
        gh.chmod(0o755)
        (script,) = [step["run"] for step in steps(read(workflow)) if step.get("name") == name]
        environment = {
            "PATH": f"{gh.parent}:{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_STEP_SUMMARY": str(self.home / "summary"),
            "RUN_URL": "https://github.com/o/r/actions/runs/1",
            **variables,
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in asked.read_text().splitlines()] if asked.exists() else []

    def previewed(self, *operations: str) -> None:
        """Writes what a preview printed, with a step for each of `operations`."""
        urn = "urn:pulumi:production::mcp-on-ecs::aws:ecs/service:Service::one"
        events: list[dict[str, Any]] = [{"preludeEvent": {"config": {}}}]
        events += [
            {"resourcePreEvent": {"metadata": {"op": op, "urn": urn, "new": {"custom": True}}}} for op in operations
        ]
        (self.home / "preview.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_that_a_workflow_reads_or_uploads_is_written_by_a_step_of_it(file: Path) -> None:
    written: set[str] = set()
    used: set[str] = set()
    for step in steps(read(file.stem)):
        script = step.get("run", "")
        names = set(re.findall(r"(?<![\w./-])[\w-]+\.(?:json|jsonl|md|mmd|log)\b", script))
        made = {name for name in names if re.search(rf"(?:>>?|tee(?: -a)?) *{re.escape(name)}\b", script)}
        written |= made
        used |= (names - made) | set(str(step.get("with", {}).get("path", "")).split())
    assert written
    assert used - written == set()


def test_a_first_comment_is_made_and_then_kept_up_to_date(desk: Desk) -> None:
    desk.previewed("update")
    looked, made = desk.run("pull-request", "Comment", NUMBER="7")
    assert looked[:3] == ["api", "--paginate", "repos/o/r/issues/7/comments"]
    # The marker that is looked for is the one that is written.
    assert f'startswith("{marker("production")}")' in looked[-1]
    assert made == ["pr", "comment", "7", "--repo", "o/r", "--body-file", "comment.md"]
    assert (desk.home / "comment.md").read_text().startswith(marker("production"))
    assert "1 to update" in (desk.home / "summary").read_text()

    _, changed = desk.run("pull-request", "Comment", found="42\n43", NUMBER="7")
    assert changed == ["api", "--method", "PATCH", "repos/o/r/issues/comments/42", "--field", "body=@comment.md"]


def test_a_comment_is_made_from_what_there_is(desk: Desk) -> None:
    """All steps before it failed, so there is no file."""
    desk.run("pull-request", "Comment", NUMBER="7")
    assert "not previewed" in (desk.home / "comment.md").read_text()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone in which a rollback has pinned the image, and whose GitHub is a directory."""

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    git("init", "--initial-branch=main", ".")
    git("init", "--bare", "github.git")
    git("config", f"url.{tmp_path / 'github.git'}.insteadOf", "https://github.com/o/r.git")
    (tmp_path / "Pulumi.production.yaml").write_text("config: {}\n")
    git("add", "Pulumi.production.yaml")
    git("-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--message", "Deployed")
    (tmp_path / "Pulumi.production.yaml").write_text("config: {pinned: true}\n")
    return tmp_path


PROPOSE = {"BRANCH": "rollback-1", "OWN_TOKEN": "of-the-workflow"}


def test_a_rollbacks_pull_request_is_made_by_the_app_so_that_its_checks_start(checkout: Path) -> None:
    asked = Desk(checkout).run("rollback", "Propose the pinned image", **PROPOSE, APP_TOKEN="of-the-app")
    assert [call[:2] for call in asked] == [["auth", "setup-git"], ["pr", "create"]]
    assert {"--head", "rollback-1", "--base", "main"} <= set(asked[1])
    assert (checkout / "token").read_text().split() == ["of-the-app", "of-the-app"]
    pushed = tool("git", "-C", checkout / "github.git", "show", "rollback-1:Pulumi.production.yaml").stdout
    assert pushed == "config: {pinned: true}\n"
    assert "checks" not in (checkout / "body.md").read_text()


def test_without_an_app_the_pull_request_says_how_its_checks_are_started(checkout: Path) -> None:
    Desk(checkout).run("rollback", "Propose the pinned image", **PROPOSE, APP_TOKEN="")
    assert (checkout / "token").read_text().split() == ["of-the-workflow", "of-the-workflow"]
    assert 'press "Approve workflows to run", or close and reopen it' in (checkout / "body.md").read_text()


def test_a_rollback_that_changed_nothing_proposes_nothing(checkout: Path) -> None:
    (checkout / "Pulumi.production.yaml").write_text("config: {}\n")
    assert Desk(checkout).run("rollback", "Propose the pinned image", **PROPOSE, APP_TOKEN="of-the-app") == []


def test_the_app_may_do_no_more_than_the_workflow_and_only_where_it_is_set_up() -> None:
    (app,) = [step for step in steps(read("rollback")) if step.get("id") == "app"]
    granted = {key.removeprefix("permission-"): right for key, right in app["with"].items() if "permission-" in key}
    own = {
        key: right for key, right in read("rollback")["jobs"]["rollback"]["permissions"].items() if key != "id-token"
    }
    assert granted == own == {"contents": "write", "pull-requests": "write"}
    # After a rollback that failed too, and where no app is: the workflow goes on with its own token.
    assert app["if"] == "always() && vars.ROLLBACK_APP_CLIENT_ID != ''"


TITLE = "production differs from what main declares"


def test_drift_opens_one_issue_updates_it_and_closes_it_when_it_is_over(desk: Desk) -> None:
    desk.previewed("update")
    _, opened = desk.run("drift", "One issue", TITLE=TITLE)
    assert opened == ["issue", "create", "--repo", "o/r", "--title", TITLE, "--body-file", "issue.md"]
    assert "1 to update" in (desk.home / "issue.md").read_text()
    _, updated = desk.run("drift", "One issue", found="5", TITLE=TITLE)
    assert updated == ["issue", "edit", "5", "--repo", "o/r", "--body-file", "issue.md"]

    desk.previewed("same")
    _, closed = desk.run("drift", "One issue", found="5", TITLE=TITLE)
    assert closed[:3] == ["issue", "close", "5"]
    assert len(desk.run("drift", "One issue", TITLE=TITLE)) == 1  # It looks, and there is nothing to do.


# --- notification


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


LOG = (
    "\n".join(f"line {number}" for number in range(99)) + "\n\x1b[31m✗ the service went back to <revision> 41\x1b[0m\n"
)
URL = "https://github.com/o/r/actions/runs/1"


def notify(tmp_path: Path, outcome: str = "failure", **variables: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "last.log").write_text(LOG)
    environment = {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", **variables}
    environment |= {"GITHUB_SHA": "0123456789", "GITHUB_ACTOR": "octocat"}
    command = [sys.executable, "-m", "operations.notify", "Deployment of production", "--outcome", outcome]
    command += ["--steps", "preflight success, up failure, verify skipped", "--log", str(tmp_path / "last.log")]
    return subprocess.run([*command, "--url", URL], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_slack_is_told_what_failed_and_what_to_do(tmp_path: Path, slack: HTTPServer) -> None:
    done = notify(tmp_path, SLACK_WEBHOOK=f"http://127.0.0.1:{slack.server_port}/hook")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    ((path, body),) = slack.told  # type: ignore[attr-defined]
    assert path == "/hook"
    first, log, last = json.loads(body)["text"].split("\n\n")
    assert first.splitlines() == [
        "Deployment of production: failure",
        "commit 0123456 by octocat",
        "preflight success, up failure, verify skipped",
    ]
    assert log.splitlines()[-2:] == ["line 98", "✗ the service went back to &lt;revision&gt; 41"]
    assert "line 80" not in log
    assert "./ops rollback" in last and last.endswith(URL)


def test_sns_is_told_and_a_telephone_in_short(
    tmp_path: Path, emulator: Emulator, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sns, sqs = emulator.client("sns"), emulator.client("sqs")
    topic = sns.create_topic(Name=unique)["TopicArn"]
    queue = sqs.create_queue(QueueName=unique)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    done = notify(
        tmp_path,
        "success",
        TOPIC=topic,
        AWS_ENDPOINT_URL=emulator.endpoint,
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    told = json.loads(message["Body"])
    assert told["Subject"] == "Deployment of production: success"
    assert told["Message"].endswith(URL) and "./ops rollback" not in told["Message"]


def test_a_dead_webhook_is_a_warning_without_its_address(tmp_path: Path, slack: HTTPServer) -> None:
    done = notify(tmp_path, SLACK_WEBHOOK=f"http://127.0.0.1:{slack.server_port}/dead-secret")
    assert done.returncode == 0
    assert "::warning::Slack did not take the notification (HTTP 404)" in done.stdout
    assert "dead-secret" not in done.stdout + done.stderr


def test_a_topic_that_cannot_be_reached_is_a_warning_and_slack_is_told(tmp_path: Path, slack: HTTPServer) -> None:
    topic = "arn:aws:sns:us-east-1:758888582357:gone"
    done = notify(
        tmp_path,
        TOPIC=topic,
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{slack.server_port}/dead",
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        SLACK_WEBHOOK=f"http://127.0.0.1:{slack.server_port}/hook",
    )
    assert done.returncode == 0
    assert done.stdout.startswith("::warning::SNS did not take the notification")
    assert topic in done.stdout
    assert "/hook" in {path for path, _ in slack.told}  # type: ignore[attr-defined]


def test_where_nobody_is_to_be_told_nothing_happens(tmp_path: Path) -> None:
    done = notify(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_was_denied_says_whose_deployment_it_is() -> None:
    log = (
        "error: updating IAM Policy: AccessDenied: not authorized to perform: iam:CreatePolicyVersion\n" + "line\n" * 40
    )
    assert "Those an administrator deploys: pulumi up --target '**Delivery**'" in message("x", log=log, failed=True)
    assert "administrator" not in message("x", log="error: time-out", failed=True)
