"""What exists already: looked up by name or id, all at once, before anything is created."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from importlib import metadata
from typing import Any, TypeVar

import pulumi
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from components import account, ownership, rollout
from components.listener import certificate_names, listener_holders, rule_conflicts
from components.rollout import HealthyRevision
from components.settings import Service, Settings

T = TypeVar("T")

Ask = Callable[..., Awaitable[dict[str, Any]]]
"""Answers a look-up: its token and, by name, its arguments."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is missing or unfit."""

    what: str
    """What is missing or unfit."""
    where: str
    """The configuration key that names it."""
    why: str
    """What was seen."""
    remedy: str
    """What to do."""

    def __str__(self) -> str:
        return f"  {self.what}\n      looked   {self.where}\n      found    {self.why}\n      do       {self.remedy}"


class EstateError(pulumi.RunError):
    """Something the deployment stands on is missing or unfit; the message shows all `findings`."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        noun = "thing is" if len(findings) == 1 else "things are"
        super().__init__(
            f"{len(findings)} {noun} missing or unfit in the estate; nothing was changed.\n"
            + "\n".join(map(str, findings))
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundSecret:
    """A secret in Secrets Manager. `kms_key` is None for the account's default key, which needs no further right."""

    arn: str
    """The secret's ARN, with its random end."""
    kms_key: str | None
    """ARN of the customer's key that encrypts it; None: AWS's own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estate:
    """Ids and ARNs of what exists. Dictionaries are keyed by what the configuration wrote."""

    account: str
    """Account id, 12 digits."""
    region: str
    """Region, such as us-east-1."""
    partition: str
    """`aws`, or another partition's name."""
    vpc: str
    """VPC id."""
    vpc_cidrs: tuple[str, ...]
    """The VPC's IPv4 ranges, the first of them the one that it was made with."""
    subnets: tuple[str, ...]
    """Ids of the tasks' subnets."""
    cluster: str
    """The cluster's ARN."""
    cluster_name: str
    """The ECS cluster's name."""
    namespace: str
    """Id of the private DNS namespace."""
    namespace_name: str
    """Its name, such as busyb.local."""
    listener: str | None
    """ARN of the HTTPS listener; None without a load balancer."""
    load_balancer_metric_name: str | None
    """The end of its ARN, `app/name/id`, as its metrics name it."""
    load_balancer_dns_name: str | None
    """DNS name that AWS gave the load balancer."""
    load_balancer_zone: str | None
    """Hosted zone of that name, for alias records."""
    load_balancer_dual_stack: bool
    """Whether it has IPv6 addresses too."""
    load_balancer_security_groups: tuple[str, ...]
    """Ids of the load balancer's security groups."""
    security_groups: dict[str, str]
    """Configured name or id -> id."""
    secrets: dict[str, FoundSecret]
    """Configured name or ARN -> what was found."""
    permitted_keys: dict[str, tuple[str, ...]]
    """Configured name of `permissions.secrets`, or beginning of names with a * -> ARNs of the customers' keys that
    encrypt what has such a name."""
    execution_roles: dict[str, str]
    """Configured name -> ARN."""
    hosted_zones: dict[str, str]
    """Configured zone -> id."""
    bucket_keys: dict[str, str]
    """Bucket -> ARN of the customer's key that it encrypts with; no entry for keys that need no further right."""
    healthy: dict[str, tuple[HealthyRevision, ...]]
    """Service -> revisions that became healthy in earlier deployments, newest first."""
    state_bucket_key: str | None
    """ARN of the customer's key that the bucket of the pipeline's state encrypts with; None: there is none, or it could
    not be asked."""


