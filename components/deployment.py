"""What takes a deployment back: a service's own alarms, as ECS watches them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.names import alarm_name
from components.settings import ROLLBACK_ALARMS, RollbackAlarm, Service


def watched_alarms(service: Service, wanted: Sequence[RollbackAlarm]) -> dict[str, Any]:
    """The input `alarms` of the ECS service: which alarms take a deployment back.

    The alarms are named and not depended upon. They come after the service, so a first deployment has none that could
    go off. ECS takes names of alarms that are not there yet; AWS's own CDK makes them in this order too:
    https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.aws_ecs.AlarmBehavior.html

    Where none is wanted, it is said all the same, and with names: the provider sends nothing where the input goes, so
    that ECS would go on watching, and AWS takes no empty list.
    """
    return {
        "enable": bool(wanted),
        "rollback": bool(wanted),
        "alarm_names": sorted({alarm_name(service, part) for part in wanted or ROLLBACK_ALARMS}),
    }
