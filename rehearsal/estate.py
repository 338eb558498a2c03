"""The estate that a stack's configuration expects, made in an emulated account.

On a real account all of this exists and belongs to others; here it is made so that there is something to deploy onto,
with two neighbours on the load balancer whose requests must never reach us.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from components.account import provider
from components.settings import NAMESPACE, Settings
from rehearsal.emulator import Account

NEIGHBOURS = {1: "/neighbour*", 2: "/mcp/neighbour*"}
"""Priority -> path pattern of rules on the listener that belong to other services."""

SECRET_VALUE = "rehearsal-value-of-{key}"  # noqa: S105
"""What a secret's JSON key holds, so that a look into logs and outputs can find it where it must not be."""


def account_and_region(config: Mapping[str, str]) -> tuple[str, str]:
    """The account id and region that the stack's configuration is for; a made-up account where it names none.

    Raises `AccountError`.
    """
    configured = provider(config)
    return next(iter(configured.allowed_account_ids), "123456789012"), configured.region or "us-east-1"


def pinned_ids(settings: Settings) -> list[str]:
    """EC2 ids that the configuration names and that the emulator must therefore give to what is made here."""
    named = [settings.estate.vpc, *settings.estate.task_subnets]
    named += [
        group for service in settings.services.values() for group in (*service.security_groups, *service.consumers)
    ]
    return list(dict.fromkeys(name for name in named if name.startswith(("vpc-", "subnet-", "sg-"))))


def make(account: Account, settings: Settings) -> None:
    """Make everything that `settings` names and a deployment looks up. Call once per account."""
    with ThreadPoolExecutor(4) as pool:
        parts = [
            pool.submit(_network, account, settings),
            pool.submit(_secrets, account, settings),
            pool.submit(_roles_and_buckets, account, settings),
            pool.submit(
                account.client("ecs").create_cluster,
                clusterName=settings.estate.cluster,
                capacityProviders=["FARGATE", "FARGATE_SPOT"],
            ),
        ]
        for part in parts:
            part.result()
    if settings.delivery and not settings.delivery.create_provider:
        account.client("iam").create_open_id_connect_provider(
            Url="https://token.actions.githubusercontent.com", ClientIDList=["sts.amazonaws.com"]
        )


def _network(account: Account, settings: Settings) -> None:
    ec2, estate = account.client("ec2"), settings.estate
    cidr = _vpc_cidr(settings)
    vpc = ec2.create_vpc(CidrBlock=str(cidr))["Vpc"]["VpcId"]
    if not estate.vpc.startswith("vpc-"):
        ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": estate.vpc}])
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsSupport={"Value": True})
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})

    zones = [f"{account.region}{letter}" for letter in "ab"]
    blocks = _blocks(cidr, settings)
    for number, wanted in enumerate(estate.task_subnets):
        subnet = ec2.create_subnet(
            VpcId=vpc, AvailabilityZone=zones[number % 2], CidrBlock=wanted if "/" in wanted else next(blocks)
        )["Subnet"]["SubnetId"]
        if "/" not in wanted and not wanted.startswith("subnet-"):
            ec2.create_tags(Resources=[subnet], Tags=[{"Key": "Name", "Value": wanted}])
    balancer_group = _security_group(
        account, vpc, f"{estate.load_balancer or 'load-balancer'}-sg", [("0.0.0.0/0", 80), ("0.0.0.0/0", 443)]
    )
    for name in dict.fromkeys(
        group for service in settings.services.values() for group in (*service.security_groups, *service.consumers)
    ):
        group = _security_group(account, vpc, name, [])
        ec2.authorize_security_group_ingress(
            GroupId=group,
            IpPermissions=[
                {
                    "IpProtocol": "tcp",
                    "FromPort": 8000,
                    "ToPort": 8080,
                    "UserIdGroupPairs": [{"GroupId": balancer_group}],
                }
            ],
        )
    account.client("servicediscovery").create_private_dns_namespace(Name=estate.namespace, Vpc=vpc)
    if estate.load_balancer:
        public = [
            ec2.create_subnet(VpcId=vpc, AvailabilityZone=zone, CidrBlock=next(blocks))["Subnet"]["SubnetId"]
            for zone in zones
        ]
        _load_balancer(account, settings, balancer_group, public, vpc)


def _vpc_cidr(settings: Settings) -> ipaddress.IPv4Network:
    """The smallest /16 or wider network that holds the subnets named by CIDR block."""
    named = [ipaddress.IPv4Network(subnet) for subnet in settings.estate.task_subnets if "/" in subnet]
    network = (named[0] if named else ipaddress.IPv4Network("10.0.0.0/24")).supernet(new_prefix=16)
    while not all(subnet.subnet_of(network) for subnet in named):
        network = network.supernet()
    return network


