"""Which requests the listener rules take, and what the server gets of them."""

from __future__ import annotations

import gc
import re
import tracemalloc

import pytest

from components import listener_rules
from components.listener_rules import overlaps
from components.names import target_group_name
from components.settings import RewriteRouting, Service

SECRETS = {name: {"secret": "s", "key": "K"} for name in ("GOOGLE_OAUTH_CLIENT_ID", "GOOGLE_OAUTH_CLIENT_SECRET")}


def service(path: str = "/google-workspace") -> Service:
    return Service.model_validate(
        {
            "key": "google-workspace",
            "name": "busyb-google-workspace-mcp",
            "secrets": SECRETS,
            "oauth": {"clientRedirectUris": ["http://localhost:*"]},
            "routing": {"host": "api.busyb.ai", "path": path, "priority": 50},
        }
    )


def forwarded(request: str, path: str = "/google-workspace") -> str | None:
    """What the server gets of a request's path and query, or None where no rule takes it. As the load balancer does:
    conditions see the path alone, in order of priority; the rewrite sees the query too."""
    for rule in service(path).listener_rules:
        if overlaps([request.partition("?")[0]], rule.paths):  # No wildcard in a request: overlapping is matching.
            if rule.rewrite is None:
                return request
            regex, replace = rule.rewrite
            return re.sub(regex, re.sub(r"\$(\d)", r"\\\1", replace), request)
    return None


SERVER = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
RESOURCE = "/.well-known/oauth-protected-resource"


@pytest.mark.parametrize(
    ("request_", "server_gets"),
    [
        ("/google-workspace", "/"),
        ("/google-workspace/", "/"),
        ("/google-workspace//", "/"),
        ("/google-workspace?a=1", "/?a=1"),
        ("/google-workspace/?a=1", "/?a=1"),
        ("/google-workspace/health", "/health"),
        ("/google-workspace/mcp", "/mcp"),
        # The server would redirect /mcp/ to /mcp of the shared host.
        ("/google-workspace/mcp/", "/mcp"),
        ("/google-workspace/mcp///", "/mcp"),
        ("/google-workspace/mcp/?a=1", "/mcp?a=1"),
        ("/google-workspace/authorize?redirect_uri=http://localhost:1/cb/&x=/", None),
        ("/google-workspace/mcp?", "/mcp?"),
        ("/google-workspace/mcp?a=?b=/google-workspace/", "/mcp?a=?b=/google-workspace/"),
        ("/google-workspace/a/google-workspace/b", "/a/google-workspace/b"),
        ("/google-workspace/a//b", "/a//b"),
        # Not //evil.example, which is another host wherever it is repeated.
        ("/google-workspace//evil.example/", "/evil.example"),
        ("/google-workspace/files%2Fa%2fb", "/files%2Fa%2fb"),
        ("/google-workspace/%C3%A9%E2%9C%93?q=%C3%A9%20+", "/%C3%A9%E2%9C%93?q=%C3%A9%20+"),
        ("/google-workspace/é✓?q=日本", "/é✓?q=日本"),
        (f"{SERVER}/google-workspace", SERVER),
        (f"{SERVER}/google-workspace?a=1", f"{SERVER}?a=1"),
        (f"{SERVER}/google-workspace/", SERVER),
        (f"{SERVER}/google-workspace/mcp", SERVER),
        (f"{OPENID}/google-workspace", SERVER),
        (f"{OPENID}/google-workspace/", SERVER),
        (f"{OPENID}/google-workspace/mcp?a=1", f"{SERVER}?a=1"),
        (f"/google-workspace{OPENID}", OPENID),
        (f"/google-workspace{OPENID}/", OPENID),
        (f"/google-workspace/mcp{OPENID}", f"/mcp{OPENID}"),
        (f"/google-workspace{SERVER}", SERVER),
        (f"/google-workspace{RESOURCE}", RESOURCE),
        (f"{RESOURCE}/google-workspace/mcp", f"{RESOURCE}/google-workspace/mcp"),
        (f"{RESOURCE}/google-workspace/mcp/", f"{RESOURCE}/google-workspace/mcp"),
        (f"{RESOURCE}/google-workspace", f"{RESOURCE}/google-workspace/mcp"),
        (f"{RESOURCE}/google-workspace/?a=1", f"{RESOURCE}/google-workspace/mcp?a=1"),
    ],
)
def test_a_request_below_the_prefix_reaches_the_server_without_it(request_: str, server_gets: str | None) -> None:
    expected = server_gets or request_.removeprefix("/google-workspace")
    assert forwarded(request_) == expected


