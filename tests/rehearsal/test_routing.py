"""Each routing strategy, with a real server in a container behind the edge, as a client sees it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import checks
from checks import Check
from components.settings import SettingsError
from engine.deployment import DeploymentFailed
from rehearsal.docker import Engine
from rehearsal.run import Rehearsal, Stack
from tests.asking import outcomes
from tests.rehearsal.test_rollout import asked_all_the_time, image
from tests.stacks import INTERNAL, SERVICE, changed, moving, production

EDGE_READS_RULES = 1.5
"""Seconds after which the edge has certainly seen a changed rule."""
LOGIN = {
    "MCP without a token is refused and told where to sign in",
    "resource metadata answers at its advertised and its standard address",
    "authorization server metadata answers and names its issuer",
    "every address in the metadata leads to the server",
    "a client can register itself",
    "every form in which clients look for the sign-in finds it",
    "sign-in reaches accounts.google.com with the public return address",
    "an MCP client finds the sign-in by itself",
}
"""What a client needs in order to log in."""

# A server that handles its prefix itself. The bare paths are for target health.
PREFIX_SERVER = """
import os
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount
import uvicorn

server = MCPServer("prefix")

@server.tool()
def add(a: int, b: int) -> int:
    return a + b

@server.custom_route("/health", methods=["GET"])
async def health(request):
    return JSONResponse({"status": "healthy"})

