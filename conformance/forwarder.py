"""A door on loopback to a server behind OAuth, for a client that can neither sign in nor send a token."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from checks import PublicAddress

_HEAD = 2**18
"""Bytes that a request's or an answer's first line and headers may have."""
_END = b"\r\n\r\n"
NO_ROOM = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
NOT_REACHED = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@asynccontextmanager
async def forwarding(address: PublicAddress, token: str | None) -> AsyncIterator[str]:
    """The URL on loopback below which the server answers as below its public one, to whoever has the token.

    The URL holds a word that nobody guesses: whoever knows it acts with the token. What is changed of a request: the
    path, Host and Origin where they name this door, and Authorization. All else passes as it is, in both directions,
    streams included; each connection carries one request.
    """
    word = secrets.token_urlsafe(24)
    open_ones: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        open_ones.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await door.carry(reader, writer)
        finally:
            open_ones.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=_HEAD)
    port = server.sockets[0].getsockname()[1]
    door = _Door(address=address, token=token, own=f"127.0.0.1:{port}", prefix=f"/{word}")
    try:
        yield f"http://{door.own}{door.prefix}"
    finally:
        server.close()
        for task in list(open_ones):
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)


@dataclass(frozen=True, kw_only=True)
class _Door:
    address: PublicAddress
    token: str | None
    own: str
    """Host and port of the door."""
    prefix: str

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, and its answer."""
        request = self.request(await reader.readuntil(_END))
        if request is None:
            writer.write(NO_ROOM)
            return
        try:
            from_server, to_server = await self.connected()
        except OSError:
            writer.write(NOT_REACHED)
            return
        try:
            to_server.write(request)
            upward = asyncio.ensure_future(_poured(reader, to_server))
            downward = asyncio.ensure_future(self.answer(from_server, writer))
            # A client that hangs up cancels what it asked for, so the server is to see it; and the answer's end is all.
            await asyncio.wait([upward, downward], return_when=asyncio.FIRST_COMPLETED)
            for task in (upward, downward):
                task.cancel()
            await asyncio.gather(upward, downward, return_exceptions=True)
        finally:
            to_server.close()

    async def connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        there = urlsplit(self.address.connect_to or self.address.url)
        secure = ssl.create_default_context() if there.scheme == "https" else None
        port = there.port or (443 if secure else 80)
        return await asyncio.open_connection(there.hostname, port, ssl=secure, limit=_HEAD)

    def request(self, head: bytes) -> bytes | None:
        """The head of the request that the server gets; None: it does not know the word."""
        line, *headers = head.removesuffix(_END).split(b"\r\n")
        method, target, version = line.split(b" ", 2)
        path = target.decode("latin-1")
        if not path.startswith(f"{self.prefix}/"):
            return None
        public = urlsplit(self.address.url)
        path = public.path + path.removeprefix(self.prefix)
        kept = [self._public(header) for header in headers if _name(header) not in ("authorization", "connection")]
        if self.token:
            kept.append(f"Authorization: Bearer {self.token}".encode())
        return b"\r\n".join([b" ".join([method, path.encode("latin-1"), version]), *kept, b"Connection: close"]) + _END

    def _public(self, header: bytes) -> bytes:
        for name, own, public in (
            ("host", self.own, urlsplit(self.address.url).netloc),
            ("origin", f"http://{self.own}", self.address.origin),
        ):
            if _name(header) == name and header.split(b":", 1)[1].strip() == own.encode():
                return f"{name}: {public}".encode()
        return header

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *headers = (await reader.readuntil(_END)).removesuffix(_END).split(b"\r\n")
        kept = [header for header in headers if _name(header) not in ("connection", "keep-alive")]
        writer.write(b"\r\n".join([line, *kept, b"Connection: close"]) + _END)
        await _poured(reader, writer)


def _name(header: bytes) -> str:
    return header.split(b":", 1)[0].decode("latin-1").lower()


async def _poured(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(2**16):
        writer.write(chunk)
        await writer.drain()
