"""`preflight`: everything that a deployment needs, asked before it; all faults at once, each with its remedy."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from checks import Check
from checks.check import Failed, NotRun
from components import estate as estates
from components import scaling
from components.estate.network import is_id
from components.settings import DynamoDbState, MemoryState, Service, Settings
from operations import adopt, clients, rights, stores
from operations.errors import OperationError
from operations.target import Target
from providers import functions

_VCPU_QUOTAS = {"on demand": "L-3032A538", "on Spot": "L-36FBB829"}
"""Fargate On-Demand and Fargate Spot vCPU resource count:
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html"""

Question = tuple[str, str, Callable[[], str]]
"""What should be true, what to do if not, and the question itself, as a check's probe has them."""


def preflight(target: Target) -> list[Check]:
    """All findings, asked in parallel; the order is fixed. Values of secrets are read, and never told."""
    questions: list[Question] = []
    for service in target.settings.services.values():
        questions += [*_about(target, service), *clients.questions(target, service)]
    questions += [
        ("the caller may deploy", "have the missing actions allowed", partial(_permissions, target)),
        ("a Docker engine answers", "start Docker, or set DOCKER_HOST", partial(_docker, target)),
        (
            "the Fargate quota has room",
            "raise it: aws service-quotas request-service-quota-increase",
            partial(_quota, target),
        ),
        (
            "the tasks' subnets have a way out",
            "add a route to a NAT gateway: images and Google are outside",
            partial(_way_out, target),
        ),
        (
            "the tasks' subnets are in two zones or more",
            "name a subnet of another zone in estate.taskSubnets",
            lambda: zones(_subnets(target.client("ec2"), target.settings), target.settings),
        ),
        ("the shared estate, for information", "", partial(_shared, target)),
    ]
    public = [service for service in target.settings.services.values() if service.public]
    if target.settings.estate.load_balancer and public:
        longest = max(service.longest_request for service in public)
        questions.append(
            (
                "the load balancer lets long answers end",
                "have its idle timeout raised, or lower longestRequest: aws elbv2 modify-load-balancer-attributes "
                f"--attributes Key=idle_timeout.timeout_seconds,Value={max(60, longest)}",
                lambda: idle_timeout(_attributes(target), longest),
            )
        )
    with ThreadPoolExecutor() as pool:
        found = pool.submit(_estate, target)
        asked = pool.map(_ask, questions)
        # Here, and not in the pool, because it runs the program.
        collisions = _collisions(target)
        return [*found.result(), *collisions, *asked]


def _estate(target: Target) -> list[Check]:
    """What the program itself looks up, asked by the very same code, without the program."""
    started = time.monotonic()
    warnings: list[str] = []

    async def ask(token: str, **arguments: Any) -> dict[str, Any]:
        answer, _ = functions[token]
        return await asyncio.to_thread(answer, target.context, arguments)

    look_up = estates.look_up(target.settings, ask=ask, client=target.client, warn=warnings.append)
    try:
        asyncio.run(look_up)
        findings: list[estates.Finding] = []
    except estates.EstateError as error:
        findings = error.findings
    seconds = time.monotonic() - started
    checks = [
        Check(
            name=finding.what,
            passed=False,
            detail=f"{finding.why} ({finding.where})",
            remedy=finding.remedy,
            seconds=seconds,
        )
        for finding in findings
    ]
    checks += [
        Check(name="what the program warns of", passed=None, detail=text, remedy="", seconds=0) for text in warnings
    ]
    if not findings:
        detail = (
            "network, groups, cluster, namespace, load balancer, rules, certificates, secrets, buckets, roles, issuers"
        )
        checks.insert(
            0,
            Check(
                name="the estate has all that the stack names", passed=True, detail=detail, remedy="", seconds=seconds
            ),
        )
    return checks


