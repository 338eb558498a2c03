"""The limit on registrations and their end: the image's own code, without the server."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

SOURCE = Path(__file__).parents[1] / "image" / "registrations.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("registrations", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


registrations = load()


def test_a_source_has_its_hour_at_once_and_then_its_share() -> None:
    rate = registrations.Rate(4)
    assert [rate.wait("a", 1000) for _ in range(5)] == [0, 0, 0, 0, 900]
    assert rate.wait("b", 1000) == 0
    assert [rate.wait("a", 1900), rate.wait("a", 1900)] == [0, 900]
    assert [rate.wait("a", 9000) for _ in range(5)] == [0, 0, 0, 0, 900]


def test_a_source_whose_hour_is_over_takes_no_memory() -> None:
    rate = registrations.Rate(60)
    for number in range(1000):
        rate.wait(str(number), 1000)
    rate.wait("later", 1000 + 61)
    assert rate.due.keys() == {"later"}


@pytest.mark.parametrize(
    ("headers", "source"),
    [
        ([b"203.0.113.7"], "203.0.113.7"),
        ([b"10.0.0.1, 203.0.113.7"], "203.0.113.7"),
        ([b"203.0.113.7", b"203.0.113.8"], "203.0.113.8"),
        ([b"2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        ([b"not an address\n[ERROR]"], "an address that is none"),
        ([], "127.0.0.1"),
    ],
)
def test_who_asks_is_whom_the_load_balancer_saw(headers: list[bytes], source: str) -> None:
    scope = {"headers": [(b"x-forwarded-for", value) for value in headers], "client": ("127.0.0.1", 1)}
    assert registrations.asked_from(scope) == source


async def flood(limit: Any, sources: list[str]) -> list[int]:
    """The statuses of one registration from each."""
    return [(await answered(limit, source))[0] for source in sources]


async def answered(limit: Any, source: str) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers of one registration."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/register",
        "headers": [(b"x-forwarded-for", source.encode())],
    }
    await limit(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])


async def registered(_scope: Any, receive: Any, send: Any) -> None:
    assert (await receive())["body"] == b"{}"
    await send({"type": "http.response.start", "status": 201, "headers": []})


@pytest.fixture
def limit() -> Iterator[Any]:
    yield registrations.Limit(registered)


def test_what_one_source_is_refused_does_not_count_against_all(limit: Any) -> None:
    statuses = asyncio.run(flood(limit, ["203.0.113.7"] * (registrations.ALL + 100)))
    assert statuses.count(201) < registrations.ALL
    assert asyncio.run(answered(limit, "203.0.113.8"))[0] == 201


def test_many_sources_together_have_a_limit_too(limit: Any) -> None:
    sources = [f"10.0.{number // 250}.{number % 250}" for number in range(2 * registrations.ALL)]
    statuses = asyncio.run(flood(limit, sources))
    assert statuses[: registrations.ALL] == [201] * registrations.ALL
    assert 429 in statuses


class Store:
    """Stands for the proxy's store of registrations."""

    def __init__(self) -> None:
        self.ends: dict[str, float | None] = {}

    async def get(self, *, key: str) -> str | None:
        return key if key in self.ends else None

    async def put(self, *, key: str, value: str, ttl: float | None) -> None:
        assert value == key
        self.ends[key] = ttl


def provider() -> Any:
    store = Store()

    async def register(client: Any) -> None:
        store.ends[client.client_id] = None

    async def exchange(_client: Any, code: str) -> str:
        return f"token for {code}"

    made = SimpleNamespace(_client_store=store, register_client=register, exchange_authorization_code=exchange)
    registrations.expire_unused(made)
    return made


def test_a_registration_ends_in_a_day_and_with_a_sign_in_it_stays() -> None:
    made = provider()
    for name in ("used", "unused"):
        asyncio.run(made.register_client(SimpleNamespace(client_id=name)))
    assert made._client_store.ends == {"used": 86400, "unused": 86400}
    exchanged = made.exchange_authorization_code(SimpleNamespace(client_id="used"), "c")
    assert asyncio.run(exchanged) == "token for c"
    assert made._client_store.ends == {"used": None, "unused": 86400}


def test_who_signs_in_by_a_document_is_stored_nowhere() -> None:
    made = provider()
    client = SimpleNamespace(client_id="https://client.example/document.json")
    assert asyncio.run(made.exchange_authorization_code(client, "c")) == "token for c"
    assert made._client_store.ends == {}


def test_a_proxy_that_has_changed_is_not_taken_for_one_that_forgets() -> None:
    with pytest.raises(AttributeError, match="_client_store"):
        registrations.expire_unused(SimpleNamespace())
