"""What preflight asks for the sake of clients and of the people who are signed in."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from functools import partial
from urllib.parse import urlsplit

from checks.check import Failed, NotRun
from components.settings import ISSUER_KEPT, Service
from operations.errors import OperationError
from operations.target import Target

EXTERNAL_URL = "WORKSPACE_EXTERNAL_URL"


def questions(target: Target, service: Service) -> Iterator[tuple[str, str, partial[str]]]:
    """The questions about a service, as preflight has them; none where no client signs in from outside."""
    if service.server != "workspace-mcp" or not service.oauth.enabled or not service.url:
        return
    yield (
        f"the issuer of {service.key} stays, so that people stay signed in",
        f"set routing back; or, if it must change, tell people, and record it under policyExceptions: "
        f"rule {ISSUER_KEPT}, resource {service.key}",
        partial(_issuer, target, service),
    )
    if urlsplit(service.url).path:
        yield f"clients that ask at the root of the host find {service.key}", "", partial(_root, service)


def _issuer(target: Target, service: Service) -> str:
    try:
        running = target.described(service)["taskDefinition"]
    except OperationError:
        return f"{service.url}; nothing runs yet"
    definition = target.client("ecs").describe_task_definition(taskDefinition=running)["taskDefinition"]
    now = {
        variable["value"]
        for container in definition["containerDefinitions"]
        for variable in container.get("environment", [])
        if variable["name"] == EXTERNAL_URL
    }
    if now <= {service.url}:
        return str(service.url)
    change = f"it changes from {', '.join(sorted(now))} to {service.url}"
    today = datetime.datetime.now(tz=datetime.UTC).date()
    for exception in target.settings.policy_exceptions:
        if exception.covers(ISSUER_KEPT, service.key) and exception.expires >= today:
            return f"{change}; allowed: {exception.terms}"
    raise Failed(
        f"{change}: every client registers anew, every person signs in again, and the old address answers nobody"
    )


def _root(service: Service) -> str:
    host = urlsplit(str(service.url)).netloc
    raise NotRun(
        f"https://{host}/.well-known/oauth-authorization-server belongs to the host's default action: connectors that "
        f"drop the path cannot log in. Have you such: routing strategy host, with a name of its own"
    )
