"""Every entry of docs/runbook.md: the thing is broken, its commands are run, and what they print is compared."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from engine.deployment import DeploymentFailed
from operations.target import Target, kept
from rehearsal.docker import Engine
from rehearsal.run import Rehearsal, Stack
from tests import deployment_alarm
from tests.commands import run
from tests.conftest import ROOT
from tests.stacks import SERVICE, changed, noted

NAME = "busyb-google-workspace-mcp"
CLUSTER = "busyb-cluster"
BASE = "FROM python:3.12.13-slim-bookworm\n"


@dataclass(frozen=True)
class Step:
    """A command of the runbook and what it must print, line by line; `…` stands for anything."""

    command: str
    printed: tuple[str, ...]


def entries() -> dict[str, list[Step]]:
    """Title -> steps, in the order of the runbook."""
    found = {}
    for section in (ROOT / "docs" / "runbook.md").read_text().split("\n## ")[1:]:
        steps = []
        for block in re.findall(r"```console\n(.*?)```", section, re.DOTALL):
            for part in block.split("$ ")[1:]:
                command, *printed = part.strip("\n").split("\n")
                steps.append(Step(command, tuple(printed)))
        found[section.partition("\n")[0]] = steps
    return found


@dataclass
class OnCall:
    """A kept rehearsal of a stack with a file of its own, and the commands of the runbook on it."""

    rehearsal: Rehearsal
    name: str
    folder: Path
    mend: Callable[[], object] | None = None
    """What an entry tells a person to do by hand, after its first command."""
    revision: str = ""
    """What REVISION in a command stands for, as a person would choose it."""
    afterwards: ExitStack = field(default_factory=ExitStack)
    """What the test of an entry puts back."""

    @property
    def stack(self) -> Stack:
        return Stack.read(self.name)

    @functools.cached_property
    def target(self) -> Target:
        """The rehearsal, to be looked at; what its file says may be another since."""
        return kept(self.name)

    def run(self, command: str) -> str:
        """What a command of the runbook prints, standard error included."""
        words = command.replace("--stack production", f"--stack {self.name}").replace("REVISION", self.revision).split()
        if words[0] == "./ops":
            printed = run("operations", *words[1:], "--rehearsal", together=True).stdout
            assert "Traceback (most recent call last)" not in printed.partition("failures ")[0]
            return printed
        assert command == "pulumi up --refresh --stack production", f"the test cannot run {command!r}"
        self.rehearsal.deploy(self.stack)
        self.rehearsal.note().write(self.name)
        return ""

    def deploy(self, dockerfile: str, *, fails: bool = False) -> None:
        """Deploy the stack with another image."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "Dockerfile").write_text(dockerfile)
        stack = changed(self.stack, {f"{SERVICE}.image.context": str(self.folder)})
        if not fails:
            self.rehearsal.deploy(stack)
            return
        with pytest.raises(DeploymentFailed):
            self.rehearsal.deploy(stack)


@pytest.fixture(scope="module")
def on_call(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnCall]:
    with noted("runbook") as (rehearsal, name):
        yield OnCall(rehearsal, name, tmp_path_factory.mktemp("runbook") / "image")


def another_version(on_call: OnCall) -> None:
    file = ROOT / f"Pulumi.{on_call.name}.yaml"
    on_call.afterwards.callback(file.write_text, file.read_text())  # The rollback sets the image in it.
    subprocess.run(["cp", "-rT", str(ROOT / "image"), str(on_call.folder)], check=True)
    on_call.deploy((ROOT / "image" / "Dockerfile").read_text() + "LABEL version.of.the.test=2\n")


def back_by_hand_to_the_same_image(on_call: OnCall) -> None:
    before = running(on_call)
    on_call.revision = before["taskDefinitionArn"].rpartition(":")[2]
    another_version(on_call)
    by_hand(on_call, running(on_call))


def scaled_to(count: int) -> Callable[[OnCall], None]:
    def scale(on_call: OnCall) -> None:
        ecs = on_call.target.client("ecs")
        ecs.update_service(cluster=CLUSTER, service=f"{NAME}-service", desiredCount=count)
        wait(lambda: len(states(on_call)) == count)

    return scale


def rule_without_rewrite(on_call: OnCall) -> None:
    elb = on_call.target.client("elbv2")
    (balancer,) = elb.describe_load_balancers(Names=["busyb-alb"])["LoadBalancers"]
    listeners = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    rules = [r for entry in listeners for r in elb.describe_rules(ListenerArn=entry["ListenerArn"])["Rules"]]
    (rule,) = (rule for rule in rules if rule["Priority"] == "50")
    elb.modify_rule(RuleArn=rule["RuleArn"], ResetTransforms=True)