class _Findings:
    """Asks, and collects what is missing, so that all of it is reported at once."""

    def __init__(self, ask: Ask, client: Callable[[str], Any], warn: Callable[[str], None]) -> None:
        self.found: list[Finding] = []
        self.ask, self.client, self.warn = ask, client, warn

    def add(self, what: str, where: str, why: str, remedy: str) -> None:
        self.found.append(Finding(what, where, why, remedy))

    async def look_up(self, what: str, where: str, remedy: str, answer: Awaitable[T]) -> T | None:
        try:
            return await answer
        except Exception as error:  # An invoke raises plain Exception, with AWS's words in its text.
            words = " ".join(str(error).split()) or type(error).__name__
            why = re.sub(r"^invoke of \S+ failed: (invocation of \S+ returned an error: )?", "", words)
            self.add(what, where, why, remedy)
            return None


async def _invoke(token: str, **args: Any) -> dict[str, Any]:
    # The version binds the look-up to the provider that the resources use; the SDK's typed functions do the same.
    options = pulumi.InvokeOptions(version=metadata.version("pulumi-aws"))
    result: dict[str, Any] = await pulumi.runtime.invoke_async(token, args, options)
    return result


async def look_up(
    settings: Settings,
    *,
    ask: Ask = _invoke,
    client: Callable[[str], Any] | None = None,
    warn: Callable[[str], None] = pulumi.log.warn,
) -> Estate:
    """Everything that `settings` names, found in parallel. Raises `EstateError` with all that is missing or unfit.

    ask: answers a Pulumi look-up by its token. client: gives a boto3 client; default `account.client`.
    warn: told what could not be decided. The defaults are a running program's; operations ask without one.
    """
    estate, findings = settings.estate, _Findings(ask, client or account.client, warn)
    services = list(settings.services.values())
    caller = await findings.look_up(
        "the AWS account",
        "with this shell's credentials",
        "log in, for example: aws sso login",
        findings.ask("aws:index/getCallerIdentity:getCallerIdentity"),
    )
    if caller is None:
        raise EstateError(findings.found)
    region = await findings.ask("aws:index/getRegion:getRegion")
    partition = await findings.ask("aws:index/getPartition:getPartition")
    place = f"in account {caller['accountId']}, region {region['region']}"

    things = asyncio.gather(
        _vpc(estate.vpc, place, findings),
        findings.look_up(
            f"cluster {estate.cluster}",
            place,
            "correct estate.cluster; aws ecs list-clusters",
            findings.ask("aws:ecs/getCluster:getCluster", clusterName=estate.cluster),
        ),
        findings.look_up(
            f"private namespace {estate.namespace}",
            f"{place}, of type DNS_PRIVATE",
            "correct estate.namespace; aws servicediscovery list-namespaces",
            findings.ask(
                "aws:servicediscovery/getDnsNamespace:getDnsNamespace", name=estate.namespace, type="DNS_PRIVATE"
            ),
        ),
        _load_balancer(settings, place, findings),
        findings.look_up(
            "the healthy revisions of earlier deployments",
            f"{place}, parameters below {rollout.healthy_parameter(settings.parameter_prefix, '')}",
            "allow ssm:GetParametersByPath, or delete the parameter if it is damaged",
            _healthy(settings, findings),
        ),
    )
    named = asyncio.gather(
        _each(
            {s.secret for service in services for s in service.secrets.values()},
            lambda name: _secret(name, place, findings),
        ),
        _each(
            {name for s in services for name in s.permissions.secrets},
            lambda name: _permitted_keys(name, findings),
        ),
        _each(
            {s.execution_role for s in services if s.execution_role},
            lambda name: findings.look_up(
                f"execution role {name}",
                place,
                "correct executionRole, or remove it to have one made",
                findings.ask("aws:iam/getRole:getRole", name=name),
            ),
        ),
        _each({name for s in services for name in s.buckets}, lambda name: _bucket(name, settings, place, findings)),
        _each(
            {z for s in services if (z := getattr(s.routing, "hosted_zone", None))},
            lambda name: findings.look_up(
                f"hosted zone {name}",
                place,
                "correct routing.hostedZone; aws route53 list-hosted-zones",
                findings.ask("aws:route53/getZone:getZone", name=name),
            ),
        ),
    )
    (
        (vpc, cluster, namespace, balancer, healthy),
        (secrets, permitted, roles, bucket_keys, zones),
        state_bucket_key,
    ) = await asyncio.gather(things, named, _pipeline(settings, place, findings))
    groups: dict[str, str | None] = {}
    subnets: dict[str, dict[str, Any] | None] = {}
    if vpc:
        subnets, groups = await asyncio.gather(
            _each(set(estate.task_subnets), lambda wanted: _subnet(wanted, vpc, findings)),
            _each(
                {g for s in services for g in (*s.security_groups, *s.consumers)},
                lambda wanted: _security_group(wanted, vpc, findings),
            ),
        )
    listener = await _listener(settings, balancer, vpc, findings) if balancer else None
    if listener:
        _check_rules(listener["arn"], services, findings)
        _check_certificates(listener["arn"], services, findings)
    if cluster and cluster["status"] != "ACTIVE":
        findings.add(
            f"cluster {estate.cluster}", place, f"it is {cluster['status']}", "name an active cluster in estate.cluster"
        )
    if namespace:
        names = ownership.conflicts(
            settings,
            client=findings.client,
            topic_arn=lambda name: f"arn:{partition['partition']}:sns:{region['region']}:{caller['accountId']}:{name}",
            namespace=namespace["id"],
            warn=findings.warn,
        )
        for conflict in await asyncio.to_thread(list, names):
            findings.add(*conflict)
    if findings.found:
        raise EstateError(findings.found)
    assert vpc and cluster and namespace
    return Estate(
        account=caller["accountId"],
        region=region["region"],
        partition=partition["partition"],
        vpc=vpc["id"],
        vpc_cidrs=_ranges(vpc),
        subnets=tuple(subnet["id"] for subnet in map(subnets.get, estate.task_subnets) if subnet),
        cluster=cluster["arn"],
        cluster_name=cluster["clusterName"],
        namespace=namespace["id"],
        namespace_name=namespace["name"],
        listener=listener["arn"] if listener else None,
        load_balancer_metric_name=balancer["arn"].partition("loadbalancer/")[2] if balancer else None,
        load_balancer_dns_name=balancer["dnsName"] if balancer else None,
        load_balancer_zone=balancer["zoneId"] if balancer else None,
        load_balancer_dual_stack=bool(balancer) and "dualstack" in balancer.get("ipAddressType", ""),
        load_balancer_security_groups=tuple(sorted(balancer["securityGroups"])) if balancer else (),
        security_groups={name: found for name, found in groups.items() if found},
        secrets={name: found for name, found in secrets.items() if found},
        permitted_keys=permitted,
        execution_roles={name: role["arn"] for name, role in roles.items() if role},
        bucket_keys={name: key for name, key in bucket_keys.items() if key},
        healthy=healthy or {},
        state_bucket_key=state_bucket_key,
        hosted_zones={name: zone["zoneId"] for name, zone in zones.items() if zone},
    )


