# mypy: disable-error-code="import-not-found"
"""Stands in for Google inside a virtual environment of its own; started by `rehearsal.google`, never by hand.

    python google_process.py --bind 127.0.0.1:PORT [--bind ADDRESS:PORT]... --home FOLDER [--follow-parent]

An intercepting proxy that answers for Google's names by itself and refuses all others: nothing is ever sent on. Its
authority's certificate is FOLDER/mitmproxy-ca-cert.pem, made anew for each folder, and stands in FOLDER/authorities.pem
among those of all others; FOLDER/modules holds PySocks. Once it listens it prints a line.

Sign-in: https://developers.google.com/identity/protocols/oauth2/web-server and .../openid-connect/openid-connect. The
user is whoever `login_hint` names; there is no page to click on. Users whose name begins with one of these words behave
as it says: `denies`, `slow` (the code has expired when it is used), `brief` (access tokens live for two seconds),
`patient` (each answer of an API takes five seconds; `patient30`: thirty).
It also answers for the documents by which MCP clients are known (client id metadata documents), as DOCUMENTS has them.
Imports nothing of the project, because the interpreter that runs it has other packages.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

import certifi
import jwt
import socks
from cryptography.hazmat.primitives.asymmetric import rsa
from mitmproxy import http
from mitmproxy.options import Options
from mitmproxy.tools.dump import DumpMaster

CODE_SECONDS = 600
TOKEN_SECONDS = 3599
BRIEF_TOKEN_SECONDS = 2
PATIENCE = 5  # Seconds: more than a server takes to stop.
ISSUER = "https://accounts.google.com"
GOOGLE = re.compile(r"(.+\.)?(google|googleapis)\.com")

Answer = tuple[int, Any]
"""Status, and a JSON document, or bytes, or a URL to redirect to."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a user allowed a client."""

    user: str
    client: str
    redirect_uri: str
    scope: str
    challenge: str
    nonce: str | None
    expires: float


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, document: Any) -> None:
        super().__init__()
        self.status, self.document = status, document


def oauth_error(error: str, description: str, status: int = 400) -> Refused:
    return Refused(status, {"error": error, "error_description": description})


def api_error(status: int, reason: str, message: str) -> Refused:
    return Refused(status, {"error": {"code": status, "message": message, "status": reason}})


