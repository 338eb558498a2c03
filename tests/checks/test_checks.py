"""Every check passes on a server deployed right, and fails on the mistake it is there for."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest

from checks import Check, Expectations, PublicAddress, run
from checks.check import Failed, Probe, run_probes
from tests.checks.load_balancer import Headers, LoadBalancer

PREFIX = "/google-workspace"
StartServer = Callable[..., int]
AS, PRM = "/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource"
EXPECTED = Expectations(health={"service": "workspace-mcp"}, client_redirect_uris=("http://localhost:*",))


def prefix_rules(path: str) -> str | None:
    """The three listener rules of a path prefix: the service's own, and one for each metadata document."""
    if re.match(rf"/\.well-known/(oauth-authorization-server|openid-configuration){PREFIX}(/|$)", path):
        return AS
    if re.match(rf"{PRM}{PREFIX}(/|$)", path):
        return f"{PRM}{PREFIX}/mcp"
    if re.match(rf"{PREFIX}(/|\?|$)", path):
        return re.sub(rf"^{PREFIX}/?((?:[^?]*[^/?])?)/*((?:\?.*)?)$", r"/\1\2", path)
    return None


def everything(path: str) -> str:
    """The one listener rule of a host of the server's own."""
    return path


@pytest.fixture(scope="session")
def own_host(start_server: StartServer) -> int:
    return start_server(WORKSPACE_EXTERNAL_URL="https://mcp.busyb.ai")


@pytest.fixture
def balancer(prefixed: int) -> LoadBalancer:
    """Right in all things; tests spoil one."""
    return LoadBalancer(prefixed, prefix_rules)


def ask(
    balancer: LoadBalancer, expectations: Expectations = EXPECTED, url: str = f"https://api.busyb.ai{PREFIX}"
) -> list[Check]:
    with balancer.running():
        return run(PublicAddress(url=url, connect_to=balancer.url), expectations)


def failures(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if check.passed is False}


def test_all_checks_pass_behind_a_path_prefix(balancer: LoadBalancer) -> None:
    checks = ask(balancer)
    assert [(check.name, check.detail) for check in checks if not check.passed] == []
    assert len(checks) == 18
    assert all(check.remedy == "" for check in checks)


def test_all_checks_pass_on_a_host_of_its_own(own_host: int) -> None:
    checks = ask(LoadBalancer(own_host, everything), url="https://mcp.busyb.ai")
    assert [(check.name, check.detail) for check in checks if not check.passed] == []
    assert len(checks) == 18


def test_without_oauth_the_tools_are_listed(start_server: StartServer) -> None:
    port = start_server(
        MCP_ENABLE_OAUTH21="false",
        WORKSPACE_MCP_STATELESS_MODE=None,
        WORKSPACE_EXTERNAL_URL=f"https://api.busyb.ai{PREFIX}",
    )
    balancer = LoadBalancer(port, prefix_rules)
    checks = ask(balancer, dataclasses.replace(EXPECTED, oauth=False, minimum_tools=100))
    assert failures(checks) == {}
    assert re.match(r"1\d\d tools", checks[-1].detail)

    few = ask(balancer, dataclasses.replace(EXPECTED, oauth=False, minimum_tools=1000))
    assert set(failures(few)) == {"an MCP client connects and lists the tools"}


def test_a_server_in_legacy_mode_is_reported_as_open_to_anyone(start_server: StartServer) -> None:
    port = start_server(
        MCP_ENABLE_OAUTH21="1",
        WORKSPACE_MCP_STATELESS_MODE=None,
        WORKSPACE_EXTERNAL_URL=f"https://api.busyb.ai{PREFIX}",
    )
    failed = failures(ask(LoadBalancer(port, prefix_rules)))
    refused = failed["MCP without a token is refused and told where to sign in"]
    assert "anyone" in refused.detail and "MCP_ENABLE_OAUTH21=true" in refused.remedy
    assert "anyone can use MCP" in failed["made-up tokens are refused, in the header and in the query"].detail
    assert "anyone can use MCP" in failed["an MCP client finds the sign-in by itself"].detail


def test_a_prefix_that_is_not_stripped_is_a_404_that_names_the_rule(balancer: LoadBalancer) -> None:
    balancer.rewrite = everything
    checks = ask(balancer)
    health = failures(checks)["health answers 200 from outside"]
    assert f"https://api.busyb.ai{PREFIX}/health answered 404" in health.detail
    assert "prefix" in health.detail and "pulumi preview" in health.remedy
    assert not any(check.passed for check in checks), "no check may pass on a server that is not reached"


