"""Alarms that take a deployment back: how ECS is told of a service's own, and which of them did it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pulumi_aws as aws

from components.names import alarm_name
from components.settings import ROLLBACK_ALARMS, RollbackAlarm, Service

_FAILED = ("STOPPED", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED")
"""Statuses of a service deployment that did not come to its end."""


def watched_alarms(service: Service, wanted: Sequence[RollbackAlarm]) -> aws.ecs.ServiceAlarmsArgsDict:
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


def last_failed(ecs: Any, cluster: str, service: str) -> dict[str, Any] | None:
    """The last deployment of `service` that did not come to its end, as ListServiceDeployments tells it; None: none.

    ecs: a boto3 client, whose errors are raised. DescribeServices forgets a deployment soon after it was rolled back;
    service deployments are kept for 90 days.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html
    """
    listed = ecs.list_service_deployments(cluster=cluster, service=service, status=list(_FAILED), maxResults=1)
    return next(iter(listed["serviceDeployments"]), None)


def triggered(client: Callable[[str], Any], cluster: str, service: str) -> dict[str, str]:
    """The alarms, name -> meaning, that took back the last deployment of `service` that failed; none: something else.

    client: gives a boto3 client by service name. Raises boto3's errors. DescribeServices names no alarm; service
    deployments do.
    """
    ecs = client("ecs")
    failed = last_failed(ecs, cluster, service)
    arns = [failed["serviceDeploymentArn"]] if failed else []
    described = ecs.describe_service_deployments(serviceDeploymentArns=arns)["serviceDeployments"] if arns else []
    names = [name for one in described for name in one.get("alarms", {}).get("triggeredAlarmNames", [])]
    if not names:
        return {}
    alarms = client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    meanings = {alarm["AlarmName"]: alarm.get("AlarmDescription", "") for alarm in alarms}
    return {name: meanings.get(name) or "it is gone since" for name in names}
