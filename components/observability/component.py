"""What is registered to watch a service."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws

from components.estate import Estate
from components.names import METRICS, alarm_name
from components.notifications import message
from components.observability.alarms import Alarm, alarms, of_both
from components.observability.dashboard import dashboard
from components.observability.events import DEPLOYMENTS, event_pattern
from components.observability.log_lines import QUERIES, TERMS, filter_pattern
from components.routing import Routing
from components.service import McpService
from components.settings import Service, Topic


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
                # Without a default of 0, which would be reported, and paid, in every hour with a log line.
                metric_transformation={"name": f"{service.name}-{part}", "namespace": METRICS, "value": "1"},
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
        arns = [args.routing.target_group_arn, args.routing.shift.alternate_arn if args.routing.shift else None]
        target_groups = [arn.apply(lambda known: known.rpartition(":")[2]) for arn in arns if arn]
        watched = list(alarms(service, estate, load_balancer, target_groups))
        made = [self._alarm(alarm) for alarm in watched]
        affected = aws.cloudwatch.CompositeAlarm(
            f"{name}-users-affected",
            alarm_name=alarm_name(service, "users-affected"),
            alarm_description=(
                f"Users of {service.url or service.name} are affected. Begin with ./ops verify. "
                "Since a deployment? ./ops rollback"
            ),
            alarm_rule=" OR ".join(
                f'ALARM("{alarm_name(service, alarm.part)}")' for alarm in watched if alarm.affects_users
            ),
            alarm_actions=[args.topics["critical"]],
            ok_actions=[args.topics["critical"]],
            tags=args.tags,
            opts=pulumi.ResourceOptions(parent=self, depends_on=made),
        )
        self.alarm_names = [
            alarm_name(service, part) for part in ("users-affected", *(alarm.part for alarm in watched))
        ]
        aws.cloudwatch.Dashboard(
            f"{name}-dashboard",
            dashboard_name=service.dashboard or service.name,
            dashboard_body=pulumi.Output.all(target_groups, affected.arn, *(alarm.arn for alarm in made)).apply(
                lambda known: dashboard(service, estate, watched, list(known[1:]), load_balancer, known[0])
            ),
            opts=self._child,
        )
        self.register_outputs({"alarms": self.alarm_names})

    def _alarm(self, alarm: Alarm) -> aws.cloudwatch.MetricAlarm:
        args = self._args
        topic = args.topics[alarm.severity]
        return aws.cloudwatch.MetricAlarm(
            f"{self._name}-alarm-{alarm.part}",
            name=alarm_name(args.service, alarm.part),
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
            **_compared(alarm),
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


def _compared(alarm: Alarm) -> dict[str, Any]:
    """What is compared with what."""
    percentile = alarm.statistic.startswith("p")
    if not alarm.detects_anomalies and alarm.second is None:
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
    if alarm.second is None:
        queries = [{"id": "seen", "metric": _metric(alarm, alarm.dimensions), "return_data": True}]
    else:
        queries = [
            {"id": "first", "metric": _metric(alarm, alarm.dimensions), "return_data": False},
            {"id": "second", "metric": _metric(alarm, alarm.second), "return_data": False},
            {
                "id": "seen",
                "expression": of_both(alarm.statistic, "first", "second"),
                "label": "both target groups",
                "return_data": True,
            },
        ]
    if not alarm.detects_anomalies:
        return {"metric_queries": queries, "threshold": alarm.threshold}
    usual = {
        "id": "usual",
        "expression": f"ANOMALY_DETECTION_BAND(seen, {alarm.threshold:g})",
        "label": "usual",
        "return_data": True,
    }
    return {"threshold_metric_id": "usual", "metric_queries": [*queries, usual]}


def _metric(alarm: Alarm, dimensions: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    return {
        "namespace": alarm.namespace,
        "metric_name": alarm.metric,
        "dimensions": dict(dimensions),
        "stat": alarm.statistic,
        "period": alarm.period,
    }
