"""A service's alarms.

Every alarm uses metrics that exist without Container Insights: a service's CPU and memory, the load balancer's, those
of the log filters, and EventBridge's count of stopped tasks. The number of running tasks is the number of samples in
the CPU metric: each task sends one a minute.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cloudwatch-metrics.html
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import pulumi

from components.estate import Estate
from components.names import METRICS
from components.settings import Service, Severity


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alarm:
    """One alarm on one metric."""

    part: str
    """The end of its name."""
    meaning: str
    """What it says, and what to do."""
    severity: Severity
    """Which topic it tells."""
    namespace: str
    """Of the metric."""
    metric: str
    """The metric's name."""
    dimensions: Mapping[str, pulumi.Input[str]]
    """Of the metric, name -> value."""
    second: Mapping[str, pulumi.Input[str]] | None = None
    """Dimensions of the same metric for the second target group of a service whose requests are shifted; what is
    compared is of both together. Default: there is none."""
    statistic: Literal["Average", "Maximum", "Minimum", "Sum", "SampleCount", "p95"]
    """What of a period's values is compared."""
    compare: Literal[
        "GreaterThanThreshold",
        "GreaterThanOrEqualToThreshold",
        "LessThanThreshold",
        "GreaterThanUpperThreshold",
        "LessThanLowerOrGreaterThanUpperThreshold",
    ]
    """The last two: with a band that CloudWatch learns."""
    threshold: float
    """A band's: its half width in standard deviations."""
    periods: int
    """Consecutive periods that must be beyond the threshold."""
    period: int = 60
    """Seconds."""
    missing: Literal["breaching", "notBreaching"]
    """What a period without data counts as."""
    affects_users: bool = False
    """Whether it alone means that users are affected."""

    @property
    def detects_anomalies(self) -> bool:
        """Whether it compares with a band that CloudWatch learns."""
        return "Upper" in self.compare


def of_both(statistic: str, first: str, second: str) -> str:
    """The metric math that makes one value of those of two target groups, which `first` and `second` are the ids of:
    their sum, or of a percentile, which knows none, the larger one. Without data a group has 0."""
    parts = [f"FILL({part}, 0)" for part in (first, second)]
    return f"MAX([{', '.join(parts)}])" if statistic.startswith("p") else " + ".join(parts)


def alarms(
    service: Service, estate: Estate, load_balancer: str | None, target_groups: Sequence[pulumi.Input[str]]
) -> Iterator[Alarm]:
    """A service's alarms. `load_balancer` and `target_groups`: the ends of their ARNs, as metrics name them; None and
    none: it is internal."""
    limits = service.alarms
    # Where no task is wanted, none is missed.
    nobody: Literal["breaching", "notBreaching"] = "breaching" if service.task_range[0] else "notBreaching"
    tasks = {"ClusterName": estate.cluster_name, "ServiceName": f"{service.name}-service"}
    lines = f"./ops logs --service {service.key}"
    for metric, limit in (("CPU", limits.cpu_percent), ("Memory", limits.memory_percent)):
        yield Alarm(
            part=metric.lower(),
            meaning=f"{metric} above {limit} % for five minutes. Give it more, or a second task.",
            severity="warning",
            namespace="AWS/ECS",
            metric=f"{metric}Utilization",
            dimensions=tasks,
            statistic="Average",
            compare="GreaterThanThreshold",
            threshold=limit,
            periods=5,
            missing="notBreaching",  # Without a task there is no data, which another alarm is for.
        )
    yield Alarm(
        part="no-task",
        meaning="No task runs. Runbook: 503 from outside, no task runs.",
        severity="critical",
        namespace="AWS/ECS",
        metric="CPUUtilization",
        dimensions=tasks,
        statistic="SampleCount",
        compare="LessThanThreshold",
        threshold=1,
        periods=2,
        missing=nobody,  # No task, no data.
        affects_users=True,
    )
    yield Alarm(
        part="crash-loop",
        meaning="Tasks stop by themselves again and again. Their reasons: ./ops status.",
        severity="operations",
        namespace="AWS/Events",
        metric="TriggeredRules",
        dimensions={"RuleName": f"{service.name}-stopped"},
        statistic="Sum",
        compare="GreaterThanOrEqualToThreshold",
        threshold=limits.stopped_tasks,
        periods=1,
        period=600,
        missing="notBreaching",  # No task stopped, no data.
    )
    logged: tuple[tuple[str, int, int, str, Severity], ...] = (
        ("errors", limits.errors_per_minute, 2, "errors. Runbook: The log tells of errors.", "operations"),
        (
            "oauth-failures",
            limits.oauth_failures_per_minute,
            2,
            "failed sign-ins. Runbook: People cannot sign in.",
            "warning",
        ),
        (
            "refusals",
            limits.refusals_per_minute,
            2,
            "refusals of clients. Runbook: A client cannot log in.",
            "warning",
        ),
        # One minute is enough: the store is asked only when somebody signs in.
        ("store-failures", 0, 1, "failures of the OAuth store. Is it up? ./ops verify asks it.", "operations"),
    )
    for part, limit, periods, meaning, severity in logged:
        yield Alarm(
            part=part,
            meaning=f"More than {limit} a minute: {meaning} {lines}",
            severity=severity,
            namespace=METRICS,
            metric=f"{service.name}-{part}",
            dimensions={},
            statistic="Sum",
            compare="GreaterThanThreshold",
            threshold=limit,
            periods=periods,
            missing="notBreaching",  # No line, no data.
        )
    if service.oauth_cache:
        yield from _of_cache(service)
    if limits.anomaly_band:
        yield _unusual("memory", "AWS/ECS", "MemoryUtilization", tasks, "Average", limits.anomaly_band)
    if load_balancer is None or not target_groups:
        return
    # With each deployment that shifts requests, the other of two groups has them.
    group, *others = [{"LoadBalancer": load_balancer, "TargetGroup": one} for one in target_groups]
    for alarm in _from_outside(service, group, nobody, lines):
        yield dataclasses.replace(alarm, second=others[0] if others else None)


