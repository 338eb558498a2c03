"""What `verify` asks from inside the VPC, and of the log, in an emulated account whose tasks are simulated."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from checks.check import Failed, NotRun
from components import settings as configuration
from components.containers import log_group_name
from components.names import service_name
from components.settings import Service
from engine.reading import ByFile
from operations import probe, verify
from operations.probe import entrance
from operations.target import Target
from rehearsal.emulator import Emulator
from tests.conftest import ACCOUNT, REGION, ROOT

OWN, BALANCER, CONSUMER, OTHER = "sg-own", "sg-balancer", "sg-consumer", "sg-other"


def rule(*groups: str, cidr: str = "", low: int = 8000, high: int = 8000, protocol: str = "tcp") -> dict[str, Any]:
    """A rule as EC2 describes it."""
    pairs = [{"GroupId": group, "UserId": ACCOUNT} for group in groups]
    return {
        "IpProtocol": protocol,
        **({"FromPort": low, "ToPort": high} if protocol != "-1" else {}),
        "UserIdGroupPairs": pairs,
        "IpRanges": [{"CidrIp": cidr}] if cidr else [],
    }


@pytest.mark.parametrize(
    ("rules", "group"),
    [
        ([rule(BALANCER)], None),
        ([], None),
        ([rule(BALANCER), rule(CONSUMER)], CONSUMER),
        ([rule(BALANCER, CONSUMER, OTHER)], CONSUMER),
        ([rule(CONSUMER, low=9000, high=9000)], None),
        ([rule(CONSUMER, low=0, high=65535)], CONSUMER),
        ([rule(CONSUMER, protocol="-1")], CONSUMER),
        ([rule(CONSUMER, protocol="udp")], None),
        ([rule(CONSUMER), rule(OWN)], ""),
        ([rule(BALANCER), rule(cidr="10.0.0.0/16")], ""),
        ([rule(BALANCER), rule(cidr="10.0.10.0/24")], None),
        ([{**rule(CONSUMER), "UserIdGroupPairs": [{"GroupId": CONSUMER, "VpcPeeringConnectionId": "pcx-1"}]}], None),
    ],
)
def test_a_task_is_in_a_group_that_the_services_own_admit(rules: list[dict[str, Any]], group: str | None) -> None:
    networks = ["10.0.10.0/24", "10.0.11.0/24"]
    assert entrance({OWN: rules}, 8000, balancers={BALANCER}, networks=networks) == group


@dataclasses.dataclass
class Place:
    """A service in an emulated account that only simulates its tasks."""

    target: Target
    service: Service
    own: str
    network: dict[str, Any]

    @property
    def ecs(self) -> Any:
        return self.target.client("ecs")

    @property
    def described(self) -> dict[str, Any]:
        """As ECS describes the service, but for the network, which the emulator forgets."""
        return {**self.target.described(self.service), "networkConfiguration": self.network}

    def admit(self, group: str) -> None:
        pair = {"IpProtocol": "tcp", "FromPort": 8000, "ToPort": 8000, "UserIdGroupPairs": [{"GroupId": group}]}
        self.target.client("ec2").authorize_security_group_ingress(GroupId=self.own, IpPermissions=[pair])


@pytest.fixture
def place(emulator: Emulator, unique: str) -> Place:
    shipped = configuration.parse(configuration.read_stack_file(ROOT / "Pulumi.production.yaml"))
    estate = shipped.estate.model_copy(update={"cluster": unique, "load_balancer": unique})
    settings = shipped.model_copy(update={"estate": estate, "name_prefix": unique})
    service = next(iter(shipped.services.values())).model_copy(update={"name": unique, "security_groups": []})
    ec2, ecs = emulator.client("ec2"), emulator.client("ecs")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    zones = ("us-east-1a", "us-east-1b")
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{10 + number}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for number, zone in enumerate(zones)
    ]
    own, balancer = (
        ec2.create_security_group(GroupName=f"{unique}-{name}", Description=name, VpcId=vpc)["GroupId"]
        for name in ("own", "balancer")
    )
    emulator.client("elbv2").create_load_balancer(Name=unique, Subnets=subnets, SecurityGroups=[balancer])
    network = {"awsvpcConfiguration": {"subnets": subnets, "securityGroups": [own], "assignPublicIp": "DISABLED"}}
    ecs.create_cluster(clusterName=unique)
    log = {"logDriver": "awslogs", "options": {"awslogs-group": log_group_name(service), "awslogs-region": REGION}}
    ecs.register_task_definition(
        family=unique,
        cpu="256",
        memory="512",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        containerDefinitions=[{"name": "server", "image": "image", "logConfiguration": log}],
    )
    ecs.create_service(
        cluster=unique,
        serviceName=service_name(service),
        taskDefinition=unique,
        desiredCount=1,
        launchType="FARGATE",
        networkConfiguration=network,
    )
    target = Target(
        stack="production",
        file=ROOT / "Pulumi.production.yaml",
        settings=settings,
        account=ACCOUNT,
        region=REGION,
        client=emulator.client,
        deployed=ByFile(ROOT / "never-deployed"),
        copy=lambda _folder: pytest.fail("nothing is previewed"),
    )
    made = Place(target, service, own, network)
    made.admit(balancer)
    return made


def test_where_only_the_load_balancer_is_let_in_nothing_is_asked_and_that_is_said(place: Place) -> None:
    with pytest.raises(NotRun, match=f"nobody in the VPC but the load balancer .* {place.own} admits no other group"):
        probe.network(place.target, place.service, place.described)


def test_a_consumers_group_is_had_beside_the_services_own(place: Place, unique: str) -> None:
    vpc = place.target.client("ec2").describe_security_groups(GroupIds=[place.own])["SecurityGroups"][0]["VpcId"]
    consumer = place.target.client("ec2").create_security_group(GroupName=unique, Description="c", VpcId=vpc)["GroupId"]
    place.admit(consumer)
    found = probe.network(place.target, place.service, place.described)["awsvpcConfiguration"]
    assert found["securityGroups"] == [place.own, consumer]
    assert found["subnets"] == place.network["awsvpcConfiguration"]["subnets"]


@contextlib.contextmanager
def refusing(client: Any, *operations: str) -> Iterator[None]:
    """Meanwhile AWS refuses these operations of a client."""

    def refuse(model: Any, **_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not you"}}, model.name)

    for operation in operations:
        client.meta.events.register(f"before-call.ecs.{operation}", refuse)
    yield
    for operation in operations:
        client.meta.events.unregister(f"before-call.ecs.{operation}", refuse)


def test_what_cannot_be_cleaned_up_is_a_note_and_the_answer_counts(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "TASK_LIMIT", 0.0)  # A task that is simulated never ends.
    with refusing(place.ecs, "StopTask", "DeregisterTaskDefinition"):
        ended = probe.run(place.target, place.service, place.described, place.network, ["true"])
    assert (ended.code, ended.why) == (None, "it did not end within 0 s, and was RUNNING")
    task, definition = ended.notes
    assert "StopTask operation: not you); do: aws ecs stop-task --cluster " in task and task.endswith(f"/{ended.task}")
    assert definition.endswith(f"task-definition/{place.service.name}-verify:1")
    assert "do: aws ecs deregister-task-definition --task-definition arn:" in definition


def test_a_task_that_ends_in_time_is_not_stopped_and_its_definition_goes(place: Place) -> None:
    seen: list[str] = []
    place.ecs.meta.events.register("before-call.ecs.*", lambda model, **_: seen.append(model.name))

    def end(model: Any, **_: Any) -> None:
        if model.name == "DescribeTasks":
            arns = place.ecs.list_tasks(cluster=place.target.settings.estate.cluster, family=family)["taskArns"]
            for arn in arns:
                place.ecs.stop_task(cluster=place.target.settings.estate.cluster, task=arn, reason="of the test")

    family = f"{place.service.name}-verify"
    place.ecs.meta.events.register("before-call.ecs.*", end)
    try:
        ended = probe.run(place.target, place.service, place.described, place.network, ["true"])
    finally:
        place.ecs.meta.events.unregister("before-call.ecs.*", end)
    assert ended.notes == ()
    assert "of the test" in ended.why
    assert seen[-1] == "DeregisterTaskDefinition"
    active = place.ecs.list_task_definitions(familyPrefix=family, status="ACTIVE")
    assert active["taskDefinitionArns"] == []


def test_where_ecs_places_no_task_its_reason_is_told_and_the_definition_goes(place: Place) -> None:
    def none(parsed: dict[str, Any], **_: Any) -> None:
        parsed |= {"tasks": [], "failures": [{"reason": "RESOURCE:ENI"}]}

    place.ecs.meta.events.register("after-call.ecs.RunTask", none)
    try:
        with pytest.raises(Failed, match="ECS placed no task to ask with: RESOURCE:ENI"):
            probe.run(place.target, place.service, place.described, place.network, ["true"])
    finally:
        place.ecs.meta.events.unregister("after-call.ecs.RunTask", none)
    active = place.ecs.list_task_definitions(familyPrefix=f"{place.service.name}-verify", status="ACTIVE")
    assert active["taskDefinitionArns"] == []


# --- the log


def write(place: Place, task: str, *lines: str, age: datetime.timedelta = datetime.timedelta()) -> None:
    """Lines of a task in the service's log."""
    logs, group = place.target.client("logs"), log_group_name(place.service)
    stream = f"ecs/server/{task}"
    with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=group)
    with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    at = int((time.time() - age.total_seconds()) * 1000)
    events = [{"timestamp": at, "message": line} for line in lines]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def tasks(place: Place) -> list[str]:
    cluster = place.target.settings.estate.cluster
    arns = place.ecs.list_tasks(cluster=cluster, serviceName=service_name(place.service))["taskArns"]
    return [arn.rsplit("/", 1)[-1] for arn in arns]


