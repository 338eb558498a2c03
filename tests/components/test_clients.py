"""The table of MCP clients: what it admits, what that opens, and what is refused."""

from __future__ import annotations

import datetime
import json
import subprocess

import pytest

from components import clients
from components.clients import CLIENTS
from components.settings.sign_in import OAuth
from tests.checks.conftest import server_python
from tests.conftest import ROOT
from tests.operations.test_verbs import ops

ADMITTED = {
    "https://app.example.com/callback": "this address alone",
    "https://app.example.com:8443/callback": "this address alone",
    "https://app.example.com/oauth/*": "every address that begins with https://app.example.com/oauth/",
    "http://localhost:8080/callback": "the program that listens on port 8080 of the person's machine",
    "http://localhost:*/callback": "the program that listens on any port of the person's machine",
    "http://127.0.0.1/callback": "the program that listens on any port of the person's machine",
    "http://[::1]:*": "the program that listens on any port of the person's machine, with any path",
    "cursor://anysphere.cursor-mcp/oauth/callback": "the app that the person's machine opens cursor: with",
    "com.example.app:/callback": "the app that the person's machine opens com.example.app: with",
    "acme://callback": "the app that the person's machine opens acme: with",
}
REFUSED = {
    "javascript:alert(1)": "javascript: is none",
    "data:text/html,x": "without spaces and commas",
    "data:text/html;base64;x": "data: is none",
    "file:///etc/passwd": "file: is none",
    "VBScript:x": "vbscript: is none",
    "blob:https://x.example/1": "blob: is none",
    "http://evil.example/cb": "https, but for localhost",
    "http://localhost.evil.example/cb": "https, but for localhost",
    "http://localhost@evil.example/cb": "without @",
    "https://user@app.example.com/cb": "without @",
    "https://*.example.com/cb": "a host spelled out",
    "https://app.example.com:*/cb": "a host spelled out",
    "https://app.example.com:port/cb": "an address like",
    "https://app.example.com": "a path",
    "https://app.example.com/": "a path",
    "https:///cb": "a host spelled out",
    "https://app.example.com/cb?next=/": "without ?",
    "https://app.example.com/cb#x": "without ?",
    "https://app.example.com/[ab]": "without ?",
    "https://app.example.com/a/../b": "a path without . and ..",
    "https://app.example.com/a/%2e%2e/b": "a path without . and ..",
    "https://app.example.com/a,https://evil.example/b": "without spaces and commas",
    "https://app.example.com/a b": "without spaces and commas",
    "acme://*": "a host spelled out",
    "acme://login/*": "without *",
    "acme://": "an address like",
    "acme:": "an address like",
    "callback": "an address like",
    "": "an address like",
    "https://[::1/cb": "an address like",
}


@pytest.mark.parametrize("uri", ADMITTED)
def test_an_address_of_a_client_is_admitted_and_it_is_said_what_it_opens(uri: str) -> None:
    assert clients.wrong(uri) is None
    assert clients.opens(uri) == ADMITTED[uri]


@pytest.mark.parametrize("uri", REFUSED)
def test_an_address_that_sends_codes_to_others_is_refused_with_what_to_write(uri: str) -> None:
    assert REFUSED[uri] in (clients.wrong(uri) or "")


@pytest.mark.parametrize("name", CLIENTS)
def test_each_client_has_addresses_that_may_be_admitted_and_a_dated_source(name: str) -> None:
    client = CLIENTS[name]
    assert [words for uri in client.redirect_uris if (words := clients.wrong(uri))] == []
    assert client.redirect_uris and client.source.startswith("https://")
    assert datetime.date(2025, 1, 1) < datetime.date.fromisoformat(client.seen)


def test_clients_that_are_named_have_all_their_addresses_and_those_by_hand_come_last_each_once() -> None:
    oauth = OAuth(
        clients=["claude", "inspector"],
        client_redirect_uris=["acme://callback", "https://claude.ai/api/mcp/auth_callback"],
        allowed_origins=["https://app.example"],
    )
    assert oauth.redirect_uris == [
        "https://claude.ai/api/mcp/auth_callback",
        "https://claude.com/api/mcp/auth_callback",
        "http://localhost:6274/oauth/callback",
        "http://localhost:6274/oauth/callback/debug",
        "http://127.0.0.1:6276/oauth/callback",
        "acme://callback",
    ]
    assert oauth.origins == ["http://localhost:6274", "https://app.example"]


