"""What a rehearsal saw, for people at a terminal, as Markdown, and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from checks import Check
from machine.output import only_ascii
from rehearsal.gaps import PAGE

_MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]-[/]"}
_WORDS = {True: "passed", False: "**failed**", None: "not run"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """One step of the rehearsal."""

    name: str
    seconds: float
    detail: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One resource of the program."""

    name: str
    type: str
    action: str
    """created, changed, replaced, same or deleted."""
    seconds: float
    changes: Mapping[str, str]
    """Property -> before and after, for what was changed."""
    recorded_only: Mapping[str, str]
    """Property -> why the rehearsal accepted it without effect."""


@dataclasses.dataclass(kw_only=True)
class Report:
    """All of it. `failure` is empty only if everything held."""

    stack: str
    engine: str = "embedded driver"
    """What deployed: the embedded driver, or Pulumi's CLI with its version and origin."""
    providers: str = "own"
    """What carried resources out: this project's own providers, or the official ones."""
    phases: list[Phase] = dataclasses.field(default_factory=list)
    resources: list[Row] = dataclasses.field(default_factory=list)
    outputs: dict[str, Any] = dataclasses.field(default_factory=dict)
    policies: list[str] = dataclasses.field(default_factory=list)
    """What the policies found, exceptions in force among it."""
    checks: list[Check] = dataclasses.field(default_factory=list)
    unproven: list[str] = dataclasses.field(default_factory=list)
    """What was simulated, substituted, or is beyond a rehearsal."""
    failure: str = ""

    @property
    def passed(self) -> bool:
        """Whether all of it held."""
        return not self.failure and not any(check.passed is False for check in self.checks)

    @property
    def seconds(self) -> float:
        """Duration of all phases."""
        return sum(phase.seconds for phase in self.phases)

    def to_json(self) -> str:
        """The report for machines."""
        document = dataclasses.asdict(self) | {"passed": self.passed, "seconds": round(self.seconds, 2)}
        return json.dumps(document, indent=2, ensure_ascii=only_ascii(), default=str)

    def to_markdown(self) -> str:
        """The report as Markdown."""
        return "\n".join(self._markdown()) + "\n"

    def _markdown(self) -> Iterator[str]:
        yield f"# Rehearsal of {self.stack}: {'passed' if self.passed else 'failed'}"
        if self.failure:
            yield f"\n```\n{self.failure}\n```"
        yield f"\nEngine: {_cell(self.engine)}; providers: {self.providers}"
        yield "\n| phase | time | |\n|---|---|---|"
        for phase in self.phases:
            yield f"| {_cell(phase.name)} | {phase.seconds:.1f} s | {_cell(phase.detail)} |"
        if self.resources:
            yield "\n| resource | type | |\n|---|---|---|"
            for row in self.resources:
                yield f"| {_cell(row.name)} | {_cell(row.type)} | {_cell(_action(row))} |"
        if self.outputs:
            yield "\n| output | value |\n|---|---|"
            for name, value in flat(self.outputs):
                yield f"| {_cell(name)} | `{_cell(value)}` |"
        if self.policies:
            yield "\nPolicies:\n"
            yield from (f"- {line.strip()}" for line in self.policies)
        if self.checks:
            yield "\n| check | result | |\n|---|---|---|"
            for check in self.checks:
                text = check.detail + (f" Do: {check.remedy}" if check.passed is False else "")
                yield f"| {_cell(check.name)} | {_WORDS[check.passed]} | {_cell(text)} |"
        if self.unproven:
            yield f"\nNot proven by this rehearsal ({PAGE}):\n"
            yield from (f"- {line}" for line in self.unproven)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _action(row: Row) -> str:
    changes = "; ".join(f"{name}: {change}" for name, change in row.changes.items())
    return f"{row.action} ({changes})" if changes else row.action


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested outputs as dotted names with texts; empty ones are left out."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from flat(item, f"{prefix}.{key}" if prefix else str(key))
    elif value is not None:
        yield prefix, value if isinstance(value, str) else json.dumps(value)


class Narrator:
    """Tells a person what goes on, and fills the report meanwhile. `quiet`: only the report."""

    def __init__(self, report: Report, console: Console, *, quiet: bool) -> None:
        self.report, self._console, self._quiet = report, console, quiet

    @contextmanager
    def phase(self, name: str) -> Iterator[list[str]]:
        """A step: shown as it runs, then with its time. What is appended to the list is shown as its detail."""
        detail: list[str] = []
        started = monotonic()
        passed = False
        status = None if self._quiet else self._console.status(f"{name} ...")
        if status:
            status.start()
        self._status = status
        try:
            yield detail
            passed = True
        finally:
            if status:
                status.stop()
            seconds = monotonic() - started
            self.report.phases.append(Phase(name=name, seconds=seconds, detail=", ".join(detail)))
            self.print(f"{_MARKS[passed]} {escape(name):<26} {seconds:6.1f} s  {escape(', '.join(detail))}")

    def progress(self, text: str) -> None:
        """What the running phase does right now."""
        if self._status:
            self._status.update(escape(text))

    def print(self, text: str) -> None:
        """A line for the person, in rich's markup."""
        if not self._quiet:
            self._console.print(text, highlight=False, soft_wrap=True)

    def show_resources(self) -> None:
        """The table of resources."""
        counts = Counter(row.action for row in self.report.resources)
        table = Table(title=", ".join(f"{count} {action}" for action, count in counts.items()), title_justify="left")
        for column in ("resource", "type", "", "time"):
            table.add_column(column, justify="right" if column == "time" else "left", overflow="fold")
        for row in self.report.resources:
            table.add_row(escape(row.name), row.type, escape(_action(row)), f"{row.seconds:.1f} s")
        if not self._quiet:
            self._console.print(table)

    def show_outputs(self) -> None:
        """The stack's outputs."""
        for name, value in flat(self.report.outputs):
            self.print(f"  [bold]{escape(name)}[/] {escape(value)}")

    def show_checks(self, checks: Sequence[Check]) -> None:
        """The outcome of each."""
        for check in checks:
            self.print(f"  {_MARKS[check.passed]} {escape(check.name)} [dim]{escape(check.detail)}[/]")
            if check.passed is False and check.remedy:
                self.print(f"      do: {escape(check.remedy)}")

    def show_policies(self) -> None:
        """What the policies found."""
        for line in self.report.policies:
            self.print(f"  {escape(line)}")

    def conclude(self) -> None:
        """What was not proven, and the verdict."""
        report = self.report
        if report.unproven:
            self.print(f"Not proven by this rehearsal ({PAGE}):")
            for line in report.unproven:
                self.print(f"  [yellow]-[/] {escape(line)}")
        failed = sum(check.passed is False for check in report.checks)
        if report.failure:
            self.print(f"[red]{escape(report.failure)}[/]")
        if report.passed:
            self.print(f"[green bold]The rehearsal of {escape(report.stack)} passed[/] in {report.seconds:.1f} s.")
        else:
            failures = f": {failed} of {len(report.checks)} checks failed" if failed else ""
            self.print(f"[red bold]The rehearsal of {escape(report.stack)} failed[/]{failures}.")
