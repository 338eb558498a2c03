"""Who may connect."""

from __future__ import annotations

from collections.abc import Iterator

from policies.rule import Resource, Severity, Stack, rule

_EVERYWHERE = {"0.0.0.0/0", "::/0"}


@rule(
    id="ec2-security-group-disallow-open-ingress",
    controls=("EC2.18", "CKV_AWS_260"),
    severity=Severity.HIGH,
    description="Tasks admit named security groups only, not every address.",
    why="the server would be reached past the load balancer and its listener's rules.",
    remedy="services.<service>.consumers for callers in the VPC; the load balancer is admitted anyway.",
    types=frozenset(
        {"aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "aws:ec2/securityGroup:SecurityGroup"}
    ),
)
def closed(resource: Resource, _: Stack) -> Iterator[str]:
    if resource.type == "aws:ec2/securityGroup:SecurityGroup":
        sources = [
            source
            for index, _rule in enumerate(resource.items("ingress"))
            for kind in ("cidrBlocks", "ipv6CidrBlocks")
            for source in resource.items("ingress", index, kind)
        ]
    else:
        sources = [resource.get("cidrIpv4"), resource.get("cidrIpv6")]
    if _EVERYWHERE.intersection(source for source in sources if source):
        yield "it admits everybody"
