"""The production stack, resource by resource, against what the first user wants."""

from __future__ import annotations

import json
from typing import Any

from components.observability import DEPLOYMENTS
from tests.components.production import BUCKET, REPOSITORY, ROLE, TAGS
from tests.components.program import (
    DIGEST,
    TOKEN,
    UNKNOWN,
    Deploy,
    Recorded,
    Secret,
    secret_arn,
    target_group_arn,
)
from tests.conftest import ROOT

ALARMS = (
    "cpu",
    "crash-loop",
    "errors",
    "memory",
    "no-healthy-target",
    "no-task",
    "oauth-failures",
    "refusals",
    "server-errors",
    "slow",
    "store-failures",
    "unhealthy-targets",
    "unreachable",
)
QUERIES = ("errors", "errors-by-kind", "last-lines-of-each-task", "refused-clients", "sign-ins-that-failed")
TOPICS = ("critical", "deployments", "operations", "warning")


def test_the_whole_graph_is_these_resources_and_no_other(production: Recorded) -> None:
    assert sorted((r.type, r.name) for r in production.resources) == [
        ("aws:cloudwatch/compositeAlarm:CompositeAlarm", "google-workspace-users-affected"),
        ("aws:cloudwatch/dashboard:Dashboard", "google-workspace-dashboard"),
        ("aws:cloudwatch/eventRule:EventRule", "google-workspace-events-deployment-begun"),
        ("aws:cloudwatch/eventRule:EventRule", "google-workspace-events-deployment-completed"),
        ("aws:cloudwatch/eventRule:EventRule", "google-workspace-events-deployment-failed"),
        ("aws:cloudwatch/eventRule:EventRule", "google-workspace-events-stopped"),
        ("aws:cloudwatch/eventTarget:EventTarget", "google-workspace-events-deployment-begun-target"),
        ("aws:cloudwatch/eventTarget:EventTarget", "google-workspace-events-deployment-completed-target"),
        ("aws:cloudwatch/eventTarget:EventTarget", "google-workspace-events-deployment-failed-target"),
        ("aws:cloudwatch/eventTarget:EventTarget", "google-workspace-events-stopped-target"),
        ("aws:cloudwatch/logGroup:LogGroup", "google-workspace-logs"),
        *(
            ("aws:cloudwatch/logMetricFilter:LogMetricFilter", f"google-workspace-filter-{part}")
            for part in ("errors", "oauth-failures", "refusals", "store-failures")
        ),
        *(("aws:cloudwatch/metricAlarm:MetricAlarm", f"google-workspace-alarm-{part}") for part in ALARMS),
        *(("aws:cloudwatch/queryDefinition:QueryDefinition", f"google-workspace-query-{part}") for part in QUERIES),
        ("aws:ecr/lifecyclePolicy:LifecyclePolicy", "google-workspace-lifecycle"),
        ("aws:ecr/repository:Repository", "google-workspace-repository"),
        ("aws:ecs/service:Service", "google-workspace-service"),
        ("aws:ecs/taskDefinition:TaskDefinition", "google-workspace-task-definition"),
        ("aws:iam/role:Role", "google-workspace-execution-role"),
        ("aws:iam/role:Role", "google-workspace-task-role"),
        ("aws:iam/rolePolicy:RolePolicy", "google-workspace-execution-policy"),
        ("aws:iam/rolePolicy:RolePolicy", "google-workspace-task-policy"),
        ("aws:kms/alias:Alias", "notifications-alias"),
        ("aws:kms/key:Key", "notifications-key"),
        ("aws:lb/listenerRule:ListenerRule", "google-workspace-rule-1"),
        ("aws:lb/listenerRule:ListenerRule", "google-workspace-rule-2"),
        ("aws:lb/listenerRule:ListenerRule", "google-workspace-rule-3"),
        ("aws:lb/targetGroup:TargetGroup", "google-workspace-target-group"),
        *(
            (f"aws:s3/bucket{kind}:Bucket{kind}", f"{BUCKET}-{part}")
            for kind, part in (
                ("LifecycleConfiguration", "lifecycle"),
                ("OwnershipControls", "ownership"),
                ("Policy", "policy"),
                ("PublicAccessBlock", "public-access"),
                ("Versioning", "versioning"),
            )
        ),
        ("aws:servicediscovery/service:Service", "google-workspace-discovery"),
        *(("aws:sns/topic:Topic", f"notifications-{topic}") for topic in TOPICS),
        *(("aws:sns/topicPolicy:TopicPolicy", f"notifications-{topic}-policy") for topic in TOPICS),
        ("aws:ssm/parameter:Parameter", "google-workspace-address"),
        ("aws:ssm/parameter:Parameter", "google-workspace-healthy"),
        ("docker:index/image:Image", "google-workspace-image"),
        ("mcp-on-ecs:index:Bucket", BUCKET),
        ("mcp-on-ecs:index:McpService", "google-workspace"),
        ("mcp-on-ecs:index:Notifications", "notifications"),
        ("mcp-on-ecs:index:Observability", "google-workspace"),
        ("mcp-on-ecs:index:Registry", "google-workspace"),
        ("mcp-on-ecs:index:Routing", "google-workspace"),
    ]


