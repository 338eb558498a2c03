# mypy: disable-error-code="import-not-found"
"""Notes the calls that official providers make of the emulated account, for `./ops rights --calls`.

Own providers are known by what they hand to boto3. Official ones are programs of their own, so their calls are read off
the wire: those of an AWS SDK for Go, which nothing else in a rehearsal is made with. It runs in MiniStack's
process, around its application.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Message, Receive, Any], Awaitable[None]]

_SECRET = frozenset({"SecretString", "SecretBinary", "Password", "AuthToken", "Value"})
"""Parameters whose values are not noted."""


def noting(app: App, file: Path) -> App:
    """`app`, an ASGI application, with each call noted in `file`: a JSON line of service, operation and parameters."""

    async def noted(scope: Message, receive: Receive, send: Any) -> None:
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope.get("headers", [])}
        if "aws-sdk-go" not in headers.get("user-agent", ""):
            await app(scope, receive, send)
            return
        messages = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        body = b"".join(message.get("body", b"") for message in messages)
        with file.open("a") as lines:
            lines.write(json.dumps(call(scope, headers, body), sort_keys=True) + "\n")
        waiting = iter(messages)

        async def replay() -> Message:
            return next(waiting, None) or await receive()

        await app(scope, replay, send)

    return noted


def call(scope: Message, headers: MutableMapping[str, str], body: bytes) -> dict[str, Any]:
    """Service by its signing name, operation, and parameters as they went over the wire, texts but for lists."""
    signed = re.search(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/", headers.get("authorization", ""))
    service = signed[1] if signed else ""
    path, query = scope["path"], scope.get("query_string", b"").decode()
    parameters: dict[str, Any] = {}
    if target := headers.get("x-amz-target"):
        operation, parameters = target.rsplit(".", 1)[-1], json.loads(body or b"{}")
    elif rpc := re.fullmatch(r"/service/[^/]+/operation/([^/]+)", path):
        import cbor2  # Of MiniStack's environment.

        operation, parameters = rpc[1], cbor2.loads(body) if body else {}
    elif headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        parameters = dict(parse_qsl(body.decode(), keep_blank_values=True))
        operation = parameters.pop("Action", "")
        parameters.pop("Version", None)
    else:
        operation = f"{scope['method']} {path}" + (f"?{query}" if query else "")
        if headers.get("content-type", "").startswith("application/json"):
            parameters = json.loads(body or b"{}")
    known = {name: value for name, value in parameters.items() if name not in _SECRET}
    return {"service": service, "operation": operation, "parameters": json.loads(json.dumps(known, default=str))}
