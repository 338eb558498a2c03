"""What a login and the check of a token take with each store of OAuth state, asked of a task past the load balancer."""

from __future__ import annotations

import statistics
import time
from typing import Any

from acceptance.sign_in import Session, ask, sign_in
from acceptance.subject import Subject
from benchmarks.bench import Bench
from benchmarks.deployed import VALKEY, stack, subject
from benchmarks.sheet import Sheet
from checks.http import expect, modern
from rehearsal.run import Rehearsal

STORES: dict[str, dict[str, str]] = {
    "memory": {"backend": "memory"},
    "dynamodb, emulated": {"backend": "dynamodb"},
    "valkey": VALKEY,
}
LOGINS, CHECKS = 5, 50
"""Of each run; of the checks the median counts."""


def measure(bench: Bench, sheet: Sheet) -> None:
    """A rehearsal for each store, of one task."""
    _ = bench.image  # What is built before is not measured here.
    for name, state in STORES.items():
        with sheet.surviving(f"a login: {name}"), Rehearsal(stack("stores", state)) as rehearsal:
            rehearsal.deploy()
            asked = subject(rehearsal, edge=False)
            ask(sign_in(asked, "first@example.com"))  # What only the first one waits for.
            for _run in range(sheet.runs):
                people = []
                for number in range(LOGINS):
                    started = time.perf_counter()
                    people.append(ask(sign_in(asked, f"person{number}@example.com")))
                    sheet.row(f"a login: {name}", unit="ms").put((time.perf_counter() - started) * 1000)
                sheet.row(f"a token's check: {name}", unit="ms").put(ask(_check(asked, people[0])) * 1000)
    sheet.without["DynamoDB and ElastiCache of AWS"] = (
        "it takes an account; each question of a task to them takes some milliseconds, which is not in these figures"
    )


async def _check(of: Subject, person: Session) -> float:
    """Seconds of a request that needs little but the check of its token."""
    asked: dict[str, Any] = modern("server/discover")
    asked["headers"] = {**asked["headers"], "Authorization": f"Bearer {person.token}"}
    taken = []
    async with of.address.client() as http:
        for _ in range(CHECKS):
            started = time.perf_counter()
            expect(await http.post(of.address.mcp_url, **asked), 200)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)