def test_readme_shows_as_many_resources_as_there_are(production: Recorded) -> None:
    count = sum(not resource.type.startswith("mcp-on-ecs:") for resource in production.resources)
    assert f"{count} of {count} resources changed" in (ROOT / "README.md").read_text(), count


def test_every_resource_belongs_to_its_component_and_every_component_to_the_stack(production: Recorded) -> None:
    homes = {
        "Registry": {"repository", "lifecycle", "image"},
        "Routing": {
            "target-group",
            "rule-1",
            "rule-2",
            "rule-3",
            "discovery",
            "address",
        },
        "McpService": {
            "logs",
            "task-role",
            "task-policy",
            "execution-role",
            "execution-policy",
            "task-definition",
            "service",
            "healthy",
        },
        "Observability": {
            "users-affected",
            "dashboard",
            *(f"events-{about}{part}" for about in ("stopped", *DEPLOYMENTS) for part in ("", "-target")),
            *(f"filter-{part}" for part in ("errors", "oauth-failures", "refusals", "store-failures")),
            *(f"alarm-{part}" for part in ALARMS),
            *(f"query-{part}" for part in QUERIES),
        },
    }
    for component, parts in homes.items():
        within = f"::mcp-on-ecs:index:{component}$"
        assert {r.name for r in production.resources if within in r.urn} == {f"google-workspace-{p}" for p in parts}
    components = [r for r in production.resources if r.type.startswith("mcp-on-ecs:")]
    assert [r.parent for r in components] == ["mcp-on-ecs-production"] * 6


def test_the_log_group_keeps_thirty_days_and_says_why(production: Recorded) -> None:
    assert production.inputs("google-workspace-logs") == {
        "name": "/ecs/busyb-google-workspace-mcp",
        "retentionInDays": 30,
        "tags": {**TAGS, "RetentionReason": "OAuth incidents are looked into weeks later"},
    }


def test_the_task_definition_is_a_fargate_task_of_the_wanted_size(production: Recorded) -> None:
    given = dict(production.inputs("google-workspace-task-definition"))
    del given["containerDefinitions"]
    assert given == {
        "family": "busyb-google-workspace-mcp",
        "cpu": "512",
        "memory": "1024",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
        "executionRoleArn": f"{ROLE}/busyb-google-workspace-mcp-execution-role",
        "taskRoleArn": f"{ROLE}/busyb-google-workspace-mcp-task-role",
        "volumes": [{"name": "exec-agent-state"}, {"name": "exec-agent-log"}, {"name": "scratch"}],
        "skipDestroy": True,
        "tags": TAGS,
    }


