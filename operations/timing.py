"""How long a rollout takes by the settings' arithmetic: what each second is for, and which setting it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components import settings as configuration
from components.settings import Service
from operations.errors import no_service


@dataclass(frozen=True, kw_only=True)
class Span:
    """A part of a rollout; each begins when the one before ends."""

    what: str
    seconds: int
    """At most."""
    default: int
    """What it would be with AWS's defaults."""
    setting: str
    """What it follows from, below the service."""


def spans(service: Service) -> Iterator[Span]:
    """From a new task that answers until the old one is gone. How long a task takes to start is not in the settings."""
    health = service.health
    if service.public:
        # By its documentation the load balancer takes a new target for healthy after one good answer. So long it takes
        # where that one fails, and for a target that was unhealthy.
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
        yield Span(
            what="the load balancer finds the new task healthy",
            seconds=health.interval * health.healthy_threshold,
            default=30 * 5,
            setting="health.interval x health.healthyThreshold",
        )
        if service.deployment.shifts:
            # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-blue-green.html
            yield Span(
                what=f"requests are shifted ({service.deployment.strategy}), and the old tasks stay meanwhile",
                seconds=service.deployment.minutes * 60,
                default=0,
                setting="deployment",
            )
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
        yield Span(
            what="requests under way on the old task end",
            seconds=service.longest_request,
            default=300,
            setting="longestRequest",
        )
    else:
        # The first check comes an interval after the start.
        yield Span(
            what="ECS finds the new task healthy",
            seconds=health.interval,
            default=30,
            setting="health.interval",
        )
    # From SIGTERM to SIGKILL, for what came by the private name; a server with nothing to do is gone within 2 seconds.
    # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
    yield Span(
        what="the old task stops",
        seconds=service.stop_timeout,
        default=30,
        setting="longestRequest + 10",
    )


def of_stack(file: Path, key: str | None = None) -> dict[str, list[Span]]:
    """The spans of each service of a stack file, or of the one that is named. Raises `SettingsError`,
    `OperationError`."""
    services = configuration.parse(configuration.read_stack_file(file)).services
    if key is not None and key not in services:
        raise no_service(file.stem.removeprefix("Pulumi."), key, services)
    return {name: list(spans(service)) for name, service in services.items() if key in (None, name)}