def without_its_table(on_call: OnCall) -> None:
    file = ROOT / f"Pulumi.{on_call.name}.yaml"
    before = file.read_text()
    on_call.afterwards.callback(on_call.run, "pulumi up --refresh --stack production")
    on_call.afterwards.callback(file.write_text, before)
    raw = yaml.safe_load(before)
    service = raw["config"]["mcp-on-ecs:services"]["google-workspace"]
    service["oauth"]["state"] = {"backend": "dynamodb", "deletionProtection": False}
    file.write_text(yaml.safe_dump(raw))
    on_call.run("pulumi up --refresh --stack production")
    on_call.target.client("dynamodb").delete_table(TableName=f"{NAME}-oauth-state")
    address = on_call.rehearsal.edge
    assert address
    with httpx2.Client(trust_env=False, headers={"Host": "api.busyb.ai"}) as client:
        asked = f"{address.url}/google-workspace/register"
        body = {"redirect_uris": ["http://localhost:3000/cb"], "token_endpoint_auth_method": "none"}
        wait(lambda: client.post(asked, json=body, timeout=10).status_code == 503)
    wait(lambda: "ResourceNotFoundException" in on_call.run("./ops logs --since 1h --stack production"))


def secret_under_another_key(on_call: OnCall) -> None:
    secrets, wanted = on_call.target.client("secretsmanager"), "busyb/google-oauth-client-id"
    before = secrets.get_secret_value(SecretId=wanted)["SecretString"]
    secrets.put_secret_value(SecretId=wanted, SecretString=json.dumps({"CLIENT_ID": "x"}))
    on_call.mend = lambda: secrets.put_secret_value(SecretId=wanted, SecretString=before)


def a_late_return_from_google(on_call: OnCall) -> None:
    address = on_call.rehearsal.edge
    assert address
    with httpx2.Client(trust_env=False, headers={"Host": "api.busyb.ai"}) as client:
        answer = client.get(f"{address.url}/google-workspace/oauth2callback?code=x&state=gone", timeout=10)
    assert answer.status_code == 400
    wait(lambda: "IdP callback" in on_call.run("./ops logs --since 1h --stack production"))
    # The line is an error since the last deployment; after another one it is not.
    on_call.afterwards.callback(on_call.run, "./ops restart --stack production")


def a_client_that_is_not_named(on_call: OnCall) -> None:
    address = on_call.rehearsal.edge
    assert address
    body = {"client_name": "Acme Agent", "redirect_uris": ["acme://login/callback"]}
    with httpx2.Client(trust_env=False, headers={"Host": "api.busyb.ai"}) as client:
        answer = client.post(f"{address.url}/google-workspace/register", json=body, timeout=10)
    assert answer.status_code == 400
    wait(lambda: "Acme Agent" in on_call.run("./ops logs --since 1h --stack production"))


def another_health_path(on_call: OnCall) -> None:
    elb = on_call.target.client("elbv2")
    (group,) = elb.describe_target_groups(Names=[f"{NAME}-tg"])["TargetGroups"]
    elb.modify_target_group(TargetGroupArn=group["TargetGroupArn"], HealthCheckPath="/google-workspace/health")
    wait(lambda: states(on_call) == ["unhealthy"])


def running(on_call: OnCall) -> dict[str, Any]:
    """The task definition that runs."""
    name = on_call.target.described(on_call.target.service(None))["taskDefinition"]
    found: dict[str, Any] = on_call.target.client("ecs").describe_task_definition(taskDefinition=name)["taskDefinition"]
    return found


def by_hand(on_call: OnCall, definition: dict[str, Any]) -> str:
    """Register it without the program, and have the service run it; its ARN."""
    ecs = on_call.target.client("ecs")
    parts = ("family", "containerDefinitions", "taskRoleArn", "executionRoleArn", "networkMode", "cpu", "memory")
    made = ecs.register_task_definition(**{part: definition[part] for part in parts})["taskDefinition"]
    arn: str = made["taskDefinitionArn"]
    ecs.update_service(cluster=CLUSTER, service=f"{NAME}-service", taskDefinition=arn)
    return arn


def secrets_whole(on_call: OnCall) -> None:
    """As the documented incident was: not one key of each."""
    definition = running(on_call)
    for secret in definition["containerDefinitions"][0]["secrets"]:
        secret["valueFrom"] = ":".join(secret["valueFrom"].split(":")[:7])
    made = by_hand(on_call, definition)
    wait(lambda: rollout_state(on_call, made) == "COMPLETED")


def variables_under_other_names(on_call: OnCall) -> None:
    definition = running(on_call)
    for secret in definition["containerDefinitions"][0]["secrets"]:
        secret["name"] = f"MCP_{secret['name']}"
    made = by_hand(on_call, definition)
    wait(lambda: rollout_state(on_call, made) == "FAILED")


