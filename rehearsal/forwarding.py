"""What the edge changes on a request's and an answer's way, and what it answers itself."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import secrets
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from rehearsal.listener import Request

log = logging.getLogger("rehearsal.edge")

HOP_BY_HOP = {"connection", "proxy-connection", "keep-alive", "te", "transfer-encoding", "upgrade"}
"""RFC 9110, section 7.6.1; and whatever the Connection header names."""


def decoded(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def encoded(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def traced(header: str) -> str:
    """X-Amzn-Trace-Id for the target: a Root unless there is one, else a Self (page request-tracing)."""
    fresh = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    parts = (part.strip() for part in header.split(";"))
    fields = [part for part in parts if part and not part.startswith("Self=")]
    name = "Self" if any(part.startswith("Root=") for part in fields) else "Root"
    return ";".join([f"{name}={fresh}", *fields])


def end_to_end(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers without those that concern one connection only."""
    named = ",".join(value for name, value in headers if name.lower() == "connection")
    dropped = HOP_BY_HOP | {part.strip().lower() for part in named.split(",")}
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def for_target(request: Request, host: str | None) -> list[tuple[str, str]]:
    """The headers a target gets (page x-forwarded-headers); Host as the client sent it unless rewritten."""
    sent: dict[str, list[str]] = {}
    for name, value in request.headers:
        sent.setdefault(name, []).append(value)
    # The edge has answered an Expect itself by asking for the body.
    own = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "x-amzn-trace-id", "expect"}
    headers = [(name, value) for name, value in end_to_end(request.headers) if name not in own]
    if host is not None:
        headers = [("host", host), *((name, value) for name, value in headers if name != "host")]
    if "transfer-encoding" in sent:
        headers.append(("transfer-encoding", "chunked"))
    return [
        *headers,
        ("x-forwarded-for", ", ".join([*sent.get("x-forwarded-for", []), request.source_ip])),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-amzn-trace-id", traced(";".join(sent.get("x-amzn-trace-id", [])))),
    ]


async def hung_up(receive: Any, uploaded: asyncio.Event) -> None:
    """Returns when the client has gone, which matters most to streams that would never end otherwise."""
    await uploaded.wait()
    while (await receive())["type"] != "http.disconnect":
        pass


def page(status: int) -> bytes:
    title = f"{status} {HTTPStatus(status).phrase}"
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\r\n".encode()


async def refuse(send: Any, status: int, reason: str) -> None:
    """An error of the load balancer's own. The reason goes to the log: AWS does not tell clients either."""
    log.warning("%s %s", status, reason)
    await answer(send, status, "text/html", page(status))


async def answer(send: Any, status: int, content_type: str, body: bytes, redirect: str | None = None) -> None:
    headers = [
        (b"server", b"awselb/2.0"),
        (b"date", email.utils.formatdate(usegmt=True).encode()),
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    if redirect is not None:
        headers.append((b"location", redirect.encode("latin-1")))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