def _blocks(cidr: ipaddress.IPv4Network, settings: Settings):  # type: ignore[no-untyped-def]
    """Free /24 blocks of the VPC."""
    named = [ipaddress.IPv4Network(subnet) for subnet in settings.estate.task_subnets if "/" in subnet]
    return (str(block) for block in cidr.subnets(new_prefix=24) if not any(block.overlaps(subnet) for subnet in named))


def _security_group(account: Account, vpc: str, name: str, open_to: list[tuple[str, int]]) -> str:
    ec2 = account.client("ec2")
    group: str = ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
    for cidr, port in open_to:
        ec2.authorize_security_group_ingress(GroupId=group, CidrIp=cidr, IpProtocol="tcp", FromPort=port, ToPort=port)
    return group


def _load_balancer(account: Account, settings: Settings, group: str, subnets: list[str], vpc: str) -> None:
    elb = account.client("elbv2")
    # AWS takes the VPC from the subnets. MiniStack does not look at them, and takes it from a parameter of its own.
    # Goes when MiniStack takes it from the subnets.
    elb.meta.events.register(
        "before-call.elastic-load-balancing-v2.CreateLoadBalancer", lambda params, **_: params["body"].update(VpcId=vpc)
    )
    balancer = elb.create_load_balancer(
        Name=settings.estate.load_balancer,
        Subnets=subnets,
        SecurityGroups=[group],
        Scheme="internet-facing",
        Type="application",
    )["LoadBalancers"][0]["LoadBalancerArn"]
    hosts = sorted({service.public.host for service in settings.services.values() if service.public})
    elb.create_listener(
        LoadBalancerArn=balancer,
        Protocol="HTTP",
        Port=80,
        DefaultActions=[
            {"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}
        ],
    )
    listener = elb.create_listener(
        LoadBalancerArn=balancer,
        Protocol="HTTPS",
        Port=settings.estate.listener_port,
        Certificates=[{"CertificateArn": _certificate(account, hosts)}],
        DefaultActions=[_neighbour("the default action's service")],
    )["Listeners"][0]["ListenerArn"]
    for priority, pattern in NEIGHBOURS.items():
        elb.create_rule(
            ListenerArn=listener,
            Priority=priority,
            Actions=[_neighbour(f"the service of {pattern}")],
            Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": [pattern]}}],
        )


def _neighbour(name: str) -> dict[str, object]:
    return {
        "Type": "fixed-response",
        "FixedResponseConfig": {"StatusCode": "404", "ContentType": "text/plain", "MessageBody": name},
    }


def _certificate(account: Account, hosts: list[str]) -> str:
    """A certificate as estates have them: the domain, and a wildcard for its hosts."""
    domains = list(dict.fromkeys(host.split(".", 1)[1] for host in hosts)) or ["rehearsal.example"]
    names = [name for domain in domains for name in (domain, f"*.{domain}")]
    arn: str = account.client("acm").request_certificate(
        DomainName=names[0], SubjectAlternativeNames=names, ValidationMethod="DNS"
    )["CertificateArn"]
    return arn


def _secrets(account: Account, settings: Settings) -> None:
    keys: dict[str, set[str]] = {}
    for service in settings.services.values():
        for wanted in service.secrets.values():
            keys.setdefault(wanted.secret, set()).add(wanted.key)
    manager = account.client("secretsmanager")
    for name, names in keys.items():
        # An ARN names its secret behind the last colon, with six random characters of AWS's own at the end.
        plain = name.split(":")[-1].rsplit("-", 1)[0] if name.startswith("arn:") else name
        manager.create_secret(
            Name=plain, SecretString=json.dumps({key: SECRET_VALUE.format(key=key) for key in sorted(names)})
        )


def _roles_and_buckets(account: Account, settings: Settings) -> None:
    services = settings.services.values()
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    for role in sorted({service.execution_role for service in services if service.execution_role}):
        account.client("iam").create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))
    state = {settings.delivery.state_bucket} if settings.delivery else set()
    for bucket in sorted({name for service in services for name in service.buckets} | state):
        place = (
            {}
            if account.region == "us-east-1"
            else {"CreateBucketConfiguration": {"LocationConstraint": account.region}}
        )
        account.client("s3").create_bucket(Bucket=bucket, **place)
        account.client("s3").put_bucket_encryption(
            Bucket=bucket,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
            },
        )
    for zone in sorted({zone for service in services if (zone := getattr(service.routing, "hosted_zone", None))}):
        account.client("route53").create_hosted_zone(Name=zone, CallerReference=f"{NAMESPACE}-{zone}")
