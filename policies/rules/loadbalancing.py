"""From the load balancer to the container: target groups, listener rules, ports."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policies.rule import Resource, Severity, Stack, rule
from policies.rules.containers import Container, environment, running
from policies.rules.ecs import SERVICE
from policies.rules.mcp import is_workspace_mcp

TARGET_GROUP = "aws:lb/targetGroup:TargetGroup"
LISTENER_RULE = "aws:lb/listenerRule:ListenerRule"
_INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
_GROUP = "aws:ec2/securityGroup:SecurityGroup"


@rule(
    id="lb-target-group-require-health-check",
    controls=("CKV_AWS_261",),
    severity=Severity.HIGH,
    description="Target groups check their targets' health by a path.",
    why="a task that does not answer would get requests, and a deployment would count it as good.",
    remedy="services.<service>.health.path, such as /health.",
    types=frozenset({TARGET_GROUP}),
)
def health(group: Resource, _: Stack) -> Iterator[str]:
    check = group.get("healthCheck")
    if not check or group.get("healthCheck", "enabled") is False:
        yield "it has no health check"
    elif group.get("protocol") in ("HTTP", "HTTPS") and not str(check.get("path") or "").startswith("/"):
        yield "its health check has no path"


@rule(
    id="lb-target-group-encrypt",
    controls=("CKV_AWS_378",),
    severity=Severity.MEDIUM,
    description="The load balancer speaks TLS to its targets.",
    why="who listens in the VPC reads the requests.",
    remedy="protocol: HTTPS where the server has a certificate, or record an exception under policyExceptions.",
    types=frozenset({TARGET_GROUP}),
)
def encrypted(group: Resource, _: Stack) -> Iterator[str]:
    if group.get("protocol") not in ("HTTPS", "TLS"):
        yield f"requests go to its targets by {group.get('protocol')}"


_PATHS = re.compile(
    r"/|/mcp|/health(/ready)?|/authorize|/consent|/token|/register|/oauth2callback|/attachments/.*"
    r"|/\.well-known/(oauth-authorization-server|openid-configuration)|/\.well-known/oauth-protected-resource(/.*)?"
)
"""What workspace-mcp answers."""


@rule(
    id="lb-listener-rule-strip-prefix",
    severity=Severity.HIGH,
    description="A path prefix that the server does not know is taken off before it is asked.",
    why="every request from outside would be a 404, while target health, which passes no rule, stays green.",
    remedy="services.<service>.routing.strategy: rewrite (or host, which has no prefix).",
    types=frozenset({LISTENER_RULE}),
    whole_stack=True,
)
def stripped(rule: Resource, stack: Stack) -> Iterator[str]:
    patterns = [
        str(pattern)
        for condition in rule.items("conditions")
        for pattern in (condition.get("pathPattern") or {}).get("values") or []
    ]
    services = {
        service.urn: service
        for group in stack.needs(rule, TARGET_GROUP)
        for service in stack.dependents(group, SERVICE)
    }
    for service in services.values() if patterns else ():
        for container in running(service, stack):
            variables = environment(container)
            if not is_workspace_mcp(variables):
                continue  # What others answer is not known.
            for pattern in patterns:
                literal = pattern.rstrip("*").rstrip("/")
                asked = [literal or "/", f"{literal}/mcp"] if pattern.endswith("/*") else [literal or "/"]
                seen = [_rewritten(rule, path) for path in asked]
                if literal not in variables.values() and not any(_PATHS.fullmatch(path) for path in seen):
                    yield f"the server is asked for {seen[-1]} where a client asks for {asked[-1]}, and answers 404"


def _rewritten(rule: Resource, path: str) -> str:
    for transform in rule.items("transforms"):
        rewrite = (transform.get("urlRewriteConfig") or {}).get("rewrite")
        if rewrite:
            path = re.sub(rewrite["regex"], re.sub(r"\$(\d)", r"\\\1", rewrite["replace"]), path, count=1)
    return path


@rule(
    id="ecs-service-match-ports",
    severity=Severity.HIGH,
    description="Container, target group, discovery, health check and security group have the same port.",
    why="nothing answers where it is asked, and tasks are stopped as unhealthy.",
    remedy="set services.<service>.port alone; everything else follows from it.",
    types=frozenset({SERVICE}),
    whole_stack=True,
)
def ports(service: Resource, stack: Stack) -> Iterator[str]:
    found = {str(container.get("name")): container for container in running(service, stack)}
    used: dict[tuple[str, int], str] = {}
    for balancer in service.items("loadBalancers"):
        used[str(balancer.get("containerName")), int(balancer.get("containerPort"))] = "the load balancer"
    registry = service.get("serviceRegistries")
    if registry and registry.get("containerPort"):
        used[str(registry.get("containerName")), int(registry.get("containerPort"))] = "discovery"
    for (name, port), user in used.items():
        container = found.get(name)
        if container is None:
            yield f"{user} names the container {name}, and there is none"
            continue
        yield from (f"{user} uses port {port} of {name}, {other}" for other in _contradictions(container, port))
    ports = {port for _, port in used}
    for group in stack.needs(service, TARGET_GROUP):
        target = group.number("port")
        if ports and target not in ports:
            yield f"target group {group.name} has port {target or 0:.0f}, the container {_list(ports)}"
    for group in stack.needs(service, _GROUP):
        opened = [
            (rule.number("fromPort") or 0, rule.number("toPort") or 65535) for rule in stack.dependents(group, _INGRESS)
        ]
        for port in sorted(ports) if opened else ():
            if not any(first <= port <= last for first, last in opened):
                yield f"security group {group.name} does not admit port {port}"


def _contradictions(container: Container, port: int) -> Iterator[str]:
    mapped = {int(mapping["containerPort"]) for mapping in container.get("portMappings") or []}
    if port not in mapped:
        yield f"which maps {_list(mapped)}"
    variables = environment(container)
    if variables.get("PORT", str(port)) != str(port):
        yield f"which listens on PORT {variables['PORT']}"
    command = " ".join((container.get("healthCheck") or {}).get("command") or [])
    for asked in re.findall(r"localhost:(\d+)|127\.0\.0\.1:(\d+)", command):
        if str(port) not in asked:
            yield f"whose health check asks port {''.join(asked)}"


def _list(ports: set[int]) -> str:
    return ", ".join(map(str, sorted(ports))) or "none"