class Google:
    """Accounts, tokens and the APIs; all state is in memory."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key_id = secrets.token_hex(8)
        self._codes: dict[str, Grant] = {}
        self._access: dict[str, Grant] = {}
        self._refresh: dict[str, Grant] = {}

    # Sign-in

    def authorize(self, request: http.Request) -> Answer:
        query = dict(request.query)
        missing = [n for n in ("client_id", "redirect_uri", "response_type", "scope") if not query.get(n)]
        if missing or query["response_type"] != "code":
            raise Refused(400, f"Error 400: invalid_request: {', '.join(missing) or 'response_type'}".encode())
        user = query.get("login_hint") or "user@example.com"
        answer = {"state": query["state"]} if "state" in query else {}
        if user.startswith("denies"):
            return 302, f"{query['redirect_uri']}?{urlencode({'error': 'access_denied', **answer})}"
        code = f"4/0{secrets.token_urlsafe(32)}"
        self._codes[code] = Grant(
            user=user,
            client=query["client_id"],
            redirect_uri=query["redirect_uri"],
            scope=query["scope"],
            challenge=query.get("code_challenge", ""),
            nonce=query.get("nonce"),
            expires=time.time() - 1 if user.startswith("slow") else time.time() + CODE_SECONDS,
        )
        scope = {"scope": query["scope"], "authuser": "0", "prompt": "consent"}
        return 302, f"{query['redirect_uri']}?{urlencode({'code': code, **answer, **scope})}"

    def token(self, request: http.Request) -> Answer:
        form = {name: values[0] for name, values in parse_qs(request.get_text() or "").items()}
        client, secret = form.get("client_id", ""), form.get("client_secret", "")
        if (basic := request.headers.get("Authorization", "")).startswith("Basic "):
            client, _, secret = base64.b64decode(basic[6:]).decode().partition(":")
        if not client or not secret:
            raise oauth_error("invalid_client", "The OAuth client was not found.", 401)
        kind = form.get("grant_type")
        if kind == "authorization_code":
            # A code is gone once it was shown, whatever comes of it.
            grant = self._codes.pop(form.get("code", ""), None)
            if grant is None or grant.expires < time.time():
                raise oauth_error("invalid_grant", "Malformed auth code.")
            if grant.client != client:
                raise oauth_error("unauthorized_client", "Unauthorized")
            if grant.redirect_uri != form.get("redirect_uri"):
                raise oauth_error("redirect_uri_mismatch", "Bad Request")
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            if grant.challenge and grant.challenge != base64.urlsafe_b64encode(digest).decode().rstrip("="):
                raise oauth_error("invalid_grant", "Invalid code verifier.")
            refresh = f"1//0{secrets.token_urlsafe(32)}"
            self._refresh[refresh] = grant
            return 200, self._issue(grant) | {"refresh_token": refresh}
        if kind == "refresh_token":
            grant = self._refresh.get(form.get("refresh_token", ""))
            if grant is None or grant.client != client:
                raise oauth_error("invalid_grant", "Token has been expired or revoked.")
            return 200, self._issue(grant)
        raise oauth_error("unsupported_grant_type", f"Invalid grant_type: {kind}")

    def _issue(self, grant: Grant) -> dict[str, Any]:
        seconds = BRIEF_TOKEN_SECONDS if grant.user.startswith("brief") else TOKEN_SECONDS
        now = time.time()
        access = f"ya29.{secrets.token_urlsafe(40)}"
        self._access[access] = Grant(**{**grant.__dict__, "expires": now + seconds})
        claims = {
            "iss": ISSUER,
            "aud": grant.client,
            "azp": grant.client,
            "iat": int(now),
            "exp": int(now) + 3600,
            "nonce": grant.nonce,
            **self._person(grant.user),
        }
        identity = jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            self._key,
            algorithm="RS256",
            headers={"kid": self._key_id},
        )
        return {
            "access_token": access,
            "expires_in": seconds,
            "scope": grant.scope,
            "token_type": "Bearer",
            "id_token": identity,
        }

    @staticmethod
    def _person(user: str) -> dict[str, Any]:
        number = str(int(hashlib.sha256(user.encode()).hexdigest()[:16], 16))
        return {"sub": number, "email": user, "email_verified": True, "name": user.partition("@")[0]}

    def _bearer(self, request: http.Request) -> Grant | None:
        header = request.headers.get("Authorization", "")
        token = header.removeprefix("Bearer ") if header else request.query.get("access_token", "")
        grant = self._access.get(token)
        return grant if grant and grant.expires > time.time() else None

    def tokeninfo(self, request: http.Request) -> Answer:
        grant = self._bearer(request)
        if grant is None:
            raise oauth_error("invalid_token", "Invalid Value")
        person = self._person(grant.user)
        return 200, {
            "azp": grant.client,
            "aud": grant.client,
            "sub": person["sub"],
            "scope": grant.scope,
            "exp": str(int(grant.expires)),
            "expires_in": str(max(0, int(grant.expires - time.time()))),
            "email": grant.user,
            "email_verified": "true",
            "access_type": "offline",
        }

    def userinfo(self, request: http.Request) -> Answer:
        person = self._person(self.signed_in(request))
        return 200, person | {"id": person["sub"], "verified_email": True}

    def revoke(self, request: http.Request) -> Answer:
        form = parse_qs(request.get_text() or "")
        token = request.query.get("token") or form.get("token", [""])[0]
        if not (self._access.pop(token, None) or self._refresh.pop(token, None)):
            raise oauth_error("invalid_token", "Token expired or revoked")
        return 200, {}

    def keys(self, _: http.Request) -> Answer:
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return 200, {"keys": [key | {"kid": self._key_id, "alg": "RS256", "use": "sig"}]}

    def discovery(self, _: http.Request) -> Answer:
        return 200, {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/o/oauth2/v2/auth",
            "token_endpoint": "https://oauth2.googleapis.com/token",
            "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
            "userinfo_endpoint": "https://openidconnect.googleapis.com/v1/userinfo",
            "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    # The APIs

    def signed_in(self, request: http.Request) -> str:
        """The user whose access token the request has."""
        grant = self._bearer(request)
        if grant is None:
            raise api_error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        return grant.user

    async def answer(self, request: http.Request) -> Answer:
        """The answer to a request for one of Google's names."""
        place = f"{request.method} {request.pretty_host}{unquote(request.path.partition('?')[0])}"
        sign_in: dict[str, Callable[[http.Request], Answer]] = {
            r"GET accounts\.google\.com/o/oauth2/(v2/)?auth": self.authorize,
            r"GET accounts\.google\.com/\.well-known/openid-configuration": self.discovery,
            r"POST oauth2\.googleapis\.com/token": self.token,
            r"(GET|POST) (oauth2|www)\.googleapis\.com/(oauth2/v\d/)?tokeninfo": self.tokeninfo,
            r"POST oauth2\.googleapis\.com/revoke": self.revoke,
            r"GET www\.googleapis\.com/oauth2/v\d/certs": self.keys,
            r"GET (www|openidconnect)\.googleapis\.com/(oauth2/v\d|v1)/userinfo": self.userinfo,
        }
        for pattern, handler in sign_in.items():
            if re.fullmatch(pattern, place):
                return handler(request)
        user = self.signed_in(request)
        for pattern, content in CONTENT.items():
            if found := re.fullmatch(re.escape(pattern).replace("ID", "([^/:]+)").replace("ANY", ".+"), place):
                await asyncio.sleep(sum(int(seconds or PATIENCE) for seconds in re.findall(r"^patient(\d*)", user)))
                return 200, _filled(content, {"user": user, "id": (*found.groups(), "1")[0]})
        raise api_error(404, "NOT_FOUND", f"{place} is not part of the stand-in for Google.")


