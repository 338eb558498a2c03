"""`adopt`: what of the stack exists in the account already, what a first `up` would change on it, and Pulumi's import
file for it. Only reads.

What the first `up` changes is what Pulumi's own preview says of a copy of the state into which all of it was imported,
by the providers that will carry it out.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import grpc

from components import settings as configuration
from components.account import without_identity
from components.listener import forwards_to, listener_holders, rule_conflicts
from engine.deployment import DeploymentFailed
from machine import output
from operations.target import Target
from policies.registrations import Registration, registrations
from policies.rule import UNKNOWN
from providers import ProviderError, functions, handlers
from providers.aws.task_definitions import find_task_definition

_RULE = "aws:lb/listenerRule:ListenerRule"
_ROLE = "aws:iam/role:Role"
_FAMILY = "aws:ecs/taskDefinition:TaskDefinition"
_LONGEST = 100
"""Characters of a value that are shown."""

_LOST: Mapping[str, tuple[str, str]] = {
    "aws:ecr/repository:Repository": (
        "its images would have to go, the running one among them",
        "copy the images that are needed, then: aws ecr delete-repository --force --repository-name {id}",
    ),
    "aws:cloudwatch/logGroup:LogGroup": (
        "its lines would be deleted",
        "export the lines that are needed, then: aws logs delete-log-group --log-group-name {id}",
    ),
    _ROLE: ("tasks that run would lose their rights", "let the tasks use another role, then delete this one"),
    "aws:lb/targetGroup:TargetGroup": (
        "AWS deletes no group that a rule forwards to",
        "see Deploying, What cannot be adopted, for a way without an outage; or delete its rules and then: "
        "aws elbv2 delete-target-group --target-group-arn {id}",
    ),
    "aws:servicediscovery/service:Service": (
        "AWS deletes none in which tasks are registered",
        "delete it once no ECS service registers there: aws servicediscovery delete-service --id {id}",
    ),
    "aws:ecs/service:Service": (
        "its tasks would be stopped before others start",
        "delete it in a quiet hour (aws ecs delete-service --force), or give the stack's service another name",
    ),
    "aws:sns/topic:Topic": ("its subscriptions would be deleted", "delete it: aws sns delete-topic --topic-arn {id}"),
    "aws:ec2/securityGroup:SecurityGroup": (
        "AWS deletes none that tasks use",
        "name it in securityGroups, so that it is used as it is; or delete it once nothing uses it",
    ),
}
"""Types of which a replacement is not safe: why, and what to do instead. They are left out of the import file."""

_MIND: Mapping[str, str] = {
    "retentionInDays": "older lines are deleted",
    "imageTagMutability": "whoever pushes to a tag that exists is refused from then on",
    "taskDefinition": "ECS starts new tasks, and stops the old ones once the new ones are healthy",
}
"""Property -> what its change brings about."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One value that the first `up` changes."""

    property: str
    """Its path, as in healthCheck.path."""
    before: Any
    after: Any
    """None in place of a value that is removed; `UNKNOWN` for one that only the `up` knows."""
    replaces: bool
    """Whether it cannot be changed in place."""

    def __str__(self) -> str:
        after = "(known at the up)" if self.after == UNKNOWN else _short(self.after)
        return f"{self.property}: {_short(self.before)} -> {after}{' (replaces)' if self.replaces else ''}"


def _short(value: Any) -> str:
    text = "none" if value in (None, "", [], {}) else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


@dataclass(frozen=True, kw_only=True)
class Existing:
    """Something that has the name of one of the stack's resources, and is not in the stack's state."""

    urn: str
    type: str
    name: str
    """The logical name."""
    parent: str
    """The parent's URN."""
    id: str
    """As the provider imports it."""
    differences: tuple[Difference, ...] | None = None
    """None: not known."""
    obstacle: str | None = None
    """Why it cannot be adopted."""
    remedy: str = ""

    @property
    def noun(self) -> str:
        """What it is, as in "target group"."""
        return re.sub(r"(?<!^)([A-Z])", r" \1", self.type.rpartition(":")[2]).lower()

    @property
    def replaced(self) -> bool:
        """Whether the first `up` would replace it."""
        return any(difference.replaces for difference in self.differences or ())

    @property
    def fate(self) -> str:
        """What the first `up` does with it, in two or three words."""
        if self.obstacle:
            return "in the way"
        if self.differences is None:
            return "not known"
        return "replaced" if self.replaced else "changed in place" if self.differences else "as it is"

    @property
    def why(self) -> str:
        """Why a deployment without adoption stops at it."""
        return self.obstacle or "it exists, and a deployment would try to make it once more"


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """Something that belongs to what is adopted, is not declared, and stays."""

    what: str
    why: str
    remedy: str


