"""The verbs of `./ops`, against a rehearsal with real containers.

Long because all of them share one rehearsal, which takes a minute to make.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checks import Check
from checks.check import Failed
from components import settings as configuration
from engine.cli import INSTALL
from operations import probe, rights
from operations.comment import as_text
from operations.errors import OperationError
from operations.preflight import preflight
from operations.review import Part, alarms, image, markdown, policies
from operations.revisions import history, status
from operations.rollback import rollback
from operations.target import Target, kept, of_rehearsal
from operations.verify import heeded_alarms, verify
from policies.registrations import registrations
from rehearsal.docker import Engine
from rehearsal.kept import Kept
from rehearsal.run import Rehearsal, Stack
from tests import commands, deployment_alarm
from tests.asking import outcomes
from tests.conftest import ROOT
from tests.rehearsal.test_rollout import asked_all_the_time
from tests.stacks import SERVICE, changed, production

EDGE_READS_RULES = 2.0
"""Seconds after which the edge has surely read the listener's rules again."""
NAME = "busyb-google-workspace-mcp"


@dataclasses.dataclass
class Operated:
    """A rehearsal with three revisions: 1 healthy, 2 never, 3 healthy (but wrong, as the tests say)."""

    rehearsal: Rehearsal
    stack: Stack
    file: Path

    @property
    def target(self) -> Target:
        return of_rehearsal(self.stack.name, self.file, self.stack.settings, self.rehearsal.note())


