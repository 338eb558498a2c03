"""The comment on a pull request, as GitHub gets it. `UPDATE_SNAPSHOTS=1 ./test tests/test_comment.py` writes anew."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from operations.comment import EXCEPTIONS_IN_FORCE, LIMIT, comment, drift, marker
from policies import pack
from tests.conftest import ROOT

DATA = Path(__file__).parent / "data"
SNAPSHOTS = Path(__file__).parent / "snapshots"
RUN = "https://github.com/busyb-ai/infrastructure/actions/runs/1"
PLANTED = "planted-secret-value"


def step(op: str, name: str, type_: str = "aws:ecs/service:Service", **more: Any) -> dict[str, Any]:
    """A step as the engine tells it, with values that must not be shown."""
    state = {"custom": True, "inputs": {"password": PLANTED}, "outputs": {"password": PLANTED}}
    urn = f"urn:pulumi:production::mcp-on-ecs::mcp-on-ecs:index:McpService${type_}::{name}"
    step = {"op": op, "urn": urn, "type": type_, "old": state, "new": state, "detailedDiff": None, **more}
    return {"sequence": 1, "timestamp": 1, "resourcePreEvent": {"metadata": step, "planning": True}}


def recorded(name: str) -> list[dict[str, Any]]:
    """A real preview; `RECORD_PREVIEWS=1 ./test tests/rehearsal/test_pull_request.py` makes it again.

    Without what the CLI says of this project's own providers, which the pipeline has not got; and with values that
    must not be shown.
    """
    lines = (DATA / f"preview_{name}.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines if "from $PATH at" not in line]
    for step in (event["resourcePreEvent"]["metadata"] for event in events if "resourcePreEvent" in event):
        for state in filter(None, (step.get("old"), step.get("new"))):
            state["inputs"]["password"] = state["outputs"]["password"] = PLANTED
    return [{"preludeEvent": {"config": {"mcp-on-ecs:x": PLANTED}}}, *events]


def said(severity: str, message: str, **more: Any) -> dict[str, Any]:
    return {"diagnosticEvent": {"severity": severity, "message": message, "color": "raw", **more}}


def broken(level: str, policy: str, message: str, **more: str) -> dict[str, Any]:
    event = {"policyName": policy, "enforcementLevel": level, "message": message, **more}
    return {"policyEvent": event | {"resourceUrn": "urn", "color": "raw", "policyPackName": "mcp-on-ecs"}}


STACK = {"op": "update", "urn": "urn:pulumi:production::mcp-on-ecs::pulumi:pulumi:Stack::mcp-on-ecs-production"}


def preview(*events: dict[str, Any]) -> list[dict[str, Any]]:
    first = {"preludeEvent": {"config": {"mcp-on-ecs:x": PLANTED}}}
    return [first, {"resourcePreEvent": {"metadata": STACK}}, *events, {"summaryEvent": {"resourceChanges": {}}}]


COUNT = "18 resources, 55 rules: 0 violations, 1 allowed by 1 exceptions, 0 not decided"
EXCEPTION = (
    "exception  ecr-repository-encrypt-with-kms on google-workspace-repository: "
    "Encryption is fixed when a repository is made (platform-team, until 2027-11-30)"
)
CHECK = {"name": "health answers 200 from outside", "passed": True, "detail": "healthy", "remedy": "", "seconds": 0.1}
REHEARSAL: dict[str, Any] = {
    "stack": "production",
    "phases": [
        {"name": "Docker engine", "seconds": 0.1, "detail": "unix:///run/docker.sock"},
        {"name": "Deployment", "seconds": 11.5, "detail": "17 of 17 resources changed"},
        {"name": "Second pass", "seconds": 0.5, "detail": "0 of 17 resources changed"},
    ],
    "checks": [CHECK],
    "unproven": ["TLS: the edge speaks plain HTTP; the listener's certificate is not exercised"],
    "failure": "",
    "passed": True,
    "seconds": 16.2,
}
FAILED = REHEARSAL | {
    "passed": False,
    "checks": [CHECK, CHECK | {"passed": False, "detail": "404", "remedy": "compare health.path with the server's"}],
}
STOPS = (
    "stops  ecs-task-definition-image-by-digest (critical): Images are named by digest.",
    "       on google-workspace-task-definition",
    "       The image is busyb:latest. Why: a rollback would start the same broken image. Do: name it by digest.",
)
COST = """**26.62 USD** a month, estimated; +0.10.