def _from_outside(
    service: Service,
    group: Mapping[str, pulumi.Input[str]],
    nobody: Literal["breaching", "notBreaching"],
    lines: str,
) -> Iterator[Alarm]:
    """Of what the load balancer sees. nobody: what a lack of tasks counts as. lines: the command that shows the log."""
    limits = service.alarms
    if limits.anomaly_band:
        elb, band = "AWS/ApplicationELB", limits.anomaly_band
        yield _unusual("requests", elb, "RequestCount", group, "Sum", band, either_way=True)
        yield _unusual("response-time", elb, "TargetResponseTime", group, "p95", band)
    yield Alarm(
        part="unhealthy-targets",
        meaning="A target does not answer its health checks. Runbook: Targets are unhealthy.",
        severity="operations",
        namespace="AWS/ApplicationELB",
        metric="UnHealthyHostCount",
        dimensions=group,
        statistic="Maximum",
        compare="GreaterThanOrEqualToThreshold",
        threshold=1,
        periods=2,
        missing="notBreaching",  # No target, no data, which another alarm is for.
    )
    yield Alarm(
        part="no-healthy-target",
        meaning="The load balancer has no healthy target. Runbook: Targets are unhealthy.",
        severity="critical",
        namespace="AWS/ApplicationELB",
        metric="HealthyHostCount",
        dimensions=group,
        statistic="Minimum",
        compare="LessThanThreshold",
        threshold=1,
        periods=2,
        missing=nobody,  # No target, no data.
        affects_users=True,
    )
    yield Alarm(
        part="server-errors",
        meaning=f"More than {limits.server_errors_per_minute} answers of 5xx a minute. {lines}",
        severity="operations",
        namespace="AWS/ApplicationELB",
        metric="HTTPCode_Target_5XX_Count",
        dimensions=group,
        statistic="Sum",
        compare="GreaterThanThreshold",
        threshold=limits.server_errors_per_minute,
        periods=2,
        missing="notBreaching",  # No such answer, no data.
        affects_users=True,
    )
    yield Alarm(
        part="unreachable",
        # The load balancer's own 502 and 504 are counted for all its services together, so not they.
        meaning=f"More than {limits.server_errors_per_minute} connections to a target a minute failed, each a 502 or "
        f"504 for somebody. Runbook: Targets are unhealthy. {lines}",
        severity="operations",
        namespace="AWS/ApplicationELB",
        metric="TargetConnectionErrorCount",
        dimensions=group,
        statistic="Sum",
        compare="GreaterThanThreshold",
        threshold=limits.server_errors_per_minute,
        periods=2,
        missing="notBreaching",  # No such failure, no data.
        affects_users=True,
    )
    yield Alarm(
        part="slow",
        meaning=f"One request in twenty takes more than {limits.response_seconds:g} s. Google, or too few CPU units?",
        severity="warning",
        namespace="AWS/ApplicationELB",
        metric="TargetResponseTime",
        dimensions=group,
        statistic="p95",
        compare="GreaterThanThreshold",
        threshold=limits.response_seconds,
        periods=5,
        missing="notBreaching",  # No request, no data.
    )


def _of_cache(service: Service) -> Iterator[Alarm]:
    """Of the first node of a cache that is made, which has what all of them have."""
    node = {"CacheClusterId": f"{service.oauth_store}-001"}
    larger = "Give it a larger oauth.state.cache.nodeType."
    yield Alarm(
        part="cache-memory",
        meaning=f"OAuth state takes more than 80 % of its cache for five minutes. {larger}",
        severity="warning",
        namespace="AWS/ElastiCache",
        metric="DatabaseMemoryUsagePercentage",
        dimensions=node,
        statistic="Maximum",
        compare="GreaterThanThreshold",
        threshold=80,
        periods=5,
        missing="notBreaching",  # No cache, no data, of which store-failures tells.
    )
    yield Alarm(
        part="cache-evictions",
        meaning=f"The cache is full: it forgets sign-ins that were not used for longest. {larger}",
        severity="operations",
        namespace="AWS/ElastiCache",
        metric="Evictions",
        dimensions=node,
        statistic="Sum",
        compare="GreaterThanThreshold",
        threshold=0,
        periods=1,
        missing="notBreaching",
    )


def _unusual(
    what: str,
    namespace: str,
    metric: str,
    dimensions: Mapping[str, pulumi.Input[str]],
    statistic: Literal["Average", "Sum", "p95"],
    band: float,
    *,
    either_way: bool = False,
) -> Alarm:
    words = "More or fewer" if either_way else "More"
    return Alarm(
        part=f"unusual-{what}",
        meaning=f"{words} {what.replace('-', ' ')} than is usual at this hour. Look at the dashboard: since when?",
        severity="warning",
        namespace=namespace,
        metric=metric,
        dimensions=dimensions,
        statistic=statistic,
        compare="LessThanLowerOrGreaterThanUpperThreshold" if either_way else "GreaterThanUpperThreshold",
        threshold=band,
        periods=3,
        period=300,
        missing="notBreaching",  # Nights without a request are usual; without a task another alarm goes off.
    )