@pytest.fixture(scope="module")
def operated(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    folder = tmp_path_factory.mktemp("operations")
    file = folder / "Pulumi.operated.yaml"
    file.write_text("# A comment that must stay.\n" + (ROOT / "Pulumi.production.yaml").read_text())
    crash = folder / "crash"
    crash.mkdir()
    (crash / "Dockerfile").write_text(
        'FROM python:3.12.13-slim-bookworm\nENTRYPOINT ["python3", "-c", "raise SystemExit(3)"]\n'
    )
    other = folder / "other"
    subprocess.run(["cp", "-r", str(ROOT / "image"), str(other)], check=True)
    (other / "Dockerfile").write_text((other / "Dockerfile").read_text() + "LABEL version.of.the.test=3\n")
    stack = production("operated")
    with Rehearsal(stack) as rehearsal:
        rehearsal.deploy()
        with pytest.raises(Exception, match="rolled the deployment back"):
            rehearsal.deploy(changed(stack, {f"{SERVICE}.image.context": str(crash)}))
        rehearsal.deploy(changed(stack, {f"{SERVICE}.image.context": str(other)}))
        yield Operated(rehearsal, stack, file)


@pytest.fixture(scope="module")
def service(operated: Operated) -> configuration.Service:
    return operated.stack.settings.services["google-workspace"]


def test_history_says_what_ran_and_what_was_ever_healthy(operated: Operated, service: configuration.Service) -> None:
    revisions = history(operated.target, service)
    assert [(entry.name, entry.healthy, entry.running) for entry in revisions] == [
        (f"{NAME}:3", True, True),
        (f"{NAME}:2", False, False),
        (f"{NAME}:1", True, False),
    ]
    assert all(entry.available and entry.tag and entry.registered for entry in revisions)


def test_status_names_image_source_deployment_and_the_reason_of_a_failure(
    operated: Operated, service: configuration.Service
) -> None:
    found = status(operated.target, service)
    assert found["running"] == f"{NAME}:3"
    assert found["tasks"] == "1 of 1"
    assert found["tag"] and "@sha256:" in found["image"]
    assert found["address"] == "https://api.busyb.ai/google-workspace"
    assert [entry["state"] for entry in found["deployments"] if entry["revision"] == f"{NAME}:2"] == ["FAILED"]
    assert found["failures"][0].startswith(f"{NAME}:2 ROLLBACK_SUCCESSFUL: ")
    assert any("exit code 3" in line for line in found["failures"])
    assert found["alarms"] == [{"name": "14 alarms", "state": "quiet"}]
    assert found["targets"][0]["state"] == "healthy"


def test_status_names_alarms_that_are_on_and_who_has_not_confirmed(
    operated: Operated, service: configuration.Service
) -> None:
    cloudwatch, sns = operated.target.client("cloudwatch"), operated.target.client("sns")
    cloudwatch.set_alarm_state(AlarmName=f"{NAME}-no-task", StateValue="ALARM", StateReason="test")
    topic = "arn:aws:sns:us-east-1:758888582357:critical-alerts"
    sns.subscribe(TopicArn=topic, Protocol="https", Endpoint="https://hooks.example.com/a-key-of-ours")
    found = status(operated.target, service)
    on = {alarm["name"] for alarm in found["alarms"] if alarm["state"] == "ALARM"}
    assert on == {f"{NAME}-no-task", f"{NAME}-users-affected"}
    waiting = {"topic": "critical-alerts", "endpoint": "https hooks.example.com"}
    assert found["unconfirmed"] == [waiting]
    cloudwatch.set_alarm_state(AlarmName=f"{NAME}-no-task", StateValue="OK", StateReason="test")


def test_verify_asks_the_account_and_the_public_address(operated: Operated, service: configuration.Service) -> None:
    found = verify(operated.target, service)
    assert [check.name for check in found if check.passed is False] == []
    names = {check.name for check in found if check.passed}
    assert {
        "every target is healthy",
        "the listener's rules are the wanted ones",
        "an alarm takes a deployment back",
        "the wanted revision runs",
        "health answers 200 from outside",
        "MCP without a token is refused and told where to sign in",
        "an MCP client finds the sign-in by itself",
    } <= names


def test_a_task_beside_the_service_says_how_its_container_ended_and_leaves_nothing(
    operated: Operated, service: configuration.Service
) -> None:
    subnets = [s["SubnetId"] for s in operated.target.client("ec2").describe_subnets()["Subnets"]]
    network = {"awsvpcConfiguration": {"subnets": subnets[:1], "assignPublicIp": "DISABLED"}}
    described = operated.target.described(service)
    ended = probe.run(operated.target, service, described, network, ["python3", "-c", "raise SystemExit(0)"])
    # The emulator does not know entryPoint, and the image's own refuses this as its arguments.
    assert (ended.code, ended.notes) == (2, ())
    left = operated.target.client("ecs").list_task_definitions(familyPrefix=f"{NAME}-verify", status="ACTIVE")
    assert left["taskDefinitionArns"] == []


def test_verify_sees_a_rule_that_somebody_changed(operated: Operated, service: configuration.Service) -> None:
    elb = operated.target.client("elbv2")
    listeners = [
        entry["ListenerArn"]
        for balancer in elb.describe_load_balancers()["LoadBalancers"]
        for entry in elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    ]
    (rule,) = [
        r for listener in listeners for r in elb.describe_rules(ListenerArn=listener)["Rules"] if r["Priority"] == "50"
    ]
    elb.modify_rule(RuleArn=rule["RuleArn"], ResetTransforms=True)
    time.sleep(EDGE_READS_RULES)
    failed = {check.name for check in verify(operated.target, service) if check.passed is False}
    assert {"the listener's rules are the wanted ones", "health answers 200 from outside"} <= failed
    elb.modify_rule(RuleArn=rule["RuleArn"], Transforms=rule["Transforms"])
    time.sleep(EDGE_READS_RULES)
    assert not [check for check in verify(operated.target, service) if check.passed is False]


def test_alarms_that_ecs_does_not_heed_or_that_are_gone_are_told(
    operated: Operated, service: configuration.Service
) -> None:
    ecs, cloudwatch = operated.target.client("ecs"), operated.target.client("cloudwatch")
    place: dict[str, Any] = {"cluster": "busyb-cluster", "service": f"{NAME}-service"}
    before = operated.target.described(service)["deploymentConfiguration"]["alarms"]
    names = ", ".join(f"{NAME}-{part}" for part in ("server-errors", "unhealthy-targets", "unreachable"))
    assert heeded_alarms(operated.target, service) == "server-errors, unhealthy-targets, unreachable"

    ecs.update_service(**place, deploymentConfiguration={"alarms": {**before, "enable": False}})
    with pytest.raises(Failed, match=f"ECS heeds none, not {names}"):
        heeded_alarms(operated.target, service)
    ecs.update_service(**place, deploymentConfiguration={"alarms": before})

    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[f"{NAME}-unhealthy-targets"])["MetricAlarms"]
    tags = cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
    cloudwatch.delete_alarms(AlarmNames=[f"{NAME}-unhealthy-targets"])
    with pytest.raises(Failed, match=f"there is no alarm {NAME}-unhealthy-targets"):
        heeded_alarms(operated.target, service)
    settable = cloudwatch.meta.service_model.operation_model("PutMetricAlarm").input_shape.members
    again = {name: value for name, value in alarm.items() if name in settable and value}
    cloudwatch.put_metric_alarm(**again, Tags=tags)


