"""A dashboard of CloudWatch as an SVG, drawn from its definition; the values are made up, and say so."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

CELL_WIDTH, CELL_HEIGHT = 50, 44
"""Pixels of one of the dashboard's 24 columns, and of one of its rows."""
MINUTES = 180
FAULT = range(166, MINUTES)
"""The minutes of the example in which something is wrong, so that the picture shows what one looks for."""
COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c")
RED, GREEN, GREY, INK = "#d62728", "#1d8102", "#687078", "#16191f"

# Metric and statistic -> the usual value, the one while something is wrong, and how much it wavers.
VALUES: dict[tuple[str, str], tuple[float, float, float]] = {
    ("RequestCount", "Sum"): (140, 120, 0.2),
    ("HTTPCode_Target_4XX_Count", "Sum"): (11, 12, 0.4),
    ("HTTPCode_Target_5XX_Count", "Sum"): (0, 46, 0.3),
    ("TargetResponseTime", "p50"): (0.18, 0.5, 0.15),
    ("TargetResponseTime", "p95"): (0.75, 2.9, 0.2),
    ("HealthyHostCount", "Minimum"): (1, 1, 0),
    ("UnHealthyHostCount", "Maximum"): (0, 0, 0),
    ("CPUUtilization", "Average"): (18, 55, 0.3),
    ("MemoryUtilization", "Average"): (31, 34, 0.03),
    ("CPUUtilization", "SampleCount"): (1, 1, 0),
    ("TriggeredRules", "Sum"): (0, 0, 0),
    ("errors", "Sum"): (0, 32, 0.4),
    ("oauth-failures", "Sum"): (0, 3, 0.9),
    ("refusals", "Sum"): (0, 1, 0.9),
    ("store-failures", "Sum"): (0, 0, 0),
}
LOUD = ("users-affected", "errors", "server-errors", "slow")
"""Alarms that go off in the example."""
LINES = (
    ("05:11:52", "ERROR:    Exception in ASGI application"),
    ("05:11:51", "[ERROR] Unexpected error in authorization_handler"),
    ("05:11:40", "ERROR: IdP callback with invalid transaction ID: nope"),
    ("05:11:22", "[ERROR] Error in on_call_tool middleware: Error calling tool 'search_gmail_messages'"),
    ("05:10:58", "ERROR: Error calling tool 'search_gmail_messages'"),
)
"""Lines of the real server."""


def svg(body: str) -> str:
    """The picture of a dashboard's body. Raises `KeyError` for a metric for which `VALUES` has no example."""
    widgets = json.loads(body)["widgets"]
    height = max(w["y"] + w["height"] for w in widgets) * CELL_HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * CELL_WIDTH} {height + 24}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#eaeded"/>',
    ]
    for widget in widgets:
        x, y = widget["x"] * CELL_WIDTH, widget["y"] * CELL_HEIGHT
        size = widget["width"] * CELL_WIDTH, widget["height"] * CELL_HEIGHT
        lines.append(f'<g transform="translate({x} {y})">')
        lines.append(f'<rect x="3" y="3" width="{size[0] - 6}" height="{size[1] - 6}" rx="3" fill="#fff"/>')
        lines += _KINDS[widget["type"]](widget["properties"], *size)
        lines.append("</g>")
    lines.append(_text(8, height + 16, "Drawn from the dashboard's definition; the values are made up.", fill=GREY))
    return "\n".join([*lines, "</svg>", ""])


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    fill: str = INK,
    bold: bool = False,
    end: bool = False,
    over: bool = False,
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    anchor = ' text-anchor="end"' if end else ""
    halo = ' paint-order="stroke" stroke="#fff" stroke-width="3"' if over else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}"{weight}{anchor}{halo}>{escape(text)}</text>'


def _markdown(properties: dict[str, Any], _width: int, _height: int) -> Iterator[str]:
    title, text = properties["markdown"].removeprefix("# ").split("\n", 1)
    yield _text(16, 34, title, size=20, bold=True)
    yield _text(16, 62, text.replace("`", ""), size=13)


