"""`./ops` itself: its verbs, how they are found, told and documented, and what is imported for them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest

from acceptance import Report
from checks import Check
from machine.output import writable
from operations import verbs
from operations.__main__ import main
from operations.console import span
from operations.errors import OperationError
from operations.verbs.base import OnAccount
from tests.commands import run
from tests.conftest import ROOT

FOLDER = ROOT / "operations" / "verbs"
HEAVY = {"boto3", "botocore", "components", "docker", "grpc", "httpx2", "mcp", "pulumi", "pydantic", "rich", "yaml"}


def ops(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "operations", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def imported(*arguments: str) -> set[str]:
    """Packages and modules that are there after a verb has run, in full."""
    program = (
        "import contextlib, io, sys\n"
        "from operations.__main__ import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    main({list(arguments)!r})\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_every_verb_has_a_file_and_every_file_a_verb() -> None:
    files = {file.stem for file in FOLDER.glob("*.py")} - {"__init__", "__main__", "base"}
    assert sorted(files) == sorted(verbs.NAMES)
    assert len(set(verbs.NAMES)) == len(verbs.NAMES)


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["-h"]], ids=lambda value: str(sorted(value) if isinstance(value, set) else value)
)
def test_alone_it_shows_its_verbs_grouped_a_line_each(arguments: list[str]) -> None:
    done = ops(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    groups: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if re.fullmatch(r"[a-z ]+:", line):
            groups[line.rstrip(":")] = []
        elif line.startswith("  "):
            groups[list(groups)[-1]].append(line.split()[0])
            assert len(line) < 120 and len(line.split()) > 2
    assert {title: tuple(names) for title, names in groups.items()} == verbs.GROUPS


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("rolback", "There is no verb rolback. Did you mean rollback? All verbs: ./ops"),
        ("stats", "There is no verb stats. Did you mean status? All verbs: ./ops"),
        ("verfy", "There is no verb verfy. Did you mean verify? All verbs: ./ops"),
        ("deploy!", "There is no verb deploy!. All verbs: ./ops"),
        ("--stack", "The verb comes first, then --stack: ./ops VERB --stack ... The verbs: ./ops"),
    ],
)
def test_a_verb_that_there_is_not_is_answered_with_the_nearest(written: str, told: str) -> None:
    done = ops(written, "--json")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{told}\n")


@pytest.mark.parametrize("name", verbs.NAMES)
def test_a_verb_says_what_it_takes_and_where_there_is_more(name: str) -> None:
    verb = verbs.find(name)
    told = " ".join(verb.parser(name).format_help().split())
    for argument in ("--stack", "--service", "--rehearsal", "--json", "exit status: 0 all is well"):
        assert argument in told
    assert told.partition("[-h]")[0] == f"usage: ./ops {name} "
    if verb.see:
        assert f"More: docs/{'operations.md' if verb.see.startswith('#') else ''}{verb.see}" in told


def test_the_verbs_that_need_no_account_are_known() -> None:
    without = {name for name in verbs.NAMES if not isinstance(verbs.find(name), OnAccount)}
    assert without == {"policies", "rights", "clients", "conformance", "cost", "timing", "diagram"}, (
        "conformance: by a URL"
    )


@pytest.mark.parametrize("name", verbs.NAMES)
def test_a_service_that_there_is_not_is_told_by_every_verb_before_it_asks_an_account(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--service", "nowhere"]) == 2
    assert "Stack production has no service nowhere; it has google-workspace." in capsys.readouterr().err


def test_the_documents_table_is_the_code() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    printed = subprocess.run(
        [sys.executable, "-m", "operations.verbs"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert printed == verbs.table()
    assert f"\n\n{printed}\n\n" in text, "put in what python -m operations.verbs prints"


@pytest.mark.parametrize(
    "arguments",
    [[], ["status", "--help"], ["nonsense"]],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_help_imports_nothing_that_a_verb_works_with(arguments: list[str]) -> None:
    assert imported(*arguments) & HEAVY == set()


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        # No question is put to AWS or to a server; nothing is rehearsed.
        (["cost"], {"boto3", "mcp", "httpx2", "rehearsal"}),
        (["policies"], {"boto3", "mcp", "httpx2", "rehearsal"}),
        (["policies", "--list"], {"boto3", "mcp", "httpx2", "rehearsal", "pulumi_aws"}),
        # There is no such rehearsal, so it is what every verb on one imports.
        (["status", "--rehearsal", "--stack", "production"], {"mcp", "acceptance", "loadtest"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_a_verb_imports_nothing_that_it_does_not_use(arguments: list[str], unused: set[str]) -> None:
    assert imported(*arguments) & unused == set()


@pytest.mark.parametrize("arguments", [[], ["policies", "--list"]])
def test_whoever_reads_may_have_enough(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "operations", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


LOST = "Standard output cannot be written: No space left on device. Write it elsewhere, and run this again.\n"


@pytest.mark.parametrize(
    ("command", "output", "status", "told"),
    [
        ("operations --help", ">/dev/full", 1, LOST),
        ("operations status --help", ">/dev/full", 1, LOST),
        ("operations policies --list --json", ">/dev/full", 1, LOST),
        ("operations policies --list", ">/dev/full", 1, LOST),
        ("rehearsal --help", ">/dev/full", 1, LOST),
        ("acceptance --help", ">/dev/full", 1, LOST),
        ("operations --help", ">&-", 0, ""),
        ("operations policies --list", ">&-", 0, ""),
        ("operations nonsense", "2>&-", 2, ""),
        ("operations nonsense", "2>/dev/full", 1, ""),
        ("operations nonsense", ">/dev/full 2>/dev/full", 1, ""),
    ],
)
def test_output_that_cannot_be_written_is_told_in_a_line(command: str, output: str, status: int, told: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m {command} {output}"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, "", told)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_a_terminal_cannot_show_is_shown_by_its_number(options: list[str]) -> None:
    command = [sys.executable, "-m", "operations", "policies", "--list", *options]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2026" in done.stdout or json.loads(done.stdout)["rules"]


@pytest.mark.parametrize(
    "command",
    ["operations accept --report", "operations adopt --out", "rehearsal --report", "acceptance https://h --report"],
)
@pytest.mark.parametrize(
    ("file", "why"),
    [("missing/report.md", "No such file or directory"), ("/proc/report.md", "No such file"), (".", "Is a directory")],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_run(command: str, file: str, why: str) -> None:
    module, *arguments = command.split()
    done = run(module, *arguments, file)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{file} cannot be written: {why}" in done.stderr
    assert "name a file in a folder that exists" in done.stderr


def test_trying_a_file_leaves_it_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "report.md"
    assert writable(str(file)) == file
    assert not file.exists()
    file.write_text("of the last run")
    writable(str(file))
    assert file.read_text() == "of the last run"


def test_a_report_that_is_not_written_after_all_is_told_beside_the_outcome(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report(url="https://mcp.example.com", began=datetime.now(tz=UTC))
    report.checks.append(Check(name="it answers", passed=True, detail="", remedy="", seconds=0))
    monkeypatch.setattr("operations.accept.accept", lambda *_arguments, **_options: report)
    monkeypatch.setattr("operations.target.named", lambda *_arguments, **_options: Mock())
    assert main(["accept", "--report", "/dev/full", "--json"]) == 1
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert document["checks"][0]["name"] == "it answers"
    assert told.err == f"{document['error']}\n"
    assert document["error"].startswith("/dev/full cannot be written: No space left on device.")


@pytest.mark.parametrize(
    "written", ["yesterday", "7", "-1d", "٣d", "3654d", "999999d", "9999999999999d", f"{'9' * 5000}s"]
)
def test_a_span_that_is_none_or_too_long_is_refused_with_what_may_be_written(written: str) -> None:
    with pytest.raises(OperationError, match="write 90s, 15m, 2h or 7d, 3653d at most") as error:
        span(written)
    assert error.value.status == 2


def test_spans_are_read_up_to_the_longest() -> None:
    assert span("90s") == timedelta(seconds=90)
    assert span("3653d") == timedelta(days=3653)


def test_ctrl_c_is_told_in_a_word_from_the_first_moments_on() -> None:
    program = (
        "import sys, operations.__main__, rehearsal.__main__\n"
        "from machine.output import run\n"
        "print(*sys.modules)\n"
        "def interrupted(): raise KeyboardInterrupt\n"
        "sys.exit(run(interrupted))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")
    assert set(done.stdout.split()) & HEAVY == set(), "what takes a while is imported within run"
