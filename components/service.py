"""The running server: roles, log group, task definition and ECS service."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from components import oauth_state, rollout, scaling, traffic_shift
from components.containers import collector, log_configuration, log_group_name, volumes
from components.deployment_alarms import watched_alarms
from components.documents import canonical_json
from components.estate import Estate
from components.names import service_name
from components.registry import Registry
from components.roles import make_role, trust
from components.routing import Routing, internal_url
from components.settings import DynamoDbState, RollbackAlarm, Service
from components.settings.server import VALKEY

IMAGE_BEING_BUILT = "image@sha256:" + "0" * 64
"""Stands for the image where its digest is not known yet: everything else of the container definitions is known at
preview."""

# ECS takes 64 KiB for the whole; what is beside the container definitions takes less than 2.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html
_DEFINITIONS_LIMIT = 62 * 1024


# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html#ecs-exec-required-iam-permissions
_EXEC_ACTIONS = [f"ssmmessages:{verb}{kind}Channel" for verb in ("Create", "Open") for kind in ("Control", "Data")]

_TRACE_ACTIONS = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]


class OversizedError(pulumi.RunError):
    """A service's task definition is larger than ECS takes."""


def check_sizes(services: Iterable[Service], estate: Estate) -> None:
    """Raises `OversizedError` for the first task definition that ECS would refuse, before anything is registered."""
    for service in services:
        definitions = container_definitions(service, estate, IMAGE_BEING_BUILT)
        size = len(definitions.encode())
        if size > _DEFINITIONS_LIMIT:
            container, *_ = json.loads(definitions)
            variables = [
                (len((variable.get("value") or variable["valueFrom"]).encode()), variable["name"])
                for variable in (*container.get("environment", []), *container.get("secrets", []))
            ]
            largest = ", ".join(f"{name} ({bytes_:,} bytes)" for bytes_, name in sorted(variables, reverse=True)[:3])
            raise OversizedError(
                f"The task definition of {service.key} is too large; nothing was changed.\n"
                f"      is       {size:,} bytes of container definitions\n"
                f"      allowed  {_DEFINITIONS_LIMIT:,} bytes (ECS takes 64 KiB for a whole task definition)\n"
                f"      largest  {largest}\n"
                f"      do       shorten them in mcp-on-ecs:services.{service.key}, or put their content into the image"
            )