resource | what | before | after | difference
--- | --- | --- | --- | ---
google-workspace-alarm | alarm | 0.00 | 0.10 | +0.10
"""
SMALL = recorded("small-change")
REPLACEMENT = recorded("replacement")
SECRET = recorded("secret-in-a-variable")
SERVICE_CHANGES = step("update", "google-workspace-service", diffs=["desiredCount", "taskDefinition"])
EVIL = "a|b`c`*d*_e_<img src=x>[l](https://evil.example)@everyone\n# h"
HUGE = tuple(step("update", f"service-{number:05}-{'x' * 60}", diffs=["a", "b"]) for number in range(5_000))

CASES: dict[str, dict[str, Any]] = {
    "no-change": {
        "preview": recorded("no-change"),
        "policies": [EXCEPTION, COUNT],
        "rehearsal": REHEARSAL,
        "diagram": 'flowchart TB\n    n0["<b>Target group</b>"]\n',
    },
    "small-change": {
        "preview": SMALL,
        "policies": [EXCEPTION, COUNT],
        "rehearsal": REHEARSAL,
        "cost": COST,
    },
    "replacement": {"preview": REPLACEMENT, "policies": [COUNT], "rehearsal": REHEARSAL},
    "policy-violation": {
        "preview": preview(
            SERVICE_CHANGES,
            said("error", "<{%fg 1%}>no such<{%reset%}> cluster"),
            said("info#err", "not shown"),
            said("error", "not shown either", ephemeral=True),
        ),
        "policies": [*STOPS, EXCEPTION, COUNT.replace("0 violations", "1 violations")],
        "rehearsal": FAILED,
    },
    "markdown-in-names": {
        "preview": preview(
            step("update", EVIL, diffs=["tags['a|b']", "`x`"]),
            said("warning", EVIL),
        ),
        "policies": [f"advises  rule (low): {EVIL}", COUNT],
        "rehearsal": REHEARSAL | {"failure": EVIL, "passed": False},
    },
    "secret-in-a-variable": {"preview": SECRET, "policies": [COUNT], "rehearsal": REHEARSAL},
    "no-credentials": {"policies": [COUNT], "rehearsal": REHEARSAL},
    "violation-in-the-account": {
        "preview": preview(
            SERVICE_CHANGES,
            broken("advisory", EXCEPTIONS_IN_FORCE, "Exceptions in force are listed.\nrule on resource: reason"),
            broken(
                "mandatory",
                "ecs-task-separate-roles",
                "<{%reset%}>Roles are apart.\ntask: its task role is ...",
                severity="high",
            ),
            broken(
                "advisory",
                "mcp-server-spell-oauth",
                "can't run policy 'mcp-server-spell-oauth' from policy pack 'mcp-on-ecs@v0.0.1' during preview: "
                "not decided at preview for svc (string value); pulumi up decides it",
                severity="critical",
            ),
        ),
        "policies": [EXCEPTION, COUNT],
        "rehearsal": REHEARSAL,
    },
    "huge": {
        "preview": preview(*HUGE, *(said("error", f"{number} {'e' * 4_000}") for number in range(900))),
        "policies": [*STOPS * 900, COUNT],
        "rehearsal": FAILED
        | {"checks": FAILED["checks"] * 900, "unproven": ["u" * 900] * 900, "failure": "f\n" * 90_000},
        "cost": "c" * 90 + "\n" + "d\n" * 90_000,
        "diagram": "flowchart TB\n" + "    n0\n" * 9_000,
    },
}


@pytest.mark.parametrize("name", CASES)
def test_the_comment_is_as_it_was_looked_at(name: str) -> None:
    text = comment("production", **CASES[name], run_url=RUN)
    file = SNAPSHOTS / f"comment-{name}.md"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text(), "UPDATE_SNAPSHOTS=1 ./test tests/test_comment.py, then look at the difference"


@pytest.mark.parametrize("name", CASES)
def test_it_fits_says_whose_it_is_and_shows_no_value(name: str) -> None:
    text = comment("production", **CASES[name], run_url=RUN)
    assert len(text) < LIMIT
    assert text.startswith(marker("production"))
    assert PLANTED not in text


def test_a_huge_preview_says_how_much_is_left_out_and_where_it_is() -> None:
    text = comment("production", **CASES["huge"], run_url=RUN)
    assert "5000 to update" in text
    left_out = re.search(r"\.\.\. and (\d+) more: see \[the run\]\(https", text)
    assert left_out and int(left_out[1]) + text.count("<code>service-") == 5_000
    for heading in ("### Policies", "### Rehearsal", "### Cost"):
        assert heading in text


def test_a_replaced_resource_is_counted_once_and_warned_of() -> None:
    text = comment("production", preview=REPLACEMENT)
    assert "3 to replace, 3 to update" in text
    assert "> [!WARNING]\n> Replaced" in text
    assert text.count("google-workspace-discovery") == 2  # In the warning and in the table.
    assert text.count("google-workspace-task-definition") == 1  # A new revision beside the old is no loss.


def test_a_deletion_comes_before_what_is_updated() -> None:
    events = preview(SERVICE_CHANGES, step("delete", "google-workspace-rule-3", "aws:lb/listenerRule:ListenerRule"))
    text = comment("production", preview=events)
    assert "1 to delete, 1 to update" in text
    assert text.index("| **delete** |") < text.index("| update |")


def test_components_are_no_resources() -> None:
    components = [e for e in SECRET if ":index:McpService::" in json.dumps(e) and '"update"' in json.dumps(e)]
    assert components, "otherwise nothing is left out"
    assert "index:McpService" not in comment("production", preview=SECRET)


def test_a_preview_that_policies_stopped_says_so_and_what_would_change() -> None:
    text = comment("production", preview=SECRET)
    assert "## production: stopped by policies; otherwise 1 to replace, 2 to update\n" in text
    assert "preview failed" not in text
    failed = comment("production", preview=[*SECRET, said("error", "no such cluster")])
    assert "the preview failed; until then 1 to replace, 2 to update" in failed


def test_an_error_of_several_lines_keeps_them_and_one_that_is_repeated_is_said_once() -> None:
    mistakes = said("error", "2 mistakes:\n  # first\n\n  second\n")
    text = comment("production", preview=preview(mistakes, mistakes))
    assert text.count("- error: 2 mistakes:<br>\\# first<br>second\n") == 1 == text.count("error: ")


def test_names_with_markdown_in_them_stay_names() -> None:
    text = comment("production", **CASES["markdown-in-names"])
    rows = [line for line in text.splitlines() if line.startswith("| update")]
    assert len(rows) == 1 and rows[0].count("|") == 5
    assert "<img" not in text and "@everyone" not in text and "](https://evil" not in text
    assert not [line for line in text.splitlines() if line.startswith("# ")]


def test_what_the_preview_of_the_account_found_takes_the_place_of_what_was_found_without_it() -> None:
    text = comment("production", **CASES["violation-in-the-account"])
    assert "### Policies: **stopped** by 1" in text
    assert "ecs-task-separate-roles" in text and "ecr-repository-encrypt-with-kms" not in text
    assert "- exception rule on resource: reason" in text
    assert "- not decided at preview mcp-server-spell-oauth \\(critical\\) for svc" in text
    assert pack.EXCEPTIONS_IN_FORCE == EXCEPTIONS_IN_FORCE


def test_a_preview_that_broke_off_is_no_preview_without_changes() -> None:
    assert "## production: the preview failed\n" in comment("production", preview=[])
    assert "the preview failed; until then 1 to update, 1 to create" in comment(
        "production", preview=[*SMALL, said("error", "no such cluster")]
    )


def test_drift_is_what_would_be_put_back() -> None:
    refreshed = {"resOutputsEvent": {"metadata": {"op": "update", "urn": "urn", "detailedDiff": {"desiredCount": {}}}}}
    events = [*recorded("no-change"), step("refresh", "google-workspace-service"), refreshed]
    assert drift("production", events) == ""
    text = drift("production", [*events, *SMALL], run_url=RUN)
    assert text.startswith("## production differs from what main declares: 1 to update, 1 to create\n")
    assert (
        RUN in text
        and "**Do**: " in text
        and "`pulumi up --refresh --stack production`" in text
        and PLANTED not in text
    )
    assert len(drift("production", preview(*HUGE))) < LIMIT


def test_the_example_in_docs_is_one_of_these() -> None:
    example = (ROOT / "docs" / "pipeline.md").read_text()
    snapshot = (SNAPSHOTS / "comment-small-change.md").read_text().split("\n", 1)[1].strip()
    assert snapshot in example


def run(*arguments: object) -> str:
    command = [sys.executable, "-m", "operations.comment", "--run-url", RUN, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def written(path: Path, events: list[dict[str, Any]], more: str = "") -> Path:
    path.write_text("Installing dependencies...\n" + "".join(json.dumps(event) + "\n" for event in events) + more)
    return path


def test_the_command_reads_what_the_other_commands_print(tmp_path: Path) -> None:
    events = written(tmp_path / "preview.jsonl", SMALL)
    (tmp_path / "policies.json").write_text(json.dumps({"findings": [EXCEPTION, COUNT]}))
    (tmp_path / "rehearsal.json").write_text(json.dumps(REHEARSAL))
    (tmp_path / "cost.md").write_text(COST)
    shown = run(
        *("--preview", events, "--policies", tmp_path / "policies.json"),
        *("--rehearsal", tmp_path / "rehearsal.json", "--cost", tmp_path / "cost.md"),
    )
    assert shown == comment("production", **CASES["small-change"], run_url=RUN)


def test_the_command_does_with_what_there_is(tmp_path: Path) -> None:
    events = written(tmp_path / "preview.jsonl", SMALL, more='{"resourcePre')  # Ended by a time limit.
    (tmp_path / "policies.json").write_text("")  # Its step failed before it printed anything.
    (tmp_path / "rehearsal.json").write_text('{"stack": "produ')
    shown = run("--preview", events, *("--policies", tmp_path / "policies.json"), "--cost", tmp_path / "missing.md")
    assert shown == comment("production", preview=SMALL, run_url=RUN)
    assert run("--rehearsal", tmp_path / "rehearsal.json") == comment("production", run_url=RUN)


def test_the_command_writes_an_issue_about_drift_or_nothing(tmp_path: Path) -> None:
    assert run("--drift", "--preview", written(tmp_path / "none", recorded("no-change"))) == ""
    assert run("--drift", "--preview", written(tmp_path / "some", SMALL)) == drift("production", SMALL, run_url=RUN)


def test_a_change_of_the_pipelines_own_roles_says_that_an_administrator_deploys_it() -> None:
    policy = step("update", "delivery-deploy-policy-1", "aws:iam/policy:Policy", diffs=["policy"])
    metadata = policy["resourcePreEvent"]["metadata"]
    metadata["urn"] = metadata["urn"].replace("index:McpService", "index:Delivery")
    text = comment("production", preview=preview(policy))
    assert "An administrator deploys this" in text
    assert "<code>delivery-deploy-policy-1</code>" in text
    assert "pulumi up --target '**Delivery**'" in text
    other = step("update", "google-workspace-policy", "aws:iam/policy:Policy", diffs=["policy"])
    assert "An administrator" not in comment("production", preview=preview(other))
