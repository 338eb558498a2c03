"""What the rules say, by AWS's own examples where it gives any (rule-condition-types, rule-transforms)."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.listener import (
    Request,
    TransformError,
    chosen,
    complaints,
    holds,
    location,
    normalised,
    rewritten,
    transformed,
    weights,
)


def path(*values: str, **config: Any) -> dict[str, Any]:
    return {"Field": "path-pattern", "PathPatternConfig": {"Values": list(values), **config}}


def host(*values: str, **config: Any) -> dict[str, Any]:
    return {"Field": "host-header", "HostHeaderConfig": {"Values": list(values), **config}}


def header(name: str, *values: str, **config: Any) -> dict[str, Any]:
    return {
        "Field": "http-header",
        "HttpHeaderConfig": {"HttpHeaderName": name, "Values": list(values), **config},
    }


def asked(url: str, **fields: Any) -> Request:
    """A request for path?query, from Host api.busyb.ai unless `headers` says otherwise."""
    path_only, _, query = url.partition("?")
    return Request(path=path_only, query=query, **{"headers": [("host", "api.busyb.ai")], **fields})


def url_rewrite(regex: str, replace: str) -> dict[str, Any]:
    rewrites = [{"Regex": regex, "Replace": replace}]
    return {"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": rewrites}}


@pytest.mark.parametrize(
    ("condition", "request_", "expected"),
    [
        (path("/img/*"), asked("/img/picture.jpg"), True),
        (path("/img/*"), asked("/img"), False),
        (path("/img/*"), asked("/IMG/picture.jpg"), False),
        (path("/img/*/pics"), asked("/img/a/b/pics"), True),
        (path("/img/?"), asked("/img/ab"), False),
        (path("/img/*", "/css/*"), asked("/css/x"), True),
        (path("/a.b"), asked("/axb"), False),
        (path("/img*"), asked("/x?y=/img/"), False),
        (path("/img"), asked("/img?x=1"), True),
        (path("/a%2Fb"), asked("/a%2fb"), True),
        (path("/a/b"), asked("/a%2Fb"), False),
        (path("/google-workspace/*"), asked("/google-workspace/../mcp"), False),
        (path("/caf%C3%A9"), asked("/caf%c3%a9"), True),
        (path(RegexValues=[r"^\/api\/(.*)$"]), asked("/api/users"), True),
        (path(RegexValues=[r"^\/api\/(.*)$"]), asked("/API/users"), False),
        (host("*.example.com"), asked("/", headers=[("host", "test.example.com")]), True),
        (host("*.example.com"), asked("/", headers=[("host", "example.com")]), False),
        (host("api.busyb.ai"), asked("/", headers=[("host", "API.BusyB.ai:443")]), True),
        (host("api.busyb.ai"), asked("/", headers=[]), False),
        (host(RegexValues=[r"^(.*)\.example\.com$"]), asked("/", headers=[("host", "A.Example.com")]), True),
        (header("User-Agent", "*Chrome*", "*Safari*"), asked("/", headers=[("user-agent", "a safari b")]), True),
        (header("User-Agent", "*Chrome*"), asked("/", headers=[("user-agent", "Lynx")]), False),
        (header("X-A", "2"), asked("/", headers=[("x-a", "1"), ("x-a", "2")]), True),
        (header("User-Agent", RegexValues=[".+"]), asked("/", headers=[("user-agent", "x")]), True),
        (header("User-Agent", RegexValues=[".+"]), asked("/", headers=[]), False),
        (
            {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["CUSTOM-METHOD"]}},
            asked("/", method="CUSTOM-METHOD"),
            True,
        ),
        (
            {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["GET"]}},
            asked("/", method="get"),
            False,
        ),
        (
            {"Field": "source-ip", "SourceIpConfig": {"Values": ["192.0.2.0/24", "198.51.100.10/32"]}},
            asked("/", source_ip="192.0.2.7"),
            True,
        ),
        (
            {"Field": "source-ip", "SourceIpConfig": {"Values": ["192.0.2.0/24"]}},
            asked("/", source_ip="198.51.100.10", headers=[("x-forwarded-for", "192.0.2.7")]),
            False,
        ),
        ({"Field": "path-pattern", "Values": ["/old/*"]}, asked("/old/style"), True),
        ({"Field": "path-pattern", "Values": [], "PathPatternConfig": {"Values": []}}, asked("/"), False),
        ({"Field": "something-new", "Values": ["*"]}, asked("/"), False),
    ],
)
def test_a_condition_holds_as_aws_documents_it(condition: dict[str, Any], request_: Request, expected: bool) -> None:
    assert holds(condition, request_) is expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("version=v1", True),
        ("Version=V1&x=2", True),
        ("version=v2", False),
        ("anything=an-example-here", True),
        ("example=no", False),
        ("star=*", True),
        ("star=a", False),
        ("", False),
    ],
)
def test_a_query_condition_compares_pairs_and_lone_values(query: str, expected: bool) -> None:
    values = [{"Key": "version", "Value": "v1"}, {"Value": "*example*"}, {"Key": "star", "Value": r"\*"}]
    condition = {"Field": "query-string", "QueryStringConfig": {"Values": values}}
    assert holds(condition, asked(f"/?{query}")) is expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/a/./b/../c", "/a/c"),
        ("/a/b/..", "/a/"),
        ("/../../a", "/a"),
        ("/%2e%2E/a", "/a"),
        ("/%7Euser/%41", "/~user/A"),
        ("/a%2fb/%c3%a9", "/a%2Fb/%C3%A9"),
        ("/10%3A30", "/10:30"),
        ("//a//b/", "//a//b/"),
        ("/100%/%zz", "/100%/%zz"),
        ("/", "/"),
        ("*", "*"),
    ],
)
def test_conditions_see_the_path_normalised_as_rfc_3986_has_it(raw: str, expected: str) -> None:
    assert normalised(raw) == expected


def rule(priority: str, *conditions: dict[str, Any]) -> dict[str, Any]:
    return {"Priority": priority, "Conditions": conditions, "Actions": [], "IsDefault": priority == "default"}


def test_rules_are_tried_by_number_and_the_default_last_however_they_are_listed() -> None:
    rules = [rule("default"), rule("100", path("/a/*")), rule("9", path("/a/b*"), host("api.busyb.ai"))]
    assert chosen(rules, asked("/a/b"))["Priority"] == "9"
    assert chosen(rules, asked("/a/b", headers=[("host", "other.ai")]))["Priority"] == "100"
    assert chosen(rules, asked("/a/c"))["Priority"] == "100"
    assert chosen(rules, asked("/b"))["Priority"] == "default"


@pytest.mark.parametrize(
    ("regex", "replace", "url", "expected"),
    [
        # AWS's own example.
        ("^/dp/([A-Za-z0-9]+)/?$", "/product.php?id=$1", "/dp/B09G3HRMW", "/product.php?id=B09G3HRMW"),
        # The query is part of what the expression sees ...
        ("^/dp/([A-Za-z0-9]+)/?$", "/product.php?id=$1", "/dp/B09G3HRMW?x=1", "/dp/B09G3HRMW?x=1"),
        ("^/find\\?q=(.*)$", "/search/$1", "/find?q=a%2Fb", "/search/a%2Fb"),
        # ... and what it does not match stays (aws-load-balancer-controller writes its rewrites so).
        ("^([^?]*)", "/all", "/a/b?x=1", "/all?x=1"),
        ("(^/foo(/)?)", "/cat$2", "/foo/bar", "/cat/bar"),
        ("(^/foo(/)?)", "/cat$2", "/foo", "/cat"),
        ("a", "b", "/aaa", "/baa"),
        ("^/gw/(.*)$", "/$1", "/gw/mcp?a=%2F&b=", "/mcp?a=%2F&b="),
        ("^/gw/(.*)$", "/$1", "/gw/a%2Fb//%C3%A9", "/a%2Fb//%C3%A9"),
        ("^/(?<all>.*)\\z", "/x/$1", "/mcp", "/x/mcp"),
        # Without a match the target gets what the client sent, not what was compared.
        ("^/gw/(.*)$", "/$1", "/a/../b%2f%41?", "/a/../b%2f%41"),
    ],
)
def test_a_url_rewrite_replaces_the_first_match_in_path_and_query(
    regex: str, replace: str, url: str, expected: str
) -> None:
    assert transformed([url_rewrite(regex, replace)], asked(url)) == (expected, None)


def test_a_host_rewrite_changes_the_host_and_leaves_the_url() -> None:
    rewrites = [{"Regex": "^mywebsite-(.+).com$", "Replace": "internal.dev.$1.myweb.com"}]
    transform = {"Type": "host-header-rewrite", "HostHeaderRewriteConfig": {"Rewrites": rewrites}}
    request = asked("/project-a", headers=[("host", "mywebsite-example.com")])
    assert transformed([transform], request) == ("/project-a", "internal.dev.example.myweb.com")
    assert transformed([transform], asked("/project-a")) == ("/project-a", None)


def test_a_rewrite_of_everything_writes_its_replacement_once() -> None:
    assert rewritten("api.busyb.ai", ".*", "internal.busyb.ai") == "internal.busyb.ai"


@pytest.mark.parametrize(("regex", "replace"), [("^/gw(.*)$", "$1"), ("^/gw", "/$1")])
def test_a_rewrite_that_matches_but_cannot_be_done_is_an_error(regex: str, replace: str) -> None:
    with pytest.raises(TransformError):
        transformed([url_rewrite(regex, replace)], asked("/gw"))


@pytest.mark.parametrize(
    ("redirect", "expected"),
    [
        ({"Path": "/new/#{path}"}, "https://api.busyb.ai:443/new/a/b%2F?x=1"),
        ({"Host": "example.#{host}"}, "https://example.api.busyb.ai:443/a/b%2F?x=1"),
        ({"Query": "#{query}&value=xyz"}, "https://api.busyb.ai:443/a/b%2F?x=1&value=xyz"),
        ({"Protocol": "HTTPS", "Port": "8443", "Path": "/"}, "https://api.busyb.ai:8443/?x=1"),
    ],
)
def test_a_redirect_keeps_every_part_it_does_not_change(redirect: dict[str, str], expected: str) -> None:
    assert location(redirect, asked("/a/b%2F?x=1", headers=[("host", "api.busyb.ai:1234")])) == expected


def test_a_forward_action_names_its_groups_in_either_of_two_ways() -> None:
    groups = [{"TargetGroupArn": "a", "Weight": 3}, {"TargetGroupArn": "b", "Weight": 0}]
    assert weights({"TargetGroupArn": "a"}) == {"a": 1}
    assert weights({"ForwardConfig": {"TargetGroups": groups}}) == {"a": 3, "b": 0}


def test_what_an_emulator_has_lost_of_a_rule_is_said() -> None:
    lost = {"Field": "query-string", "Values": []}
    forward = {"Type": "forward", "TargetGroupArn": "a"}
    rules = [
        {"Priority": "1", "Conditions": [path("/a"), lost], "Actions": [forward]},
        {"Priority": "2", "Conditions": [path(RegexValues=["a"])], "Actions": [{"Type": "forward"}]},
        {"Priority": "3", "Conditions": [path(RegexValues=["a"])], "Actions": [forward]},
    ]
    said = list(complaints(rules))
    assert [each.split(":")[0] for each in said] == ["rule 1", "rule 2"]
    assert "query-string" in said[0]
