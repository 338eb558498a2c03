"""A load balancer in front of the server on loopback, that can be told to get things wrong."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Headers = list[tuple[str, str]]


@dataclass
class LoadBalancer:
    """Ends TLS, so to speak, for one public URL: rewrites paths, adds the forwarding headers, passes on the rest.

    Each member can be replaced by one that gets it wrong.
    """

    upstream: int
    """The server's port on 127.0.0.1."""
    rewrite: Callable[[str], str | None]
    """Public path with query, as received -> the server's; None: no rule matches, the answer is 404."""
    request_headers: Callable[[Headers], Headers] = lambda headers: headers
    response: Callable[[str, int, Headers, bytes], tuple[int, Headers, bytes]] = lambda _, *answer: answer
    """Path, status, headers, body -> what the client gets."""
    received: list[str] = field(default_factory=list)
    """Request lines with the Host they were sent to."""
    url: str = ""

    @contextmanager
    def running(self) -> Iterator[LoadBalancer]:
        balancer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                balancer.received.append(f"{self.command} {self.path} {self.headers['Host']}")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = balancer.rewrite(self.path)
                if path is None:
                    result: tuple[int, Headers, bytes] = 404, [("Server", "awselb/2.0")], b""
                else:
                    result = balancer.response(path, *self.forward(path, body))
                status, headers, content = result
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def forward(self, path: str, body: bytes) -> tuple[int, Headers, bytes]:
                server = http.client.HTTPConnection("127.0.0.1", balancer.upstream, timeout=30)
                server.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
                for name, value in balancer.request_headers(
                    [
                        *self.headers.items(),
                        ("X-Forwarded-Proto", "https"),
                        ("X-Forwarded-For", "203.0.113.9"),
                    ]
                ):
                    if name.lower() != "connection":
                        server.putheader(name, value)
                server.endheaders(body)
                answer = server.getresponse()
                content = answer.read()
                server.close()
                ours = {"connection", "content-length", "transfer-encoding"}
                return (
                    answer.status,
                    [(n, v) for n, v in answer.getheaders() if n.lower() not in ours],
                    content,
                )

            do_GET = do_OPTIONS = do_POST = do_DELETE = answer

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
