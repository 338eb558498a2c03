"""What stands before workspace-mcp's own routes: discovery in every form in use, browsers, and a line for each refusal.

`install()` puts it there. From the outside in: `Refusals` logs, `CrossOrigin` answers browsers of the origins in
OAUTH_ALLOWED_ORIGINS, `registrations.Limit` bounds what anybody may register, `Discovery` leads other forms of the
metadata's addresses to those that the server has, `store_failures.Unavailable` answers while the store fails.
"""

import json
import logging
import os
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import deferred
from registrations import App, Limit, Message, Receive, Scope, Send
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from store_failures import Unavailable

LOG = logging.getLogger("clients")
LIMIT = 64 * 1024
"""Bytes of a body that are looked at; a registration has some hundreds."""


class Discovery:
    """Leads every form in which clients ask for metadata to the form that the server answers.

    Clients put the well-known part before the path (RFC 8414, RFC 9728), behind it (OpenID Connect Discovery), with or
    without the endpoint's own path, and ask for OpenID Connect's document where they find no other.
    """

    def __init__(self, app: App, prefix: str) -> None:
        """prefix: the path of the server's public address, empty or /like-this."""
        self.app = app
        # Not with the prefix in it: the load balancer takes that off, and where it does not, that is to be seen.
        path = "(?:/mcp)?"
        self.server = re.compile(rf"{path}/\.well-known/(?:oauth-authorization-server|openid-configuration){path}/?")
        self.resource = re.compile(rf"{path}/\.well-known/oauth-protected-resource{path}/?")
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        for asked, answered in (
            (self.server, "/.well-known/oauth-authorization-server"),
            (self.resource, f"/.well-known/oauth-protected-resource{self.prefix}/mcp"),
        ):
            if scope["type"] == "http" and asked.fullmatch(path):
                scope = {**scope, "path": answered, "raw_path": answered.encode()}
        await self.app(scope, receive, send)


class CrossOrigin:
    """Answers browsers (the Fetch standard's CORS) for pages of `origins`; to all others the server answers as ever, so
    that a foreign origin still gets its 403."""

    def __init__(self, app: App, origins: list[str]) -> None:
        self.app = app
        self.origins = origins
        self.cors = CORSMiddleware(
            app,  # type: ignore[arg-type]
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE", "OPTIONS"],
            allow_headers=["*"],  # Mcp-Param-* have names of the tools' own.
            expose_headers=["WWW-Authenticate", "Mcp-Session-Id", "Mcp-Protocol-Version", "Retry-After"],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        allowed = scope["type"] == "http" and header(scope, b"origin") in self.origins
        await (self.cors if allowed else self.app)(scope, receive, send)


class Refusals:
    """Logs a line where a client is refused or not known: who it says it is, where it comes back to, and why.

    No secrets: of a query and of a form only what is named here is read, of addresses never the query. The server
    itself logs a refused origin.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or path not in ("/register", "/authorize", "/token"):
            await self.app(scope, receive, send)
            return
        status, sent, received = 0, bytearray(), bytearray()

        async def taking() -> Message:
            message = await receive()
            received.extend(message.get("body", b"")[: LIMIT - len(received)])
            return message

        async def giving(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            sent.extend(message.get("body", b"")[: LIMIT - len(sent)])
            last = message["type"] == "http.response.body" and not message.get("more_body")
            if last and status in (400, 401, 413, 429):
                form = scope["query_string"] if scope["method"] == "GET" else bytes(received)
                line = self.line(path, status, form, bytes(sent))
                if line:
                    LOG.warning("%s (%s)", line, plain(header(scope, b"user-agent"), 80) or "no user agent")
            await send(message)

        await self.app(scope, taking, giving)

    def line(self, path: str, status: int, asked: bytes, answered: bytes) -> str:
        """What is logged of a refusal, or nothing where it is about no client."""
        answer = document(answered)
        # Without what was asked for behind a question mark, and without what is quoted beyond an address's length.
        why = plain(re.sub(r"\?[^'\s]*", "", str(answer.get("error_description", answer.get("error", "")))), 300)
        if status in (413, 429):
            return f"Client refused: {why}" if why else ""
        if path == "/register":
            client = document(asked)
            uris = client.get("redirect_uris")
            named = ", ".join(address(uri) for uri in uris[:5]) if isinstance(uris, list) else "no address"
            return f"Client refused: {quoted(client.get('client_name'))} registers {named}: {why}"
        form = parse_qs(asked.decode("latin-1"))
        client_id = plain(form.get("client_id", [""])[0].partition("?")[0], 120)
        comes_back = address(form["redirect_uri"][0]) if "redirect_uri" in form else "no address"
        if not client_id:
            return ""
        if path == "/token":
            unknown = answer.get("error") == "invalid_client"
            return f"Client unknown: {client_id} asks for a token: {why}{_FORGOTTEN}" if unknown else ""
        if "not registered" in why or "not found" in why or not answer:  # A browser gets a page.
            return f"Client unknown: {client_id} asks to sign in and come back to {comes_back}{_FORGOTTEN}"
        return f"Client refused: {client_id} asks to sign in and come back to {comes_back}: {why}"


_FORGOTTEN = "; it registered before the store was emptied, more than a day ago without a sign-in, or never"


def header(scope: Scope, name: bytes) -> str:
    """The value of a request's header, or nothing."""
    return str(next((value.decode("latin-1") for key, value in scope["headers"] if key == name), ""))


def document(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; an empty one if it is anything else."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def plain(text: object, most: int) -> str:
    """At most so many characters of a stranger's text, on one line."""
    return re.sub(r"[^ -~]+", "?", str(text))[:most]


def quoted(name: object) -> str:
    """The name that a client gives itself."""
    return f'"{plain(name, 60)}"' if name else "a client without a name"


def address(uri: object) -> str:
    """A redirect address without what may be secret in it."""
    try:
        parts = urlsplit(str(uri))
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "no address"
    return plain(f"{parts.scheme}:{'//' if host else ''}{host}{parts.path}", 120)


def install() -> None:
    """Have the server's HTTP application begin with what is here."""
    from core.server import SecureFastMCP

    made = SecureFastMCP.http_app
    origins = [origin.strip() for origin in os.environ.get("OAUTH_ALLOWED_ORIGINS", "").split(",") if origin.strip()]
    prefix = urlsplit(os.environ.get("WORKSPACE_EXTERNAL_URL", "")).path.rstrip("/")

    def http_app(self: SecureFastMCP, **options: Any) -> Starlette:
        app = made(self, **options)
        app.user_middleware[:0] = [
            Middleware(Refusals),  # type: ignore[arg-type]
            Middleware(CrossOrigin, origins=origins),  # type: ignore[arg-type]
            Middleware(Limit),  # type: ignore[arg-type]
            Middleware(Discovery, prefix=prefix),  # type: ignore[arg-type]
            Middleware(Unavailable),  # type: ignore[arg-type]
        ]
        app.middleware_stack = app.build_middleware_stack()
        deferred.end()
        return app

    SecureFastMCP.http_app = http_app
