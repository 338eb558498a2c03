"""The cluster's capacity providers, held against what services are to run on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from components.names import service_name
from components.settings import Service, Settings

_AT_ONCE = 10
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html"""


def conflicts(settings: Settings, *, client: Callable[[str], Any]) -> Iterator[tuple[str, str, str, str]]:
    """What stands in the way of the services' `capacity`: what, where, why, and what to do.

    client: gives a boto3 client. Raises boto3's errors.
    """
    services, cluster = list(settings.services.values()), settings.estate.cluster
    if asking := [service for service in services if service.capacity]:
        yield from _missing(client("ecs"), cluster, asking)
    others = {service_name(service): service for service in services if not service.capacity}
    for first in range(0, len(others), _AT_ONCE):
        yield from _left(client("ecs"), cluster, dict(list(others.items())[first : first + _AT_ONCE]))


def _missing(ecs: Any, name: str, services: list[Service]) -> Iterator[tuple[str, str, str, str]]:
    wanted = {provider for s in services if s.capacity for provider, _, _ in s.capacity.strategy}
    for cluster in ecs.describe_clusters(clusters=[name])["clusters"]:
        present = cluster.get("capacityProviders", [])
        if missing := sorted(wanted - set(present)):
            # The command replaces both lists, so it repeats what is there.
            default = json.dumps(cluster.get("defaultCapacityProviderStrategy", []), separators=(",", ":"))
            yield (
                f"capacity provider{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
                f"among those of cluster {name}, for services.{', '.join(s.key for s in services)}.capacity",
                f"it has {', '.join(present) or 'none'}; ECS refuses a service that names another",
                f"aws ecs put-cluster-capacity-providers --cluster {name} --capacity-providers "
                f"{' '.join([*present, *missing])} --default-capacity-provider-strategy '{default}'",
            )


def _left(ecs: Any, cluster: str, services: dict[str, Service]) -> Iterator[tuple[str, str, str, str]]:
    """Services, by their names in ECS, that run on capacity providers, and are to go back to a launch type. The
    provider takes no such change, and a replacement would be an outage."""
    for found in ecs.describe_services(cluster=cluster, services=list(services))["services"]:
        if found["status"] == "ACTIVE" and (strategy := found.get("capacityProviderStrategy")):
            key = services[found["serviceName"]].key
            yield (
                f"services.{key}.capacity",
                f"held against service {found['serviceName']}, which runs",
                f"it has capacity providers ({', '.join(item['capacityProvider'] for item in strategy)}), and could "
                "lose them only by being replaced, which is an outage",
                f"to have all tasks on demand, set services.{key}.capacity to {{spotWeight: 0, onDemandWeight: 1}}, "
                "and leave it there",
            )
