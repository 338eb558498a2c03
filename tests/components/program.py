"""A Pulumi program run in-process against a described account: no cloud, no engine, no Docker."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import json
import logging
from collections.abc import Callable
from typing import Any

import grpc
import pulumi
from pulumi.runtime import mocks, rpc, set_all_config
from pulumi.runtime.settings import Settings, configure
from pulumi.runtime.stack import run_in_stack

from components import settings

ACCOUNT, REGION = "758888582357", "us-east-1"
TOKEN = "planted-registry-password"
"""The registry password that the described account gives out. It may appear nowhere but marked secret."""
DIGEST = "sha256:" + "ab" * 32
"""Digest of every image that is built."""

GITHUB = "token.actions.githubusercontent.com"

UNKNOWN = object()
"""An output that is not known at preview."""


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


@dataclasses.dataclass
class Account:
    """What the look-ups find. A test takes things out or bends them; what is not in here is missing."""

    caller: dict[str, Any] | None = dataclasses.field(default_factory=lambda: {"accountId": ACCOUNT})
    vpcs: list[dict[str, Any]] = dataclasses.field(
        default_factory=lambda: [
            {"id": "vpc-0111b7630bcb61b61", "cidrBlock": "10.0.0.0/16", "tags": {"Name": "vpc-busyb"}}
        ]
    )
    subnets: list[dict[str, Any]] = dataclasses.field(
        default_factory=lambda: [
            _subnet("subnet-0a", "10.0.10.0/24"),
            _subnet("subnet-0b", "10.0.11.0/24"),
            _subnet("subnet-0c", "10.0.1.0/24", public=True),
        ]
    )
    groups: dict[str, str] = dataclasses.field(
        default_factory=lambda: {"busyb-ecs-sg": "sg-ecs", "busyb-alb-sg": "sg-alb", "core-agent-sg": "sg-core-agent"}
    )
    clusters: dict[str, str] = dataclasses.field(default_factory=lambda: {"busyb-cluster": "ACTIVE"})
    balancers: dict[str, dict[str, Any]] = dataclasses.field(
        default_factory=lambda: {
            "busyb-alb": {
                "arn": arn("elasticloadbalancing", "loadbalancer/app/busyb-alb/1"),
                "dnsName": "busyb-alb-1.us-east-1.elb.amazonaws.com",
                "zoneId": "Z35SXDOTRQ7X7K",
                "vpcId": "vpc-0111b7630bcb61b61",
                "loadBalancerType": "application",
                "securityGroups": ["sg-alb"],
            }
        }
    )
    listeners: dict[int, str] = dataclasses.field(default_factory=lambda: {80: "HTTP", 443: "HTTPS"})
    namespaces: dict[str, str] = dataclasses.field(default_factory=lambda: {"busyb.local": "ns-1"})
    buckets: set[str] = dataclasses.field(default_factory=lambda: {"busyb-oauth-tokens-758888582357"})
    bucket_settings: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    """Bucket -> its policy, its lifecycle rules, its key (id, alias or ARN), or the code of a refusal to show them."""
    secrets: dict[str, str | None] = dataclasses.field(
        default_factory=lambda: {"busyb/google-oauth-client-id": None, "busyb/google-oauth-client-secret": None}
    )
    """Name -> KMS key, or None for the default one."""
    roles: set[str] = dataclasses.field(default_factory=lambda: {"ecsTaskExecutionRole"})
    github_trusted: bool = True
    """Whether GitHub's OIDC provider is there."""
    zones: dict[str, str] = dataclasses.field(default_factory=lambda: {"busyb.ai": "ZBUSYB"})
    healthy: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    """Service -> its revisions that became healthy, as the parameter holds them."""
    capacity: dict[str, Any] = dataclasses.field(
        default_factory=lambda: {"capacityProviders": ["FARGATE", "FARGATE_SPOT"]}
    )
    """The clusters' capacity providers, as boto3's describe_clusters has them."""
    runs_on: list[str] = dataclasses.field(default_factory=list)
    """Capacity providers of what ECS runs before the deployment; none: it has a launch type."""
    running: str | None = None
    """ARN of the task definition that ECS runs after the deployment; None: the one just deployed."""
    external_url: str | None = None
    """The public address that what ECS runs tells clients; None: no variable says it."""
    named: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Name of a role, topic, Cloud Map service -> its tags; of a dashboard -> its body; or `refused`."""
    filled: dict[str, str] = dataclasses.field(default_factory=dict)
    """ARN of a secret that the program made -> the value that it was given."""
    cache_users: dict[str, str] = dataclasses.field(default_factory=dict)
    """Id of a cache's user that has a password -> the password."""
    images: dict[str, str] = dataclasses.field(default_factory=dict)
    """Tag -> digest of the images in the repository."""
    repository_tags: dict[str, str] = dataclasses.field(default_factory=dict)
    """AWS's tags of the repository itself."""
    rules: list[dict[str, Any]] = dataclasses.field(
        default_factory=lambda: [
            listener_rule(1, ["/mcp/quickbooks*"], "quickbooks-tg"),
            listener_rule(2, ["/mcp/jobber*"], "jobber-tg"),
            listener_rule(3, ["/mcp/research*"], "research-tg"),
            listener_rule(4, ["/api/db*"], "database-api-tg"),
            {**listener_rule(0, [], "core-agent-tg"), "Priority": "default", "IsDefault": True},
        ]
    )
    """As boto3's describe_rules answers."""
    certificates: dict[str, list[str]] = dataclasses.field(
        default_factory=lambda: {arn("acm", "certificate/1"): ["busyb.ai", "*.busyb.ai", "*.example.com"]}
    )
    """The listener's certificates: ARN -> names."""

    def answer(self, token: str, args: dict[str, Any]) -> dict[str, Any] | None:
        """What a look-up finds, or None."""
        match token.removeprefix("aws:").split(":")[-1]:
            case "getCallerIdentity":
                return self.caller
            case "getRegion":
                return {"region": REGION}
            case "getPartition":
                return {"partition": "aws"}
            case "getVpc":
                return _first(self.vpcs, args)
            case "getSubnet":
                return _first(self.subnets, args)
            case "getSecurityGroup":
                wanted = args.get("id") or self.groups.get(args["name"])
                return {"id": wanted} if wanted in self.groups.values() else None
            case "getCluster":
                name = args["clusterName"]
                found = {"clusterName": name, "arn": arn("ecs", f"cluster/{name}"), "status": self.clusters.get(name)}
                return found if name in self.clusters else None
            case "getLoadBalancer":
                return self.balancers.get(args["name"])
            case "getListener":
                port = int(args["port"])
                found = {"arn": arn("elasticloadbalancing", f"listener/{port}"), "protocol": self.listeners.get(port)}
                return found if port in self.listeners else None
            case "getDnsNamespace":
                return (
                    {"id": self.namespaces[args["name"]], "name": args["name"]}
                    if args["name"] in self.namespaces
                    else None
                )
            case "getBucket":
                return {"bucket": args["bucket"]} if args["bucket"] in self.buckets else None
            case "getSecret":
                name = args.get("name") or args["arn"].split(":")[-1].rpartition("-")[0]
                return {"arn": secret_arn(name), "kmsKeyId": self.secrets[name] or ""} if name in self.secrets else None
            case "getRole":
                return {"arn": f"arn:aws:iam::{ACCOUNT}:role/{args['name']}"} if args["name"] in self.roles else None
            case "getOpenIdConnectProvider":
                return {"arn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"} if self.github_trusted else None
            case "getZone":
                return {"zoneId": self.zones[args["name"]]} if args["name"] in self.zones else None
            case "getParametersByPath":
                names = [f"{args['path']}/{key}" for key in self.healthy]
                return {"names": names, "values": [json.dumps(revisions) for revisions in self.healthy.values()]}
            case "getAuthorizationToken":
                return {"userName": "AWS", "password": TOKEN}
            case unexpected:
                raise AssertionError(f"the program asks for {unexpected}, which no test describes")


