"""What a team has made by hand before there was a program: a deployment as the console and a script leave it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from components.containers import log_group_name
from components.names import target_group_name
from components.settings import Service, Settings
from rehearsal.emulator import Account

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Handmade:
    """Choices that were made, good or bad. The defaults can all be adopted."""

    priority: int = 50
    encryption: str = "AES256"
    port: int = 8000
    """The target group's."""
    vpc: str | None = None
    """The target group's. Default: the estate's."""
    records: tuple[str, ...] = ("A", "SRV")
    tags: tuple[tuple[str, str], ...] = ()
    """The log group's."""


def listener(account: Account, settings: Settings) -> str:
    """ARN of the estate's HTTPS listener."""
    elb = account.client("elbv2")
    (balancer,) = elb.describe_load_balancers(Names=[settings.estate.load_balancer])["LoadBalancers"]
    listeners = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    return next(str(one["ListenerArn"]) for one in listeners if one["Port"] == 443)


def make(account: Account, settings: Settings, service: Service, image: str, choices: Handmade | None = None) -> None:
    """Make it all under the names that the program gives to its own. `image`: what its task runs."""
    chosen, name, estate = choices or Handmade(), service.name, settings.estate
    account.client("ecr").create_repository(
        repositoryName=name, encryptionConfiguration={"encryptionType": chosen.encryption}
    )
    account.client("logs").create_log_group(logGroupName=log_group_name(service), tags=dict(chosen.tags))
    role = _role(account, f"{name}-task-role")
    group = _target_group(account, service, estate.vpc, chosen)
    account.client("elbv2").create_rule(
        ListenerArn=listener(account, settings),
        Priority=chosen.priority,
        Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/google-workspace/*"]}}],
        Actions=[{"Type": "forward", "TargetGroupArn": group}],
    )
    _ecs(account, settings, service, image, role, group, _discovery(account, settings, service, chosen))


def _role(account: Account, name: str) -> str:
    iam = account.client("iam")
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="s3-access", PolicyDocument=json.dumps(EVERYTHING))
    broad = "arn:aws:iam::aws:policy/SecretsManagerReadWrite"
    iam.attach_role_policy(RoleName=name, PolicyArn=broad)
    return arn


def _target_group(account: Account, service: Service, vpc: str, chosen: Handmade) -> str:
    groups = account.client("elbv2").create_target_group(
        Name=target_group_name(service),
        Protocol="HTTP",
        Port=chosen.port,
        VpcId=chosen.vpc or vpc,
        TargetType="ip",
        HealthCheckPath="/health",
    )["TargetGroups"]
    return str(groups[0]["TargetGroupArn"])


def _discovery(account: Account, settings: Settings, service: Service, chosen: Handmade) -> str:
    cloud_map = account.client("servicediscovery")
    spaces = cloud_map.list_namespaces()["Namespaces"]
    namespace = next(space["Id"] for space in spaces if space["Name"] == settings.estate.namespace)
    records: list[Any] = [{"Type": type_, "TTL": 60} for type_ in chosen.records]
    made = cloud_map.create_service(
        Name=service.discovery_name,
        DnsConfig={"NamespaceId": namespace, "RoutingPolicy": "MULTIVALUE", "DnsRecords": records},
        HealthCheckCustomConfig={"FailureThreshold": 1},
    )["Service"]
    return str(made["Arn"])


def _ecs(
    account: Account, settings: Settings, service: Service, image: str, role: str, group: str, discovery: str
) -> None:
    ecs, ec2, name = account.client("ecs"), account.client("ec2"), service.name
    container = {
        "name": "server",
        "image": image,
        "portMappings": [{"containerPort": 8000}],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": log_group_name(service),
                "awslogs-region": account.region,
                "awslogs-stream-prefix": "ecs",
            },
        },
    }
    ecs.register_task_definition(
        family=name,
        containerDefinitions=[container],
        cpu="512",
        memory="1024",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        taskRoleArn=role,
        executionRoleArn=role,
    )
    subnets = [s["SubnetId"] for s in ec2.describe_subnets()["Subnets"] if s["CidrBlock"] == "10.0.10.0/24"]
    ecs.create_service(
        cluster=settings.estate.cluster,
        serviceName=f"{name}-service",
        taskDefinition=name,
        desiredCount=1,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": subnets, "assignPublicIp": "DISABLED"}},
        loadBalancers=[{"targetGroupArn": group, "containerName": "server", "containerPort": 8000}],
        serviceRegistries=[{"registryArn": discovery, "containerName": "server", "containerPort": 8000}],
    )
