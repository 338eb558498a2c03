"""A service's dashboard."""

from __future__ import annotations

import json
import re
from typing import Any

from components.containers import log_group_name
from components.estate import Estate
from components.names import METRICS
from components.observability.alarms import Alarm, of_both
from components.observability.log_lines import QUERIES, TERMS
from components.settings import Service


def dashboard(
    service: Service,
    estate: Estate,
    watched: list[Alarm],
    alarm_arns: list[str],
    load_balancer: str | None,
    target_groups: list[str],
) -> str:
    """The dashboard's body: what a person on call wants to see first, from top to bottom. Of two target groups, what is
    seen is of both together."""

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
    ecs, red = "AWS/ECS", "#d62728"
    address = service.url or f"{service.discovery_name}.{estate.namespace_name}:{service.port}"
    errors = QUERIES["errors"].replace("\n", " ")

    def balanced(metric: str, stat: str, label: str, **look: str) -> list[list[Any]]:
        shown = {"label": label, **look}
        groups = [
            ["AWS/ApplicationELB", metric, "LoadBalancer", load_balancer, "TargetGroup", g] for g in target_groups
        ]
        if len(groups) == 1:
            return [[*groups[0], {"stat": stat, **shown}]]
        name = re.sub("[^a-z0-9]", "", f"m{label.split()[0]}{stat}".lower())
        ids = [f"{name}g{number}" for number in (1, 2)]
        hidden = [[*group, {"stat": stat, "id": id_, "visible": False}] for group, id_ in zip(groups, ids, strict=True)]
        return [*hidden, [{"expression": of_both(stat, *ids), **shown}]]

    from_outside = (
        [
            graph(
                "Requests a minute",
                *balanced("RequestCount", "Sum", "all"),
                *balanced("HTTPCode_Target_4XX_Count", "Sum", "4xx (a 401 is normal)"),
                *balanced("HTTPCode_Target_5XX_Count", "Sum", "5xx", color=red),
                alarm="server-errors",
            ),
            graph(
                "Response time in seconds",
                *balanced("TargetResponseTime", "p50", "p50"),
                *balanced("TargetResponseTime", "p95", "p95"),
                alarm="slow",
            ),
            graph(
                "Targets",
                *balanced("HealthyHostCount", "Minimum", "healthy"),
                *balanced("UnHealthyHostCount", "Maximum", "unhealthy", color=red),
            ),
        ]
        if target_groups
        else []
    )
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
        *([(6, "metric", from_outside)] if from_outside else []),
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
