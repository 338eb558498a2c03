"""A store of OAuth state that fails, and what a service answers meanwhile."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from acceptance.subject import Subject
from checks.http import modern

PATIENCE = 25.0
"""Seconds until a client gives up, and its test fails. The server's own limit is a fifth of it."""

WELL = {"/health": 200, "/health/ready": 200, "/register": 201, "tools/list": 200, "tools/call": 200}
DOWN = {"/health": 200, "/health/ready": 503, "/register": 503, "tools/list": 503, "tools/call": 503}
"""What a service answers while its store does not. Not 401: clients would take their tokens for worthless."""

NO_ANSWER = "no answer within 5 s"
"""What the log says of the store on which a request has waited as long as it may, whatever else is wrong with it."""


def answers(subject: Subject, token: str) -> dict[str, int]:
    """Request -> status, as a client and a signed-in person get it, all asked at once."""
    url, signed_in = subject.address.url, {"Authorization": f"Bearer {token}"}
    registration = {"redirect_uris": ["http://localhost:3000/cb"], "token_endpoint_auth_method": "none"}
    call = {
        "tools/list": modern("tools/list"),
        "tools/call": modern("tools/call", name="list_calendars", arguments={}),
    }

    async def ask() -> dict[str, int]:
        async with subject.address.client() as http_client:
            http_client.timeout = PATIENCE
            asked: dict[str, Awaitable[Any]] = {
                "/health": http_client.get(f"{url}/health"),
                "/health/ready": http_client.get(f"{url}/health/ready"),
                "/register": http_client.post(f"{url}/register", json=registration),
            }
            for name, request in call.items():
                headers = request["headers"] | signed_in
                asked[name] = http_client.post(subject.address.mcp_url, json=request["json"], headers=headers)
            found = await asyncio.gather(*asked.values())
            return {name: answer.status_code for name, answer in zip(asked, found, strict=True)}

    return asyncio.run(ask())


def until(seen: Callable[[], bool], limit: float = 60) -> bool:
    """Whether it is seen within the limit, in seconds."""
    deadline = time.monotonic() + limit
    while not (found := seen()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


class Between:
    """Stands between a container and the emulated DynamoDB, and fails as that does.

    `with between.failing("denied"): ...`: "slow" answers nothing, "full" that too much is asked, "denied" that the role
    may not, "gone" that there is no table. What is asked after that is carried as before.
    """

    ERRORS = {  # noqa: RUF012
        "full": ("ProvisionedThroughputExceededException", "The level of configured provisioned throughput exceeded"),
        "denied": ("AccessDeniedException", "is not authorized to perform: dynamodb:GetItem"),
        "gone": ("ResourceNotFoundException", "Requested resource not found"),
    }

    def __init__(self, address: str, port: int) -> None:
        """address: where containers reach it, the Docker bridge's. port: the emulator's."""
        between, self.fault, self.well = self, "", threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if between.fault == "slow":
                    between.well.wait(2 * PATIENCE)
                if error := between.ERRORS.get(between.fault):
                    text = {"__type": f"com.amazonaws.dynamodb.v20120810#{error[0]}", "message": error[1]}
                    self.answer(400, json.dumps(text).encode())
                    return
                onward = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
                onward.request("POST", self.path, body, dict(self.headers))
                answer = onward.getresponse()
                self.answer(answer.status, answer.read())
                onward.close()

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """Whoever asked has given up meanwhile."""

        self._server = Server((address, 0), Handler)
        self.url = f"http://{address}:{self._server.server_port}"

    def __enter__(self) -> Between:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def failing(self, fault: str) -> Iterator[None]:
        self.well.clear()
        self.fault = fault
        try:
            yield
        finally:
            self.fault = ""
            self.well.set()
