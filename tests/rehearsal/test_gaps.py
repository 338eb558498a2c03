"""The page of known gaps is made of the code; no shim is without the condition on which it can go."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from providers import handlers
from rehearsal import gaps
from rehearsal.gaps_page import markdown, marked
from rehearsal.inventory import PASSED_OVER
from rehearsal.report import Report
from tests.conftest import ROOT

SHIMS = ROOT / "rehearsal" / "emulator_process"


def test_the_page_in_docs_is_fresh() -> None:
    assert (ROOT / gaps.PAGE).read_text() == markdown(), "run: .venv/bin/python -m rehearsal.gaps_page > docs/gaps.md"


def test_each_change_to_the_emulator_says_when_it_can_go() -> None:
    changes = {
        (f"rehearsal/emulator_process/{file.name}", node.name)
        for file in SHIMS.glob("*.py")
        if file.stem not in ("__main__", "needs")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert len(changes) > 15
    assert changes - {(one.file, one.name) for one in marked()} == set()


def test_each_check_that_a_rehearsal_leaves_out_says_when_it_need_not() -> None:
    for file in (ROOT / "operations").glob("*.py"):
        lines = file.read_text().splitlines()
        for number, line in enumerate(lines):
            if "if target.rehearsed:" in line and any(word in lines[number + 1] for word in ("NotRun", "_not_run")):
                assert any(mark in lines[number - 1] for mark in ("Goes when", "Stays:")), f"{file.name}:{number + 1}"


def test_a_mark_is_found_in_docstrings_of_all_kinds_and_in_comments(tmp_path: Path) -> None:
    (tmp_path / "rehearsal").mkdir()
    (tmp_path / "rehearsal" / "a.py").write_text(
        '"""Of a module.\n\nMore of it.\n\nGoes when a."""\n'
        'LIMIT = 1\n"""Of a constant. Goes when b."""\n'
        'class C:\n    """Of a class.\n\n    Stays: c."""\n'
        'def f():\n    """Of a function, which goes whenever."""\n'
        "    # Of a comment\n    # with two lines. Goes when d.\n"
    )
    found = [(one.name, one.what, one.condition) for one in marked(tmp_path)]
    assert sorted(found) == [
        ("", "Of a comment with two lines.", "d."),
        ("", "Of a module.", "a."),
        ("C", "Of a class.", "Stays: c."),
        ("LIMIT", "Of a constant.", "b."),
    ]


@pytest.mark.parametrize("gap", gaps.ALL, ids=lambda gap: gap.what.partition(":")[0])
def test_what_a_report_calls_not_proven_is_on_the_page(gap: gaps.Gap) -> None:
    page = (ROOT / gaps.PAGE).read_text()
    assert f"| {gap.what} | {gap.goes_when} |" in page
    report = Report(stack="production", unproven=[gap.what])
    assert f"Not proven by this rehearsal ({gaps.PAGE}):\n\n- {gap.what}" in report.to_markdown()


def test_what_is_accepted_or_passed_over_is_on_the_page() -> None:
    page = (ROOT / gaps.PAGE).read_text()
    accepted = {(type_, name) for type_, kind in handlers.items() for name in kind.recorded_only}
    assert accepted
    for type_, name in accepted:
        assert any(f"| `{type_}` |" in line and f"`{name}`" in line for line in page.splitlines())
    for passed in PASSED_OVER:
        assert all(f"`{member}`" in page for member in passed.members)
