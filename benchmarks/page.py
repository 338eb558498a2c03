"""`results.json` as a page, as a picture of what grows, and as README's table."""

from __future__ import annotations

import html
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Results = Mapping[str, Any]
"""Group -> `date`, `runs`, `seconds`, `machine` (words), `rows` (name -> as `sheet.Row`), `without` (peer -> why)."""

TITLES = {
    "image": "The image",
    "start": "Start and memory",
    "program": "The program",
    "stack": "A stack on Pulumi's engine, in the emulated account",
    "timing": "A rollout, by the settings' arithmetic",
    "stores": "The stores of OAuth state, in rehearsals",
    "rehearsal": "A rehearsal",
    "verbs": "Commands",
    "rollback": "Rollback, in a rehearsal",
    "load": "Many users at once, in rehearsals",
}
PICTURE = "growth.svg"
BEGIN, END = "<!-- figures: python -m benchmarks -->", "<!-- end of figures -->"
_IN_README = (
    ("image", "above its base"),
    ("image", "compressed, above its base"),
    ("start", "to /health at 0.5 CPU"),
    ("start", "memory, idle"),
    ("program", "whole graph, services: 1"),
    ("program", "whole graph, services: 50"),
    ("rehearsal", "whole, from cached layers"),
    ("rollback", "rollback, from the command to verified"),
    ("verbs", "./ops policies"),
)


def page(results: Results) -> str:
    """All of it, as Markdown."""
    return "\n".join(_page(results)) + "\n"


def _page(results: Results) -> Iterator[str]:
    yield "# Figures\n"
    yield "Made by `.venv/bin/python -m benchmarks`, which measures all, or the groups that are named; each has its own"
    yield "date. `python -m benchmarks compare BEFORE.json AFTER.json` holds two results against each other."
    yield "A figure is the median; in brackets the least and the most. MB are 10^6 bytes."
    for group in TITLES:
        if group not in results:
            continue
        found = results[group]
        yield f"\n## {TITLES[group]}\n"
        facts = ", ".join(f"{name}: {value}" for name, value in found["machine"].items() if name != "machine")
        yield f"{found['date']}; {found['machine']['machine']}; {facts}; {_runs(found['runs'])}.\n"
        if group == "program":
            yield f"![How time and memory grow]({PICTURE})\n\nDashed: as from the first to the second it would go on.\n"
        if group == "load":
            yield "[As a table](../docs/capacity.md), with what follows for a task's size and for autoscaling.\n"
        yield "| figure | | beside | reach |\n|---|---|---|---|"
        for name, row in found["rows"].items():
            yield f"| {_cell(name)} | {_own(row)} | {_beside(row)} | {_reach(row)} |"
        if found["without"]:
            yield "\nNot measured:\n"
            yield from (f"- {_cell(peer)}: {_cell(why)}" for peer, why in found["without"].items())


def _runs(runs: int) -> str:
    return "one run" if runs == 1 else f"{runs} runs"


def _own(row: Mapping[str, Any]) -> str:
    parts = [figure(row["values"], row["unit"])] if row["values"] else []
    parts += [f"**not measured: {_cell(row['failure'])}**"] if row["failure"] else []
    parts += [_cell(row["note"])] if row["note"] else []
    return "; ".join(parts)


def _beside(row: Mapping[str, Any]) -> str:
    return "; ".join(f"{_cell(peer)} {figure(values, row['unit'])}" for peer, values in row["beside"].items() if values)


def _reach(row: Mapping[str, Any]) -> str:
    if row["reach"] is None or not row["values"]:
        return ""
    kept = statistics.median(row["values"]) < row["reach"]
    return f"under {row['reach']:g} {row['unit']}: {'kept' if kept else '**missed**'}"