def test_a_missing_rule_for_either_metadata_document_is_found(balancer: LoadBalancer) -> None:
    balancer.rewrite = lambda path: None if path.startswith(PRM) else prefix_rules(path)
    assert set(failures(ask(balancer))) == {
        "resource metadata answers at its advertised and its standard address",
        "every form in which clients look for the sign-in finds it",
        "an MCP client finds the sign-in by itself",
    }
    balancer.rewrite = lambda path: None if path.startswith(AS) else prefix_rules(path)
    checks = ask(balancer)
    assert set(failures(checks)) == {
        "authorization server metadata answers and names its issuer",
        "every form in which clients look for the sign-in finds it",
    }, "a client that asks for OpenID Connect's document as well still finds it below the path"
    not_run = {check.name: check.detail for check in checks if check.passed is None}
    assert not_run["a client can register itself"] == "not tried without the authorization server's metadata"


def test_a_rewrite_that_keeps_the_trailing_slash_sends_tokens_to_another_service(
    balancer: LoadBalancer,
) -> None:
    def strip_only(path: str) -> str | None:
        return path.removeprefix(PREFIX) if path.startswith(PREFIX + "/") else prefix_rules(path)

    balancer.rewrite = strip_only
    failed = failures(ask(balancer))
    assert set(failed) == {"a trailing slash loses neither https nor the prefix"}
    assert "https://api.busyb.ai/health" in next(iter(failed.values())).detail


def test_a_server_that_distrusts_the_load_balancer_redirects_to_plain_http(
    misconfigured: list[Check],
) -> None:
    failed = failures(misconfigured)["a trailing slash loses neither https nor the prefix"]
    assert "http://mcp.busyb.ai/health" in failed.detail and "FORWARDED_ALLOW_IPS" in failed.remedy


def test_an_open_registration_is_found_only_if_a_list_is_configured(misconfigured: list[Check], own_host: int) -> None:
    name = "a foreign redirect address is refused at registration"
    assert "anyone" in failures(misconfigured)[name].detail
    expectations = dataclasses.replace(EXPECTED, client_redirect_uris=())
    checks = ask(LoadBalancer(own_host, everything), expectations, "https://mcp.busyb.ai")
    assert next(check for check in checks if check.name == name).passed is None


def test_a_secret_injected_whole_is_found_and_not_shown(misconfigured: list[Check]) -> None:
    failed = failures(misconfigured)["sign-in reaches accounts.google.com with the public return address"]
    assert "arn:KEY::" in failed.remedy
    assert "leaked-id" not in failed.detail + failed.remedy


@pytest.fixture(scope="module")
def misconfigured(start_server: StartServer) -> list[Check]:
    """Three independent mistakes in the environment: untrusted proxy, no redirect list, secret injected whole."""
    port = start_server(
        WORKSPACE_EXTERNAL_URL="https://mcp.busyb.ai",
        FORWARDED_ALLOW_IPS="10.9.9.9",  # Unset, uvicorn trusts 127.0.0.1, where this balancer calls from.
        WORKSPACE_MCP_ALLOWED_CLIENT_REDIRECT_URIS=None,
        GOOGLE_OAUTH_CLIENT_ID='{"GOOGLE_OAUTH_CLIENT_ID": "leaked-id"}',
    )
    return ask(LoadBalancer(port, everything), url="https://mcp.busyb.ai")


def test_an_external_url_of_another_host_is_found(own_host: int) -> None:
    failed = failures(ask(LoadBalancer(own_host, everything), url="https://other.busyb.ai"))
    resource = failed["resource metadata answers at its advertised and its standard address"]
    assert "'https://mcp.busyb.ai/mcp', not 'https://other.busyb.ai/mcp'" in resource.detail
    assert "external URL" in resource.remedy
    assert "a foreign Origin is refused and the public one is not" not in failed, (
        "the same Host is taken for the origin"
    )


def test_an_external_url_without_the_prefix_is_found(own_host: int) -> None:
    def rewrite(path: str) -> str | None:
        return PRM + "/mcp" if path.startswith(PRM) else prefix_rules(path)

    failed = failures(ask(LoadBalancer(own_host, rewrite), url=f"https://mcp.busyb.ai{PREFIX}"))
    assert (
        "resource is 'https://mcp.busyb.ai/mcp'"
        in failed["resource metadata answers at its advertised and its standard address"].detail
    )


def test_a_load_balancer_without_healthy_tasks_is_told_from_a_wrong_rule(balancer: LoadBalancer) -> None:
    balancer.response = lambda *_: (503, [("Server", "awselb/2.0")], b"<html>")
    results = ask(balancer)
    (health,) = failures(results).values()
    assert health.name == "health answers 200 from outside"
    assert {check.passed for check in results} == {False, None}, "one reason is told once"
    assert "503" in health.detail and "no healthy task" in health.remedy


