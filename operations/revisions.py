"""`history` and `status`: what runs, what ran, and which of it was healthy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from components import deployment_alarms, rollout
from components.containers import log_group_name
from components.names import service_name
from components.registry import healthy_tag
from components.rollout import HealthyRevision
from components.settings import TOPICS, Service
from operations.refusals import refusals
from operations.target import Target, revision

SHOWN = 20
"""Revisions that `history` looks at, newest first; beside them the running one and those that were healthy."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One revision of a service's task definition."""

    name: str
    """`family:number`."""
    arn: str
    image: str
    digest: str
    tag: str | None
    registered: datetime | None
    source: str | None
    """Git revision of the image's source."""
    healthy: bool
    """Whether a deployment of it ever succeeded."""
    rejected: bool
    """Whether somebody went back from it."""
    running: bool
    available: bool | None
    """Whether its image is still in the registry; None for a registry of others."""


def healthy(target: Target, service: Service) -> tuple[HealthyRevision, ...]:
    """The revisions that became healthy, newest first."""
    ssm = target.client("ssm")
    name = rollout.healthy_parameter(target.settings.parameter_prefix, service.key)
    try:
        return rollout.parse(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return ()


def history(target: Target, service: Service) -> list[Revision]:
    """The newest revisions, the running one, and those that were healthy; newest first."""
    ecs = target.client("ecs")
    arns = ecs.list_task_definitions(familyPrefix=service.name, sort="DESC", maxResults=SHOWN)["taskDefinitionArns"]
    running = revision(target.described(service)["taskDefinition"])
    known = {entry.revision: entry for entry in healthy(target, service)}
    tags = {entry.digest: entry.tag for entry in known.values()}
    names = {running, *known, *map(revision, arns)}

    def describe(name: str) -> dict[str, Any] | None:
        try:
            return dict(ecs.describe_task_definition(taskDefinition=name, include=["TAGS"]))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ClientException":
                return None  # Somebody deleted it.
            raise

    with ThreadPoolExecutor() as pool:
        newest_first = sorted(names, key=lambda name: int(name.rpartition(":")[2]), reverse=True)
        found = [entry for entry in pool.map(describe, newest_first) if entry]
    digests = {_image(entry).partition("@")[2] for entry in found}
    available = _in_registry(target, service, digests)
    return [
        Revision(
            name=(name := revision(entry["taskDefinition"]["taskDefinitionArn"])),
            arn=entry["taskDefinition"]["taskDefinitionArn"],
            image=(image := _image(entry)),
            digest=(digest := image.partition("@")[2]),
            tag=available.get(digest) or tags.get(digest),
            registered=entry["taskDefinition"].get("registeredAt"),
            source=next((tag["value"] for tag in entry.get("tags", []) if tag["key"] == "SourceRevision"), None),
            healthy=name in known,
            rejected=name in known and known[name].rejected,
            running=name == running,
            available=digest in available if image.split("@")[0].endswith(f"/{service.name}") else None,
        )
        for entry in found
    ]


def _image(entry: dict[str, Any]) -> str:
    return str(entry["taskDefinition"]["containerDefinitions"][0]["image"])


def _in_registry(target: Target, service: Service, digests: set[str]) -> dict[str, str | None]:
    """Digest -> tag (if any) of the images that are in the service's own repository."""
    ecr = target.client("ecr")
    wanted = [{"imageDigest": digest} for digest in sorted(digests) if digest]
    if not wanted:
        return {}
    try:
        found = ecr.batch_get_image(repositoryName=service.name, imageIds=wanted)["images"]
    except ecr.exceptions.RepositoryNotFoundException:
        return {}
    present: dict[str, str | None] = {}
    for image in found:
        digest, tag = image["imageId"]["imageDigest"], image["imageId"].get("imageTag")
        # The tag that keeps it from expiry says nothing of what it is.
        present[digest] = tag if tag and tag != healthy_tag(digest) else present.get(digest)
    return present


def status(target: Target, service: Service) -> dict[str, Any]:
    """What runs, since when, from which image and source; deployments, alarms, and ECS's last words."""
    described = target.described(service)
    revisions = history(target, service)
    running = next((entry for entry in revisions if entry.running), None)
    deployments = [
        {
            "revision": revision(entry["taskDefinition"]),
            "state": entry.get("rolloutState", entry["status"]),
            "reason": entry.get("rolloutStateReason", ""),
            "tasks": f"{entry['runningCount']} of {entry['desiredCount']}",
            "since": entry["createdAt"],
        }
        for entry in described["deployments"]
    ]
    return {
        "service": service_name(service),
        "address": service.url or f"{service.discovery_name}.{target.settings.estate.namespace}:{service.port}",
        "running": revision(described["taskDefinition"]),
        "tasks": f"{described['runningCount']} of {described['desiredCount']}",
        "since": next(
            (d["since"] for d in deployments if d["revision"] == revision(described["taskDefinition"])), None
        ),
        "image": running.image if running else None,
        "tag": running.tag if running else None,
        "source": running.source if running else None,
        "was healthy": bool(running and running.healthy),
        "targets": target.target_health(service),
        "shift": list(_shift(target, service, described)),
        "deployments": deployments,
        "failures": list(_last_failure(target, service)),
        "alarms": _alarms(target, service),
        "refused": refusals(target, service),
        "unconfirmed": _unconfirmed(target),
        "events": [
            {"at": event["createdAt"], "message": event["message"]} for event in described.get("events", [])[:5]
        ],
    }


def _shift(target: Target, service: Service, described: Mapping[str, Any]) -> Iterator[str]:
    """Where ECS shifts requests: how far it is, and which target group has how many."""
    if not service.deployment.shifts:
        return
    ecs, place = target.client("ecs"), {"cluster": target.settings.estate.cluster, "service": service_name(service)}
    if rollout.under_way(described):
        listed = ecs.list_service_deployments(**place, status=["IN_PROGRESS", "PENDING"], maxResults=1)
        arns = [one["serviceDeploymentArn"] for one in listed["serviceDeployments"]]
        for one in ecs.describe_service_deployments(serviceDeploymentArns=arns)["serviceDeployments"] if arns else []:
            yield f"{service.deployment.strategy}: {one.get('lifecycleStage', one['status'])}"
    yield ", ".join(f"{name} has {weight}" for name, weight in target.shares(service).items())


def _last_failure(target: Target, service: Service) -> Iterator[str]:
    """Of the last deployment that did not come to its end: what, ECS's reason, and what stopped its tasks."""
    ecs, cluster, name = target.client("ecs"), target.settings.estate.cluster, service_name(service)
    if deployment := deployment_alarms.last_failed(ecs, cluster, name):
        arns = [deployment["targetServiceRevisionArn"]]
        for target_revision in ecs.describe_service_revisions(serviceRevisionArns=arns)["serviceRevisions"]:
            definition = target_revision["taskDefinition"]
            reason = deployment.get("statusReason") or "no reason given"
            yield f"{revision(definition)} {deployment['status']}: {reason}"
            for line in rollout.why(target.client, cluster, name, definition, log_group_name(service)):
                yield line.strip()


def _alarms(target: Target, service: Service) -> list[dict[str, Any]]:
    """The service's alarms that are not quiet, and how many are."""
    found = target.client("cloudwatch").describe_alarms(
        AlarmNamePrefix=f"{service.name}-", AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    states = {
        alarm["AlarmName"]: alarm["StateValue"] for kind in ("CompositeAlarms", "MetricAlarms") for alarm in found[kind]
    }
    loud = [{"name": name, "state": state} for name, state in states.items() if state == "ALARM"]
    quiet = len(states) - len(loud)
    return [*loud, {"name": f"{quiet} alarms", "state": "quiet"}] if quiet else loud


def _unconfirmed(target: Target) -> list[dict[str, Any]]:
    """Subscriptions that nobody has confirmed yet, so that they are told nothing."""
    monitoring = target.settings.monitoring
    if monitoring is None:
        return []
    sns, found = target.client("sns"), []
    for topic in TOPICS:
        name = monitoring.topics.name(topic)
        arn = f"arn:{target.partition}:sns:{target.region}:{target.account}:{name}"
        try:
            pages = list(sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn))
        except sns.exceptions.NotFoundException:
            found.append({"topic": name, "endpoint": "there is no such topic: pulumi up"})
            continue
        found += [
            {"topic": name, "endpoint": f"{entry['Protocol']} {_shown(entry['Endpoint'])}"}
            for page in pages
            for entry in page["Subscriptions"]
            if entry["SubscriptionArn"] == "PendingConfirmation"
        ]
    return found


def _shown(endpoint: str) -> str:
    """Of a web address, which may have a key in it, the host alone."""
    return urlsplit(endpoint).hostname or endpoint