def test_the_container_runs_the_pushed_digest_with_settings_secrets_and_health_check(production: Recorded) -> None:
    assert production.container() == {
        "name": "google-workspace",
        "image": f"{REPOSITORY}@{DIGEST}",
        "essential": True,
        "user": "10001",
        "readonlyRootFilesystem": True,
        "stopTimeout": 40,
        "linuxParameters": {"initProcessEnabled": True},
        "portMappings": [{"containerPort": 8000, "hostPort": 8000, "protocol": "tcp"}],
        "environment": [
            {"name": "FASTMCP_ENABLE_RICH_LOGGING", "value": "false"},
            {"name": "FASTMCP_LOG_LEVEL", "value": "WARNING"},
            {"name": "FORWARDED_ALLOW_IPS", "value": "*"},
            {"name": "MCP_ENABLE_OAUTH21", "value": "true"},
            {"name": "PORT", "value": "8000"},
            {"name": "WORKSPACE_EXTERNAL_URL", "value": "https://api.busyb.ai/google-workspace"},
            {
                "name": "WORKSPACE_MCP_ALLOWED_CLIENT_REDIRECT_URIS",
                "value": "https://claude.ai/api/mcp/auth_callback,https://claude.com/api/mcp/auth_callback,"
                "http://localhost:*/callback,http://127.0.0.1:*/callback,https://vscode.dev/redirect,https://insiders.vscode.dev/redirect,"
                "http://127.0.0.1:*,http://localhost:*,cursor://anysphere.cursor-mcp/oauth/callback,"
                "https://www.cursor.com/agents/mcp/oauth/callback,http://localhost:8787/callback,"
                "https://chatgpt.com/connector/oauth/*,https://chatgpt.com/connector_platform_oauth_redirect",
            },
            {"name": "WORKSPACE_MCP_DISABLE_LOCAL_FILES", "value": "true"},
            {"name": "WORKSPACE_MCP_HOST", "value": "0.0.0.0"},  # noqa: S104
            {"name": "WORKSPACE_MCP_LOG_LEVEL", "value": "INFO"},
            {"name": "WORKSPACE_MCP_OAUTH_PROXY_STORAGE_BACKEND", "value": "memory"},
            {"name": "WORKSPACE_MCP_STATELESS_MODE", "value": "true"},
            {"name": "WORKSPACE_MCP_TRANSPORT", "value": "streamable-http"},
        ],
        "secrets": [
            {
                "name": "GOOGLE_OAUTH_CLIENT_ID",
                "valueFrom": f"{secret_arn('busyb/google-oauth-client-id')}:GOOGLE_OAUTH_CLIENT_ID::",
            },
            {
                "name": "GOOGLE_OAUTH_CLIENT_SECRET",
                "valueFrom": f"{secret_arn('busyb/google-oauth-client-secret')}:GOOGLE_OAUTH_CLIENT_SECRET::",
            },
        ],
        "healthCheck": {
            "command": ["CMD-SHELL", "curl -f http://localhost:8000/health || exit 1"],
            "interval": 30,
            "timeout": 5,
            "retries": 3,
            "startPeriod": 60,
        },
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": "/ecs/busyb-google-workspace-mcp",
                "awslogs-region": "us-east-1",
                "awslogs-stream-prefix": "ecs",
            },
        },
        "mountPoints": [
            {"sourceVolume": "exec-agent-state", "containerPath": "/var/lib/amazon", "readOnly": False},
            {"sourceVolume": "exec-agent-log", "containerPath": "/var/log/amazon", "readOnly": False},
            {"sourceVolume": "scratch", "containerPath": "/tmp", "readOnly": False},  # noqa: S108
        ],
    }


def test_the_service_rolls_one_task_safely_in_the_private_subnets(production: Recorded) -> None:
    assert production.inputs("google-workspace-service") == {
        "name": "busyb-google-workspace-mcp-service",
        "cluster": "arn:aws:ecs:us-east-1:758888582357:cluster/busyb-cluster",
        "taskDefinition": "arn:aws:ecs:us-east-1:758888582357:task-definition/busyb-google-workspace-mcp:1",
        "desiredCount": 1,
        "launchType": "FARGATE",
        "platformVersion": "LATEST",
        "networkConfiguration": {
            "subnets": ["subnet-0a", "subnet-0b"],
            "securityGroups": ["sg-ecs"],
            "assignPublicIp": False,
        },
        "loadBalancers": [
            {
                "targetGroupArn": target_group_arn("busyb-google-workspace-mcp-tg"),
                "containerName": "google-workspace",
                "containerPort": 8000,
            }
        ],
        "serviceRegistries": {
            "registryArn": "arn:aws:servicediscovery:us-east-1:758888582357:service/srv-google-workspace",
            "containerName": "google-workspace",
            "containerPort": 8000,
        },
        "healthCheckGracePeriodSeconds": 60,
        "deploymentMinimumHealthyPercent": 100,
        "deploymentMaximumPercent": 200,
        "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        "alarms": {
            "enable": True,
            "rollback": True,
            "alarmNames": [
                "busyb-google-workspace-mcp-server-errors",
                "busyb-google-workspace-mcp-unhealthy-targets",
                "busyb-google-workspace-mcp-unreachable",
            ],
        },
        "availabilityZoneRebalancing": "ENABLED",
        "enableExecuteCommand": True,
        "enableEcsManagedTags": True,
        "propagateTags": "SERVICE",
        "deploymentConfiguration": {"strategy": "ROLLING"},
        "waitForSteadyState": False,
        "tags": TAGS,
    }


def test_the_service_waits_for_the_rights_and_the_log_group_that_its_tasks_need(production: Recorded) -> None:
    (service,) = [r for r in production.resources if r.name == "google-workspace-service"]
    needed = {"google-workspace-task-policy", "google-workspace-execution-policy", "google-workspace-logs"}
    assert needed <= {urn.split("::")[-1] for urn in service.request.dependencies}


