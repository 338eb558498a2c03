"""Holds registered resources to the rules, in-process."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from pulumi_policy.proxy import UnknownValueError

from components.settings import PolicyException
from policies.enforcement import enforced, levels
from policies.rule import STACK, Registered, Resource, Rule, Stack
from policies.rules import rules


@dataclasses.dataclass(frozen=True)
class Violation:
    """A rule that a resource breaks."""

    rule: Rule
    resource: Resource = dataclasses.field(repr=False)
    problem: str
    exception: PolicyException | None = None
    """The exception in force that allows it."""


@dataclasses.dataclass(frozen=True)
class Undecided:
    """A rule that needs a value which is not known yet."""

    rule: Rule
    resource: Resource = dataclasses.field(repr=False)
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """What holding a stack's resources to the rules showed."""

    resources: int
    """Number of resources checked."""
    rules: int
    """Number of rules that they were held to."""
    violations: tuple[Violation, ...]
    """Not allowed by any exception."""
    excepted: tuple[Violation, ...]
    """Allowed by an exception in force."""
    undecided: tuple[Undecided, ...]
    """To be decided by `pulumi up`, when the values are known."""
    exceptions: tuple[PolicyException, ...]
    """In force, whether needed or not."""

    @property
    def stops(self) -> bool:
        """Whether a deployment is stopped."""
        return any(violation.rule.stops for violation in self.violations)

    def lines(self) -> Iterator[str]:
        """The report, for people."""
        by_rule = sorted(self.violations, key=lambda v: (not v.rule.stops, v.rule.id, v.problem))
        for (rule, problem), group in groupby(by_rule, key=lambda v: (v.rule, v.problem)):
            effect = "stops" if rule.stops else "advises"
            yield f"{effect}  {rule.id} ({rule.severity.value}): {rule.description}"
            yield f"       on {', '.join(violation.resource.name for violation in group)}"
            yield f"       {rule.message(problem)}"
        for undecided in self.undecided:
            yield f"not decided at preview  {undecided.rule.id} on {undecided.resource.name}: {undecided.reason}"
        for exception in self.exceptions:
            yield f"exception  {exception.rule} on {exception.resource}: {exception.terms}"
        yield (
            f"{self.resources} resources, {self.rules} rules: {len(self.violations)} violations, "
            f"{len(self.excepted)} allowed by {len(self.exceptions)} exceptions, {len(self.undecided)} not decided"
        )


def evaluate(
    resources: Iterable[Registered],
    exceptions: Sequence[PolicyException] = (),
    today: datetime.date | None = None,
    *,
    hold_to: Sequence[Rule] | None = None,
) -> Findings:
    """Hold resources to the rules (`hold_to`: to these alone). `today` decides which exceptions are in force.

    Raises `EnforcementError`.
    """
    today = today or datetime.datetime.now(tz=datetime.UTC).date()
    held_to = enforced(rules(), levels()) if hold_to is None else hold_to
    registered = [Resource.of(resource) for resource in resources]
    if not any(resource.type == STACK for resource in registered):
        # The engine registers it; the monitors that record a program's registrations leave it out.
        registered.insert(0, Resource(urn="", type=STACK, name="stack", properties={}))
    stack = Stack(registered, exceptions, today)
    found = [finding for rule in held_to for finding in hold(rule, registered, stack)]
    violations = [finding for finding in found if isinstance(finding, Violation)]
    return Findings(
        resources=len(registered),
        rules=len(held_to),
        violations=tuple(violation for violation in violations if not violation.exception),
        excepted=tuple(violation for violation in violations if violation.exception),
        undecided=tuple(finding for finding in found if isinstance(finding, Undecided)),
        exceptions=tuple(stack.exceptions_in_force),
    )


def hold(rule: Rule, resources: Iterable[Resource], stack: Stack) -> Iterator[Violation | Undecided]:
    """Hold resources to one rule. An exception also covers what is not decided yet."""
    for resource in resources:
        if resource.type not in rule.types:
            continue
        exception = next((e for e in stack.exceptions_in_force if e.covers(rule.id, resource.name)), None)
        try:
            for problem in rule.check(resource, stack):
                yield Violation(rule, resource, problem, exception)
        except (UnknownValueError, ValueError) as error:
            if not exception:
                yield Undecided(rule, resource, error.message if isinstance(error, UnknownValueError) else str(error))