def test_the_table_in_docs_is_fresh() -> None:
    between = (ROOT / "docs" / "clients.md").read_text().partition("<!-- clients -->\n")[2]
    assert between.partition("<!-- /clients -->")[0] == clients.markdown(), "run: python -m components.clients"


def test_the_verb_shows_without_an_account_what_each_opens_and_which_are_admitted() -> None:
    done = ops("clients", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["clients"]
    assert {row["client"] for row in rows} == set(CLIENTS)
    admitted = {row["client"] for row in rows if row["admitted"] == "google-workspace"}
    assert admitted == {"claude", "claude-code", "vscode", "cursor", "chatgpt"}
    assert {row["opens"] for row in rows if row["client"] == "claude"} == {"this address alone"}


JUDGE = """
import json, sys
from fastmcp.server.auth.redirect_validation import validate_redirect_uri
from pydantic import AnyUrl
for patterns, uris in json.load(sys.stdin):
    print(json.dumps([validate_redirect_uri(AnyUrl(uri), patterns) for uri in uris]))
"""
SENT = {
    "claude": ["https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"],
    "claude-code": ["http://localhost:56648/callback", "http://127.0.0.1:52163/callback"],
    "vscode": [
        "https://insiders.vscode.dev/redirect",
        "https://vscode.dev/redirect",
        "http://127.0.0.1/",
        "http://127.0.0.1:33418/",
        "http://localhost/",
        "http://localhost:33418/",
        "http://127.0.0.1:59656/",
    ],
    "cursor": [
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://localhost:8787/callback",
    ],
    "chatgpt": [
        "https://chatgpt.com/connector/oauth/Xy12_ab",
        "https://chatgpt.com/connector_platform_oauth_redirect",
    ],
    "codex": ["http://127.0.0.1:41231/callback", "http://127.0.0.1:33418/callback/aB3dE5gH7jK9"],
    "gemini-cli": ["http://localhost:7777/oauth/callback", "http://localhost:40001/oauth/callback"],
    "gemini": ["https://oauth-redirect.googleusercontent.com/r/user_bound_custom-mcp-1161-mcp_example_com"],
    "opencode": ["http://127.0.0.1:19876/mcp/oauth/callback"],
    "inspector": [
        "http://localhost:6274/oauth/callback",
        "http://localhost:6274/oauth/callback/debug",
        "http://127.0.0.1:6276/oauth/callback",
    ],
    "mcp-remote": ["http://localhost:10689/oauth/callback"],
}
"""What each client registers or comes back to, as its source has it."""
FOREIGN = [
    "https://claude.ai.evil.example/api/mcp/auth_callback",
    "https://claude.ai/other",
    "https://chatgpt.com/connector/oauth/../../c/1",
    "https://oauth-redirect.googleusercontent.com/r/somebody-elses-project",
    "https://evil.example/callback",
    "http://evil.example:33418/",
    "http://localhost@evil.example/callback",
    "cursor://evil/oauth/callback",
    "vscode://evil/callback",
    "javascript:alert(1)",
]


def test_the_server_itself_admits_what_each_client_sends_and_nothing_of_an_attackers() -> None:
    asked = [(list(client.redirect_uris), SENT[name] + FOREIGN) for name, client in CLIENTS.items()]
    answers = subprocess.run(
        [server_python(), "-c", JUDGE], input=json.dumps(asked), capture_output=True, text=True, check=True
    ).stdout
    for name, line in zip(CLIENTS, answers.splitlines(), strict=True):
        admitted = dict(zip(SENT[name] + FOREIGN, json.loads(line), strict=True))
        assert admitted == dict.fromkeys(SENT[name], True) | dict.fromkeys(FOREIGN, False), name
