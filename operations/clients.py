"""What preflight asks for the sake of clients and of the people who are signed in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from urllib.parse import urlsplit

from checks.check import Failed, NotRun
from components import estate as estates
from components.settings import Service
from operations.target import Target


def questions(target: Target, service: Service) -> Iterator[tuple[str, str, partial[str]]]:
    """The questions about a service, as preflight has them; none where no client signs in from outside."""
    if service.server != "workspace-mcp" or not service.oauth.enabled or not service.url:
        return
    if service.security_groups:
        yield (
            f"the security groups of {service.key} let its tasks out to HTTPS",
            "allow TCP 443 outward to 0.0.0.0/0: Google, AWS and clients' metadata documents are outside",
            partial(_outward, target, service),
        )
    yield f"a web ACL stands before /register of {service.key}", "", partial(_web_acl, target)
    if urlsplit(service.url).path:
        yield f"clients that ask at the root of the host find {service.key}", "", partial(_root, service)


def _outward(target: Target, service: Service) -> str:
    names = service.security_groups
    ids = [name for name in names if estates.is_id("sg", name)]
    by_name = [{"Name": "group-name", "Values": [name for name in names if name not in ids]}]
    ec2 = target.client("ec2")
    found = ec2.describe_security_groups(GroupIds=ids)["SecurityGroups"] if ids else []
    if by_name[0]["Values"]:
        found += ec2.describe_security_groups(Filters=by_name)["SecurityGroups"]
    for group in found:
        for rule in group["IpPermissionsEgress"]:
            https = rule["IpProtocol"] == "-1" or (
                rule["IpProtocol"] == "tcp" and rule["FromPort"] <= 443 <= rule["ToPort"]
            )
            if https and any(network["CidrIp"] == "0.0.0.0/0" for network in rule["IpRanges"]):
                return f"{group['GroupName']} does"
    if not found:
        raise NotRun("the groups are missing")
    if any(group["IpPermissionsEgress"] for group in found):
        raise NotRun("none lets out TCP 443 to everywhere; there must be a proxy or VPC endpoints where they let out")
    raise Failed("none has a rule for anything outward: images cannot be pulled, and nobody can sign in")


def _web_acl(target: Target) -> str:
    """A finding and no fault: the load balancer is shared, and the server has a limit of its own."""
    name = target.settings.estate.load_balancer
    (balancer,) = target.client("elbv2").describe_load_balancers(Names=[name])["LoadBalancers"]
    if balancer["Scheme"] != "internet-facing":
        return f"{name} is {balancer['Scheme']}: no stranger reaches it"
    waf = target.client("wafv2")
    try:
        acl = waf.get_web_acl_for_resource(ResourceArn=balancer["LoadBalancerArn"]).get("WebACL")
    except waf.exceptions.WAFNonexistentItemException:
        acl = None
    if acl:
        return f"{acl['Name']}, at {name}"
    raise NotRun(
        f"none, and {name} faces the internet: whoever floods it meets only the limit of each task (docs/clients.md). "
        "Have one associated, with a rate-based rule: aws wafv2 associate-web-acl"
    )


def _root(service: Service) -> str:
    host = urlsplit(str(service.url)).netloc
    raise NotRun(
        f"https://{host}/.well-known/oauth-authorization-server belongs to the host's default action: connectors that "
        f"drop the path cannot log in. For one of these: routing.strategy: host, with a host of its own"
    )
