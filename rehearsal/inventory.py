"""What an account contains, in AWS's own words: to see that nothing is left, and to compare two accounts.

Read by AWS's list and describe calls, never from anybody's state: whatever is there is found, also what no state knows.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rehearsal.emulator import Account

Document = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One thing in an account."""

    key: str
    """What it is and its name, the same in every account: `ecs service busyb-cluster/api-service`."""
    ids: tuple[str, ...]
    """What AWS calls it: ARN, id and the like, which another account gives otherwise."""
    document: Document
    """How AWS describes it."""


Inventory = dict[str, Entry]
"""Entries by their keys."""


def read(account: Account) -> Inventory:
    """All that the account contains of the kinds that a stack, or the estate below it, is made of."""
    with ThreadPoolExecutor() as pool:
        parts = pool.map(lambda reader: list(reader(account.client)), _READERS)
        entries = [entry for part in parts for entry in part]
    return {entry.key: entry for entry in entries}


def added(before: Inventory, after: Inventory) -> list[str]:
    """Keys of what is in `after` only."""
    return sorted(after.keys() - before.keys())


def changed(before: Inventory, after: Inventory) -> list[str]:
    """What of `before` is gone or different in `after`, a line each; counts and times do not matter."""
    lines = [f"{key} is gone" for key in sorted(before.keys() - after.keys())]
    for key in sorted(before.keys() & after.keys()):
        lines += _differences(key, _flat(before[key].document), _flat(after[key].document))
    return lines


def compare(first: Account, second: Account) -> list[str]:
    """In what two accounts differ, a line each; identifiers, counts and times do not matter."""
    mine, theirs = (_named(account, read(account)) for account in (first, second))
    lines = [f"{key} is only in the first" for key in sorted(mine.keys() - theirs.keys())]
    lines += [f"{key} is only in the second" for key in sorted(theirs.keys() - mine.keys())]
    for key in sorted(mine.keys() & theirs.keys()):
        lines += _differences(key, mine[key], theirs[key])
    return lines


def _named(account: Account, inventory: Inventory) -> dict[str, dict[str, Any]]:
    """Documents, flat, in which each identifier is replaced by the key of what it stands for."""
    # An identifier that several have, as images of one content have their digest, stands for the first by its key.
    entries = sorted(inventory.values(), key=lambda entry: entry.key, reverse=True)
    names = {identifier: f"<{entry.key}>" for entry in entries for identifier in entry.ids if identifier}
    names |= {account.registry: "<registry>", account.endpoint: "<endpoint>"}
    # The longest first: an ARN contains the id.
    ordered = sorted(names.items(), key=lambda pair: -len(pair[0]))

    def named(value: Any) -> Any:
        if isinstance(value, str):
            for identifier, name in ordered:
                value = value.replace(identifier, name)
        elif isinstance(value, Mapping):
            return {named(key): named(item) for key, item in value.items()}
        elif isinstance(value, list | tuple):
            return [named(item) for item in value]
        return value

    # Before lists are put in order: an order by identifiers would be another one in each account.
    return {key: _flat(named(entry.document)) for key, entry in inventory.items()}


