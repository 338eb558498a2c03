"""What a rule is, and what it sees: registered resources, whose properties may be unknown at preview."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError, unknown_checking_proxy

from components.settings import PolicyException

UNKNOWN = UNKNOWN_STRING_VALUE
"""Stands for a property's value that is not known yet. Reading it from a `Resource` raises `UnknownValueError`."""

STACK = "pulumi:pulumi:Stack"
SERVICE_COMPONENT = "mcp-on-ecs:index:McpService"
"""Registers its `containerDefinitions` also where the task definition's are not known yet for want of a digest."""


class Registered(Protocol):
    """A registered resource, as the rehearsal's driver and `policies.registrations` record it."""

    @property
    def urn(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def parent(self) -> str: ...
    @property
    def inputs(self) -> Mapping[str, Any]: ...
    @property
    def dependencies(self) -> Iterable[str]: ...


@dataclasses.dataclass(frozen=True)
class Resource:
    """A resource under Pulumi's names. Reading an unknown property raises `UnknownValueError`."""

    urn: str
    type: str
    name: str
    """The logical name."""
    properties: Mapping[str, Any]
    """Mappings and sequences that check for unknown values on access."""
    parent: str = ""
    """URN, or empty."""
    dependencies: frozenset[str] = frozenset()
    """URNs of the resources that it waits for."""

    @classmethod
    def of(cls, registered: Registered) -> Resource:
        """From a registration with plain inputs, in which `UNKNOWN` stands for what is unknown."""
        return cls(
            urn=registered.urn,
            type=registered.type,
            name=registered.name,
            properties=unknown_checking_proxy(dict(registered.inputs)),
            parent=registered.parent,
            dependencies=frozenset(registered.dependencies),
        )

    def get(self, *path: str | int) -> Any:
        """The value at a path of keys and indices, or None where there is none; `boolean` where it is text."""
        value: Any = self.properties
        for step in path:
            if isinstance(step, int):
                value = value[step] if _is_list(value) and len(value) > step else None
            else:
                value = value.get(step) if isinstance(value, Mapping) else None
        return boolean(value)

    def number(self, *path: str | int) -> float | None:
        """The number at a path, which Pulumi also takes as text. Raises ValueError for what is none."""
        value = self.get(*path)
        return None if value is None else float(str(value))

    def items(self, *path: str | int) -> list[Any]:
        """The list at a path; empty where there is none."""
        value = self.get(*path)
        return [value[index] for index in range(len(value))] if _is_list(value) else []

    def document(self, name: str) -> Any:
        """The JSON text of a property, parsed; None where there is none. Raises ValueError for what is no JSON."""
        text = self.get(name)
        return json.loads(text) if isinstance(text, str) else text

    def knows(self, name: str) -> bool:
        """Whether the property's value is known (also when there is none)."""
        try:
            self.get(name)
        except UnknownValueError:
            return False
        return True


_BOOLEANS = {"true": True, "false": False}


def boolean(value: Any) -> Any:
    """True or False for the words, which Pulumi takes as well; any other value as it is."""
    return _BOOLEANS.get(value.lower(), value) if isinstance(value, str) else value


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


@dataclasses.dataclass(frozen=True)
class Stack:
    """All resources together. For a rule that looks at one resource alone it holds that one."""

    resources: Sequence[Resource]
    exceptions: Sequence[PolicyException]
    today: datetime.date

    @functools.cached_property
    def exceptions_in_force(self) -> list[PolicyException]:
        return [exception for exception in self.exceptions if exception.expires >= self.today]

    @functools.cached_property
    def by_urn(self) -> dict[str, Resource]:
        return {resource.urn: resource for resource in self.resources}

    @functools.cached_property
    def _dependents(self) -> dict[str, list[Resource]]:
        found: dict[str, list[Resource]] = {}
        for resource in self.resources:
            for urn in resource.dependencies:
                found.setdefault(urn, []).append(resource)
        return found

    def needs(self, resource: Resource, type_: str) -> list[Resource]:
        """The resources of a type that `resource` waits for, directly."""
        found = (self.by_urn.get(urn) for urn in sorted(resource.dependencies))
        return [other for other in found if other and other.type == type_]

    def dependents(self, resource: Resource, type_: str) -> list[Resource]:
        """The resources of a type that wait for `resource`, directly."""
        return [other for other in self._dependents.get(resource.urn, []) if other.type == type_]


class Severity(enum.Enum):
    """How bad a violation is."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


Check = Callable[[Resource, Stack], Iterator[str]]
"""Yields what is wrong with a resource, one text a fault, without values that might be secret."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule on resources of some types."""

    id: str
    """`<service>-<resource>-<verb>...`; what exceptions and the pack's configuration call it."""
    severity: Severity
    description: str
    """What must be so, in a sentence."""
    why: str
    """What happens otherwise."""
    remedy: str
    """What to write instead; configuration keys are those of the stack, `<service>` a service's key."""
    types: frozenset[str]
    check: Check = dataclasses.field(repr=False)
    controls: tuple[str, ...] = ()
    """What it stands for: AWS Foundational Security Best Practices (ECS.5), checkov (CKV_AWS_336), cfn-lint (E3047)."""
    whole_stack: bool = False
    """Whether `check` looks at other resources too; then it runs when all are registered."""
    enforced: bool | None = None
    """Whether a violation stops a deployment. Default: a critical or high one does."""

    @property
    def stops(self) -> bool:
        """Whether a violation stops a deployment."""
        return self.severity in (Severity.CRITICAL, Severity.HIGH) if self.enforced is None else self.enforced

    def message(self, problem: str) -> str:
        """What a user reads below the description."""
        return f"{problem[:1].upper()}{problem[1:]}. Why: {self.why} Do: {self.remedy}"


def rule(
    *,
    id: str,
    severity: Severity,
    description: str,
    why: str,
    remedy: str,
    types: frozenset[str],
    controls: tuple[str, ...] = (),
    whole_stack: bool = False,
) -> Callable[[Check], Rule]:
    """Makes a `Rule` of the check below, which is then found by being in a module of `policies/rules/`."""

    def of(check: Check) -> Rule:
        return Rule(
            id=id,
            severity=severity,
            description=description,
            why=why,
            remedy=remedy,
            types=types,
            check=check,
            controls=controls,
            whole_stack=whole_stack,
        )

    return of
