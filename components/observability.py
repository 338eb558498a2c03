"""Watching a service: metric filters, alarms, a dashboard, saved log queries, and what ECS does to its tasks.

Every alarm uses metrics that exist without Container Insights: a service's CPU and memory, the load balancer's, those
of the log filters, and EventBridge's count of stopped tasks. The number of running tasks is the number of samples in
the CPU metric: each task sends one a minute.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cloudwatch-metrics.html
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pulumi
import pulumi_aws as aws

from components.estate import Estate
from components.names import METRICS
from components.notifications import message
from components.routing import Routing
from components.service import McpService, log_group_name
from components.settings import Service, Severity, Topic

TERMS: dict[str, tuple[str, ...]] = {
    # The server writes `[ERROR] ...` or the name of a part, and what follows in red (critical: in magenta); its
    # libraries write `ERROR: ...` and `ERROR:    ...`.
    "errors": ("[ERROR]", "[CRITICAL]", "ERROR: ", "CRITICAL: ", "[31m", "[35m"),
    # What a person sees who comes back from Google and is not let in, or has to sign in again.
    "oauth-failures": (
        "IdP callback",
        "IdP token exchange failed",
        "OAuth token refresh failed",
        "Refresh token not found",
        "Error handling auth callback",
    ),
    # The shared store of registrations and codes, and the server's own question to it.
    "store-failures": (
        "OAuth storage",
        "StoreSetupError",
        "Failed to store token session",
        "Error storing credentials",
    ),
}
"""Texts of which a line must contain one, by metric. A 401 on /mcp writes no line at all: every client begins with
one."""


def filter_pattern(part: str, log_format: Literal["text", "json"]) -> str:
    """The metric filter of a part of `TERMS`.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
    """
    if log_format == "text":
        return " ".join(f'?"{term}"' for term in TERMS[part])
    if part == "errors":
        tests = ['$.level = "ERROR"', '$.level = "CRITICAL"']
    else:
        tests = [f'$.{field} = "*{term}*"' for term in TERMS[part] for field in ("message", "exception")]
    return "{ " + " || ".join(f"({test})" for test in tests) + " }"


ERROR_LINE = r'\[(ERROR|CRITICAL)\]|(ERROR|CRITICAL):|\[3[15]m|"level": "(ERROR|CRITICAL)"'
"""Regular expression of a line that tells of an error, in either format."""

QUERIES: dict[str, str] = {
    "errors": "fields @timestamp, @logStream, @message\n"
    f"| filter @message like /{ERROR_LINE}/\n"
    "| sort @timestamp desc\n| limit 100",
    "errors by kind": "fields @message\n"
    f"| filter @message like /{ERROR_LINE}/\n"
    # A line that is JSON begins with its time.
    "| stats count(*) as lines by substr(coalesce(message, @message), 0, 80) as kind\n| sort lines desc",
    "sign-ins that failed": "fields @timestamp, @message\n"
    "| filter @message like /IdP callback|IdP token exchange|token refresh|Refresh token|auth callback/\n"
    "| sort @timestamp desc\n| limit 100",
    "refused origins": "fields @timestamp, @message\n"
    "| filter @message like /Rejected HTTP request from Origin/\n"
    "| stats count(*) as requests by coalesce(message, @message) as origin\n| sort requests desc",
    "last lines of each task": "fields @timestamp, @logStream, @message\n| sort @timestamp desc\n| limit 200",
}
"""Saved queries of CloudWatch Logs Insights, by what they answer."""

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html
DEPLOYMENTS: dict[str, tuple[str, str]] = {
    "deployment-begun": ("SERVICE_DEPLOYMENT_IN_PROGRESS", "a deployment begins, or ECS goes back."),
    "deployment-completed": ("SERVICE_DEPLOYMENT_COMPLETED", "a deployment is complete."),
    "deployment-failed": ("SERVICE_DEPLOYMENT_FAILED", "a deployment failed."),
}
"""Rule -> ECS's name of the event, and the same in words: a rule each, since a transformer cannot choose its words."""


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
    def learns(self) -> bool:
        """Whether it compares with a band that CloudWatch learns."""
        return "Upper" in self.compare