def _collisions(target: Target) -> list[Check]:
    """What has a name of the stack's, and is not in its state."""
    started = time.monotonic()

    def check(name: str, passed: bool | None, detail: str, remedy: str = "") -> Check:
        return Check(name=name, passed=passed, detail=detail, remedy=remedy, seconds=time.monotonic() - started)

    try:
        survey = adopt.survey(target)
    except (OperationError, BotoCoreError, ClientError) as error:
        return [check("no name of the stack's is taken", None, f"could not be asked: {error}")]
    except estates.EstateError:
        return [check("no name of the stack's is taken", None, "asked once the estate has all that the stack names")]
    return [
        check(f"{thing.noun} {thing.id} is in the stack's state", False, thing.why, thing.remedy)
        for thing in survey.existing
    ] or [check("no name of the stack's is taken", True, f"{survey.managed} are its own, {survey.new} are free")]


def _ask(question: Question) -> Check:
    name, remedy, ask = question
    started = time.monotonic()
    passed: bool | None = True
    try:
        detail, advice = ask(), ""
    except Failed as failure:
        passed, detail, advice = False, str(failure), failure.remedy or remedy
    except NotRun as reason:
        passed, detail, advice = None, str(reason), ""
    except (BotoCoreError, ClientError) as error:
        passed, detail, advice = None, f"could not be asked: {error}", ""
    return Check(name=name, passed=passed, detail=detail, remedy=advice, seconds=time.monotonic() - started)


def _about(target: Target, service: Service) -> Iterator[Question]:
    key = service.key
    for secret in sorted({wanted.secret for wanted in service.secrets.values()}):
        keys = sorted(wanted.key for wanted in service.secrets.values() if wanted.secret == secret)
        yield (
            f"secret {secret} has {', '.join(keys)}",
            f"put the key into the secret's JSON, or correct services.{key}.secrets",
            partial(_secret_keys, target, secret, keys),
        )
    for group in service.security_groups:
        yield (
            f"security group {group} admits the load balancer on port {service.port}",
            "add the rule, or leave securityGroups empty to have a group of the service's own",
            partial(_security_group, target, service, group),
        )
    if service.oauth_state and not isinstance(service.oauth_state, MemoryState):
        yield (
            f"the store of OAuth state of {key} can be used",
            "pulumi up --refresh sets it right"
            if isinstance(service.oauth_state, DynamoDbState) or service.oauth_cache
            else f"correct services.{key}.oauth.state, or change the cache",
            partial(_store, target, service),
        )
        if service.security_groups:
            yield (
                f"the tasks of {key} may reach the store of OAuth state",
                "add the rule, or leave securityGroups empty to have a group of the service's own",
                partial(_reach, target, service),
            )
    if service.execution_role:
        yield (
            f"execution role {service.execution_role} can start the tasks",
            "attach the missing rights, or remove executionRole to have a role of its own made",
            partial(_execution_role, target, service),
        )


def _secret_keys(target: Target, secret: str, keys: list[str]) -> str:
    manager = target.client("secretsmanager")
    try:
        value = manager.get_secret_value(SecretId=secret).get("SecretString", "")
    except manager.exceptions.ResourceNotFoundException:
        raise NotRun("the secret is missing") from None
    try:
        document = json.loads(value)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Failed("its value is not a JSON object")
    missing = [key for key in keys if not document.get(key)]
    if missing:
        raise Failed(f"{', '.join(missing)} is missing or empty; its keys are {', '.join(sorted(document)) or 'none'}")
    return "present, and not empty"


