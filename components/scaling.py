"""How many tasks a service has, and on what capacity: what is registered of its `autoscaling` and `capacity`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import pulumi
import pulumi_aws as aws

from components.estate import Estate
from components.settings import Autoscaling, Capacity, Service

# What Application Auto Scaling calls each metric.
# https://docs.aws.amazon.com/autoscaling/application/userguide/monitoring-cloudwatch.html#predefined-metrics
_METRICS = {
    "cpu": "ECSServiceAverageCPUUtilization",
    "memory": "ECSServiceAverageMemoryUtilization",
    "requests": "ALBRequestCountPerTarget",
}


class Placement(TypedDict, total=False):
    """The inputs of an ECS service that say what its tasks run on; AWS takes a launch type or a strategy."""

    launch_type: str
    """FARGATE, where there is no strategy."""
    capacity_provider_strategies: list[aws.ecs.ServiceCapacityProviderStrategyArgsDict]
    """FARGATE, FARGATE_SPOT or both, each with base and weight."""
    force_new_deployment: bool
    """Whether each change of the service begins a deployment."""


def capacity(wanted: Capacity | None) -> Placement:
    """What tasks run on. None: on demand, by launch type."""
    if wanted is None:
        return {"launch_type": "FARGATE"}
    return {
        "capacity_provider_strategies": [
            {"capacity_provider": provider, "base": base, "weight": weight}
            for provider, base, weight in wanted.strategy
        ],
        # ECS changes a strategy by a new deployment alone, and the provider refuses the change without this.
        "force_new_deployment": True,
    }


def on_spot(tasks: float, strategy: Sequence[tuple[str, float, float]]) -> float:
    """How many of so many tasks run on Spot, on average: those above the base, by weight.

    strategy: capacity provider, base and weight of each; none: all run on demand.
    """
    base = sum(base for _, base, _ in strategy)
    weights = {provider: weight for provider, _, weight in strategy}
    return max(tasks - base, 0) * weights.get("FARGATE_SPOT", 0) / (sum(weights.values()) or 1)


def scale(
    name: str,
    service: Service,
    estate: Estate,
    ecs_service: pulumi.Output[str],
    target_group_arn: pulumi.Output[str] | None,
    tags: Mapping[str, str],
    parent: pulumi.Resource,
) -> None:
    """Registers what changes the number of tasks of a service that has `autoscaling`.

    name: the component's. ecs_service: the ECS service's name. target_group_arn: known once the load balancer forwards
    to the group; None for an internal service.
    """
    wanted, opts = service.autoscaling, pulumi.ResourceOptions(parent=parent)
    assert wanted
    target = aws.appautoscaling.Target(
        f"{name}-scaling",
        service_namespace="ecs",
        scalable_dimension="ecs:service:DesiredCount",
        resource_id=ecs_service.apply(lambda known: f"service/{estate.cluster_name}/{known}"),
        min_capacity=wanted.minimum,
        max_capacity=wanted.maximum,
        tags=tags,
        opts=pulumi.ResourceOptions(parent=parent, ignore_changes=_scheduled(wanted)),
    )
    for metric, value in wanted.tracked.items():
        # That of the CPU was the only one once. With another logical name it would be made anew under its physical
        # name, and then the old one deleted by that name.
        suffix = "" if metric == "cpu" else f"-{metric}"
        tracked: aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecificationArgsDict
        tracked = {"predefined_metric_type": _METRICS[metric]}
        if metric == "requests":
            assert target_group_arn and estate.load_balancer_metric_name  # Settings refuse it without a load balancer.
            tracked["resource_label"] = pulumi.Output.concat(
                estate.load_balancer_metric_name, "/", target_group_arn.apply(lambda arn: arn.rpartition(":")[2])
            )
        aws.appautoscaling.Policy(
            f"{name}-scaling-policy{suffix}",
            name=f"{service.name}-{metric}",
            policy_type="TargetTrackingScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            target_tracking_scaling_policy_configuration={
                "predefined_metric_specification": tracked,
                "target_value": value,
                # More at once, fewer with time: a task that is stopped too early has to be started again.
                "scale_out_cooldown": 60,
                "scale_in_cooldown": 300,
            },
            opts=opts,
        )
    for key, schedule in wanted.schedules.items():
        limits: aws.appautoscaling.ScheduledActionScalableTargetActionArgsDict = {}
        if schedule.minimum:
            limits["min_capacity"] = schedule.minimum
        if schedule.maximum:
            limits["max_capacity"] = schedule.maximum
        aws.appautoscaling.ScheduledAction(
            f"{name}-schedule-{key}",
            name=f"{service.name}-{key}",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            schedule=schedule.schedule,
            timezone=schedule.timezone,
            scalable_target_action=limits,
            opts=opts,
        )


def _scheduled(wanted: Autoscaling) -> list[str]:
    """The target's properties that schedules set, and `up` must not set back."""
    schedules = wanted.schedules.values()
    limits = {
        "minCapacity": any(schedule.minimum for schedule in schedules),
        "maxCapacity": any(schedule.maximum for schedule in schedules),
    }
    return [limit for limit, scheduled in limits.items() if scheduled]