def test_the_target_group_asks_health_on_the_port_that_the_server_listens_on(production: Recorded) -> None:
    assert production.inputs("google-workspace-target-group") == {
        "name": "busyb-google-workspace-mcp-tg",
        "vpcId": "vpc-0111b7630bcb61b61",
        "port": 8000,
        "protocol": "HTTP",
        "targetType": "ip",
        "deregistrationDelay": 30,
        "healthCheck": {
            "path": "/health",
            "port": "traffic-port",
            "protocol": "HTTP",
            "matcher": "200",
            "interval": 30,
            "timeout": 5,
            "healthyThreshold": 2,
            "unhealthyThreshold": 3,
        },
        "tags": TAGS,
    }


def test_discovery_has_address_and_port_records_and_leaves_health_to_ecs(production: Recorded) -> None:
    assert production.inputs("google-workspace-discovery") == {
        "name": "google-workspace",
        "dnsConfig": {
            "namespaceId": "ns-1",
            "routingPolicy": "MULTIVALUE",
            "dnsRecords": [{"type": "A", "ttl": 10}, {"type": "SRV", "ttl": 10}],
        },
        "healthCheckCustomConfig": {"failureThreshold": 1},
        "forceDestroy": True,
        "tags": TAGS,
    }


def test_the_consumer_finds_the_address_in_a_parameter(production: Recorded) -> None:
    assert production.inputs("google-workspace-address") == {
        "name": "/busyb/production/MCP_GOOGLE_WORKSPACE_URL",
        "type": "String",
        "value": Secret("http://google-workspace.busyb.local:8000/mcp"),  # The provider marks every parameter's so.
        "description": "Where google-workspace answers inside the VPC",
        "tags": TAGS,
    }


def test_the_outputs_are_what_an_operator_and_the_core_agent_need(production: Recorded) -> None:
    tag = production.outputs["services"]["google-workspace"].pop("tag")
    assert len(tag) == 16
    assert production.outputs == {
        "cluster": "busyb-cluster",
        "MCP_GOOGLE_WORKSPACE_URL": "http://google-workspace.busyb.local:8000/mcp",
        "services": {
            "google-workspace": {
                "url": "https://api.busyb.ai/google-workspace",
                "internalUrl": "http://google-workspace.busyb.local:8000",
                "addressParameter": "/busyb/production/MCP_GOOGLE_WORKSPACE_URL",
                "image": f"{REPOSITORY}@{DIGEST}",
                "repositoryUrl": REPOSITORY,
                "taskDefinition": "arn:aws:ecs:us-east-1:758888582357:task-definition/busyb-google-workspace-mcp:1",
                "service": "busyb-google-workspace-mcp-service",
                "logGroup": "/ecs/busyb-google-workspace-mcp",
                "targetGroup": target_group_arn("busyb-google-workspace-mcp-tg"),
            }
        },
    }


def test_the_registry_password_is_in_no_input_and_no_output_unless_marked_secret(production: Recorded) -> None:
    def open_values(value: Any) -> str:
        match value:
            case Secret():
                return ""
            case dict():
                return " ".join(map(open_values, value.values()))
            case list():
                return " ".join(map(open_values, value))
        return str(value)

    assert any(TOKEN in repr(r.inputs) for r in production.resources), "the password was never used: nothing is shown"
    for resource in production.resources:
        assert TOKEN not in open_values(resource.inputs), resource.name
    assert TOKEN not in open_values(production.outputs)


def test_one_registry_login_serves_the_whole_up(deploy: Deploy, config: dict[str, Any]) -> None:
    config["services"]["second"] = second_service(config)
    tokens = [token for token, _ in deploy(config).calls if "getAuthorizationToken" in token]
    assert len(tokens) == 1


def test_two_runs_register_the_same_bytes(deploy: Deploy, config: dict[str, Any]) -> None:
    def texts(recorded: Recorded) -> dict[str, str]:
        return {r.urn: json.dumps(r.inputs, default=str, sort_keys=True) for r in recorded.resources}

    assert texts(deploy(config)) == texts(deploy(config))


def test_the_order_of_configuration_keys_changes_no_byte(deploy: Deploy, config: dict[str, Any]) -> None:
    config["services"]["google-workspace"]["environment"] = {"B": "2", "A": "1"}
    first = deploy(config).inputs("google-workspace-task-definition")["containerDefinitions"]

    def backwards(value: Any) -> Any:
        return {k: backwards(value[k]) for k in reversed(value)} if isinstance(value, dict) else value

    assert deploy(backwards(config)).inputs("google-workspace-task-definition")["containerDefinitions"] == first


