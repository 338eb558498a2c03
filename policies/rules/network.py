"""Who may connect."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from policies.rule import Resource, Severity, Stack, rule

_GROUP = "aws:ec2/securityGroup:SecurityGroup"
_GROUP_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
_WIDEST = {4: 8, 6: 16}


@rule(
    id="ec2-security-group-disallow-open-ingress",
    controls=("EC2.18", "CKV_AWS_260"),
    severity=Severity.HIGH,
    description="Tasks admit named security groups only, not every address.",
    why="the server would be reached past the load balancer and its listener's rules.",
    remedy="services.<service>.consumers for callers in the VPC; the load balancer is admitted anyway.",
    types=frozenset({"aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", _GROUP, _GROUP_RULE}),
)
def closed(resource: Resource, _: Stack) -> Iterator[str]:
    for source in _sources(resource):
        try:
            if _is_everybody(source):
                yield f"it admits everybody ({source})"
        except ValueError:
            yield f"it admits {source}, which is no range of addresses"


def _sources(resource: Resource) -> Iterator[str]:
    """The ranges of addresses that are admitted, those before an unknown one in any case."""
    if resource.type == _GROUP:
        for index in range(len(resource.items("ingress"))):
            for kind in ("cidrBlocks", "ipv6CidrBlocks"):
                yield from resource.items("ingress", index, kind)
    elif resource.type == _GROUP_RULE:
        if resource.get("type") == "ingress":
            yield from resource.items("cidrBlocks")
            yield from resource.items("ipv6CidrBlocks")
    else:
        for kind in ("cidrIpv4", "cidrIpv6"):
            if source := resource.get(kind):
                yield source


def _is_everybody(source: str) -> bool:
    """Whether a range is wider than any one network, as 0.0.0.0/1 and 2000::/3 are. 10.0.0.0/8 is the widest private
    one of IPv4, and ARIN gives out at most a /16 of IPv6 at once. Raises ValueError for what is no range."""
    network = ipaddress.ip_network(source, strict=False)
    return network.prefixlen < _WIDEST[network.version]