security = TransportSecuritySettings(
    allowed_hosts=[os.environ["PUBLIC_HOST"]], allowed_origins=[os.environ["PUBLIC_ORIGIN"]]
)
mcp = server.streamable_http_app(stateless_http=True, host="0.0.0.0", transport_security=security)
mounts = [Mount(os.environ["MCP_PATH_PREFIX"], mcp), Mount("/", mcp)]
app = Starlette(routes=mounts, lifespan=mcp.router.lifespan_context)
uvicorn.run(app, host="0.0.0.0", port=int(os.environ["PORT"]), forwarded_allow_ips="*")
"""


@pytest.fixture(scope="module")
def running(engine: Engine) -> Iterator[Rehearsal]:
    """An account in which the strategies are deployed one after the other, and then a second service."""
    with Rehearsal(moving(production("routing"))) as rehearsal:
        yield rehearsal


@pytest.fixture(scope="module")
def stack() -> Stack:
    return moving(production("routing"))


def with_second(stack: Stack) -> Stack:
    second = {
        **{name: value for name, value in _service(stack).items() if name in ("secrets", "oauth")},
        "routing": {"host": "api.busyb.ai", "path": "/workspace-two", "priority": 60},
    }
    return changed(stack, {"services.second": second})


def routed(stack: Stack, routing: dict[str, Any], **service: Any) -> Stack:
    values = {f"{SERVICE}.{name}": value for name, value in service.items()}
    return changed(stack, {f"{SERVICE}.routing": routing, **values})


def by_name(found: list[Check]) -> dict[str, Check]:
    assert [f"{c.name}: {c.detail}" for c in found if c.passed is False] == []
    return {check.name: check for check in found}


def test_rewrite_lets_a_client_log_in_behind_a_path(running: Rehearsal, stack: Stack) -> None:
    running.deploy(stack)
    found = by_name(running.check())
    assert found.keys() >= LOGIN
    assert all(found[name].passed for name in LOGIN)
    assert (
        "https://api.busyb.ai/google-workspace/oauth2callback"
        in found["sign-in reaches accounts.google.com with the public return address"].detail
    )


def test_the_documented_404_a_rule_that_only_forwards_the_prefix(running: Rehearsal, stack: Stack) -> None:
    running.deploy(stack)
    elb = running.account.client("elbv2")
    (ours,) = [rule for rule in _rules(elb) if rule["Priority"] == "50"]
    # As it was made by hand: the path to the target group, and nothing else.
    by_hand = elb.create_rule(
        ListenerArn=_listener(elb),
        Priority=49,
        Conditions=[{"Field": "path-pattern", "Values": ["/google-workspace/*"]}],
        Actions=ours["Actions"],
    )["Rules"][0]
    try:
        time.sleep(EDGE_READS_RULES)
        assert _get(running, "/google-workspace/health") == 404
        assert _get(running, "/google-workspace/mcp") == 404
        assert running.edge
        targets = running.edge.health()["busyb-google-workspace-mcp-tg"]
        assert {target["state"] for target in targets} == {"healthy"}, "target health does not pass through rules"
    finally:
        elb.delete_rule(RuleArn=by_hand["RuleArn"])
    time.sleep(EDGE_READS_RULES)
    assert _get(running, "/google-workspace/health") == 200


def test_without_the_well_known_rules_no_client_finds_the_sign_in(running: Rehearsal, stack: Stack) -> None:
    running.deploy(stack)
    elb = running.account.client("elbv2")
    moved = [rule["RuleArn"] for rule in _rules(elb) if rule["Priority"] in ("51", "52")]
    saved = [elb.describe_rules(RuleArns=[arn])["Rules"][0]["Conditions"] for arn in moved]
    for arn in moved:
        elb.modify_rule(RuleArn=arn, Conditions=[{"Field": "path-pattern", "Values": ["/never"]}])
    try:
        time.sleep(EDGE_READS_RULES)
        failed = {check.name for check in running.check() if check.passed is False}
    finally:
        for arn, conditions in zip(moved, saved, strict=True):
            elb.modify_rule(RuleArn=arn, Conditions=[
                {"Field": c["Field"], **{k: v for k, v in c.items() if k.endswith("Config")}} for c in conditions
            ])  # fmt: skip
    assert {
        "resource metadata answers at its advertised and its standard address",
        "an MCP client finds the sign-in by itself",
    } <= failed


@pytest.mark.parametrize(
    ("regex", "replace", "seen_by"),
    [
        ("^/google-workspace(/.*)$", "$1", "the bare public URL answers alike with and without a slash"),
        ("^/google-workspace/([^/?]*).*$", "/$1", "an MCP client finds the sign-in by itself"),
        ("^/google-workspace/?([^?]*)/*(.*)$", "/$1$2", "a trailing slash loses neither https nor the prefix"),
        ("^/google-workspace/*([^?]*).*$", "/$1", "sign-in reaches accounts.google.com with the public return address"),
    ],
    ids=["no bare prefix", "nothing behind the first segment", "the slash at the end", "no query"],
)
def test_a_wrong_rewrite_is_seen(running: Rehearsal, stack: Stack, regex: str, replace: str, seen_by: str) -> None:
    running.deploy(stack)
    elb = running.account.client("elbv2")
    (rule,) = [rule for rule in _rules(elb) if rule["Priority"] == "50"]
    wrong = {"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [{"Regex": regex, "Replace": replace}]}}
    elb.modify_rule(RuleArn=rule["RuleArn"], Transforms=[wrong])
    try:
        time.sleep(EDGE_READS_RULES)
        failed = {check.name: check.detail for check in running.check() if check.passed is False}
        assert seen_by in failed, failed
    finally:
        elb.modify_rule(RuleArn=rule["RuleArn"], Transforms=rule["Transforms"])


@pytest.mark.parametrize(
    ("routing", "words"),
    [
        ({"priority": 1}, ["listener priority 1 for google-workspace", "rule 1 (/neighbour*)", "3 to 5 are free"]),
        ({"path": "/neighbour/mail"}, ["its requests go to rule 1 (/neighbour*)"]),
        ({"host": "mcp.elsewhere.example"}, ["a certificate for mcp.elsewhere.example", "they cover *.busyb.ai"]),
    ],
)
def test_what_others_have_and_what_no_certificate_covers_is_refused_before_anything_is_made(
    running: Rehearsal, stack: Stack, routing: dict[str, Any], words: list[str]
) -> None:
    running.deploy(stack)
    before = _target_groups(running)
    taken = changed(stack, {f"{SERVICE}.routing.{name}": value for name, value in routing.items()})
    with pytest.raises(DeploymentFailed) as failure:
        running.deploy(taken)
    assert "missing or unfit in the estate; nothing was changed" in str(failure.value)
    for text in words:
        assert text in str(failure.value)
    assert _target_groups(running) == before
    running.stack = stack


def test_overlapping_services_of_one_stack_are_refused(stack: Stack) -> None:
    second = {**_service(stack), "name": "second", "discovery": {"name": "second"}}
    with pytest.raises(SettingsError, match="google-workspace and second both have"):
        changed(stack, {"services.second": second})


def test_two_services_share_the_host_and_a_second_is_a_few_lines(running: Rehearsal, stack: Stack) -> None:
    running.deploy(with_second(stack))
    found = by_name(running.check())
    for key in ("google-workspace", "second"):
        assert all(found[f"{key}: {name}"].passed for name in LOGIN)
        # Only the stand-in for Google answers for it: one that came later has that too.
        assert found[f"{key}: the server fetches a client's metadata document"].passed
    running.deploy(stack)


def test_after_a_change_of_port_that_failed_the_old_configuration_is_the_way_back(
    running: Rehearsal, stack: Stack, tmp_path: Path
) -> None:
    running.deploy(stack)
    by_name(running.check())
    crashing = 'FROM python:3.12.13-slim-bookworm\nCMD ["python3", "-c", "raise SystemExit(3)"]\n'
    wrong = {f"{SERVICE}.port": 8002, f"{SERVICE}.image": {"context": image(tmp_path, crashing)}}
    with pytest.raises(DeploymentFailed, match="ECS rolled the deployment back"):
        running.deploy(changed(stack, wrong))
    # ECS is back on the old tasks, but the rules are no part of what it rolls back.
    assert _get(running, "/google-workspace/health") in (502, 503)
    running.deploy(stack)
    by_name(running.check())
    assert _target_groups(running) == [("busyb-google-workspace-mcp-tg", 8000)]


def test_a_change_of_port_gets_a_target_group_of_another_name_and_the_old_one_goes(
    running: Rehearsal, stack: Stack
) -> None:
    running.deploy(stack)
    by_name(running.check())
    with asked_all_the_time(running) as asked:
        running.deploy(changed(stack, {f"{SERVICE}.port": 8001}))
        by_name(running.check())
    assert _target_groups(running) == [("busyb-google-workspace-mcp-8001", 8001)]
    # The rules lead to the new group before its first task is healthy: documented in docs/routing.md, not hidden.
    assert outcomes(asked) <= {200, 502, 503}
    assert asked[0].outcome == asked[-1].outcome == 200


def test_host_lets_a_client_log_in_at_a_name_of_its_own(running: Rehearsal, stack: Stack) -> None:
    running.deploy(stack)
    route53 = running.account.client("route53")
    zone = route53.create_hosted_zone(Name="busyb.ai", CallerReference="routing")["HostedZone"]["Id"]
    routing = {"strategy": "host", "host": "mcp.busyb.ai", "priority": 50, "hostedZone": "busyb.ai"}
    deployed = running.deploy(routed(stack, routing))
    assert {r.action for r in deployed.resources if r.type.endswith("ListenerRule")} == {"changed", "deleted"}
    found = by_name(running.check())
    assert all(found[name].passed for name in LOGIN)
    (record,) = [
        r for r in route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"] if r["Type"] == "A"
    ]
    (balancer,) = running.account.client("elbv2").describe_load_balancers()["LoadBalancers"]
    assert record["Name"] == "mcp.busyb.ai."
    assert record["AliasTarget"]["DNSName"].rstrip(".") == balancer["DNSName"]


def test_pattern_forwards_the_paths_that_the_server_itself_has(running: Rehearsal, stack: Stack) -> None:
    patterns = ["/", "/mcp", "/mcp/", "/health*", "/.well-known/*", "/register", "/authorize*", "/consent*"]
    patterns += ["/token", "/oauth2callback", "/attachments/*"]
    running.deploy(
        routed(stack, {"strategy": "pattern", "host": "tools.busyb.ai", "patterns": patterns, "priority": 50})
    )
    rules = [rule for rule in _rules(running.account.client("elbv2")) if rule["Priority"] in ("50", "51", "52")]
    assert len(rules) == 3, "four patterns fit into a rule beside the host"
    found = by_name(running.check())
    assert all(found[name].passed for name in LOGIN)


def test_internal_lists_the_tools_to_a_consumer_in_the_vpc(running: Rehearsal, stack: Stack) -> None:
    deployed = running.deploy(routed(stack, INTERNAL["routing"], oauth=INTERNAL["oauth"], tokens=INTERNAL["tokens"]))
    assert not [r for r in deployed.resources if r.type.startswith("aws:lb/") and r.action != "deleted"]
    found = by_name(running.check())
    assert "119 tools" in found["an MCP client connects and lists the tools"].detail
    assert found["health answers 200 from outside"].passed


def test_prefix_leaves_the_path_to_a_server_that_is_told_of_it(
    running: Rehearsal, stack: Stack, tmp_path: Path
) -> None:
    (tmp_path / "server.py").write_text(PREFIX_SERVER)
    (tmp_path / "Dockerfile").write_text(
        "FROM python:3.12.13-slim-bookworm\n"
        "RUN python3 -m venv /venv && /venv/bin/pip install --quiet mcp==2.3.0 uvicorn==0.54.0\n"
        "COPY server.py /server.py\n"
        'ENTRYPOINT ["/venv/bin/python", "/server.py"]\n'
    )
    routing = {"strategy": "prefix", "host": "api.busyb.ai", "path": "/google-workspace", "priority": 50}
    variables = {"PORT": "{port}", "PUBLIC_HOST": "{host}", "PUBLIC_ORIGIN": "{origin}"}
    running.deploy(
        routed(stack, routing, server="other", oauth=None, image={"context": str(tmp_path)}, variables=variables)
    )
    assert by_name(running.check())["health answers 200 from outside"].passed
    # Whether another server wants a login is not known to `check`; this one does not.
    assert running.edge
    address = checks.PublicAddress(url="https://api.busyb.ai/google-workspace", connect_to=running.edge.url)
    found = by_name(checks.run(address, checks.Expectations(oauth=False, ready_path=None)))
    assert "1 tool" in found["an MCP client connects and lists the tools"].detail


def _service(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack.config["mcp-on-ecs:services"])["google-workspace"]
    return found


def _listener(elb: Any) -> str:
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    listeners = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    (found,) = [str(listener["ListenerArn"]) for listener in listeners if listener["Port"] == 443]
    return found


def _rules(elb: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = elb.describe_rules(ListenerArn=_listener(elb))["Rules"]
    return found


def _target_groups(running: Rehearsal) -> list[tuple[str, int]]:
    groups = running.account.client("elbv2").describe_target_groups()["TargetGroups"]
    return [(group["TargetGroupName"], group["Port"]) for group in groups]


def _get(running: Rehearsal, path: str) -> int:
    assert running.edge
    with httpx2.Client(trust_env=False) as client:
        return client.get(running.edge.url + path, headers={"Host": "api.busyb.ai"}, timeout=10).status_code