def test_a_server_whose_store_is_down_is_healthy_and_not_ready(balancer: LoadBalancer) -> None:
    def store_down(path: str, *answer: Any) -> tuple[int, Headers, bytes]:
        return (503, answer[1], b'{"status": "not ready"}') if path == "/health/ready" else answer

    balancer.response = store_down
    assert set(failures(ask(balancer))) == {"the server is ready: its stores answer"}


def test_another_service_answering_for_this_one_is_found(balancer: LoadBalancer) -> None:
    checks = ask(balancer, dataclasses.replace(EXPECTED, health={"version": "0.0.1"}))
    assert "not '0.0.1'" in failures(checks)["health answers 200 from outside"].detail
    balancer.response = lambda *_: (200, [("Content-Type", "text/html")], b"<h1>Welcome</h1>")
    assert "without a JSON object" in failures(ask(balancer))["health answers 200 from outside"].detail


def test_a_bare_url_that_goes_elsewhere_is_found(balancer: LoadBalancer) -> None:
    balancer.rewrite = lambda path: None if path == PREFIX else prefix_rules(path)
    assert set(failures(ask(balancer))) == {"the bare public URL answers alike with and without a slash"}


def test_paths_encoded_twice_are_found(balancer: LoadBalancer) -> None:
    balancer.rewrite = lambda path: (prefix_rules(path) or "").replace("%68", "%2568") or None
    assert set(failures(ask(balancer))) == {"percent-encoded paths arrive unharmed"}


def test_a_query_that_is_decoded_on_the_way_is_found(balancer: LoadBalancer) -> None:
    def decode(path: str) -> str | None:
        rewritten = prefix_rules(path)
        if rewritten is None or "nobody" not in path:
            return rewritten
        return unquote(rewritten).encode().decode("latin-1").replace(" ", "+")

    balancer.rewrite = decode
    assert set(failures(ask(balancer))) == {"unicode, encoded slashes and query strings arrive unharmed"}


def test_cookies_sent_to_the_whole_domain_or_in_the_clear_are_found(balancer: LoadBalancer) -> None:
    for spoil in (("HttpOnly", "HttpOnly; Domain=busyb.ai"), ("; Secure", ""), ("Path=/", f"Path={PREFIX}")):

        def spoiled(_: str, status: int, headers: Headers, body: bytes, spoil: tuple[str, str] = spoil) -> Any:
            return status, [(n, v.replace(*spoil) if n == "set-cookie" else v) for n, v in headers], body

        balancer.response = spoiled
        assert set(failures(ask(balancer))) == {"cookies are secure and bound to this host"}, spoil


def test_a_redirect_that_loses_the_prefix_is_found(balancer: LoadBalancer) -> None:
    def spoiled(_: str, status: int, headers: Headers, body: bytes) -> tuple[int, Headers, bytes]:
        return status, [(n, v.replace(f"{PREFIX}/consent", "/consent")) for n, v in headers], body

    balancer.response = spoiled
    failed = failures(ask(balancer))["sign-in reaches accounts.google.com with the public return address"]
    assert "leads to https://api.busyb.ai/consent, outside" in failed.detail


def test_a_return_address_that_is_not_public_is_found(balancer: LoadBalancer) -> None:
    def spoiled(_: str, status: int, headers: Headers, body: bytes) -> tuple[int, Headers, bytes]:
        public, private = (
            "redirect_uri=https%3A%2F%2Fapi.busyb.ai",
            "redirect_uri=http%3A%2F%2Flocalhost%3A8000",
        )
        return status, [(n, v.replace(public, private)) for n, v in headers], body

    balancer.response = spoiled
    assert set(failures(ask(balancer))) == {
        "sign-in reaches accounts.google.com with the public return address",
        "an MCP client finds the sign-in by itself",
    }


def test_metadata_that_names_a_private_address_is_found(balancer: LoadBalancer) -> None:
    def spoiled(_: str, status: int, headers: Headers, body: bytes) -> tuple[int, Headers, bytes]:
        public, private = (
            b'"token_endpoint":"https://api.busyb.ai',
            b'"token_endpoint":"http://10.0.10.7:8000',
        )
        return status, headers, body.replace(public, private)

    balancer.response = spoiled
    failed = failures(ask(balancer))
    assert set(failed) == {"every address in the metadata leads to the server"}
    assert "http://10.0.10.7:8000" in next(iter(failed.values())).detail


