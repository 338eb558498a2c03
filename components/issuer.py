"""The issuer: the public address, to which clients bind what they were given when they registered and signed in.

Another one makes every client register and every person sign in again, and the old address answers nobody. So what runs
is held against what is configured before anything is made, like a policy: an exception allows it for a time.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

from components.names import service_name
from components.settings import ISSUER_KEPT, Service, Settings

EXTERNAL_URL = "WORKSPACE_EXTERNAL_URL"
"""The variable by which workspace-mcp knows its public address."""


def changes(
    settings: Settings, *, client: Callable[[str], Any], warn: Callable[[str], None]
) -> Iterator[tuple[str, str, str, str]]:
    """Each service whose address would change and may not: what, where, why, and what to do.

    client: gives a boto3 client. warn: told of the changes that an exception allows. Raises boto3's errors.
    """
    today = datetime.datetime.now(tz=datetime.UTC).date()
    for service in settings.services.values():
        if service.server != "workspace-mcp" or not service.oauth.enabled or not service.url:
            continue
        revision, running = _running(client("ecs"), settings.estate.cluster, service)
        if running <= {service.url}:
            continue
        change = (
            f"it changes from {', '.join(sorted(running))} to {service.url}: every client registers anew, every person "
            "signs in again, and the old address answers nobody"
        )
        what = f"the issuer of {service.key}"
        allowed = [e for e in settings.policy_exceptions if e.covers(ISSUER_KEPT, service.key) and e.expires >= today]
        if allowed:
            warn(f"{what}: {change}; allowed: {allowed[0].terms}")
        else:
            yield (
                what,
                f"at {revision}, which runs, and services.{service.key}.routing",
                change,
                "set routing back; or, if it must change, tell people, and record it under policyExceptions: rule "
                f"{ISSUER_KEPT}, resource {service.key}",
            )


def _running(ecs: Any, cluster: str, service: Service) -> tuple[str, set[str]]:
    """What the service runs (`family:revision`), and the addresses that it tells clients; none where nothing runs."""
    found = ecs.describe_services(cluster=cluster, services=[service_name(service)])["services"]
    if not found or found[0]["status"] != "ACTIVE":
        return "", set()
    arn = found[0]["taskDefinition"]
    definition = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    return arn.rsplit("/", 1)[-1], {
        variable["value"]
        for container in definition["containerDefinitions"]
        for variable in container.get("environment", [])
        if variable["name"] == EXTERNAL_URL
    }
