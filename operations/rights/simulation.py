"""What the deployer and a named execution role must be allowed to do, and whether IAM says so: `./ops preflight` asks.

Asked for the very resources that the stack is about: for "any resource", IAM would refuse a role that is narrow, as it
should be.
"""

from __future__ import annotations

from components.containers import log_group_name
from components.names import role_name, service_name, target_group_name, target_group_names
from components.settings import DynamoDbState, Service
from operations.target import Target

Rights = dict[str, tuple[str, ...]]
"""Resource (ARN, or *) -> actions on it."""

_SOME_ID = "0123456789abcdef"
"""Stands for the part of an ARN that AWS makes up."""
_MAKE_ROLE = ("iam:CreateRole", "iam:PassRole", "iam:PutRolePolicy")


def of_deployer(target: Target, service: Service) -> Rights:
    """The gravest actions of a deployment; what is only read, preflight reads itself."""
    place, iam = f"{target.region}:{target.account}", f"arn:{target.partition}:iam::{target.account}"
    ecr, ecs, elb, logs, ssm = (
        f"arn:{target.partition}:{name}:{place}" for name in ("ecr", "ecs", "elasticloadbalancing", "logs", "ssm")
    )
    estate = target.settings.estate
    rights: Rights = {
        "*": ("ecr:GetAuthorizationToken",),
        f"{ecr}:repository/{service.name}": ("ecr:CreateRepository", "ecr:PutImage", "ecr:PutLifecyclePolicy"),
        f"{ecs}:task-definition/{service.name}:1": ("ecs:RegisterTaskDefinition",),
        f"{ecs}:service/{estate.cluster}/{service_name(service)}": ("ecs:CreateService", "ecs:UpdateService"),
        f"{iam}:role/{role_name(service, 'task')}": _MAKE_ROLE,
        f"{logs}:log-group:{log_group_name(service)}:*": ("logs:CreateLogGroup", "logs:PutRetentionPolicy"),
        f"{ssm}:parameter{target.settings.parameter_prefix}/healthy/{service.key}": ("ssm:PutParameter",),
    }
    for page in target.client("servicediscovery").get_paginator("list_namespaces").paginate():
        for namespace in page["Namespaces"]:
            if namespace["Name"] == estate.namespace:
                rights[namespace["Arn"]] = ("servicediscovery:CreateService",)
    if service.execution_role:
        rights[f"{iam}:role/{service.execution_role}"] = ("iam:PassRole",)
    else:
        rights[f"{iam}:role/{role_name(service, 'execution')}"] = _MAKE_ROLE
    for name in service.made_secrets.values():
        secret = f"arn:{target.partition}:secretsmanager:{place}:secret:{name}-{_SOME_ID[:6]}"
        rights[secret] = ("secretsmanager:CreateSecret", "secretsmanager:PutSecretValue")
    if isinstance(service.oauth_state, DynamoDbState):
        table = f"arn:{target.partition}:dynamodb:{place}:table/{service.oauth_store}"
        rights[table] = ("dynamodb:CreateTable", "dynamodb:UpdateContinuousBackups", "dynamodb:UpdateTimeToLive")
    if service.oauth_cache:
        elasticache = f"arn:{target.partition}:elasticache:{place}"
        rights[f"{elasticache}:replicationgroup:{service.oauth_store}"] = ("elasticache:CreateReplicationGroup",)
        rights[f"{elasticache}:user:{service.oauth_store}"] = ("elasticache:CreateUser", "elasticache:ModifyUser")
    if service.public:
        shifts = service.deployment.shifts
        for name in target_group_names(service) if shifts else (target_group_name(service),):
            rights[f"{elb}:targetgroup/{name}/{_SOME_ID}"] = ("elasticloadbalancing:CreateTargetGroup",)
        if shifts:
            role = f"{iam}:role/{role_name(service, 'infrastructure')}"
            rights[role] = _MAKE_ROLE
        listener = f"{elb}:listener/app/{estate.load_balancer}/{_SOME_ID}/{_SOME_ID}"
        rights[listener] = ("elasticloadbalancing:CreateRule",)
    return rights


def of_execution_role(target: Target, service: Service) -> Rights:
    """What ECS does with the role when it starts a task."""
    arn, place = f"arn:{target.partition}", f"{target.region}:{target.account}"
    rights: Rights = {f"{arn}:logs:{place}:log-group:{log_group_name(service)}:*": ("logs:PutLogEvents",)}
    if "@" not in (service.image.digest or ""):  # Otherwise the image is in a registry of others.
        rights["*"] = ("ecr:GetAuthorizationToken",)
        rights[f"{arn}:ecr:{place}:repository/{service.name}"] = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
    manager = target.client("secretsmanager")
    for name in sorted({wanted.secret for wanted in service.secrets.values()}):
        rights[manager.describe_secret(SecretId=name)["ARN"]] = ("secretsmanager:GetSecretValue",)
    return rights


def _passed_to(resource: str) -> str:
    """The part of AWS that a role of the stack's is for."""
    return "ecs.amazonaws.com" if resource.endswith("-infrastructure-role") else "ecs-tasks.amazonaws.com"


def lacking(target: Target, principal: str, rights: Rights) -> tuple[list[str], list[str]]:
    """What of `rights` the user or role `principal` (ARN) lacks, and what depends on conditions that only the real
    request decides; each as "action on resource"."""
    denied: list[str] = []
    undecided: list[str] = []
    for resource, actions in rights.items():
        results = target.client("iam").simulate_principal_policy(
            PolicySourceArn=principal,
            ActionNames=list(actions),
            ResourceArns=[resource],
            # Without it, a PassRole that is allowed for ECS alone would read as refused.
            ContextEntries=[
                {
                    "ContextKeyName": "iam:PassedToService",
                    "ContextKeyValues": [_passed_to(resource)],
                    "ContextKeyType": "string",
                }
            ],
        )["EvaluationResults"]
        for result in results:
            if result["EvalDecision"] != "allowed":
                into = undecided if result.get("MissingContextValues") else denied
                into.append(f"{result['EvalActionName']} on {resource}")
    return denied, undecided
