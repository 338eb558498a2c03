"""Watching a service: metric filters, alarms, a dashboard, saved log queries, and what ECS does to its tasks."""

from components.observability.component import Observability, ObservabilityArgs
from components.observability.events import DEPLOYMENTS
from components.observability.log_lines import ERROR_LINE, QUERIES, TERMS, filter_pattern

__all__ = [
    "DEPLOYMENTS",
    "ERROR_LINE",
    "QUERIES",
    "TERMS",
    "Observability",
    "ObservabilityArgs",
    "filter_pattern",
]
