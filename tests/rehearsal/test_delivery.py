"""The pipeline's roles, tried on what a deployment was seen to ask of the account."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from operations.preflight import preflight
from operations.revisions import status
from operations.rollback import rollback
from operations.target import Target, of_rehearsal
from operations.verify import verify
from providers.recording import Call
from rehearsal.emulator import Account
from rehearsal.kept import ROOT
from rehearsal.run import Rehearsal, Stack
from tests.iam import Request, Requests, allowed
from tests.stacks import SERVICE, changed, production

ACCOUNT, REGION = "758888582357", "us-east-1"
NAME = "busyb-google-workspace-mcp"
STATE_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
TASKS = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
OURS = {"ManagedBy": "pulumi", "Environment": "production", "Service": "google-workspace-mcp"}
DELIVERY = {
    "repository": "busyb-ai/infrastructure",
    "createProvider": True,
    "stateBucket": "busyb-pulumi-state",
    "stateKey": STATE_KEY,
    "topic": "google-workspace-mcp-deployments",
}


def arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a deployment, `verify`, a change, `status`, a rollback and the removal of everything asked, and the policies
    in force."""

    requests: list[Request]
    looked: list[Request]
    """Those of them that a preview makes too: look-ups, and reading what is there."""
    before: list[Request]
    """What `preflight` asked, which takes an answer that it does not get for "not run"."""
    deploy: dict[str, Any]
    preview: dict[str, Any]


# What no boto3 call of the rehearsal shows: the push goes by the registry's protocol, the state is the engine's, and
# a one-off task and a message are for the cloud alone. From the documentation that components/delivery.py names.
ELSEWHERE = [
    *(
        Request(f"ecr:{action}", (arn("ecr", f"repository/{NAME}"),))
        for action in (
            "BatchCheckLayerAvailability",
            "InitiateLayerUpload",
            "UploadLayerPart",
            "CompleteLayerUpload",
            "PutImage",
            "BatchGetImage",
            "GetDownloadUrlForLayer",
        )
    ),
    Request("s3:ListBucket", ("arn:aws:s3:::busyb-pulumi-state",)),
    *(
        Request(f"s3:{action}Object", ("arn:aws:s3:::busyb-pulumi-state/.pulumi/stacks/mcp-on-ecs/production.json",))
        for action in ("Get", "Put", "Delete")
    ),
    *(Request(f"kms:{action}", (STATE_KEY,)) for action in ("Encrypt", "Decrypt")),
    Request(
        "ecs:RunTask",
        (arn("ecs", f"task-definition/{NAME}-verify:1"),),
        {"ecs:cluster": arn("ecs", "cluster/busyb-cluster")},
    ),
    Request("sns:Publish", (arn("sns", "google-workspace-mcp-deployments"),)),
    *(
        # The topic is encrypted, so whoever publishes needs its key.
        Request(
            f"kms:{action}",
            (arn("kms", "key/0"),),
            {
                **{f"aws:ResourceTag/{key}": value for key, value in (OURS | {"Service": "notifications"}).items()},
                "kms:ViaService": f"sns.{REGION}.amazonaws.com",
            },
        )
        for action in ("GenerateDataKey", "Decrypt")
    ),
    # Asked by preflight, and not of the emulator, which has no Cost Explorer.
    Request("ce:ListCostAllocationTags"),
    # A refresh reads the pipeline's own roles.
    Request("iam:GetRole", (f"arn:aws:iam::{ACCOUNT}:role/busyb-production-mcp-deploy",)),
]


