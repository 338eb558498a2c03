"""`./ops` itself: its verbs, how they are found, told and documented, and what is imported for them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from operations import verbs
from operations.__main__ import main
from operations.verbs.base import OnAccount
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


@pytest.mark.parametrize("name", ["clients", "diagram", "timing"])
def test_a_service_that_there_is_not_is_told_without_an_account_too(
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