def errors(place: Place) -> str:
    return verify._errors(place.target, place.service)


def test_an_error_of_a_running_task_is_found(place: Place) -> None:
    (task,) = tasks(place)
    write(place, task, "INFO all is well", "ERROR of now")
    with pytest.raises(Failed, match="1 of 2 lines, the last: ERROR of now"):
        errors(place)


def test_the_last_lines_of_tasks_that_were_replaced_and_of_one_off_tasks_do_not_count(place: Place) -> None:
    (old,) = tasks(place)
    cluster, name = place.target.settings.estate.cluster, service_name(place.service)
    begun = place.ecs.update_service(cluster=cluster, service=name, forceNewDeployment=True)["service"]["deployments"]
    deadline = time.monotonic() + 20
    # ECS may show the deployment before it for a moment.
    shown = place.target.described
    while old in tasks(place) or not tasks(place) or shown(place.service)["deployments"][0]["id"] != begun[0]["id"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    write(place, old, "ERROR while it was being stopped")
    write(place, "0123456789abcdef", "Traceback (most recent call last):")
    (new,) = tasks(place)
    write(place, new, "INFO all is well")
    assert errors(place).startswith("1 lines since ")


def test_an_error_of_a_task_that_has_crashed_since_counts(place: Place) -> None:
    (crashed,) = tasks(place)
    place.ecs.stop_task(cluster=place.target.settings.estate.cluster, task=crashed)
    write(place, crashed, "ERROR before the end")
    with pytest.raises(Failed, match="ERROR before the end"):
        errors(place)


def test_an_error_of_more_than_an_hour_ago_does_not_count(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a push that changes nothing: the deployment is weeks old, and so are its errors."""
    (task,) = tasks(place)
    write(place, task, "ERROR of long ago", age=datetime.timedelta(minutes=70))
    weeks_ago = datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(weeks=3)
    described = place.target.described(place.service)
    described["deployments"][0]["createdAt"] = weeks_ago
    monkeypatch.setattr(Target, "described", lambda *_: described)
    assert errors(place).startswith("0 lines since ")
    write(place, task, "ERROR of now")
    with pytest.raises(Failed, match="1 of 1 lines"):
        errors(place)
