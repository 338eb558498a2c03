"""`accept`: the acceptance tests, against a stack: sign-in, endpoints, tools."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import acceptance
import checks
from acceptance.subject import StandIn
from checks.deployment import task_address
from components.settings import Service
from operations import users
from operations.console import logs
from operations.errors import OperationError
from operations.target import Target

_LOG_DELAY = 10.0
"""Seconds that a log line may need to reach CloudWatch Logs; the awslogs driver sends every five."""


def accept(target: Target, service: Service, *, token_file: Path | None = None) -> acceptance.Report:
    """Run the suite on the service. Raises `OperationError` where there is no service, or the token cannot be read."""
    target.described(service)
    token = users.token(token_file)
    private = private_address(target, service)
    if service.url:
        address = checks.address(service, service.url, target.connect_to)
    elif private:
        address = private
    else:
        raise OperationError(
            f"{service.key} is reached by its private name only, which does not resolve here. "
            "Run this inside the VPC, or on a rehearsal: --rehearsal."
        )
    began = time.monotonic()

    def log_lines() -> list[str]:
        if not target.rehearsed:
            time.sleep(_LOG_DELAY)
        lines: list[str] = []
        logs(target, service, lines.append, since=f"{time.monotonic() - began + 1:.0f}s", follow=False)
        return lines

    return acceptance.run(
        acceptance.Subject(
            address=address,
            expectations=checks.expectations(service),
            full=service.server == "workspace-mcp",
            private=private,
            google=StandIn.noted(target.google).client if target.google else None,
            token=token,
            log_lines=log_lines,
        )
    )


def private_address(target: Target, service: Service) -> checks.PublicAddress | None:
    """The address that consumers use; None where it leads nowhere from here."""
    url = str(target.outputs["services"][service.key]["internalUrl"])
    if target.rehearsed:
        origin = task_address(target.client("ecs"), target.settings, service)
        return checks.address(service, url, origin) if origin else None
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.getaddrinfo(host, int(port))
    except OSError:
        return None
    return checks.address(service, url)
