"""The pipeline's roles of two stacks, and the calls that they are held against."""

from __future__ import annotations

import functools
import json
from typing import Any

from operations.rights import calls, coverage
from operations.rights.calls import Call
from operations.rights.coverage import Roles
from rehearsal.run import Stack
from tests.conftest import ROOT
from tests.stacks import SERVICE, changed, production

ACCOUNT, REGION = "758888582357", "us-east-1"
NAME = "busyb-google-workspace-mcp"
STATE_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"

PRODUCTION: dict[str, Any] = {
    "delivery": {
        "repository": "busyb-ai/infrastructure",
        "createProvider": True,
        "stateBucket": "busyb-pulumi-state",
        "stateKey": STATE_KEY,
        "topic": "google-workspace-mcp-deployments",
    },
    "monitoring.subscriptions": [{"topic": "critical", "protocol": "email", "endpoint": "team@example.com"}],
    "monitoring.budget": {"limit": 40},
}
EVERYTHING: dict[str, Any] = PRODUCTION | {
    "monitoring.slack": {"workspace": "T0123456789", "channel": "C0123456789"},
    f"{SERVICE}.autoscaling": {
        "maximum": 4,
        "cpuPercent": 60,
        "schedules": {"office": {"schedule": "cron(0 8 ? * MON-FRI *)", "minimum": 2}},
    },
    f"{SERVICE}.oauth.state": {
        "backend": "dynamodb",
        "kmsKey": "arn:aws:kms:us-east-1:758888582357:key/66666666-7777-8888-9999-000000000000",
    },
    f"{SERVICE}.routing": {"strategy": "host", "host": "mcp.busyb.ai", "priority": 50, "hostedZone": "busyb.ai"},
    f"{SERVICE}.deployment.strategy": "canary",
    f"{SERVICE}.securityGroups": [],
    f"{SERVICE}.executionRole": "ecsTaskExecutionRole",
    f"{SERVICE}.permissions.secrets": ["busyb/*"],
}


CACHED: dict[str, Any] = PRODUCTION | {
    f"{SERVICE}.oauth.state": {
        "backend": "valkey",
        "cache": {"kmsKey": "arn:aws:kms:us-east-1:758888582357:key/66666666-7777-8888-9999-000000000000"},
    },
    f"{SERVICE}.securityGroups": [],
}


def stack(name: str) -> Stack:
    """The stack that calls name: production, everything or cached."""
    return changed(production(name), {"production": PRODUCTION, "everything": EVERYTHING, "cached": CACHED}[name])


@functools.cache
def roles(name: str) -> Roles:
    """Its roles."""
    return coverage.roles_of(stack(name).config)


@functools.cache
def recorded(name: str) -> tuple[Call, ...]:
    """The calls in tests/data of this stack."""
    found = []
    for file in ("provider_calls.jsonl", "pipeline_calls.jsonl"):
        for line in (ROOT / "tests" / "data" / file).read_text().splitlines():
            entry = json.loads(line)
            if entry.pop("stack") == name:
                entry.pop("source", None)
                found.append(calls.normal(**entry))
    return tuple(found)


def arn(service: str, resource: str, region: str = REGION) -> str:
    """A resource in the account."""
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"


def tags(keys: str, service: str = "google-workspace-mcp") -> dict[str, str]:
    """Condition keys with the stack's tags. `keys`: aws:ResourceTag or aws:RequestTag."""
    marks = {"ManagedBy": "pulumi", "Environment": "production", "Service": service}
    return {f"{keys}/{key}": value for key, value in marks.items()}
