"""Where a verb's outcome goes: to people, line by line, or to machines, as one JSON document."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

from machine.output import only_ascii
from operations.errors import OperationError

if TYPE_CHECKING:
    from rich.console import Console

    from checks import Check


class Output:
    """Tells the outcome to people, or with `machines` as one JSON document."""

    def __init__(self, *, machines: bool) -> None:
        self.machines = machines
        self._console: Console | None = None
        self._document: dict[str, Any] = {}

    def _line(self, markup: str) -> None:
        if not self.machines:
            self._people().print(markup, highlight=False, soft_wrap=True)

    def _people(self) -> Console:
        if self._console is None:
            from rich.console import Console

            # What is told is data: no :name: in it is an emoji.
            self._console = Console(emoji=False)
        return self._console

    def print(self, text: str) -> None:
        """A line for people."""
        from rich.markup import escape

        self._line(escape(text))

    def record(self, name: str, value: Any) -> None:
        """A part of the document for machines."""
        self._document[name] = value

    def checks(self, checks: list[Check]) -> int:
        """A table of checks; the exit status that follows from them."""
        from rich.markup import escape

        self.record("checks", [dataclasses.asdict(check) for check in checks])
        marks = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]-[/]"}
        for check in checks:
            self._line(f"{marks[check.passed]} {escape(check.name)} [dim]{escape(check.detail)}[/]")
            if check.passed is False and check.remedy:
                self.print(f"    do: {check.remedy}")
        failed = sum(check.passed is False for check in checks)
        self.print(f"{len(checks)} checks: {failed} failed, {sum(check.passed is None for check in checks)} not run")
        return 1 if failed else 0

    def table(self, rows: list[dict[str, Any]]) -> None:
        """Rows of the same columns."""
        if self.machines or not rows:
            return
        from rich.markup import escape
        from rich.table import Table

        table = Table(*rows[0])
        for row in rows:
            table.add_row(*(escape("" if value is None else str(value)) for value in row.values()))
        self._people().print(table)

    def fail(self, error: OperationError) -> int:
        """Why there is no outcome; the exit status."""
        print(error, file=sys.stderr)  # noqa: T201
        self.record("error", str(error))
        self.close()
        return error.status

    def close(self) -> None:
        """Print the document, for machines."""
        if self.machines:
            print(json.dumps(self._document, indent=2, default=str, ensure_ascii=only_ascii()))  # noqa: T201