def _alarms(properties: dict[str, Any], width: int, _height: int) -> Iterator[str]:
    yield _text(16, 24, properties["title"], bold=True)
    names = [arn.rpartition(":")[2] for arn in properties["alarms"]]
    columns = 6
    tile = (width - 26) / columns
    for number, name in enumerate(names):
        x, y = 13 + number % columns * tile, 34 + number // columns * 46
        color = RED if name.endswith(LOUD) else GREEN
        yield f'<rect x="{x + 3:g}" y="{y}" width="{tile - 6:g}" height="40" rx="3" fill="{color}"/>'
        # Names of one service begin alike; what tells them apart is at their end.
        part = next(p for p in (name[len(_common(names)) :], name) if p)
        yield _text(x + 12, y + 17, part, fill="#fff", bold=True)
        yield _text(x + 12, y + 32, "In alarm" if color == RED else "OK", size=11, fill="#fff")


def _common(names: list[str]) -> str:
    first, last = min(names), max(names)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return first[: first.rfind("-", 0, same) + 1]


def _graph(properties: dict[str, Any], width: int, height: int) -> Iterator[str]:
    yield _text(16, 24, properties["title"], bold=True)
    left, right, top, bottom = 48, width - 18, 38, height - 48
    series = [(entry[-1], _values(entry)) for entry in properties["metrics"]]
    limits = properties.get("annotations", {}).get("horizontal", [])
    most = max([1.0, *(max(values) for _, values in series), *(limit["value"] for limit in limits)]) * 1.1

    def at(minute: int, value: float) -> str:
        return f"{left + (right - left) * minute / (MINUTES - 1):.1f},{bottom - (bottom - top) * value / most:.1f}"

    for part in (0, 0.5, 1):
        y = bottom - (bottom - top) * part / 1.1
        yield f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d5dbdb"/>'
        yield _text(left - 6, y + 4, f"{most / 1.1 * part:.3g}", size=11, fill=GREY, end=True)
    for minute in range(0, MINUTES, 60):
        yield _text(
            left + (right - left) * minute / (MINUTES - 1), bottom + 15, f"0{2 + minute // 60}:12", size=11, fill=GREY
        )
    x = left
    for number, (options, values) in enumerate(series):
        color = options.get("color", COLORS[number % len(COLORS)])
        points = " ".join(at(minute, value) for minute, value in enumerate(values))
        yield f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"/>'
        yield f'<rect x="{x}" y="{height - 24}" width="10" height="10" fill="{color}"/>'
        yield _text(x + 14, height - 15, options["label"], size=11)
        x += 30 + 6 * len(options["label"])
    for limit in limits:
        y = float(at(0, limit["value"]).split(",")[1])
        yield f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="{RED}" stroke-dasharray="5 4"/>'
        yield _text(right, y - 4, f"{limit['label']} {limit['value']:g}", size=11, fill=RED, end=True, over=True)


def _values(metric: list[Any]) -> list[float]:
    """The example's values of a metric, one a minute; always the same ones."""
    name, statistic = metric[1], metric[-1]["stat"]
    part = next((key for key, _ in VALUES if name.endswith(f"-{key}")), name)
    usual, wrong, wavers = VALUES[(part, statistic)]
    noise = hashlib.shake_128(f"{part}{statistic}".encode()).digest(MINUTES)
    found = []
    for minute in range(MINUTES):
        value = usual
        if minute in FAULT:
            value += (wrong - usual) * min(1.0, (minute - FAULT.start + 1) / 4)
        wave = 1 + wavers * (noise[minute] / 127.5 - 1)
        found.append(value * wave if wavers else float(round(value)))
    return found


def _log(properties: dict[str, Any], width: int, _height: int) -> Iterator[str]:
    yield _text(16, 24, properties["title"], bold=True)
    fields = re.findall(r"@\w+", properties["query"].split("|")[1])
    examples = {"@logStream": "ecs/google-workspace/4f0c…"}
    places = {"@timestamp": 16, "@logStream": 110, "@message": 310}
    for field in fields:
        yield _text(places[field], 48, field, size=11, fill=GREY, bold=True)
    for number, (at, line) in enumerate(LINES):
        y = 70 + number * 24
        yield f'<line x1="12" x2="{width - 12}" y1="{y - 16}" y2="{y - 16}" stroke="#eaeded"/>'
        for field in fields:
            yield _text(places[field], y, {"@timestamp": at, "@message": line, **examples}[field], size=11)


_KINDS = {"text": _markdown, "alarm": _alarms, "metric": _graph, "log": _log}