def _security_group(target: Target, service: Service, group: str) -> str:
    ec2, elb, estate = target.client("ec2"), target.client("elbv2"), target.settings.estate
    by = {"GroupIds": [group]} if estates.is_id("sg", group) else _named_group(group)
    found = ec2.describe_security_groups(**by)["SecurityGroups"]
    if not found:
        raise NotRun("the group is missing")
    balancers: set[str] = set()
    zones: list[str] = []
    if service.public and estate.load_balancer:
        (balancer,) = elb.describe_load_balancers(Names=[estate.load_balancer])["LoadBalancers"]
        balancers = set(balancer["SecurityGroups"])
        subnets = ec2.describe_subnets(SubnetIds=[zone["SubnetId"] for zone in balancer["AvailabilityZones"]])
        zones = [subnet["CidrBlock"] for subnet in subnets["Subnets"]]
    admitted, others = False, []
    for rule in found[0]["IpPermissions"]:
        low, high = rule.get("FromPort", 0), rule.get("ToPort", 65535)
        applies = rule["IpProtocol"] in ("tcp", "-1") and low <= service.port <= high
        ports = str(low) if low == high else f"{low}-{high}"
        groups = [pair["GroupId"] for pair in rule["UserIdGroupPairs"]]
        networks = [entry["CidrIp"] for entry in rule["IpRanges"]]
        if applies and (balancers & set(groups) or (zones and all(_within(zone, networks) for zone in zones))):
            admitted = True
        expected = balancers if applies and low == high else set()
        further = [entry["CidrIpv6"] for entry in rule.get("Ipv6Ranges", [])]
        further += [entry["PrefixListId"] for entry in rule.get("PrefixListIds", [])]
        others += [f"{source} on {ports}" for source in (*groups, *networks, *further) if source not in expected]
    if balancers and not admitted:
        raise Failed(f"nothing admits {', '.join(sorted(balancers))} on {service.port}")
    return f"it lets in {', '.join(others)}" if others else "and nothing else"


def _store(target: Target, service: Service) -> str:
    if isinstance(service.oauth_state, DynamoDbState):
        return stores.table(target.client, service, made=False)
    if service.oauth_cache:
        return stores.made_cache(target.client, service, made=False)
    return stores.cache(target.client, service)


def _reach(target: Target, service: Service) -> str:
    if not (groups := stores.tasks_groups(target.client, service)):
        raise NotRun("the groups are missing")
    return stores.reach(groups, stores.port(service))


def _named_group(name: str) -> dict[str, Any]:
    return {"Filters": [{"Name": "group-name", "Values": [name]}]}


def _within(network: str, wider: list[str]) -> bool:
    return any(ipaddress.IPv4Network(network).subnet_of(ipaddress.IPv4Network(each)) for each in wider)


def _execution_role(target: Target, service: Service) -> str:
    arn = target.client("iam").get_role(RoleName=service.execution_role)["Role"]["Arn"]
    return _allowed(target, arn, rights.of_execution_role(target, service))


def _permissions(target: Target) -> str:
    arn = target.client("sts").get_caller_identity()["Arn"]
    if arn.endswith(":root"):
        return f"{arn} may do everything"
    if ":assumed-role/" in arn:
        # A session is simulated as its role.
        arn = target.client("iam").get_role(RoleName=arn.split("/")[1])["Role"]["Arn"]
    wanted: rights.Rights = {}
    for service in target.settings.services.values():
        wanted |= rights.of_deployer(target, service)
    return _allowed(target, arn, wanted)


def _allowed(target: Target, arn: str, wanted: rights.Rights) -> str:
    denied, undecided = rights.lacking(target, arn, wanted)
    if denied:
        raise Failed(f"{arn} lacks {', '.join(denied)}")
    if undecided:
        raise NotRun(f"for {arn} it depends on conditions: {', '.join(undecided)}")
    return f"{sum(map(len, wanted.values()))} actions allowed to {arn}"


def _shared(target: Target) -> str:
    """Findings on what other stacks own: nothing that this deployment could or should change."""
    estate, findings = target.settings.estate, list[str]()
    if estate.load_balancer:
        attributes = _attributes(target)
        findings += [
            f"{estate.load_balancer}: {words}" for key, words in _BALANCER.items() if attributes.get(key) == "false"
        ]
    (cluster,) = target.client("ecs").describe_clusters(clusters=[estate.cluster], include=["SETTINGS"])["clusters"]
    if {"name": "containerInsights", "value": "disabled"} in cluster.get("settings", []):
        findings.append(f"{estate.cluster}: no Container Insights (ECS.12)")
    manager = target.client("secretsmanager")
    names = {wanted.secret for service in target.settings.services.values() for wanted in service.secrets.values()}
    for name in sorted(names):
        if not manager.describe_secret(SecretId=name).get("RotationEnabled"):
            findings.append(f"{name}: not rotated by itself (SecretsManager.1)")
    if target.settings.monitoring and target.settings.monitoring.budget and not target.rehearsed:
        findings += _uncounted(target.client("ce"))
    return "; ".join(findings) or "nothing to say"


