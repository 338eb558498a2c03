"""Clients that ask a service without pause, and what became of each of their requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from checks.http import FORMER, INITIALIZE, MCP_HEADERS, MODERN, modern

PATIENCE = 60.0
"""Seconds that a client waits for an answer."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request that a client repeats."""

    path: str = "/health"
    body: Mapping[str, Any] | None = None
    """JSON; None: it is a GET."""
    headers: Mapping[str, str] | None = None
    holds: str = ""
    """Text that is in an answer that is whole."""
    once: bool = False
    """Whether it is asked one time only, and its answer waited for."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that was made."""

    question: str
    began: float
    ended: float
    """Both by `time.monotonic()`."""
    outcome: int | str
    """The status; `cut` where a 200 has not got what it should, or how the connection failed."""


def of_both_eras(token: str) -> dict[str, Question]:
    """What clients of either era of the protocol ask first, for whoever has the token."""
    signed_in = {"Authorization": f"Bearer {token}"}
    now = modern("server/discover")
    return {
        MODERN: Question(
            path="/mcp", body=now["json"], headers=now["headers"] | signed_in, holds='"supportedVersions"'
        ),
        FORMER[-1]: Question(path="/mcp", body=INITIALIZE, headers=MCP_HEADERS | signed_in, holds='"serverInfo"'),
    }


def long_calls(token: str, user: str) -> dict[str, Question]:
    """A tool call in either era, whose answer takes as long as the user has patience."""
    signed_in, tool = {"Authorization": f"Bearer {token}"}, {"name": "list_calendars", "arguments": {}}
    now = modern("tools/call", **tool)
    before = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": tool}
    former = MCP_HEADERS | {"MCP-Protocol-Version": FORMER[-1]} | signed_in
    whole = f"Calendar of {user}"
    return {
        f"long, {MODERN}": Question(path="/mcp", body=now["json"], headers=now["headers"] | signed_in, holds=whole),
        f"long, {FORMER[-1]}": Question(path="/mcp", body=before, headers=former, holds=whole),
    }


def minute_long(token: str, user: str) -> Question:
    """A tool call that is streamed for as long as Google takes for two answers to the user, asked once."""
    now = modern("tools/call", name="get_gmail_message_content", arguments={"message_id": "m1"})
    headers = now["headers"] | {"Authorization": f"Bearer {token}"}
    return Question(path="/mcp", body=now["json"], headers=headers, holds=f"Mail of {user}", once=True)


@contextmanager
def without_pause(
    url: str, host: str, questions: Mapping[str, Question], *, every: float = 0.05
) -> Iterator[list[Asked]]:
    """Each question is asked by a client of its own, again and again; what became of it, so far.

    url: where requests go, `http://address:port`, with the prefix of the service. host: its public one. every: seconds
    between two requests of a client.
    """
    asked: list[Asked] = []
    done = threading.Event()

    def ask(name: str, question: Question) -> None:
        headers = {**(question.headers or {}), "Host": host}
        with httpx2.Client(trust_env=False, headers=headers, timeout=PATIENCE) as client:
            while not done.is_set():
                began = time.monotonic()
                try:
                    method = "GET" if question.body is None else "POST"
                    answer = client.request(method, url + question.path, json=question.body)
                    whole = answer.status_code != 200 or question.holds in answer.text
                    outcome: int | str = answer.status_code if whole else "cut"
                except httpx2.TransportError as error:
                    outcome = type(error).__name__
                asked.append(Asked(question=name, began=began, ended=time.monotonic(), outcome=outcome))
                if question.once:
                    return
                time.sleep(every)

    threads = [threading.Thread(target=ask, args=one) for one in questions.items()]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        done.set()
        for thread in threads:
            thread.join()


def outcomes(asked: Iterable[Asked]) -> set[int | str]:
    return {one.outcome for one in asked}


def lost(asked: Iterable[Asked]) -> list[Asked]:
    """Those that were not answered as they should have been."""
    return [one for one in asked if one.outcome != 200]