def figure(values: Sequence[float], unit: str) -> str:
    """`1.23 s (1.20 to 1.31)`."""
    spread = f" ({_short(min(values))} to {_short(max(values))})" if min(values) != max(values) else ""
    return f"{_short(statistics.median(values))} {unit}{spread}"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def readme(results: Results) -> str:
    """The table between README's marks; empty where nothing was measured yet."""
    rows = [
        (f"{TITLES[group]}: {name}", results[group]["rows"].get(name)) for group, name in _IN_README if group in results
    ]
    lines = [f"| {_cell(name)} | {_own(row)} | {_beside(row)} |" for name, row in rows if row and row["values"]]
    more = "[All figures](benchmarks/results.md), with machine and date."
    return "\n".join(["", "| | | beside |", "|---|---|---|", *lines, "", more, ""]) if lines else ""


def with_figures(text: str, results: Results) -> str:
    """README's text with that table in place of what is between the marks."""
    return between(text, BEGIN, readme(results))


def between(text: str, begin: str, made: str) -> str:
    """A document's text with `made` in place of what is between its marks."""
    before, mark, rest = text.partition(begin)
    if not mark:
        raise ValueError(f"the document has no {begin}")
    return f"{before}{begin}\n{made}{END}{rest.partition(END)[2]}"


_WIDTH, _HEIGHT, _MARGIN = 420, 240, 48


def picture(results: Results) -> str:
    """A chart for each unit of the rows that grow, side by side, as SVG."""
    lines: dict[tuple[str, str], dict[int, float]] = {}
    for group in results.values():
        for row in group["rows"].values():
            if row["at"] is not None and row["values"]:
                lines.setdefault((row["unit"], row["of"]), {})[row["at"]] = statistics.median(row["values"])
    charts = [_chart(*kind, points, left=number * _WIDTH) for number, (kind, points) in enumerate(lines.items())]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH * max(len(charts), 1)} {_HEIGHT}" '
            'font-family="sans-serif" font-size="12">',
            '<rect width="100%" height="100%" fill="white"/>',
            *charts,
            "</svg>\n",
        ]
    )


def _chart(unit: str, of: str, points: Mapping[int, float], *, left: int) -> str:
    """Points, the line through them, and dashed the line that the first step of it would go on as."""
    ordered, straight = sorted(points.items()), 0.0
    most_x = max(points)
    if len(ordered) > 2:
        (x, y), (next_x, next_y) = ordered[:2]
        straight = y + (most_x - x) * (next_y - y) / (next_x - x)
    most_y = max(*points.values(), straight) * 1.15

    def place(x: float, y: float) -> str:
        across = left + _MARGIN + x / most_x * (_WIDTH - 2 * _MARGIN)
        return f"{across:.1f},{_HEIGHT - _MARGIN - y / most_y * (_HEIGHT - 2 * _MARGIN):.1f}"

    parts = [
        f'<polyline points="{place(0, most_y)} {place(0, 0)} {place(most_x, 0)}" fill="none" stroke="#888"/>',
        f'<polyline points="{" ".join(place(*each) for each in ordered)}" fill="none" stroke="#1f5fa8"/>',
    ]
    if straight:
        ends = f"{place(*ordered[0])} {place(most_x, straight)}"
        parts.append(f'<polyline points="{ends}" stroke="#888" stroke-dasharray="4 4"/>')
    for x, y in ordered:
        across, down = place(x, y).split(",")
        parts.append(f'<circle cx="{across}" cy="{down}" r="3" fill="#1f5fa8"/>')
        parts.append(f'<text x="{across}" y="{float(down) - 8:.1f}" text-anchor="middle">{_short(y)}</text>')
        parts.append(f'<text x="{across}" y="{_HEIGHT - _MARGIN + 16}" text-anchor="middle">{x}</text>')
    parts.append(f'<text x="{left + _MARGIN}" y="20" font-weight="bold">{html.escape(unit)}</text>')
    middle = left + _WIDTH / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 12}" text-anchor="middle">{html.escape(of)}</text>')
    return "\n".join(parts)