def _attributes(target: Target) -> dict[str, str]:
    """The load balancer's."""
    elb = target.client("elbv2")
    (balancer,) = elb.describe_load_balancers(Names=[target.settings.estate.load_balancer])["LoadBalancers"]
    found = elb.describe_load_balancer_attributes(LoadBalancerArn=balancer["LoadBalancerArn"])["Attributes"]
    return {attribute["Key"]: attribute["Value"] for attribute in found}


_HEARTBEAT = 15
"""Seconds after which an MCP server on the Python SDK writes a comment into an answer that streams and is silent."""


def idle_timeout(attributes: Mapping[str, str], longest: int) -> str:
    """What a load balancer's idle timeout means. `longest`: seconds that the longest answer takes.

    Raises `Failed` where it cuts answers while they stream, or the longest one that does not.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html
    """
    seconds = int(attributes.get("idle_timeout.timeout_seconds", "60"))
    if seconds <= _HEARTBEAT:
        raise Failed(f"its idle timeout is {seconds} s, and an answer that streams may be silent for {_HEARTBEAT} s")
    if seconds < longest:
        raise Failed(f"its idle timeout is {seconds} s, and longestRequest is {longest} s")
    return f"its idle timeout is {seconds} s; an answer that streams is silent for {_HEARTBEAT} s at most"


def _uncounted(explorer: Any) -> list[str]:
    """What keeps the budget from seeing any cost. AWS can be told only once it has seen the tag, a day after the first
    deployment, so this stops nothing."""
    if explorer.list_cost_allocation_tags(TagKeys=["Service"], Status="Active")["CostAllocationTags"]:
        return []
    return [
        "the tag Service is no active cost allocation tag, so the budget counts nothing: "
        "aws ce update-cost-allocation-tags-status --cost-allocation-tags-status TagKey=Service,Status=Active"
    ]


_BALANCER = {
    "access_logs.s3.enabled": "no access logs (ELB.5)",
    "deletion_protection.enabled": "no deletion protection (ELB.6)",
    "routing.http.drop_invalid_header_fields.enabled": "invalid headers are passed on (ELB.4)",
}
"""Attribute of a load balancer -> what is to be said where it is false, with the control of AWS Security Hub."""


def _docker(target: Target) -> str:
    import docker

    building = [service for service in target.settings.services.values() if not service.image.digest]
    if not building:
        return "nothing is built: every image is a finished one"
    try:
        engine = docker.DockerClient(base_url=target.docker_host) if target.docker_host else docker.from_env()
        version = engine.version()
    except docker.errors.DockerException as error:
        raise Failed(str(error)) from None
    foreign = {service.image.platform for service in building} - {f"linux/{version['Arch']}"}
    if foreign:
        raise NotRun(f"{', '.join(sorted(foreign))} on {version['Arch']} needs emulation (qemu-user-static); not tried")
    return f"version {version['Version']} on {version['Arch']}, {platform.system()}"


def _quota(target: Target) -> str:
    # Quotas are not asked in a rehearsal. Goes when the emulator has them.
    if target.rehearsed:
        raise NotRun("the emulator has no quotas")
    return quota(target.client("service-quotas"), target.settings)