def alarms(
    service: Service, estate: Estate, load_balancer: str | None, target_group: pulumi.Input[str] | None
) -> Iterator[Alarm]:
    """A service's alarms. `load_balancer` and `target_group`: the ends of their ARNs, as metrics name them; None: it
    is internal."""
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
    if limits.anomaly_band:
        yield _unusual("memory", "AWS/ECS", "MemoryUtilization", tasks, "Average", limits.anomaly_band)
    if load_balancer is None or target_group is None:
        return
    group = {"LoadBalancer": load_balancer, "TargetGroup": target_group}
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


def event_pattern(service: Service, estate: Estate, about: str) -> dict[str, Any]:
    """Which of ECS's events a rule is for: `stopped`, tasks of the service that stop by themselves, or one of
    `DEPLOYMENTS`."""
    if about in DEPLOYMENTS:
        arn = f"service/{estate.cluster_name}/{service.name}-service"
        return {
            "source": ["aws.ecs"],
            "detail-type": ["ECS Deployment State Change"],
            "resources": [f"arn:{estate.partition}:ecs:{estate.region}:{estate.account}:{arn}"],
            "detail": {"eventName": [DEPLOYMENTS[about][0]]},
        }
    return {
        "source": ["aws.ecs"],
        "detail-type": ["ECS Task State Change"],
        "detail": {
            "clusterArn": [estate.cluster],
            "group": [f"service:{service.name}-service"],
            "lastStatus": ["STOPPED"],
            # Not those that a deployment or a change of the count stops.
            "$or": [
                {"stopCode": ["EssentialContainerExited", "TaskFailedToStart"]},
                {"stoppedReason": [{"prefix": "Task failed"}]},
            ],
        },
    }


