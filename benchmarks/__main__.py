"""Measures what users wait for and pay for, beside peers, and writes `results.json`, `results.md`, a picture
and the tables of README and docs/capacity.md. About 40 minutes for all of it; named groups alone are measured anew, the
others keep their figures.
`show` only writes anew what is made of results.json; `compare BEFORE.json AFTER.json` holds two of them together."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import comparing, page, sheet

HOME = Path(__file__).parent
RESULTS = HOME / "results.json"
Group = Callable[[Any, sheet.Sheet], None]
EXIT = "exit status: 0 all was measured; 1 a figure could not be had, its row says why, or `compare` found a worse one"


def groups() -> dict[str, Group]:
    """Name -> what measures it, in the order in which they must come."""
    from benchmarks import image, load, program, rehearsing, rollback, stack, start, stores, timing, verbs

    # Whole rehearsals come before what is done on a kept one.
    rooms = {"image": image, "start": start, "program": program, "stack": stack, "timing": timing}
    rooms |= {"stores": stores, "rehearsal": rehearsing, "verbs": verbs, "rollback": rollback, "load": load}
    return {name: room.measure for name, room in rooms.items()}


def main(arguments: Sequence[str]) -> int:
    """Measure or compare; the exit status."""
    if arguments[:1] == ["compare"]:
        return _compare(arguments[1:])
    if arguments == ["show"]:
        show()
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, epilog=EXIT)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(page.TITLES)}; default: all")
    parser.add_argument("--runs", type=int, default=3, help="measurements of each figure (default: 3)")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.groups if name not in page.TITLES]:
        parser.error(f"no group {', '.join(unknown)}; there are {', '.join(page.TITLES)}, and: compare, show")
    if options.runs < 1:
        parser.error("--runs: 1 or more")
    from benchmarks.bench import Bench, ending_in_order

    failed = False
    with ending_in_order(), Bench() as bench:
        for name, measure in groups().items():
            if options.groups and name not in options.groups:
                continue
            found = measured(name, measure, bench, options.runs)
            failures = {row: facts["failure"] for row, facts in found["rows"].items() if facts["failure"]}
            failed = failed or bool(failures)
            print(f"{name}: {len(found['rows'])} figures in {found['seconds']:.0f} s", flush=True)
            for row, failure in failures.items():
                print(f"  {row}: {failure}", flush=True)
            # After each, so that what was measured is there whatever comes.
            write(name, found)
    return int(failed)


def measured(name: str, measure: Group, bench: Any, runs: int) -> dict[str, Any]:
    """A group's figures, as `results.json` has them; whatever goes wrong is in a row of its own."""
    made, machine, started = sheet.Sheet(runs=runs), sheet.machine(), time.monotonic()
    with made.surviving(f"{name}, to its end"):
        measure(bench, made)
    return {
        "date": f"{datetime.now(tz=UTC):%Y-%m-%d}",
        "runs": runs,
        "seconds": round(time.monotonic() - started, 1),
        "machine": machine | bench.versions,
        "rows": {row: dataclasses.asdict(facts) for row, facts in made.rows.items()},
        "without": made.without,
    }


def write(name: str, found: dict[str, Any], home: Path = HOME) -> None:
    """Put a group into the results, in place of what it had, and make of them all that is made of them."""
    file = home / RESULTS.name
    results = json.loads(file.read_text()) if file.exists() else {}
    results[name] = found
    results = {each: results[each] for each in page.TITLES if each in results}
    file.write_text(json.dumps(results, indent=1) + "\n")
    show(home)


def show(home: Path = HOME) -> None:
    """Make page, picture, README's table and those of docs/capacity.md of the results."""
    from benchmarks import capacity

    results, readme = json.loads((home / RESULTS.name).read_text()), home.parent / "README.md"
    held = home.parent / "docs" / "capacity.md"
    (home / "results.md").write_text(page.page(results))
    (home / page.PICTURE).write_text(page.picture(results))
    readme.write_text(page.with_figures(readme.read_text(), results))
    held.write_text(page.between(held.read_text(), capacity.BEGIN, capacity.tables(results)))


def _compare(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks compare", description="What became better or worse.", epilog=EXIT
    )
    parser.add_argument("before", type=_read)
    parser.add_argument("after", type=_read)
    options = parser.parse_args(arguments)
    text, worse = comparing.report(options.before, options.after)
    print(text)
    return int(worse)


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(text).read_text())
        if not all({"rows", "machine", "runs"} <= group.keys() for group in found.values()):
            raise ValueError("it has no figures")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"{text} is no results.json of benchmarks: {error}") from None
    return dict(found)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("Interrupted; groups that were done before are in the results.")
