"""CloudWatch alarms."""

from __future__ import annotations

from collections.abc import Iterator

from policies.rule import Resource, Severity, Stack, rule

ALARMS = frozenset({"aws:cloudwatch/metricAlarm:MetricAlarm", "aws:cloudwatch/compositeAlarm:CompositeAlarm"})


@rule(
    id="cloudwatch-alarm-require-action",
    controls=("CloudWatch.15",),
    severity=Severity.HIGH,
    description="Alarms have an action.",
    why="nobody hears of it.",
    remedy="name the topic of its severity in alarmActions.",
    types=ALARMS,
)
def acting(alarm: Resource, _: Stack) -> Iterator[str]:
    # An action that is not known yet is one.
    if alarm.knows("alarmActions") and not len(alarm.get("alarmActions") or ()):
        yield "nothing happens when it goes off"


@rule(
    id="cloudwatch-alarm-enable-actions",
    controls=("CloudWatch.17", "CKV_AWS_319"),
    severity=Severity.HIGH,
    description="Alarms' actions are enabled.",
    why="nobody hears of it.",
    remedy="leave actionsEnabled out.",
    types=ALARMS,
)
def enabled(alarm: Resource, _: Stack) -> Iterator[str]:
    if alarm.get("actionsEnabled") is False:
        yield "its actions are switched off"
