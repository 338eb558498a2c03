"""The verbs of `./ops`, against a rehearsal with real containers."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components import settings as configuration
from operations.preflight import preflight
from operations.revisions import history, status
from operations.rollback import rollback
from operations.target import OperationError, Target, kept, of_rehearsal
from operations.verify import verify
from rehearsal.docker import Engine
from rehearsal.run import Kept, Rehearsal, Stack
from tests.conftest import ROOT
from tests.rehearsal.test_rollout import asked_all_the_time
from tests.stacks import SERVICE, changed, production

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
    assert any("exit code 3" in line for line in found["failures"])


def test_verify_asks_the_account_and_the_public_address(operated: Operated, service: configuration.Service) -> None:
    found = verify(operated.target, service)
    assert [check.name for check in found if check.passed is False] == []
    names = {check.name for check in found if check.passed}
    assert {
        "every target is healthy",
        "the listener's rules are the wanted ones",
        "the wanted revision runs",
        "health answers 200 from outside",
        "MCP without a token is refused and told where to sign in",
        "an MCP client finds the sign-in by itself",
    } <= names


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
    failed = {check.name for check in verify(operated.target, service) if check.passed is False}
    assert {"the listener's rules are the wanted ones", "health answers 200 from outside"} <= failed
    elb.modify_rule(RuleArn=rule["RuleArn"], Transforms=rule["Transforms"])
    assert not [check for check in verify(operated.target, service) if check.passed is False]


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
    with asked_all_the_time(operated.rehearsal) as statuses:
        done = rollback(operated.target, service)
    assert set(statuses) == {200}, "a client that asks all the time sees nothing of it"
    assert len(statuses) > 20
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


@pytest.fixture
def noted(operated: Operated) -> Iterator[str]:
    """The rehearsal's stack, as a file of the project and a kept rehearsal, for the command itself."""
    name = f"operated-{os.getpid()}"
    file = ROOT / f"Pulumi.{name}.yaml"
    file.write_text((ROOT / "Pulumi.production.yaml").read_text())
    operated.rehearsal.note().write(name)
    yield name
    file.unlink()
    Kept.file(name).unlink()


def ops(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "operations", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("verb", ["preflight", "verify", "status", "history", "logs"])
def test_each_verb_speaks_to_people_and_to_machines(noted: str, verb: str) -> None:
    people = ops(verb, "--stack", noted, "--rehearsal")
    assert people.returncode == 0, people.stdout + people.stderr
    assert people.stdout.strip()
    machines = ops(verb, "--stack", noted, "--rehearsal", "--json")
    document: Any = json.loads(machines.stdout)
    assert document


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
        (["dance"], 2, "invalid choice"),
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
