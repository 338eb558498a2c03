"""What clients and the log are told while the store of OAuth state fails: 503 and a line, and no wait without end.

The server takes a token that it cannot look up for worthless. By its 401 clients throw tokens away, and everybody would
sign in again because a store was slow for a minute. Of a registration that cannot be kept it logs nothing that tells
of the store.

Goes when FastMCP's OAuth proxy tells a store that fails from a token that is not there.
"""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from registrations import App, Message, Receive, Scope, Send, refuse

LOG = logging.getLogger("oauth_store")
SECONDS = 5.0
"""What one request may wait for the store, in all."""
RETRY_AFTER = 10
"""Seconds after which a client should ask again; and the log has a line of a store that fails that often at most."""
OPERATIONS = ("get", "get_many", "ttl", "ttl_many", "put", "put_many", "delete", "delete_many")


@dataclasses.dataclass
class Request:
    """A request, as the store knows of it."""

    left: float = SECONDS
    """Seconds that it may still wait."""
    failed: bool = False


_REQUEST: ContextVar[Request | None] = ContextVar("request", default=None)


class StoreFailed(Exception):
    """The store did not do what it was asked; the log says why."""


def watch(store: Any, place: str, told: Callable[[BaseException], str]) -> None:
    """Have each operation of the store end in time, and the log say where one fails, and when all are well again.

    place: what the log calls the store. told: an error's words, without secrets.
    """
    failing: set[str] = set()
    quiet_until = 0.0

    def bounded(operation: str) -> Callable[..., Any]:
        ask = getattr(store, operation)

        async def within(*arguments: Any, **named: Any) -> Any:
            nonlocal quiet_until
            request, begun = _REQUEST.get() or Request(), time.monotonic()
            try:
                async with asyncio.timeout(request.left) as limit:
                    found = await ask(*arguments, **named)
            except Exception as error:  # Of three libraries; a request that is broken off raises no Exception.
                request.failed = True
                failing.add(operation)
                if time.monotonic() > quiet_until:
                    quiet_until = time.monotonic() + RETRY_AFTER
                    why = f"no answer within {SECONDS:g} s" if limit.expired() else told(error)
                    LOG.warning("OAuth storage: %s fails (%s): %s", place, operation, why)
                raise StoreFailed(f"{operation}: see the log of OAuth storage") from error
            finally:
                request.left -= time.monotonic() - begun
            if operation in failing:
                failing.discard(operation)
                if not failing:
                    quiet_until = 0.0
                    LOG.warning("OAuth state: %s is well again", place)
            return found

        return within

    for operation in OPERATIONS:
        setattr(store, operation, bounded(operation))


class Unavailable:
    """Answers 503 where a request failed because the store did."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/health/ready":  # That one is about the store, and says more.
            await self.app(scope, receive, send)
            return
        request, begun, replaced = Request(), False, False

        async def giving(message: Message) -> None:
            nonlocal begun, replaced
            if message["type"] == "http.response.start" and request.failed and message["status"] >= 400:
                replaced = True
                await self.answer(send)
            elif not replaced:
                begun = True
                await send(message)

        known = _REQUEST.set(request)
        try:
            await self.app(scope, receive, giving)
        except Exception:
            if not request.failed or begun:
                raise
            if not replaced:
                await self.answer(send)
        finally:
            _REQUEST.reset(known)

    @staticmethod
    async def answer(send: Send) -> None:
        why = "sign-ins can neither be looked up nor kept at the moment; nobody needs to sign in anew"
        await refuse(send, 503, why, RETRY_AFTER)