def _differences(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            yield f"{key}: {path} is {before.get(path)!r}, then {after.get(path)!r}"


@dataclass(frozen=True)
class PassedOver:
    """Members of AWS's answers that are no part of what was asked for."""

    members: frozenset[str]
    why: str
    goes_when: str


def _members(names: str) -> frozenset[str]:
    return frozenset(names.split())


PASSED_OVER = (
    PassedOver(
        _members(
            "createdAt creationTime creationDate registeredAt lastModified registeredBy createdBy CallerReference "
            "CreatorRequestId ETag RoleLastUsed ResponseMetadata"
        ),
        "who made or saw it, when, and by which request",
        "Stays: each deployment has its own.",
    ),
    PassedOver(
        _members(
            "deployments events taskSets runningCount pendingCount runningTasksCount pendingTasksCount "
            "activeServicesCount registeredContainerInstancesCount statistics storedBytes imageSizeInBytes status "
            "InstanceCount ServiceCount ResourceRecordSetCount AvailableIpAddressCount StateValue StateReason "
            "StateReasonData"
        ),
        "how far it is, and how many there are just now",
        "Stays: it changes while one looks.",
    ),
    PassedOver(
        _members("platformFamily"),
        "AWS makes it of the task definition, the emulator of what it is given",
        "MiniStack makes it of the task definition.",
    ),
)
_PASSED_OVER = frozenset(member for passed in PASSED_OVER for member in passed.members)


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Path -> scalar of all that matters in a document. JSON texts are looked into; lists are in an order of their own
    where AWS's means nothing, which is everywhere here."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return _flat(json.loads(value), path)
        except ValueError:
            return {path: value}
    if isinstance(value, Mapping):
        return {
            inner: scalar
            for key, item in value.items()
            if key not in _PASSED_OVER
            for inner, scalar in _flat(item, f"{path}.{key}" if path else str(key)).items()
        }
    if isinstance(value, list | tuple):
        # Key and value pairs, tags for example, go by their key; the rest by what it is, in whatever order it comes.
        return {
            inner: scalar
            for index, item in enumerate(sorted(value, key=lambda item: json.dumps(item, default=str, sort_keys=True)))
            for inner, scalar in _flat(item, f"{path}[{_label(item, index)}]").items()
        }
    # A provider spells out what is AWS's default anyway.
    if value in (None, "", "None", "0", 0) or isinstance(value, datetime.datetime):
        return {}
    return {path: value}


def _label(item: Any, index: int) -> str:
    if isinstance(item, Mapping):
        for name in ("Key", "key", "name", "Name", "Sid"):
            if isinstance(item.get(name), str):
                return str(item[name])
    return str(index)


Client = Callable[[str], Any]


def _pages(client: Any, operation: str, member: str, **parameters: Any) -> Iterator[Any]:
    """All elements of a list that may come in pages."""
    if client.can_paginate(operation):
        for page in client.get_paginator(operation).paginate(**parameters):
            yield from page.get(member) or []
    else:
        yield from getattr(client, operation)(**parameters).get(member) or []


def _asked(ask: Callable[..., Any], absent: str, **parameters: Any) -> Document:
    """The answer without its metadata; {} where AWS says by the exception `absent` that there is none."""
    from botocore.exceptions import ClientError

    try:
        answer: Document = ask(**parameters)
    except ClientError as error:
        if error.response["Error"]["Code"] != absent:
            raise
        return {}
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def _ec2(client: Client) -> Iterator[Entry]:
    ec2 = client("ec2")

    def name(thing: Document, otherwise: str) -> str:
        return next((tag["Value"] for tag in thing.get("Tags", []) if tag["Key"] == "Name"), otherwise)

    for vpc in _pages(ec2, "describe_vpcs", "Vpcs"):
        yield Entry(f"vpc {name(vpc, vpc['CidrBlock'])}", (vpc["VpcId"],), vpc)
    for subnet in _pages(ec2, "describe_subnets", "Subnets"):
        # The default VPC's may have the same block as one of the estate.
        place = f"{subnet['AvailabilityZone']} {subnet.get('DefaultForAz', False)}"
        key = f"subnet {name(subnet, subnet['CidrBlock'])} {place}"
        yield Entry(key, (subnet["SubnetId"],), subnet)
    for group in _pages(ec2, "describe_security_groups", "SecurityGroups"):
        owner = ec2.describe_vpcs(VpcIds=[group["VpcId"]])["Vpcs"][0]["CidrBlock"]
        yield Entry(f"security group {owner} {group['GroupName']}", (group["GroupId"],), group)


def _elbv2(client: Client) -> Iterator[Entry]:
    elb = client("elbv2")

    def described(thing: Document, arn: str) -> Document:
        tags = elb.describe_tags(ResourceArns=[arn])["TagDescriptions"]
        return thing | {"Tags": tags[0]["Tags"] if tags else []}

    for group in _pages(elb, "describe_target_groups", "TargetGroups"):
        arn = group["TargetGroupArn"]
        attributes = elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
        document = described(group, arn) | {"Attributes": attributes}
        # Metrics name it by the ARN's end.
        yield Entry(f"target group {group['TargetGroupName']}", (arn, arn.rsplit(":", 1)[1]), document)
    for balancer in _pages(elb, "describe_load_balancers", "LoadBalancers"):
        arn, name = balancer["LoadBalancerArn"], balancer["LoadBalancerName"]
        ids = (arn, arn.partition("loadbalancer/")[2], balancer["DNSName"])
        yield Entry(f"load balancer {name}", ids, described(balancer, arn))
        for listener in _pages(elb, "describe_listeners", "Listeners", LoadBalancerArn=arn):
            listener_arn, port = listener["ListenerArn"], listener["Port"]
            # The ARNs of its rules have the ARN's end.
            yield Entry(f"listener {name}:{port}", (listener_arn, listener_arn.rsplit("/", 1)[1]), listener)
            for rule in _pages(elb, "describe_rules", "Rules", ListenerArn=listener_arn):
                key = f"listener rule {name}:{port} {rule['Priority']}"
                yield Entry(key, (rule["RuleArn"],), described(rule, rule["RuleArn"]))


def _ecs(client: Client) -> Iterator[Entry]:
    ecs = client("ecs")
    for cluster_arn in _pages(ecs, "list_clusters", "clusterArns"):
        cluster = ecs.describe_clusters(clusters=[cluster_arn])["clusters"][0]
        yield Entry(f"ecs cluster {cluster['clusterName']}", (cluster_arn,), cluster)
        for arn in _pages(ecs, "list_services", "serviceArns", cluster=cluster_arn):
            (service,) = ecs.describe_services(cluster=cluster_arn, services=[arn], include=["TAGS"])["services"]
            yield Entry(f"ecs service {cluster['clusterName']}/{service['serviceName']}", (arn,), service)
    for arn in _pages(ecs, "list_task_definitions", "taskDefinitionArns"):
        answer = ecs.describe_task_definition(taskDefinition=arn, include=["TAGS"])
        document = answer["taskDefinition"] | {"tags": answer.get("tags", [])}
        yield Entry(f"task definition {arn.rsplit('/', 1)[1]}", (arn,), document)


def _ecr(client: Client) -> Iterator[Entry]:
    ecr = client("ecr")
    for repository in _pages(ecr, "describe_repositories", "repositories"):
        name, arn = repository["repositoryName"], repository["repositoryArn"]
        document = repository | {
            "tags": ecr.list_tags_for_resource(resourceArn=arn)["tags"],
            "lifecycle": _asked(ecr.get_lifecycle_policy, "LifecyclePolicyNotFoundException", repositoryName=name).get(
                "lifecyclePolicyText"
            ),
        }
        yield Entry(f"ecr repository {name}", (arn,), document)
        for image in _pages(ecr, "describe_images", "imageDetails", repositoryName=name):
            tags = " ".join(sorted(image.get("imageTags", []))) or image["imageDigest"]
            yield Entry(f"ecr image {name}:{tags}", (image["imageDigest"],), {"imageTags": image.get("imageTags")})


def _iam(client: Client) -> Iterator[Entry]:
    iam = client("iam")
    for role in _pages(iam, "list_roles", "Roles"):
        name = role["RoleName"]
        policies = _pages(iam, "list_role_policies", "PolicyNames", RoleName=name)
        attached = _pages(iam, "list_attached_role_policies", "AttachedPolicies", RoleName=name)
        document = role | {
            "Tags": list(_pages(iam, "list_role_tags", "Tags", RoleName=name)),
            "Policies": {
                policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"] for policy in policies
            },
            "Attached": sorted(policy["PolicyArn"] for policy in attached),
        }
        yield Entry(f"iam role {name}", (role["Arn"], role["RoleId"]), document)
    for policy in _pages(iam, "list_policies", "Policies", Scope="Local"):
        arn = policy["Arn"]
        version = iam.get_policy_version(PolicyArn=arn, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
        document = policy | {
            "Document": version["Document"],
            "Tags": list(_pages(iam, "list_policy_tags", "Tags", PolicyArn=arn)),
        }
        yield Entry(f"iam policy {policy['PolicyName']}", (arn, policy["PolicyId"]), document)
    for provider in _pages(iam, "list_open_id_connect_providers", "OpenIDConnectProviderList"):
        document = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=provider["Arn"])
        yield Entry(f"{IDENTITY_PROVIDER}{document['Url']}", (provider["Arn"],), document)


def _logs(client: Client) -> Iterator[Entry]:
    logs = client("logs")
    for group in _pages(logs, "describe_log_groups", "logGroups"):
        name, arn = group["logGroupName"], group["arn"].removesuffix(":*")
        filters = list(_pages(logs, "describe_metric_filters", "metricFilters", logGroupName=name))
        tags = logs.list_tags_for_resource(resourceArn=arn)["tags"]
        yield Entry(f"log group {name}", (), group | {"tags": tags})
        for each in filters:
            yield Entry(f"metric filter {name} {each['filterName']}", (), each)
    for query in logs.describe_query_definitions()["queryDefinitions"]:
        yield Entry(f"saved query {query['name']}", (query["queryDefinitionId"],), query)


def _cloudwatch(client: Client) -> Iterator[Entry]:
    cloudwatch = client("cloudwatch")
    answer = cloudwatch.describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    for alarm in [*answer.get("MetricAlarms", []), *answer.get("CompositeAlarms", [])]:
        tags = cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
        yield Entry(f"alarm {alarm['AlarmName']}", (alarm["AlarmArn"],), alarm | {"Tags": tags})
    for dashboard in _pages(cloudwatch, "list_dashboards", "DashboardEntries"):
        document = cloudwatch.get_dashboard(DashboardName=dashboard["DashboardName"])
        yield Entry(f"dashboard {dashboard['DashboardName']}", (dashboard["DashboardArn"],), document)


def _events(client: Client) -> Iterator[Entry]:
    events = client("events")
    for rule in _pages(events, "list_rules", "Rules"):
        targets = list(_pages(events, "list_targets_by_rule", "Targets", Rule=rule["Name"]))
        tags = events.list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"]
        yield Entry(f"event rule {rule['Name']}", (rule["Arn"],), rule | {"Targets": targets, "Tags": tags})


def _servicediscovery(client: Client) -> Iterator[Entry]:
    discovery = client("servicediscovery")
    for namespace in _pages(discovery, "list_namespaces", "Namespaces"):
        zone = namespace.get("Properties", {}).get("DnsProperties", {}).get("HostedZoneId", "")
        ids = (namespace["Arn"], namespace["Id"], zone)
        yield Entry(f"namespace {namespace['Name']}", ids, namespace)
    for service in _pages(discovery, "list_services", "Services"):
        document = discovery.get_service(Id=service["Id"])["Service"]
        document["Tags"] = discovery.list_tags_for_resource(ResourceARN=service["Arn"])["Tags"]
        yield Entry(f"discovery service {service['Name']}", (service["Arn"], service["Id"]), document)


def _sns(client: Client) -> Iterator[Entry]:
    sns = client("sns")
    for topic in _pages(sns, "list_topics", "Topics"):
        arn = topic["TopicArn"]
        name = arn.rsplit(":", 1)[1]
        document = sns.get_topic_attributes(TopicArn=arn)["Attributes"] | {
            "Tags": sns.list_tags_for_resource(ResourceArn=arn)["Tags"]
        }
        yield Entry(f"topic {name}", (arn,), document)
        for found in _pages(sns, "list_subscriptions_by_topic", "Subscriptions", TopicArn=arn):
            key = f"subscription {name} {found['Protocol']} {found['Endpoint']}"
            # All that wait for their confirmation have the same word for an ARN.
            ids = (found["SubscriptionArn"],) if found["SubscriptionArn"].startswith("arn:") else ()
            yield Entry(key, ids, found)


def _ssm(client: Client) -> Iterator[Entry]:
    ssm = client("ssm")
    for parameter in _pages(ssm, "describe_parameters", "Parameters"):
        name = parameter["Name"]
        document = parameter | {
            "Value": ssm.get_parameter(Name=name)["Parameter"]["Value"],
            "Tags": ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"],
        }
        yield Entry(f"parameter {name}", (), document)


def _elasticache(client: Client) -> Iterator[Entry]:
    elasticache = client("elasticache")

    def tagged(thing: Document) -> Document:
        return thing | {"tags": elasticache.list_tags_for_resource(ResourceName=thing["ARN"]).get("TagList", [])}

    for operation, member, id_ in (
        ("describe_cache_subnet_groups", "CacheSubnetGroups", "CacheSubnetGroupName"),
        ("describe_users", "Users", "UserId"),
        ("describe_user_groups", "UserGroups", "UserGroupId"),
        ("describe_replication_groups", "ReplicationGroups", "ReplicationGroupId"),
    ):
        for thing in _pages(elasticache, operation, member):
            yield Entry(f"{member.removesuffix('s').lower()} {thing[id_]}", (thing["ARN"],), tagged(thing))
    for node in _pages(elasticache, "describe_cache_clusters", "CacheClusters"):
        yield Entry(f"cache node {node['CacheClusterId']}", (node["ARN"],), node)


def _dynamodb(client: Client) -> Iterator[Entry]:
    dynamodb = client("dynamodb")
    for name in _pages(dynamodb, "list_tables", "TableNames"):
        table = dynamodb.describe_table(TableName=name)["Table"]
        arn, id_ = table["TableArn"], table.pop("TableId")
        document = {
            "table": {key: value for key, value in table.items() if key not in ("ItemCount", "TableSizeBytes")},
            "ttl": dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"],
            "recovery": dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"][
                "PointInTimeRecoveryDescription"
            ]["PointInTimeRecoveryStatus"],
            "tags": dynamodb.list_tags_of_resource(ResourceArn=arn).get("Tags", []),
        }
        yield Entry(f"table {name}", (arn, id_), document)