def test_container_definitions_are_canonical(production: Recorded) -> None:
    text = production.inputs("google-workspace-task-definition")["containerDefinitions"]
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))

    def members(value: Any) -> list[Any]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return [*inner, *(deeper for item in inner for deeper in members(item))]

    assert not [member for member in members(json.loads(text)) if member in (None, "", [], {})]


def test_at_a_preview_all_of_the_container_but_the_digest_is_known(deploy: Deploy, config: dict[str, Any]) -> None:
    preview = deploy(config, preview=True)
    assert preview.inputs("google-workspace-task-definition")["containerDefinitions"] is UNKNOWN
    (plan,) = preview.of("mcp-on-ecs:index:McpService").values()
    (planned,) = json.loads(plan["containerDefinitions"])
    actual = deploy(config).container()
    assert planned.pop("image") == "image@sha256:" + "0" * 64
    del actual["image"]
    assert planned == actual


def second_service(config: dict[str, Any]) -> dict[str, Any]:
    """A few lines of configuration, beside the first one's secrets."""
    return {
        "secrets": config["services"]["google-workspace"]["secrets"],
        "oauth": {"clientRedirectUris": ["http://localhost:*"]},
        "securityGroups": ["busyb-ecs-sg"],
        "routing": {"host": "api.busyb.ai", "path": "/second", "priority": 60},
    }


def test_a_second_service_is_a_few_lines_and_shares_nothing_but_the_estate(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    config["services"]["second"] = second_service(config)
    recorded = deploy(config)
    first = {r.name.replace("google-workspace", "*") for r in recorded.resources if "google-workspace" in r.name}
    assert {r.name.replace("second", "*") for r in recorded.resources if "second" in r.name} == first
    assert recorded.container("second")["image"].startswith(REPOSITORY.replace("google-workspace", "second") + "@")
    assert recorded.inputs("second-task-role")["tags"] == {**TAGS, "Service": "second-mcp"}
    assert recorded.outputs["MCP_SECOND_URL"] == "http://second.busyb.local:8000/mcp"
    assert recorded.outputs["services"].keys() == {"google-workspace", "second"}
    names = [(r.type, r.inputs["name"]) for r in recorded.resources if "name" in r.inputs]
    assert len(names) == len(set(names))


# AWS's own list of what takes tags, for the types that the program registers.
TAGGABLE = {
    "aws:cloudwatch/compositeAlarm:CompositeAlarm",
    "aws:cloudwatch/eventRule:EventRule",
    "aws:cloudwatch/logGroup:LogGroup",
    "aws:cloudwatch/metricAlarm:MetricAlarm",
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:ecr/repository:Repository",
    "aws:ecs/service:Service",
    "aws:ecs/taskDefinition:TaskDefinition",
    "aws:iam/role:Role",
    "aws:kms/key:Key",
    "aws:lb/listenerRule:ListenerRule",
    "aws:lb/targetGroup:TargetGroup",
    "aws:servicediscovery/service:Service",
    "aws:sns/topic:Topic",
    "aws:ssm/parameter:Parameter",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
}
UNTAGGABLE = {
    "aws:cloudwatch/dashboard:Dashboard",
    "aws:cloudwatch/eventTarget:EventTarget",
    "aws:cloudwatch/logMetricFilter:LogMetricFilter",
    "aws:cloudwatch/queryDefinition:QueryDefinition",
    "aws:cloudwatch/compositeAlarm:CompositeAlarm",
    "aws:cloudwatch/eventRule:EventRule",
    "aws:ecr/lifecyclePolicy:LifecyclePolicy",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:kms/alias:Alias",
    "aws:route53/record:Record",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
    "aws:s3/bucketPolicy:BucketPolicy",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    "aws:s3/bucketVersioning:BucketVersioning",
    "aws:sns/topicPolicy:TopicPolicy",
    "docker:index/image:Image",
}


def test_every_taggable_resource_has_the_tags_and_those_of_configuration(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    config["tags"] = {"CostCenter": "agents", "Team": "platform"}
    service = config["services"]["google-workspace"]
    service |= {"tags": {"Team": "mail"}, "securityGroups": []}  # A group of its own, for its rules' tags.
    expected = {**TAGS, "CostCenter": "agents", "Team": "mail"}
    recorded = deploy(config)
    custom = [r for r in recorded.resources if not r.type.startswith("mcp-on-ecs:")]
    assert {r.type for r in custom} <= TAGGABLE | UNTAGGABLE, "say whether the new type takes tags"
    for resource in custom:
        if resource.type in TAGGABLE:
            shared = {**expected, "Service": "notifications", "Team": "platform"}
            wanted = shared if resource.name.startswith("notifications-") else expected
            assert wanted.items() <= resource.inputs.get("tags", {}).items(), resource.name