def container_definitions(
    service: Service,
    estate: Estate,
    image: str,
    made_secrets: Mapping[str, str] | None = None,
    cache_host: str | None = None,
) -> str:
    """The task's container definitions, as canonical JSON.

    image: `repository@sha256:...`. made_secrets: environment variable -> ARN of the secret that is made for it.
    cache_host: name of the cache that is made. Default of both: what stands for them.
    """
    # `arn:KEY::` is one key of the JSON; the ARN alone would inject the whole object.
    secrets = {name: f"{estate.secrets[wanted.secret].arn}:{wanted.key}::" for name, wanted in service.secrets.items()}
    made = made_secrets or oauth_state.made_arns(service, estate, "000000")
    secrets |= {variable: f"{arn}:{variable}::" for variable, arn in made.items()}
    environment = service.container_environment(internal_url(service, estate))
    if service.oauth_cache:
        environment[f"{VALKEY}HOST"] = cache_host or f"{service.oauth_store}.cache.amazonaws.com"
    health = service.health
    return canonical_json(
        [
            {
                "name": service.key,
                "image": image,
                "essential": True,
                "portMappings": [{"containerPort": service.port, "hostPort": service.port, "protocol": "tcp"}],
                "environment": [{"name": name, "value": environment[name]} for name in sorted(environment)],
                "secrets": [{"name": name, "valueFrom": secrets[name]} for name in sorted(secrets)],
                "healthCheck": {
                    "command": ["CMD-SHELL", f"curl -f http://localhost:{service.port}{health.path} || exit 1"],
                    "interval": health.interval,
                    "timeout": health.timeout,
                    "retries": health.unhealthy_threshold,
                    "startPeriod": health.start_period,
                },
                "logConfiguration": log_configuration(service, estate),
                "readonlyRootFilesystem": service.read_only_root,
                "stopTimeout": service.stop_timeout,
                "linuxParameters": {"initProcessEnabled": service.exec_enabled},
                "mountPoints": [
                    {"sourceVolume": volume, "containerPath": path, "readOnly": False}
                    for volume, path in volumes(service).items()
                ],
                "user": "10001" if service.server == "workspace-mcp" else None,
            },
            *collector(service, estate),
        ]
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class McpServiceArgs:
    """What a service is made of."""

    service: Service
    """The service's settings."""
    estate: Estate
    """Where it runs."""
    registry: Registry
    """Its image."""
    routing: Routing
    """How it is reached."""
    tags: dict[str, str]
    """Tags for every taggable resource."""
    rollback_alarms: Sequence[RollbackAlarm]
    """Which of the service's alarms take a deployment back."""
    parameter_prefix: str
    """Path under which healthy revisions are remembered in Parameter Store, without a trailing slash."""


class McpService(pulumi.ComponentResource):
    """One MCP server on Fargate."""

    task_definition_arn: pulumi.Output[str]
    """ARN, with revision, of the task definition that ECS was seen to run."""
    service_name: pulumi.Output[str]
    """The ECS service's name."""
    log_group: pulumi.Output[str]
    """The log group's name."""
    execution_role_arn: pulumi.Output[str]
    """The role that starts the task."""
    healthy: pulumi.Resource
    """The note that it became healthy: what is to come after that depends on it."""

    def __init__(self, name: str, args: McpServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        service, estate, tags = args.service, args.estate, args.tags
        # At a preview the real definitions are one unknown string; policies look at these.
        plan = {
            "service": service.key,
            "containerDefinitions": container_definitions(service, estate, IMAGE_BEING_BUILT),
            "desiredCount": service.desired_count,
        }
        super().__init__("mcp-on-ecs:index:McpService", name, plan, opts)
        self._name, self._args, self._child = name, args, pulumi.ResourceOptions(parent=self)

        logs = aws.cloudwatch.LogGroup(
            f"{name}-logs",
            name=log_group_name(service),
            retention_in_days=service.logs.retention_days,
            tags={
                **tags,
                **({"RetentionReason": service.logs.retention_reason} if service.logs.retention_reason else {}),
            },
            opts=self._child,
        )
        state = (
            oauth_state.OAuthState(
                name,
                oauth_state.OAuthStateArgs(
                    service=service, estate=estate, security_groups=args.routing.security_groups, tags=tags
                ),
                opts=self._child,
            )
            if service.made_secrets or isinstance(service.oauth_state, DynamoDbState)
            else None
        )
        task_role, task_policy = self._role("task", self._task_statements())
        execution_policy: list[pulumi.Resource] = []
        if service.execution_role:
            self.execution_role_arn = pulumi.Output.from_input(estate.execution_roles[service.execution_role])
        else:
            self.execution_role_arn, execution_policy = self._role("execution", self._execution_statements())
        task_definition = aws.ecs.TaskDefinition(
            f"{name}-task-definition",
            family=service.name,
            cpu=str(service.cpu),
            memory=str(service.memory),
            network_mode="awsvpc",
            requires_compatibilities=["FARGATE"],
            runtime_platform={"cpu_architecture": service.image.architecture, "operating_system_family": "LINUX"},
            execution_role_arn=self.execution_role_arn,
            task_role_arn=task_role,
            container_definitions=pulumi.Output.all(
                args.registry.image, state and state.secrets, state and state.host
            ).apply(lambda known: container_definitions(service, estate, *known)),
            volumes=[{"name": volume} for volume in volumes(service)],
            # Kept, so that there is a revision to go back to.
            skip_destroy=True,
            tags={
                **tags,
                **({"SourceRevision": args.registry.source_revision} if args.registry.source_revision else {}),
            },
            opts=self._child,
        )
        ecs_service = aws.ecs.Service(
            f"{name}-service",
            name=service_name(service),
            cluster=estate.cluster,
            task_definition=task_definition.arn,
            desired_count=service.desired_count,
            **scaling.capacity(service.capacity),
            platform_version="LATEST",
            network_configuration={
                "subnets": list(estate.subnets),
                "security_groups": args.routing.security_groups,
                "assign_public_ip": False,
            },
            load_balancers=self._load_balancers(),
            service_registries={
                "registry_arn": args.routing.discovery_arn,
                "container_name": service.key,
                "container_port": service.port,
            },
            health_check_grace_period_seconds=service.health.grace_period if args.routing.target_group_arn else None,
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            deployment_circuit_breaker={"enable": True, "rollback": True},
            deployment_configuration=traffic_shift.configuration(service.deployment),
            alarms=watched_alarms(service, args.rollback_alarms),
            availability_zone_rebalancing="ENABLED",
            enable_execute_command=service.exec_enabled,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            # `rollout.deployed` waits, so that whatever goes wrong is told with its reasons.
            wait_for_steady_state=False,
            tags=tags,
            # Without its rights or its state the first task fails, and the deployment with it.
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[
                    *(*task_policy, *execution_policy, logs),
                    *(state.needed if state else []),
                    *(args.routing.shift.needed if args.routing.shift else []),
                ],
                ignore_changes=["desiredCount"] if service.autoscaling else None,
            ),
        )
        if service.autoscaling:
            scaling.scale(name, service, estate, ecs_service.name, args.routing.target_group_arn, tags, self)
        known = estate.healthy.get(service.key, ())
        limit = rollout.limit(service.deployment)
        self.task_definition_arn = rollout.deployed(ecs_service, task_definition.arn, logs.name, known, limit)
        self.healthy = aws.ssm.Parameter(
            f"{name}-healthy",
            name=rollout.healthy_parameter(args.parameter_prefix, service.key),
            type="String",
            value=pulumi.Output.all(self.task_definition_arn, args.registry.kept(self.task_definition_arn)).apply(
                lambda seen: rollout.remembering(known, seen[0], seen[1], args.registry.tag)
            ),
            description=f"Revisions of {service.name} that became healthy, newest first",
            tags=tags,
            opts=self._child,
        )
        self.service_name = ecs_service.name
        self.log_group = logs.name
        self.register_outputs(
            {
                "taskDefinitionArn": self.task_definition_arn,
                "serviceName": self.service_name,
                "logGroup": self.log_group,
                **plan,  # A policy on the whole stack sees a component's outputs, not its inputs.
            }
        )

    def _load_balancers(self) -> list[aws.ecs.ServiceLoadBalancerArgsDict]:
        routing, service = self._args.routing, self._args.service
        if routing.target_group_arn is None:
            return []
        balancer: aws.ecs.ServiceLoadBalancerArgsDict = {
            "target_group_arn": routing.target_group_arn,
            "container_name": service.key,
            "container_port": service.port,
        }
        if shift := routing.shift:
            balancer["advanced_configuration"] = {
                "alternate_target_group_arn": shift.alternate_arn,
                "production_listener_rule": shift.rule_arn,
                "role_arn": shift.role_arn,
            }
        return [balancer]

    def _role(self, part: str, statements: list[dict[str, Any]]) -> tuple[pulumi.Output[str], list[pulumi.Resource]]:
        """A role that ECS tasks of this account may take, with `statements` as its one policy (if there are any)."""
        args, estate = self._args, self._args.estate
        trusted = trust(
            "ecs-tasks.amazonaws.com",
            # Against the confused deputy: only tasks of this account and region.
            {
                "StringEquals": {"aws:SourceAccount": estate.account},
                "ArnLike": {"aws:SourceArn": f"arn:{estate.partition}:ecs:{estate.region}:{estate.account}:*"},
            },
        )
        return make_role(
            self._name,
            args.service,
            part,
            trusted=trusted,
            statements=statements,
            tags=args.tags,
            opts=self._child,
        )

    def _task_statements(self) -> list[dict[str, Any]]:
        service, estate = self._args.service, self._args.estate
        statements: list[dict[str, Any]] = []
        if service.permissions.bucket:
            bucket = f"arn:{estate.partition}:s3:::{service.permissions.bucket}"
            statements += [
                {
                    "Sid": "Objects",
                    "Action": ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
                    "Resource": f"{bucket}/*",
                },
                {"Sid": "Bucket", "Action": "s3:ListBucket", "Resource": bucket},
            ]
        if service.tokens:
            bucket = f"arn:{estate.partition}:s3:::{service.tokens.bucket}"
            statements += [
                {
                    "Sid": "Tokens",
                    "Action": ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
                    "Resource": f"{bucket}/{service.tokens.prefix}/*",
                },
                # Without it S3 says of what is missing that it is forbidden. A condition on s3:prefix would never
                # hold there: who gets an object names no prefix.
                {"Sid": "TokensBucket", "Action": "s3:ListBucket", "Resource": bucket},
            ]
        statements += oauth_state.task_statements(service, estate)
        bucket_keys = sorted({key for name in service.buckets if (key := estate.bucket_keys.get(name))})
        if bucket_keys:
            statements.append(
                {
                    "Sid": "BucketKeys",
                    "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                    "Resource": bucket_keys,
                    "Condition": {"StringEquals": {"kms:ViaService": f"s3.{estate.region}.amazonaws.com"}},
                }
            )
        if service.permissions.secrets:
            # Secrets Manager puts a hyphen and six random characters behind a secret's name.
            names = [name if name.endswith("*") else f"{name}-??????" for name in service.permissions.secrets]
            statements.append(
                {
                    "Sid": "Secrets",
                    "Action": "secretsmanager:GetSecretValue",
                    "Resource": [
                        f"arn:{estate.partition}:secretsmanager:{estate.region}:{estate.account}:secret:{name}"
                        for name in names
                    ],
                }
            )
            keys = {key for name in service.permissions.secrets for key in estate.permitted_keys.get(name, ())}
            if keys:
                statements.append(
                    {
                        "Sid": "SecretKeys",
                        "Action": "kms:Decrypt",
                        "Resource": sorted(keys),
                        "Condition": {
                            "StringEquals": {"kms:ViaService": f"secretsmanager.{estate.region}.amazonaws.com"}
                        },
                    }
                )
        if service.exec_enabled:
            # These actions know no resources: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonmessagegatewayservice.html
            statements.append({"Sid": "ExecuteCommand", "Action": _EXEC_ACTIONS, "Resource": "*"})
        if service.tracing:
            # Nor do these: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
            statements.append({"Sid": "Traces", "Action": _TRACE_ACTIONS, "Resource": "*"})
        return statements

    def _execution_statements(self) -> list[dict[str, Any]]:
        """Pull this image, write this log group, read these secrets; nothing else.

        ARNs are put together from names, so that the policy is known at a preview.
        """
        service, estate = self._args.service, self._args.estate
        place = f"{estate.region}:{estate.account}"
        secrets = [estate.secrets[wanted.secret] for wanted in service.secrets.values()]
        arns = {secret.arn for secret in secrets} | set(oauth_state.made_arns(service, estate, "??????").values())
        keys = sorted({secret.kms_key for secret in secrets if secret.kms_key})
        statements: list[dict[str, Any]] = [
            # This action knows no resources:
            # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
            {"Sid": "RegistryLogin", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
            {
                "Sid": "Image",
                "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                "Resource": _images(service, estate),
            },
            {
                "Sid": "Logs",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": f"arn:{estate.partition}:logs:{place}:log-group:{log_group_name(service)}:*",
            },
        ]
        if arns:
            statements.append({"Sid": "Secrets", "Action": "secretsmanager:GetSecretValue", "Resource": sorted(arns)})
        if keys:
            statements.append({"Sid": "SecretKeys", "Action": "kms:Decrypt", "Resource": keys})
        return statements


def _images(service: Service, estate: Estate) -> str | list[str]:
    """ARNs of the repositories that the task's images are in; other registries than ECR's need no right."""
    own = f"arn:{estate.partition}:ecr:{estate.region}:{estate.account}:repository/{service.name}"
    repository = _repository(service.image.digest or "", estate) or own
    collector_repository = _repository(service.tracing.collector, estate) if service.tracing else None
    return [repository, collector_repository] if collector_repository else repository


def _repository(image: str, estate: Estate) -> str | None:
    """The ARN of the ECR repository that an image is named in."""
    named = re.match(r"(\d+)\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com[a-z.]*/([^@]+)@", image)
    if named is None:
        return None
    account, region, name = named.groups()
    return f"arn:{estate.partition}:ecr:{region}:{account}:repository/{name}"
