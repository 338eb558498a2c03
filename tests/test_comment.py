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

from operations.comment import LIMIT, comment, marker
from tests.conftest import ROOT

SNAPSHOTS = Path(__file__).parent / "snapshots"
RUN = "https://github.com/busyb-ai/infrastructure/actions/runs/1"
PLANTED = "planted-secret-value"


def step(op: str, name: str, type_: str = "aws:ecs/service:Service", **more: Any) -> dict[str, Any]:
    """A step as `pulumi preview --json` has it, with values that must not be shown."""
    state = {"inputs": {"password": PLANTED}, "outputs": {"password": PLANTED}}
    urn = f"urn:pulumi:production::mcp-on-ecs::mcp-on-ecs:index:McpService${type_}::{name}"
    return {"op": op, "urn": urn, "oldState": state, "newState": state, "detailedDiff": None, **more}


def preview(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"config": {"mcp-on-ecs:x": PLANTED}, "steps": list(steps), **more}


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
SMALL = (
    step("same", "google-workspace-repository", "aws:ecr/repository:Repository"),
    step("update", "google-workspace-service", diffReasons=["desiredCount", "taskDefinition"]),
    step("create", "google-workspace-alarm", "aws:cloudwatch/metricAlarm:MetricAlarm"),
)
REPLACEMENT = (
    step("update", "google-workspace-service", diffReasons=["taskDefinition"]),
    step(
        "create-replacement",
        "google-workspace-target-group",
        "aws:lb/targetGroup:TargetGroup",
        replaceReasons=["port"],
        diffReasons=["port", "tags"],
    ),
    step(
        "replace",
        "google-workspace-target-group",
        "aws:lb/targetGroup:TargetGroup",
        replaceReasons=["port"],
        diffReasons=["port", "tags"],
    ),
    step("delete-replaced", "google-workspace-target-group", "aws:lb/targetGroup:TargetGroup"),
    step("delete", "google-workspace-rule-3", "aws:lb/listenerRule:ListenerRule"),
)
EVIL = "a|b`c`*d*_e_<img src=x>[l](https://evil.example)@everyone\n# h"
HUGE = tuple(step("update", f"service-{number:05}-{'x' * 60}", diffReasons=["a", "b"]) for number in range(5_000))

CASES: dict[str, dict[str, Any]] = {
    "no-change": {"preview": preview(SMALL[0]), "policies": [EXCEPTION, COUNT], "rehearsal": REHEARSAL},
    "small-change": {
        "preview": preview(*SMALL),
        "policies": [EXCEPTION, COUNT],
        "rehearsal": REHEARSAL,
        "cost": "| | monthly |\n|---|---|\n| before | $30.12 |\n| after | $48.94 |",
    },
    "replacement": {"preview": preview(*REPLACEMENT), "policies": [COUNT], "rehearsal": REHEARSAL},
    "policy-violation": {
        "preview": preview(
            SMALL[1],
            diagnostics=[
                {"severity": "error", "message": "<{%fg 1%}>mandatory<{%reset%}> policy violated: image by digest"},
                {"severity": "info#err", "message": "not shown"},
            ],
        ),
        "policies": [*STOPS, EXCEPTION, COUNT.replace("0 violations", "1 violations")],
        "rehearsal": FAILED,
    },
    "markdown-in-names": {
        "preview": preview(
            step("update", EVIL, diffReasons=["tags['a|b']", "`x`"]),
            diagnostics=[{"severity": "warning", "message": EVIL}],
        ),
        "policies": [f"advises  rule (low): {EVIL}", COUNT],
        "rehearsal": REHEARSAL | {"failure": EVIL, "passed": False},
    },
    "no-credentials": {"policies": [COUNT], "rehearsal": REHEARSAL},
    "huge": {
        "preview": preview(*HUGE, diagnostics=[{"severity": "error", "message": "e" * 4_000}] * 900),
        "policies": [*STOPS * 900, COUNT],
        "rehearsal": FAILED
        | {"checks": FAILED["checks"] * 900, "unproven": ["u" * 900] * 900, "failure": "f\n" * 90_000},
        "cost": "c" * 90 + "\n" + "d\n" * 90_000,
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
    text = comment("production", preview=preview(*REPLACEMENT))
    assert "1 to replace, 1 to delete, 1 to update" in text
    assert "> [!WARNING]\n> Replaced" in text
    assert text.count("google-workspace-target-group") == 2  # In the warning and in the table.


def test_names_with_markdown_in_them_stay_names() -> None:
    text = comment("production", **CASES["markdown-in-names"])
    rows = [line for line in text.splitlines() if line.startswith("| update")]
    assert len(rows) == 1 and rows[0].count("|") == 5
    assert "<img" not in text and "@everyone" not in text and "](https://evil" not in text
    assert not [line for line in text.splitlines() if line.startswith("# ")]


def test_the_example_in_docs_is_one_of_these() -> None:
    example = (ROOT / "docs" / "pipeline.md").read_text()
    snapshot = (SNAPSHOTS / "comment-small-change.md").read_text().split("\n", 1)[1].strip()
    assert snapshot in example


def test_the_command_reads_what_the_other_commands_print(tmp_path: Path) -> None:
    (tmp_path / "preview.json").write_text(json.dumps(preview(*SMALL)))
    (tmp_path / "policies.json").write_text(json.dumps({"findings": [EXCEPTION, COUNT]}))
    (tmp_path / "rehearsal.json").write_text("")  # Its step was skipped.
    command = [sys.executable, "-m", "operations.comment", "--run-url", RUN]
    command += ["--preview", str(tmp_path / "preview.json"), "--policies", str(tmp_path / "policies.json")]
    command += ["--rehearsal", str(tmp_path / "rehearsal.json"), "--cost", str(tmp_path / "missing.md")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == comment("production", preview=preview(*SMALL), policies=[EXCEPTION, COUNT], run_url=RUN)