def _subnet(id_: str, cidr: str, *, public: bool = False, vpc: str = "vpc-0111b7630bcb61b61") -> dict[str, Any]:
    return {
        "id": id_,
        "cidrBlock": cidr,
        "vpcId": vpc,
        "mapPublicIpOnLaunch": public,
        "tags": {"Name": f"subnet-private-{id_[-1]}"},
    }


def _first(things: list[dict[str, Any]], args: dict[str, Any]) -> dict[str, Any] | None:
    return next((t for t in things if all(t[name] == wanted for name, wanted in args.items())), None)


def secret_arn(name: str) -> str:
    return arn("secretsmanager", f"secret:{name}-AbCdEf")


def target_group_arn(name: str) -> str:
    return arn("elasticloadbalancing", f"targetgroup/{name}/1")


def listener_rule(
    priority: int, paths: list[str], target_group: str, hosts: list[str] | None = None, **other: Any
) -> dict[str, Any]:
    """A rule as boto3 shows it. `other`: further conditions, by field."""
    conditions: list[dict[str, Any]] = [{"Field": field.replace("_", "-"), **config} for field, config in other.items()]
    if paths:
        conditions.append({"Field": "path-pattern", "Values": paths, "PathPatternConfig": {"Values": paths}})
    if hosts:
        conditions.append({"Field": "host-header", "HostHeaderConfig": {"Values": hosts}})
    return {
        "RuleArn": arn("elasticloadbalancing", f"listener-rule/{priority}"),
        "Priority": str(priority),
        "IsDefault": False,
        "Conditions": conditions,
        "Actions": [{"Type": "forward", "TargetGroupArn": target_group_arn(target_group)}],
    }


