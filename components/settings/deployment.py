"""How a new version takes the place of the one before, and what takes it back."""

from __future__ import annotations

from typing import Literal, get_args

from components.settings.model import Model

RollbackAlarm = Literal["server-errors", "unhealthy-targets", "unreachable"]
ROLLBACK_ALARMS: tuple[RollbackAlarm, ...] = get_args(RollbackAlarm)
"""Those of a service's alarms that may take a deployment back: what tasks do wrong of themselves. None counts answers
of 4xx, with one of which every sign-in begins."""

_UNHEALTHY_ALARM = 2 * 60
"""Seconds that a target is unhealthy before the alarm `unhealthy-targets` goes off."""


class Deployment(Model):
    """How a new version takes the place of the one before: its tasks beside the old ones, which go once it is healthy.
    ECS goes back by itself where tasks do not start or do not become healthy, and where an alarm goes off."""

    rollback_alarms: list[RollbackAlarm] = list(ROLLBACK_ALARMS)
    """Alarms that take a deployment back if they go off while it is under way or in the minutes after, which ECS makes
    of their periods. They are those of `alarms`: made where the stack has `monitoring` and the service is reached from
    outside. Default: all three. []: none, only tasks that do not start."""

    @property
    def names_alarms(self) -> bool:
        """Whether the configuration asks for alarms, rather than taking those that there are."""
        return "rollback_alarms" in self.model_fields_set and bool(self.rollback_alarms)


def seconds_to_unhealthy(interval: int, unhealthy_threshold: int) -> int:
    """Seconds after a task's start at which the alarm `unhealthy-targets` goes off at the earliest, if the task answers
    no check: the load balancer does not know of a grace period."""
    return interval * unhealthy_threshold + _UNHEALTHY_ALARM
