"""`rights`: what the pipeline's roles allow, and which recorded calls they would refuse.

The roles are those that the program would make now, found out without an account.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from components.delivery import GITHUB
from operations.errors import OperationError
from operations.rights import requests
from operations.rights.calls import Call
from operations.rights.evaluation import Request, Statement, allowing, covers, texts
from policies.registrations import Registration, registrations

PARTS = ("deploy", "preview")
"""The roles."""

EXPENDABLE = {
    # aws-sdk-go-base asks it before sts:GetCallerIdentity, and goes on when a role's session is denied it.
    "iam:GetUser": "the provider only tries it",
}
"""Actions that nobody needs although they are asked for -> why."""

_WAITS = re.compile(
    r"(List|Describe)ServiceDeployments|GetOperation|GetChange|ListPolicyVersions|ListInstanceProfilesForRole"
    r"|DescribeNetworkInterfaces|GetRandomPassword"
)
"""What is asked only to wait for a change, or before one: not by a preview."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roles:
    """The pipeline's roles of a stack, and what a recording does not say of it."""

    statements: Mapping[str, tuple[Statement, ...]]
    """Role -> the statements of its policies."""
    own: frozenset[str]
    """ARNs of the roles, of their policies and of GitHub's OIDC provider."""
    stack: requests.Stack


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """A recorded call that a role would be refused."""

    role: str
    phase: str
    call: str
    """Service and operation."""
    action: str
    resource: str
    remedy: str


def roles_of(config: Mapping[str, str]) -> Roles:
    """The roles of the stack with this configuration. Raises `OperationError` where it has none."""
    return roles_in(registrations(config))


def roles_in(registered: Iterable[Registration], in_force: Mapping[str, tuple[Statement, ...]] | None = None) -> Roles:
    """The roles among a program's registrations; `in_force`: with the statements that an account has of them instead.

    Raises `OperationError` where there are none.
    """
    found = list(registered)
    statements = in_force or {part: tuple(_statements(found, part)) for part in PARTS}
    if not all(statements.values()):
        raise OperationError(
            "The stack has no pipeline, so there are no roles. Configure delivery: see docs/pipeline.md", 2
        )
    known = [resource for statement in statements["deploy"] for resource in texts(statement["Resource"])]
    cluster = next(arn for arn in known if ":cluster/" in arn)
    _, partition, _, region, account, name = cluster.split(":", 5)
    own = {
        f"arn:{partition}:iam::{account}:{kind}/{each.inputs['name']}"
        for each in found
        for kind in ("role", "policy")
        if each.type == f"aws:iam/{kind}:{kind.title()}" and each.name.startswith("delivery-")
    }
    return Roles(
        statements=statements,
        own=frozenset({*own, f"arn:{partition}:iam::{account}:oidc-provider/{GITHUB}"}),
        stack=requests.Stack(
            partition=partition,
            region=region,
            account=account,
            tags=_first(found, lambda each: each.inputs.get("tags")),
            names={**_names(found), "cluster": (name.removeprefix("cluster/"),)},
            canonical=functools.partial(_canonical, _shapes(known)),
        ),
    )


def _statements(registered: Iterable[Registration], part: str) -> Iterator[Statement]:
    for each in registered:
        if each.type == "aws:iam/policy:Policy" and each.name.startswith(f"delivery-{part}-policy-"):
            yield from json.loads(each.inputs["policy"])["Statement"]