def quota(quotas: Any, settings: Settings) -> str:
    """Whether Fargate gives what a rollout takes. `quotas`: a boto3 client. Raises `Failed`."""
    wanted = dict.fromkeys(_VCPU_QUOTAS, 0.0)
    for service in settings.services.values():
        tasks = service.task_range[1] * 2
        spot = scaling.on_spot(tasks, service.capacity.strategy if service.capacity else ())
        wanted["on demand"] += service.cpu / 1024 * (tasks - spot)
        wanted["on Spot"] += service.cpu / 1024 * spot
    told, short = [], []
    for kind, vcpu in wanted.items():
        if vcpu or kind == "on demand":
            has = quotas.get_service_quota(ServiceCode="fargate", QuotaCode=_VCPU_QUOTAS[kind])["Quota"]["Value"]
            told.append(f"{has:.0f} vCPU in all {kind}; a rollout of this stack takes {vcpu:.1f}")
            if has < vcpu:
                short.append(f"{told[-1]} beside what runs")
    if short:
        raise Failed("; ".join(short))
    return "; ".join(told)


def _way_out(target: Target) -> str:
    # The way out of the subnets is not tried in a rehearsal. Goes when the emulated network carries traffic.
    if target.rehearsed:
        raise NotRun("the emulated network carries no traffic")
    ec2, settings = target.client("ec2"), target.settings
    subnets = _subnets(ec2, settings)
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [subnets[0]["VpcId"]]}])["RouteTables"]
    nothing: dict[str, Any] = {"Routes": []}
    main = next((table for table in tables if any(a.get("Main") for a in table["Associations"])), nothing)
    closed = []
    for subnet in subnets:
        own = (t for t in tables if any(a.get("SubnetId") == subnet["SubnetId"] for a in t["Associations"]))
        if not any(_leads_out(route) for route in next(own, main)["Routes"]):
            closed.append(f"{subnet['SubnetId']} ({subnet['CidrBlock']})")
    if closed:
        raise Failed(
            f"{', '.join(closed)}: no default route, or one to an internet gateway, which serves no task "
            "without a public address; images could not be pulled"
        )
    return f"{len(subnets)} subnets with a default route"


def zones(subnets: Iterable[Mapping[str, Any]], settings: Settings) -> str:
    """Which zones the tasks' subnets are in. `subnets`: as EC2 describes them. Raises `Failed` where several tasks
    would be lost with one zone."""
    found = sorted({str(subnet["AvailabilityZone"]) for subnet in subnets})
    several = [service.key for service in settings.services.values() if service.task_range[1] > 1]
    if len(found) < 2 and several:
        raise Failed(f"all are in {found[0]}, with which all tasks of {', '.join(several)} would be lost")
    return ", ".join(found) + ("" if len(found) > 1 else ": without it nothing runs")


def _leads_out(route: dict[str, Any]) -> bool:
    # Tasks have no public address, and an internet gateway serves nobody without one.
    everywhere = route.get("DestinationCidrBlock") == "0.0.0.0/0" and route.get("State") == "active"
    return everywhere and not str(route.get("GatewayId", "")).startswith("igw-")


def _subnets(ec2: Any, settings: Settings) -> list[Any]:
    """The tasks' subnets, each named by id, CIDR block or Name tag; of the stack's VPC alone, since others may have
    subnets with the same block or name."""
    vpc, wanted = settings.estate.vpc, set(settings.estate.task_subnets)
    by_name = not is_id("vpc", vpc)
    vpcs = ec2.describe_vpcs(Filters=[{"Name": "tag:Name" if by_name else "vpc-id", "Values": [vpc]}])["Vpcs"]
    pages = ec2.get_paginator("describe_subnets").paginate(
        Filters=[{"Name": "vpc-id", "Values": [found["VpcId"] for found in vpcs] or ["none"]}]
    )
    subnets = [
        subnet
        for page in pages
        for subnet in page["Subnets"]
        if wanted & {subnet["SubnetId"], subnet["CidrBlock"], *_names(subnet.get("Tags", []))}
    ]
    if not subnets:
        raise NotRun("the subnets are missing")
    return subnets


def _names(tags: list[dict[str, str]]) -> list[str]:
    return [tag["Value"] for tag in tags if tag["Key"] == "Name"]