async def _pipeline(settings: Settings, place: str, findings: _Findings) -> str | None:
    """The ARN of the customer's key that the bucket of the stack's state encrypts with, if any."""
    if settings.delivery is None:
        return None
    if not settings.delivery.create_provider:
        await findings.look_up(
            "GitHub's OIDC provider",
            place,
            "set delivery.createProvider: true, unless another stack makes it",
            findings.ask(
                "aws:iam/getOpenIdConnectProvider:getOpenIdConnectProvider",
                url="https://token.actions.githubusercontent.com",
            ),
        )
    try:
        return await asyncio.to_thread(_bucket_key, settings.delivery.state_bucket, findings)
    except NoCredentialsError:
        return None
    except (BotoCoreError, ClientError) as error:
        findings.warn(
            f"How state bucket {settings.delivery.state_bucket} is encrypted could not be asked: {error}. If it is with"
            " a key of yours, the pipeline cannot write the state until an administrator who may ask runs pulumi up."
        )
        return None


async def _each(names: Iterable[str], look_up: Callable[[str], Awaitable[T]]) -> dict[str, T]:
    ordered = sorted(names)
    return dict(zip(ordered, await asyncio.gather(*map(look_up, ordered)), strict=True))


async def _healthy(settings: Settings, findings: _Findings) -> dict[str, tuple[HealthyRevision, ...]]:
    prefix = rollout.healthy_parameter(settings.parameter_prefix, "")
    found = await findings.ask("aws:ssm/getParametersByPath:getParametersByPath", path=prefix.rstrip("/"))
    pairs = zip(found.get("names") or [], found.get("values") or [], strict=True)
    return {name.removeprefix(prefix): rollout.parse(value) for name, value in pairs}


