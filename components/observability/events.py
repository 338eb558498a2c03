"""ECS's events that a topic is told of."""

from __future__ import annotations

from typing import Any

from components.estate import Estate
from components.settings import Service

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html
DEPLOYMENTS: dict[str, tuple[str, str]] = {
    "deployment-begun": ("SERVICE_DEPLOYMENT_IN_PROGRESS", "a deployment begins, or ECS goes back."),
    "deployment-completed": ("SERVICE_DEPLOYMENT_COMPLETED", "a deployment is complete."),
    "deployment-failed": ("SERVICE_DEPLOYMENT_FAILED", "a deployment failed."),
}
"""Rule -> ECS's name of the event, and the same in words: a rule each, since a transformer cannot choose its words."""


def event_pattern(service: Service, estate: Estate, about: str) -> dict[str, Any]:
    """Which of ECS's events a rule is for: `stopped`, tasks of the service that stop by themselves, or one of
    `DEPLOYMENTS`."""
    if about in DEPLOYMENTS:
        arn = f"service/{estate.cluster_name}/{service.name}-service"
        return {
            "source": ["aws.ecs"],
            "detail-type": ["ECS Deployment State Change"],
            "resources": [f"arn:{estate.partition}:ecs:{estate.region}:{estate.account}:{arn}"],
            "detail": {"eventName": [DEPLOYMENTS[about][0]]},
        }
    return {
        "source": ["aws.ecs"],
        "detail-type": ["ECS Task State Change"],
        "detail": {
            "clusterArn": [estate.cluster],
            "group": [f"service:{service.name}-service"],
            "lastStatus": ["STOPPED"],
            # Not those that a deployment or a change of the count stops.
            "$or": [
                {"stopCode": ["EssentialContainerExited", "TaskFailedToStart"]},
                {"stoppedReason": [{"prefix": "Task failed"}]},
            ],
        },
    }