def dashboard(
    service: Service,
    estate: Estate,
    watched: list[Alarm],
    alarm_arns: list[str],
    load_balancer: str | None,
    target_group: str | None,
) -> str:
    """The dashboard's body: what a person on call wants to see first, from top to bottom."""

    def graph(title: str, *metrics: list[Any], alarm: str | None = None) -> dict[str, Any]:
        limits = [{"label": "alarm", "value": a.threshold} for a in watched if a.part == alarm]
        return {
            "title": title,
            "region": estate.region,
            "view": "timeSeries",
            "period": 60,
            "metrics": list(metrics),
            **({"annotations": {"horizontal": limits}} if limits else {}),
        }

    tasks = ["ClusterName", estate.cluster_name, "ServiceName", f"{service.name}-service"]
    group = ["LoadBalancer", load_balancer, "TargetGroup", target_group]
    ecs, elb, red = "AWS/ECS", "AWS/ApplicationELB", "#d62728"
    address = service.url or f"{service.discovery_name}.{estate.namespace_name}:{service.port}"
    errors = QUERIES["errors"].replace("\n", " ")
    from_outside = [
        graph(
            "Requests a minute",
            [elb, "RequestCount", *group, {"stat": "Sum", "label": "all"}],
            [elb, "HTTPCode_Target_4XX_Count", *group, {"stat": "Sum", "label": "4xx (a 401 is normal)"}],
            [elb, "HTTPCode_Target_5XX_Count", *group, {"stat": "Sum", "label": "5xx", "color": red}],
            alarm="server-errors",
        ),
        graph(
            "Response time in seconds",
            [elb, "TargetResponseTime", *group, {"stat": "p50", "label": "p50"}],
            [elb, "TargetResponseTime", *group, {"stat": "p95", "label": "p95"}],
            alarm="slow",
        ),
        graph(
            "Targets",
            [elb, "HealthyHostCount", *group, {"stat": "Minimum", "label": "healthy"}],
            [elb, "UnHealthyHostCount", *group, {"stat": "Maximum", "label": "unhealthy", "color": red}],
        ),
    ]
    inside = [
        graph(
            "CPU and memory in percent",
            [ecs, "CPUUtilization", *tasks, {"stat": "Average", "label": "CPU"}],
            [ecs, "MemoryUtilization", *tasks, {"stat": "Average", "label": "memory"}],
            alarm="cpu",
        ),
        graph(
            "Tasks",
            [ecs, "CPUUtilization", *tasks, {"stat": "SampleCount", "label": "running"}],
            [
                "AWS/Events",
                "TriggeredRules",
                "RuleName",
                f"{service.name}-stopped",
                {"stat": "Sum", "label": "stopped"},
            ],
        ),
        graph(
            "Log lines a minute",
            *([METRICS, f"{service.name}-{part}", {"stat": "Sum", "label": part.replace("-", " ")}] for part in TERMS),
            alarm="errors",
        ),
    ]
    rows: list[tuple[int, str, list[dict[str, Any]]]] = [
        (2, "text", [{"markdown": f"# {service.name}\n{address} · back in one command: `./ops rollback`"}]),
        (3, "alarm", [{"title": "Alarms", "alarms": alarm_arns}]),
        *([(6, "metric", from_outside)] if load_balancer else []),
        (6, "metric", inside),
        (
            6,
            "log",
            [
                {
                    "title": "Errors",
                    "region": estate.region,
                    "view": "table",
                    "query": f"SOURCE '{log_group_name(service)}' | {errors}",
                }
            ],
        ),
    ]
    widgets, y = [], 0
    for height, kind, columns in rows:
        width = 24 // len(columns)
        widgets += [
            {"type": kind, "x": i * width, "y": y, "width": width, "height": height, "properties": properties}
            for i, properties in enumerate(columns)
        ]
        y += height
    return json.dumps({"widgets": widgets}, sort_keys=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObservabilityArgs:
    """What a service is watched by."""

    service: Service
    """The service's settings."""
    estate: Estate
    """Where it runs."""
    routing: Routing
    """Its target group."""
    running: McpService
    """Its log group."""
    topics: Mapping[Topic, pulumi.Output[str]]
    """Whom alarms and events tell, by severity."""
    tags: dict[str, str]
    """Tags for every taggable resource."""


class Observability(pulumi.ComponentResource):
    """What watches one MCP server, and tells whom it concerns."""

    alarm_names: list[str]
    """Names of all its alarms, the composite one first."""

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mcp-on-ecs:index:Observability", name, None, opts)
        self._name, self._args, self._child = name, args, pulumi.ResourceOptions(parent=self)
        service, estate = args.service, args.estate
        for part in TERMS:
            aws.cloudwatch.LogMetricFilter(
                f"{name}-filter-{part}",
                name=f"{service.name}-{part}",
                log_group_name=args.running.log_group,
                pattern=filter_pattern(part, service.logs.format),
                metric_transformation={
                    "name": f"{service.name}-{part}",
                    "namespace": METRICS,
                    "value": "1",
                    "default_value": "0",
                },
                opts=self._child,
            )
        for about, query in QUERIES.items():
            aws.cloudwatch.QueryDefinition(
                f"{name}-query-{about.replace(' ', '-')}",
                name=f"{service.name}/{about}",
                log_group_names=[args.running.log_group],
                query_string=query,
                opts=self._child,
            )
        self._events(
            "stopped",
            "operations",
            {"reason": "$.detail.stoppedReason", "task": "$.detail.taskArn"},
            message(
                f"A task of {service.name} stopped by itself: <reason>",
                "<task>",
                f"Exit code and last lines: ./ops status --service {service.key}",
            ),
        )
        for about, (_, words) in DEPLOYMENTS.items():
            self._events(
                about,
                "deployments",
                {"reason": "$.detail.reason", "deployment": "$.detail.deploymentId"},
                message(
                    f"{service.name}: {words} <reason>",
                    "<deployment>",
                    f"What runs now: ./ops status --service {service.key}",
                ),
            )
        load_balancer = estate.load_balancer_metric_name if args.routing.target_group_arn else None
        target_group = (
            args.routing.target_group_arn.apply(lambda arn: arn.rpartition(":")[2])
            if args.routing.target_group_arn
            else None
        )
        watched = list(alarms(service, estate, load_balancer, target_group))
        made = [self._alarm(alarm) for alarm in watched]
        affected = aws.cloudwatch.CompositeAlarm(
            f"{name}-users-affected",
            alarm_name=f"{service.name}-users-affected",
            alarm_description=(
                f"Users of {service.url or service.name} are affected. Begin with ./ops verify. "
                "Since a deployment? ./ops rollback"
            ),
            alarm_rule=" OR ".join(f'ALARM("{service.name}-{alarm.part}")' for alarm in watched if alarm.affects_users),
            alarm_actions=[args.topics["critical"]],
            ok_actions=[args.topics["critical"]],
            tags=args.tags,
            opts=pulumi.ResourceOptions(parent=self, depends_on=made),
        )
        self.alarm_names = [f"{service.name}-users-affected", *(f"{service.name}-{alarm.part}" for alarm in watched)]
        aws.cloudwatch.Dashboard(
            f"{name}-dashboard",
            dashboard_name=service.dashboard or service.name,
            dashboard_body=pulumi.Output.all(target_group or "", affected.arn, *(alarm.arn for alarm in made)).apply(
                lambda known: dashboard(service, estate, watched, list(known[1:]), load_balancer, known[0] or None)
            ),
            opts=self._child,
        )
        self.register_outputs({"alarms": self.alarm_names})

    def _alarm(self, alarm: Alarm) -> aws.cloudwatch.MetricAlarm:
        args = self._args
        topic = args.topics[alarm.severity]
        return aws.cloudwatch.MetricAlarm(
            f"{self._name}-alarm-{alarm.part}",
            name=f"{args.service.name}-{alarm.part}",
            alarm_description=alarm.meaning,
            comparison_operator=alarm.compare,
            evaluation_periods=alarm.periods,
            datapoints_to_alarm=alarm.periods,
            treat_missing_data=alarm.missing,
            alarm_actions=[topic],
            ok_actions=[topic],
            tags=args.tags,
            # A service that is not there yet has no data either, which would page people at each first deployment.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[args.running.healthy]),
            **(_with_band(alarm) if alarm.learns else _with_limit(alarm)),
        )

    def _events(self, about: str, topic: Topic, paths: Mapping[str, str], template: str) -> None:
        """Tell a topic of ECS's events; `paths`: what <names> in the template stand for, as JSON paths."""
        args, service = self._args, self._args.service
        rule = aws.cloudwatch.EventRule(
            f"{self._name}-events-{about}",
            name=f"{service.name}-{about}",
            description=f"{service.name}: {about.replace('-', ' ')}",
            event_pattern=json.dumps(event_pattern(service, args.estate, about), sort_keys=True),
            tags=args.tags,
            opts=self._child,
        )
        aws.cloudwatch.EventTarget(
            f"{self._name}-events-{about}-target",
            rule=rule.name,
            target_id="topic",
            arn=args.topics[topic],
            input_transformer={"input_paths": dict(paths), "input_template": template},
            opts=self._child,
        )


def _with_limit(alarm: Alarm) -> dict[str, Any]:
    percentile = alarm.statistic.startswith("p")
    return {
        "namespace": alarm.namespace,
        "metric_name": alarm.metric,
        "dimensions": dict(alarm.dimensions),
        "statistic": None if percentile else alarm.statistic,
        "extended_statistic": alarm.statistic if percentile else None,
        "evaluate_low_sample_count_percentiles": "ignore" if percentile else None,
        "threshold": alarm.threshold,
        "period": alarm.period,
    }


def _with_band(alarm: Alarm) -> dict[str, Any]:
    metric = {
        "namespace": alarm.namespace,
        "metric_name": alarm.metric,
        "dimensions": dict(alarm.dimensions),
        "stat": alarm.statistic,
        "period": alarm.period,
    }
    return {
        "threshold_metric_id": "usual",
        "metric_queries": [
            {"id": "seen", "metric": metric, "return_data": True},
            {
                "id": "usual",
                "expression": f"ANOMALY_DETECTION_BAND(seen, {alarm.threshold:g})",
                "label": "usual",
                "return_data": True,
            },
        ],
    }
