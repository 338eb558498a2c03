"""What the account says of a deployment: revision, digest, tasks, discovery, logs. Asked by boto3, on AWS and
rehearsal alike."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from checks.check import Check, Failed, NotRun, Probe, run_probes
from components.settings import Service, Settings

Clients = Callable[[str], Any]
"""Gives the boto3 client of a service by its name."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What was deployed, as the stack's outputs say; `secrets` as the stack's configuration does."""

    cluster: str
    service: str
    task_definition: str
    """ARN with revision."""
    image: str
    """`repository@sha256:...`"""
    log_group: str
    target_group: str | None
    """ARN; None for an internal service."""
    discovery_name: str
    namespace: str
    task_range: tuple[int, int]
    """The fewest and the most tasks that the configuration wants."""
    secrets: Mapping[str, str]
    """Environment variable -> JSON key of a secret."""


def of_service(settings: Settings, service: Service, outputs: Mapping[str, Any]) -> Deployment:
    """A service's deployment, from the stack's configuration and outputs."""
    of = outputs["services"][service.key]
    return Deployment(
        cluster=outputs["cluster"],
        service=of["service"],
        task_definition=of["taskDefinition"],
        image=of["image"],
        log_group=of["logGroup"],
        target_group=of.get("targetGroup"),
        discovery_name=service.discovery_name,
        namespace=settings.estate.namespace,
        task_range=service.task_range,
        secrets=service.secret_keys,
    )


def run(deployment: Deployment, clients: Clients, *, simulated: bool = False) -> list[Check]:
    """Run all checks at once; the order of the results is fixed. `simulated`: no container runs, so none logs."""

    def probe(name: str, remedy: str, ask: Callable[[Deployment, Clients], str]) -> Probe:
        return Probe(name, remedy, lambda: asyncio.to_thread(ask, deployment, clients))

    probes = [
        probe("the wanted revision runs", "see what ECS says: ./ops status", _revision),
        probe("as many tasks are wanted as configured", "pulumi up --refresh sets it right", _count),
        probe("its image is the one deployed, by digest", "deploy again: pulumi up", _image),
        probe("its secrets are given by name and JSON key", "correct secrets in the configuration", _secrets),
        probe("discovery leads to its tasks", "see the service's events: ./ops status", _discovery),
    ]
    if not simulated:
        probes.append(probe("its log lines arrive", "check the execution role's rights on the log group", _logs))
    return asyncio.run(run_probes(probes))


def described_service(deployment: Deployment, clients: Clients) -> Any:
    """ECS's description of the service. Raises `Failed` where there is none."""
    found = clients("ecs").describe_services(cluster=deployment.cluster, services=[deployment.service])["services"]
    if not found or found[0]["status"] != "ACTIVE":
        raise Failed(f"there is no active service {deployment.service} in cluster {deployment.cluster}")
    return found[0]


def _revision(deployment: Deployment, clients: Clients) -> str:
    service = described_service(deployment, clients)
    revision = deployment.task_definition.rsplit("/", 1)[-1]
    if service["taskDefinition"] != deployment.task_definition:
        raise Failed(f"{service['taskDefinition'].rsplit('/', 1)[-1]} runs, {revision} was wanted")
    running, wanted = service["runningCount"], service["desiredCount"]
    if running < wanted:
        raise Failed(f"{revision}: {running} of {wanted} tasks run")
    return f"{revision}, {running} of {wanted} tasks"


def _count(deployment: Deployment, clients: Clients) -> str:
    wanted, (fewest, most) = described_service(deployment, clients)["desiredCount"], deployment.task_range
    if not fewest <= wanted <= most:
        says = str(fewest) if fewest == most else f"{fewest} to {most}"
        raise Failed(f"somebody set the service to {wanted}, and the configuration says {says}")
    return str(wanted)


def _definition(deployment: Deployment, clients: Clients) -> Any:
    return clients("ecs").describe_task_definition(taskDefinition=deployment.task_definition)["taskDefinition"]