def is_id(kind: str, wanted: str) -> bool:
    """Whether `wanted` is the id of a `kind` (vpc, subnet, sg) and not a name that begins so, like vpc-production."""
    return re.fullmatch(rf"{kind}-[0-9a-f]+", wanted) is not None


async def _vpc(wanted: str, place: str, findings: _Findings) -> dict[str, Any] | None:
    by = {"id": wanted} if is_id("vpc", wanted) else {"tags": {"Name": wanted}}
    return await findings.look_up(
        f"VPC {wanted}", place, "correct estate.vpc; aws ec2 describe-vpcs", findings.ask("aws:ec2/getVpc:getVpc", **by)
    )


def _ranges(vpc: dict[str, Any]) -> tuple[str, ...]:
    """A VPC may have been given more ranges since: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html"""
    further = {
        association["cidrBlock"]
        for association in vpc.get("cidrBlockAssociations") or ()
        if association["state"] == "associated"
    }
    return vpc["cidrBlock"], *sorted(further - {vpc["cidrBlock"]})


async def _subnet(wanted: str, vpc: dict[str, Any], findings: _Findings) -> dict[str, Any] | None:
    where = f"in {vpc['id']}"
    if is_id("subnet", wanted):
        by: dict[str, Any] = {"id": wanted}
    elif "/" in wanted:
        by = {"cidrBlock": wanted, "vpcId": vpc["id"]}
    else:
        by = {"tags": {"Name": wanted}, "vpcId": vpc["id"]}
    found = await findings.look_up(
        f"subnet {wanted}",
        where,
        "correct estate.taskSubnets; aws ec2 describe-subnets",
        findings.ask("aws:ec2/getSubnet:getSubnet", **by),
    )
    if found and found["vpcId"] != vpc["id"]:
        findings.add(
            f"subnet {wanted}", where, f"it is in {found['vpcId']}", "name a subnet of the VPC in estate.taskSubnets"
        )
        return None
    if found and found.get("mapPublicIpOnLaunch"):
        findings.add(
            f"subnet {wanted}", where, "it gives out public addresses", "name a private subnet in estate.taskSubnets"
        )
        return None
    return found


async def _security_group(wanted: str, vpc: dict[str, Any], findings: _Findings) -> str | None:
    by: dict[str, Any] = {"id": wanted} if is_id("sg", wanted) else {"name": wanted}
    found = await findings.look_up(
        f"security group {wanted}",
        f"in {vpc['id']}",
        "correct securityGroups or consumers; aws ec2 describe-security-groups",
        findings.ask("aws:ec2/getSecurityGroup:getSecurityGroup", vpcId=vpc["id"], **by),
    )
    return found["id"] if found else None


async def _secret(name: str, place: str, findings: _Findings) -> FoundSecret | None:
    by = {"arn": name} if name.startswith("arn:") else {"name": name}
    found = await findings.look_up(
        f"secret {name}",
        place,
        "correct it under secrets, or create it: aws secretsmanager create-secret",
        findings.ask("aws:secretsmanager/getSecret:getSecret", **by),
    )
    if not found:
        return None
    key = found.get("kmsKeyId") or None
    if key:
        key = await findings.look_up(
            f"the key {key} of secret {name}",
            place,
            "allow kms:DescribeKey on it, or encrypt the secret with a key that exists",
            asyncio.to_thread(_customer_key, key, findings),
        )
    return FoundSecret(arn=found["arn"], kms_key=key)


