"""`restart`: new tasks of the same revision, which read the secrets anew; the old ones answer until then."""

from __future__ import annotations

import time
from collections.abc import Callable

from components import rollout
from components.names import service_name
from components.settings import Service
from operations.errors import OperationError
from operations.rollback import wait_until_steady
from operations.target import Target, revision


def restart(target: Target, service: Service, progress: Callable[[str], None]) -> float:
    """Replace the tasks of the running revision; seconds until the service was steady again.

    Raises `OperationError` while a deployment is in progress, and where ECS did not keep the new tasks.
    """
    described = target.described(service)
    if rollout.under_way(described):
        raise OperationError("A deployment is in progress, which starts new tasks by itself; watch it: ./ops status")
    started = time.monotonic()
    begun = target.client("ecs").update_service(
        cluster=target.settings.estate.cluster, service=service_name(service), forceNewDeployment=True
    )["service"]
    try:
        wait_until_steady(target, service, described["taskDefinition"], begun, progress)
    except KeyboardInterrupt:
        raise OperationError(
            f"Interrupted. ECS goes on replacing the tasks of {revision(described['taskDefinition'])} by itself; "
            "watch it: ./ops status",
            130,
        ) from None
    return time.monotonic() - started
