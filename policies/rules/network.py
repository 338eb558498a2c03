"""Who may connect."""

from __future__ import annotations

from collections.abc import Iterator

from policies.rule import Resource, Rule, Severity, Stack

_EVERYWHERE = {"0.0.0.0/0", "::/0"}


def _closed(resource: Resource, _: Stack) -> Iterator[str]:
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


RULES = (
    Rule(
        name="ec2-security-group-disallow-open-ingress",
        ids=("EC2.18", "CKV_AWS_260"),
        severity=Severity.HIGH,
        description="Tasks admit named security groups only, not every address.",
        why="the server would be reached past the load balancer and its listener's rules.",
        remedy="services.<service>.consumers for callers in the VPC; the load balancer is admitted anyway.",
        types=frozenset(
            {"aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "aws:ec2/securityGroup:SecurityGroup"}
        ),
        check=_closed,
    ),
)