def _image(deployment: Deployment, clients: Clients) -> str:
    digest = deployment.image.partition("@")[2]
    images = [container["image"] for container in _definition(deployment, clients)["containerDefinitions"]]
    if not any(image.endswith(f"@{digest}") for image in images):
        raise Failed(f"the task definition names {', '.join(images)}, not {digest}")
    tasks = _tasks(deployment, clients)
    running = {c["imageDigest"] for task in tasks for c in task["containers"] if c.get("imageDigest")}
    # What stands beside the server has an image of its own.
    if others := running - {image.partition("@")[2] for image in images}:
        raise Failed(f"a task runs {', '.join(sorted(others))}, not {digest}")
    return digest


def _tasks(deployment: Deployment, clients: Clients) -> list[Any]:
    ecs = clients("ecs")
    arns = ecs.list_tasks(cluster=deployment.cluster, serviceName=deployment.service)["taskArns"]
    return list(ecs.describe_tasks(cluster=deployment.cluster, tasks=arns)["tasks"]) if arns else []


def _secrets(deployment: Deployment, clients: Clients) -> str:
    given = {
        secret["name"]: secret["valueFrom"]
        for container in _definition(deployment, clients)["containerDefinitions"]
        for secret in container.get("secrets", [])
    }
    if given.keys() != deployment.secrets.keys():
        raise Failed(
            f"the container gets {', '.join(sorted(given)) or 'none'}, not {', '.join(sorted(deployment.secrets))}"
        )
    for name, key in deployment.secrets.items():
        # arn:aws:secretsmanager:region:account:secret:name:KEY:: is one key of it; without KEY it is the whole JSON.
        if not re.fullmatch(
            rf"arn:[^:]+:secretsmanager:[^:]+:\d+:secret:[^:]+:{re.escape(key)}:[^:]*:[^:]*", given[name]
        ):
            raise Failed(f"{name} is filled from {given[name]}, not from the JSON key {key} of a secret")
    return ", ".join(sorted(given)) or "it has none"


def _discovery(deployment: Deployment, clients: Clients) -> str:
    registries = described_service(deployment, clients).get("serviceRegistries", [])
    discovery = clients("servicediscovery")
    for registry in registries:
        service = discovery.get_service(Id=registry["registryArn"].rsplit("/", 1)[-1])["Service"]
        if service["Name"] != deployment.discovery_name:
            continue
        records = "+".join(sorted(record["Type"] for record in service["DnsConfig"]["DnsRecords"]))
        name = f"{deployment.discovery_name}.{deployment.namespace}"
        found = discovery.discover_instances(
            NamespaceName=deployment.namespace, ServiceName=deployment.discovery_name, HealthStatus="ALL"
        )["Instances"]
        if not found:
            raise NotRun(f"{name} ({records}) is the service's registry, but no instance is registered in it")
        return f"{name} ({records}): {len(found)} instances"
    raise Failed(f"the service is not registered as {deployment.discovery_name}")


def _logs(deployment: Deployment, clients: Clients) -> str:
    events = clients("logs").filter_log_events(logGroupName=deployment.log_group, limit=50)["events"]
    if not events:
        raise Failed(f"{deployment.log_group} is empty")
    return f"{len(events)}{' or more' if len(events) == 50 else ''} lines in {deployment.log_group}"


def task_address(ecs: Any, settings: Settings, service: Service) -> str | None:
    """`http://address:port` of one of the service's tasks; None while none runs as a container."""
    arns = ecs.list_tasks(cluster=settings.estate.cluster, serviceName=f"{service.name}-service")["taskArns"]
    tasks = ecs.describe_tasks(cluster=settings.estate.cluster, tasks=arns)["tasks"] if arns else []
    details = [detail for task in tasks for each in task.get("attachments", []) for detail in each["details"]]
    found = next((detail["value"] for detail in details if detail["name"] == "privateIPv4Address"), None)
    return f"http://{found}:{service.port}" if found else None
