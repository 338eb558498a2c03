"""What a pull request and the night's look for drift say, by the workflows' own commands on a deployed stack.

`RECORD_PREVIEWS=1 ./test tests/rehearsal/test_pull_request.py` writes what `tests/test_comment.py` reads anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from components.settings import NAMESPACE
from engine.cli import Cli
from rehearsal.docker import Engine
from rehearsal.kept import Kept
from rehearsal.run import Stack
from tests.conftest import ROOT
from tests.stacks import SERVICE, changed, in_a_file, production

pytestmark = pytest.mark.engine

DATA = ROOT / "tests" / "data"
PLANTED = "planted-secret-value"
LOG_GROUP = "/ecs/busyb-google-workspace-mcp"

CHANGES: Mapping[str, Mapping[str, Any]] = {
    "no-change": {},
    "small-change": {
        f"{SERVICE}.logs.retentionDays": 60,
        "monitoring.subscriptions": [
            {"topic": "deployments", "protocol": "https", "endpoint": f"https://hooks.example.com/{PLANTED}"}
        ],
    },
    "replacement": {
        f"{SERVICE}.discovery": {"name": "workspace"},
        f"{SERVICE}.memory": 2048,
        f"{SERVICE}.dashboard": None,
    },
    "secret-in-a-variable": {f"{SERVICE}.environment": {"DB_PASSWORD": PLANTED}},
}
"""Name -> what differs from the deployed configuration."""


class Plain:
    """A shell that has what a rehearsal which is kept prints, and the steps of the workflows in it."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack = stack
        self.name = name
        self.folder = Kept.folder(name)

    def __call__(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it as a workflow's `shell: bash` does."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "AWS_"))}
        # The workflows are in the checkout, a kept stack is in a folder of its own.
        variables = {"PYTHONPATH": str(ROOT), "RUN_URL": "https://ci.example.com/1", **variables}
        return subprocess.run(
            ["bash", "-eo", "pipefail", "-c", f"source {self.folder / 'environment.sh'}\n{script}"],
            env=clean | variables,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def client(self, service: str) -> Any:
        """A client of the emulated account, for what is done behind Pulumi's back."""
        kept = Kept.read(self.name)
        assert kept
        return kept.account().client(service)

    def configure(self, stack: Stack) -> None:
        """What the pull request declares; what is deployed stays."""
        file = self.folder / f"Pulumi.{self.name}.yaml"
        document = yaml.safe_load(file.read_text())
        others = {key: text for key, text in document["config"].items() if not key.startswith(f"{NAMESPACE}:")}
        ours = {key: text for key, text in stack.config.items() if key.startswith(f"{NAMESPACE}:")}
        file.write_text(yaml.safe_dump(document | {"config": others | ours}))

    def step(self, workflow: str, job: str, step: str, writes: str = "") -> subprocess.CompletedProcess[str]:
        """The step of the workflow on this stack; of its script, the command that writes the file `writes`."""
        jobs = yaml.safe_load((ROOT / ".github" / "workflows" / f"{workflow}.yml").read_text())["jobs"]
        (found,) = [one for one in jobs[job]["steps"] if one.get("name") == step]
        script = found["run"]
        if writes:
            script = script.partition(f">{writes}\n")[0] + f">{writes}"
        assert "--stack production" in script
        script = script.replace("--stack production", f"--stack {self.name}")
        script = script.replace("--policy-pack policies", f"--policy-pack {ROOT / 'policies'}")
        variables = {name: text for name, text in found.get("env", {}).items() if "${{" not in text}
        return self(script, **variables)

    def commented(self) -> str:
        """What the pull request's preview and comment say of the configuration as it is now."""
        for name in ("preview.jsonl", "comment.md"):
            (self.folder / name).unlink(missing_ok=True)
        self.preview = self.step("pull-request", "preview", "Preview")
        done = self.step("pull-request", "preview", "Comment", writes="comment.md")
        assert done.returncode == 0, done.stdout + done.stderr
        return (self.folder / "comment.md").read_text()

    def drift(self) -> str:
        """What the issue about drift says; empty for none."""
        done = self.step("drift", "drift", "Preview")
        assert done.returncode == 0, done.stdout + done.stderr
        done = self.step("drift", "drift", "One issue", writes="issue.md")
        assert done.returncode == 0, done.stdout + done.stderr
        return (self.folder / "issue.md").read_text()


@pytest.fixture(scope="module")
def plain(engine: Engine, pulumi_cli: Cli) -> Iterator[Plain]:
    """The production stack, deployed by Pulumi's engine and kept."""
    stack = production("pull-request")
    with in_a_file(stack) as name:
        command = [sys.executable, "-m", "rehearsal", name]
        try:
            kept = subprocess.run(
                [*command, "--engine", "pulumi", "--keep"],
                cwd=ROOT,
                env={**os.environ, "DOCKER_HOST": engine.host},
                capture_output=True,
                text=True,
                timeout=900,
            )
            assert kept.returncode == 0, kept.stdout + kept.stderr
            yield Plain(stack, name)
        finally:
            subprocess.run([*command, "--stop"], cwd=ROOT, capture_output=True)


def commented(plain: Plain, name: str) -> str:
    """The comment on a change; its preview is recorded if that is asked for."""
    plain.configure(changed(plain.stack, dict(CHANGES[name])))
    try:
        text = plain.commented()
    finally:
        plain.configure(plain.stack)
    printed = (plain.folder / "preview.jsonl").read_text()
    if os.environ.get("RECORD_PREVIEWS"):
        (DATA / f"preview_{name}.jsonl").write_text(recorded(printed, plain))
    if PLANTED in json.dumps(CHANGES[name]):
        assert PLANTED in printed, "otherwise nothing could be shown"
    # 04da6b54-... is the SDK's marker of an unknown value.
    for value in (PLANTED, "arn:aws:", "04da6b54-80e4-46f7-96ec-b56ff0331ba9", "output<", "[unknown]", "[secret]"):
        assert value not in text
    return text


def recorded(printed: str, plain: Plain) -> str:
    """The events that a comment is made of, of this place and of values only what was planted."""
    kept = []
    same = 0
    for event in map(json.loads, printed.splitlines()):
        if not event.keys() & {"resourcePreEvent", "diagnosticEvent", "policyEvent", "summaryEvent"}:
            continue
        said = event.get("diagnosticEvent")
        if said and (said.get("ephemeral") or said["severity"] not in ("error", "warning")):
            continue
        if step := event.get("resourcePreEvent", {}).get("metadata"):
            same += step["op"] == "same"
            if step["op"] == "same" and same > 3:
                continue
            for state in filter(None, (step.get("old"), step.get("new"))):
                state["inputs"] = {key: v for key, v in state["inputs"].items() if PLANTED in json.dumps(v)}
                state["outputs"] = {}
        kept.append(json.dumps(event | {"timestamp": 0}, separators=(",", ":")))
    text = "".join(f"{line}\n" for line in kept)
    return text.replace(str(plain.folder), "/kept").replace(str(ROOT), "/project").replace(plain.name, "production")


def rows(text: str) -> list[str]:
    """The rows of the table of resources, without markup."""
    table = [line for line in text.splitlines() if line.startswith(("| update", "| create", "| **"))]
    return [line.replace("<code>", "").replace("</code>", "").replace("*", "").strip("| ") for line in table]


def test_a_pull_request_that_changes_nothing_says_so(plain: Plain) -> None:
    text = commented(plain, "no-change")
    assert plain.preview.returncode == 0, plain.preview.stderr
    assert f"## {plain.name}: nothing changes\n" in text
    assert rows(text) == []
    assert "### Policies: none stops the deployment" in text


def test_a_small_change_names_resources_and_properties(plain: Plain) -> None:
    text = commented(plain, "small-change")
    assert plain.preview.returncode == 0, plain.preview.stderr
    assert f"## {plain.name}: 1 to update, 1 to create\n" in text
    assert rows(text) == [
        "update | google-workspace-logs | aws:cloudwatch/logGroup:LogGroup | retentionInDays",
        "create | notifications-subscription-1 | aws:sns/topicSubscription:TopicSubscription",
    ]
    assert "WARNING" not in text and "error:" not in text


def test_a_replacement_is_warned_of_but_not_that_a_task_definition_has_another_revision(plain: Plain) -> None:
    text = commented(plain, "replacement")
    assert plain.preview.returncode == 0, plain.preview.stderr
    assert f"## {plain.name}: 3 to replace, 3 to update\n" in text
    (warning,) = [line for line in text.splitlines() if line.startswith("> Replaced")]
    assert "<code>google-workspace-discovery</code>" in warning and "<code>google-workspace-dashboard</code>" in warning
    assert "task-definition" not in warning
    assert set(rows(text)) == {
        "replace | google-workspace-discovery | aws:servicediscovery/service:Service | name",
        "replace | google-workspace-task-definition | aws:ecs/taskDefinition:TaskDefinition | memory",
        "replace | google-workspace-dashboard | aws:cloudwatch/dashboard:Dashboard | dashboardName",
        "update | google-workspace-address | aws:ssm/parameter:Parameter | value",
        "update | google-workspace-healthy | aws:ssm/parameter:Parameter | value",
        "update | google-workspace-service | aws:ecs/service:Service | serviceRegistries, taskDefinition",
    }


def test_what_a_mandatory_policy_stops_says_which_and_where_without_the_secret_itself(plain: Plain) -> None:
    text = commented(plain, "secret-in-a-variable")
    assert plain.preview.returncode != 0
    assert f"## {plain.name}: stopped by policies; otherwise 1 to replace, 2 to update\n" in text
    assert "### Policies: **stopped** by 2" in text
    stops = [line for line in text.splitlines() if line.startswith("- stops ")]
    assert len(stops) == 2
    for line, resource in zip(sorted(stops), ("google-workspace-task-definition: ", "google-workspace: "), strict=True):
        assert line.startswith("- stops ecs-container-disallow-plain-secrets \\(high\\): ")
        assert resource in line and "the plain variable DB\\_PASSWORD looks like a secret" in line
    assert "error: preview failed" not in text


def test_a_configuration_with_mistakes_says_each_and_what_to_do(plain: Plain) -> None:
    plain.configure(Stack(**{**vars(plain.stack), "config": without_redirects(plain.stack)}))
    try:
        text = plain.commented()
    finally:
        plain.configure(plain.stack)
    assert plain.preview.returncode != 0
    assert f"## {plain.name}: the preview failed\n" in text
    (error,) = [line for line in text.splitlines() if line.startswith("- error: ")]
    first, *others = error.split("<br>")
    assert first == "- error: 1 mistake in the stack's configuration; nothing was changed."
    assert any("clients is empty" in line for line in others)


def without_redirects(stack: Stack) -> dict[str, str]:
    """The configuration with a mistake, which `changed` would not let through."""
    key = f"{NAMESPACE}:services"
    services = json.loads(stack.config[key])
    services["google-workspace"]["oauth"]["clients"] = []
    return {**stack.config, key: json.dumps(services)}


def test_what_the_engine_repeats_is_said_once(plain: Plain) -> None:
    text = commented(plain, "no-change")
    warnings = [line for line in text.splitlines() if line.startswith("- warning: ")]
    assert len(warnings) == len(set(warnings))


def test_exceptions_of_the_stack_are_in_force_in_a_preview(plain: Plain) -> None:
    text = commented(plain, "no-change")
    assert "0 stop, 0 advise, 0 not decided, 4 exceptions" in text
    assert "- exception logs-group-encrypt-with-kms on google-workspace-logs: " in text


def test_drift_is_found_and_named_and_gone_after_an_up_that_refreshes(plain: Plain) -> None:
    assert plain.drift() == "", "what is deployed is what is declared"
    logs = plain.client("logs")

    def retention() -> int:
        (group,) = logs.describe_log_groups(logGroupNamePrefix=LOG_GROUP)["logGroups"]
        return int(group["retentionInDays"])

    assert retention() == 30
    logs.put_retention_policy(logGroupName=LOG_GROUP, retentionInDays=1)

    text = plain.drift()
    assert text.startswith(f"## {plain.name} differs from what main declares: 1 to update\n")
    assert rows(text) == ["update | google-workspace-logs | aws:cloudwatch/logGroup:LogGroup | retentionInDays"]
    advised = f"pulumi up --refresh --stack {plain.name}"
    assert f"`{advised}`" in text
    assert "https://ci.example.com/1" in text

    done = plain(f"{advised} --yes --skip-preview --non-interactive")
    assert done.returncode == 0, done.stdout + done.stderr
    assert retention() == 30
    assert plain.drift() == ""


def test_what_somebody_deleted_is_drift_that_is_made_again(plain: Plain) -> None:
    plain.client("cloudwatch").delete_dashboards(DashboardNames=["GoogleWorkspaceMCP"])
    text = plain.drift()
    assert text.startswith(f"## {plain.name} differs from what main declares: 1 to create\n")
    assert rows(text) == ["create | google-workspace-dashboard | aws:cloudwatch/dashboard:Dashboard"]
    done = plain(f"pulumi up --refresh --stack {plain.name} --yes --skip-preview --non-interactive")
    assert done.returncode == 0, done.stdout + done.stderr
    assert plain.drift() == ""