def test_review_is_one_page_with_what_to_do(operated: Operated, noted: str) -> None:
    done = ops("review", "--stack", noted, "--rehearsal")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"# Production readiness of {noted}: ready, as far as it was asked\n")
    assert re.findall(r"^## (.+)$", done.stdout, re.MULTILINE) == [
        "What a deployment needs",
        "Policies",
        "The running service",
        "Alarms and whom they tell",
        "Sign-in and tools",
        "The image",
        "Cost",
    ]
    rows = re.findall(r"^\| (.+) \| (passed|\*\*failed\*\*|not run) \| (.*) \|$", done.stdout, re.MULTILINE)
    assert len(rows) > 40
    assert [row for row in rows if row[1] == "not run" and not row[2]] == [], "why it was not run"


def test_review_names_alarms_that_tell_nobody_and_exceptions_that_end(operated: Operated) -> None:
    cloudwatch = operated.target.client("cloudwatch")
    cloudwatch.disable_alarm_actions(AlarmNames=[f"{NAME}-cpu"])
    tomorrow = (datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(days=1)).date()
    soon = [e.model_copy(update={"expires": tomorrow}) for e in operated.target.settings.policy_exceptions]
    settings = operated.target.settings.model_copy(update={"policy_exceptions": [*soon[:1], *soon]})
    target = dataclasses.replace(operated.target, settings=settings)
    registered = registrations(operated.stack.config)
    asked = [*policies(target, registered), *alarms(target, registered)]
    failed = {check.name: check for check in asked if check.passed is False}
    cloudwatch.enable_alarm_actions(AlarmNames=[f"{NAME}-cpu"])
    assert failed["every alarm is there, is on, and tells its topic"].detail == f"{NAME}-cpu is switched off"
    assert sum(name.startswith("exception ") for name in failed) == len(soon)
    page = markdown(target, [Part(title="t", checks=tuple(failed.values()))])
    assert "not ready" in page
    assert all(check.remedy and as_text(check.remedy) in page for check in failed.values())


@pytest.mark.parametrize(
    ("scan", "passed"),
    [
        ({"imageScanStatus": {"status": "IN_PROGRESS"}}, None),
        ({"imageScanStatus": {"status": "COMPLETE"}, "imageScanFindings": {}}, True),
        ({"imageScanStatus": {"status": "COMPLETE"}, "imageScanFindings": {"findingSeverityCounts": {"LOW": 3}}}, True),
        ({"imageScanStatus": {"status": "ACTIVE"}, "imageScanFindings": {"findingSeverityCounts": {"HIGH": 1}}}, False),
    ],
)
def test_review_fails_for_grave_findings_of_the_registrys_scan(
    operated: Operated, service: configuration.Service, scan: dict[str, Any], passed: bool | None
) -> None:
    class Scanning:  # The emulator does not scan.
        def __getattr__(self, name: str) -> Any:
            return getattr(operated.target.client("ecr"), name)

        def describe_image_scan_findings(self, **asked: Any) -> dict[str, Any]:
            assert asked["imageId"]["imageDigest"].startswith("sha256:")
            return scan

    def client(name: str) -> Any:
        return Scanning() if name == "ecr" else operated.target.client(name)

    target = dataclasses.replace(operated.target, client=client, connect_to=None, docker_host=None)
    young, clean = image(target, service)
    assert young.passed
    assert clean.passed is passed, clean.detail


def test_a_rollback_refuses_what_cannot_be_gone_back_to(operated: Operated, service: configuration.Service) -> None:
    with pytest.raises(OperationError, match=f"no revision {NAME}:9; there are {NAME}:3"):
        rollback(operated.target, service, "9")
    with pytest.raises(OperationError, match=f"{NAME}:2 was never healthy"):
        rollback(operated.target, service, f"{NAME}:2")
    assert "digest" not in operated.file.read_text()


