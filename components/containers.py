"""Parts of a task's containers: volumes, logs, and the container that hands traces on."""

from __future__ import annotations

import json
from typing import Any

from components.estate import Estate
from components.settings import Service
from components.settings.server import TRACES_PORT

# The agent of `aws ecs execute-command` writes here, which a read-only root file system would not let it.
_EXEC_VOLUMES = {"exec-agent-state": "/var/lib/amazon", "exec-agent-log": "/var/log/amazon"}

# Downloads that are too large for memory pass through here, and without OAuth 2.1 sign-ins under way are kept here.
_SCRATCH_VOLUMES = {"scratch": "/tmp"}  # noqa: S108

COLLECTOR = "traces"
"""Name of the container that hands traces on to X-Ray."""


def collector(service: Service, estate: Estate) -> list[dict[str, Any]]:
    """The container that hands traces on; none where there are no traces."""
    if service.tracing is None:
        return []
    # The image's own configuration would also make metrics, which cost, and take them from outside of the task.
    configuration = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"localhost:{TRACES_PORT}"}}}},
        "processors": {"batch": {}},
        "exporters": {"awsxray": {"region": estate.region}},
        "service": {
            "pipelines": {"traces": {"receivers": ["otlp"], "processors": ["batch"], "exporters": ["awsxray"]}},
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
        },
    }
    return [
        {
            "name": COLLECTOR,
            "image": service.tracing.collector,
            "essential": False,  # Without traces the server serves all the same.
            # https://aws-otel.github.io/docs/setup/ecs/config-through-ssm: where the image looks for its configuration.
            "environment": [{"name": "AOT_CONFIG_CONTENT", "value": json.dumps(configuration, sort_keys=True)}],
            "logConfiguration": log_configuration(service, estate),
            "readonlyRootFilesystem": True,
            "user": "10001",
        }
    ]


def log_configuration(service: Service, estate: Estate) -> dict[str, Any]:
    """Where ECS sends what a container writes."""
    return {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": log_group_name(service),
            "awslogs-region": estate.region,
            "awslogs-stream-prefix": "ecs",
        },
    }


def log_group_name(service: Service) -> str:
    """Where the service's log lines go."""
    return f"/ecs/{service.name}"


def volumes(service: Service) -> dict[str, str]:
    """Name -> container path of the task's scratch volumes."""
    if not service.read_only_root:
        return {}
    return {
        **(_EXEC_VOLUMES if service.exec_enabled else {}),
        **(_SCRATCH_VOLUMES if service.server == "workspace-mcp" else {}),
    }
