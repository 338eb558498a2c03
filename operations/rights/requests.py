"""Calls as IAM is asked about them: which actions, on which resources, with which condition keys.

From the service authorization reference, whose data the tests hold it against; some calls take actions of other names,
or several: https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
What nobody has written down here is asked for on *, which only a right on * allows.
Long because it is a table, with a function for each service.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from operations.rights.calls import Call, first, tags
from operations.rights.evaluation import Request

_MADE = "0"
"""Stands for an id that AWS makes up in answer to the call."""
_NAMESPACE = "ns-0"
"""Stands for the namespace where the call does not name it: the stack has one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stack:
    """What a recording does not say, because a recorder left it out or because it is not in the calls."""

    partition: str
    region: str
    account: str
    tags: Mapping[str, Mapping[str, str]]
    """Pulumi's type -> the tags that the program gives to resources of it."""
    names: Mapping[str, Sequence[str]]
    """Pulumi's type -> the physical names of the program's resources of it."""
    canonical: Callable[[str], str] = str
    """An ARN of the recording as the roles' policies write it: AWS makes up parts of it anew for each account."""

    def arn(self, service: str, resource: str) -> str:
        """A resource in the stack's region and account."""
        return self.canonical(f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}")

    def global_arn(self, service: str, resource: str) -> str:
        """A resource of the account in all regions."""
        return f"arn:{self.partition}:{service}::{self.account}:{resource}"

    def given(self, type_: str, called: Any = None) -> dict[str, str]:
        """Condition keys of tags that a call gives to a new resource: those of the call, and of the program where a
        recorder left them out."""
        return _keys("aws:RequestTag", {**self.tags.get(type_, {}), **tags(called)})

    def has(self, type_: str) -> dict[str, str]:
        """Condition keys of the tags that the stack's resources of this type have."""
        return _keys("aws:ResourceTag", self.tags.get(type_, {}))


def _keys(prefix: str, given: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}/{key}": value for key, value in given.items()}


class Incomplete(ValueError):
    """A call was recorded without what its rights depend on."""


def of(call: Call, stack: Stack) -> list[Request]:
    """What IAM is asked about `call`; nothing for what nobody can be denied. Raises `Incomplete`."""
    ask = _SERVICES.get(call.service) or _plain(call.service)
    try:
        return list(ask(call.operation, call.parameters, stack))
    except (KeyError, TypeError, AttributeError):
        known = ", ".join(call.parameters) or "nothing"
        raise Incomplete(f"recorded without the resource that it is about, with {known}: record it whole") from None


Given = Mapping[str, Any]


def _plain(prefix: str) -> Callable[[str, Given, Stack], Iterator[Request]]:
    """A service whose calls are asked for by their names, on *."""

    def ask(operation: str, _given: Given, _stack: Stack) -> Iterator[Request]:
        yield Request(f"{prefix}:{operation}")

    return ask


def _sts(operation: str, _given: Given, _stack: Stack) -> Iterator[Request]:
    # https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html: nobody can be denied it.
    if operation != "GetCallerIdentity":
        yield Request(f"sts:{operation}")


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_S3_ACTIONS = {
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "HeadObject": "GetObject",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}