def test_a_dry_run_says_where_it_would_go_and_changes_nothing(
    operated: Operated, service: configuration.Service
) -> None:
    plan = rollback(operated.target, service, dry_run=True)
    assert (plan.left, plan.to) == (f"{NAME}:3", f"{NAME}:1")
    assert "digest" not in operated.file.read_text()
    assert status(operated.target, service)["running"] == f"{NAME}:3"


def test_rollback_is_back_on_the_healthy_version_without_a_failed_request_and_stays(
    operated: Operated, service: configuration.Service
) -> None:
    def alarm_goes_off(text: str) -> None:
        """Late, for what the version that is left did: that one must not come back."""
        if "IN_PROGRESS" in text:
            deployment_alarm.set_alarm(operated.target.client, "ALARM")

    def watched() -> bool:
        return bool(operated.target.described(service)["deploymentConfiguration"]["alarms"]["enable"])

    assert watched()
    with asked_all_the_time(operated.rehearsal) as asked:
        done = rollback(operated.target, service, progress=alarm_goes_off)
    assert watched(), "the next deployment is taken back, if it must be"
    deployment_alarm.set_alarm(operated.target.client, "OK")
    assert outcomes(asked) == {200}, "a client that asks all the time sees nothing of it"
    assert len(asked) > 20
    assert (done.left, done.to) == (f"{NAME}:3", f"{NAME}:1")
    assert 0 < done.seconds < 300, "the figure to beat is five minutes"
    assert [check.name for check in done.checks if check.passed is False] == []

    text = operated.file.read_text()
    assert text.startswith("# A comment that must stay.\n")
    config = configuration.read_stack_file(operated.file)
    pinned = configuration.parse(config)
    assert pinned.services["google-workspace"].image.digest == done.image.partition("@")[2]
    assert dataclasses.replace(operated.stack, config=config, settings=pinned) != operated.stack

    # The next update must not bring the bad version back unasked, and the next rollback must not lead to it.
    deployed = operated.rehearsal.deploy(dataclasses.replace(operated.stack, config=config, settings=pinned))
    assert deployed.outputs["services"]["google-workspace"]["image"].partition("@")[2] == done.image.partition("@")[2]
    revisions = history(operated.target, service)
    assert [(e.name, e.rejected) for e in revisions if e.healthy] == [
        (f"{NAME}:4", False),
        (f"{NAME}:3", True),
        (f"{NAME}:1", False),
    ]
    assert rollback(operated.target, service, dry_run=True).to == f"{NAME}:1"


def test_a_revision_whose_image_is_gone_is_refused(operated: Operated, service: configuration.Service) -> None:
    wrong = next(entry for entry in history(operated.target, service) if entry.name == f"{NAME}:3")
    operated.target.client("ecr").batch_delete_image(repositoryName=NAME, imageIds=[{"imageDigest": wrong.digest}])
    with pytest.raises(OperationError, match="no longer in the registry"):
        rollback(operated.target, service, "3")


def test_preflight_is_clean_on_a_good_estate_and_says_what_else_a_shared_group_lets_in(operated: Operated) -> None:
    found = preflight(operated.target)
    assert [(check.name, check.detail) for check in found if check.passed is False] == []
    shared = next(check for check in found if check.name.startswith("security group busyb-ecs-sg"))
    assert "on 8000-8080" in shared.detail
    assert not any("rehearsal-value-of" in check.detail for check in found), "values of secrets are never told"


def test_preflight_names_all_of_five_faults_at_once(operated: Operated) -> None:
    faulty = changed(
        operated.stack,
        {
            "estate.taskSubnets": ["10.0.10.0/24", "10.0.99.0/24"],
            "estate.namespace": "busyb.internal",
            f"{SERVICE}.permissions.bucket": "busyb-no-such-bucket",
            "buckets": None,
            f"{SERVICE}.routing.priority": 1,
            f"{SERVICE}.secrets.GOOGLE_OAUTH_CLIENT_ID.key": "CLIENT_ID",
        },
    )
    target = dataclasses.replace(operated.target, settings=faulty.settings)
    failed = {check.name: check for check in preflight(target) if check.passed is False}
    assert {
        "subnet 10.0.99.0/24",
        "private namespace busyb.internal",
        "bucket busyb-no-such-bucket",
        "listener priority 1 for google-workspace",
        "secret busyb/google-oauth-client-id has CLIENT_ID",
    } <= failed.keys()
    assert all(check.remedy for check in failed.values())
    assert "GOOGLE_OAUTH_CLIENT_ID" in failed["secret busyb/google-oauth-client-id has CLIENT_ID"].detail


