"""`load`: many users at once, against a stack, and what the answers must keep to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import checks
import loadtest
from acceptance.sign_in import ask
from acceptance.subject import Subject
from acceptance.test_tools import EACH_KIND, arguments
from checks.check import Failed, describe, first_cause
from checks.mcp import list_tools
from components.settings import Service
from machine.environments import NotInstalled
from operations.errors import OperationError
from operations.target import Target
from operations.users import from_outside, sessions

PEOPLE = 5
"""Users who sign in, in a rehearsal. On a real account one has, whose token is given."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was measured, a step for each number of users, and how it is judged."""

    steps: list[loadtest.Measured]
    checks: list[checks.Check]


def load(
    target: Target, service: Service, *, profile: str, users: int, seconds: int, token_file: Path | None = None
) -> Outcome:
    """Run a profile on the service. Raises `OperationError` where it cannot be asked."""
    subject = from_outside(target, service, token_file)
    weights = loadtest.PROFILES["mixed" if profile == "stress" else profile]
    people = [loadtest.Person()] if weights.keys() == {"health"} else signed_in(subject, weights)

    def measure(users: int) -> loadtest.Measured:
        return loadtest.run(subject.address, people, weights, users=users, seconds=seconds)

    started = time.monotonic()
    try:
        if profile == "stress":
            steps, check = loadtest.stress(measure, users=users)
            return Outcome(steps=steps, checks=[check])
        found = measure(users)
    except (loadtest.LoadTestFailed, NotInstalled) as error:
        raise OperationError(f"The load test did not run: {error}") from None
    judged = loadtest.judge(found, time.monotonic() - started, timed=not target.rehearsed)
    return Outcome(steps=[found], checks=judged)


def signed_in(subject: Subject, weights: Mapping[str, int]) -> list[loadtest.Person]:
    """Those who ask, signed in, each with the search that the server's tool takes. Raises `OperationError`."""

    async def questions() -> list[loadtest.Person]:
        all_of_them = await sessions(subject, [f"load-{number}@example.com" for number in range(1, PEOPLE + 1)])
        async with all_of_them[0].client(subject.address) as client:
            tools = {tool.name: tool for tool in await list_tools(client)}
        tool = tools.get(EACH_KIND["Gmail"])
        if tool is None and "search" in weights:
            raise OperationError(f"The server has no tool {EACH_KIND['Gmail']}: ask it with ./ops load tools", 2)
        return [
            loadtest.Person(
                token=session.token,
                search={"name": tool.name, "arguments": arguments(tool.input_schema, session.user)} if tool else None,
            )
            for session in all_of_them
        ]

    try:
        return ask(questions())
    except OperationError:
        raise
    except Failed as error:
        raise OperationError(f"Nobody can sign in: {error}. Ask first: ./ops accept") from None
    except Exception as error:
        raise OperationError(
            f"The server's tools cannot be listed: {describe(first_cause(error))}. Ask first: ./ops accept"
        ) from None
