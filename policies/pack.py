"""The rules as pulumi-policy has them, for the Pulumi engine."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence

from pulumi_policy import EnforcementLevel as Level
from pulumi_policy import (
    Policy,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy import Severity as PulumiSeverity
from pulumi_policy.proxy import UnknownValueError

from components.settings import PolicyException
from policies.enforcement import enforced, levels
from policies.evaluation import Undecided, hold
from policies.rule import STACK, UNKNOWN, Resource, Rule, Stack
from policies.rules import rules

EXCEPTIONS_IN_FORCE = "policy-exceptions-list"
"""Name of the advisory policy that lists the exceptions in force in every preview."""


def pulumi_policies(exceptions: Sequence[PolicyException], today: datetime.date) -> list[Policy]:
    """A policy for each rule, and one that lists the exceptions in force. Raises `EnforcementError`."""

    def listing(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if args.resource_type == STACK:
            for exception in exceptions:
                if exception.expires >= today:
                    report(f"{exception.rule} on {exception.resource}: {exception.terms}", args.urn)

    policies: list[Policy] = [
        ResourceValidationPolicy(
            name=EXCEPTIONS_IN_FORCE,
            description="Exceptions in force are listed.",
            enforcement_level=Level.ADVISORY,
            validate=listing,
        )
    ]
    return policies + [_policy(rule, exceptions, today) for rule in enforced(rules(), levels())]


def _policy(rule: Rule, exceptions: Sequence[PolicyException], today: datetime.date) -> Policy:
    def of_resource(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if args.resource_type in rule.types:
            resource = Resource(args.urn, args.resource_type, args.name, args.props, args.opts.parent or "")
            _run(rule, [resource], Stack([resource], exceptions, today), report)

    def of_stack(args: StackValidationArgs, report: ReportViolation) -> None:
        resources = [_resource(resource) for resource in args.resources]
        _run(rule, resources, Stack(resources, exceptions, today), report)

    kind: Callable[..., Policy] = StackValidationPolicy if rule.whole_stack else ResourceValidationPolicy
    return kind(
        name=rule.id,
        description=rule.description,
        validate=of_stack if rule.whole_stack else of_resource,
        enforcement_level=Level.MANDATORY if rule.stops else Level.ADVISORY,
        severity=PulumiSeverity(rule.severity.value),
        tags=list(rule.controls),
        remediation_steps=rule.remedy,
    )


def _resource(given: PolicyResource) -> Resource:
    return Resource(
        urn=given.urn,
        type=given.resource_type,
        name=given.name,
        properties=given.props,
        parent=given.parent.urn if given.parent else "",
        dependencies=frozenset(dependency.urn for dependency in given.dependencies),
    )


def _run(rule: Rule, resources: Sequence[Resource], stack: Stack, report: ReportViolation) -> None:
    undecided = []
    for finding in hold(rule, resources, stack):
        if isinstance(finding, Undecided):
            undecided.append(f"{finding.resource.name} ({finding.reason})")
        elif not finding.exception:
            report(f"{finding.resource.name}: {rule.message(finding.problem)}", finding.resource.urn)
    if undecided:
        # The one way to say so without failing a mandatory policy; the SDK puts the policy's name before it.
        error = UnknownValueError(UNKNOWN, [])
        error.message = f"not decided at preview for {', '.join(undecided)}; pulumi up decides it"
        raise error