def test_registration_that_never_reaches_the_server_is_found(balancer: LoadBalancer) -> None:
    balancer.rewrite = lambda path: None if path.endswith("/register") else prefix_rules(path)
    assert {"a client can register itself", "every address in the metadata leads to the server"} <= set(
        failures(ask(balancer))
    )


def test_a_server_that_never_sees_the_origin_is_found(balancer: LoadBalancer) -> None:
    balancer.request_headers = lambda headers: [h for h in headers if h[0].lower() != "origin"]
    assert "a foreign Origin is refused and the public one is not" in failures(ask(balancer))


def test_an_endpoint_that_redirects_to_itself_with_a_slash_is_followed_as_clients_do(balancer: LoadBalancer) -> None:
    moved = {f"{PREFIX}/mcp": "/moved", f"{PREFIX}/mcp/here": "/mcp"}
    balancer.rewrite = lambda path: moved.get(path) or prefix_rules(path)

    def redirecting_to(there: str) -> Callable[[str, int, Headers, bytes], tuple[int, Headers, bytes]]:
        def answer(path: str, status: int, headers: Headers, body: bytes) -> tuple[int, Headers, bytes]:
            return (307, [("Location", there)], b"") if path == "/moved" else (status, headers, body)

        return answer

    names = {
        "a trailing slash loses neither https nor the prefix",
        "a foreign Origin is refused and the public one is not",
    }
    unknown = dataclasses.replace(EXPECTED, oauth=None)
    balancer.response = redirecting_to(f"{PREFIX}/mcp/here")
    assert names <= {check.name for check in ask(balancer, unknown) if check.passed}
    balancer.response = redirecting_to("http://api.busyb.ai/mcp/")
    failed = failures(ask(balancer, unknown))
    assert names <= set(failed)
    assert all(
        "redirects to http://api.busyb.ai/mcp/: clients take their tokens there" in failed[n].detail for n in names
    )


def test_whether_another_server_judges_origins_is_not_claimed_where_it_asks_for_a_token_first(
    balancer: LoadBalancer,
) -> None:
    balancer.request_headers = lambda headers: [h for h in headers if h[0].lower() != "origin"]
    checks = ask(balancer, dataclasses.replace(EXPECTED, oauth=None))
    (origin,) = [check for check in checks if check.name == "a foreign Origin is refused and the public one is not"]
    assert (origin.passed, failures(checks)) == (None, {})


def test_nobody_listening_is_a_failure_of_each_check_and_not_an_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = PublicAddress(url="https://api.busyb.ai", connect_to=f"http://127.0.0.1:{free.getsockname()[1]}")
        checks = run(address, EXPECTED)
    assert not any(check.passed for check in checks)
    assert "no answer to GET" in checks[0].detail and "connect" in checks[0].detail.lower()


def test_only_the_connection_goes_to_the_stand_in(balancer: LoadBalancer) -> None:
    path = f"{PREFIX}/a%2Fb%C3%BC/%68?q=%2F+%26"

    async def get(address: PublicAddress) -> str:
        async with address.client() as client:
            return str((await client.get(f"https://api.busyb.ai{path}")).url)

    with balancer.running():
        url = asyncio.run(get(PublicAddress(url=f"https://api.busyb.ai{PREFIX}", connect_to=balancer.url)))
    assert balancer.received == [f"GET {path} api.busyb.ai"]
    assert url == f"https://api.busyb.ai{path}"


@pytest.mark.parametrize(
    "url", ["https://accounts.google.com/", "http://api.busyb.ai/", "https://api.busyb.ai.evil.example/"]
)
def test_the_client_refuses_every_other_host(url: str) -> None:
    async def get() -> None:
        async with PublicAddress(url="https://api.busyb.ai", connect_to="http://127.0.0.1:1").client() as client:
            await client.get(url)

    with pytest.raises(Failed, match="sends its clients to"):
        asyncio.run(get())


@pytest.mark.parametrize("url", ["api.busyb.ai", "https://api.busyb.ai/", "https://api.busyb.ai/x?y=1", "ftp://a"])
def test_a_public_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no public URL"):
        PublicAddress(url=url)


def test_a_check_that_hangs_ends_with_a_failure_and_spares_the_others() -> None:
    async def hang() -> str:
        await asyncio.sleep(60)
        return ""

    async def answer() -> str:
        return "seen"

    checks = asyncio.run(run_probes([Probe("hangs", "wait", hang), Probe("answers", "", answer)], timeout=0.1))
    assert [(check.name, check.passed, check.remedy) for check in checks] == [
        ("hangs", False, "wait"),
        ("answers", True, ""),
    ]
