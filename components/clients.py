"""MCP clients that people use: what a server must admit for each to log in, and what that opens.

Redirect addresses are patterns as workspace-mcp takes them (`matches_allowed_pattern` in FastMCP): a port of `*` is any
port, a `*` in the path any characters, an address without a path every path of its host; queries are not compared. A
client may come back to any address that is admitted, whoever's it is: one list holds for all clients.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class Client:
    """An MCP client, as public sources describe it."""

    title: str
    """What people call it."""
    redirect_uris: tuple[str, ...]
    """The addresses that it registers and comes back to. One that is not admitted fails the whole registration."""
    origins: tuple[str, ...] = ()
    """Origins of the pages that call the server from a browser; empty: the client does not call from a browser."""
    metadata: str | None = None
    """Address of its client id metadata document, by which it logs in without registering: the server fetches it."""
    source: str
    """Where that is written."""
    seen: str
    """The day on which the source was read, or last changed: 2026-11-28."""


CLIENTS: dict[str, Client] = {
    "claude": Client(
        title="Claude on the web, desktop and mobile",
        redirect_uris=("https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"),
        metadata="https://claude.ai/oauth/mcp-oauth-client-metadata",
        source="https://support.claude.com/en/articles/11503834",
        seen="2026-11-28",
    ),
    "claude-code": Client(
        title="Claude Code",
        redirect_uris=("http://localhost:*/callback", "http://127.0.0.1:*/callback"),
        metadata="https://claude.ai/oauth/claude-code-client-metadata",
        source="https://github.com/anthropics/claude-code/issues/64705",
        seen="2026-06-02",
    ),
    "vscode": Client(
        title="Visual Studio Code",
        # Registered with port 33418 and without a port; where that port is taken it uses another.
        redirect_uris=(
            "https://vscode.dev/redirect",
            "https://insiders.vscode.dev/redirect",
            "http://127.0.0.1:*",
            "http://localhost:*",
        ),
        metadata="https://vscode.dev/oauth/client-metadata.json",
        source="https://github.com/microsoft/vscode/issues/278512",
        seen="2026-11-28",
    ),
    "cursor": Client(
        title="Cursor",
        redirect_uris=(
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "https://www.cursor.com/agents/mcp/oauth/callback",
            "http://localhost:8787/callback",
        ),
        source="https://github.com/erp-mafia/accounted/pull/2225",
        seen="2026-09-03",
    ),
    "chatgpt": Client(
        title="ChatGPT",
        redirect_uris=(
            "https://chatgpt.com/connector/oauth/*",  # One for each connector.
            "https://chatgpt.com/connector_platform_oauth_redirect",
        ),
        source="https://github.com/makeplane/plane-mcp-server/pull/165",
        seen="2026-06-29",
    ),
    "codex": Client(
        title="Codex",
        redirect_uris=("http://127.0.0.1:*/callback", "http://127.0.0.1:*/callback/*"),
        source="https://github.com/openai/codex/issues/30460",
        seen="2026-09-03",
    ),
    "gemini-cli": Client(
        title="Gemini CLI",
        redirect_uris=("http://localhost:*/oauth/callback",),
        source="https://github.com/google-gemini/gemini-cli/issues/14419",
        seen="2025-12-03",
    ),
    "gemini": Client(
        title="Gemini on the web (custom apps)",
        # No less: what is below /r/ belongs to whoever has a project at Google.
        redirect_uris=("https://oauth-redirect.googleusercontent.com/r/user_bound_custom-mcp-*",),
        source="https://github.com/makeplane/plane-mcp-server/issues/230",
        seen="2026-09-21",
    ),
    "opencode": Client(
        title="OpenCode",
        redirect_uris=("http://127.0.0.1:*/mcp/oauth/callback",),
        source="https://github.com/anomalyco/opencode/issues/50510",
        seen="2026-09-22",
    ),
    "inspector": Client(
        title="MCP Inspector",
        # In a browser, and in a terminal.
        redirect_uris=(
            "http://localhost:6274/oauth/callback",
            "http://localhost:6274/oauth/callback/debug",
            "http://127.0.0.1:6276/oauth/callback",
        ),
        origins=("http://localhost:6274",),
        source="https://github.com/curityio/mcp-authorization-secured-api/blob/main/clients/mcp-inspector/README.md",
        seen="2026-11-28",
    ),
    "mcp-remote": Client(
        title="mcp-remote, for clients that start local servers only",
        redirect_uris=("http://localhost:*/oauth/callback",),
        source="https://github.com/punkpeye/mcp-remote",
        seen="2026-11-28",
    ),
}
"""Name in the configuration -> client."""

NO_APP = frozenset(
    [
        "about",
        "blob",
        "content",
        "data",
        "file",
        "filesystem",
        "ftp",
        "intent",
        "jar",
        "javascript",
        "mailto",
        "sms",
        "tel",
        "urn",
        "vbscript",
        "view-source",
        "ws",
        "wss",
    ]
)
"""Schemes that no client comes back by: they run a script, read a file, or lead to no program of the client's.

