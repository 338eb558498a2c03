"""Can a client find the sign-in, register, and get to the identity provider's door? (RFC 9728, 8414, 7591, MCP.)"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx2

from checks.address import PublicAddress
from checks.check import Failed, NotRun, Probe, needed, once
from checks.http import INITIALIZE, MCP_HEADERS, ROUTING, expect, first_requests, json_object

Document = dict[str, Any]
Shared = Callable[[], Awaitable[Document]]

OAUTH_ON = "switch OAuth 2.1 on with the word: MCP_ENABLE_OAUTH21=true (1 leaves it off)"
EXTERNAL_URL = "set the server's external URL to the public one, exactly: https, the path prefix, no slash at the end"
SERVER = "the authorization server's metadata"
FOREIGN = "https://attacker.example/callback"


def checks(
    address: PublicAddress,
    *,
    client_redirect_uris: tuple[str, ...] = (),
    sign_in_host: str = "accounts.google.com",
) -> list[Probe]:
    """The checks of a server with OAuth 2.1 on; parameters are as in `Expectations`. Registers one client."""
    redirect_uri = permitted_redirect_uri(client_redirect_uris)
    challenge = once(lambda: _challenge(address))
    resource = once(lambda: _resource(address))
    server = once(lambda: _authorization_server(address, resource))
    client = once(lambda: _register(address, server, redirect_uri))
    sign_in = once(lambda: _sign_in(address, server, client, redirect_uri))
    return [
        Probe(
            "MCP without a token is refused and told where to sign in",
            ROUTING,
            lambda: _refused(address, challenge),
        ),
        Probe(
            "made-up tokens are refused, in the header and in the query",
            ROUTING,
            lambda: _bad_tokens(address),
        ),
        Probe(
            "resource metadata answers at its advertised and its standard address",
            EXTERNAL_URL,
            lambda: _resource_addresses(address, challenge, resource),
        ),
        Probe(
            "authorization server metadata answers and names its issuer",
            EXTERNAL_URL,
            lambda: _issuer(server),
        ),
        Probe(
            "every address in the metadata leads to the server",
            EXTERNAL_URL,
            lambda: _addresses(address, server),
        ),
        Probe("a client can register itself", ROUTING, lambda: _registered(client)),
        Probe(
            "a foreign redirect address is refused at registration",
            "name the clients you know in oauth.clients, or their addresses in oauth.clientRedirectUris",
            lambda: _foreign_redirect(address, server, client_redirect_uris),
        ),
        Probe(
            f"sign-in reaches {sign_in_host} with the public return address",
            EXTERNAL_URL,
            lambda: _reached(address, sign_in, sign_in_host),
        ),
        Probe("cookies are secure and bound to this host", EXTERNAL_URL, lambda: _cookies(address, sign_in)),
        Probe(
            "unicode, encoded slashes and query strings arrive unharmed",
            "something between client and server decodes or re-encodes the query: look at the rewrite's regex",
            lambda: _query(address, server),
        ),
    ]


def permitted_redirect_uri(patterns: tuple[str, ...]) -> str:
    """An address that the allow-list `patterns` admits; a usual one if the list is empty."""
    return patterns[0].replace("*", "3030") if patterns else "http://localhost:3030/callback"


async def _challenge(address: PublicAddress) -> str:
    """The resource_metadata URL in the answer to MCP without a token."""
    async with address.client() as client:
        response = await client.post(address.mcp_url, json=INITIALIZE, headers=MCP_HEADERS)
    if response.status_code == 200:
        raise Failed("MCP answered 200 without a token: anyone can use it", OAUTH_ON)
    header = expect(response, 401).headers.get("WWW-Authenticate", "")
    found = re.search(r'resource_metadata="?([^",\s]+)', header)
    if not header.lower().startswith("bearer") or found is None:
        raise Failed(
            "MCP answered 401 without WWW-Authenticate: Bearer … resource_metadata, so clients cannot find the sign-in"
        )
    return found[1]


async def _refused(address: PublicAddress, challenge: Callable[[], Awaitable[str]]) -> str:
    metadata = await challenge()
    async with address.client() as client:
        for revision, request in first_requests().items():
            response = await client.post(address.mcp_url, **request)
            if response.status_code == 200:
                raise Failed(f"MCP answered 200 without a token to a client of {revision}: anyone can use it", OAUTH_ON)
            if metadata not in expect(response, 401).headers.get("WWW-Authenticate", ""):
                raise Failed(f"a client of {revision} got 401 without {metadata}, so it cannot find the sign-in")
    return f"401, metadata at {metadata}; so for clients of {', '.join(first_requests())}"


async def _bad_tokens(address: PublicAddress) -> str:
    token = secrets.token_urlsafe()
    async with address.client() as client:
        for place, query, headers in (
            ("Authorization header", "", {"Authorization": f"Bearer {token}"}),
            ("query", f"?access_token={token}", {}),
        ):
            response = await client.post(address.mcp_url + query, json=INITIALIZE, headers=MCP_HEADERS | headers)
            if response.status_code == 200:
                raise Failed(f"a made-up token in the {place} was accepted: anyone can use MCP", OAUTH_ON)
            expect(response, 401)
    return "both answer 401"


async def _resource(address: PublicAddress) -> Document:
    """The protected-resource metadata at its standard address (RFC 9728, section 3.1)."""
    async with address.client() as client:
        document = json_object(expect(await client.get(well_known("oauth-protected-resource", address.mcp_url)), 200))
    if document.get("resource") != address.mcp_url:
        raise Failed(f"resource is {document.get('resource')!r}, not {address.mcp_url!r}: clients refuse it")
    if not document.get("authorization_servers"):
        raise Failed("resource metadata names no authorization_servers")
    return document


async def _resource_addresses(address: PublicAddress, challenge: Callable[[], Awaitable[str]], resource: Shared) -> str:
    document = await resource()
    advertised = await needed(challenge, "the 401 that advertises it")
    async with address.client() as client:
        if json_object(expect(await client.get(advertised), 200)) != document:
            raise Failed(
                f"{advertised} answers another document than {well_known('oauth-protected-resource', address.mcp_url)}"
            )
    return f"{advertised} answers 200, authorization server {document['authorization_servers'][0]}"


async def _authorization_server(address: PublicAddress, resource: Shared) -> Document:
    """The metadata of the first authorization server, from where RFC 8414, section 3, puts it."""
    issuer = str((await needed(resource, "the resource metadata"))["authorization_servers"][0])
    if not address.owns(issuer):
        raise Failed(f"the authorization server is {issuer!r}, not {address.url!r}")
    url = well_known("oauth-authorization-server", issuer)
    async with address.client() as client:
        document = json_object(expect(await client.get(url), 200))
    if document.get("issuer") != issuer:
        raise Failed(
            f"{url} has issuer {document.get('issuer')!r}, the resource names {issuer!r}: clients want them equal"
        )
    return document


async def _issuer(server: Shared) -> str:
    return f"issuer {(await server())['issuer']}"


async def _addresses(address: PublicAddress, server: Shared) -> str:
    document = await needed(server, SERVER)
    addresses = {key: str(value) for key, value in document.items() if key.endswith("_endpoint") or key == "jwks_uri"}
    missing = {"authorization_endpoint", "token_endpoint", "registration_endpoint"} - addresses.keys()
    if missing:
        raise Failed(f"the metadata has no {', '.join(sorted(missing))}")
    answers = []
    async with address.client() as client:
        for key, url in addresses.items():
            if not address.owns(url):
                raise Failed(f"{key} is {url}, which is not under {address.url}")
            get = key in ("authorization_endpoint", "jwks_uri")
            # An empty request: the server objects, which shows that it was reached.
            answer = await (client.get(url) if get else client.post(url, content=b""))
            expect(answer, *((200,) if key == "jwks_uri" else (400, 401, 415, 422)))
            answers.append(f"{key} {answer.status_code}")
    return ", ".join(answers)


async def _register(address: PublicAddress, server: Shared, redirect_uri: str) -> Document:
    """Registers a public client (RFC 7591) and returns the server's record of it."""
    async with address.client() as client:
        return json_object(expect(await registration(client, await needed(server, SERVER), redirect_uri), 201))


