"""The sign-in, from the client's first request to a token's end: what must work, and what must not."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
import pytest
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata
from pydantic import AnyUrl

from acceptance.sign_in import (
    Attempt,
    Session,
    ask,
    ask_for_tokens,
    begin,
    exchange,
    register,
    returned,
    sign_in,
    through_google,
    tokens_for,
)
from acceptance.subject import Subject
from checks.check import Failed, NotRun
from checks.http import INITIALIZE, MCP_HEADERS, expect, json_object
from checks.mcp import Storage, connect, list_tools
from checks.oauth import FOREIGN, discover, permitted_redirect_uri, registration

pytestmark = pytest.mark.usefixtures("oauth")
signs_in = pytest.mark.usefixtures("stand_in")

USERS = 5
MAIL = "get_gmail_message_content"
"""A tool whose answer tells whose data it is."""
KEY = (
    "the key that signs tokens was changed, or the store that holds them: sign in anew, and keep "
    "FASTMCP_SERVER_AUTH_GOOGLE_JWT_SIGNING_KEY, or else the client secret, the same"
)

Note = Callable[[str], None]


async def _initialize(subject: Subject, token: str) -> httpx2.Response:
    async with subject.address.client() as http:
        headers = MCP_HEADERS | {"Authorization": f"Bearer {token}"}
        return await http.post(subject.address.mcp_url, json=INITIALIZE, headers=headers)


def _claims(token: str) -> dict[str, Any]:
    """A token's claims, not verified; empty if it is no JSON web token."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    return claims


def _refused(answer: httpx2.Response, *errors: str) -> str:
    """A refusal of the token endpoint (RFC 6749, section 5.2); raises `Failed` for anything else."""
    if answer.status_code == 200:
        raise Failed("the token endpoint gave tokens for it")
    error = json_object(expect(answer, 400, 401)).get("error")
    if error not in errors:
        raise Failed(f"it is refused with {error!r}, not with {' or '.join(errors)}")
    return f"{answer.status_code} {error}"


# The direct flow


@signs_in
def test_direct(subject: Subject, note: Note) -> None:
    """A user signs in with an MCP client, which then lists the tools"""

    async def flow() -> str:
        redirect: dict[str, str] = {}

        async def browser(url: str) -> None:
            redirect.update(returned(await through_google(subject, url, "direct@example.com")))

        async def callback() -> AuthorizationCodeResult:
            if "code" not in redirect:
                raise Failed(f"the client was told {redirect.get('error', 'nothing')} in place of a code")
            return AuthorizationCodeResult(code=redirect["code"], state=redirect.get("state"), iss=redirect.get("iss"))

        storage = Storage()
        uri = permitted_redirect_uri(subject.expectations.client_redirect_uris)
        metadata = OAuthClientMetadata(client_name="acceptance", redirect_uris=[AnyUrl(uri)])
        auth = OAuthClientProvider(subject.address.mcp_url, metadata, storage, browser, callback)
        async with connect(subject.address, auth) as client:
            tools = await list_tools(client)
        tokens = await storage.get_tokens()
        if tokens is None:
            raise Failed("the client listed the tools without a token: anyone can use MCP")
        subject.secrets.add(tokens.access_token, tokens.refresh_token)
        return f"{len(tools)} tools, token of {tokens.expires_in} s"

    note(ask(flow()))


def test_token_is_accepted(session: Session, subject: Subject, note: Note) -> None:
    """The user's token is accepted"""
    assert session.token
    answer = ask(_initialize(subject, session.token))
    if answer.status_code == 401:
        raise Failed("the token is refused with 401", KEY)
    expect(answer, 200)
    note("200")


