"""A small judge of IAM policies: whether one allows a call. Allow statements only, which is all that ours have; and
conditions, which the emulated account's own simulation leaves out."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from providers.recording import Call

Document = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Request:
    """What IAM is asked: an action on resources, each of which must be allowed, with condition keys."""

    action: str
    resources: tuple[str, ...] = ("*",)
    context: Mapping[str, str] = dataclasses.field(default_factory=dict)


def allowed(document: Document, request: Request) -> bool:
    """Whether `document` allows `request` on each of its resources."""
    return all(
        any(_covers(statement, request, resource) for statement in document["Statement"])
        for resource in request.resources
    )


def may_assume(trust: Document, *, provider: str, claims: Mapping[str, str]) -> bool:
    """Whether a role's trust policy lets the bearer of a provider's token with `claims` take it."""
    issuer = provider.partition(":oidc-provider/")[2]
    asked = Request("sts:AssumeRoleWithWebIdentity", context={f"{issuer}:{key}": text for key, text in claims.items()})
    statements = [
        {**statement, "Resource": "*"}
        for statement in trust["Statement"]
        if statement["Principal"] == {"Federated": provider}
    ]
    return allowed({"Statement": statements}, asked)


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _like(value: str, patterns: Any) -> bool:
    # fnmatch knows brackets, which IAM does not.
    return any(fnmatch.fnmatchcase(value, re.sub(r"\[", "[[]", pattern)) for pattern in _texts(patterns))


def _covers(statement: Document, request: Request, resource: str) -> bool:
    assert statement["Effect"] == "Allow"
    return (
        _like(request.action.lower(), [action.lower() for action in _texts(statement["Action"])])
        and _like(resource, statement["Resource"])
        and all(
            _holds(operator, request.context.get(key), wanted)
            for operator, tests in statement.get("Condition", {}).items()
            for key, wanted in tests.items()
        )
    )


def _holds(operator: str, actual: str | None, wanted: Any) -> bool:
    match operator:
        case "StringEquals" | "ArnEquals" | "ForAllValues:StringEquals":
            return actual is not None and actual in _texts(wanted)
        case "StringEqualsIfExists":
            return actual is None or actual in _texts(wanted)
    raise AssertionError(f"the judge does not know {operator}")


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_S3_ACTIONS = {
    "HeadBucket": "ListBucket",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}
"""Call on a bucket -> the action that it takes, where that has another name."""


class Requests:
    """Recorded calls of the emulated account as IAM would be asked about them."""

    def __init__(self, calls: Sequence[Call], *, region: str, account: str, secrets: Mapping[str, str]) -> None:
        """`secrets`: name -> ARN, which ends in characters that nobody can guess."""
        self.calls, self.region, self.account, self.secrets = calls, region, account, secrets
        # Tags that resources got when they were made, for conditions on them: identifier in ARNs -> tags.
        self.tags: dict[str, dict[str, str]] = {}

    def __iter__(self) -> Iterator[Request]:
        for call in self.calls:
            yield from self._of(call)

    def _arn(self, service: str, rest: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{rest}"

    def _of(self, call: Call) -> Iterator[Request]:
        prefix = {"monitoring": "cloudwatch"}.get(call.service, call.service)
        action, given = f"{prefix}:{call.action}", call.parameters
        match call.service, call.action:
            case "s3", _:
                named = _S3_ACTIONS.get(call.action, call.action)
                yield Request(f"s3:{named}", (f"arn:aws:s3:::{given['Bucket']}",))
            case "iam", ("CreateOpenIDConnectProvider" | "GetOpenIDConnectProvider"):
                yield Request(action, (given["OpenIDConnectProviderArn"],))
            case "iam", _ if "RoleName" in given:
                yield Request(action, (f"arn:aws:iam::{self.account}:role/{given['RoleName']}",))
            case "ecr", _ if "repositoryNames" in given or "repositoryName" in given:
                names = given.get("repositoryNames") or [given["repositoryName"]]
                yield Request(action, tuple(self._arn("ecr", f"repository/{name}") for name in names))
            case "ecr" | "logs", _ if "resourceArn" in given:
                yield Request(action, (given["resourceArn"],))
            case "logs", "DescribeLogGroups":
                yield Request(action)
            case "logs", ("PutMetricFilter" | "DeleteMetricFilter" | "DescribeMetricFilters"):
                yield Request(action, (self._arn("logs", f"log-group:{given['logGroupName']}:*"),))
            case "logs", _ if "logGroupName" in given:
                yield Request(action, (self._arn("logs", f"log-group:{given['logGroupName']}"),))
            case "monitoring", _:
                yield from self._cloudwatch(call, action)
            case "events", _:
                rule = given.get("Name") or given.get("Rule") or given["ResourceARN"].rpartition("/")[2]
                yield Request(action, (self._arn("events", f"rule/{rule}"),))
            case "sns", _:
                topic = given.get("TopicArn") or given.get("ResourceArn") or given.get("SubscriptionArn")
                yield Request(action, (topic or self._arn("sns", given["Name"]),))
            case "budgets", _:
                yield self._budgets(call, action)
            case "kms", _:
                yield from self._kms(call, action)
            case "ssm", "GetParametersByPath":
                yield Request(action, (self._arn("ssm", f"parameter{given['Path']}"),))
            case "ssm", _ if "Name" in given or "ResourceId" in given:
                yield Request(action, (self._arn("ssm", f"parameter{given.get('Name', given.get('ResourceId'))}"),))
            case "secretsmanager", _:
                yield Request(action, (self.secrets.get(given["SecretId"], given["SecretId"]),))
            case "sts", "GetCallerIdentity":
                # Nobody can be denied that:
                # https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
                return
            case "servicediscovery", _:
                yield self._discovery(call, action)
            case "elasticloadbalancing", _:
                yield from self._balancing(call, action)
            case "ecs", _:
                yield from self._ecs(call, action)
            case _:
                yield Request(action)

    def _cloudwatch(self, call: Call, action: str) -> Iterator[Request]:
        given = call.parameters
        if "DashboardName" in given or "DashboardNames" in given:
            for name in given.get("DashboardNames") or [given["DashboardName"]]:
                yield Request(action, (f"arn:aws:cloudwatch::{self.account}:dashboard/{name}",))
        elif call.action == "DescribeAlarms" and "AlarmNames" not in given:
            yield Request(action, (self._arn("cloudwatch", "alarm:*"),))
        elif "ResourceARN" in given:
            yield Request(action, (given["ResourceARN"],))
        else:
            for name in given.get("AlarmNames") or [given["AlarmName"]]:
                yield Request(action, (self._arn("cloudwatch", f"alarm:{name}"),))
        if call.action == "PutCompositeAlarm":
            # It asks for the right to describe all alarms.
            yield Request("cloudwatch:DescribeAlarms", (self._arn("cloudwatch", "alarm:*"),))

    def _budgets(self, call: Call, action: str) -> Request:
        given = call.parameters
        budget = given.get("Budget") or given.get("NewBudget") or given
        arn = given.get("ResourceARN") or f"arn:aws:budgets::{self.account}:budget/{budget['BudgetName']}"
        # Budgets have two rights for all their calls, but for those on tags.
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbudgetservice.html
        if not call.action.endswith(("TagResource", "TagsForResource", "UntagResource")):
            action = "budgets:ViewBudget" if call.action.startswith("Describe") else "budgets:ModifyBudget"
        return Request(action, (arn,))

    def _kms(self, call: Call, action: str) -> Iterator[Request]:
        given, key = call.parameters, self._arn("kms", "key/0")
        if call.action == "CreateKey":
            pairs = {tag["TagKey"]: tag["TagValue"] for tag in given["Tags"]}
            self.tags["key"] = self._tags("aws:ResourceTag", pairs)
            yield Request(action, context=self._tags("aws:RequestTag", pairs))
        elif call.action == "ListAliases":
            yield Request(action)
        else:  # The rehearsal's one key is ours. An alias takes rights on itself and on its key.
            yield Request(action, (key,), self.tags["key"])
            if "AliasName" in given:
                yield Request(action, (self._arn("kms", given["AliasName"]),))

    def _tags(self, keys: str, tags: Any) -> dict[str, str]:
        pairs = tags.items() if isinstance(tags, dict) else [(tag["Key"], tag["Value"]) for tag in tags or []]
        return {f"{keys}/{key}": value for key, value in pairs}

    def _discovery(self, call: Call, action: str) -> Request:
        given = call.parameters
        # The rehearsal's discovery services are all ours.
        ours = self.tags.get("discovery", {})
        match call.action:
            case "CreateService":
                self.tags["discovery"] = self._tags("aws:ResourceTag", given.get("Tags"))
                namespace = self._arn("servicediscovery", f"namespace/{given['DnsConfig']['NamespaceId']}")
                return Request(action, (namespace,), self._tags("aws:RequestTag", given.get("Tags")))
            case "GetNamespace":
                return Request(action, (self._arn("servicediscovery", f"namespace/{given['Id']}"),))
            case "ListNamespaces" | "DiscoverInstances":
                return Request(action)
            case "TagResource":
                return Request(action, (given["ResourceARN"],), self._tags("aws:RequestTag", given["Tags"]) | ours)
        arn = given.get("ResourceARN") or self._arn("servicediscovery", f"service/{given['Id']}")
        return Request(action, (arn,), ours)

    def _balancing(self, call: Call, action: str) -> Iterator[Request]:
        given = call.parameters
        if call.action.startswith("Describe"):
            yield Request(action)
        elif call.action == "CreateTargetGroup":
            yield Request(action, (self._arn("elasticloadbalancing", f"targetgroup/{given['Name']}/0"),))
        elif call.action == "CreateRule":
            tags = given.get("Tags")
            self.tags["rules"] = self._tags("aws:ResourceTag", tags)
            yield Request(action, (given["ListenerArn"],), self._tags("aws:RequestTag", tags))
            rule = given["ListenerArn"].replace(":listener/", ":listener-rule/") + "/0"
            new = {"elasticloadbalancing:CreateAction": "CreateRule"}
            yield Request("elasticloadbalancing:AddTags", (rule,), new)
        else:
            arns = given.get("ResourceArns") or [entry["RuleArn"] for entry in given.get("RulePriorities", [])]
            arns = arns or [given.get("RuleArn") or given["TargetGroupArn"]]
            for arn in arns:
                yield Request(action, (arn,), self.tags.get("rules", {}) if ":listener-rule/" in arn else {})

    def _ecs(self, call: Call, action: str) -> Iterator[Request]:
        given = call.parameters
        cluster = str(given.get("cluster", "")).rsplit("/", 1)[-1]
        match call.action:
            case "RegisterTaskDefinition":
                yield Request(action)
                for role in ("taskRoleArn", "executionRoleArn"):
                    if role in given:
                        yield Request(
                            "iam:PassRole", (given[role],), {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
                        )
            case "DeregisterTaskDefinition" | "DescribeTaskDefinition" | "ListTaskDefinitions" | "ListTasks":
                yield Request(action)
            case "DescribeClusters":
                yield Request(action, tuple(self._arn("ecs", f"cluster/{name}") for name in given["clusters"]))
            case "DescribeTasks":
                yield Request(action, (self._arn("ecs", f"task/{cluster}/0"),))
            case "ListTagsForResource" | "TagResource" | "UntagResource":
                yield Request(action, (given["resourceArn"],))
            case _:
                names = given.get("services") or [given.get("serviceName") or given["service"]]
                services = [str(name).rsplit("/", 1)[-1] for name in names]
                yield Request(action, tuple(self._arn("ecs", f"service/{cluster}/{name}") for name in services))