_MAIL = {
    "id": "{id}",
    "threadId": "{id}",
    "labelIds": ["INBOX"],
    "snippet": "Mail of {user}",
    "payload": {
        "mimeType": "text/plain",
        "headers": [
            {"name": "Subject", "value": "Mail of {user}"},
            {"name": "From", "value": "{user}"},
            {"name": "To", "value": "{user}"},
            {"name": "Date", "value": "Mon, 02 Nov 2026 10:00:00 +0000"},
        ],
        "body": {"size": 5, "data": "SGVsbG8="},
    },
}
_FILE = {
    "id": "{id}",
    "name": "File of {user}",
    "mimeType": "text/plain",
    "size": "5",
    "modifiedTime": "2026-11-02T10:00:00.000Z",
    "webViewLink": "https://drive.google.com/file/d/{id}/view",
    "owners": [{"emailAddress": "{user}"}],
    "permissions": [],
    "shared": False,
}
_TEXT = {"startIndex": 1, "endIndex": 7, "textRun": {"content": "Document of {user}\n"}}
_DOCUMENT = {
    "documentId": "{id}",
    "title": "Document of {user}",
    "revisionId": "1",
    "body": {"content": [{"startIndex": 1, "endIndex": 7, "paragraph": {"elements": [_TEXT]}}]},
}
_SHEET = {
    "spreadsheetId": "{id}",
    "properties": {"title": "Spreadsheet of {user}", "locale": "en_US"},
    "sheets": [
        {"properties": {"sheetId": 0, "title": "Sheet1", "gridProperties": {"rowCount": 10, "columnCount": 10}}},
    ],
}
_EVENT = {
    "id": "{id}",
    "summary": "Meeting of {user}",
    "start": {"dateTime": "2026-11-02T10:00:00Z"},
    "end": {"dateTime": "2026-11-02T11:00:00Z"},
}
_PERSON = {
    "resourceName": "people/{id}",
    "names": [{"displayName": "Contact of {user}"}],
    "emailAddresses": [{"value": "{user}"}],
}
_GROUP = {"resourceName": "contactGroups/{id}", "name": "Group of {user}", "memberCount": 0}
_SPACE = {"name": "spaces/{id}", "displayName": "Space of {user}", "spaceType": "SPACE"}
_MESSAGE = {"name": "spaces/{id}/messages/1", "text": "Message to {user}"}
_LIST = {"id": "{id}", "title": "Tasks of {user}"}
_TASK = {"id": "{id}", "title": "Task of {user}", "status": "needsAction"}
_FORM = {"formId": "{id}", "info": {"title": "Form of {user}", "documentTitle": "Form of {user}"}, "items": []}
_SCRIPT = {"scriptId": "{id}", "title": "Script of {user}"}
_GMAIL, _DRIVE, _CALENDAR = (
    "gmail.googleapis.com/gmail/v1/users/me",
    "www.googleapis.com/drive/v3",
    "www.googleapis.com/calendar/v3",
)
_TASKS = "tasks.googleapis.com/tasks/v1"