def test_preflight_points_out_a_changed_address_to_people_who_are_signed_in(operated: Operated) -> None:
    def asked(**changes: Any) -> Check:
        stack = changed(operated.stack, {f"{SERVICE}.routing": moved, **changes})
        found = preflight(dataclasses.replace(operated.target, settings=stack.settings))
        (check,) = [check for check in found if check.detail.startswith(("it changes", "the issuer of"))]
        return check

    moved = {"strategy": "host", "host": "mcp.busyb.ai", "priority": 50}
    change = "it changes from https://api.busyb.ai/google-workspace to https://mcp.busyb.ai"
    check = asked()
    assert (check.name, check.passed) == ("the issuer of google-workspace", False)
    assert check.detail.startswith(f"{change}: every client registers anew, every person signs in again")
    assert "rule mcp-issuer-keep, resource google-workspace" in check.remedy

    exception = {"rule": "mcp-issuer-keep", "resource": "google-workspace", "owner": "team"}
    exception |= {"reason": "Everybody was told", "expires": "2099-12-31"}
    check = asked(policyExceptions=[exception])
    assert check.passed is None
    assert check.detail.startswith(f"the issuer of google-workspace: {change}: every client registers anew")
    assert check.detail.endswith("allowed: Everybody was told (team, until 2099-12-31)")
    assert asked(policyExceptions=[{**exception, "expires": "2026-01-01"}]).passed is False
    assert asked(policyExceptions=[{**exception, "resource": "another"}]).passed is False


def test_preflight_asks_whether_the_security_groups_let_tasks_out(operated: Operated) -> None:
    ec2 = operated.target.client("ec2")
    vpc = operated.stack.settings.estate.vpc
    group = ec2.create_security_group(GroupName="closed", Description="nothing outward", VpcId=vpc)["GroupId"]
    everything = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissionsEgress"]

    def asked() -> Check:
        closed = changed(operated.stack, {f"{SERVICE}.securityGroups": ["closed"]})
        found = preflight(dataclasses.replace(operated.target, settings=closed.settings))
        name = "the security groups of google-workspace let its tasks out to HTTPS"
        return next(check for check in found if check.name == name)

    assert asked().passed
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=everything)
    assert asked().passed is False
    rule = {"IpProtocol": "tcp", "FromPort": 3128, "ToPort": 3128, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[rule])
    assert asked().passed is None
    https = {**rule, "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[https])
    assert asked().detail == "closed does"


def test_preflight_points_out_that_no_web_acl_stands_before_registration(operated: Operated) -> None:
    def asked() -> Check:
        (check,) = [c for c in preflight(operated.target) if c.name == "a web ACL stands before /register of " + key]
        return check

    key = "google-workspace"
    check = asked()
    assert check.passed is None, "a finding, and no fault: the load balancer is others' as well"
    assert check.detail.startswith("none, and busyb-alb faces the internet: whoever floods it meets only the limit")
    elb, waf = operated.target.client("elbv2"), operated.target.client("wafv2")
    (balancer,) = elb.describe_load_balancers(Names=["busyb-alb"])["LoadBalancers"]
    seen = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "flood"}
    acl = waf.create_web_acl(Name="flood", Scope="REGIONAL", DefaultAction={"Allow": {}}, VisibilityConfig=seen)
    try:
        waf.associate_web_acl(WebACLArn=acl["Summary"]["ARN"], ResourceArn=balancer["LoadBalancerArn"])
        check = asked()
        assert (check.passed, check.detail) == (True, "flood, at busyb-alb")
    finally:
        waf.disassociate_web_acl(ResourceArn=balancer["LoadBalancerArn"])


