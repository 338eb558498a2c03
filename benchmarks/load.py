"""What many users at once meet in a kept rehearsal, through the edge."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.sheet import Sheet

_SECONDS = "15"


def measure(bench: Bench, sheet: Sheet) -> None:
    """Requests a second and times, by kind of request."""
    for _ in range(sheet.runs):
        document = bench.document("operations", "load", "mixed", *bench.kept, "--seconds", _SECONDS, "--json")
        (step,) = document["steps"]
        for each in step["figures"]:
            if each["name"].startswith("initialize"):
                continue  # Of the protocol before: one for each user, so hardly any.
            name = f"{step['users']} users, half a CPU: {each['name']}"
            note = "the machine that asked was busy" if step["busy"] else ""
            for figure in ("p50", "p95", "p99"):
                sheet.row(f"{name}, {figure}", unit="ms", note=note).put(each[figure])
            sheet.row(f"{name}, rate", unit="/s", note=note).put(each["rate"])
    sheet.without["a bare MCP server in Python"] = "a public benchmark says 292 requests a second at 1 CPU, 50 users"