CONTENT: dict[str, Any] = {
    f"GET {_GMAIL}/messages": {"messages": [{"id": "m1", "threadId": "m1"}], "resultSizeEstimate": 1},
    f"GET {_GMAIL}/messages/ID": _MAIL,
    f"GET {_GMAIL}/threads/ID": {"id": "{id}", "messages": [_MAIL]},
    f"GET {_GMAIL}/labels": {"labels": [{"id": "INBOX", "name": "INBOX", "type": "system"}]},
    f"GET {_GMAIL}/settings/filters": {"filter": []},
    f"GET {_GMAIL}/profile": {"emailAddress": "{user}"},
    f"GET {_DRIVE}/files": {"files": [_FILE]},
    f"GET {_DRIVE}/files/root": _FILE | {"id": "root", "mimeType": "application/vnd.google-apps.folder"},
    f"GET {_DRIVE}/files/ID": _FILE,
    f"GET {_DRIVE}/files/ID/permissions": {"permissions": [{"id": "p1", "type": "user", "role": "owner"}]},
    f"GET {_DRIVE}/files/ID/comments": {"comments": []},
    f"GET {_CALENDAR}/users/me/calendarList": {
        "items": [{"id": "{user}", "summary": "Calendar of {user}", "primary": True}]
    },
    f"GET {_CALENDAR}/calendars/ID/events": {"items": [_EVENT]},
    f"POST {_CALENDAR}/freeBusy": {"calendars": {"primary": {"busy": []}}},
    "GET docs.googleapis.com/v1/documents/ID": _DOCUMENT,
    "GET sheets.googleapis.com/v4/spreadsheets/ID": _SHEET,
    "GET sheets.googleapis.com/v4/spreadsheets/ID/values/ANY": {"range": "Sheet1!A1", "values": [["Cell of {user}"]]},
    "GET slides.googleapis.com/v1/presentations/ID": {
        "presentationId": "{id}",
        "title": "Presentation of {user}",
        "slides": [],
    },
    "GET slides.googleapis.com/v1/presentations/ID/pages/ID": {"objectId": "p1", "pageType": "SLIDE"},
    "GET forms.googleapis.com/v1/forms/ID": _FORM,
    "GET forms.googleapis.com/v1/forms/ID/responses": {"responses": []},
    "GET forms.googleapis.com/v1/forms/ID/responses/ID": {"responseId": "r1"},
    "GET chat.googleapis.com/v1/spaces": {"spaces": [_SPACE]},
    "GET chat.googleapis.com/v1/spaces/ID": _SPACE,
    "GET chat.googleapis.com/v1/spaces/ID/messages": {"messages": [_MESSAGE]},
    f"GET {_TASKS}/users/@me/lists": {"items": [_LIST]},
    f"GET {_TASKS}/users/@me/lists/ID": _LIST,
    f"GET {_TASKS}/lists/ID/tasks": {"items": [_TASK]},
    f"GET {_TASKS}/lists/ID/tasks/ID": _TASK,
    "GET people.googleapis.com/v1/people/me/connections": {"connections": [_PERSON], "totalItems": 1},
    "GET people.googleapis.com/v1/people:searchContacts": {"results": [{"person": _PERSON}]},
    "GET people.googleapis.com/v1/people/ID": _PERSON,
    "GET people.googleapis.com/v1/contactGroups": {"contactGroups": [_GROUP]},
    "GET people.googleapis.com/v1/contactGroups/ID": _GROUP,
    "GET script.googleapis.com/v1/projects/ID": _SCRIPT,
    "GET script.googleapis.com/v1/projects/ID/content": {"scriptId": "{id}", "files": []},
    "GET script.googleapis.com/v1/projects/ID/deployments": {"deployments": []},
    "GET script.googleapis.com/v1/projects/ID/versions": {"versions": []},
    "GET script.googleapis.com/v1/processes": {"processes": []},
}
"""Method, host and path -> what the API answers. ID is whatever is asked for, which exists, ANY the same with slashes
and colons; `{id}` is the first ID, `{user}` the user's e-mail address."""


def _document(url: str, name: str, *redirect_uris: str) -> dict[str, Any]:
    return {
        "client_id": url,
        "client_name": name,
        "redirect_uris": list(redirect_uris),
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }


