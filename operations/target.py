"""What a verb works on: a stack's settings, its account, its outputs, and how its public address is reached."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from botocore.exceptions import BotoCoreError, ClientError

from checks.address import authorities
from components import account
from components import settings as configuration
from components.listener import listener_holders, shares
from components.names import service_name, target_group_names
from components.settings import Service, Settings
from engine import cli
from engine.deployment import Deployer
from engine.reading import ByCli, Deployed, NotReadable
from engine.stack import Project, PulumiStack
from operations.errors import UNREACHABLE, OperationError, no_service
from providers import Context
from rehearsal.kept import ROOT, Kept, RehearsalError


@dataclass(frozen=True, kw_only=True)
class Target:
    """One stack and the account that it is deployed to."""

    stack: str
    file: Path
    """The stack's configuration file."""
    settings: Settings
    account: str
    region: str
    partition: str = "aws"
    credentials: Callable[[], dict[str, str]] = field(default=dict, repr=False)
    """Variables of the environment with which another program, such as the AWS CLI, is who this one is."""
    client: Callable[[str], Any] = field(repr=False)
    """Gives the boto3 client of a service."""
    deployed: Deployed = field(repr=False)
    """Outputs and state."""
    copy: Callable[[Path], Deployer] = field(repr=False)
    """Gives the stack on a copy of its state in an empty folder, to be previewed. Raises `OperationError`."""
    connect_to: str | None = None
    """The edge of a rehearsal, in place of the public host's address."""
    edge_health: Callable[[], dict[str, list[dict[str, Any]]]] | None = field(default=None, repr=False)
    docker_host: str | None = None
    """The engine on which a rehearsal's tasks run."""
    google: dict[str, Any] | None = None
    """A rehearsal's stand-in for Google, as its note has it."""

    @property
    def rehearsed(self) -> bool:
        """Whether the account is an emulated one."""
        return self.connect_to is not None or self.docker_host is not None

    @functools.cached_property
    def outputs(self) -> dict[str, Any]:
        """The stack's outputs. Raises `OperationError`."""
        try:
            found = self.deployed.outputs()
        except NotReadable as error:
            raise OperationError(str(error), UNREACHABLE) from None
        if not found:
            raise OperationError(
                f"Stack {self.stack} has no outputs: no deployment of it has succeeded. See ./ops status, then deploy: "
                f"pulumi up --stack {self.stack}"
            )
        return found

    @functools.cached_property
    def resources(self) -> list[dict[str, Any]]:
        """What the stack's state has; none before the first deployment. Raises `OperationError`."""
        try:
            return self.deployed.resources()
        except NotReadable as error:
            raise OperationError(str(error), UNREACHABLE) from None

    @functools.cached_property
    def context(self) -> Context:
        """The account as `providers` takes it."""
        return Context(account=_Clients(self), docker=None, directory=ROOT, partition=self.partition)

    def services(self, key: str | None) -> list[Service]:
        """The service named `key`, or all. Raises `OperationError` for an unknown one."""
        known = self.settings.services
        if key is None:
            return list(known.values())
        if key not in known:
            raise no_service(self.stack, key, known)
        return [known[key]]

    def service(self, key: str | None) -> Service:
        """The service named `key`, or the only one."""
        services = self.services(key)
        if len(services) > 1:
            raise OperationError(
                f"Stack {self.stack} has several services; add --service {' or '.join(self.settings.services)}.", 2
            )
        return services[0]

    def described(self, service: Service) -> dict[str, Any]:
        """ECS's description of the service. Raises `OperationError` where there is none."""
        name, cluster, ecs = service_name(service), self.settings.estate.cluster, self.client("ecs")
        try:
            found = ecs.describe_services(cluster=cluster, services=[name])["services"]
        except ecs.exceptions.ClusterNotFoundException:
            raise OperationError(
                f"There is no cluster {cluster}. Correct estate.cluster; see ./ops preflight."
            ) from None
        if not found or found[0]["status"] != "ACTIVE":
            raise OperationError(f"There is no service {name} in cluster {cluster}. Deploy it: pulumi up.")
        return dict(found[0])

    def listener(self) -> str:
        """ARN of the listener that services are behind."""
        elb, estate = self.client("elbv2"), self.settings.estate
        balancer = elb.describe_load_balancers(Names=[estate.load_balancer])["LoadBalancers"][0]["LoadBalancerArn"]
        listeners = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
        return str(next(entry["ListenerArn"] for entry in listeners if entry["Port"] == estate.listener_port))

    def shares(self, service: Service) -> Mapping[str, int]:
        """The target groups that a service's listener rule forwards to, with their weights."""
        return shares(listener_holders(self.client("elbv2"), self.listener()), service)

    def target_health(self, service: Service) -> list[dict[str, Any]]:
        """The targets of a service, in both of its target groups where it has two; none: it is internal. The emulated
        ELB always says healthy; there the edge is asked."""
        names = target_group_names(service) if service.public else ()
        if self.edge_health:
            found = self.edge_health()
            return [target for name in names for target in found.get(name, [])]
        elb = self.client("elbv2")
        # One by one: asked for several of which one is missing, AWS names none.
        arns = [arn for name in names for arn in _groups(elb, name)]
        if names and not arns:
            raise OperationError(f"There is no target group {names[0]}. Deploy the service: pulumi up.")
        return [
            {
                "target": entry["Target"]["Id"],
                "port": entry["Target"]["Port"],
                "state": entry["TargetHealth"]["State"],
                "description": entry["TargetHealth"].get("Description"),
            }
            for arn in arns
            for entry in elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        ]