@dataclasses.dataclass(frozen=True)
class Registration:
    """One resource as the engine would get it. Secret inputs are `Secret`s, unknown ones `UNKNOWN`."""

    type: str
    name: str
    urn: str
    parent: str
    """The parent's logical name."""
    inputs: dict[str, Any]
    request: Any
    """The whole request, with the resource's options."""


@dataclasses.dataclass(frozen=True)
class Secret:
    """A value that is marked secret."""

    value: Any


@dataclasses.dataclass
class Recorded:
    """What a run of the program did."""

    resources: list[Registration] = dataclasses.field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = dataclasses.field(default_factory=list)
    """Look-ups: token and arguments."""
    outputs: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The stack's outputs."""
    error: BaseException | None = None

    def of(self, type_: str) -> dict[str, dict[str, Any]]:
        """Logical name -> inputs of a type's resources; `type_` such as aws:ecs/service:Service."""
        return {r.name: r.inputs for r in self.resources if r.type == type_}

    def inputs(self, name: str) -> dict[str, Any]:
        """The inputs of the one resource with this logical name that is not a component."""
        (found,) = [r.inputs for r in self.resources if r.name == name and not r.type.startswith("mcp-on-ecs:")]
        return found

    def container(self, key: str = "google-workspace") -> dict[str, Any]:
        """The one container of a service's task definition."""
        (container,) = json.loads(self.inputs(f"{key}-task-definition")["containerDefinitions"])
        return dict(container)


# What AWS would answer to a registration, beside the inputs themselves.
_COMPUTED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "aws:ecr/repository:Repository": lambda i: {
        "repositoryUrl": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{i['name']}",
        "arn": arn("ecr", f"repository/{i['name']}"),
    },
    "docker:index/image:Image": lambda i: {"repoDigest": f"{i['imageName'].rpartition(':')[0]}@{DIGEST}"},
    "aws:cloudwatch/logGroup:LogGroup": lambda i: {"arn": arn("logs", f"log-group:{i['name']}")},
    "aws:secretsmanager/secret:Secret": lambda i: {"arn": secret_arn(i["name"])},
    "aws:elasticache/replicationGroup:ReplicationGroup": lambda i: {
        "primaryEndpointAddress": f"master.{i['replicationGroupId']}.abc123.use1.cache.amazonaws.com"
    },
    "aws:dynamodb/table:Table": lambda i: {"arn": arn("dynamodb", f"table/{i['name']}")},
    "aws:iam/role:Role": lambda i: {"arn": f"arn:aws:iam::{ACCOUNT}:role/{i['name']}"},
    "aws:ecs/taskDefinition:TaskDefinition": lambda i: {"arn": arn("ecs", f"task-definition/{i['family']}:1")},
    "aws:ecs/service:Service": lambda _: {},
    "aws:lb/targetGroup:TargetGroup": lambda i: {"arn": target_group_arn(i["name"])},
    "aws:lb/listenerRule:ListenerRule": lambda i: {"arn": arn("elasticloadbalancing", f"rule/{i['priority']}")},
    "aws:servicediscovery/service:Service": lambda i: {"arn": arn("servicediscovery", f"service/srv-{i['name']}")},
    "aws:cloudwatch/metricAlarm:MetricAlarm": lambda i: {"arn": arn("cloudwatch", f"alarm:{i['name']}")},
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": lambda i: {"arn": arn("cloudwatch", f"alarm:{i['alarmName']}")},
    "aws:kms/key:Key": lambda _: {"arn": arn("kms", "key/1")},
    "aws:sns/topic:Topic": lambda i: {"arn": arn("sns", i["name"])},
    "aws:ec2/securityGroup:SecurityGroup": lambda i: {"id": f"sg-{i['name']}"},
}
# Outputs that no preview of a first deployment knows.
_LATE = {"repoDigest", "arn", "id", "repositoryUrl", "primaryEndpointAddress"}