def _first(registered: Iterable[Registration], of: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in registered:
        if value := of(each):
            found.setdefault(each.type, value)
    return found


def _names(registered: Iterable[Registration]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for each in registered:
        if isinstance(name := each.inputs.get("name"), str):
            found[each.type] = (*found.get(each.type, ()), name)
    return found


# What AWS makes up in an ARN, so that a recording and the policies have different texts for the same thing.
_MADE_UP = (
    re.compile(r"(:secret:.+)(-\w{6})()$"),
    re.compile(r"(:namespace/)(ns-\w+)()$"),
    re.compile(r"(:vpc/)(vpc-\w+)()$"),
    re.compile(r"(:hostedzone/)(\w[\w-]*)()$"),
    re.compile(r"(:(?:listener|listener-rule)/app/[^/]+/)([^/]+/[^/]+)((?:/.*)?)$"),
)


def _shapes(known: Iterable[str]) -> dict[str, str]:
    """The beginnings of the policies' ARNs that have something made up -> what is made up in them."""
    found: dict[str, str] = {}
    for arn in known:
        for pattern in _MADE_UP:
            if parts := pattern.search(arn):
                found[arn[: parts.end(1)]] = parts[2]
    return found


def _canonical(shapes: Mapping[str, str], arn: str) -> str:
    for pattern in _MADE_UP:
        if (parts := pattern.search(arn)) and (made_up := shapes.get(arn[: parts.end(1)])):
            return arn[: parts.start(2)] + made_up + arn[parts.end(2) :]
    return arn


def asked(roles: Roles, call: Call) -> list[Request]:
    """What IAM is asked about `call`, without what is expendable."""
    return [request for request in requests.of(call, roles.stack) if request.action not in EXPENDABLE]


def makers(call: Call) -> tuple[str, ...]:
    """The roles that make such a call: both what a preview asks, which a refresh is a part of; one the rest."""
    previewed = call.phase.startswith(("preview", "refresh"))
    # What is read of a new resource is what a refresh reads of it later.
    read = call.reads and call.phase in ("up", "update", "import") and not _WAITS.fullmatch(call.operation)
    return PARTS if previewed or read else ("deploy",)


def administrators(roles: Roles, call: Call) -> bool:
    """Whether the call changes the roles themselves: neither may, an administrator does."""
    changes = not call.reads or _WAITS.fullmatch(call.operation)
    return bool(changes) and any(_is_own(roles, request.resource) for request in requests.of(call, roles.stack))


def _is_own(roles: Roles, resource: str) -> bool:
    return any(resource == own or resource.startswith(f"{own}-") for own in roles.own)


def refusals(roles: Roles, calls: Iterable[Call]) -> Iterator[Refusal]:
    """What of `calls` the roles that make them would be refused, each once."""
    seen: set[tuple[str, ...]] = set()
    for call in calls:
        try:
            if administrators(roles, call):
                continue
            wanted = asked(roles, call)
        except requests.Incomplete as error:
            yield _refusal("deploy", call, Request(f"{call.service}:{call.operation}", "?"), str(error))
            continue
        for request in wanted:
            for role in makers(call):
                key = (role, call.service, call.operation, request.action, request.resource)
                if key in seen or allowing(roles.statements[role], request):
                    continue
                seen.add(key)
                remedy = _remedy(roles.statements[role], request, "write" if role == "deploy" else "read")
                yield _refusal(role, call, request, remedy)


def _refusal(role: str, call: Call, request: Request, remedy: str) -> Refusal:
    return Refusal(
        role=role,
        phase=call.phase,
        call=f"{call.service} {call.operation}",
        action=request.action,
        resource=request.resource,
        remedy=remedy,
    )


def _remedy(statements: Iterable[Statement], request: Request, kind: str) -> str:
    where = "in components/delivery/rights"
    by_action = [s["Sid"] for s in statements if covers(s, action=request.action)]
    exact = [s["Sid"] for s in statements if covers(s, action=request.action, resource=request.resource)]
    by_resource = [s["Sid"] for s in statements if s["Resource"] != "*" and covers(s, resource=request.resource)]
    if exact:
        context = ", ".join(f"{key} {value}" for key, value in request.context.items()) or "none"
        return f"the condition of {' or '.join(exact)} {where} does not hold; the call has: {context}"
    if by_action:
        return f"{' or '.join(by_action)} {where} has the action on other resources: add this one, or a row for it"
    if by_resource:
        return f"add {request.action} to `{kind}` of {' or '.join(by_resource)} {where}"
    return f"add a row with {request.action} as `{kind}` {where}; if * is not what IAM asks for, mend requests.py first"