def test_preflight_tells_what_a_shared_host_cannot_give(operated: Operated) -> None:
    (check,) = [c for c in preflight(operated.target) if c.name.startswith("clients that ask at the root of the host")]
    assert check.passed is None
    assert "https://api.busyb.ai/.well-known/oauth-authorization-server belongs to" in check.detail
    own = changed(operated.stack, {f"{SERVICE}.routing": {"host": "mcp.busyb.ai", "priority": 50}})
    found = preflight(dataclasses.replace(operated.target, settings=own.settings))
    assert not any(check.name.startswith("clients that ask at the root") for check in found)


def role(target: Target, name: str, allowed: rights.Rights) -> str:
    """Make a role that may do just `allowed`; its ARN."""
    iam = target.client("iam")
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    statements = [{"Effect": "Allow", "Action": a, "Resource": r} for r, a in allowed.items()]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_role_policy(RoleName=name, PolicyName="rights", PolicyDocument=document)
    return arn


@pytest.mark.parametrize("missing", [None, "secretsmanager:GetSecretValue", "ecr:BatchGetImage", "logs:PutLogEvents"])
def test_preflight_names_the_right_that_an_execution_role_lacks(operated: Operated, missing: str | None) -> None:
    name = f"execution-{(missing or 'narrow').partition(':')[0]}"
    faulty = changed(operated.stack, {f"{SERVICE}.executionRole": name})
    target = dataclasses.replace(operated.target, settings=faulty.settings)
    wanted = rights.of_execution_role(target, faulty.settings.services["google-workspace"])
    kept_rights = {resource: tuple(a for a in actions if a != missing) for resource, actions in wanted.items()}
    role(target, name, {resource: actions for resource, actions in kept_rights.items() if actions})
    (check,) = [c for c in preflight(target) if c.name == f"execution role {name} can start the tasks"]
    assert check.passed is (missing is None), check.detail
    assert missing is None or f"{missing} on arn:" in check.detail


def test_a_deployer_with_no_right_to_spare_is_told_from_one_who_may_not_pass_a_role(
    operated: Operated, service: configuration.Service
) -> None:
    wanted = rights.of_deployer(operated.target, service)
    assert rights.lacking(operated.target, role(operated.target, "deployer", wanted), wanted) == ([], [])
    less = {resource: tuple(a for a in actions if a != "iam:PassRole") for resource, actions in wanted.items()}
    denied, _ = rights.lacking(operated.target, role(operated.target, "no-pass-role", less), wanted)
    assert denied == [
        f"iam:PassRole on arn:aws:iam::758888582357:role/{NAME}-{kind}-role" for kind in ("task", "execution")
    ]


def test_preflight_tells_of_the_shared_estate_without_failing(operated: Operated) -> None:
    (check,) = [c for c in preflight(operated.target) if c.name == "the shared estate, for information"]
    assert check.passed
    assert "busyb-alb: no access logs (ELB.5)" in check.detail


@pytest.mark.parametrize(("network", "admitted"), [(None, False), ("10.0.10.0/24", False), ("10.0.0.0/16", True)])
def test_preflight_sees_whether_a_named_group_admits_the_load_balancer(
    operated: Operated, unique: str, network: str | None, admitted: bool
) -> None:
    ec2 = operated.target.client("ec2")
    group = ec2.create_security_group(GroupName=unique, Description=unique, VpcId="vpc-0111b7630bcb61b61")["GroupId"]
    if network:
        rule = {"IpProtocol": "tcp", "FromPort": 8000, "ToPort": 8000, "IpRanges": [{"CidrIp": network}]}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    other = changed(operated.stack, {f"{SERVICE}.securityGroups": [unique]})
    found = preflight(dataclasses.replace(operated.target, settings=other.settings))
    (check,) = [c for c in found if c.name == f"security group {unique} admits the load balancer on port 8000"]
    assert check.passed is admitted, check.detail


@pytest.fixture
def noted(operated: Operated, tmp_path: Path) -> Iterator[str]:
    """The rehearsal's stack, as a file of the project and a kept rehearsal, for the command itself."""
    name = f"operated-{os.getpid()}"
    file = ROOT / f"Pulumi.{name}.yaml"
    file.write_text((ROOT / "Pulumi.production.yaml").read_text())
    note, state = operated.rehearsal.note(), tmp_path / "state.json"
    state.write_text(Path(note.state).read_text().replace(f":{operated.stack.name}::", f":{name}::"))
    dataclasses.replace(note, state=str(state)).write(name)
    yield name
    file.unlink()
    shutil.rmtree(Kept.folder(name))