@dataclass(kw_only=True)
class Survey:
    """What of a stack exists in its account."""

    existing: list[Existing] = field(default_factory=list)
    """What is not in the stack's state, in the order of registration."""
    continued: list[str] = field(default_factory=list)
    """The last revisions of task definitions (`family:number`) behind which the stack's own begin."""
    conflicts: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Listener priorities and addresses that are others': what, where, why, remedy."""
    leftovers: list[Leftover] = field(default_factory=list)
    managed: int = 0
    """Resources that are in the state."""
    new: int = 0
    """Resources whose names are free, or that have none."""
    registered: list[Registration] = field(default_factory=list, repr=False)
    unknown: str = ""
    """Why it is not known what the first `up` changes: Pulumi's preview of it fails. Empty: it is known."""

    @property
    def adoptable(self) -> list[Existing]:
        """What the import file has."""
        return [thing for thing in self.existing if not thing.obstacle]

    @property
    def stops(self) -> bool:
        """Whether something is in the way of a deployment even after the import."""
        return bool(self.conflicts or self.unknown) or len(self.adoptable) < len(self.existing)


class LookUpFailed(grpc.RpcError):  # type: ignore[misc]
    """A provider's error as it reaches the program from the engine, so that the program can catch it."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return str(self)


def survey(target: Target) -> Survey:
    """Look for everything that the stack's program registers and its state has not.

    Raises `OperationError` where the state cannot be read, `estates.EstateError` where the program stops for want of
    its estate, and boto3's errors.
    """
    config = configuration.read_stack_file(target.file)
    known = {entry["urn"] for entry in target.resources}
    found = Survey()
    rules = _own_rules(target, found)
    foreign = _Foreign(target)

    def look_up(token: str, arguments: dict[str, Any]) -> dict[str, Any]:
        answer, _ = functions[token]
        try:
            return answer(target.context, arguments)
        except ProviderError as error:
            raise LookUpFailed(str(error)) from error

    def existing(registration: Registration) -> Mapping[str, Any] | None:
        if registration.urn in known:
            return None
        handler = handlers[registration.type](target.context)
        inputs = {name: value for name, value in registration.inputs.items() if value != UNKNOWN}
        if registration.type == _FAMILY and (revision := find_task_definition(target.context, inputs["family"])):
            found.continued.append(f"{revision['family']}:{revision['revision']}")
        locator = rules.get(registration.name) if registration.type == _RULE else handler.find(inputs)
        actual = handler.read(locator) if locator else None
        if locator is None or actual is None:
            return None
        obstacle, remedy = foreign.obstacle(actual) or (None, f"adopt it: ./ops adopt --stack {target.stack}")
        found.existing.append(
            Existing(
                urn=registration.urn,
                type=registration.type,
                name=registration.name,
                parent=registration.parent,
                id=handler.import_id(locator),
                obstacle=obstacle,
                remedy=remedy,
            )
        )
        return None if obstacle else actual

    found.registered = registrations(config, stack=target.stack, look_up=look_up, existing=existing)
    resources = [registration.urn for registration in found.registered if registration.type in handlers]
    found.existing.sort(key=lambda thing: resources.index(thing.urn))
    found.managed = sum(urn in known for urn in resources)
    found.new = len(resources) - found.managed - len(found.existing)
    if found.adoptable:
        try:
            changed = _first_up(target, config, import_file(found))
        except (LookupError, DeploymentFailed) as error:
            # The program itself refuses, for a conflict that is told as well, or for want of its estate.
            found.unknown = str(error)
        else:
            found.existing = [_compared(thing, changed.get(thing.urn, ())) for thing in found.existing]
    found.leftovers += _policies(target, found)
    return found


def _first_up(target: Target, config: Mapping[str, str], document: dict[str, Any]) -> dict[str, list[Difference]]:
    """URN -> what the first `up` after the import changes, from a preview on a copy of the state.

    Raises `LookupError` where something cannot be imported, and `DeploymentFailed` where the preview fails.
    """
    with tempfile.TemporaryDirectory(prefix="adopt-") as folder:
        copy, file = target.copy(Path(folder) / "stack"), Path(folder) / "import.json"
        file.write_text(json.dumps(document))
        # Who asks is left out for a rehearsal. Stays: the emulated account takes anybody.
        copy.configure(without_identity(config) if target.rehearsed else config)
        copy.take_in(file)
        preview = copy.preview(policies=False)
    return {
        result.urn: [
            Difference(property=path, before=change.before, after=change.after, replaces=change.replaces)
            for path, change in result.changes.items()
        ]
        for result in preview.resources
    }


def _compared(thing: Existing, differences: Sequence[Difference]) -> Existing:
    obstacle, remedy = (thing.obstacle and (thing.obstacle, thing.remedy)) or (
        _unsafe(thing.type, thing.id, differences) or (None, thing.remedy)
    )
    return dataclasses.replace(thing, differences=tuple(differences), obstacle=obstacle, remedy=remedy)


def _unsafe(type_: str, id_: str, changes: Iterable[Difference]) -> tuple[str, str] | None:
    fixed = [difference for difference in changes if difference.replaces]
    if not fixed or type_ not in _LOST:
        return None
    why, remedy = _LOST[type_]
    return f"{', '.join(map(str, fixed))}; {why}", remedy.format(id=id_)


class _Foreign:
    """Tells by its tags what another tool or another stack has made."""

    def __init__(self, target: Target) -> None:
        self._ours = target.settings.own_tags("")

    def obstacle(self, actual: Mapping[str, Any]) -> tuple[str, str] | None:
        tags = actual.get("tags") or {}
        if stack := tags.get("aws:cloudformation:stack-name"):
            return (
                f"CloudFormation stack {stack} manages it",
                "have that stack let go of it (DeletionPolicy: Retain, then remove it there)",
            )
        environment = tags.get("Environment", self._ours["Environment"])
        if tags.get("ManagedBy") == self._ours["ManagedBy"] and environment != self._ours["Environment"]:
            return f"it is of the environment {environment}", "give this stack another namePrefix"
        return None


def _own_rules(target: Target, found: Survey) -> dict[str, str]:
    """Logical name -> ARN of the listener's rules that lead to the stack's own target groups.

    By priority; then one of another priority is taken for the first declared one without any, and moved. What is left
    would go on taking requests.
    """
    settings = target.settings
    public = [service for service in settings.services.values() if service.public]
    if not public or not settings.estate.load_balancer:
        return {}
    elbv2 = target.client("elbv2")
    try:
        (balancer,) = elbv2.describe_load_balancers(Names=[settings.estate.load_balancer])["LoadBalancers"]
    except elbv2.exceptions.LoadBalancerNotFoundException:
        return {}  # The program's own look-ups will say so.
    listeners = elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    listener = next((one["ListenerArn"] for one in listeners if one["Port"] == settings.estate.listener_port), None)
    if listener is None:
        return {}
    taken = listener_holders(elbv2, listener)
    found.conflicts += rule_conflicts(taken, public)
    rules: dict[str, str] = {}
    for service in public:
        own = {rule.priority: rule for rule in taken if forwards_to(rule, service)}
        declared = {rule.priority: f"{service.key}-rule-{n}" for n, rule in enumerate(service.listener_rules, 1)}
        rules |= {name: own.pop(priority).arn for priority, name in declared.items() if priority in own}
        moved = [name for name in declared.values() if name not in rules][: len(own)]
        left = list(own.values())
        rules |= {name: left.pop(0).arn for name in moved}
        found.leftovers += [
            Leftover(
                what=rule.holder,
                why="it leads to the service's target group as well, and is not declared",
                remedy=f"aws elbv2 delete-rule --rule-arn {rule.arn}",
            )
            for rule in left
        ]
    return rules


def _policies(target: Target, found: Survey) -> Iterator[Leftover]:
    """Policies of adopted roles that the program knows nothing of: an import gives no right, and takes none."""
    iam = target.client("iam")
    declared = {
        (registration.inputs.get("role"), registration.inputs.get("policyArn", registration.inputs.get("name")))
        for registration in found.registered
        if registration.type.startswith("aws:iam/rolePolicy")
    }
    for role in (thing.id for thing in found.adoptable if thing.type == _ROLE):
        for page in iam.get_paginator("list_role_policies").paginate(RoleName=role):
            for name in page["PolicyNames"]:
                if (role, name) not in declared:
                    remedy = f"aws iam delete-role-policy --role-name {role} --policy-name {name}"
                    yield Leftover(what=f"policy {name} of role {role}", why="it gives further rights", remedy=remedy)
        for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=role):
            for policy in page["AttachedPolicies"]:
                if (role, policy["PolicyArn"]) not in declared:
                    remedy = f"aws iam detach-role-policy --role-name {role} --policy-arn {policy['PolicyArn']}"
                    what = f"policy {policy['PolicyName']} attached to role {role}"
                    yield Leftover(what=what, why="it gives further rights", remedy=remedy)


def import_file(found: Survey) -> dict[str, Any]:
    """What `pulumi import --file` takes: what can be adopted, below the components that it belongs to.

    https://www.pulumi.com/docs/iac/guides/migration/import/#bulk-import-operations
    """
    components = {r.urn: r for r in found.registered}
    version = metadata.version("pulumi-aws")
    entries: dict[str, dict[str, Any]] = {}

    def parent(urn: str) -> dict[str, str]:
        component = components.get(urn)
        if component is None:
            return {}  # The stack itself.
        above = parent(component.parent)
        name = f"{component.name}-{component.type.rpartition(':')[2]}"  # Components of one service have one name.
        entries[urn] = {
            "type": component.type,
            "name": name,
            "logicalName": component.name,
            "component": True,
            **above,
        }
        return {"parent": name}

    resources = [
        # The version binds it to the provider that the program uses.
        {"type": thing.type, "name": thing.name, "id": thing.id, "version": version, **parent(thing.parent)}
        for thing in found.adoptable
    ]
    return {"resources": [*entries.values(), *resources]}


def write(found: Survey, file: Path) -> None:
    """Write the import file. Raises `NotWritten`."""
    output.write(file, json.dumps(import_file(found), indent=2) + "\n")


def table(found: Survey) -> list[dict[str, str]]:
    """For people: a row for each thing that exists."""
    return [
        {"resource": thing.name, "exists as": thing.id.rpartition(":")[2], "the first up": thing.fate}
        for thing in found.existing
    ]


def changes(thing: Existing) -> Iterator[str]:
    """For people: a line for each value that the first `up` changes; new tags on one line."""
    tags = sorted(d.property.partition(".")[2] for d in thing.differences or () if _is_new_tag(d))
    for difference in thing.differences or ():
        if not _is_new_tag(difference):
            mind = _MIND.get(difference.property)
            yield f"{difference}{f' ({mind})' if mind else ''}"
    if tags:
        yield f"tags: gets {', '.join(tags)}"


def _is_new_tag(difference: Difference) -> bool:
    return difference.property.startswith("tags.") and difference.before is None


def commands(stack: str, file: Path | None, *, rehearsed: bool) -> Sequence[str]:
    """What to do next, in order."""
    if file is None:
        again = " --rehearsal" if rehearsed else ""
        return [f"./ops adopt --stack {stack}{again} --out adopt.json"]
    if rehearsed:
        return [f"./rehearse {stack} --import {file}"]
    return [
        f"pulumi import --stack {stack} --file {file} --protect=false --generate-code=false",
        f"pulumi preview --stack {stack} --diff --policy-pack policies",
        f"pulumi up --stack {stack}",
        f"./ops verify --stack {stack}",
    ]


def document(found: Survey) -> dict[str, Any]:
    """For machines."""
    return {
        "existing": [
            {
                "urn": thing.urn,
                "id": thing.id,
                "fate": thing.fate,
                "obstacle": thing.obstacle,
                "remedy": thing.remedy,
                "differences": [
                    {
                        "property": d.property,
                        "before": d.before,
                        "after": None if d.after == UNKNOWN else d.after,
                        "known": d.after != UNKNOWN,
                        "replaces": d.replaces,
                    }
                    for d in thing.differences or ()
                ],
            }
            for thing in found.existing
        ],
        "unknown": found.unknown,
        "continued": found.continued,
        "conflicts": [
            dict(zip(("what", "where", "why", "remedy"), conflict, strict=True)) for conflict in found.conflicts
        ],
        "leftovers": [vars(leftover) for leftover in found.leftovers],
        "inState": found.managed,
        "new": found.new,
        "import": import_file(found),
    }
