"""How a new version takes the place of the one before, and what takes it back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from pydantic import Field

from components.settings.model import Model

RollbackAlarm = Literal["server-errors", "unhealthy-targets", "unreachable"]
ROLLBACK_ALARMS: tuple[RollbackAlarm, ...] = get_args(RollbackAlarm)
"""Those of a service's alarms that may take a deployment back: what tasks do wrong of themselves. None counts answers
of 4xx, with one of which every sign-in begins."""

Strategy = Literal["rolling", "canary", "linear", "blueGreen"]

LONGEST_SHIFT = 30
"""Minutes that a strategy may wait in all: `pulumi up` waits as long, and the pipeline's credentials end in an hour."""

_UNHEALTHY_ALARM = 2 * 60
"""Seconds that a target is unhealthy before the alarm `unhealthy-targets` goes off."""

_OF: dict[str, Strategy] = {
    "canary_percent": "canary",
    "canary_minutes": "canary",
    "step_percent": "linear",
    "step_minutes": "linear",
}
"""Field -> the strategy that it is for."""

Minutes = Annotated[int, Field(ge=0, le=LONGEST_SHIFT)]


class Deployment(Model):
    """How a new version takes the place of the one before: its tasks beside the old ones, which go once it is healthy.
    ECS goes back by itself where tasks do not start or do not become healthy, and where an alarm goes off."""

    strategy: Strategy = "rolling"
    """How requests come to the new tasks. `rolling`: as each becomes healthy. The others start all new tasks first, and
    then shift the requests: `blueGreen` all at once, `canary` a few percent first, `linear` in equal steps; they are
    for a service with one listener rule. Default rolling."""
    bake_minutes: Minutes = 5
    """Minutes for which the old tasks stay beside the new ones once all requests go to these, so that an alarm can take
    them back at once. Not for rolling. Default 5."""
    canary_percent: Annotated[float, Field(ge=0.1, le=99.9, multiple_of=0.1)] = 10
    """Percent of the requests that new tasks of a canary get first. Default 10."""
    canary_minutes: Minutes = 10
    """Minutes until they get the others too. Default 10."""
    step_percent: Annotated[float, Field(ge=3, le=99.9, multiple_of=0.1)] = 25
    """Percent of the requests that new tasks get more of with each step of `linear`. Default 25."""
    step_minutes: Minutes = 5
    """Minutes between two steps. Default 5."""
    rollback_alarms: list[RollbackAlarm] = list(ROLLBACK_ALARMS)
    """Alarms that take a deployment back if they go off while it is under way or in the minutes after, which ECS makes
    of their periods. They are those of `alarms`: made where the stack has `monitoring` and the service is reached from
    outside. Default: all three. []: none, only tasks that do not start."""

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        for field, strategy in _OF.items():
            if field in self.model_fields_set and self.strategy != strategy:
                yield (field, "strategy"), f"is for strategy {strategy}, and this one is {self.strategy}; remove it"
        if "bake_minutes" in self.model_fields_set and not self.shifts:
            yield (
                ("bake_minutes", "strategy"),
                "is for canary, linear and blueGreen: rolling leaves no old task beside the new ones; remove it",
            )
        if self.minutes > LONGEST_SHIFT:
            yield (
                ("strategy",),
                f"{self.strategy} waits {self.minutes} minutes in all, and pulumi up with it, whose credentials end in "
                f"an hour; shorten its minutes to {LONGEST_SHIFT} together",
            )

    @property
    def shifts(self) -> bool:
        """Whether requests are shifted from one target group to another, once all new tasks are there."""
        return self.strategy != "rolling"

    @property
    def minutes(self) -> int:
        """Minutes that a deployment waits by its strategy, beside what tasks take to start and to stop."""
        waits = {
            "canary": self.canary_minutes,
            # After the last step nothing is waited for but the bake time.
            "linear": (math.ceil(100 / self.step_percent) - 1) * self.step_minutes,
        }
        return waits.get(self.strategy, 0) + self.bake_minutes if self.shifts else 0

    @property
    def names_alarms(self) -> bool:
        """Whether the configuration asks for alarms, rather than taking those that there are."""
        return "rollback_alarms" in self.model_fields_set and bool(self.rollback_alarms)


def seconds_to_unhealthy(interval: int, unhealthy_threshold: int) -> int:
    """Seconds after a task's start at which the alarm `unhealthy-targets` goes off at the earliest, if the task answers
    no check: the load balancer does not know of a grace period."""
    return interval * unhealthy_threshold + _UNHEALTHY_ALARM
