"""A program with the resource types and look-ups that a service takes; deployed by test_everything.py."""

import json

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker

config = pulumi.Config()
name = config.require("name")
vpc = aws.ec2.get_vpc(id=config.require("vpc"))
subnets = aws.ec2.get_subnets(filters=[{"name": "vpc-id", "values": [vpc.id]}])
balancer = aws.lb.get_load_balancer(name=name)
listener = aws.lb.get_listener(load_balancer_arn=balancer.arn, port=443)
namespace = aws.servicediscovery.get_dns_namespace(name=f"{name}.local", type="DNS_PRIVATE")
cluster = aws.ecs.get_cluster(cluster_name=name)
zone = aws.route53.get_zone(name=f"{name}.example")
region = aws.get_region()
tags = {"Service": name} | (config.get_object("tags") or {})
trust = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}
        ],
    }
)


class Group(pulumi.ComponentResource):
    def __init__(self, label: str) -> None:
        super().__init__("test:index:Group", label)
        options = pulumi.ResourceOptions(parent=self)
        repository = aws.ecr.Repository(
            "repository",
            name=name,
            force_delete=True,
            tags=tags,
            image_tag_mutability=config.get("mutability") or "IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[{"encryption_type": "AES256"}],
            opts=options,
        )
        aws.ecr.LifecyclePolicy(
            "lifecycle",
            repository=repository.name,
            policy=json.dumps(
                {
                    "rules": [
                        {
                            "rulePriority": 1,
                            "action": {"type": "expire"},
                            "selection": {
                                "tagStatus": "any",
                                "countType": "imageCountMoreThan",
                                "countNumber": config.get_int("keep") or 10,
                            },
                        }
                    ]
                }
            ),
            opts=options,
        )
        token = aws.ecr.get_authorization_token_output()
        image = docker.Image(
            "image",
            image_name=pulumi.Output.format("{0}:{1}", repository.repository_url, config.get("tag") or "v1"),
            build={"context": "image", "platform": "linux/amd64", "args": {"A": config.get("arg") or "b"}},
            registry={
                "server": repository.repository_url,
                "username": token.user_name,
                "password": pulumi.Output.secret(token.password),
            },
            opts=options,
        )
        logs = aws.cloudwatch.LogGroup(
            "logs", name=f"/ecs/{name}", retention_in_days=config.get_int("retention") or 7, tags=tags, opts=options
        )
        role = aws.iam.Role("role", name=f"{name}-role", assume_role_policy=trust, tags=tags, opts=options)
        aws.iam.RolePolicy(
            "policy",
            name="task",
            role=role.name,
            policy=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Action": ["s3:GetObject"],
                            "Resource": config.get("bucket") or "arn:aws:s3:::b/*",
                        }
                    ],
                }
            ),
            opts=options,
        )
        group = aws.ec2.SecurityGroup(
            "group", name=f"{name}-sg", description="tasks", vpc_id=vpc.id, tags=tags, opts=options
        )
        aws.vpc.SecurityGroupIngressRule(
            "in",
            security_group_id=group.id,
            ip_protocol="tcp",
            from_port=8000,
            to_port=config.get_int("port") or 8000,
            cidr_ipv4="10.0.0.0/16",
            description="balancer",
            tags=tags,
            opts=options,
        )
        aws.vpc.SecurityGroupEgressRule(
            "out", security_group_id=group.id, ip_protocol="-1", cidr_ipv4="0.0.0.0/0", opts=options
        )
        target_port = config.get_int("target_port") or 8000
        targets = aws.lb.TargetGroup(
            "targets",
            name=f"{name}-tg" if target_port == 8000 else f"{name}-{target_port}",
            port=target_port,
            protocol="HTTP",
            target_type="ip",
            vpc_id=vpc.id,
            health_check={"path": config.get("health") or "/health", "interval": 30, "matcher": "200"},
            tags=tags,
            opts=options,
        )
        rule = aws.lb.ListenerRule(
            "rule",
            listener_arn=listener.arn,
            priority=config.get_int("priority") or 50,
            actions=[{"type": "forward", "target_group_arn": targets.arn}],
            conditions=[{"host_header": {"values": ["api.example.org"]}}, {"path_pattern": {"values": ["/x", "/x/*"]}}],
            transforms=[
                {
                    "type": "url-rewrite",
                    "url_rewrite_config": {
                        "rewrite": {"regex": "^/x/?(.*)$", "replace": config.get("replace") or "/$1"}
                    },
                }
            ],
            tags=tags,
            opts=options,
        )
        discovery = aws.servicediscovery.Service(
            "discovery",
            name="x",
            force_destroy=True,
            tags=tags,
            dns_config={
                "namespace_id": namespace.id,
                "routing_policy": "MULTIVALUE",
                "dns_records": [{"type": "A", "ttl": config.get_int("ttl") or 60}, {"type": "SRV", "ttl": 60}],
            },
            health_check_custom_config={"failure_threshold": 1},
            opts=options,
        )
        definition = aws.ecs.TaskDefinition(
            "definition",
            family=name,
            cpu="512",
            memory=config.get("memory") or "1024",
            network_mode="awsvpc",
            requires_compatibilities=["FARGATE"],
            execution_role_arn=role.arn,
            task_role_arn=role.arn,
            runtime_platform={"cpu_architecture": "X86_64", "operating_system_family": "LINUX"},
            tags=tags,
            container_definitions=pulumi.Output.json_dumps(
                [
                    {
                        "name": "server",
                        "image": image.repo_digest,
                        "portMappings": [{"containerPort": 8000}],
                        "environment": [{"name": "B", "value": "1"}, {"name": "A", "value": "2"}],
                        "logConfiguration": {
                            "logDriver": "awslogs",
                            "options": {
                                "awslogs-group": logs.name,
                                "awslogs-region": region.region,
                                "awslogs-stream-prefix": "x",
                            },
                        },
                    }
                ]
            ),
            opts=options,
        )
        aws.ecs.Service(
            "service",
            name=f"{name}-service",
            cluster=cluster.arn,
            task_definition=definition.arn,
            desired_count=config.get_int("count") or 1,
            launch_type="FARGATE",
            platform_version="LATEST",
            network_configuration={"subnets": subnets.ids, "security_groups": [group.id], "assign_public_ip": False},
            enable_execute_command=True,
            health_check_grace_period_seconds=60,
            load_balancers=[{"target_group_arn": targets.arn, "container_name": "server", "container_port": 8000}],
            service_registries={"registry_arn": discovery.arn, "container_name": "server", "container_port": 8000},
            deployment_circuit_breaker={"enable": True, "rollback": True},
            alarms={
                "enable": config.get("watched") != "no",
                "rollback": True,
                "alarm_names": [f"{name}-b", f"{name}-a"],
            },
            deployment_maximum_percent=200,
            deployment_minimum_healthy_percent=100,
            wait_for_steady_state=True,
            availability_zone_rebalancing="ENABLED",
            tags=tags,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rule]),
        )
        aws.ssm.Parameter(
            "parameter",
            name=f"/{name}/v",
            type="SecureString",
            value=config.require_secret("value"),
            tags=tags,
            opts=options,
        )
        aws.route53.Record(
            "alias",
            zone_id=zone.zone_id,
            name=f"mcp.{name}.example",
            type="A",
            aliases=[{"name": balancer.dns_name, "zone_id": balancer.zone_id, "evaluate_target_health": False}],
            opts=options,
        )
        aws.route53.Record(
            "text",
            zone_id=zone.zone_id,
            name=f"txt.{name}.example",
            type="TXT",
            ttl=60,
            records=[config.get("txt") or "a"],
            opts=options,
        )
        self.register_outputs({})
        pulumi.export("revision", definition.revision)
        pulumi.export("hidden", config.require_secret("value"))
        pulumi.export("digest", image.repo_digest)


Group("group")