def _s3(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    path = given["Bucket"] + (f"/{given['Key']}" if "Key" in given else "")
    yield Request(f"s3:{_S3_ACTIONS.get(operation, operation)}", f"arn:{stack.partition}:s3:::{path}")


_PASSED = "iam:PassedToService"


def _iam(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    if "RoleName" in given:
        resource = stack.global_arn("iam", f"role/{given['RoleName']}")
    elif "PolicyName" in given:
        resource = stack.global_arn("iam", f"policy/{given['PolicyName']}")
    elif operation == "CreateOpenIDConnectProvider":
        resource = stack.global_arn("iam", f"oidc-provider/{given['Url'].removeprefix('https://')}")
    else:
        resource = first(given, "PolicyArn", "OpenIDConnectProviderArn") or "*"
    yield Request(f"iam:{operation}", resource)
    tagging = {"CreateRole": "TagRole", "CreatePolicy": "TagPolicy"}
    if operation in tagging:
        yield Request(f"iam:{tagging[operation]}", resource)


def _ecr(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    if operation == "GetAuthorizationToken":
        yield Request(f"ecr:{operation}")
        return
    names = first(given, "repositoryNames", "repositoryName")
    if "resourceArn" in given:
        names = given["resourceArn"].partition("repository/")[2]
    if names is None:
        names = stack.names.get("aws:ecr/repository:Repository", ())
    for name in [names] if isinstance(names, str) else names:
        repository = stack.arn("ecr", f"repository/{name}")
        yield Request(f"ecr:{operation}", repository)
        if operation == "CreateRepository":
            yield Request("ecr:TagResource", repository)


_QUERIES = ("DescribeLogGroups", "DescribeQueryDefinitions", "PutQueryDefinition", "DeleteQueryDefinition")


def _logs(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    if operation in _QUERIES:
        yield Request(f"logs:{operation}")
        return
    name = given.get("logGroupName") or first(given, "resourceArn", "logGroupIdentifier").partition("log-group:")[2]
    group = stack.arn("logs", f"log-group:{name.removesuffix(':*')}")
    # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_LogGroup.html
    if operation in ("ListTagsForResource", "TagResource", "UntagResource"):
        whole = group
    elif operation == "GetLogEvents":
        whole = f"{group}:log-stream:{given.get('logStreamName', _MADE)}"
    else:
        whole = f"{group}:*"
    yield Request(f"logs:{operation}", whole)
    if operation == "CreateLogGroup":
        yield Request("logs:TagResource", group)


def _cloudwatch(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    dashboards = first(given, "DashboardNames", "DashboardName")
    if dashboards:
        for name in [dashboards] if isinstance(dashboards, str) else dashboards:
            yield Request(f"cloudwatch:{operation}", stack.global_arn("cloudwatch", f"dashboard/{name}"))
        return
    if "ResourceARN" in given:
        yield Request(f"cloudwatch:{operation}", given["ResourceARN"])
        return
    names = first(given, "AlarmNames", "AlarmName") or "*"
    for name in [names] if isinstance(names, str) else names:
        alarm = stack.arn("cloudwatch", f"alarm:{name}")
        yield Request(f"cloudwatch:{operation}", alarm)
        if operation in ("PutMetricAlarm", "PutCompositeAlarm"):
            yield Request("cloudwatch:TagResource", alarm)
    if operation == "PutCompositeAlarm":
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html
        yield Request("cloudwatch:DescribeAlarms", stack.arn("cloudwatch", "alarm:*"))


def _events(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    name = first(given, "Name", "Rule") or given["ResourceARN"].rpartition("/")[2]
    rule = stack.arn("events", f"rule/{name}")
    yield Request(f"events:{operation}", rule)
    if operation == "PutRule":
        yield Request("events:TagResource", rule)


def _sns(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    topic = first(given, "TopicArn", "ResourceArn", "SubscriptionArn")
    # A subscription's ARN is its topic's and an id; it is the topic that IAM is asked about.
    topic = ":".join(topic.split(":")[:6]) if topic else stack.arn("sns", given["Name"])
    yield Request(f"sns:{operation}", topic)
    if operation == "CreateTopic":
        yield Request("sns:TagResource", topic)
    if operation == "Publish" and _KEY in stack.tags:
        # The topic is encrypted, so whoever publishes needs its key.
        context = {**stack.has(_KEY), "kms:ViaService": f"sns.{stack.region}.amazonaws.com"}
        key = stack.arn("kms", f"key/{_MADE}")
        yield from (Request(f"kms:{name}", key, context) for name in ("Decrypt", "GenerateDataKey"))


def _budgets(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    budget = first(given, "Budget", "NewBudget") or given
    name = budget.get("BudgetName") or given.get("ResourceARN", "").rpartition("/")[2]
    for name_ in [name] if name else stack.names.get("aws:budgets/budget:Budget", ()):
        arn = stack.global_arn("budgets", f"budget/{name_}")
        # Two rights for all calls but those on tags.
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbudgetservice.html
        if operation.endswith(("TagResource", "TagsForResource", "UntagResource")):
            yield Request(f"budgets:{operation}", arn)
        else:
            yield Request("budgets:ViewBudget" if operation.startswith("Describe") else "budgets:ModifyBudget", arn)
        if operation == "CreateBudget":
            yield Request("budgets:TagResource", arn)


_KEY = "aws:kms/key:Key"


def _kms(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    if operation == "ListAliases":
        yield Request(f"kms:{operation}")
    elif operation == "CreateKey":
        # It has no resource yet, and its tags are those that the call gives it.
        new = stack.given(_KEY, given.get("Tags"))
        yield Request("kms:CreateKey", context=new)
        yield Request("kms:TagResource", context=new)
    else:
        id_ = str(first(given, "TargetKeyId", "KeyId") or _MADE)
        key = id_ if id_.startswith("arn:") else stack.arn("kms", f"key/{id_}")
        context = {**stack.has(_KEY), **_keys("aws:RequestTag", tags(given.get("Tags")))}
        yield Request(f"kms:{operation}", key, context)
        if "AliasName" in given:
            yield Request(f"kms:{operation}", stack.arn("kms", given["AliasName"]))


def _ssm(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    name = first(given, "Path", "Name", "ResourceId")
    names = given.get("Names") or ([name] if name else [])
    if operation == "DescribeParameters" or not names:
        yield Request(f"ssm:{operation}")
        return
    for each in names:
        parameter = stack.arn("ssm", f"parameter{each}")
        yield Request(f"ssm:{operation}", parameter)
        if operation == "PutParameter" and str(given.get("Overwrite", False)).lower() != "true":
            yield Request("ssm:AddTagsToResource", parameter)


def _dynamodb(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    table = given.get("ResourceArn") or stack.arn("dynamodb", f"table/{given['TableName'].rpartition('/')[2]}")
    yield Request(f"dynamodb:{operation}", table)
    if operation == "CreateTable":
        yield Request("dynamodb:TagResource", table)
    if key := given.get("SSESpecification", {}).get("KMSMasterKeyId"):
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
        context = {"kms:ViaService": f"dynamodb.{stack.region}.amazonaws.com"}
        actions = (
            "CreateGrant",
            "Decrypt",
            "DescribeKey",
            "Encrypt",
            "GenerateDataKey",
            "ReEncryptFrom",
            "ReEncryptTo",
        )
        yield from (Request(f"kms:{name}", key, context) for name in actions)


_CACHE_PARTS = {
    "CacheSubnetGroupName": "subnetgroup",
    "UserId": "user",
    "UserIds": "user",
    "UserGroupId": "usergroup",
    "UserGroupIds": "usergroup",
    "ReplicationGroupId": "replicationgroup",
    "CacheClusterId": "cluster",
}
"""Parameter -> kind of ElastiCache's resource that it names."""


def _elasticache(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    action = f"elasticache:{operation}"
    if "ResourceName" in given:
        yield Request(action, given["ResourceName"])
        return
    arns = [
        stack.arn("elasticache", f"{kind}:{name}")
        for parameter, kind in _CACHE_PARTS.items()
        for name in ([given[parameter]] if isinstance(given.get(parameter), str) else given.get(parameter) or [])
    ]
    yield from (Request(action, arn) for arn in arns)
    if operation.startswith("Create"):
        new = next(
            arn
            for arn in reversed(arns)
            if f":{operation.removeprefix('Create').removeprefix('Cache').lower()}:" in arn
        )
        yield Request("elasticache:AddTagsToResource", new)
    if operation == "CreateReplicationGroup":
        yield Request(action, stack.arn("elasticache", "parametergroup:default.valkey8"))
        role = "role/aws-service-role/elasticache.amazonaws.com/AWSServiceRoleForElastiCache"
        context = {"iam:AWSServiceName": "elasticache.amazonaws.com"}
        yield Request("iam:CreateServiceLinkedRole", stack.global_arn("iam", role), context)
    if key := given.get("KmsKeyId"):
        # https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/at-rest-encryption.html
        context = {"kms:ViaService": f"elasticache.{stack.region}.amazonaws.com"}
        yield from (Request(f"kms:{name}", key, context) for name in ("CreateGrant", "DescribeKey"))


def _secrets(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    if operation in ("GetRandomPassword", "ListSecrets"):
        yield Request(f"secretsmanager:{operation}")
        return
    if operation == "CreateSecret":
        # Whether the end that AWS will make up is asked for too is not documented.
        for name in (given["Name"], f"{given['Name']}-000000"):
            yield Request(f"secretsmanager:{operation}", stack.arn("secretsmanager", f"secret:{name}"))
            yield Request("secretsmanager:TagResource", stack.arn("secretsmanager", f"secret:{name}"))
        return
    secret = given["SecretId"]
    # By its name too IAM is asked about the whole ARN, whose end nobody knows.
    known = secret if secret.startswith("arn:") else f"{stack.arn('secretsmanager', f'secret:{secret}-000000')}"
    yield Request(f"secretsmanager:{operation}", stack.canonical(known))


_SERVICE = "aws:servicediscovery/service:Service"


def _discovery(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    action = f"servicediscovery:{operation}"
    match operation:
        case "ListNamespaces" | "ListServices" | "ListTagsForResource" | "DiscoverInstances":
            yield Request(action)
        case "TagResource" | "UntagResource":
            # The reference has no resources for them. What they are asked for has its tags all the same.
            yield Request(action, context=stack.has(_SERVICE))
        case "CreateService":
            namespace = first(given.get("DnsConfig", {}), "NamespaceId") or given.get("NamespaceId", _NAMESPACE)
            new = stack.given(_SERVICE, given.get("Tags"))
            # The namespace is not ours: it has tags of others, or none.
            others = {"aws:ResourceTag/ManagedBy": "somebody", "aws:ResourceTag/Service": "shared"}
            yield Request(action, stack.arn("servicediscovery", f"namespace/{namespace}"), {**new, **others})
            yield Request(action, stack.arn("servicediscovery", f"service/{_MADE}"), new)
            yield Request("servicediscovery:TagResource", context=new)
        case "GetNamespace":
            yield Request(action, stack.arn("servicediscovery", f"namespace/{given['Id']}"))
        case "GetOperation":
            yield Request(action, stack.arn("servicediscovery", f"namespace/{_NAMESPACE}"))
            yield Request(action, stack.arn("servicediscovery", f"service/{_MADE}"), stack.has(_SERVICE))
        case _:
            service = first(given, "Id", "ServiceId") or _MADE
            yield Request(action, stack.arn("servicediscovery", f"service/{service}"), stack.has(_SERVICE))


_RULE, _GROUP = "aws:lb/listenerRule:ListenerRule", "aws:lb/targetGroup:TargetGroup"


def _balancing(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    action, new = f"elasticloadbalancing:{operation}", {"elasticloadbalancing:CreateAction": operation}
    if operation.startswith("Describe"):
        yield Request(action)
    elif operation == "CreateTargetGroup":
        group = stack.arn("elasticloadbalancing", f"targetgroup/{given['Name']}/{_MADE}")
        yield Request(action, group)
        yield Request("elasticloadbalancing:AddTags", group, new)
    elif operation == "CreateRule":
        listener = stack.canonical(given["ListenerArn"])
        context = stack.given(_RULE, given.get("Tags"))
        yield Request(action, listener, context)
        rule = listener.replace(":listener/", ":listener-rule/") + f"/{_MADE}"
        yield Request("elasticloadbalancing:AddTags", rule, {**new, **context})
    else:
        arns = given.get("ResourceArns") or [entry["RuleArn"] for entry in given.get("RulePriorities", [])]
        for arn in arns or [first(given, "RuleArn", "TargetGroupArn")]:
            context = stack.has(_RULE if ":listener-rule/" in arn else _GROUP)
            yield Request(action, stack.canonical(arn), context)


_TASKS = "aws:ecs/service:Service"


def _ecs(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    action = f"ecs:{operation}"
    cluster = str(given.get("cluster", "")).rpartition("/")[2]
    match operation:
        case "RegisterTaskDefinition":
            yield Request(action)
            if given.get("tags"):
                yield Request("ecs:TagResource", stack.arn("ecs", f"task-definition/{given['family']}:{_MADE}"))
            for role in ("taskRoleArn", "executionRoleArn"):
                if given.get(role):
                    yield Request("iam:PassRole", given[role], {_PASSED: "ecs-tasks.amazonaws.com"})
        case "DeregisterTaskDefinition" | "DescribeTaskDefinition" | "ListTaskDefinitions" | "ListTasks":
            yield Request(action)
        case "DescribeClusters":
            for name in given.get("clusters") or [stack.names["cluster"][0]]:
                yield Request(action, stack.arn("ecs", f"cluster/{name.rpartition('/')[2]}"))
        case "DescribeTasks" | "StopTask":
            yield Request(action, stack.arn("ecs", f"task/{cluster}/{_MADE}"), stack.has(_TASKS))
        case "RunTask":
            family = given["taskDefinition"].rpartition("/")[2]
            context = {"ecs:cluster": stack.arn("ecs", f"cluster/{cluster}")}
            yield Request(action, stack.arn("ecs", f"task-definition/{family}"), context)
            if given.get("tags"):
                task = stack.arn("ecs", f"task/{cluster}/{_MADE}")
                yield Request("ecs:TagResource", task, {"ecs:CreateAction": operation})
        case "DescribeServiceDeployments":
            for deployment in given.get("serviceDeploymentArns") or []:
                owner = deployment.replace(":service-deployment/", ":service/").rpartition("/")[0]
                yield from (Request(action, arn) for arn in (owner, deployment))
        case "ListTagsForResource" | "TagResource" | "UntagResource":
            yield Request(action, given["resourceArn"])
        case _:
            names = first(given, "services", "serviceName", "service") or stack.names.get(_TASKS, ())
            for name in [names] if isinstance(names, str) else names:
                service = stack.arn("ecs", f"service/{cluster}/{str(name).rpartition('/')[2]}")
                yield Request(action, service)
                for balancer in given.get("loadBalancers") or []:
                    if shifting := balancer.get("advancedConfiguration"):
                        yield Request("iam:PassRole", shifting["roleArn"], {_PASSED: "ecs.amazonaws.com"})
                if operation == "CreateService" and given.get("tags"):
                    yield Request("ecs:TagResource", service)


_GROUP_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
_SECURITY_GROUP = "aws:ec2/securityGroup:SecurityGroup"


def _ec2(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    action, new = f"ec2:{operation}", {"ec2:CreateAction": operation}
    own = stack.has(_SECURITY_GROUP)
    specified = [
        tag
        for each in given.get("TagSpecification") or given.get("TagSpecifications") or []
        for tag in first(each, "Tag", "Tags") or []
    ]
    group = stack.arn("ec2", f"security-group/{first(given, 'GroupId') or _MADE}")
    match operation:
        case "CreateSecurityGroup":
            context = stack.given(_SECURITY_GROUP, specified)
            yield Request(action, group, context)
            yield Request(action, stack.arn("ec2", f"vpc/{given['VpcId']}"))
            yield Request("ec2:CreateTags", group, {**new, **context})
        case "AuthorizeSecurityGroupIngress" | "AuthorizeSecurityGroupEgress":
            yield Request(action, group, own)
            rule, context = stack.arn("ec2", f"security-group-rule/{_MADE}"), stack.given(_GROUP_RULE, specified)
            yield Request(action, rule, context)
            yield Request("ec2:CreateTags", rule, {**new, **context})
        case "ModifySecurityGroupRules":
            yield Request(action, group, own)
            yield Request(action, stack.arn("ec2", f"security-group-rule/{_MADE}"), own)
        case "CreateTags" | "DeleteTags":
            asked = _keys("aws:RequestTag", tags(first(given, "Tag", "Tags") if operation == "CreateTags" else None))
            for id_ in first(given, "ResourceId", "Resources") or []:
                kind = "security-group-rule" if id_.startswith("sgr-") else "security-group"
                yield Request(action, stack.arn("ec2", f"{kind}/{id_}"), {**asked, **own})
        case "DeleteSecurityGroup" | "RevokeSecurityGroupIngress" | "RevokeSecurityGroupEgress":
            yield Request(action, group, own)
        case _:
            yield Request(action)


_SCALABLE = "aws:appautoscaling/target:Target"
_SCALING_SERVICE = "ecs.application-autoscaling.amazonaws.com"


def _scaling(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    action = f"application-autoscaling:{operation}"
    target = stack.arn("application-autoscaling", f"scalable-target/{_MADE}")
    if operation.startswith("Describe"):
        yield Request(action)
    elif operation == "RegisterScalableTarget" and given.get("Tags"):
        context = stack.given(_SCALABLE, given["Tags"])
        yield Request(action, target, context)
        yield Request("application-autoscaling:TagResource", target, context)
        role = f"role/aws-service-role/{_SCALING_SERVICE}/AWSServiceRoleForApplicationAutoScaling_ECSService"
        context = {"iam:AWSServiceName": _SCALING_SERVICE}
        yield Request("iam:CreateServiceLinkedRole", stack.global_arn("iam", role), context)
    else:
        yield Request(action, target, {**stack.has(_SCALABLE), **_keys("aws:RequestTag", tags(given.get("Tags")))})
    # Target tracking has alarms, which are made and deleted with the rights of who asks.
    alarm = stack.arn("cloudwatch", f"alarm:TargetTracking-{given.get('ResourceId')}-AlarmHigh-{_MADE}")
    if operation == "PutScalingPolicy":
        yield from (Request(f"cloudwatch:{name}", alarm) for name in ("DescribeAlarms", "PutMetricAlarm"))
    if operation == "DeleteScalingPolicy":
        yield Request("cloudwatch:DeleteAlarms", alarm)


def _route53(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    action = f"route53:{operation}"
    if operation == "ChangeResourceRecordSets":
        zone = stack.canonical(f"arn:{stack.partition}:route53:::hostedzone/{given['HostedZoneId']}")
        changes = given.get("ChangeBatch", {}).get("Changes", [])
        names = {change["ResourceRecordSet"]["Name"] for change in changes}
        for name in names or stack.names.get("aws:route53/record:Record", ()):
            key = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
            yield Request(action, zone, {key: name.lower().rstrip(".")})
    elif operation == "GetChange":
        yield Request(action, f"arn:{stack.partition}:route53:::change/{given['Id']}")
    elif operation.startswith("ListHostedZones"):
        yield Request(action)
    else:
        zone = first(given, "HostedZoneId", "ResourceId", "Id")
        zone = zone.rpartition("/")[2]
        yield Request(action, stack.canonical(f"arn:{stack.partition}:route53:::hostedzone/{zone}"))


_SLACK = "aws:chatbot/slackChannelConfiguration:SlackChannelConfiguration"


def _chatbot(operation: str, given: Given, stack: Stack) -> Iterator[Request]:
    action, arn = f"chatbot:{operation}", first(given, "ChatConfigurationArn", "ResourceARN")
    match operation:
        case "DescribeSlackChannelConfigurations" | "ListTagsForResource":
            yield Request(action)
        case "CreateSlackChannelConfiguration":
            yield Request(action, context=stack.given(_SLACK, given.get("Tags")))
            own = f"chat-configuration/slack-channel/{given['ConfigurationName']}"
            yield Request("chatbot:TagResource", stack.global_arn("chatbot", own))
        case _:
            yield Request(action, arn)
    if "IamRoleArn" in given:
        yield Request("iam:PassRole", given["IamRoleArn"], {_PASSED: "chatbot.amazonaws.com"})


_SERVICES: dict[str, Callable[[str, Given, Stack], Iterator[Request]]] = {
    "acm": _plain("acm"),
    "application-autoscaling": _scaling,
    "budgets": _budgets,
    "ce": _plain("ce"),
    "chatbot": _chatbot,
    "cloudwatch": _cloudwatch,
    "dynamodb": _dynamodb,
    "ec2": _ec2,
    "ecr": _ecr,
    "ecs": _ecs,
    "elasticache": _elasticache,
    "elasticloadbalancing": _balancing,
    "events": _events,
    "iam": _iam,
    "kms": _kms,
    "logs": _logs,
    "route53": _route53,
    "s3": _s3,
    "secretsmanager": _secrets,
    "servicediscovery": _discovery,
    "sns": _sns,
    "ssm": _ssm,
    "sts": _sts,
}
"""Signing name -> what IAM is asked about its calls."""
