"""Tasks: their sizes, health, and name inside the VPC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from components.settings.model import Model
from components.settings.patterns import DiscoveryName, HealthPath

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
FARGATE_MEMORY: dict[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
}
"""CPU units (1024 = one vCPU) -> the memory sizes, in MiB, that Fargate pairs them with."""


class Health(Model):
    """How the load balancer and ECS decide that a task is healthy. Times in seconds."""

    path: HealthPath = "/health"
    """Path that answers 200 without a login. Default /health."""
    interval: Annotated[int, Field(ge=5, le=300)] = 8
    """Time between checks. Default 8: a new task gets requests within 16 seconds."""
    timeout: Annotated[int, Field(ge=2, le=60)] = 5
    """How long an answer may take. Default 5."""
    healthy_threshold: Annotated[int, Field(ge=2, le=10)] = 2
    """Good answers until a target is healthy. Default 2."""
    unhealthy_threshold: Annotated[int, Field(ge=2, le=10)] = 10
    """Bad answers until a target, or the container, is unhealthy. Default 10: after 80 seconds, so that a task which is
    slow for a while stays."""
    start_period: Annotated[int, Field(ge=0, le=300)] = 60
    """Time a container has to start before bad answers count. Default 60."""
    grace_period: Annotated[int, Field(ge=0, le=2_147_483_647)] = 60
    """Time after a task's start in which ECS ignores target health. Default 60."""

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.timeout >= self.interval:
            yield (
                ("timeout", "interval"),
                f"is {self.timeout} s; it must be less than interval, {self.interval} s",
            )
        if self.grace_period < self.start_period:
            # Otherwise ECS kills on target health what the container's own check still gives time to start.
            yield (
                ("grace_period", "start_period"),
                f"is {self.grace_period} s; it must be at least startPeriod, {self.start_period} s",
            )


class Discovery(Model):
    """How other services in the VPC find this one."""

    name: DiscoveryName | None = None
    """The name within the namespace. Default: the service's key."""
    ttl: Annotated[int, Field(ge=1, le=3600)] = 10
    """Life of the DNS records, in seconds: so long a consumer may go on asking a task that a deployment has taken away.
    ECS takes a task's records back when it stops it, not before. Default 10."""