def ops(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return commands.ops(*arguments, environment={**os.environ, **environment})


@pytest.fixture
def logged_in(operated: Operated) -> dict[str, str]:
    """Environment of a shell that is logged in to the emulated account, as to a real one; without the Pulumi CLI."""
    return {
        "AWS_ENDPOINT_URL": operated.rehearsal.account.endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "NO_PROXY": "127.0.0.1",
        "PATH": "/usr/bin:/bin",
        "XDG_CACHE_HOME": os.devnull,  # Where a CLI may have been made.
    }


@pytest.mark.parametrize("verb", ["preflight", "verify", "status", "history", "logs"])
def test_each_verb_speaks_to_people_and_to_machines(noted: str, verb: str) -> None:
    people = ops(verb, "--stack", noted, "--rehearsal")
    assert people.returncode == 0, people.stdout + people.stderr
    assert people.stdout.strip()
    machines = ops(verb, "--stack", noted, "--rehearsal", "--json")
    document: Any = json.loads(machines.stdout)
    assert document


@pytest.mark.parametrize("verb", ["status", "history", "logs"])
def test_a_verb_takes_the_account_that_the_shell_is_logged_in_to(
    noted: str, logged_in: dict[str, str], verb: str
) -> None:
    done = ops(verb, "--stack", noted, **logged_in)
    assert done.returncode == 0, done.stdout + done.stderr


def test_review_asks_an_account_and_says_what_it_could_not(noted: str, logged_in: dict[str, str]) -> None:
    done = ops("review", "--stack", noted, **logged_in)
    assert done.returncode == 1, "nobody hears of the topics, and on an account that is a fault"
    assert "- [ ] somebody hears of critical-alerts: confirmed: none" in done.stdout
    assert "| The running service | not run | The stack's outputs are read with the Pulumi CLI" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_shell_that_is_logged_in_elsewhere_or_nowhere_is_refused(noted: str, logged_in: dict[str, str]) -> None:
    nowhere = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    done = ops("status", "--stack", noted, **{**logged_in, **nowhere})
    assert (done.returncode, "aws sso login" in done.stderr) == (3, True), done.stderr
    file = ROOT / f"Pulumi.{noted}.yaml"
    file.write_text(file.read_text().replace('["758888582357"]', '["123456789012"]'))
    done = ops("rollback", "--stack", noted, **logged_in)
    assert done.returncode == 3
    assert "logged in to account 758888582357, but stack" in done.stderr


def test_verify_says_that_it_needs_the_pulumi_cli_and_rollback_does_without(
    noted: str, logged_in: dict[str, str]
) -> None:
    done = ops("verify", "--stack", noted, **logged_in)
    assert done.returncode == 3
    assert INSTALL in done.stderr
    plan = ops("rollback", "1", "--dry-run", "--stack", noted, **logged_in)
    assert plan.returncode == 0, plan.stderr


def test_exec_runs_in_the_task_and_gives_its_exit_status(noted: str) -> None:
    done = ops("exec", "--stack", noted, "--rehearsal", "--", "python3", "-c", "import os; print(os.getuid()); exit(7)")
    assert (done.stdout.strip(), done.returncode) == ("10001", 7)


def test_policies_are_listed_and_held_without_a_cloud(noted: str) -> None:
    assert "ecr-repository-scan-on-push" in ops("policies", "--list", "--json").stdout
    done = ops("policies", "--stack", noted)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 violations" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["status", "--stack", "nowhere", "--rehearsal"], 2, "No rehearsal of nowhere is kept"),
        (["status", "--stack", "nowhere"], 2, "Pulumi.nowhere.yaml"),
        (["dance"], 2, "There is no verb dance. All verbs: ./ops"),
        (["exec", "--stack", "nowhere", "--rehearsal", "--", "ls", "-l"], 2, "No rehearsal of nowhere is kept"),
    ],
)
def test_what_does_not_exist_is_told_without_a_traceback(arguments: list[str], code: int, text: str) -> None:
    done = ops(*arguments)
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_service_is_told_with_those_there_are(noted: str) -> None:
    done = ops("history", "--stack", noted, "--rehearsal", "--service", "mail")
    assert done.returncode == 2
    assert "it has google-workspace" in done.stderr


