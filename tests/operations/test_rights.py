"""`./ops rights`: what the pipeline's roles may do, and whether it is enough for calls that were recorded."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from operations.errors import OperationError
from operations.rights import calls, coverage
from tests import commands
from tests.components.roles import NAME, recorded, roles, stack
from tests.stacks import in_a_file, production


def line(phase: str, service: str, operation: str, **parameters: Any) -> str:
    return json.dumps({"phase": phase, "service": service, "operation": operation, "parameters": parameters})


def ops(*arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.ops("rights", *arguments)


def written(directory: Path, *lines: str) -> Path:
    file = directory / "calls.jsonl"
    file.write_text("\n".join(lines))
    return file


def test_each_refused_call_is_told_with_role_action_resource_and_remedy(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        line("preview", "sts", "GetCallerIdentity"),
        line("refresh", "ecs", "DescribeServiceRevisions", serviceRevisionArns=["arn:x"]),
        line("up", "ecr", "PutRegistryPolicy"),
        line("up", "cloudwatch", "DeleteDashboards", **{"DashboardNames.member.1": "Other"}),
        line(
            "up",
            "iam",
            "CreatePolicyVersion",
            PolicyArn="arn:aws:iam::758888582357:policy/busyb-production-mcp-deploy-1",
        ),
    )
    with in_a_file(stack("production")) as name:
        done = ops("--stack", name, "--calls", str(file))
        machines = json.loads(ops("--stack", name, "--calls", str(file), "--json").stdout)
    assert done.returncode == 1, done.stderr
    dashboard = "arn:aws:cloudwatch::758888582357:dashboard/Other"
    assert f"the deploy role is refused cloudwatch:DeleteDashboards on {dashboard}" in done.stdout
    assert "do: Dashboards in components/delivery/rights has the action on other resources" in done.stdout
    assert "the preview role is refused ecs:DescribeServiceRevisions" in done.stdout
    assert "5 different calls: 4 requests refused" in done.stdout
    assert {(r["role"], r["action"]) for r in machines["refused"]} == {
        ("deploy", "ecs:DescribeServiceRevisions"),
        ("preview", "ecs:DescribeServiceRevisions"),
        ("deploy", "ecr:PutRegistryPolicy"),
        ("deploy", "cloudwatch:DeleteDashboards"),
    }


def test_a_recording_that_the_roles_allow_ends_with_0(tmp_path: Path) -> None:
    file = written(tmp_path, *(json.dumps(dataclasses.asdict(call)) for call in recorded("production")))
    with in_a_file(stack("production")) as name:
        done = ops("--stack", name, "--calls", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 requests refused" in done.stdout


def test_without_a_recording_it_lists_what_the_roles_may_do() -> None:
    with in_a_file(stack("production")) as name:
        found = json.loads(ops("--stack", name, "--json").stdout)["roles"]
        told = ops("--stack", name).stdout
    assert "deploy: Cluster\n    may  ecs:DescribeClusters\n    on   arn:aws:ecs:" in told
    assert found.keys() == {"deploy", "preview"}
    assert {"Services", "Pipeline"} <= {statement["Sid"] for statement in found["deploy"]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "line 1"),
        ('\n[]\n{"phase": "up"}', "line 2, 3"),
        (line("up", "ecs", "X").replace('"up"', "1"), "line 1"),
        ("", "it is empty"),
    ],
)
def test_what_is_no_recording_is_refused_with_the_lines_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(OperationError) as error:
        calls.read(file)
    assert error.value.status == 2
    assert told in str(error.value) and str(file) in str(error.value)


def test_a_file_that_is_not_there_and_a_stack_without_a_pipeline_are_told(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="cannot be read"):
        calls.read(tmp_path / "none.jsonl")
    with pytest.raises(OperationError, match="Configure delivery"):
        coverage.roles_of(production("rights").config)


def test_calls_are_read_from_whatever_form_they_went_over_the_wire_in() -> None:
    tagged = {
        "Tags.member.2.Key": "B",
        "Tags.member.2.Value": "2",
        "Tags.member.1.Key": "A",
        "Tags.member.1.Value": "1",
    }
    rule = calls.normal("up", "elasticloadbalancing", "CreateRule", {"ListenerArn": "arn", **tagged})
    assert rule.parameters == {"ListenerArn": "arn", "Tags": [{"Key": "A", "Value": "1"}, {"Key": "B", "Value": "2"}]}
    group = calls.normal("up", "ec2", "CreateTags", {"ResourceId.1": "sg-1", "Tag.1.Key": "A"})
    assert group.parameters == {"ResourceId": ["sg-1"], "Tag": [{"Key": "A"}]}
    policy = calls.normal("refresh", "s3", "GET /bucket?policy=", {})
    assert (policy.operation, policy.parameters) == ("GetBucketPolicy", {"Bucket": "bucket"})
    record = calls.normal("up", "route53", "POST /2013-04-01/hostedzone/Z1/rrset", {})
    assert (record.operation, record.parameters) == ("ChangeResourceRecordSets", {"HostedZoneId": "Z1"})


@pytest.mark.parametrize(
    "call",
    [
        calls.Call("up", "ecs", "DescribeServices", {"cluster": "busyb-cluster"}),
        calls.Call("up", "ecs", "DescribeClusters", {}),
        calls.Call("up", "ecr", "DescribeRepositories", {}),
        calls.Call("up", "servicediscovery", "CreateService", {"Name": "google-workspace"}),
        calls.Call("up", "kms", "CreateKey", {}),
        calls.Call("up", "budgets", "CreateBudget", {"AccountId": "758888582357"}),
    ],
    ids=lambda call: call.operation,
)
def test_what_a_recorder_left_out_is_what_the_program_declares(call: calls.Call) -> None:
    assert coverage.asked(roles("production"), call)
    assert list(coverage.refusals(roles("production"), [call])) == []


def test_a_change_of_a_role_is_an_administrators_and_reading_it_is_not() -> None:
    own, other = {"RoleName": "busyb-production-mcp-deploy"}, {"RoleName": f"{NAME}-task-role"}
    changes = [calls.Call("up", "iam", "UpdateAssumeRolePolicy", of) for of in (own, other)]
    assert [coverage.administrators(roles("production"), call) for call in changes] == [True, False]
    assert not coverage.administrators(roles("production"), calls.Call("refresh", "iam", "GetRole", own))


def test_a_call_without_what_its_rights_depend_on_is_told_and_no_traceback() -> None:
    lacking = [
        calls.Call("up", "s3", "PutBucketPolicy", {}),
        calls.Call("up", "sns", "CreateTopic", {}),
        calls.Call("up", "logs", "CreateLogGroup", {}),
    ]
    found = list(coverage.refusals(roles("production"), lacking))
    assert [refusal.action for refusal in found] == ["s3:PutBucketPolicy", "sns:CreateTopic", "logs:CreateLogGroup"]
    assert all("recorded without" in refusal.remedy for refusal in found)