def test_token_is_of_now(session: Session, note: Note) -> None:
    """The token was issued in the past, and is valid still"""
    assert session.token
    claims = _claims(session.token)
    if "iat" not in claims or "exp" not in claims:
        raise NotRun("the token does not say when it was issued")
    now = time.time()
    if claims["iat"] > now + 60:
        raise Failed(f"it was issued {claims['iat'] - now:.0f} s in the future: the server's clock is ahead of ours")
    if claims["exp"] < now:
        raise Failed(f"it expired {now - claims['exp']:.0f} s ago", "give a newer one")
    note(f"issued {now - claims['iat']:.0f} s ago, valid for {claims['exp'] - now:.0f} s")


# Through a consumer inside the VPC


def test_consumer(session: Session, subject: Subject, note: Note) -> None:
    """A consumer uses the private name with its user's token, and not without one"""
    if subject.private is None:
        raise NotRun("the private name leads to the service inside its VPC only")
    private = subject.private

    async def flow() -> str:
        async with private.client() as http:
            refused = expect(await http.post(private.mcp_url, json=INITIALIZE, headers=MCP_HEADERS), 401)
        challenge = refused.headers.get("WWW-Authenticate", "")
        if subject.address.origin not in challenge:
            raise Failed(f"without a token, the consumer is not told of the sign-in at {subject.address.origin}")
        async with session.client(private) as client:
            return f"{len(await list_tools(client))} tools at {private.mcp_url}"

    note(ask(flow()))


# Refresh


@signs_in
def test_refresh(subject: Subject, note: Note) -> None:
    """A token is refreshed; the new one is accepted, and the old refresh token is used up"""

    async def flow() -> str:
        attempt, tokens = await tokens_for(subject, "refreshes@example.com")
        if not tokens.get("refresh_token"):
            raise Failed("no refresh token was given: clients must sign in anew after an hour")
        form = {
            "grant_type": "refresh_token",
            "refresh_token": tokens["refresh_token"],
            "client_id": attempt.client_id,
        }
        new = json_object(expect(await ask_for_tokens(subject, attempt, form), 200))
        if new["access_token"] == tokens["access_token"] or new.get("refresh_token") == tokens["refresh_token"]:
            raise Failed("the refreshed tokens are the old ones")
        expect(await _initialize(subject, new["access_token"]), 200)
        old = _refused(await ask_for_tokens(subject, attempt, form), "invalid_grant")
        return f"the old refresh token is answered with {old}"

    note(ask(flow()))


@signs_in
def test_expired_token(subject: Subject, note: Note) -> None:
    """An expired token is refused, and a client with the refresh token goes on without the user"""

    async def flow() -> str:
        attempt, tokens = await tokens_for(subject, "brief@example.com")
        expect(await _initialize(subject, tokens["access_token"]), 200)
        await asyncio.sleep(tokens["expires_in"] + 1)
        expect(await _initialize(subject, tokens["access_token"]), 401)
        form = {
            "grant_type": "refresh_token",
            "refresh_token": tokens["refresh_token"],
            "client_id": attempt.client_id,
        }
        new = json_object(expect(await ask_for_tokens(subject, attempt, form), 200))
        expect(await _initialize(subject, new["access_token"]), 200)
        return f"401 after {tokens['expires_in']} s, then refreshed"

    note(ask(flow()))


# Several users at once


@signs_in
def test_several_users(subject: Subject, note: Note) -> None:
    """Several users who sign in at once each get their own data, and none another's"""

    async def one(user: str) -> str:
        session = await sign_in(subject, user)
        async with session.client(subject.address) as client:
            if MAIL not in {tool.name for tool in await list_tools(client)}:
                raise NotRun(f"the server does not list {MAIL}; tools are chosen by its settings")
            # The user is whom the token says: with OAuth 2.1 no tool takes an address.
            answer = await client.call_tool(MAIL, {"message_id": "m1"})
        return " ".join(getattr(content, "text", "") for content in answer.content)

    async def flow() -> None:
        users = [f"user{number}@example.com" for number in range(USERS)]
        for user, text in zip(users, await asyncio.gather(*map(one, users)), strict=True):
            if any(f"Mail of {other}" in text for other in users if other != user):
                raise Failed("a user was given another's mail")
            if f"Mail of {user}" not in text:
                raise Failed(f"a user did not get the own mail: {text[:200]}")

    ask(flow())
    note(f"{USERS} users")


