"""The edge's targets: their health in AWS's words, and the listener's table that names them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from rehearsal.listener import Shape

CHANGES = "/_rehearsal/load-balancers"
"""Where the emulated account says the version of its rules and targets, and waits for another one."""


@dataclass
class Health:
    """A target's state in AWS's words (page target-group-health-checks, "Health check reason codes")."""

    state: str = "initial"
    reason: str | None = "Elb.RegistrationInProgress"
    description: str | None = "Target registration is in progress"
    streak: int = 0
    """Passed checks in a row; failed ones are negative."""

    def record(self, failure: tuple[str, str] | None, *, healthy: int, unhealthy: int) -> None:
        """Take in one check: None if it passed, else reason and description.

        `healthy` and `unhealthy` are the group's thresholds, in checks; a new target needs one passed check.
        """
        if failure is None:
            self.streak = max(self.streak, 0) + 1
            if self.state != "unhealthy" or self.streak >= healthy:
                self.state, self.reason, self.description = "healthy", None, None
        else:
            self.streak = min(self.streak, 0) - 1
            if self.state == "unhealthy" or -self.streak >= unhealthy:
                self.state, (self.reason, self.description) = "unhealthy", failure
            elif self.state == "initial":
                self.reason = "Elb.InitialHealthChecking"
                self.description = "Initial health checks in progress"


@dataclass(eq=False)
class Target:
    """One address registered with one target group."""

    group_arn: str
    id: str
    """An IP address."""
    port: int
    scheme: str
    """"http" or "https"."""
    health: Health = field(default_factory=Health)
    in_flight: int = 0
    last_used: int = 0
    checks: asyncio.Task[None] | None = None

    @property
    def draining(self) -> bool:
        return self.health.state == "draining"

    def described(self) -> dict[str, Any]:
        health = self.health
        return {
            "target": self.id,
            "port": self.port,
            "state": health.state,
            "reason": health.reason,
            "description": health.description,
        }

    def drain(self) -> None:
        """Deregistered: no more checks, no new requests."""
        if self.checks:
            self.checks.cancel()
        reason = "Target.DeregistrationInProgress", "Target deregistration is in progress"
        self.health = Health("draining", *reason)


def expected(status: int, matcher: str) -> bool:
    """Whether a status satisfies a group's matcher: "200", "200,202" or "200-299"."""
    bounds = (part.partition("-") for part in matcher.split(","))
    return any(int(low) <= status <= int(high or low) for low, _, high in bounds)


@dataclass(frozen=True)
class Table:
    """The listener as last read: its rules, and their target groups' settings and registered addresses."""

    rules: list[Shape]
    groups: dict[str, Shape]
    registered: dict[str, set[tuple[str, int]]]
