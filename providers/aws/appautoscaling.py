"""Application Auto Scaling, which the emulator has not got."""

from __future__ import annotations

from providers.base import Handler, Properties, resource

_REASON = "the emulator has no Application Auto Scaling; the number of tasks stays as it is"


@resource
class Target(Handler):
    type = "aws:appautoscaling/target:Target"
    properties = frozenset()
    recorded_only = dict.fromkeys(
        ("serviceNamespace", "scalableDimension", "resourceId", "minCapacity", "maxCapacity", "tags"), _REASON
    )
    defaults = {}

    def create(self, inputs: Properties) -> str:
        return str(inputs["resourceId"])

    def read(self, locator: str) -> Properties | None:
        return {"id": locator, "resourceId": locator}

    def delete(self, locator: str, recorded: Properties) -> None:
        pass


@resource
class Policy(Handler):
    type = "aws:appautoscaling/policy:Policy"
    properties = frozenset()
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
    defaults = {}

    def create(self, inputs: Properties) -> str:
        return str(inputs["name"])

    def read(self, locator: str) -> Properties | None:
        return {"id": locator, "name": locator}

    def delete(self, locator: str, recorded: Properties) -> None:
        pass


@resource
class ScheduledAction(Handler):
    type = "aws:appautoscaling/scheduledAction:ScheduledAction"
    properties = frozenset()
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
    defaults = {}

    def create(self, inputs: Properties) -> str:
        return str(inputs["name"])

    def read(self, locator: str) -> Properties | None:
        return {"id": locator, "name": locator}

    def delete(self, locator: str, recorded: Properties) -> None:
        pass