def test_a_kept_rehearsal_is_found_again(noted: str) -> None:
    target = kept(noted)
    assert target.rehearsed
    assert target.outputs["cluster"] == "busyb-cluster"


@pytest.mark.parametrize(
    "arguments",
    [
        ["logs", "--since", "yesterday"],
        ["logs", "--since", "999999d"],
        ["logs", "--since", "9999999999999d"],
        ["logs", "--follow", "--json"],
    ],
)
def test_logs_refuses_what_it_cannot_do(noted: str, arguments: list[str]) -> None:
    done = ops(*arguments, "--stack", noted, "--rehearsal")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_failure_is_a_document_for_machines_too(noted: str) -> None:
    done = ops("rollback", "99", "--stack", noted, "--rehearsal", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"].startswith(f"There is no revision {NAME}:99; there are {NAME}:4")


def test_a_kept_rehearsal_that_is_gone_is_told_with_the_way_to_another(noted: str) -> None:
    note = Kept.read(noted)
    assert note
    dataclasses.replace(note, emulator={**note.emulator, "endpoint": "http://127.0.0.1:9"}).write(noted)
    done = ops("status", "--stack", noted, "--rehearsal")
    assert done.returncode == 3
    assert f"./rehearse {noted} --stop" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_service_that_was_never_deployed_is_told_as_such(operated: Operated) -> None:
    other = changed(operated.stack, {f"{SERVICE}.name": "busyb-never-deployed"})
    target = dataclasses.replace(operated.target, settings=other.settings)
    with pytest.raises(OperationError, match="no service busyb-never-deployed-service in cluster busyb-cluster"):
        status(target, target.service(None))
    other = changed(operated.stack, {"estate.cluster": "no-such-cluster"})
    target = dataclasses.replace(operated.target, settings=other.settings)
    with pytest.raises(OperationError, match="There is no cluster no-such-cluster"):
        status(target, target.service(None))


def test_a_second_rollback_waits_for_the_first(operated: Operated, service: configuration.Service) -> None:
    ecs, name = operated.target.client("ecs"), f"{NAME}-service"
    ecs.update_service(cluster="busyb-cluster", service=name, taskDefinition=f"{NAME}:1")
    with pytest.raises(OperationError, match=f"still going to {NAME}:1"):
        rollback(operated.target, service)


def test_the_command_goes_back_and_says_how_long_it_took(noted: str, operated: Operated) -> None:
    plan = ops("rollback", "4", "--stack", noted, "--rehearsal", "--dry-run")
    assert f"Would go back from {NAME}:1 to {NAME}:4" in plan.stdout, plan.stdout + plan.stderr
    people = ops("rollback", "4", "--stack", noted, "--rehearsal")
    assert people.returncode == 0, people.stdout + people.stderr
    assert re.search(rf"{NAME}-service is back on {NAME}:4 \(from {NAME}:1\) after \d+\.\d s", people.stdout)
    assert "image.digest" in people.stdout
    machines = ops("rollback", "1", "--stack", noted, "--rehearsal", "--json")
    done = json.loads(machines.stdout)["rollback"]
    assert (machines.returncode, done["left"], done["to"]) == (0, f"{NAME}:4", f"{NAME}:1")
    config = configuration.read_stack_file(ROOT / f"Pulumi.{noted}.yaml")
    pinned = configuration.parse(config).services["google-workspace"].image.digest
    assert pinned == done["image"].partition("@")[2]


def test_a_rollback_whose_file_cannot_be_changed_still_goes_back(
    operated: Operated, service: configuration.Service, tmp_path: Path
) -> None:
    target = dataclasses.replace(operated.target, file=tmp_path / "Pulumi.missing.yaml")
    done = rollback(target, service, "4")
    assert status(target, service)["running"] == f"{NAME}:4"
    assert [check.name for check in done.checks if check.passed is False] == ["Pulumi.missing.yaml keeps its image"]
    (failed,) = [check for check in done.checks if check.passed is False]
    assert f"image.digest {done.image.partition('@')[2]}" in failed.remedy