DOCUMENTS: dict[str, dict[str, Any]] = {
    document["client_id"]: document
    for document in (
        _document(
            "https://claude.ai/oauth/mcp-oauth-client-metadata", "Claude", "https://claude.ai/api/mcp/auth_callback"
        ),
        _document(
            "https://claude.ai/oauth/claude-code-client-metadata",
            "Claude Code",
            "http://localhost/callback",
            "http://127.0.0.1/callback",
        ),
        _document(
            "https://vscode.dev/oauth/client-metadata.json",
            "Visual Studio Code",
            "http://127.0.0.1:33418/",
            "https://vscode.dev/redirect",
        ),
        _document("https://stranger.example/client.json", "A stranger", "https://stranger.example/callback"),
    )
}
"""Address -> a client's document, with what its vendor publishes of redirect addresses; the last is nobody's."""
DOCUMENT_HOSTS = frozenset(url.split("/")[2] for url in DOCUMENTS)


def _filled(template: Any, values: dict[str, str]) -> Any:
    if isinstance(template, dict):
        return {name: _filled(value, values) for name, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, values) for value in template]
    return template.format(**values) if isinstance(template, str) else template


class StandIn:
    """The proxy's addon: answers, and lets nothing through."""

    def __init__(self, home: Path) -> None:
        self._google, self._home = Google(), home

    def http_connect(self, flow: http.HTTPFlow) -> None:
        if not GOOGLE.fullmatch(flow.request.pretty_host) and flow.request.pretty_host not in DOCUMENT_HOSTS:
            flow.response = http.Response.make(
                403, b"The rehearsal has no other network than the stand-in for Google.\n"
            )

    async def request(self, flow: http.HTTPFlow) -> None:
        document = DOCUMENTS.get(flow.request.pretty_url)
        if document and flow.request.method == "GET":
            flow.response = http.Response.make(200, json.dumps(document), {"Content-Type": "application/json"})
            return
        if flow.response or not GOOGLE.fullmatch(flow.request.pretty_host) or flow.request.scheme != "https":
            flow.response = flow.response or http.Response.make(403, b"Refused by the stand-in for Google.\n")
            return
        try:
            status, content = await self._google.answer(flow.request)
        except Refused as refused:
            status, content = refused.status, refused.document
        headers = {"Content-Type": "application/json; charset=UTF-8", "Cache-Control": "no-store"}
        if status == 302:
            flow.response = http.Response.make(302, b"", {"Location": content})
        elif isinstance(content, bytes):
            flow.response = http.Response.make(status, content, {"Content-Type": "text/plain"})
        else:
            flow.response = http.Response.make(status, json.dumps(content), headers)

    def running(self) -> None:
        authorities = certifi.contents() + (self._home / "mitmproxy-ca-cert.pem").read_text()
        (self._home / "authorities.pem").write_text(authorities)
        print("ready", flush=True)  # noqa: T201


async def serve(bind: list[str], home: Path, follow_parent: bool) -> None:
    """Serve until SIGTERM or SIGINT; with `follow_parent` also until standard input closes, as the parent is gone."""
    options = Options(mode=[f"regular@{address}" for address in bind], confdir=str(home))
    master = DumpMaster(options, with_termlog=False, with_dumper=False)
    # No connection to the real host, neither before it is asked nor for a look at its certificate.
    options.update(connection_strategy="lazy", upstream_cert=False, rawtcp=False)
    master.addons.add(StandIn(home))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, master.shutdown)
    if follow_parent:

        def watch() -> None:
            sys.stdin.buffer.read()
            master.shutdown()

        threading.Thread(target=watch, daemon=True).start()
    await master.run()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bind", action="append", required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--follow-parent", action="store_true", help="end with the parent, and remove the folder")
    arguments = parser.parse_args()
    os.umask(0o022)  # Containers' users read the certificate and the module; mitmproxy keeps the keys to itself.
    modules = arguments.home / "modules"
    modules.mkdir()
    shutil.copy(socks.__file__, modules)
    try:
        asyncio.run(serve(arguments.bind, arguments.home, arguments.follow_parent))
    finally:
        if arguments.follow_parent:
            shutil.rmtree(arguments.home, ignore_errors=True)


if __name__ == "__main__":
    main()
