"""What each rule must say: of a resource as it should be, as it must not be, with its value unknown, and without it.

Long because it is a table, with an entry for each rule.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

from policies.rule import SERVICE_COMPONENT, STACK, UNKNOWN

BUCKET = "aws:s3/bucket:Bucket"
IMAGE = "docker:index/image:Image"
LIFECYCLE = "aws:ecr/lifecyclePolicy:LifecyclePolicy"
LISTENER_RULE = "aws:lb/listenerRule:ListenerRule"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
REPOSITORY = "aws:ecr/repository:Repository"
ROLE = "aws:iam/role:Role"
SERVICE = "aws:ecs/service:Service"
_CACHE, _CACHE_USER = "aws:elasticache/replicationGroup:ReplicationGroup", "aws:elasticache/user:User"
_TABLE = "aws:dynamodb/table:Table"
TARGET_GROUP = "aws:lb/targetGroup:TargetGroup"
TASK = "aws:ecs/taskDefinition:TaskDefinition"
DIGEST = "sha256:" + "ab" * 32


@dataclasses.dataclass(frozen=True)
class Registered:
    """A registration as tests write it. `needs` names other resources' types."""

    type: str
    inputs: Mapping[str, Any]
    parent: str = ""
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.type.rpartition(":")[2]

    @property
    def urn(self) -> str:
        chain = f"{self.parent}${self.type}" if self.parent else self.type
        return f"urn:pulumi:test::mcp-on-ecs::{chain}::{self.name}"

    @property
    def dependencies(self) -> tuple[str, ...]:
        return tuple(f"urn:pulumi:test::mcp-on-ecs::{type_}::{type_.rpartition(':')[2]}" for type_ in self.needs)


def one(type_: str, *needs: str, inside: str = "", **inputs: Any) -> Registered:
    """A resource; `needs`: types of those that it waits for, `inside`: its parent's."""
    return Registered(type_, inputs, inside, needs)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """Resources in each of the four cases, and what comes of them."""

    passes: list[Registered]
    fails: list[tuple[list[Registered], str]]
    """With words that the message has."""
    unknown: tuple[list[Registered], Literal["undecided", "passes"]]
    absent: tuple[list[Registered], Literal["fails", "passes"]]


# --- helpers for single families


def flag(
    type_: str, good: dict[str, Any], bad: dict[str, Any], says: str, absent: Literal["fails", "passes"],
    unknown: Literal["undecided", "passes"] = "undecided", bad_as_text: dict[str, Any] | None = None,
) -> Spec:  # fmt: skip
    """A rule on one property of one resource."""
    (name,) = bad
    spec = Spec(
        passes=[one(type_, **good)],
        fails=[([one(type_, **bad)], says)],
        unknown=([one(type_, **{name: UNKNOWN})], unknown),
        absent=([one(type_)], absent),
    )
    return also(spec, (one(type_, **bad_as_text), says)) if bad_as_text else spec


def also(spec: Spec, *fails: tuple[Registered, str]) -> Spec:
    """A spec with more resources that fail, each by itself."""
    return dataclasses.replace(spec, fails=[*spec.fails, *(([resource], says) for resource, says in fails)])


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **s} for s in statements]})


def policy(type_: str, good: dict[str, Any], *bad: tuple[dict[str, Any], str], of: str = "policy") -> Spec:
    """A rule on a policy document."""
    return Spec(
        passes=[one(type_, **{of: document(good)})],
        fails=[([one(type_, **{of: document(statement)})], says) for statement, says in bad],
        unknown=([one(type_, **{of: UNKNOWN})], "undecided"),
        absent=([one(type_)], "passes"),
    )


def by(operator: str, key: str, value: str) -> dict[str, Any]:
    """A condition with one test."""
    return {"Condition": {operator: {key: value}}}