def in_force(account: Account, part: str) -> dict[str, Any]:
    """What the account says of the role's policies, as one document."""
    iam, role = account.client("iam"), f"busyb-production-mcp-{part}"
    assert iam.list_role_policies(RoleName=role)["PolicyNames"] == []
    statements = []
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        version = iam.get_policy(PolicyArn=attached["PolicyArn"])["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=attached["PolicyArn"], VersionId=version)["PolicyVersion"]
        statements += found["Document"]["Statement"]
    return {"Statement": statements}


def attentive(target: Target, calls: list[Call]) -> Target:
    """The target, whose clients append what they are asked to `calls`, in whatever thread."""

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        calls.append(Call(model.service_model.signing_name, model.name, dict(params), ""))

    def client(service: str) -> Any:
        found = target.client(service)
        found.meta.events.register("provide-client-params.*.*", note, unique_id="attentive")
        return found

    return dataclasses.replace(target, client=client)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    # A rollback writes into the stack's file.
    file = tmp_path_factory.mktemp("stack") / "Pulumi.production.yaml"
    shutil.copy(ROOT / "Pulumi.production.yaml", file)
    subscription = {"topic": "critical", "protocol": "email", "endpoint": "team@example.com"}
    stack = changed(
        production("delivery"),
        {
            "delivery": DELIVERY,
            "monitoring.subscriptions": [subscription],
            "monitoring.budget": {"limit": 40},
            "tags": {"Team": "platform"},
        },
    )
    other = changed(
        stack,
        {
            f"{SERVICE}.memory": 2048,
            f"{SERVICE}.health.interval": 20,
            f"{SERVICE}.routing.priority": 60,
            f"{SERVICE}.routing.path": "/workspace",
            f"{SERVICE}.logs.retentionDays": 90,
            f"{SERVICE}.discovery.ttl": 30,
            "monitoring.budget.limit": 50,
            "tags": {"CostCenter": "42"},
        },
    )
    operated: list[Call] = []
    before: list[Call] = []
    with Rehearsal(stack) as rehearsal:
        first = rehearsal.deploy()
        policies = {part: in_force(rehearsal.account, part) for part in ("deploy", "preview")}
        listed = rehearsal.account.client("secretsmanager").list_secrets()["SecretList"]
        secrets = {entry["Name"]: entry["ARN"] for entry in listed}

        def target(of: Stack, calls: list[Call]) -> Target:
            return attentive(of_rehearsal(of.name, file, of.settings, rehearsal.note()), calls)

        preflight(target(stack, before))
        verify(target(stack, operated), stack.settings.services["google-workspace"])
        second = rehearsal.deploy(other)
        status(target(other, operated), other.settings.services["google-workspace"])
        rollback(target(other, operated), other.settings.services["google-workspace"])
        last = rehearsal.deployer.destroy()
        calls = [*first.calls, *second.calls, *operated, *last.calls]
    ours = [call for call in calls if "Delivery" not in call.resource]
    assert len(ours) > 150
    preview = [call for call in [*first.calls, *second.calls] if _reads(call) and "Delivery" not in call.resource]
    tags: dict[str, dict[str, str]] = {}

    def requests(asked: list[Call]) -> list[Request]:
        found = Requests(asked, region=REGION, account=ACCOUNT, secrets=secrets)
        found.tags = tags
        return list(found)

    # The tags that resources have by then are those of their creation, so previews are judged after all else.
    yield Seen(
        requests=[*requests(ours), *ELSEWHERE],
        looked=requests(preview),
        before=requests(before),
        deploy=policies["deploy"],
        preview=policies["preview"],
    )


def _reads(call: Call) -> bool:
    return call.action.startswith(("Describe", "Get", "List", "Head"))


def _denied(document: dict[str, Any], requests: list[Request]) -> list[str]:
    return sorted({f"{r.action} on {', '.join(r.resources)}" for r in requests if not allowed(document, r)})


def test_all_that_a_deployer_was_seen_to_ask_is_allowed(seen: Seen) -> None:
    assert _denied(seen.deploy, seen.requests) == []


def test_a_preflight_of_the_pipeline_is_denied_the_values_of_secrets_and_no_more(seen: Seen) -> None:
    """It takes that for "not run", as it does the simulation of rights and the quota, which a rehearsal has not got."""
    refused = _denied(seen.deploy, seen.before)
    assert {deed.partition(" on ")[0] for deed in refused} == {"secretsmanager:GetSecretValue"}


def test_all_that_a_preview_asks_is_allowed_to_the_preview_role(seen: Seen) -> None:
    assert _denied(seen.preview, seen.looked) == []


def test_without_any_one_of_its_statements_a_deployment_would_fail(seen: Seen) -> None:
    statements = seen.deploy["Statement"]
    idle = [
        statement["Sid"]
        for statement in statements
        if not _denied({"Statement": [other for other in statements if other is not statement]}, seen.requests)
    ]
    assert len(statements) > 20
    assert idle == []


READS = ("Describe", "Get", "List", "BatchGet", "Filter", "Discover", "Decrypt", "View")

# What the provider asks when something is changed that the deployments of this test leave alone: a key's description
# and policy, a role's description and trust, scanning, mutability, a retention that is taken away, a subscription.
ON_OTHER_CHANGES = {
    "ecr:PutImageScanningConfiguration",
    "ecr:PutImageTagMutability",
    "iam:UpdateAssumeRolePolicy",
    "iam:UpdateRole",
    "kms:PutKeyPolicy",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
    "logs:DeleteRetentionPolicy",
    "sns:SetSubscriptionAttributes",
}


def _actions(document: dict[str, Any]) -> set[str]:
    return {
        action
        for statement in document["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }


def test_each_right_to_change_something_was_used(seen: Seen) -> None:
    changing = {action for action in _actions(seen.deploy) if not action.split(":")[1].startswith(READS)}
    assert len(changing) > 60
    assert changing - {request.action for request in seen.requests} == ON_OTHER_CHANGES


def test_the_preview_role_only_reads(seen: Seen) -> None:
    assert {action for action in _actions(seen.preview) if not action.split(":")[1].startswith(READS)} == set()
    assert _denied(
        seen.preview, [Request("secretsmanager:GetSecretValue", (arn("secretsmanager", "secret:busyb/x-AbCdEf"),))]
    )


OTHER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/ecsTaskExecutionRole"
OWN_ROLE = f"arn:aws:iam::{ACCOUNT}:role/busyb-production-mcp-deploy"
TASK_ROLE = f"arn:aws:iam::{ACCOUNT}:role/{NAME}-task-role"
RULE = arn("elasticloadbalancing", "listener-rule/app/busyb-alb/1/2/3")
FOREIGN = {"aws:ResourceTag/Service": "core-agent", "aws:ResourceTag/Environment": "production"}


@pytest.mark.parametrize(
    ("deed", "request_"),
    [
        ("change its own rights", Request("iam:PutRolePolicy", (OWN_ROLE,))),
        ("change who may take it", Request("iam:UpdateAssumeRolePolicy", (OWN_ROLE,))),
        ("attach an administrator's policy to the task role", Request("iam:AttachRolePolicy", (TASK_ROLE,))),
        ("make another role", Request("iam:CreateRole", (f"arn:aws:iam::{ACCOUNT}:role/backdoor",))),
        ("make a user", Request("iam:CreateUser", (f"arn:aws:iam::{ACCOUNT}:user/backdoor",))),
        ("make an access key", Request("iam:CreateAccessKey", (f"arn:aws:iam::{ACCOUNT}:user/backdoor",))),
        ("pass another role to ECS", Request("iam:PassRole", (OTHER_ROLE,), TASKS)),
        ("pass its own role to ECS", Request("iam:PassRole", (OWN_ROLE,), TASKS)),
        (
            "pass the task role to Lambda",
            Request("iam:PassRole", (TASK_ROLE,), {"iam:PassedToService": "lambda.amazonaws.com"}),
        ),
        (
            "trust another issuer",
            Request("iam:CreateOpenIDConnectProvider", (f"arn:aws:iam::{ACCOUNT}:oidc-provider/x",)),
        ),
        (
            "read a secret's value",
            Request(
                "secretsmanager:GetSecretValue", (arn("secretsmanager", "secret:busyb/google-oauth-client-id-AbCdEf"),)
            ),
        ),
        (
            "read a user's tokens",
            Request("s3:GetObject", (f"arn:aws:s3:::busyb-oauth-tokens-{ACCOUNT}/tokens/a.json",)),
        ),
        ("delete the token bucket", Request("s3:DeleteBucket", (f"arn:aws:s3:::busyb-oauth-tokens-{ACCOUNT}",))),
        ("update another service", Request("ecs:UpdateService", (arn("ecs", "service/busyb-cluster/core-agent"),))),
        ("delete the cluster", Request("ecs:DeleteCluster", (arn("ecs", "cluster/busyb-cluster"),))),
        (
            "run another service's tasks",
            Request(
                "ecs:RunTask",
                (arn("ecs", "task-definition/core-agent:1"),),
                {"ecs:cluster": arn("ecs", "cluster/busyb-cluster")},
            ),
        ),
        ("enter a running container", Request("ecs:ExecuteCommand", (arn("ecs", "task/busyb-cluster/0"),))),
        ("delete another service's listener rule", Request("elasticloadbalancing:DeleteRule", (RULE,), FOREIGN)),
        ("delete a listener rule that nobody tagged", Request("elasticloadbalancing:DeleteRule", (RULE,))),
        ("claim another service's listener rule by tags", Request("elasticloadbalancing:AddTags", (RULE,), FOREIGN)),
        (
            "delete the load balancer",
            Request(
                "elasticloadbalancing:DeleteLoadBalancer",
                (arn("elasticloadbalancing", "loadbalancer/app/busyb-alb/1"),),
            ),
        ),
        (
            "change the listener's certificate",
            Request(
                "elasticloadbalancing:ModifyListener", (arn("elasticloadbalancing", "listener/app/busyb-alb/1/2"),)
            ),
        ),
        (
            "delete another service's discovery",
            Request("servicediscovery:DeleteService", (arn("servicediscovery", "service/srv-1"),), FOREIGN),
        ),
        (
            "claim another service's discovery by tags",
            Request(
                "servicediscovery:TagResource",
                (arn("servicediscovery", "service/srv-1"),),
                FOREIGN | {f"aws:RequestTag/{key}": value for key, value in OURS.items()},
            ),
        ),
        ("delete another repository", Request("ecr:DeleteRepository", (arn("ecr", "repository/core-agent"),))),
        ("push into another repository", Request("ecr:PutImage", (arn("ecr", "repository/core-agent"),))),
        ("read another service's log", Request("logs:GetLogEvents", (arn("logs", "log-group:/ecs/core-agent:*"),))),
        ("overwrite another parameter", Request("ssm:PutParameter", (arn("ssm", "parameter/busyb/staging/MCP_URL"),))),
        ("open a security group", Request("ec2:AuthorizeSecurityGroupIngress", (arn("ec2", "security-group/sg-1"),))),
        ("start a machine", Request("ec2:RunInstances")),
        ("silence an alarm of another service", Request("cloudwatch:DeleteAlarms", (arn("cloudwatch", "alarm:core"),))),
        ("delete a key that is not the stack's", Request("kms:ScheduleKeyDeletion", (arn("kms", "key/0"),))),
        ("publish to another topic", Request("sns:Publish", (arn("sns", "critical-alerts"),))),
        ("decrypt with another key", Request("kms:Decrypt", (arn("kms", "key/0"),))),
        ("read another stack's bucket", Request("s3:GetObject", ("arn:aws:s3:::busyb-pulumi-state/backups/x",))),
        ("take another role", Request("sts:AssumeRole", (OTHER_ROLE,))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_deploy_role_must_not(seen: Seen, deed: str, request_: Request) -> None:
    assert not allowed(seen.deploy, request_), deed
    assert not allowed(seen.preview, request_), deed
