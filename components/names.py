"""Physical names that more than one component has to know."""

from __future__ import annotations

import re

from components.settings import Service

METRICS = "McpOnEcs"
"""Namespace of the metrics that the log filters make."""


def target_group_name(service: Service) -> str:
    """`<name>-tg` on the default port, `<name>-<port>` on another.

    A group's port is fixed, so a change of port needs another group, which is made while the old one still has the
    rules: they need different names (AWS: "already exists").
    """
    return f"{service.name}-{other_port(service) or 'tg'}"


def alternate_target_group_name(service: Service) -> str:
    """The name of the second target group, between which and the first ECS shifts requests."""
    return f"{target_group_name(service)}b"


def target_group_names(service: Service) -> tuple[str, str]:
    """The names of both: tasks of a service are in one of them, and while its deployment shifts requests, in both."""
    return target_group_name(service), alternate_target_group_name(service)


def other_port(service: Service) -> str:
    """The service's port as text, if it is not the default; else empty."""
    return "" if service.port == Service.model_fields["port"].default else str(service.port)


def is_target_group_of(service: Service, name: str) -> bool:
    """Whether `name` is what `target_group_names` says for some port of the service."""
    return re.fullmatch(rf"{re.escape(service.name)}-(tg|\d+)b?", name) is not None


def service_name(service: Service) -> str:
    """The ECS service's name."""
    return f"{service.name}-service"


def alarm_name(service: Service, part: str) -> str:
    """The name of one of the service's alarms, such as `server-errors`."""
    return f"{service.name}-{part}"


def role_name(service: Service, part: str) -> str:
    """The physical name of one of the service's roles: `task` of the running server, `execution` of what starts it,
    `infrastructure` of ECS while it shifts requests."""
    return f"{service.name}-{part}-role"
