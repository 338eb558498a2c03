"""What a request meets while the store of OAuth state fails: the image's own code, without the server."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

IMAGE = Path(__file__).parents[1] / "image"


@pytest.fixture
def failures() -> Iterator[Any]:
    """The image's module."""
    sys.path.insert(0, str(IMAGE))
    try:
        yield importlib.import_module("store_failures")
    finally:
        sys.path.remove(str(IMAGE))
        for name in ("store_failures", "registrations"):
            sys.modules.pop(name, None)


class Store:
    """Fails with `error`, if there is one, after `seconds`."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.seconds = 0.0

    async def get(self, **_: Any) -> str:
        await asyncio.sleep(self.seconds)
        if self.error:
            raise self.error
        return "found"

    put = delete = get_many = put_many = delete_many = ttl = ttl_many = get


def watched(failures: Any) -> Store:
    store = Store()
    failures.watch(store, "the table", str)
    return store


def asked(failures: Any, app: Callable[..., Any], path: str = "/mcp") -> tuple[int, bytes]:
    """Status and body that a client gets of an application."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "method": "POST", "headers": []}
    asyncio.run(failures.Unavailable(app)(scope, None, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return sent[0]["status"], sent[1]["body"]


def answering(status: int, store: Store, times: int = 1) -> Callable[..., Any]:
    """An application that asks the store, takes no notice of how it fails, and answers with a status."""

    async def app(_scope: Any, _receive: Any, send: Callable[..., Any]) -> None:
        for _ in range(times):
            try:
                await store.get(key="k")
            except Exception:
                logging.getLogger("app").debug("none of its business")
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"its own"})

    return app


@pytest.mark.parametrize("status", [400, 401, 500])
def test_what_the_server_makes_of_a_store_that_fails_becomes_503(failures: Any, status: int) -> None:
    store = watched(failures)
    assert asked(failures, answering(status, store)) == (status, b"its own")
    store.error = OSError("down")
    got, body = asked(failures, answering(status, store))
    assert (got, json.loads(body)["error"]) == (503, "temporarily_unavailable")


def test_an_answer_that_needed_no_store_stays(failures: Any) -> None:
    store = watched(failures)
    store.error = OSError("down")
    assert asked(failures, answering(200, store)) == (200, b"its own")
    assert asked(failures, answering(503, store), "/health/ready") == (503, b"its own")


def test_an_error_that_the_server_does_not_catch_is_503_without_a_traceback(failures: Any) -> None:
    store = watched(failures)
    store.error = OSError("down")

    async def app(*_: Any) -> None:
        await store.put(key="k")

    assert asked(failures, app)[0] == 503

    async def broken(*_: Any) -> None:
        raise ValueError("of its own")

    with pytest.raises(ValueError, match="of its own"):
        asked(failures, broken)


def test_a_request_waits_for_all_of_its_questions_together_no_longer_than_for_one(
    failures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = watched(failures)
    seen: list[str] = []

    async def app(_scope: Any, _receive: Any, send: Callable[..., Any]) -> None:
        for _ in range(3):
            try:
                seen.append(await store.get(key="k"))
            except failures.StoreFailed:
                seen.append("failed")
        await answering(401, store, times=0)(_scope, _receive, send)

    # Each question takes three of a request's five seconds.
    monkeypatch.setattr(failures, "time", SimpleNamespace(monotonic=itertools.count(100, 3).__next__))
    assert asked(failures, app)[0] == 503
    assert seen == ["found", "found", "failed"]


def test_a_store_that_never_answers_is_given_up(failures: Any, caplog: pytest.LogCaptureFixture) -> None:
    store = watched(failures)
    store.seconds = 3600

    async def given_up() -> None:
        failures._REQUEST.set(failures.Request(left=0.01))
        await store.get(key="k")

    with pytest.raises(failures.StoreFailed):
        asyncio.run(given_up())
    assert caplog.messages == ["OAuth storage: the table fails (get): no answer within 5 s"]


def test_the_log_has_a_line_when_it_begins_and_one_when_all_is_well(
    failures: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store = watched(failures)
    store.error = OSError("down")
    for operation in (store.get, store.put, store.get, store.put):
        with pytest.raises(failures.StoreFailed):
            asyncio.run(operation(key="k"))
    store.error = None
    asyncio.run(store.get(key="k"))
    assert len(caplog.messages) == 1, "what is there can be read, and nothing can be kept yet"
    asyncio.run(store.put(key="k"))
    assert caplog.messages == [
        "OAuth storage: the table fails (get): down",
        "OAuth state: the table is well again",
    ]