async def _permitted_keys(name: str, findings: _Findings) -> tuple[str, ...]:
    """ARNs of the customers' keys that encrypt the secrets of a name, or of all names that begin so."""

    def ask() -> tuple[str, ...]:
        wanted = name.removesuffix("*")
        # Filtered by the beginning: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_Filter.html
        pages = findings.client("secretsmanager").get_paginator("list_secrets")
        found = [
            secret
            for page in pages.paginate(Filters=[{"Key": "name", "Values": [wanted]}])
            for secret in page["SecretList"]
            if secret["Name"] == name or (name.endswith("*") and secret["Name"].startswith(wanted))
        ]
        keys = {key for secret in found if (key := secret.get("KmsKeyId"))}
        return tuple(sorted({arn for key in keys if (arn := _customer_key(key, findings))}))

    try:
        return await asyncio.to_thread(ask)
    except (BotoCoreError, ClientError) as error:
        findings.warn(
            f"The keys of the secrets {name} could not be asked ({error}); where these are a customer's, "
            "the server cannot read them."
        )
        return ()


def _customer_key(key: str, findings: _Findings) -> str | None:
    """The ARN of a key by id, alias or ARN; None for AWS's own, which needs no further right."""
    if re.fullmatch(r"arn:[^:]+:kms:[^:]+:\d+:key/.+", key):
        return key
    found = findings.client("kms").describe_key(KeyId=key)["KeyMetadata"]
    return str(found["Arn"]) if found["KeyManager"] == "CUSTOMER" else None


async def _bucket(name: str, settings: Settings, place: str, findings: _Findings) -> str | None:
    """The ARN of the customer's key that the bucket encrypts with, if any."""
    found = await findings.look_up(
        f"bucket {name}",
        place,
        "correct tokens.bucket or permissions.bucket; aws s3api list-buckets",
        findings.ask("aws:s3/getBucket:getBucket", bucket=name),
    )
    if not found:
        return None
    try:
        return await asyncio.to_thread(_bucket_settings, name, settings, findings)
    except NoCredentialsError:
        # Whoever deploys has them. Nothing is known of the bucket then, and nothing can be done to it.
        findings.warn(f"What bucket {name} is like could not be asked.")
    except (BotoCoreError, ClientError) as error:
        findings.add(
            f"what bucket {name} is like",
            place,
            str(error),
            "allow s3:GetEncryptionConfiguration, s3:GetBucketPolicy and s3:GetLifecycleConfiguration on it, "
            "and kms:DescribeKey on its key",
        )
    return None


def _bucket_settings(name: str, settings: Settings, findings: _Findings) -> str | None:
    s3, options = findings.client("s3"), settings.buckets.get(name)
    # There is one policy and one set of rules for a bucket: to write ours would be to remove theirs.
    if options and (options.tls_only or options.tasks_only):
        policy = json.loads(_unless_missing(s3.get_bucket_policy, name).get("Policy", "{}"))
        statements = policy.get("Statement", [])
        ids = [s.get("Sid", "unnamed") for s in (statements if isinstance(statements, list) else [statements])]
        if foreign := [sid for sid in ids if not re.fullmatch(rf"{settings.mark}(TlsOnly|Tasks\d+)", sid)]:
            findings.add(
                f"the policy of bucket {name}",
                "for statements of others, which this stack would remove",
                f"it has {', '.join(foreign)}",
                f"set buckets.{name}.tlsOnly and .tasksOnly to false, and have its owner add a Deny of s3:* for * "
                "where aws:SecureTransport is false",
            )
    if options and options.keep_versions_days is not None:
        ids = [
            rule.get("ID", "unnamed")
            for rule in _unless_missing(s3.get_bucket_lifecycle_configuration, name).get("Rules", [])
        ]
        if foreign := [rule for rule in ids if rule != settings.mark]:
            findings.add(
                f"the lifecycle rules of bucket {name}",
                "for rules of others, which this stack would remove",
                f"it has {', '.join(foreign)}",
                f"remove buckets.{name}.keepVersionsDays, and have its owner enable versioning with a rule that "
                "expires old versions",
            )
    return _bucket_key(name, findings)