def open_to_all(action: str) -> list[tuple[dict[str, Any], str]]:
    """Statements that let everybody in, though a condition reads as if it named somebody."""
    return [
        ({"Principal": "*", "Action": action, **by(operator, key, value)}, "everybody")
        for operator, key, value in (
            ("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::758888582357:role/mcp"),
            ("StringNotEquals", "aws:PrincipalAccount", "758888582357"),
            ("StringEqualsIfExists", "aws:SourceAccount", "758888582357"),
            ("ForAllValues:StringEquals", "aws:SourceAccount", "758888582357"),
            ("ArnLike", "aws:PrincipalArn", "arn:*"),
            ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/*"),
            ("ArnLike", "aws:SourceArn", "arn:aws:s3:::*"),
            ("StringLike", "aws:SourceArn", "*"),
            ("StringLike", "aws:PrincipalAccount", "?*"),
            ("StringLike", "aws:PrincipalOrgID", "o-*"),
        )
    ] + [({"Principal": "*", "Action": action, "Condition": {"StringEquals": {"aws:SourceAccount": []}}}, "everybody")]


def task(*containers: dict[str, Any], **inputs: Any) -> Registered:
    return one(TASK, containerDefinitions=json.dumps(containers), **inputs)


def container(
    good: dict[str, Any], bad: dict[str, Any], says: str, absent: Literal["fails", "passes"],
    *more: tuple[dict[str, Any], str],
) -> Spec:  # fmt: skip
    """A rule on container definitions, of a task definition by itself; `more`: other bad ones, and what it says."""
    spec = Spec(
        passes=[task({"name": "mcp", **good})],
        fails=[
            ([task({"name": "mcp", **bad})], says),
            ([one(SERVICE_COMPONENT, containerDefinitions=json.dumps([{"name": "mcp", **bad}]))], says),
        ],
        unknown=([one(TASK, containerDefinitions=UNKNOWN)], "undecided"),
        absent=([task({"name": "mcp"})], absent),
    )
    return also(spec, *((task({"name": "mcp", **other}), problem) for other, problem in more))


def variables(**values: str) -> dict[str, Any]:
    return {"environment": [{"name": name, "value": value} for name, value in values.items()]}


_CREDENTIALS = [{"name": f"GOOGLE_OAUTH_CLIENT_{part}", "valueFrom": "arn"} for part in ("ID", "SECRET")]
OWN = {
    "WORKSPACE_MCP_TRANSPORT": "streamable-http",
    "WORKSPACE_EXTERNAL_URL": "https://api.busyb.ai/google-workspace",
    "MCP_ENABLE_OAUTH21": "true",
    "WORKSPACE_MCP_ALLOWED_CLIENT_REDIRECT_URIS": "http://localhost:*",
    "PORT": "8000",
}


def served(
    *, unknown: bool = False, ports: tuple[int, ...] = (8000,), container_port: int = 8000, count: int = 1,
    target_port: int = 8000, check: str = "curl -f http://localhost:8000/health", without: str = "", **changed: str,
) -> list[Registered]:  # fmt: skip
    """A service behind a load balancer that runs workspace-mcp."""
    own = {name: value for name, value in {**OWN, **changed}.items() if name != without}
    running = {
        "name": "mcp",
        "portMappings": [{"containerPort": port} for port in ports],
        "healthCheck": {"command": ["CMD-SHELL", check]},
        **variables(**own),
    }
    return [
        one(TASK, containerDefinitions=UNKNOWN) if unknown else task(running),
        one(TARGET_GROUP, port=target_port),
        one(
            SERVICE,
            TASK,
            TARGET_GROUP,
            desiredCount=count,
            loadBalancers=[{"targetGroupArn": UNKNOWN, "containerName": "mcp", "containerPort": container_port}],
            serviceRegistries={"registryArn": UNKNOWN, "containerName": "mcp", "containerPort": container_port},
        ),
    ]


def internal() -> list[Registered]:
    """A service that no load balancer reaches, and of which no rule for those that one does can say anything."""
    return [task({"name": "mcp", **variables(**{**OWN, "MCP_ENABLE_OAUTH21": "false"})}), one(SERVICE, TASK)]


def reached(fails: list[tuple[list[Registered], str]]) -> Spec:
    """A rule on servers behind a load balancer."""
    return Spec(
        passes=served(), fails=fails, unknown=(served(unknown=True), "undecided"), absent=(internal(), "passes")
    )


def routed(pattern: str, *rewrite: str, **changed: str) -> list[Registered]:
    rewritten: dict[str, Any] = {}
    if rewrite:
        regex, replace = rewrite
        config = {"rewrite": {"regex": regex, "replace": replace}}
        rewritten["transforms"] = [{"type": "url-rewrite", "urlRewriteConfig": config}]
    conditions = [{"hostHeader": {"values": ["api.busyb.ai"]}}, {"pathPattern": {"values": [pattern]}}]
    rule = one(LISTENER_RULE, TARGET_GROUP, conditions=conditions, **rewritten)
    return [*served(**changed), rule]  # type: ignore[arg-type]


def setting(type_: str, good: dict[str, Any], bad: dict[str, Any], says: str) -> Spec:
    """A rule on one setting of buckets: a bucket made here must have it."""
    (name,) = good if len(good) == 1 else list(good)[:1]
    return Spec(
        passes=[one(BUCKET), one(type_, BUCKET, **good)],
        fails=[([one(BUCKET), one(type_, BUCKET, **bad)], says), ([one(type_, **bad)], says)],
        unknown=([one(type_, **{**good, name: UNKNOWN})], "undecided"),
        absent=([one(BUCKET)], "fails"),
    )


_TRUST = {"Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}


def github(
    operator: str = "", subject: str = "", *, audience: tuple[str, str] | None = ("StringEquals", "sts.amazonaws.com")
) -> dict[str, Any]:
    """A trust statement for GitHub Actions with conditions on subject and audience."""
    issuer = "token.actions.githubusercontent.com"
    conditions: dict[str, dict[str, str]] = {operator: {f"{issuer}:sub": subject}} if operator else {}
    if audience:
        conditions.setdefault(audience[0], {})[f"{issuer}:aud"] = audience[1]
    return {
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": f"arn:aws:iam::758888582357:oidc-provider/{issuer}"},
        "Condition": conditions,
    }


_ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
_ARN = "arn:aws:secretsmanager:us-east-1:758888582357:secret:busyb/google-oauth-client-id-AbCdEf"
_INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
_GROUP = "aws:ec2/securityGroup:SecurityGroup"
_GROUP_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
_ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
_TOPIC = "aws:sns/topic:Topic"
_KEY = "aws:kms/key:Key"


def alarmed(actions: list[str], service: str = "cloudwatch.amazonaws.com") -> list[Registered]:
    """A key on which a service may do `actions`, a topic that it encrypts, and an alarm that publishes there."""
    key = one(_KEY, policy=document({"Principal": {"Service": service}, "Action": actions, "Resource": "*"}))
    return [key, one(_TOPIC, _KEY, kmsMasterKeyId=UNKNOWN), one(_ALARM, _TOPIC, alarmActions=[UNKNOWN])]


_ON_DEMAND = {"capacityProvider": "FARGATE", "base": 1, "weight": 1}
_SPOT = {"capacityProvider": "FARGATE_SPOT", "base": 0, "weight": 1}
_FARGATE: dict[str, Any] = {
    "requiresCompatibilities": ["FARGATE"],
    "networkMode": "awsvpc",
    "cpu": "512",
    "memory": "1024",
}
_TAGS = {"Environment": "production", "Service": "google-workspace-mcp", "ManagedBy": "pulumi"}
_POLICY = "aws:iam/rolePolicy:RolePolicy"
_BUILT = one(IMAGE, build={"platform": "linux/amd64"})

SPECS: dict[str, Spec] = {
    # ECR
    "ecr-repository-scan-on-push": flag(
        REPOSITORY,
        {"imageScanningConfiguration": {"scanOnPush": True}},
        {"imageScanningConfiguration": {"scanOnPush": False}},
        "not scanned",
        "fails",
        bad_as_text={"imageScanningConfiguration": {"scanOnPush": "false"}},
    ),
    "ecr-repository-disallow-mutable-tags": flag(
        REPOSITORY, {"imageTagMutability": "IMMUTABLE"}, {"imageTagMutability": "MUTABLE"}, "overwritten", "fails"
    ),
    "ecr-repository-require-lifecycle-policy": Spec(
        passes=[one(REPOSITORY), one(LIFECYCLE, REPOSITORY)],
        fails=[([one(REPOSITORY), one(LIFECYCLE)], "no lifecycle policy")],
        unknown=([one(REPOSITORY, name=UNKNOWN), one(LIFECYCLE, REPOSITORY, repository=UNKNOWN)], "passes"),
        absent=([one(REPOSITORY)], "fails"),
    ),
    "ecr-repository-encrypt-with-kms": flag(
        REPOSITORY,
        {"encryptionConfigurations": [{"encryptionType": "KMS"}]},
        {"encryptionConfigurations": [{"encryptionType": "AES256"}]},
        "AES256",
        "fails",
    ),
    "ecr-repository-disallow-public-policy": policy(
        "aws:ecr/repositoryPolicy:RepositoryPolicy",
        {"Principal": {"AWS": "arn:aws:iam::758888582357:root"}, "Action": "ecr:BatchGetImage"},
        ({"Principal": "*", "Action": "ecr:BatchGetImage"}, "everybody"),
        ({"Principal": {"AWS": ["*"]}, "Action": "ecr:BatchGetImage", "Sid": "Pull"}, "statement Pull"),
        *open_to_all("ecr:BatchGetImage"),
    ),
    # ECS
    "ecs-service-disallow-public-address": flag(
        SERVICE,
        {"networkConfiguration": {"assignPublicIp": "false"}},
        {"networkConfiguration": {"assignPublicIp": True}},
        "public addresses",
        "passes",
    ),
    "ecs-service-require-latest-platform": flag(
        SERVICE, {"platformVersion": "LATEST"}, {"platformVersion": "1.3.0"}, "1.3.0", "passes"
    ),
    "ecs-service-require-rollback": flag(
        SERVICE,
        {"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
        {"deploymentCircuitBreaker": {"enable": True, "rollback": False}},
        "rollback is not true",
        "fails",
        bad_as_text={"deploymentCircuitBreaker": {"enable": True, "rollback": "false"}},
    ),
    "ecs-task-disallow-host-pid": flag(TASK, {"pidMode": "task"}, {"pidMode": "host"}, "host", "passes"),
    "ecs-task-disallow-host-network": flag(
        TASK, {"networkMode": "awsvpc"}, {"networkMode": "host"}, "networkMode is host", "passes"
    ),
    "ecs-task-require-fargate-size": Spec(
        passes=[
            one(TASK, **_FARGATE),
            one(SERVICE, launchType="FARGATE"),
            one(SERVICE, capacityProviderStrategies=[_ON_DEMAND, _SPOT]),
        ],
        fails=[
            ([one(SERVICE, launchType="FARGATE", capacityProviderStrategies=[_SPOT])], "ECS takes one of them"),
            ([one(SERVICE, capacityProviderStrategies=[{"capacityProvider": "asg"}])], "asg is not Fargate's"),
            ([one(SERVICE, launchType="EC2")], "launchType is EC2"),
            ([one(SERVICE)], "launchType is not set"),
            ([one(SERVICE, launchType="FARGATE", schedulingStrategy="DAEMON")], "DAEMON"),
            ([one(TASK, **{**_FARGATE, "placementConstraints": [{"type": "memberOf"}]})], "placementConstraints"),
            ([one(TASK, **{**_FARGATE, "memory": "512"})], "512 CPU units and 512 MiB"),
            ([one(TASK, **{**_FARGATE, "cpu": "500"})], "cpu is 500"),
            ([one(TASK, **{**_FARGATE, "networkMode": "bridge"})], "awsvpc only"),
            ([one(TASK, **{**_FARGATE, "requiresCompatibilities": ["EC2"]})], "FARGATE"),
        ],
        unknown=([one(TASK, **{**_FARGATE, "memory": UNKNOWN})], "undecided"),
        absent=([one(TASK)], "fails"),
    ),
    "ecs-service-require-on-demand": Spec(
        passes=[
            one(SERVICE, capacityProviderStrategies=[_ON_DEMAND, _SPOT]),
            one(SERVICE, capacityProviderStrategies=[{**_ON_DEMAND, "base": 0}]),
        ],
        fails=[
            ([one(SERVICE, capacityProviderStrategies=[_SPOT])], "all of its tasks may run on Spot"),
            ([one(SERVICE, capacityProviderStrategies=[{**_ON_DEMAND, "base": 0}, _SPOT])], "may run on Spot"),
        ],
        unknown=([one(SERVICE, capacityProviderStrategies=UNKNOWN)], "undecided"),
        absent=([one(SERVICE)], "passes"),
    ),
    "ecs-task-separate-roles": Spec(
        passes=[one(TASK, taskRoleArn="arn:1", executionRoleArn="arn:2")],
        fails=[
            ([one(TASK, taskRoleArn="arn:1", executionRoleArn="arn:1")], "is its execution role"),
            ([one(ROLE), one(TASK, ROLE, taskRoleArn=UNKNOWN, executionRoleArn=UNKNOWN)], "is its execution role"),
        ],
        unknown=([one(TASK, taskRoleArn=UNKNOWN, executionRoleArn=UNKNOWN)], "undecided"),
        absent=([one(TASK)], "passes"),
    ),
    "ecs-task-match-image-architecture": Spec(
        passes=[_BUILT, one(TASK, IMAGE, runtimePlatform={"cpuArchitecture": "X86_64"})],
        fails=[
            ([_BUILT, one(TASK, IMAGE, runtimePlatform={"cpuArchitecture": "ARM64"})], "linux/amd64, on ARM64"),
            ([one(IMAGE, build={"platform": "linux/arm64"}), one(TASK, IMAGE)], "linux/arm64, on X86_64"),
        ],
        unknown=([one(IMAGE, build=UNKNOWN), one(TASK, IMAGE)], "undecided"),
        absent=([one(TASK)], "passes"),
    ),
    "docker-image-require-platform": flag(
        IMAGE, {"build": {"platform": "linux/arm64"}}, {"build": {"platform": "linux/386"}}, "linux/386", "fails"
    ),
    # Containers
    "ecs-container-disallow-privileged": container(
        {"privileged": "false"}, {"privileged": True}, "privileged", "passes", ({"privileged": "true"}, "privileged")
    ),
    "ecs-container-require-read-only-root": container(
        {"readonlyRootFilesystem": True},
        {"readonlyRootFilesystem": False},
        "written to",
        "fails",
        ({"readonlyRootFilesystem": "false"}, "written to"),
    ),
    "ecs-container-disallow-plain-secrets": container(
        variables(GOOGLE_OAUTH_CLIENT_ID="1234.apps.googleusercontent.com"),
        variables(GOOGLE_OAUTH_CLIENT_SECRET="planted-value"),
        "GOOGLE_OAUTH_CLIENT_SECRET looks like a secret",
        "passes",
        ({"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::env/mcp.env"}]}, "environmentFiles"),
        ({"environment": [{"name": "PORT", "value": port} for port in ("8000", "8080")]}, "PORT is given 2 times"),
    ),
    "ecs-container-require-logs": container(
        {"logConfiguration": {"logDriver": "awslogs"}}, {"logConfiguration": {}}, "no log configuration", "fails"
    ),
    "ecs-container-require-user": container(
        {"user": "10001"},
        {"user": "0:0"},
        "as root",
        "fails",
        *(({"user": user}, "as root") for user in ("root:1", "00", "+0", "0000:1", ":1")),
    ),
    "ecs-container-require-image-digest": container(
        {"image": f"1.dkr.ecr.us-east-1.amazonaws.com/mcp@{DIGEST}"}, {"image": "mcp:latest"}, "the tag latest", "fails"
    ),
    "ecs-container-require-secret-key": container(
        {"secrets": [{"name": "GOOGLE_OAUTH_CLIENT_ID", "valueFrom": f"{_ARN}:GOOGLE_OAUTH_CLIENT_ID::"}]},
        {"secrets": [{"name": "GOOGLE_OAUTH_CLIENT_ID", "valueFrom": _ARN}]},
        "GOOGLE_OAUTH_CLIENT_ID gets a whole secret",
        "passes",
    ),
    # The server
    "mcp-server-spell-oauth": container(
        variables(MCP_ENABLE_OAUTH21="true"), variables(MCP_ENABLE_OAUTH21="1"), "'1'", "passes"
    ),
    "mcp-server-name-variables": container(
        {**variables(**OWN), "secrets": _CREDENTIALS},
        {"secrets": [{"name": "MCP_GOOGLE_OAUTH_CLIENT_ID", "valueFrom": "arn"}]},
        "the server reads GOOGLE_OAUTH_CLIENT_ID",
        "passes",
    ),
    "mcp-service-require-oauth": reached([
        (served(MCP_ENABLE_OAUTH21="false"), "without OAuth 2.1"),
        (served(without="MCP_ENABLE_OAUTH21"), "without OAuth 2.1"),
    ]),
    "mcp-service-limit-redirects": reached([
        (served(without="WORKSPACE_MCP_ALLOWED_CLIENT_REDIRECT_URIS"), "any redirect address")
    ]),
    "mcp-service-tell-public-address": reached([
        (served(WORKSPACE_EXTERNAL_URL="http://api.busyb.ai"), "http://api.busyb.ai"),
        (served(WORKSPACE_EXTERNAL_URL="https://google-workspace.busyb.local:8000"), "busyb.local"),
        (served(WORKSPACE_EXTERNAL_URL="https://10.0.10.7"), "10.0.10.7"),
        (served(without="WORKSPACE_EXTERNAL_URL"), "its own container"),
    ]),
    "mcp-service-share-oauth-state": Spec(
        passes=[
            *served(count=2, WORKSPACE_MCP_OAUTH_PROXY_STORAGE_BACKEND="valkey"),
            *served(count=2, WORKSPACE_MCP_OAUTH_PROXY_STORAGE_BACKEND="dynamodb"),
        ],
        fails=[
            (served(count=2), "2 tasks keep OAuth state"),
            (served(count=2, WORKSPACE_MCP_OAUTH_PROXY_STORAGE_BACKEND="disk"), "disk"),
            ([*served(), one("aws:appautoscaling/target:Target", SERVICE, maxCapacity=3)], "3 tasks keep OAuth state"),
            ([*served(), one("aws:appautoscaling/target:Target", SERVICE, maxCapacity="3")], "3 tasks keep OAuth"),
        ],
        unknown=(served(count=2, unknown=True), "undecided"),
        absent=(served(count=1), "passes"),
    ),
    # Load balancer
    "lb-target-group-require-health-check": flag(
        TARGET_GROUP,
        {"healthCheck": {"path": "/health"}},
        {"healthCheck": {"enabled": False}},
        "no health check",
        "fails",
        bad_as_text={"healthCheck": {"enabled": "false"}},
    ),
    "lb-target-group-encrypt": flag(TARGET_GROUP, {"protocol": "HTTPS"}, {"protocol": "HTTP"}, "by HTTP", "fails"),
    "lb-listener-rule-strip-prefix": Spec(
        passes=routed("/google-workspace/*", "^/google-workspace/?(.*)$", "/$1"),
        fails=[
            (routed("/google-workspace/*"), "asked for /google-workspace/mcp"),
            (routed("/google-workspace/*", "^/googleworkspace/?(.*)$", "/$1"), "answers 404"),
        ],
        unknown=(routed("/google-workspace/*", unknown=True), "undecided"),  # type: ignore[arg-type]
        absent=([*served(), one(LISTENER_RULE, TARGET_GROUP, conditions=[])], "passes"),
    ),
    "ecs-service-match-ports": Spec(
        passes=served(),
        fails=[
            (served(ports=(8080,)), "uses port 8000 of mcp, which maps 8080"),
            (served(target_port=8080), "has port 8080, the container 8000"),
            (served(container_port=8080), "uses port 8080 of mcp, which maps 8000"),
            (served(PORT="8080"), "listens on PORT 8080"),
            (served(check="curl -f http://localhost:8080/health"), "health check asks port 8080"),
        ],
        unknown=(served(unknown=True), "undecided"),
        absent=([task(), one(SERVICE, TASK)], "passes"),
    ),
    # Network
    "ec2-security-group-disallow-open-ingress": Spec(
        passes=[
            one(_INGRESS, referencedSecurityGroupId="sg-alb"),
            one(_INGRESS, cidrIpv4="10.0.0.0/8", cidrIpv6="2600:1f18::/32"),
            one(_GROUP, ingress=[{"cidrBlocks": ["10.0.0.0/16"]}], egress=[{"cidrBlocks": ["0.0.0.0/0"]}]),
            one(_GROUP_RULE, type="egress", cidrBlocks=["0.0.0.0/0"]),
        ],
        fails=[
            *(([one(_INGRESS, cidrIpv4=v4)], "admits everybody") for v4 in ("0.0.0.0/0", "10.0.0.1/0", "0.0.0.0/1")),
            *(
                ([one(_INGRESS, cidrIpv6=v6)], "admits everybody")
                for v6 in ("::/0", "0::/0", "0:0:0:0:0:0:0:0/0", "2000::/3")
            ),
            ([one(_INGRESS, cidrIpv4="00.0.0.0/0")], "no range of addresses"),
            ([one(_INGRESS, cidrIpv4="0.0.0.0/0", cidrIpv6=UNKNOWN)], "admits everybody"),
            ([one(_GROUP, ingress=[{"cidrBlocks": ["10.0.0.0/16"], "ipv6CidrBlocks": ["0::/0"]}])], "everybody"),
            ([one(_GROUP_RULE, type="ingress", cidrBlocks=["10.0.0.1/0"])], "admits everybody"),
            ([one(_GROUP_RULE, type="ingress", ipv6CidrBlocks=["2000::/3"])], "admits everybody"),
        ],
        unknown=([one(_INGRESS, cidrIpv4=UNKNOWN), one(_GROUP, ingress=[{"cidrBlocks": [UNKNOWN]}])], "undecided"),
        absent=([one(_INGRESS), one(_GROUP), one(_GROUP_RULE, type="ingress")], "passes"),
    ),
    # IAM
    "iam-policy-disallow-wildcard-actions": policy(
        _POLICY,
        {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::tokens/*"},
        ({"Action": "s3:*", "Resource": "arn:aws:s3:::tokens/*"}, "allows s3:*"),
        ({"NotAction": "iam:*", "Resource": "arn:aws:s3:::tokens/*"}, "NotAction"),
        *(({"Action": action, "Resource": "*"}, f"allows {action}") for action in ("*:*", "s3:**", "s3:?*", "iam:*?")),
    ),
    "iam-policy-disallow-wildcard-resources": policy(
        _POLICY,
        {
            "Action": ["s3:GetObject", "sns:GetSubscriptionAttributes"],
            "Resource": [
                "arn:aws:s3:::tokens/*",
                "arn:aws:sns:us-east-1:758888582357:alerts:*",
                "arn:aws:sqs:us-east-1:758888582357:mcp-*",
                "arn:aws:logs:us-east-1:758888582357:log-group:/ecs/mcp:*",
                "arn:aws:dynamodb:us-east-1:758888582357:table/index/index/*",
                "arn:aws:secretsmanager:*:*:secret:busyb/*",
            ],
        },
        ({"Action": "sns:Publish", "Resource": "arn:aws:sns:us-east-1:758888582357:*"}, "allows sns:Publish"),
        ({"Action": "s3:GetObject", "Resource": "*"}, "allows s3:GetObject on *"),
        ({"Action": "s3:GetObject", "Resource": "arn:aws:s3:::*"}, "arn:aws:s3:::*"),
        ({"Action": "iam:PassRole", "Resource": "arn:aws:iam::758888582357:role/*"}, "iam:PassRole"),
        ({"Action": "s3:GetObject", "NotResource": "arn:aws:s3:::other/*"}, "NotResource"),
        ({"Action": ["s3:ListAllMyBuckets", "s3:ListBucket"], "Resource": "*"}, "allows s3:ListBucket on *"),
        ({"Action": "s3:List*", "Resource": "*"}, "allows s3:List* on *"),
        ({"Action": "s3:List?ucket", "Resource": "*"}, "allows s3:List?ucket on *"),
        *(
            ({"Action": "s3:GetObject", "Resource": f"arn:aws:{resource}"}, f"on arn:aws:{resource}")
            for resource in (
                "*",
                "s3:::?*",
                "s3:::*/*",
                "sqs:us-east-1:758888582357:?*",
                "logs:us-east-1:758888582357:log-group:*:*",
                "logs:us-east-1:758888582357:log-group:*:log-stream:*",
                "secretsmanager:us-east-1:758888582357:secret:?*",
                "secretsmanager:us-east-1:758888582357:secret:*-*",
                "secretsmanager:us-east-1:758888582357:sec*",
                "secretsmanager:*:*:*:*",
                "dynamodb:us-east-1:758888582357:table/*/*",
                "dynamodb:us-east-1:758888582357:table/*/index/*",
            )
        ),
    ),
    "iam-policy-limit-decrypt": policy(
        _POLICY,
        {
            "Action": "kms:Decrypt",
            "Resource": ["arn:aws:kms:us-east-1:758888582357:key/1-2", "*"],
            **by("StringLike", "kms:ViaService", "s3.*.amazonaws.com"),
        },
        ({"Action": "kms:Decrypt", "Resource": "*"}, "kms:Decrypt with *"),
        ({"Action": "kms:*", "Resource": "arn:aws:kms:us-east-1:758888582357:key/*"}, "kms:*"),
        ({"Action": "kms:Decrypt", "Resource": "arn:aws:kms:us-east-1:758888582357:key/?*"}, "key/?*"),
        *(
            ({"Action": "kms:Decrypt", "Resource": "*", **by(operator, "kms:ViaService", service)}, "kms:Decrypt")
            for operator, service in (
                ("StringLike", "*"),
                ("StringLike", "*.amazonaws.com"),
                ("StringNotEquals", "s3.us-east-1.amazonaws.com"),
                ("StringEqualsIfExists", "s3.us-east-1.amazonaws.com"),
            )
        ),
    ),
    "iam-role-narrow-trust": policy(
        ROLE,
        _TRUST,
        ({**_TRUST, "Principal": "*"}, "everybody, in any account"),
        ({**_TRUST, "Principal": {"AWS": "*"}}, "everybody, in any account"),
        ({**_TRUST, "Principal": {"Service": "*"}}, "every service"),
        ({**_TRUST, "Principal": {"AWS": "arn:aws:iam::758888582357:root"}}, "everybody in account 758888582357"),
        of="assumeRolePolicy",
    ),
    "iam-role-disallow-administrator": also(
        flag(
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
            {"policyArn": "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"},
            {"policyArn": _ADMINISTRATOR},
            "AdministratorAccess",
            "passes",
        ),
        (one("aws:iam/policyAttachment:PolicyAttachment", policyArn=_ADMINISTRATOR), "AdministratorAccess"),
    ),
    "iam-role-limit-github-subject": policy(
        ROLE,
        github("StringEquals", "repo:busyb/mcp:environment:production"),
        (github(), "any repository"),
        (github("StringLike", "repo:busyb/*"), "does not name one repository"),
        (github("StringLike", "repo:busyb/mcp:*"), "does not name one repository"),
        (github("StringLike", "repo:busyb/mcp:ref:refs/heads/*"), "does not name one repository"),
        (github("StringLike", "repo:busyb/mcp:environment:prod*"), "does not name one repository"),
        (github("StringEquals", "repo:busyb/mcp:pull_request"), "pull requests"),
        (github("StringEquals", "repo:busyb/mcp:ref:refs/heads/main", audience=None), "no condition on the audience"),
        (github("StringEqualsIfExists", "repo:busyb/mcp:ref:refs/heads/main"), "does not name one repository"),
        *(
            (github("StringEquals", "repo:busyb/mcp:environment:production", audience=audience), "audience is")
            for audience in (
                ("StringLike", "*"),
                ("StringLike", "sts.*"),
                ("StringNotEquals", "sts.amazonaws.com"),
                ("StringEqualsIfExists", "sts.amazonaws.com"),
                ("StringEquals", "https://github.com/busyb"),
            )
        ),
        of="assumeRolePolicy",
    ),
    # Logs
    "logs-group-set-retention": flag(
        LOG_GROUP,
        {"retentionInDays": "7"},
        {"retentionInDays": 0},
        "for ever",
        "fails",
        bad_as_text={"retentionInDays": "0"},
    ),
    "logs-group-explain-retention": Spec(
        passes=[
            one(LOG_GROUP, retentionInDays=30, tags={"RetentionReason": "OAuth incidents"}),
            one(LOG_GROUP, retentionInDays="7"),
        ],
        fails=[([one(LOG_GROUP, retentionInDays=30, tags=_TAGS)], "30 days, not the usual 7")],
        unknown=([one(LOG_GROUP, retentionInDays=30, tags=UNKNOWN)], "undecided"),
        absent=([one(LOG_GROUP)], "passes"),
    ),
    "logs-group-keep-a-year": flag(
        LOG_GROUP,
        {"retentionInDays": "365"},
        {"retentionInDays": 30},
        "30 days",
        "passes",
        bad_as_text={"retentionInDays": "30"},
    ),
    "logs-group-encrypt-with-kms": flag(
        LOG_GROUP, {"kmsKeyId": "arn:aws:kms:::key/1"}, {"kmsKeyId": ""}, "not encrypted", "fails", "passes"
    ),
    # Tags
    "aws-resource-require-tags": flag(
        REPOSITORY, {"tags": _TAGS}, {"tags": {"Environment": "production"}}, "missing: Service, ManagedBy", "fails"
    ),
    # Alarms and topics
    "cloudwatch-alarm-require-action": flag(
        _ALARM, {"alarmActions": ["arn:aws:sns:::t"]}, {"alarmActions": []}, "nothing happens", "fails", "passes"
    ),
    "cloudwatch-alarm-enable-actions": flag(
        _ALARM,
        {"actionsEnabled": "true"},
        {"actionsEnabled": False},
        "switched off",
        "passes",
        bad_as_text={"actionsEnabled": "False"},
    ),
    "sns-topic-encrypt": flag(
        _TOPIC,
        {"kmsMasterKeyId": "arn:aws:kms:us-east-1:758888582357:key/1"},
        {"kmsMasterKeyId": "alias/aws/sns"},
        "alarms cannot publish",
        "fails",
        "passes",
    ),
    "sns-topic-admit-alarms": Spec(
        passes=alarmed(["kms:Decrypt", "kms:GenerateDataKey*"]),
        fails=[
            (alarmed(["kms:Decrypt"]), "does not allow CloudWatch kms:GenerateDataKey"),
            (alarmed(["kms:Decrypt", "kms:GenerateDataKey*"], "events.amazonaws.com"), "CloudWatch kms:Decrypt"),
        ],
        unknown=([*alarmed([])[1:], one(_KEY, policy=UNKNOWN)], "undecided"),
        absent=([one(_TOPIC, kmsMasterKeyId="arn:aws:kms:::key/1"), one(_ALARM, _TOPIC)], "passes"),
    ),
    "sns-topic-disallow-public-policy": policy(
        "aws:sns/topicPolicy:TopicPolicy",
        {
            "Principal": "*",
            "Action": "sns:Publish",
            "Condition": {"StringEquals": {"aws:SourceAccount": "758888582357"}},
        },
        ({"Principal": "*", "Action": "sns:Publish"}, "everybody"),
        *open_to_all("sns:Publish"),
    ),
    # DynamoDB
    "dynamodb-table-encrypt-with-kms": flag(
        _TABLE,
        {"serverSideEncryption": {"enabled": True}},
        {"serverSideEncryption": {"enabled": False}},
        "not enabled",
        "fails",
    ),
    "dynamodb-table-recover-any-point": flag(
        _TABLE,
        {"pointInTimeRecovery": {"enabled": True}},
        {"pointInTimeRecovery": {"enabled": False}},
        "not enabled",
        "fails",
    ),
    "dynamodb-table-protect-from-deletion": flag(
        _TABLE, {"deletionProtectionEnabled": True}, {"deletionProtectionEnabled": False}, "not true", "fails"
    ),
    "dynamodb-table-expire-items": flag(
        _TABLE,
        {"ttl": {"enabled": True, "attributeName": "ttl"}},
        {"ttl": {"enabled": False, "attributeName": "ttl"}},
        "not enabled",
        "fails",
    ),
    # ElastiCache
    "elasticache-group-encrypt-in-transit": Spec(
        passes=[one(_CACHE, transitEncryptionEnabled=True, transitEncryptionMode="required")],
        fails=[
            ([one(_CACHE, transitEncryptionEnabled=False)], "not true"),
            ([one(_CACHE, transitEncryptionEnabled=True, transitEncryptionMode="preferred")], "without TLS"),
        ],
        unknown=([one(_CACHE, transitEncryptionEnabled=UNKNOWN)], "undecided"),
        absent=([one(_CACHE)], "fails"),
    ),
    "elasticache-group-encrypt-at-rest": flag(
        _CACHE, {"atRestEncryptionEnabled": True}, {"atRestEncryptionEnabled": False}, "not true", "fails"
    ),
    "elasticache-group-require-users": flag(
        _CACHE, {"userGroupIds": ["state"]}, {"userGroupIds": []}, "no group of users", "fails"
    ),
    "elasticache-keep-passwords-out-of-state": Spec(
        passes=[one(_CACHE), one(_CACHE_USER, authenticationMode={"type": "iam"})],
        fails=[
            ([one(_CACHE, authToken="planted")], "authToken is set"),
            ([one(_CACHE_USER, passwords=["planted"])], "passwords is set"),
            ([one(_CACHE_USER, authenticationMode={"type": "password", "passwords": ["planted"]})], "Mode.passwords"),
        ],
        unknown=([one(_CACHE_USER, passwords=UNKNOWN)], "undecided"),
        absent=([one(_CACHE_USER)], "passes"),
    ),
    # S3
    "s3-bucket-block-public-access": setting(
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        dict.fromkeys(("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True),
        {"blockPublicAcls": True, "blockPublicPolicy": True, "ignorePublicAcls": True},
        "restrictPublicBuckets is not true",
    ),
    "s3-bucket-require-tls": setting(
        "aws:s3/bucketPolicy:BucketPolicy",
        {
            "policy": document({
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            })
        },
        {"policy": document()},
        "without TLS",
    ),
    "s3-bucket-disallow-wildcard-principal": policy(
        "aws:s3/bucketPolicy:BucketPolicy",
        {"Principal": {"AWS": "arn:aws:iam::758888582357:role/mcp"}, "Action": "s3:GetObject"},
        ({"Principal": "*", "Action": "s3:GetObject"}, "everybody"),
        *open_to_all("s3:GetObject"),
        ({"Effect": "Deny", "Principal": "*", "Action": "s3:*"}, "you too"),
        ({"Effect": "Deny", "Principal": "*", "Action": "s3:**"}, "you too"),
    ),
    "s3-bucket-disable-acls": setting(
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        {"rule": {"objectOwnership": "BucketOwnerEnforced"}},
        {"rule": {"objectOwnership": "ObjectWriter"}},
        "still heeded",
    ),
    "s3-bucket-enable-versioning": setting(
        "aws:s3/bucketVersioning:BucketVersioning",
        {"versioningConfiguration": {"status": "Enabled"}},
        {"versioningConfiguration": {"status": "Suspended"}},
        "not enabled",
    ),
    "s3-bucket-encrypt-with-kms": setting(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms"}}]},
        {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]},
        "AES256",
    ),
    "s3-bucket-expire-old-versions": setting(
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        {
            "rules": [
                {
                    "status": "Enabled",
                    "noncurrentVersionExpiration": {"noncurrentDays": 30},
                    "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
                }
            ]
        },
        {"rules": [{"status": "Disabled", "noncurrentVersionExpiration": {"noncurrentDays": 30}}]},
        "never expire",
    ),
    # Exceptions have their own tests: what breaks this rule is not a resource.
    "policy-exception-renew": Spec(
        passes=[one(STACK)],
        fails=[],
        unknown=([one(STACK, exceptions=UNKNOWN)], "passes"),
        absent=([], "passes"),
    ),
}  # fmt: skip
