"""Where a server is reached, and a client that reaches nothing else."""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2

from checks.check import Failed


@dataclass(frozen=True, kw_only=True)
class PublicAddress:
    """A server's public URL and, in a rehearsal, the address that stands in for its load balancer."""

    url: str
    """As clients know it, without a trailing slash: `https://api.example.com/mail` or `https://mail.example.com`."""
    connect_to: str | None = None
    """Origin, `http://127.0.0.1:PORT`, that requests are sent to instead. Default: the public one."""
    mcp_path: str = "/mcp"
    """Path of the MCP endpoint under `url`."""
    health_path: str = "/health"
    """Path under `url` that answers 200 without a login."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("https", "http") or not parts.netloc or self.url.endswith("/") or parts.query:
            raise ValueError(
                f"{self.url!r} is no public URL: write https://host or https://host/path, no slash at the end"
            )

    @property
    def mcp_url(self) -> str:
        """The MCP endpoint's URL."""
        return self.url + self.mcp_path

    @property
    def origin(self) -> str:
        """Scheme, host and port: `https://api.example.com`."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def owns(self, url: str) -> bool:
        """Whether `url` is the public URL or under it."""
        return url == self.url or url.startswith((self.url + "/", self.url + "?"))

    def client(self, *, auth: httpx2.Auth | None = None) -> httpx2.AsyncClient:
        """An HTTP client for this host only: a request for another raises `Failed`. Time-outs are 10 s.

        With `connect_to`, only the connection goes there: URL, Host header, cookies and redirects stay public.
        """
        transport = _Elsewhere(httpx2.URL(self.connect_to)) if self.connect_to else None
        return httpx2.AsyncClient(
            transport=transport,
            verify=authorities(),
            auth=auth,
            timeout=10,
            event_hooks={"request": [self._refuse_other_hosts]},
        )

    async def _refuse_other_hosts(self, request: httpx2.Request) -> None:
        own = httpx2.URL(self.url)
        if (request.url.scheme, request.url.netloc) != (own.scheme, own.netloc):
            # Without the query: it may hold a code or a token.
            raise Failed(f"the server sends its clients to {request.url.copy_with(query=None)}, not to {self.origin}")


@functools.cache
def authorities() -> ssl.SSLContext:
    """Read once: each client would read all authorities of the machine anew, longer than most of its requests take."""
    return httpx2.create_ssl_context()


class _Elsewhere(httpx2.AsyncHTTPTransport):
    """Sends each request, otherwise unchanged, to another origin."""

    def __init__(self, origin: httpx2.URL) -> None:
        super().__init__(verify=authorities())
        self._origin = origin

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url.copy_with(scheme=self._origin.scheme, host=self._origin.host, port=self._origin.port)
        moved = httpx2.Request(
            request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions
        )
        return await super().handle_async_request(moved)