def _secretsmanager(client: Client) -> Iterator[Entry]:
    for secret in _pages(client("secretsmanager"), "list_secrets", "SecretList"):
        versions = tuple(secret.get("SecretVersionsToStages", {}))
        yield Entry(f"secret {secret['Name']}", (secret["ARN"], *versions), secret)


IDENTITY_PROVIDER = "iam identity provider "
BUCKET_SETTING = "bucket setting "
"""How the key of a bucket's setting begins."""

_BUCKET_SETTINGS: Mapping[str, tuple[str, str]] = {
    "public access block": ("get_public_access_block", "NoSuchPublicAccessBlockConfiguration"),
    "ownership": ("get_bucket_ownership_controls", "OwnershipControlsNotFoundError"),
    "policy": ("get_bucket_policy", "NoSuchBucketPolicy"),
    "versioning": ("get_bucket_versioning", ""),
    "lifecycle": ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
    "encryption": ("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError"),
    "tags": ("get_bucket_tagging", "NoSuchTagSet"),
}
"""Setting -> S3's call, and what it answers where nothing is set."""


def _s3(client: Client) -> Iterator[Entry]:
    s3 = client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        name = bucket["Name"]
        yield Entry(f"bucket {name}", (), bucket)
        for setting, (call, absent) in _BUCKET_SETTINGS.items():
            if document := _asked(getattr(s3, call), absent, Bucket=name):
                yield Entry(f"{BUCKET_SETTING}{name} {setting}", (), document)