# Errors


@signs_in
def test_consent_denied_here(subject: Subject, note: Note) -> None:
    """Consent denied on the server's own page: the client is told access_denied, with its state"""

    async def flow() -> str:
        attempt = await begin(subject)
        return _denied(
            await through_google(subject, attempt.url, "user@example.com", answers={"action": "deny"}), attempt
        )

    note(ask(flow()))


@signs_in
def test_consent_denied_at_google(subject: Subject, note: Note) -> None:
    """Consent denied at Google: the client is told access_denied, with its state"""

    async def flow() -> str:
        attempt = await begin(subject)
        return _denied(await through_google(subject, attempt.url, "denies@example.com"), attempt)

    note(ask(flow()))


def _denied(answer: httpx2.Response, attempt: Attempt) -> str:
    redirect = returned(expect(answer, 302))
    if redirect.get("error") != "access_denied" or redirect.get("state") != attempt.state or "code" in redirect:
        raise Failed(f"the client is told {redirect.get('error', 'no error')}, its state {'state' in redirect}")
    return "access_denied"


@signs_in
def test_wrong_state(subject: Subject, note: Note) -> None:
    """A way back from Google with another state leads to no client"""

    async def flow() -> str:
        attempt = await begin(subject)

        def other_state(url: str) -> str:
            return str(httpx2.URL(url).copy_set_param("state", secrets.token_urlsafe()))

        return _no_code(await through_google(subject, attempt.url, "user@example.com", tamper=other_state))

    note(ask(flow()))


@signs_in
def test_another_browser(subject: Subject, note: Note) -> None:
    """A way back from Google in another browser than the one that consented leads to no client"""

    async def flow() -> str:
        attempt = await begin(subject)
        return _no_code(await through_google(subject, attempt.url, "user@example.com", same_browser=False))

    note(ask(flow()))


@signs_in
def test_expired_google_code(subject: Subject, note: Note) -> None:
    """A code of Google's that has expired leads to an error page, and to no client"""

    async def flow() -> str:
        attempt = await begin(subject)
        return _no_code(await through_google(subject, attempt.url, "slow@example.com"))

    note(ask(flow()))


def _no_code(answer: httpx2.Response) -> str:
    if answer.status_code < 400 or "code" in returned(answer):
        raise Failed(
            f"it is answered with {answer.status_code}, {'with' if returned(answer) else 'without'} a redirect"
        )
    return f"{answer.status_code}"


def test_expired_code() -> None:
    """A code of the server's own that has expired is refused"""
    raise NotRun(
        "the server keeps codes for 300 s, which no test waits for; one that is used up is refused the same way"
    )


@signs_in
def test_reused_code(subject: Subject, note: Note) -> None:
    """A code is good once"""

    async def flow() -> str:
        attempt = await begin(subject)
        code = returned(expect(await through_google(subject, attempt.url, "user@example.com"), 302))["code"]
        expect(await exchange(subject, attempt, code), 200)
        return _refused(await exchange(subject, attempt, code), "invalid_grant")

    note(ask(flow()))


@signs_in
def test_stolen_code(subject: Subject, note: Note) -> None:
    """A code is worth nothing without its verifier, and nothing to another client or for another address"""

    async def flow() -> str:
        attempt = await begin(subject)
        other, _ = await register(subject, attempt.server)
        seen = []
        for changed in (
            {"code_verifier": secrets.token_urlsafe(48)},
            {"client_id": other},
            {"redirect_uri": FOREIGN},
        ):
            code = returned(expect(await through_google(subject, attempt.url, "user@example.com"), 302))["code"]
            errors = ("invalid_grant", "invalid_client", "invalid_request")
            seen.append(
                f"{next(iter(changed))}: {_refused(await exchange(subject, attempt, code, **changed), *errors)}"
            )
        return ", ".join(seen)

    note(ask(flow()))


