"""A user signs in: the client, the browser, the server's consent page, Google (its stand-in), and the way back."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client

from acceptance.subject import Subject
from checks import PublicAddress
from checks.check import Failed, NotRun
from checks.http import expect, json_object
from checks.mcp import connect
from checks.oauth import authorization_url, discover, follow_sign_in, permitted_redirect_uri, registration

T = TypeVar("T")
LIMIT = 60.0
"""Seconds for one test's questions; the library waits for ever for an answer that does not fit its request."""


def ask(questions: Coroutine[Any, Any, T], *, limit: float = LIMIT) -> T:
    """Their result; raises `Failed` when they take longer than `limit` seconds."""

    async def within() -> T:
        async with asyncio.timeout(limit):
            return await questions

    try:
        return asyncio.run(within())
    except TimeoutError:
        raise Failed(f"no result within {limit:g} s") from None


@dataclass(frozen=True, kw_only=True)
class Session:
    """A user and the token that clients act with."""

    user: str | None
    """E-mail address; None where only a token is known."""
    token: str | None = field(repr=False)

    @asynccontextmanager
    async def client(self, address: PublicAddress, mode: str = "auto") -> AsyncIterator[Client]:
        """A connected MCP client that acts for the user; `mode` as in `connect`."""
        async with connect(address, Bearer(self.token) if self.token else None, mode=mode) as client:
            yield client


class Bearer(httpx2.Auth):
    """Puts the token into each request, and does not sign in anew when it is refused."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx2.Request) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A sign-in that a registered client has begun."""

    server: dict[str, Any]
    """The authorization server's metadata."""
    client_id: str
    redirect_uri: str
    state: str
    verifier: str = field(repr=False)
    url: str
    """Where the browser is sent."""


async def register(subject: Subject, server: Mapping[str, Any]) -> tuple[str, str]:
    """A new client's id and redirect address."""
    redirect_uri = permitted_redirect_uri(subject.expectations.client_redirect_uris)
    async with subject.address.client() as http:
        document = json_object(expect(await registration(http, dict(server), redirect_uri), 201))
    return str(document["client_id"]), redirect_uri


async def begin(subject: Subject) -> Attempt:
    """Discover, register, and make the authorization URL."""
    server = await discover(subject.address)
    client_id, redirect_uri = await register(subject, server)
    state, verifier = secrets.token_urlsafe(), secrets.token_urlsafe(48)
    subject.secrets.add(verifier)
    url = authorization_url(subject.address, server, client_id, redirect_uri, state=state, verifier=verifier)
    return Attempt(
        server=server, client_id=client_id, redirect_uri=redirect_uri, state=state, verifier=verifier, url=url
    )


async def through_google(
    subject: Subject,
    url: str,
    user: str,
    *,
    answers: Mapping[str, str] | None = None,
    tamper: Callable[[str], str] = lambda url: url,
    same_browser: bool = True,
) -> httpx2.Response:
    """The server's answer to the browser that comes back from Google; it usually redirects to the client.

    url: the authorization URL. answers: as in `follow_sign_in`; where these keep the user from Google, the answer is
    the one that does. tamper: changes the URL that Google sends the browser back to. same_browser: False has another
    browser, without the first one's cookies, come back.
    """
    if subject.google is None:
        raise NotRun("there is no stand-in for Google")
    async with subject.address.client() as browser, subject.address.client() as another, subject.google() as google:
        seen = await follow_sign_in(subject.address, url, browser=browser, answers=answers)
        if urlsplit(seen.door).netloc != subject.expectations.sign_in_host:
            return httpx2.Response(302, headers={"Location": seen.door}, request=httpx2.Request("GET", seen.hops[-1]))
        back = await google.get(seen.door, params=dict(httpx2.URL(seen.door).params) | {"login_hint": user})
        location = str(expect(back, 302).headers["Location"])
        subject.secrets.add(*parse_qs(urlsplit(location).query).get("code", []))
        if not subject.address.owns(location):
            raise Failed(f"Google sends the user to {location.split('?')[0]}, which is not under {subject.address.url}")
        answer = await (browser if same_browser else another).get(tamper(location))
        subject.secrets.add(*returned(answer).get("code", "").split())
        return answer


def returned(answer: httpx2.Response) -> dict[str, str]:
    """What the client is told by a redirect: code, state, iss, or error. Empty if there is none."""
    query = parse_qs(urlsplit(answer.headers.get("Location", "")).query)
    return {name: values[0] for name, values in query.items()}


async def exchange(subject: Subject, attempt: Attempt, code: str, **changed: str) -> httpx2.Response:
    """The answer to a code at the token endpoint; `changed`: parameters in place of the right ones."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": attempt.redirect_uri,
        "client_id": attempt.client_id,
        "code_verifier": attempt.verifier,
        **changed,
    }
    return await ask_for_tokens(subject, attempt, form)


async def ask_for_tokens(subject: Subject, attempt: Attempt, form: Mapping[str, str]) -> httpx2.Response:
    """The answer to a request at the token endpoint."""
    async with subject.address.client() as http:
        answer = await http.post(str(attempt.server["token_endpoint"]), data=dict(form))
    if answer.status_code == 200:
        tokens = json_object(answer)
        subject.secrets.add(tokens.get("access_token"), tokens.get("refresh_token"))
    return answer


async def tokens_for(subject: Subject, user: str) -> tuple[Attempt, dict[str, Any]]:
    """The sign-in of a user who allows all, and what the token endpoint gave."""
    attempt = await begin(subject)
    redirect = returned(expect(await through_google(subject, attempt.url, user), 302))
    if "code" not in redirect:
        raise Failed(f"the client was told {redirect.get('error', 'nothing')} in place of a code")
    if redirect.get("state") != attempt.state:
        raise Failed("the client got another state than the one that it had sent")
    return attempt, json_object(expect(await exchange(subject, attempt, redirect["code"]), 200))


async def sign_in(subject: Subject, user: str) -> Session:
    """A user who has signed in."""
    _, tokens = await tokens_for(subject, user)
    return Session(user=user, token=tokens["access_token"])
