"""The network: VPC, subnets, security groups, load balancer and its listener."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from components.estate.findings import Findings
from components.listener import certificate_names, listener_holders, rule_conflicts, shares, shift_conflicts
from components.settings import Service, Settings


def is_id(kind: str, wanted: str) -> bool:
    """Whether `wanted` is the id of a `kind` (vpc, subnet, sg) and not a name that begins so, like vpc-production."""
    return re.fullmatch(rf"{kind}-[0-9a-f]+", wanted) is not None


async def vpc(wanted: str, place: str, findings: Findings) -> dict[str, Any] | None:
    """The VPC by id or Name tag."""
    by = {"id": wanted} if is_id("vpc", wanted) else {"tags": {"Name": wanted}}
    return await findings.look_up(
        f"VPC {wanted}",
        place,
        "correct estate.vpc; aws ec2 describe-vpcs lists them",
        findings.ask("aws:ec2/getVpc:getVpc", **by),
    )


def ranges(vpc: dict[str, Any]) -> tuple[str, ...]:
    """A VPC may have been given more ranges since: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html"""
    further = {
        association["cidrBlock"]
        for association in vpc.get("cidrBlockAssociations") or ()
        if association["state"] == "associated"
    }
    return vpc["cidrBlock"], *sorted(further - {vpc["cidrBlock"]})


async def subnet(wanted: str, vpc: dict[str, Any], findings: Findings) -> dict[str, Any] | None:
    """A private subnet of the VPC, by id, range or Name tag."""
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
        "correct estate.taskSubnets; aws ec2 describe-subnets lists them",
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


async def security_group(wanted: str, vpc: dict[str, Any], findings: Findings) -> str | None:
    """A security group's id."""
    by: dict[str, Any] = {"id": wanted} if is_id("sg", wanted) else {"name": wanted}
    found = await findings.look_up(
        f"security group {wanted}",
        f"in {vpc['id']}",
        "correct securityGroups or consumers; aws ec2 describe-security-groups lists them",
        findings.ask("aws:ec2/getSecurityGroup:getSecurityGroup", vpcId=vpc["id"], **by),
    )
    return found["id"] if found else None


async def load_balancer(settings: Settings, place: str, findings: Findings) -> dict[str, Any] | None:
    """The load balancer, if a service is reached from outside."""
    name = settings.estate.load_balancer
    if name is None or not any(service.public for service in settings.services.values()):
        return None
    found = await findings.look_up(
        f"load balancer {name}",
        place,
        "correct estate.loadBalancer; aws elbv2 describe-load-balancers lists them",
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


async def listener(
    settings: Settings, balancer: dict[str, Any], vpc: dict[str, Any] | None, findings: Findings
) -> dict[str, Any] | None:
    """The load balancer's HTTPS listener."""
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
        "correct estate.listenerPort; aws elbv2 describe-listeners lists them",
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


def check_rules(listener: str, services: list[Service], findings: Findings) -> dict[str, Mapping[str, int]]:
    """Whether the services' rules find their priorities and addresses free. Returns `Estate.shares`."""
    try:
        taken = listener_holders(findings.client("elbv2"), listener)
    except (BotoCoreError, ClientError) as error:
        findings.warn(
            f"The listener's rules could not be listed ({error}); whether priorities and paths are free is left to AWS."
        )
        return {}
    found = {service.key: shares(taken, service) for service in services}
    conflicts = rule_conflicts(taken, services)
    for service in services:
        conflicts += shift_conflicts(found[service.key], service)
    for text in conflicts:
        findings.add(*text)
    return {key: share for key, share in found.items() if share}


def check_certificates(listener: str, services: list[Service], findings: Findings) -> None:
    """Whether the listener's certificates cover the services' hosts."""
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