def test_made_up_code(subject: Subject, note: Note) -> None:
    """A made-up code is refused"""

    async def flow() -> str:
        return _refused(await exchange(subject, await begin(subject), secrets.token_urlsafe()), "invalid_grant")

    note(ask(flow()))


def test_foreign_redirect_at_registration(subject: Subject, note: Note) -> None:
    """A client with a foreign redirect address cannot register"""
    if not subject.address.url.startswith("https://") and not subject.expectations.client_redirect_uris:
        raise NotRun("the service is reached inside the VPC only, and no list of redirect addresses is configured")

    async def flow() -> str:
        async with subject.address.client() as http:
            answer = await registration(http, await discover(subject.address), FOREIGN)
        if answer.status_code == 201:
            raise Failed(
                f"{FOREIGN} was registered: anyone can have sign-ins sent to themselves",
                "name the clients you know in oauth.clients",
            )
        expect(answer, 400)
        return "400"

    note(ask(flow()))


def test_foreign_redirect_at_authorization(subject: Subject, note: Note) -> None:
    """A client cannot have the code sent elsewhere than it registered"""

    async def flow() -> str:
        attempt = await begin(subject)
        url = str(httpx2.URL(attempt.url).copy_set_param("redirect_uri", FOREIGN))
        async with subject.address.client() as http:
            answer = await http.get(url)
        if urlsplit(answer.headers.get("Location", "")).netloc == urlsplit(FOREIGN).netloc:
            raise Failed("the browser is sent there")
        expect(answer, 400)
        return "400"

    note(ask(flow()))


def test_foreign_origin_with_token(session: Session, subject: Subject, note: Note) -> None:
    """A page of a foreign origin is refused even with the user's token"""

    async def flow() -> str:
        headers = MCP_HEADERS | {"Authorization": f"Bearer {session.token}", "Origin": "https://attacker.example"}
        async with subject.address.client() as http:
            expect(await http.post(subject.address.mcp_url, json=INITIALIZE, headers=headers), 403)
        return "403"

    note(ask(flow()))


# Storage


@signs_in
def test_tokens_are_the_servers_own(subject: Subject, note: Note) -> None:
    """Clients get tokens of the server's own: none of Google's, nothing of the user in them, kept by no cache"""

    async def flow() -> str:
        attempt = await begin(subject)
        user = "keeps@example.com"
        code = returned(expect(await through_google(subject, attempt.url, user), 302))["code"]
        answer = expect(await exchange(subject, attempt, code), 200)
        tokens = json_object(answer)
        claims = [_claims(str(tokens.get(name) or "")) for name in ("access_token", "refresh_token")]
        text = answer.text + json.dumps(claims)
        for what, sign in (("Google's access token", "ya29."), ("Google's refresh token", "1//0"), ("the user", user)):
            if sign in text:
                raise Failed(f"the answer holds {what}")
        if "no-store" not in answer.headers.get("Cache-Control", ""):
            raise Failed("the answer with tokens may be kept by caches: it has no Cache-Control: no-store")
        audience = claims[0].get("aud")
        if audience and not subject.address.owns(str(audience if isinstance(audience, str) else audience[0])):
            raise Failed(f"the token is for {audience}, not for {subject.address.url}")
        return f"issuer {claims[0].get('iss')}, audience {audience}"

    note(ask(flow()))


def test_token_in_the_query(session: Session, subject: Subject, note: Note) -> None:
    """A good token in the query is not taken, since addresses are written to logs"""

    async def flow() -> str:
        async with subject.address.client() as http:
            url = f"{subject.address.mcp_url}?{urlencode({'access_token': session.token})}"
            expect(await http.post(url, json=INITIALIZE, headers=MCP_HEADERS), 401)
        return "401"

    note(ask(flow()))