def _route53(client: Client) -> Iterator[Entry]:
    route53 = client("route53")
    for zone in _pages(route53, "list_hosted_zones", "HostedZones"):
        kind = "private" if zone["Config"].get("PrivateZone") else "public"
        yield Entry(f"{kind} zone {zone['Name']}", (zone["Id"], zone["Id"].rsplit("/", 1)[1]), zone)
        for record in _pages(route53, "list_resource_record_sets", "ResourceRecordSets", HostedZoneId=zone["Id"]):
            yield Entry(f"record {kind} {record['Name']} {record['Type']}", (), record)


def _kms(client: Client) -> Iterator[Entry]:
    kms = client("kms")
    aliases = {alias.get("TargetKeyId"): alias["AliasName"] for alias in _pages(kms, "list_aliases", "Aliases")}
    for key in _pages(kms, "list_keys", "Keys"):
        document = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        # A deleted key stays for days: it counts as gone.
        if document["KeyState"] != "PendingDeletion":
            policy = kms.get_key_policy(KeyId=key["KeyId"], PolicyName="default")["Policy"]
            name = aliases.get(key["KeyId"]) or document.get("Description")
            ids = (key["KeyArn"], key["KeyId"], document.get("CurrentKeyMaterialId", ""))
            yield Entry(f"key {name}", ids, document | {"Policy": policy})


def _acm(client: Client) -> Iterator[Entry]:
    for certificate in _pages(client("acm"), "list_certificates", "CertificateSummaryList"):
        yield Entry(f"certificate {certificate['DomainName']}", (certificate["CertificateArn"],), certificate)


_READERS: Iterable[Callable[[Client], Iterator[Entry]]] = (
    _ec2, _elbv2, _ecs, _ecr, _iam, _logs, _cloudwatch, _events, _servicediscovery, _sns, _ssm, _secretsmanager, _s3,
    _route53, _kms, _acm, _dynamodb, _elasticache,
)  # fmt: skip