https://datatracker.ietf.org/doc/html/rfc8252#section-8.4 asks for a scheme of the app's own.
"""

_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:(?P<port>\*|\d+))?")


def redirect_uris(names: Iterable[str], further: Iterable[str] = ()) -> list[str]:
    """The redirect addresses of the clients `names`, and `further` ones, each once, in this order."""
    return list(dict.fromkeys([*(uri for name in names for uri in CLIENTS[name].redirect_uris), *further]))


def origins(names: Iterable[str], further: Iterable[str] = ()) -> list[str]:
    """The origins of the clients `names`, and `further` ones, each once, in this order."""
    return list(dict.fromkeys([*(origin for name in names for origin in CLIENTS[name].origins), *further]))


def wrong(uri: str) -> str | None:
    """Why `uri` must not be admitted as a redirect address, with what to write instead; None if it may."""
    try:
        parts = urlsplit(uri)
        scheme, host, _ = parts.scheme, parts.hostname, parts.port if "*" not in parts.netloc else None
    except ValueError:
        return "an address like https://app.example.com/callback"
    if re.search(r"[\s,\x00-\x1f\x7f]", uri):
        return "an address without spaces and commas"
    if not scheme or not re.sub(r"^[^:]*:/*", "", uri):
        return "an address like https://app.example.com/callback, http://localhost:*/callback or app://host/callback"
    if scheme in NO_APP:
        return f"https, http on loopback, or an app's own scheme; {scheme}: is none of them"
    if re.search(r"[?#\[\\]", parts.path + uri[len(scheme) :].replace("[::1]", "")) or "@" in parts.netloc:
        return "an address without @ before its host, and without ? # [ and \\, which the server does not compare"
    if re.search(r"(^|/)(\.|%2e){1,2}(/|$)", parts.path, re.IGNORECASE):
        return "a path without . and .. in it, which the server refuses whatever is admitted"
    if scheme == "http":
        return None if _LOOPBACK.fullmatch(parts.netloc) else "https, but for localhost, 127.0.0.1 and [::1]"
    if "*" in parts.netloc or (scheme == "https" and not host):
        return "a host spelled out: no * in it, and none in its port but on loopback"
    if scheme == "https":
        return None if parts.path.strip("/") else "a path: without one the server admits every path of the host"
    return "an app's own address without *" if "*" in uri else None


def opens(uri: str) -> str:
    """Who gets a person's code where the redirect address `uri` is admitted, in words."""
    parts = urlsplit(uri)
    below = parts.path.strip("/")
    if parts.scheme not in ("http", "https"):
        return f"the app that the person's machine opens {parts.scheme}: with"
    if loopback := _LOOPBACK.fullmatch(parts.netloc):
        port = loopback["port"]
        # RFC 8252, section 7.3: a loopback address without a port stands for all.
        where = "any port" if port in (None, "*") else f"port {port}"
        return f"the program that listens on {where} of the person's machine" + ("" if below else ", with any path")
    if "*" in parts.path:
        return f"every address that begins with {uri.partition('*')[0]}"
    return "this address alone"


def markdown() -> str:
    """The table of clients as docs/clients.md has it: `python -m components.clients` prints it."""
    lines = ["| name | client | redirect addresses: what each opens | origins | metadata document | source |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, client in CLIENTS.items():
        cells = (
            f"`{name}`",
            client.title,
            "<br>".join(f"`{uri}`: {opens(uri)}" for uri in client.redirect_uris),
            "<br>".join(f"`{origin}`" for origin in client.origins) or "none",
            client.metadata or "none known",
            f"[{client.seen}]({client.source})",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
