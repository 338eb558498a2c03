"""CloudWatch alarms."""

from __future__ import annotations

from collections.abc import Iterator

from policies.rule import Resource, Rule, Severity, Stack

ALARMS = frozenset({"aws:cloudwatch/metricAlarm:MetricAlarm", "aws:cloudwatch/compositeAlarm:CompositeAlarm"})


def _acting(alarm: Resource, _: Stack) -> Iterator[str]:
    # An action that is not known yet is one.
    if alarm.knows("alarmActions") and not len(alarm.get("alarmActions") or ()):
        yield "nothing happens when it goes off"


def _enabled(alarm: Resource, _: Stack) -> Iterator[str]:
    if alarm.get("actionsEnabled") is False:
        yield "its actions are switched off"


RULES = (
    Rule(
        name="cloudwatch-alarm-require-action",
        ids=("CloudWatch.15",),
        severity=Severity.HIGH,
        description="Alarms have an action.",
        why="nobody hears of it.",
        remedy="name the topic of its severity in alarmActions.",
        types=ALARMS,
        check=_acting,
    ),
    Rule(
        name="cloudwatch-alarm-enable-actions",
        ids=("CloudWatch.17", "CKV_AWS_319"),
        severity=Severity.HIGH,
        description="Alarms' actions are enabled.",
        why="nobody hears of it.",
        remedy="leave actionsEnabled out.",
        types=ALARMS,
        check=_enabled,
    ),
)