class NothingFoundError(grpc.RpcError):  # type: ignore[misc]
    """What a look-up that finds nothing is on the wire."""

    def __init__(self, token: str) -> None:
        self.token = token

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return f"invocation of {self.token} returned an error: no matching thing found"


class _Mocks(mocks.Mocks):
    def __init__(self, account: Account, recorded: Recorded, *, preview: bool) -> None:
        self.account, self.recorded, self.preview = account, recorded, preview

    def call(self, args: mocks.MockCallArgs) -> Any:
        self.recorded.calls.append((args.token, args.args))
        found = self.account.answer(args.token, args.args)
        if found is None:
            raise NothingFoundError(args.token)
        return found

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        computed = _COMPUTED.get(args.typ, lambda _: {})(args.inputs) if not self.preview else {}  # type: ignore[no-untyped-call]
        id_ = "" if self.preview else computed.pop("id", f"{args.name}-id")
        return id_, {**args.inputs, **computed}


class _Monitor(mocks.MockMonitor):
    """Keeps what the mocks are not told: URN, parent, options, and the stack's outputs."""

    def __init__(self, given: mocks.Mocks, recorded: Recorded) -> None:
        super().__init__(given)
        self.recorded = recorded

    def RegisterResource(self, request: Any) -> Any:
        answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            inputs = _readable(rpc.deserialize_properties(request.object, keep_unknowns=True))
            parent = request.parent.split("::")[-1]
            self.recorded.resources.append(
                Registration(request.type, request.name, answer.urn, parent, inputs, request)
            )
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:
        if "::pulumi:pulumi:Stack::" in request.urn:
            self.recorded.outputs.update(_readable(rpc.deserialize_properties(request.outputs, keep_unknowns=True)))
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def _readable(value: Any) -> Any:
    if isinstance(value, pulumi.output.Unknown):
        return UNKNOWN
    if rpc.is_rpc_secret(value):
        return Secret(_readable(rpc.unwrap_rpc_secret(value)))
    if isinstance(value, dict):
        return {name: _readable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return value


Deploy = Callable[..., Recorded]
"""`deploy(config, preview=False, fails=False)`, the fixture: runs the project's `__main__.py`."""


def run(program: Callable[[], Any], account: Account, *, config: dict[str, str], preview: bool = False) -> Recorded:
    """Runs a Pulumi program to its end, drained. Its exception, if any, is in `error`."""
    recorded = Recorded()
    # After a failure some futures are never awaited, as where `engine.program` runs it.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    def in_context() -> None:
        monitor = _Monitor(_Mocks(account, recorded, preview=preview), recorded)
        engine = mocks.MockEngine(logging.getLogger("pulumi"))
        configure(
            Settings(project=settings.NAMESPACE, stack="production", monitor=monitor, engine=engine, dry_run=preview)
        )
        set_all_config(config)
        try:
            asyncio.run(run_in_stack(program))
        except BaseException as error:
            recorded.error = error

    contextvars.Context().run(in_context)
    return recorded


def only(config: dict[str, Any]) -> dict[str, Any]:
    """The one service of a configuration, to be changed in place."""
    (service,) = config["services"].values()
    return service  # type: ignore[no-any-return]
