"""The figures' page, picture and comparison, and how rows are kept; nothing here is timed."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import capacity, comparing, load, page
from benchmarks.program import configuration
from benchmarks.sheet import Row, Sheet, run
from components.settings import NAMESPACE, parse
from tests.conftest import ROOT


def group(**rows: Row) -> dict[str, Any]:
    sheet = Sheet(runs=3, rows=rows, without={"a peer": "it is | elsewhere"})
    bench = type("Bench", (), {"versions": {"server": "some==1"}})()
    return benchmarks.measured("verbs", lambda _, made: vars(made).update(vars(sheet)), bench, runs=3)


RESULTS = {
    "verbs": group(
        help=Row(values=[0.5, 0.3, 0.4], beside={"its help": [0.2]}, reach=0.4),
        cost=Row(values=[1.5], reach=2),
        broken=Row(failure="no engine"),
    ),
    "program": group(
        one=Row(values=[1.0], at=1, of="services"),
        ten=Row(values=[2.0], at=10, of="services"),
        fifty=Row(values=[9.0], at=50, of="services"),
    ),
}


def test_the_page_has_median_spread_peer_and_reach_of_each_figure_and_why_one_is_missing() -> None:
    text = page.page(RESULTS)
    assert "| help | 0.40 s (0.30 to 0.50) | its help 0.20 s | under 0.4 s: **missed** |" in text
    assert "| cost | 1.50 s |  | under 2 s: kept |" in text
    assert "| broken | **not measured: no engine** |  |  |" in text
    assert "- a peer: it is \\| elsewhere" in text
    assert "server: some==1; 3 runs." in text


def test_the_picture_has_a_point_for_each_row_that_grows() -> None:
    drawn = ElementTree.fromstring(page.picture(RESULTS))  # noqa: S314  # Made here.
    texts = ["".join(each.itertext()) for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"1", "10", "50", "9.00", "services", "s"} <= set(texts)
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}circle"))) == 3


def changed(values: list[float], *, unit: str = "s") -> dict[str, Any]:
    results = copy.deepcopy(RESULTS)
    results["verbs"]["rows"]["help"] |= {"values": values, "unit": unit}
    return results


@pytest.mark.parametrize(
    ("values", "unit", "verdict"),
    [
        ([0.2, 0.25], "s", "better"),
        ([0.6, 0.7], "s", "worse"),
        ([0.6, 0.7], "/s", "better"),
        ([0.45, 0.7], "s", "same"),
        ([0.9], "s", "unsure"),
        ([0.9], "MB", "worse"),
    ],
)
def test_a_figure_is_better_or_worse_only_beyond_what_its_runs_differ(
    values: list[float], unit: str, verdict: str
) -> None:
    found = {line: each for each, line in comparing.compare(RESULTS, changed(values, unit=unit))}
    (seen,) = (each for line, each in found.items() if line.startswith("verbs, help"))
    assert seen == verdict


def test_a_comparison_says_what_only_one_of_the_two_has_and_another_machine() -> None:
    other = changed([0.4, 0.4])
    del other["program"], other["verbs"]["rows"]["cost"]
    other["verbs"]["machine"]["machine"] = "96 cores"
    found = [line for verdict, line in comparing.compare(RESULTS, other) if verdict == "unsure"]
    assert "program: only before" in found
    assert "verbs, cost: only before" in found
    assert any("96 cores after" in line for line in found)


def compare(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "compare", *files], cwd=ROOT, capture_output=True, text=True
    )


def test_compare_ends_with_one_where_something_is_worse_and_with_two_for_no_results(tmp_path: Path) -> None:
    before, after, none = (tmp_path / name for name in ("before.json", "after.json", "none.json"))
    before.write_text(json.dumps(RESULTS))
    after.write_text(json.dumps(changed([0.8, 0.9])))
    none.write_text('{"verbs": 1}')
    done = compare(before, after)
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        1,
        "worse   verbs, help: 0.40 s (0.30 to 0.50) -> 0.85 s (0.80 to 0.90)",
    )
    assert compare(after, before).returncode == 0
    refused = compare(before, none)
    assert refused.returncode == 2
    assert "is no results.json of benchmarks" in refused.stderr


def test_a_group_that_is_measured_anew_leaves_the_others_and_their_dates(tmp_path: Path) -> None:
    home = tmp_path / "benchmarks"
    home.mkdir()
    (tmp_path / "README.md").write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "capacity.md").write_text(f"before\n{capacity.BEGIN}\nold\n{page.END}\n")
    benchmarks.write("program", RESULTS["program"] | {"date": "2020-01-01"}, home)
    benchmarks.write("verbs", RESULTS["verbs"], home)
    kept = json.loads((home / "results.json").read_text())
    assert list(kept) == ["program", "verbs"]  # In the page's order.
    assert kept["program"]["date"] == "2020-01-01"
    assert "2020-01-01" in (home / "results.md").read_text()
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("before\n") and readme.endswith("after\n") and "old" not in readme


def test_what_fails_is_said_in_its_row_and_the_rest_is_measured() -> None:
    def measure(_: object, sheet: Sheet) -> None:
        sheet.measure("breaks", lambda: float("nothing"), beside={"peer": lambda: 2.0})
        sheet.measure("works", lambda: 1.0)
        raise RuntimeError("first\nlast | line")

    bench = type("Bench", (), {"versions": {}})()
    rows = benchmarks.measured("verbs", measure, bench, runs=2)["rows"]
    assert "could not convert" in rows["breaks"]["failure"]
    assert (rows["breaks"]["values"], rows["breaks"]["beside"]) == ([], {"peer": [2.0, 2.0]})
    assert rows["works"]["values"] == [1.0, 1.0]
    assert rows["verbs, to its end"]["failure"] == "last / line"


def test_a_command_that_fails_is_named_with_its_last_words() -> None:
    with pytest.raises(RuntimeError, match="ended with 3: why"):
        run(["sh", "-c", "echo why; exit 3"])
    used = run(["cat"], "given")
    assert used.peak > 0


def test_the_configuration_of_many_services_is_a_valid_one() -> None:
    config = configuration(50)
    assert len(parse(config).services) == 50
    assert json.loads(config[f"{NAMESPACE}:services"])["service-49"]["desiredCount"] == 1


def test_the_groups_have_titles_and_what_readme_shows_is_measured() -> None:
    assert list(benchmarks.groups()) == list(page.TITLES)
    refused = subprocess.run([sys.executable, "-m", "benchmarks", "verb"], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "no group verb" in refused.stderr


def test_page_picture_and_readme_are_made_of_the_results() -> None:
    home = ROOT / "benchmarks"
    results = json.loads((home / "results.json").read_text()) if (home / "results.json").exists() else {}
    assert page.with_figures((ROOT / "README.md").read_text(), results) == (ROOT / "README.md").read_text()
    held = (ROOT / "docs" / "capacity.md").read_text()
    assert page.between(held, capacity.BEGIN, capacity.tables(results)) == held
    if results:
        assert (home / "results.md").read_text() == page.page(results)
        assert (home / page.PICTURE).read_text() == page.picture(results)
    else:
        assert not (home / "results.md").exists()


def test_the_capacity_page_says_how_many_people_are_at_the_share_of_the_most_that_autoscaling_keeps() -> None:
    where = "0.5 CPU, one task"
    rows = {f"{where}, the most: rate": Row(unit="/s", values=[19.0, 21.0, 20.0])}
    rows |= {f"{where}, at 60%: rate": Row(unit="/s", values=[11.5])}
    rows |= {f"{where}, at 60%: {kind}, {f}": Row(unit="ms", values=[99]) for kind in load.MIXED for f in load.FIGURES}
    rows[f"{where}, at 60%: health, p95"] = Row(unit="ms", values=[101])
    made = capacity.tables({"load": group(**rows), "start": group(**{"memory, idle": Row(unit="MB", values=[80.0])})})
    assert "A task's memory, idle 80 MB." in made
    assert f"| {where} | 20.0 | 12 | **101 ms**, 99 ms, 99 ms |" in made
    assert f"| {where}, at 60% | 99 ms, 101 ms, 99 ms |" in made
    assert "0.25 CPU" not in made
    assert "Not measured yet" in capacity.tables({})
