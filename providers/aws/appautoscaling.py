"""Application Auto Scaling, which the emulator has not got."""

from __future__ import annotations

from typing import ClassVar

from providers.base import Handler, Properties, resource

_REASON = "the emulator has no Application Auto Scaling; the number of tasks stays as it is"


class _Recorded(Handler):
    """A resource that is in the state alone."""

    properties = frozenset()
    defaults = {}
    named_by: ClassVar[str] = "name"
    """The input that its id is made of."""

    def create(self, inputs: Properties) -> str:
        return str(inputs[self.named_by])

    def read(self, locator: str) -> Properties | None:
        return {"id": locator, self.named_by: locator}

    def delete(self, locator: str, recorded: Properties) -> None:
        pass


@resource
class Target(_Recorded):
    type = "aws:appautoscaling/target:Target"
    recorded_only = dict.fromkeys(
        ("serviceNamespace", "scalableDimension", "resourceId", "minCapacity", "maxCapacity", "tags"), _REASON
    )
    named_by = "resourceId"


@resource
class Policy(_Recorded):
    type = "aws:appautoscaling/policy:Policy"
    recorded_only = dict.fromkeys(
        (
            "name",
            "policyType",
            "serviceNamespace",
            "scalableDimension",
            "resourceId",
            "targetTrackingScalingPolicyConfiguration",
        ),
        _REASON,
    )


@resource
class ScheduledAction(_Recorded):
    type = "aws:appautoscaling/scheduledAction:ScheduledAction"
    recorded_only = dict.fromkeys(
        (
            "name",
            "serviceNamespace",
            "scalableDimension",
            "resourceId",
            "schedule",
            "timezone",
            "scalableTargetAction",
        ),
        _REASON,
    )
