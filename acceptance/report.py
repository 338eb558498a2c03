"""What a run found: a plugin for pytest that collects it, and its Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from acceptance.subject import Subject
from checks import Check
from checks.check import Failed, NotRun, describe, first_cause

_WORDS = {True: "passed", False: "**failed**", None: "not run"}


@dataclasses.dataclass(kw_only=True)
class Report:
    """The results in the order of the tests."""

    url: str
    began: datetime
    seconds: float = 0
    checks: list[Check] = dataclasses.field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether something passed and nothing failed."""
        return any(check.passed for check in self.checks) and not any(check.passed is False for check in self.checks)

    def to_markdown(self) -> str:
        """The report as Markdown: what failed, what was not run and why, what passed."""
        return "\n".join(self._markdown()) + "\n"

    def _markdown(self) -> Iterator[str]:
        yield f"# Acceptance of {self.url}: {'passed' if self.passed else 'failed'}"
        counts = [
            f"{sum(c.passed is result for c in self.checks)} {word.strip('*')}" for result, word in _WORDS.items()
        ]
        yield f"\n{', '.join(counts)}. Begun {self.began:%Y-%m-%d %H:%M} UTC, {self.seconds:.1f} s."
        for result in (False, None, True):
            chosen = [check for check in self.checks if check.passed is result]
            if chosen:
                yield f"\n| {_WORDS[result].strip('*')} | |\n|---|---|"
                for check in chosen:
                    text = check.detail + (f" Do: {check.remedy}" if check.remedy else "")
                    yield f"| {_cell(check.name)} | {_cell(text)} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


class Collector:
    """The plugin: gives the tests their subject, and collects their outcomes, without secrets, as checks.

    A test's name in the report is its docstring's first line, a subtest's is its message. `Failed` and `NotRun` mean in
    a test what they mean in a check.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.report = Report(url=subject.address.url, began=datetime.now(tz=UTC))

    @pytest.fixture(scope="session")
    def subject(self) -> Subject:
        """What is under test."""
        return self._subject

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        detail, remedy = dict(item.user_properties).get("seen", ""), ""
        item.user_properties.clear()
        if call.excinfo is not None:
            cause = first_cause(call.excinfo.value)
            detail, remedy = describe(cause), getattr(cause, "remedy", None) or ""
            if isinstance(cause, NotRun):
                report.outcome, detail = "skipped", str(cause)
            elif report.outcome == "skipped":
                detail = str(cause)
            elif isinstance(cause, AssertionError):
                detail = str(cause).splitlines()[0] if str(cause) else "an assertion of the test does not hold"
        name = (item.function.__doc__ or item.name).splitlines()[0].rstrip(".")  # type: ignore[attr-defined]
        report.user_properties = [("name", name), ("detail", str(detail)), ("remedy", remedy)]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties: dict[str, Any] = dict(report.user_properties)
        if report.when == "call" or report.outcome != "passed":
            name = properties["name"]
            context = getattr(report, "context", None)
            if context is not None:
                name = context.msg
            elif report.outcome == "failed" and properties["detail"].startswith("Failed: contains"):
                return  # Its subtests have reported it.
            redact = self._subject.secrets.redact
            self.report.checks.append(
                Check(
                    name=redact(name),
                    passed={"passed": True, "failed": False}.get(report.outcome),
                    detail=redact(properties["detail"]),
                    remedy=redact(properties["remedy"]),
                    seconds=report.duration,
                )
            )
        self.report.seconds += report.duration if getattr(report, "context", None) is None else 0


def outcome(passed: bool | None, detail: str, remedy: str = "") -> str:
    """A check's result as a test's: its detail, or `Failed` or `NotRun` raised."""
    if passed is None:
        raise NotRun(detail)
    if not passed:
        raise Failed(detail, remedy)
    return detail