async def _registered(client: Shared) -> str:
    if not (await client()).get("client_id"):
        raise Failed("the registration was accepted without a client_id")
    return "201 with a client id"


async def _foreign_redirect(address: PublicAddress, server: Shared, permitted: tuple[str, ...]) -> str:
    if not permitted:
        raise NotRun("no list of redirect addresses is configured: the server takes any")
    async with address.client() as client:
        response = await registration(client, await needed(server, SERVER), FOREIGN)
    if response.status_code == 201:
        raise Failed(f"{FOREIGN} was registered: anyone can have sign-ins sent to themselves")
    expect(response, 400)
    return f"{FOREIGN} answers 400"


async def discover(address: PublicAddress) -> Document:
    """The authorization server's metadata, found from the protected resource's as a client finds it."""
    return await _authorization_server(address, lambda: _resource(address))


async def registration(client: httpx2.AsyncClient, server: Document, redirect_uri: str) -> httpx2.Response:
    """The answer to the registration (RFC 7591) of a public client with this redirect address."""
    url = server.get("registration_endpoint")
    if not isinstance(url, str):
        raise Failed("the metadata has no registration_endpoint")
    body = {
        "client_name": "checks",
        "redirect_uris": [redirect_uri],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    }
    return await client.post(url, json=body)


