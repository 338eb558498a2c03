"""What an MCP server is told about itself: workspace-mcp starts without complaint on many mistakes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from policies.rule import Resource, Severity, Stack, rule
from policies.rules.containers import DEFINED_IN, Container, containers, environment, running
from policies.rules.ecs import SERVICE

OAUTH = "MCP_ENABLE_OAUTH21"
_OWN = re.compile(r"WORKSPACE_EXTERNAL_URL|WORKSPACE_MCP_(?!(PORT|BASE_URI)$)\w+")
_CREDENTIALS = ("GOOGLE_OAUTH_CLIENT_ID", "GOOGLE_OAUTH_CLIENT_SECRET")

Known = Callable[[Mapping[str, str]], bool]


def is_workspace_mcp(variables: Mapping[str, str]) -> bool:
    """Whether a container runs workspace-mcp 2, by the variables that only it reads.

    Version 1 and forks of it have other names for most of them, and answer on other paths.
    """
    return any(_OWN.fullmatch(name) for name in variables)


def _knows_oauth(variables: Mapping[str, str]) -> bool:
    """Whether a container runs workspace-mcp of any version, or a fork: all have this switch."""
    return OAUTH in variables or is_workspace_mcp(variables)


def _servers(found: list[Container], known: Known) -> Iterator[tuple[str, dict[str, str]]]:
    for container in found:
        variables = environment(container)
        if known(variables):
            yield f"container {container.get('name')}", variables


def _reachable_servers(service: Resource, stack: Stack, known: Known) -> Iterator[tuple[str, dict[str, str]]]:
    if service.items("loadBalancers"):
        yield from _servers(running(service, stack), known)


@rule(
    id="mcp-server-spell-oauth",
    severity=Severity.CRITICAL,
    description="OAuth 2.1 is switched on or off by the exact word that the server knows.",
    why="with 1, yes or True the server starts in its legacy mode and answers everybody without a login.",
    remedy=f"{OAUTH}: the word true; leave it to services.<service>.oauth.enabled.",
    types=DEFINED_IN,
)
def oauth_spelled(resource: Resource, _: Stack) -> Iterator[str]:
    for name, variables in _servers(containers(resource), _knows_oauth):
        if variables.get(OAUTH, "false") not in ("true", "false"):
            yield f"{name}: {OAUTH} is {variables[OAUTH]!r}, which the server takes for no"


@rule(
    id="mcp-server-name-variables",
    severity=Severity.HIGH,
    description="The server gets its credentials and its transport by the names that it reads.",
    why="it exits at once without them, or starts without credentials.",
    remedy="name GOOGLE_OAUTH_CLIENT_ID and GOOGLE_OAUTH_CLIENT_SECRET under services.<service>.secrets; "
    "the rest follows from server: workspace-mcp.",
    types=DEFINED_IN,
)
def named(resource: Resource, _: Stack) -> Iterator[str]:
    for container in containers(resource):
        variables = environment(container)
        given = variables.keys() | {secret.get("name") for secret in container.get("secrets") or []}
        where = f"container {container.get('name')}"
        for name in sorted(str(name) for name in given if str(name).startswith("MCP_GOOGLE_")):
            yield f"{where}: nothing reads {name}; the server reads {name.removeprefix('MCP_')}"
        if not is_workspace_mcp(variables):
            continue
        for name in _CREDENTIALS:
            if name not in given:
                yield f"{where}: {name} is missing"
        if variables.get("WORKSPACE_MCP_TRANSPORT") != "streamable-http":
            yield f"{where}: WORKSPACE_MCP_TRANSPORT is not streamable-http"


@rule(
    id="mcp-service-require-oauth",
    severity=Severity.CRITICAL,
    description="A server behind a load balancer asks for a login.",
    why="anybody could read and send people's mail.",
    remedy="services.<service>.oauth.enabled: true, or routing.strategy: internal.",
    types=frozenset({SERVICE}),
    whole_stack=True,
)
def oauth_on(service: Resource, stack: Stack) -> Iterator[str]:
    for name, variables in _reachable_servers(service, stack, _knows_oauth):
        if variables.get(OAUTH) != "true":
            yield f"{name} is behind a load balancer without OAuth 2.1"


@rule(
    id="mcp-service-limit-redirects",
    severity=Severity.HIGH,
    description="A server behind a load balancer limits the redirect addresses that clients register.",
    why="a login could be sent to an address of an attacker's.",
    remedy="name the clients under services.<service>.oauth.clients.",
    types=frozenset({SERVICE}),
    whole_stack=True,
)
def redirects_limited(service: Resource, stack: Stack) -> Iterator[str]:
    for name, variables in _reachable_servers(service, stack, is_workspace_mcp):
        if not variables.get("WORKSPACE_MCP_ALLOWED_CLIENT_REDIRECT_URIS"):
            yield f"{name} lets clients register any redirect address"


@rule(
    id="mcp-service-tell-public-address",
    severity=Severity.HIGH,
    description="A server behind a load balancer tells clients its public https address, not its private name.",
    why="private names are known in the VPC only: clients outside find nothing there, and logins cannot come back.",
    remedy="set services.<service>.routing.host; the server's address follows from it.",
    types=frozenset({SERVICE}),
    whole_stack=True,
)
def public_url(service: Resource, stack: Stack) -> Iterator[str]:
    for name, variables in _reachable_servers(service, stack, is_workspace_mcp):
        url = variables.get("WORKSPACE_EXTERNAL_URL", "")
        if not url.startswith("https://") or _private(urlsplit(url).hostname or ""):
            yield f"{name} tells clients the address {url or 'of its own container'}, which nobody outside can use"


def _private(host: str) -> bool:
    if host.endswith((".local", ".internal")) or "." not in host:
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False


@rule(
    id="mcp-service-share-oauth-state",
    severity=Severity.HIGH,
    description="Several tasks share their OAuth state.",
    why="a login that begins on one task fails on another.",
    remedy="services.<service>.oauth.state: dynamodb or valkey, or desiredCount: 1.",
    types=frozenset({SERVICE}),
    whole_stack=True,
)
def state_shared(service: Resource, stack: Stack) -> Iterator[str]:
    targets = stack.dependents(service, "aws:appautoscaling/target:Target")
    count = max(service.number("desiredCount") or 1, *(target.number("maxCapacity") or 1 for target in targets), 1)
    if count <= 1:
        return
    for name, variables in _servers(running(service, stack), is_workspace_mcp):
        backend = variables.get("WORKSPACE_MCP_OAUTH_PROXY_STORAGE_BACKEND") or "memory"
        if variables.get(OAUTH) == "true" and backend not in ("dynamodb", "valkey"):
            yield f"{count:.0f} tasks keep OAuth state each for itself ({name}: {backend})"
