"""The figures of `load` as docs/capacity.md has them: what a task holds, and every figure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.load import FIGURES, KEPT, MIXED, MOST, SHARE, SIZES, WAYS
from loadtest import LIMITS

BEGIN = "<!-- figures: python -m benchmarks load -->"
_NONE = "Not measured yet: `.venv/bin/python -m benchmarks load`."


def tables(results: Mapping[str, Any]) -> str:
    """Memory, and both tables, with date and machine; where nothing was measured, that."""
    memory = {name: row for name, row in results.get("start", {}).get("rows", {}).items() if name.startswith("memory")}
    made = "; ".join(f"{name} {_value(memory, name):.0f} MB" for name in memory if memory[name]["values"])
    rows = results.get("load", {}).get("rows", {})
    if not any(_value(rows, f"{cpus:g} CPU, {way}, {MOST}: rate") for cpus in SIZES for way in WAYS):
        return f"\nA task's {made}.\n\n{_NONE}\n\n" if made else f"\n{_NONE}\n\n"
    return "\n".join([f"\nA task's {made}." if made else "", *_tables(results["load"], rows)]) + "\n"


def _tables(group: Mapping[str, Any], rows: Mapping[str, Any]) -> Iterator[str]:
    facts = f"{group['date']}; {group['machine']['machine']}; load before: {group['machine']['load before']}"
    kinds = list(MIXED)
    yield f"\n{facts}.\n"
    named = ", ".join(kinds)
    yield f"| | the most, requests a second | people at {SHARE:.0%} | p95 then: {named} |"
    yield "|---|---|---|---|"
    for cpus in SIZES:
        for way in WAYS:
            where = f"{cpus:g} CPU, {way}"
            most = _value(rows, f"{where}, {MOST}: rate")
            if most is None:
                continue
            times = ", ".join(_time(rows, f"{where}, {KEPT}: {kind}, p95", LIMITS[kind]["p95"]) for kind in kinds)
            yield f"| {where} | {most:.1f} | {max(1, int(most * SHARE))} | {times} |"
    yield f"\n| p50, p95, p99 | {' | '.join(kinds)} |"
    yield f"|---|{'---|' * len(kinds)}"
    for cpus in SIZES:
        for way in WAYS:
            for level in (MOST, KEPT):
                where = f"{cpus:g} CPU, {way}, {level}"
                if _value(rows, f"{where}: rate") is None:
                    continue
                cells = (", ".join(_time(rows, f"{where}: {kind}, {f}") for f in FIGURES) for kind in kinds)
                yield f"| {where} | {' | '.join(cells)} |"
    yield ""


def _value(rows: Mapping[str, Any], name: str) -> float | None:
    values = rows.get(name, {}).get("values")
    return statistics.median(values) if values else None


def _time(rows: Mapping[str, Any], name: str, limit: float = math.inf) -> str:
    """In bold where it is above the limit."""
    value = _value(rows, name)
    return "none" if value is None else f"{value:.0f} ms" if value < limit else f"**{value:.0f} ms**"
