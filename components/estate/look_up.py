"""Everything that the configuration names, found in parallel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib import metadata
from typing import Any, TypeVar

import pulumi
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from components import account, capacity, issuer, ownership, rollout
from components.estate import network, storage
from components.estate.findings import Ask, EstateError, Findings
from components.estate.found import Estate
from components.rollout import HealthyRevision
from components.settings import Settings

T = TypeVar("T")


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
    estate, findings = settings.estate, Findings(ask, client or account.client, warn)
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

    found_network = asyncio.gather(
        network.vpc(estate.vpc, place, findings),
        findings.look_up(
            f"cluster {estate.cluster}",
            place,
            "correct estate.cluster; aws ecs list-clusters lists them",
            findings.ask("aws:ecs/getCluster:getCluster", clusterName=estate.cluster),
        ),
        findings.look_up(
            f"private namespace {estate.namespace}",
            f"{place}, of type DNS_PRIVATE",
            "correct estate.namespace; aws servicediscovery list-namespaces lists them",
            findings.ask(
                "aws:servicediscovery/getDnsNamespace:getDnsNamespace", name=estate.namespace, type="DNS_PRIVATE"
            ),
        ),
        network.load_balancer(settings, place, findings),
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
            lambda name: storage.secret(name, place, findings),
        ),
        _each(
            {name for s in services for name in s.permissions.secrets},
            lambda name: storage.permitted_keys(name, findings),
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
        _each(
            {name for s in services for name in s.buckets}, lambda name: storage.bucket(name, settings, place, findings)
        ),
        _each(
            {z for s in services if (z := getattr(s.routing, "hosted_zone", None))},
            lambda name: findings.look_up(
                f"hosted zone {name}",
                place,
                "correct routing.hostedZone; aws route53 list-hosted-zones lists them",
                findings.ask("aws:route53/getZone:getZone", name=name),
            ),
        ),
    )
    (
        (vpc, cluster, namespace, balancer, healthy),
        (secrets, permitted, roles, bucket_keys, zones),
        state_bucket_key,
    ) = await asyncio.gather(found_network, named, _pipeline(settings, place, findings))
    groups: dict[str, str | None] = {}
    subnets: dict[str, dict[str, Any] | None] = {}
    if vpc:
        subnets, groups = await asyncio.gather(
            _each(set(estate.task_subnets), lambda wanted: network.subnet(wanted, vpc, findings)),
            _each(
                {g for s in services for g in (*s.security_groups, *s.consumers)},
                lambda wanted: network.security_group(wanted, vpc, findings),
            ),
        )
    listener = await network.listener(settings, balancer, vpc, findings) if balancer else None
    shares: dict[str, Mapping[str, int]] = {}
    if listener:
        shares = network.check_rules(listener["arn"], services, findings)
        network.check_certificates(listener["arn"], services, findings)
    if cluster and cluster["status"] != "ACTIVE":
        findings.add(
            f"cluster {estate.cluster}", place, f"it is {cluster['status']}", "name an active cluster in estate.cluster"
        )
    elif cluster:
        await asyncio.gather(_issuers(settings, findings), _capacity(settings, findings))
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
        vpc_cidrs=network.ranges(vpc),
        subnets=tuple(subnet["id"] for subnet in map(subnets.get, estate.task_subnets) if subnet),
        cluster=cluster["arn"],
        cluster_name=cluster["clusterName"],
        namespace=namespace["id"],
        namespace_name=namespace["name"],
        listener=listener["arn"] if listener else None,
        shares=shares,
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


async def _issuers(settings: Settings, findings: Findings) -> None:
    changes = issuer.changes(settings, client=findings.client, warn=findings.warn)
    try:
        for change in await asyncio.to_thread(list, changes):
            findings.add(*change)
    except (BotoCoreError, ClientError) as error:
        findings.warn(f"Whether people stay signed in, because the public address stays, could not be asked: {error}")


async def _capacity(settings: Settings, findings: Findings) -> None:
    try:
        for conflict in await asyncio.to_thread(list, capacity.conflicts(settings, client=findings.client)):
            findings.add(*conflict)
    except (BotoCoreError, ClientError) as error:
        findings.warn(f"Whether the cluster has the capacity that the stack names could not be asked: {error}")


async def _pipeline(settings: Settings, place: str, findings: Findings) -> str | None:
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
        return await asyncio.to_thread(storage.bucket_key, settings.delivery.state_bucket, findings)
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


async def _healthy(settings: Settings, findings: Findings) -> dict[str, tuple[HealthyRevision, ...]]:
    prefix = rollout.healthy_parameter(settings.parameter_prefix, "")
    found = await findings.ask("aws:ssm/getParametersByPath:getParametersByPath", path=prefix.rstrip("/"))
    pairs = zip(found.get("names") or [], found.get("values") or [], strict=True)
    return {name.removeprefix(prefix): rollout.parse(value) for name, value in pairs}
