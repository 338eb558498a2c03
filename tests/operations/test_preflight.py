"""What preflight asks of services that the emulator has not got, with answers held to AWS's own model."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from checks.check import Failed
from operations.preflight import _subnets, _uncounted, idle_timeout, quota, zones
from rehearsal.emulator import Emulator
from tests.stacks import SERVICE, changed, production


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([{"TagKey": "Service", "Type": "UserDefined", "Status": "Active"}], []),
        ([], ["--cost-allocation-tags-status TagKey=Service,Status=Active"]),
    ],
)
def test_a_budget_that_counts_nothing_is_told(answer: list[dict[str, Any]], said: list[str]) -> None:
    explorer = boto3.client("ce", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(explorer) as stub:
        asked = {"TagKeys": ["Service"], "Status": "Active"}
        stub.add_response("list_cost_allocation_tags", {"CostAllocationTags": answer}, asked)
        found = _uncounted(explorer)
    assert len(found) == len(said)
    assert all(words in text for words, text in zip(said, found, strict=True))


def test_the_quota_of_spot_is_asked_for_tasks_on_spot() -> None:
    quotas = boto3.client("service-quotas", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    # Half a vCPU each; in a rollout there are twice as many, of which one is the base.
    asked = changed(production("asked"), {f"{SERVICE}.desiredCount": 4, f"{SERVICE}.capacity": {}}).settings
    with Stubber(quotas) as stub:
        for code, value in (("L-3032A538", 6.0), ("L-36FBB829", 3.0)):
            expected = {"ServiceCode": "fargate", "QuotaCode": code}
            stub.add_response("get_service_quota", {"Quota": {"Value": value}}, expected)
        with pytest.raises(
            Failed, match=r"^3 vCPU in all on Spot; a rollout of this stack takes 3\.5 beside what runs$"
        ):
            quota(quotas, asked)
        stub.add_response("get_service_quota", {"Quota": {"Value": 6.0}})
        told = quota(quotas, production("asked").settings)
    assert told == "6 vCPU in all on demand; a rollout of this stack takes 1.0"


def test_several_tasks_in_one_zone_are_a_fault_and_one_task_there_is_told() -> None:
    one, two = ([{"AvailabilityZone": f"us-east-1{letter}"} for letter in letters] for letters in ("aa", "ab"))
    single = production("asked").settings
    several = changed(production("asked"), {f"{SERVICE}.autoscaling": {"maximum": 2}}).settings
    assert zones(two, several) == "us-east-1a, us-east-1b"
    assert zones(one, single) == "us-east-1a: without it nothing runs"
    with pytest.raises(Failed, match="all are in us-east-1a, with which all tasks of google-workspace would be lost"):
        zones(one, several)


def test_an_idle_timeout_that_cuts_answers_while_they_stream_is_a_fault() -> None:
    assert "its idle timeout is 60 s" in idle_timeout({}, 60)
    assert "its idle timeout is 16 s" in idle_timeout({"idle_timeout.timeout_seconds": "16"}, 1)
    with pytest.raises(Failed, match="its idle timeout is 15 s"):
        idle_timeout({"idle_timeout.timeout_seconds": "15"}, 1)


def test_an_idle_timeout_below_the_longest_request_is_a_fault() -> None:
    with pytest.raises(Failed, match="its idle timeout is 60 s, and longestRequest is 61 s"):
        idle_timeout({}, 61)


@pytest.mark.parametrize("by_name", [False, True])
def test_subnets_are_found_however_each_is_named_and_in_the_stacks_vpc_alone(
    emulator: Emulator, unique: str, by_name: bool
) -> None:
    ec2 = emulator.client("ec2")
    ours, theirs = (ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"] for _ in range(2))
    ec2.create_tags(Resources=[ours], Tags=[{"Key": "Name", "Value": unique}])
    ids = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{number}.0/24")["Subnet"]["SubnetId"]
        for vpc in (ours, theirs)
        for number in range(4)
    ]
    ec2.create_tags(Resources=[ids[2], ids[6]], Tags=[{"Key": "Name", "Value": "tasks"}])
    named = {"estate.vpc": unique if by_name else ours, "estate.taskSubnets": [ids[0], "10.9.1.0/24", "tasks"]}
    found = _subnets(ec2, changed(production("asked"), named).settings)
    assert sorted(subnet["SubnetId"] for subnet in found) == sorted(ids[:3])
    for id_ in ids:
        ec2.delete_subnet(SubnetId=id_)
    for vpc in (ours, theirs):
        ec2.delete_vpc(VpcId=vpc)