@dataclass(frozen=True)
class SignIn:
    """A sign-in as far as the identity provider's door."""

    hops: list[str]
    """URLs visited on the public host, queries left out."""
    cookies: list[str]
    """Set-Cookie headers met on the way."""
    door: str
    """The URL outside the public host that the browser is sent to, not followed."""


async def follow_sign_in(
    address: PublicAddress,
    url: str,
    *,
    browser: httpx2.AsyncClient | None = None,
    answers: Mapping[str, str] | None = None,
) -> SignIn:
    """What a browser does from the authorization URL on, consenting when asked, till it is sent to another host.

    browser: keeps the cookies for the way back; default, one of its own. answers: what is put into forms in place of
    what their first button says. Raises `Failed` where a redirect or the consent form leaves the public URL but not the
    host, or nothing leads on.
    """
    hops: list[str] = []
    cookies: list[str] = []
    async with contextlib.nullcontext(browser) if browser else address.client() as client:
        request = client.build_request("GET", url)
        while len(hops) < 8:
            response = await client.send(request)
            hops.append(url.split("?")[0])
            cookies += response.headers.get_list("Set-Cookie")
            if response.has_redirect_location:
                url = urljoin(url, response.headers["Location"])
                if urlsplit(url).netloc != urlsplit(address.url).netloc:
                    return SignIn(hops, cookies, url)
                request = client.build_request("GET", url)
            else:
                form = _Form(expect(response, 200).text)
                if not form.fields:
                    raise Failed(f"{hops[-1]} answered 200 with no form and no redirect: the sign-in ends there")
                url = urljoin(url, form.action)
                request = client.build_request(
                    "POST", url, data={**form.fields, **(answers or {})}, headers={"Origin": address.origin}
                )
            if not address.owns(url):
                raise Failed(f"{hops[-1]} leads to {url.split('?')[0]}, outside {address.url}: another service gets it")
    raise Failed(f"sign-in goes round in circles: {' -> '.join(hops)}")


