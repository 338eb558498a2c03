"""Whether what has this stack's names already is another stack's.

Names have the prefix in them, not the environment. Two stacks of one account with one prefix stop each other half way
where AWS refuses a name that is taken (roles, topics, Cloud Map), and take from each other what AWS writes over without
a word (alarms, rules, dashboards). So this is asked before anything is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from components.names import METRICS, role_name
from components.settings import TOPICS, Monitoring, Service, Settings, Topic

Conflict = tuple[str, str, str, str]
"""What, where, why, and what to do."""

_MISSING = ("NoSuchEntity", "ResourceNotFound", "ResourceNotFoundException")
"""What the services say of what is not there."""


def conflicts(
    settings: Settings,
    *,
    client: Callable[[str], Any],
    topic_arn: Callable[[str], str],
    namespace: str,
    warn: Callable[[str], None],
) -> Iterator[Conflict]:
    """What has the stack's names and is another stack's.

    client: gives a boto3 client. topic_arn: of a topic's name. namespace: the private DNS namespace's id.
    warn: told what could not be asked.
    """
    services = list(settings.services.values())
    asks: list[Callable[[], Iterable[Conflict]]] = [
        *[partial(_role, settings, service, client) for service in services],
        partial(_discovery, settings, services, namespace, client),
    ]
    if settings.monitoring:
        asks += [partial(_topic, settings, topic, settings.monitoring, topic_arn, client) for topic in TOPICS]
        asks += [partial(_dashboard, service, client) for service in services]
    for ask in asks:
        try:
            yield from ask()
        except (BotoCoreError, ClientError) as error:
            warn(f"Whether another stack has the names of this one could not be asked: {error}")


def _of_another(settings: Settings, tags: Iterable[dict[str, str]]) -> str | None:
    """The environment of another stack of this program, if the tags say so."""
    found = {tag["Key"]: tag["Value"] for tag in tags}
    environment = found.get("Environment", settings.environment)
    return environment if found.get("ManagedBy") == "pulumi" and environment != settings.environment else None


def _unless_missing(ask: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    try:
        return ask(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] in _MISSING:
            return {}
        raise


def _role(settings: Settings, service: Service, client: Callable[[str], Any]) -> Iterator[Conflict]:
    """The first of a service's resources: where it is another's, all that have the service's name are."""
    name = role_name(service, "task")
    role = _unless_missing(client("iam").get_role, RoleName=name).get("Role", {})
    if environment := _of_another(settings, role.get("Tags", ())):
        yield (
            f"the name {service.name} for {service.key}",
            f"at the role {name}",
            f"it is of the environment {environment}, and so are its log group, repository, alarms and whatever else "
            "has that name",
            f"set another namePrefix, or services.{service.key}.name; if this stack was {environment} itself until "
            f"now: aws iam tag-role --role-name {name} --tags Key=Environment,Value={settings.environment}",
        )


def _topic(
    settings: Settings, topic: Topic, monitoring: Monitoring, arn: Callable[[str], str], client: Callable[[str], Any]
) -> Iterator[Conflict]:
    name = monitoring.topics.name(topic)
    tags = _unless_missing(client("sns").list_tags_for_resource, ResourceArn=arn(name)).get("Tags", ())
    if environment := _of_another(settings, tags):
        yield (
            f"the topic {name}",
            "among the topics",
            f"it is of the environment {environment}",
            f"set monitoring.topics.{topic} to another name",
        )


def _dashboard(service: Service, client: Callable[[str], Any]) -> Iterator[Conflict]:
    """Dashboards have no tags: whose one of this program's is, its widgets say."""
    name = service.dashboard or service.name
    body = _unless_missing(client("cloudwatch").get_dashboard, DashboardName=name).get("DashboardBody", "")
    if f'"{METRICS}"' in body and f'"{service.name}-' not in body:
        yield (
            f"the dashboard {name} for {service.key}",
            "among the dashboards",
            f"it shows another service than {service.name}",
            f"set services.{service.key}.dashboard to another name, or remove it",
        )


def _discovery(
    settings: Settings, services: list[Service], namespace: str, client: Callable[[str], Any]
) -> Iterator[Conflict]:
    cloud_map = client("servicediscovery")
    pages = cloud_map.get_paginator("list_services").paginate(
        Filters=[{"Name": "NAMESPACE_ID", "Values": [namespace], "Condition": "EQ"}]
    )
    standing = {found["Name"]: found["Arn"] for page in pages for found in page["Services"]}
    for service in services:
        if arn := standing.get(service.discovery_name):
            tags = cloud_map.list_tags_for_resource(ResourceARN=arn)["Tags"]
            if environment := _of_another(settings, tags):
                yield (
                    f"the discovery name {service.discovery_name} for {service.key}",
                    f"in namespace {settings.estate.namespace}",
                    f"it is of the environment {environment}",
                    f"set services.{service.key}.discovery.name to another name",
                )
