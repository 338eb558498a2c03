"""Two results against each other: what became better or worse by more than the runs of either differ."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from benchmarks.page import Results, figure

Verdict = Literal["better", "worse", "same", "unsure"]


def compare(before: Results, after: Results) -> Iterator[tuple[Verdict, str]]:
    """A verdict and a line for each figure that both have, and `unsure` with the reason for those that one has not."""
    for group in [*before, *(name for name in after if name not in before)]:
        if group not in before or group not in after:
            yield "unsure", f"{group}: only {'before' if group in before else 'after'}"
            continue
        one, other = before[group], after[group]
        if one["machine"]["machine"] != other["machine"]["machine"]:
            yield "unsure", f"{group}: {one['machine']['machine']} before, {other['machine']['machine']} after"
        for name in [*one["rows"], *(name for name in other["rows"] if name not in one["rows"])]:
            rows = [side["rows"].get(name) for side in (one, other)]
            values = [row["values"] if row else [] for row in rows]
            if not all(values):
                if any(values):
                    yield "unsure", f"{group}, {name}: only {'before' if values[0] else 'after'}"
                continue
            unit = str(rows[1]["unit"])
            words = " -> ".join(figure(each, unit) for each in values)
            yield _verdict(values[0], values[1], unit), f"{group}, {name}: {words}"


def _verdict(before: Sequence[float], after: Sequence[float], unit: str) -> Verdict:
    if list(before) == list(after):
        return "same"
    if unit != "MB" and min(len(before), len(after)) < 2:
        return "unsure"  # One run has no spread.
    if min(after) <= max(before) and min(before) <= max(after):
        return "same"
    more = statistics.median(after) > statistics.median(before)
    return "better" if more == (unit == "/s") else "worse"


def report(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, bool]:
    """For people; whether something became worse."""
    found = list(compare(before, after))
    lines = [f"{verdict:<7} {line}" for verdict, line in found if verdict != "same"]
    same = sum(verdict == "same" for verdict, _ in found)
    lines.append(f"{same} figures are the same, as far as their runs tell.")
    return "\n".join(lines), any(verdict == "worse" for verdict, _ in found)
