"""MCP servers on an existing ECS estate: settings -> estate -> registry -> routing -> service -> outputs."""

import gc

import pulumi

from components import delivery
from components import estate as estates
from components import settings as configuration
from components.bucket import Bucket, BucketArgs
from components.notifications import Notifications, NotificationsArgs
from components.observability import Observability, ObservabilityArgs
from components.registry import Registry, RegistryArgs, ecr_login
from components.routing import Routing, RoutingArgs
from components.service import McpService, McpServiceArgs, check_sizes

# Resources live until the program ends: with 50 services, looking for garbage among them took a third of its time.
gc.set_threshold(50_000, 20, 100)


async def main() -> dict[str, object]:
    settings = configuration.load()
    estate = await estates.look_up(settings)
    declared = delivery.recorded()
    check_sizes(settings.services.values(), estate)
    login = ecr_login()
    notifications = (
        Notifications(
            "notifications", NotificationsArgs(settings=settings, monitoring=settings.monitoring, estate=estate)
        )
        if settings.monitoring
        else None
    )
    for name in settings.buckets:
        Bucket(name, BucketArgs(settings=settings, estate=estate))
    addresses: dict[str, str] = {}
    services: dict[str, dict[str, object]] = {}
    for key, service in settings.services.items():
        tags = settings.tags_for(service)
        registry = Registry(
            key,
            RegistryArgs(
                repository=service.name,
                image=service.image,
                login=login,
                healthy=estate.healthy.get(key, ()),
                tags=tags,
            ),
        )
        routing = Routing(
            key, RoutingArgs(service=service, estate=estate, tags=tags, parameter_prefix=settings.parameter_prefix)
        )
        running = McpService(
            key,
            McpServiceArgs(
                service=service,
                estate=estate,
                registry=registry,
                routing=routing,
                tags=tags,
                rollback_alarms=settings.rollback_alarms(service),
                parameter_prefix=settings.parameter_prefix,
            ),
        )
        if notifications:
            Observability(
                key,
                ObservabilityArgs(
                    service=service,
                    estate=estate,
                    routing=routing,
                    running=running,
                    topics=notifications.topics,
                    tags=tags,
                ),
            )
        addresses[routing.consumer_variable] = f"{routing.internal_url}/mcp"
        services[key] = {
            "url": service.url,
            "internalUrl": routing.internal_url,
            "addressParameter": routing.parameter_name,
            "image": registry.image,
            "tag": registry.tag,
            "repositoryUrl": registry.repository_url,
            "taskDefinition": running.task_definition_arn,
            "service": running.service_name,
            "logGroup": running.log_group,
            "targetGroup": routing.target_group_arn,
        }
    return {
        "cluster": estate.cluster_name,
        "services": services,
        **addresses,
        **delivery.roles(settings, estate, declared),
    }


pulumi.run(main)