def _groups(elb: Any, name: str) -> list[str]:
    """ARN of the target group of a name, if there is one."""
    try:
        found = elb.describe_target_groups(Names=[name])["TargetGroups"]
    except elb.exceptions.TargetGroupNotFoundException:
        return []
    return [group["TargetGroupArn"] for group in found]


class _Clients:
    """The account's clients."""

    def __init__(self, target: Target) -> None:
        self.account, self.region, self.client = target.account, target.region, target.client


def named(stack: str, *, rehearsal: bool) -> Target:
    """The stack's kept rehearsal, or the stack on its account. Raises `SettingsError`, `OperationError`."""
    return kept(stack) if rehearsal else real(stack)


def real(stack: str) -> Target:
    """The stack on its account, asked as its aws provider asks. Raises `SettingsError`, `OperationError`."""
    file = configuration.stack_file(stack)
    config = configuration.read_stack_file(file)
    settings = configuration.parse(config)
    deployed = ByCli(stack=stack, directory=ROOT)
    try:
        config |= {key: deployed.configuration(key) for key in account.encrypted(config)}
        who = account.provider(config)
    except account.AccountError as error:
        raise OperationError(str(error), 2) from None
    except NotReadable as error:
        raise OperationError(str(error), UNREACHABLE) from None
    try:
        asking = account.session(who)
        client = _made_of_the_environment(account.clients(who, asking))
        caller = client("sts").get_caller_identity()
    except (BotoCoreError, ClientError, OSError) as error:
        raise OperationError(
            f"The AWS account cannot be reached: {error}. Log in, for example: aws sso login", UNREACHABLE
        ) from None
    except ValueError as error:
        raise _wrong_environment(error) from None
    if not who.admits(caller["Account"]):
        raise OperationError(
            f"This shell is logged in to account {caller['Account']}, but stack {stack} is {who.admitted()}. "
            "Log in to the other account, or name another stack.",
            UNREACHABLE,
        )

    def credentials() -> dict[str, str]:
        found = asking.get_credentials().get_frozen_credentials()
        token = {"AWS_SESSION_TOKEN": found.token} if found.token else {}
        return {"AWS_ACCESS_KEY_ID": found.access_key, "AWS_SECRET_ACCESS_KEY": found.secret_key, **token}

    return Target(
        stack=stack,
        file=file,
        settings=settings,
        account=caller["Account"],
        region=asking.region_name,
        partition=caller["Arn"].split(":")[1],
        credentials=credentials,
        client=client,
        deployed=deployed,
        copy=lambda folder: _copy(stack, deployed, folder),
    )


def _made_of_the_environment(client: Callable[[str], Any]) -> Callable[[str], Any]:
    """`client`, for which botocore reads the environment: what it cannot read is told. Raises `OperationError`."""

    def made(service: str) -> Any:
        try:
            return client(service)
        except BotoCoreError:  # Some of these are a `ValueError` too, and say enough.
            raise
        except ValueError as error:
            raise _wrong_environment(error) from None

    return made


def _wrong_environment(error: ValueError) -> OperationError:
    words = [word.strip("'") for word in str(error).split()]
    names = [name for name, value in os.environ.items() if name.startswith("AWS_") and value in words]
    where = " and ".join(names) or "the AWS_ variables, and ~/.aws/config"
    return OperationError(f"The environment for AWS cannot be read: {error}. Correct {where}.", UNREACHABLE)


def kept(stack: str) -> Target:
    """The stack's kept rehearsal. Raises `SettingsError`, `OperationError`."""
    note = Kept.read(stack)
    if note is None:
        raise OperationError(f"No rehearsal of {stack} is kept. Make one: ./rehearse {stack} --keep", 2)
    file = configuration.stack_file(stack)
    try:
        note.answering(stack)
    except RehearsalError as error:
        raise OperationError(str(error), UNREACHABLE) from None
    return of_rehearsal(stack, file, configuration.parse(configuration.read_stack_file(file)), note)


def of_rehearsal(stack: str, file: Path, settings: Settings, note: Kept) -> Target:
    """The rehearsal that `note` describes."""
    account = note.account()

    def health() -> dict[str, list[dict[str, Any]]]:
        assert note.health_url
        try:
            with httpx2.Client(trust_env=False, verify=authorities()) as client:
                found: dict[str, list[dict[str, Any]]] = client.get(note.health_url, timeout=5).json()
                return found
        except httpx2.HTTPError as error:
            raise OperationError(
                f"The rehearsal's load balancer does not answer any more ({error}). "
                f"End the rehearsal, and make another: ./rehearse {stack} --stop; ./rehearse {stack} --keep",
                UNREACHABLE,
            ) from None

    return Target(
        stack=stack,
        file=file,
        settings=settings,
        account=account.account,
        region=account.region,
        client=account.client,
        deployed=note.deployed(stack),
        copy=lambda folder: note.copy(stack, folder),
        connect_to=note.edge_url,
        edge_health=health if note.health_url else None,
        docker_host=note.docker_host,
        google=note.google,
    )


def _copy(stack: str, deployed: Deployed, folder: Path) -> Deployer:
    try:
        found, resources = cli.find(), deployed.resources()
    except NotReadable as error:
        raise OperationError(str(error), UNREACHABLE) from None
    assert found, "`resources` has found one"
    copied = PulumiStack(
        Project(directory=ROOT, name=configuration.NAMESPACE, stack=stack),
        cli=found,
        folder=folder,
        environment={},
        surroundings=contextlib.nullcontext,
        context=None,
    )
    if resources:
        copied.put_state(resources)
    return copied


def revision(arn: str) -> str:
    """`family:number` of a task definition's ARN."""
    return arn.rsplit("/", 1)[-1]
