"""The driver's memory of what is deployed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rehearsal.state import State


def test_what_is_remembered_at_the_same_time_is_all_in_the_file(tmp_path: Path) -> None:
    state = State(tmp_path / "stack.json")

    def remember(number: int) -> None:
        state.put({"urn": str(number)})
        state.save()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(remember, range(200)))
    known = json.loads((tmp_path / "stack.json").read_text())["resources"]
    assert {entry["urn"] for entry in known} == {str(number) for number in range(200)}
