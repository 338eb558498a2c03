"""What keeps `/register`, which anybody may ask, from filling the store: a limit, and an end of what nobody used.

The limit holds for each task. It needs no setting: it is far above what people's clients do, and far below what hurts.

`expire_unused` goes when FastMCP's OAuth proxy gives registrations an end of its own.
"""

import ipaddress
import json
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HOUR = 3600
EACH = 300
"""Registrations in an hour from one address, behind which a whole office may sit, or everybody who uses Claude."""
ALL = 1000
"""Registrations in an hour in all."""
LARGEST = 8 * 1024
"""Bytes of a registration. Those of clients that are known have less than a thousand."""
UNUSED = 24 * HOUR
"""Seconds after which a registration ends with which nobody signed in. With the limits, what lies there at once has
less than 210 MB, and as a rule than 25 MB."""


class Rate:
    """So many in an hour for each source: as many at once, and then one whenever its share of the hour has passed.

    The generic cell rate algorithm: of each source only the time is kept at which all that it asked would be due.
    """

    def __init__(self, most: int) -> None:
        self.share = HOUR / most
        self.due: dict[str, float] = {}
        self.tidied = 0.0

    def wait(self, source: str, now: float) -> float:
        """Seconds until `source` may ask again; 0: it may now, and that counts. now: seconds of a steady clock."""
        if now > self.tidied + 60:
            self.due, self.tidied = {name: due for name, due in self.due.items() if due > now}, now
        due = max(self.due.get(source, now), now) + self.share
        if due > now + HOUR:
            return due - now - HOUR
        self.due[source] = due
        return 0


class Limit:
    """Answers 429 to registrations beyond the rates, with `Retry-After`, and 413 to those that are too large."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.each, self.all = Rate(EACH), Rate(ALL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/register" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        source, now = asked_from(scope), time.monotonic()
        if seconds := self.each.wait(source, now):
            await refuse(send, 429, f"more than {EACH} registrations an hour from {source}", math.ceil(seconds))
            return
        # After it: what one source is refused does not count against all.
        if seconds := self.all.wait("", now):
            why = f"more than {ALL} registrations an hour in all, this one from {source}"
            await refuse(send, 429, why, math.ceil(seconds))
            return
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > LARGEST:
                await refuse(send, 413, f"a registration of more than {LARGEST} bytes from {source}")
                return
            if not message.get("more_body"):
                break

        whole = [message if message["type"] == "http.disconnect" else {**message, "body": bytes(body)}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, again, send)


async def refuse(send: Send, status: int, why: str, retry_after: int | None = None) -> None:
    """Answer as RFC 7591 has errors, RFC 6585 the 429, and RFC 6749 the 503."""
    names = {413: "invalid_client_metadata", 429: "too_many_requests", 503: "temporarily_unavailable"}
    body = json.dumps({"error": names[status], "error_description": why})
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if retry_after is not None:
        headers.append((b"retry-after", str(retry_after).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})


def asked_from(scope: Scope) -> str:
    """The address that the load balancer saw, which it puts last; what stands before that anybody may write. Without a
    load balancer, whoever is connected. Of IPv6 the network that one customer has (/64)."""
    headers = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    connected = (scope.get("client") or ("",))[0]
    seen = headers[-1].decode("latin-1").rpartition(",")[2].strip() if headers else connected
    try:
        address = ipaddress.ip_address(seen)
    except ValueError:
        return "an address that is none"
    return str(address if address.version == 4 else ipaddress.ip_network((address, 64), strict=False))


def expire_unused(provider: Any) -> None:
    """Have the OAuth proxy's registrations end after `UNUSED`, unless somebody has signed in with them by then.

    Those stay for ever, as all do that were stored before. Raises `AttributeError` where the proxy has changed.
    """
    store, register, exchange = provider._client_store, provider.register_client, provider.exchange_authorization_code

    async def put_again(client_id: str, ttl: float | None) -> None:
        if (found := await store.get(key=client_id)) is not None:  # None: its id is the address of a document.
            await store.put(key=client_id, value=found, ttl=ttl)

    async def register_client(client_info: Any) -> None:
        await register(client_info)
        await put_again(client_info.client_id, UNUSED)

    async def exchange_authorization_code(client: Any, authorization_code: Any) -> Any:
        # Before, and not after: whoever has a code has signed in, and a store that fails here loses no tokens.
        await put_again(client.client_id, None)
        return await exchange(client, authorization_code)

    provider.register_client, provider.exchange_authorization_code = register_client, exchange_authorization_code