def _bucket_key(name: str, findings: _Findings) -> str | None:
    s3 = findings.client("s3")
    encryption = _unless_missing(s3.get_bucket_encryption, name).get("ServerSideEncryptionConfiguration", {"Rules": []})
    keys = [rule["ApplyServerSideEncryptionByDefault"].get("KMSMasterKeyID") for rule in encryption["Rules"]]
    return _customer_key(keys[0], findings) if any(keys) else None


def _unless_missing(ask: Callable[..., dict[str, Any]], bucket: str) -> dict[str, Any]:
    try:
        return ask(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in _MISSING:
            return {}
        raise


_MISSING = ("NoSuchBucketPolicy", "NoSuchLifecycleConfiguration", "ServerSideEncryptionConfigurationNotFoundError")
"""What S3 says of a setting that a bucket has not got."""


async def _load_balancer(settings: Settings, place: str, findings: _Findings) -> dict[str, Any] | None:
    name = settings.estate.load_balancer
    if name is None or not any(service.public for service in settings.services.values()):
        return None
    found = await findings.look_up(
        f"load balancer {name}",
        place,
        "correct estate.loadBalancer; aws elbv2 describe-load-balancers",
        findings.ask("aws:lb/getLoadBalancer:getLoadBalancer", name=name),
    )
    if found and found["loadBalancerType"] != "application":
        findings.add(
            f"load balancer {name}",
            place,
            f"it is of type {found['loadBalancerType']}",
            "name an application load balancer in estate.loadBalancer",
        )
        return None
    return found


async def _listener(
    settings: Settings, balancer: dict[str, Any], vpc: dict[str, Any] | None, findings: _Findings
) -> dict[str, Any] | None:
    estate = settings.estate
    if vpc and balancer["vpcId"] != vpc["id"]:
        findings.add(
            f"load balancer {estate.load_balancer}",
            f"in {vpc['id']}",
            f"it is in {balancer['vpcId']}",
            "name a load balancer of the VPC in estate.loadBalancer",
        )
    found = await findings.look_up(
        f"listener on port {estate.listener_port}",
        f"at load balancer {estate.load_balancer}",
        "correct estate.listenerPort; aws elbv2 describe-listeners",
        findings.ask("aws:lb/getListener:getListener", loadBalancerArn=balancer["arn"], port=estate.listener_port),
    )
    if found and found["protocol"] != "HTTPS":
        findings.add(
            f"listener on port {estate.listener_port}",
            f"at load balancer {estate.load_balancer}",
            f"it speaks {found['protocol']}",
            "name the HTTPS listener's port in estate.listenerPort",
        )
    return found


def _check_rules(listener: str, services: list[Service], findings: _Findings) -> None:
    try:
        taken = listener_holders(findings.client("elbv2"), listener)
    except (BotoCoreError, ClientError) as error:
        findings.warn(
            f"The listener's rules could not be listed ({error}); whether priorities and paths are free is left to AWS."
        )
        return
    for text in rule_conflicts(taken, services):
        findings.add(*text)


def _check_certificates(listener: str, services: list[Service], findings: _Findings) -> None:
    try:
        names = certificate_names(findings.client, listener)
    except (BotoCoreError, ClientError) as error:
        findings.warn(
            f"The listener's certificates could not be read ({error}); whether they cover the hosts is not known."
        )
        return
    for host in sorted({service.public.host for service in services if service.public}):
        # A wildcard stands for one label: https://docs.aws.amazon.com/acm/latest/userguide/acm-concepts.html
        if not {host, "*." + host.split(".", 1)[1]} & names:
            findings.add(
                f"a certificate for {host}",
                "among the listener's certificates",
                f"they cover {', '.join(sorted(names)) or 'nothing'}",
                "add one to the listener: aws elbv2 add-listener-certificates; or choose another routing.host",
            )