def judge_door(address: PublicAddress, sign_in: SignIn, sign_in_host: str) -> str:
    """Whether the identity provider is asked to send the user back to us; returns what was seen, or raises `Failed`."""
    door = urlsplit(sign_in.door)
    query = {name: values[0] for name, values in parse_qs(door.query).items()}
    if (door.scheme, door.netloc) != ("https", sign_in_host):
        error = f" ({query['error']}: {query.get('error_description', '')})" if "error" in query else ""
        raise Failed(f"sign-in leads to {door.scheme}://{door.netloc}{door.path}, not to https://{sign_in_host}{error}")
    if not address.owns(query.get("redirect_uri", "")):
        raise Failed(f"users would be sent back to {query.get('redirect_uri')!r}, which is not under {address.url}")
    if not re.fullmatch(r"[\w.~-]+", query.get("client_id", "")):
        raise Failed(
            "the client id sent on is empty or no identifier (its value is not shown)",
            "the container's secret must name one JSON key of the secret, arn:KEY::, not the whole of it",
        )
    return f"{len(sign_in.hops)} steps, then {sign_in_host} with return address {query['redirect_uri']}"


async def _sign_in(address: PublicAddress, server: Shared, client: Shared, redirect_uri: str) -> SignIn:
    metadata = await needed(server, SERVER)
    client_id = (await needed(client, "a registration")).get("client_id", "")
    url = authorization_url(
        address, metadata, client_id, redirect_uri, state=secrets.token_urlsafe(), verifier=secrets.token_urlsafe()
    )
    return await follow_sign_in(address, url)


def authorization_url(
    address: PublicAddress, server: Document, client_id: str, redirect_uri: str, *, state: str, verifier: str
) -> str:
    """Where a client sends the browser to ask for a code (RFC 6749, 7636 and 8707)."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "resource": address.mcp_url,
    }
    return f"{server['authorization_endpoint']}?{urlencode(query)}"


async def _reached(address: PublicAddress, sign_in: Callable[[], Awaitable[SignIn]], sign_in_host: str) -> str:
    return judge_door(address, await sign_in(), sign_in_host)


async def _cookies(address: PublicAddress, sign_in: Callable[[], Awaitable[SignIn]]) -> str:
    seen = (await needed(sign_in, "a sign-in")).cookies
    for cookie in seen:
        name, *rest = (part.strip() for part in cookie.split(";"))
        name = name.split("=")[0]
        attributes = {key.lower(): value for key, _, value in (part.partition("=") for part in rest)}
        missing = {"secure", "httponly"} - attributes.keys()
        if missing:
            raise Failed(f"cookie {name} is not {' and '.join(sorted(missing))}")
        if "domain" in attributes:
            raise Failed(f"cookie {name} is sent to all of {attributes['domain']}")
        path = attributes.get("path", "")
        # A `__Host-` cookie must have the path /: browsers refuse it otherwise.
        if not (path == "/" if name.startswith("__Host-") else address.owns(address.origin + path)):
            raise Failed(f"cookie {name} has path {path or '(none)'}, which is not right under {address.url}")
    return f"{len(seen)} cookies"


async def _query(address: PublicAddress, server: Shared) -> str:
    """An authorization request without a client is refused, and the refusal repeats its `state`."""
    state = "grüße/&=+% \u2603"
    endpoint = str((await needed(server, SERVER))["authorization_endpoint"])
    async with address.client() as client:
        response = await client.get(f"{endpoint}?{urlencode({'client_id': 'nobody', 'state': state})}")
    answer = json_object(expect(response, 400))
    if "state" not in answer:
        raise NotRun("the server does not repeat the state, so there is nothing to compare")
    if answer["state"] != state:
        raise Failed(f"{state!r} arrived as {answer['state']!r}")
    return f"{state!r} came back unchanged"


def well_known(kind: str, url: str) -> str:
    """The address of `url`'s metadata: `/.well-known/<kind>` between its host and its path (RFC 8414 and 9728)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/.well-known/{kind}{parts.path.rstrip('/')}"


class _Form(HTMLParser):
    """The first form of a page, as sent by a click on its first button."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self._forms = 0
        self._clicked = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._forms += 1
            if self._forms == 1:
                self.action = attributes.get("action", "")
        button = tag == "button"
        if self._forms == 1 and attributes.get("name") and (tag == "input" or (button and not self._clicked)):
            self._clicked |= button
            self.fields[attributes["name"]] = attributes.get("value", "")
