"""The exceptions from the other rules."""

from __future__ import annotations

from collections.abc import Iterator

from components.settings import ISSUER_KEPT
from policies.rule import STACK, Resource, Severity, Stack, rule


@rule(
    id="policy-exception-renew",
    severity=Severity.HIGH,
    description="Exceptions name a rule and have not expired.",
    why="what was to be allowed for a time would be allowed for ever.",
    remedy="mend what the exception allowed and remove it from policyExceptions, or let its owner set a new date.",
    types=frozenset({STACK}),
)
def in_order(_: Resource, stack: Stack) -> Iterator[str]:
    from policies.rules import rules  # here: the list of rules has this one

    names = {rule.id for rule in rules()} | {ISSUER_KEPT}
    for exception in stack.exceptions:
        if exception.expires < stack.today:
            yield (
                f"the exception from {exception.rule} on {exception.resource} ({exception.owner}) "
                f"expired on {exception.expires}"
            )
        if exception.rule not in names:
            yield f"there is an exception from {exception.rule}, and no such rule"