def rollout_state(on_call: OnCall, definition: str) -> str:
    """Of the deployment of a task definition, by its ARN; failed ones of others stay in the emulator's list."""
    deployments = on_call.target.described(on_call.target.service(None))["deployments"]
    return next((str(d["rolloutState"]) for d in deployments if d["taskDefinition"] == definition), "")


def circular_import(on_call: OnCall) -> None:
    error = "ImportError: cannot import name a from partially initialized module b"
    on_call.deploy(f'{BASE}ENTRYPOINT ["python3", "-c", "raise SystemExit(\'{error}\')"]\n', fails=True)


def foreign_binary(on_call: OnCall) -> None:
    on_call.deploy(f'{BASE}RUN printf garbage > /server && chmod 755 /server\nENTRYPOINT ["/server"]\n', fails=True)


def alarm_goes_off_meanwhile(on_call: OnCall) -> None:
    with deployment_alarm.goes_off_meanwhile(on_call.rehearsal.account):
        on_call.deploy(deployment_alarm.ERRORS, fails=True)
    on_call.afterwards.callback(deployment_alarm.set_alarm, on_call.target.client, "OK")


def error_in_the_log(on_call: OnCall) -> None:
    arns = on_call.target.client("ecs").list_tasks(cluster=CLUSTER, serviceName=f"{NAME}-service")["taskArns"]
    # A stream of its own, to be taken away again, which has the running task's id as streams have.
    stream = f"runbook/{arns[0].rpartition('/')[2]}"
    logs, place = on_call.target.client("logs"), {"logGroupName": f"/ecs/{NAME}", "logStreamName": stream}
    logs.create_log_stream(**place)
    event = {"timestamp": int(time.time() * 1000), "message": "2026-11-23 ERROR auth.google_auth: refresh failed"}
    logs.put_log_events(**place, logEvents=[event])
    on_call.afterwards.callback(logs.delete_log_stream, **place)


def nothing(_on_call: OnCall) -> None:
    """Believed broken, and is not."""


BROKEN: dict[str, Callable[[OnCall], None]] = {
    "Since a deployment it answers, but wrongly": another_version,
    "The version before is as wrong": back_by_hand_to_the_same_image,
    "503 from outside, no task runs": scaled_to(0),
    "404 from outside, though every target is healthy": rule_without_rewrite,
    "503 from outside, though every target is healthy": without_its_table,
    "Sign-ins fail every other time": scaled_to(2),
    "Google refuses the sign-in": secret_under_another_key,
    "Google does not know the client": secrets_whole,
    "People cannot sign in": a_late_return_from_google,
    "A client cannot log in": a_client_that_is_not_named,
    "Targets are unhealthy": another_health_path,
    "What runs is not what was deployed": secrets_whole,
    "A deployment failed": circular_import,
    "A deployment failed with exec format error": foreign_binary,
    "A deployment failed for want of credentials": variables_under_other_names,
    "An alarm took a deployment back": alarm_goes_off_meanwhile,
    "The log tells of errors": error_in_the_log,
    "The private name does not answer": nothing,
    "Which port is it": nothing,
}
"""What is wrong in each entry."""


def states(on_call: OnCall) -> list[str]:
    targets = on_call.target.target_health(on_call.target.service(None))
    return [entry["state"] for entry in targets if entry["state"] not in ("draining", "initial")]


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline, "the fault did not show within a minute"
        time.sleep(0.2)


def expression(printed: tuple[str, ...]) -> str:
    """A regular expression for these lines, in this order, with others between them."""
    lines = ("[^\\n]*".join(map(re.escape, line.split("…"))) for line in printed if line != "…")
    return "(?s)" + ".*".join(f"(?m:^{line}$)" for line in lines)


def test_every_entry_is_tried_and_in_the_table_of_contents() -> None:
    assert entries().keys() == BROKEN.keys()
    head = (ROOT / "docs" / "runbook.md").read_text().partition("\n## ")[0]
    anchors = {f"[{t}](#{re.sub('[^a-z0-9 -]', '', t.lower()).replace(' ', '-')})" for t in BROKEN}
    assert anchors == set(re.findall(r"\[[^]]+\]\(#[^)]+\)", head))


@pytest.mark.parametrize("title", BROKEN)
def test_the_commands_of_an_entry_print_what_it_says(on_call: OnCall, title: str) -> None:
    steps = entries()[title]
    assert steps
    on_call.mend = None
    with on_call.afterwards:
        BROKEN[title](on_call)
        for number, step in enumerate(steps):
            if number == 1 and on_call.mend:
                on_call.mend()
            printed = on_call.run(step.command)
            assert re.search(expression(step.printed), printed), f"{step}, says the runbook; printed was:\n{printed}"
