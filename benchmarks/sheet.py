"""What a group of figures is measured into: rows, each with its values, those of its peers, and why there are none."""

from __future__ import annotations

import dataclasses
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any

from rehearsal.kept import ROOT

Action = Callable[[], float | None]
"""Does what is measured. Returns the value, or None: then its wall-clock time in seconds is it."""


@dataclasses.dataclass(kw_only=True)
class Row:
    """One figure."""

    unit: str = "s"
    """`s`, `CPU s` (user and system), `ms`, `MB` (10^6 bytes), or `/s`, of which alone more is better."""
    values: list[float] = dataclasses.field(default_factory=list)
    beside: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    """Peer -> its values, in the same unit."""
    reach: float | None = None
    """The value to stay below. None: none was set."""
    at: int | None = None
    """Of how many of `of` this is a figure, for rows that grow."""
    of: str = ""
    """`services`: rows of one `of` and unit are a line in the picture."""
    note: str = ""
    failure: str = ""
    """Why it, or a peer of it, was not measured."""

    def put(self, value: float, peer: str = "") -> None:
        """One more value, of the peer if one is named."""
        (self.beside.setdefault(peer, []) if peer else self.values).append(round(value, 4))


@dataclasses.dataclass(kw_only=True)
class Sheet:
    """The rows of one group, and how they came about."""

    runs: int
    rows: dict[str, Row] = dataclasses.field(default_factory=dict)
    without: dict[str, str] = dataclasses.field(default_factory=dict)
    """Peer that was not measured -> why."""

    def row(self, name: str, **facts: Any) -> Row:
        """The row of that name, made if need be."""
        return self.rows.setdefault(name, Row(**facts))

    def measure(
        self, name: str, action: Action, *, beside: Mapping[str, Action] | None = None, runs: int = 0, **facts: Any
    ) -> None:
        """Do it `runs` times (default: the sheet's), each peer right after it; what fails is noted and not repeated."""
        row = self.row(name, **facts)
        actions = {"": action, **(beside or {})}
        for _ in range(runs or self.runs):
            for peer, act in list(actions.items()):
                started = time.perf_counter()
                try:
                    value = act()
                except Exception as error:
                    row.failure = "; ".join(filter(None, [row.failure, (peer and f"{peer}: ") + last_line(error)]))
                    del actions[peer]
                    continue
                row.put(time.perf_counter() - started if value is None else value, peer)

    def measure_command(
        self, name: str, command: Sequence[str], *, beside: Mapping[str, Sequence[str]] | None = None,
        reach: float | None = None, memory: bool = False, given: str = "", **facts: Any,
    ) -> None:  # fmt: skip
        """A command's time, the processor time that it took, which other load hardly changes, and its peak memory."""
        used: dict[str, list[Used]] = {}

        def action(peer: str, command: Sequence[str]) -> Action:
            def act() -> float:
                used.setdefault(peer, []).append(found := run(command, given))
                return found.seconds

            return act

        self.measure(
            name, action("", command), beside={p: action(p, c) for p, c in (beside or {}).items()}, reach=reach, **facts
        )
        for member, unit, words in [("cpu", "CPU s", "processor time"), ("peak", "MB", "peak memory")][: 1 + memory]:
            row = self.row(f"{name}, {words}", unit=unit, **facts)
            for peer, each in used.items():
                for one in each:
                    row.put(getattr(one, member), peer)

    @contextmanager
    def surviving(self, name: str) -> Iterator[None]:
        """What fails meanwhile is noted in the row."""
        try:
            yield
        except Exception as error:
            self.row(name).failure = last_line(error)


@dataclasses.dataclass(frozen=True)
class Used:
    """What a process took."""

    seconds: float
    cpu: float
    """Seconds, user and system, its children included."""
    peak: float
    """MB."""


def run(command: Sequence[str], given: str = "") -> Used:
    """Run a command in the project's folder, with `given` as its input. Raises `RuntimeError` with its last words."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as into:
        into.write(given)
        into.seek(0)
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdin=into, stdout=out, stderr=subprocess.STDOUT)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            out.seek(0)
            raise RuntimeError(f"{' '.join(command[:4])} ended with {process.returncode}: {last_line(out.read())}")
    return Used(round(seconds, 4), round(usage.ru_utime + usage.ru_stime, 4), round(usage.ru_maxrss * 1024 / 1e6, 1))


def last_line(error: BaseException | str) -> str:
    """What it says last, on one line of a table."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].replace("|", "/").strip()[:300]


def machine() -> dict[str, str]:
    """This machine, as figures depend on it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "machine": f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Pulumi's SDK": metadata.version("pulumi"),
        # Of the minute before: above half a core, the figures are not of a quiet machine.
        "load before": f"{os.getloadavg()[0]:.2f}",
    }