@pytest.mark.parametrize(
    "request_",
    [
        "/",
        "/mcp",
        "/health",
        "/google-workspacefoo",
        "/google-workspace-2/mcp",
        "/Google-Workspace/mcp",
        "/x/google-workspace/mcp",
        SERVER,
        f"{SERVER}/google-workspace-2",
        f"{SERVER}/x/google-workspace",
        OPENID,
        f"{OPENID}/google-workspace-2",
        f"{OPENID}x/google-workspace",
        RESOURCE,
        f"{RESOURCE}/google-workspace-2/mcp",
        f"{RESOURCE}/mcp",
    ],
)
def test_a_request_outside_of_the_prefix_is_left_to_others(request_: str) -> None:
    assert forwarded(request_) is None


def test_a_dot_in_the_prefix_stands_for_itself() -> None:
    assert forwarded("/v1.0/mcp", "/v1.0") == "/mcp"
    assert forwarded(f"{SERVER}/v1.0", "/v1.0") == SERVER
    regex, _ = service("/v1.0").listener_rules[0].rewrite or ("", "")
    assert not re.match(regex, "/v1x0/mcp")


def test_a_prefix_of_several_parts_is_stripped_as_a_whole() -> None:
    assert forwarded("/a/b/mcp", "/a/b") == "/mcp"
    assert forwarded("/a/mcp", "/a/b") is None


@pytest.mark.parametrize("written", ["google-workspace", "/google-workspace/", "google-workspace/"])
def test_slashes_around_a_configured_path_do_not_matter(written: str) -> None:
    routing = service(written).routing
    assert isinstance(routing, RewriteRouting)
    assert routing.path == "/google-workspace"


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("/mcp", "/mcp", True),
        ("/mcp", "/MCP", False),
        ("/mcp", "/mcp/", False),
        ("/mcp*", "/mcp/google", True),
        ("/mcp/*", "/mcp", False),
        ("/*", "/anything", True),
        ("/a/*", "*/mcp", True),
        ("/a*c", "/ab*", True),
        ("/a*c", "/b*", False),
        ("/mc?", "/mcp", True),
        ("/mc?", "/mc", False),
        ("/mc?", "/mc*x", True),
        ("/[a]", "/a", False),
        ("*.busyb.ai", "api.busyb.ai", True),
        ("*.busyb.ai", "busyb.ai", False),
        ("*", "", True),
        ("", "?", False),
    ],
)
def test_two_patterns_overlap_when_some_text_matches_both(a: str, b: str, expected: bool) -> None:
    assert overlaps([a], [b]) is expected
    assert overlaps([b], [a]) is expected


def test_the_longest_patterns_are_compared_in_no_time() -> None:
    assert not overlaps(["*a" * 64], ["*b" * 63 + "?b"])


def test_nothing_is_kept_of_patterns_that_were_compared() -> None:
    """A stack of 50 services compares 80,000 pairs; what was kept of each made 300 MB of them."""
    patterns = [f"/service-{number}{end}" for number in range(40) for end in ("", "/*", "*?")]
    gc.disable()  # What is only found as garbage counts as kept: the program looks for garbage seldom.
    tracemalloc.start()
    try:
        assert sum(overlaps([a], [b]) for a in patterns for b in patterns) > len(patterns)
        kept = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
        gc.enable()
    # Of this module alone: other threads of the tests keep things too, whenever they will.
    ours = kept.filter_traces([tracemalloc.Filter(True, listener_rules.__file__)])
    assert sum(each.size for each in ours.statistics("filename")) < 100_000


def test_the_target_groups_name_carries_a_port_that_is_not_the_usual_one() -> None:
    assert target_group_name(service()) == "busyb-google-workspace-mcp-tg"
    assert target_group_name(service().model_copy(update={"port": 9000})) == "busyb-google-workspace-mcp-9000"
