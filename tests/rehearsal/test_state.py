"""What the embedded driver remembers, written by many at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rehearsal.state import State


def test_the_state_is_whole_whoever_writes_it_at_the_same_time(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    state = State(file)

    def write(number: int) -> None:
        state.put({"urn": f"urn:{number}"})
        state.save()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(400)))
    assert sorted(entry["urn"] for entry in json.loads(file.read_text())["resources"]) == sorted(
        f"urn:{number}" for number in range(400)
    )


def test_what_waits_for_its_deletion_is_saved_as_that(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    state = State(file)
    state.put(replaced := {"urn": "urn:replaced"})
    state.put({"urn": "urn:other"})
    state.await_deletion(replaced)
    assert State(file).resources == [{"urn": "urn:replaced", "delete": True}, {"urn": "urn:other"}]
