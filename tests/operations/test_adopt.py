"""What was made by hand is taken over by the first deployment, or told apart from what cannot be."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checks import Check
from components import settings as configuration
from components.settings import Service
from engine.cli import Cli
from engine.deployment import DeploymentFailed, Result
from engine.reading import ByFile
from engine.stack import Project, PulumiStack
from operations import adopt
from operations.output import Output
from operations.preflight import preflight
from operations.target import Target
from operations.verbs.adopt import run
from providers import Context
from rehearsal import estate
from rehearsal.embedded import EmbeddedStack
from rehearsal.emulator import Emulator
from rehearsal.kept import write_commands
from rehearsal.run import Stack
from tests import commands
from tests.conftest import ROOT
from tests.handmade import Handmade, listener, make
from tests.stacks import embedded, production

NAME = "busyb-google-workspace-mcp"
KEY = "google-workspace"
HANDMADE = {
    "repository": NAME,
    "target-group": rf"arn:aws:elasticloadbalancing:us-east-1:758888582357:targetgroup/{NAME}-tg/\w+",
    "discovery": r"srv-\w+",
    "logs": f"/ecs/{NAME}",
    "task-role": f"{NAME}-task-role",
    "rule-1": r"arn:aws:elasticloadbalancing:us-east-1:758888582357:listener-rule/app/busyb-alb/\w+/\w+/\w+",
    "service": f"busyb-cluster/{NAME}-service",
}
"""Part of the logical name -> the id in the form in which the provider's documentation says it is imported."""


@dataclasses.dataclass
class Place:
    """An emulated account with an estate, without containers, and the state of the stack there."""

    stack: Stack
    account: Emulator
    folder: Path

    @property
    def service(self) -> Service:
        return self.stack.settings.services[KEY]

    @property
    def target(self) -> Target:
        return Target(
            stack=self.stack.name,
            file=ROOT / "Pulumi.production.yaml",
            settings=self.stack.settings,
            account=self.account.account,
            region=self.account.region,
            client=self.account.client,
            deployed=ByFile(self.deployer(self.folder).file),
            copy=self.copy,
            docker_host="none",  # A rehearsal's: the network is not asked for a way out.
        )

    def make(self, **choices: Any) -> None:
        make(self.account, self.stack.settings, self.service, "handmade:latest", Handmade(**choices))

    def deployer(self, folder: Path) -> EmbeddedStack:
        return embedded(self.stack, self.account, folder)

    def copy(self, folder: Path) -> EmbeddedStack:
        copied = self.deployer(folder)
        if (state := self.deployer(self.folder).file).exists():
            folder.mkdir()
            shutil.copy(state, copied.file)
        return copied

    def survey(self) -> adopt.Survey:
        return adopt.survey(self.target)

    def take_in(self, found: adopt.Survey) -> list[str]:
        file = self.folder / "adopt.json"
        adopt.write(found, file)
        return self.deployer(self.folder).take_in(file)

    def deploy(self) -> dict[str, Result]:
        deployed = self.deployer(self.folder).up(policies=False)
        return {result.name: result for result in deployed.resources}


@pytest.fixture
def place(emulator_python: Path, tmp_path: Path) -> Iterator[Place]:
    stack = production("adopted")
    account, region = estate.account_and_region(stack.config)
    with Emulator(account, region, python=emulator_python, ids=estate.pinned_ids(stack.settings)) as running:
        estate.make(running, stack.settings)
        yield Place(stack, running, tmp_path)


def by_part(found: adopt.Survey) -> dict[str, adopt.Existing]:
    return {thing.name.removeprefix(f"{KEY}-"): thing for thing in found.existing}


def lines(thing: adopt.Existing) -> list[str]:
    return list(adopt.changes(thing))


def test_nothing_is_there_to_adopt_and_it_is_said(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place.target, argparse.Namespace(out=None), Output(machines=False)) == 0
    assert "there is nothing to adopt" in capsys.readouterr().out


def test_all_that_was_made_by_hand_is_found_with_what_the_first_up_changes_on_it(place: Place) -> None:
    place.make()
    found = place.survey()
    things = by_part(found)

    assert things.keys() == HANDMADE.keys()
    assert {thing.fate for thing in found.existing} == {"changed in place"}
    assert not found.stops
    assert found.continued == [f"{NAME}:1"]
    assert (found.managed, found.new > 40) == (0, True)
    assert (
        "imageTagMutability: MUTABLE -> IMMUTABLE (whoever pushes to a tag that exists is refused from then on)"
        in lines(things["repository"])
    )
    assert "imageScanningConfiguration.scanOnPush: false -> true" in lines(things["repository"])
    assert "retentionInDays: 0 -> 30 (older lines are deleted)" in lines(things["logs"])
    assert lines(things["discovery"]) == [
        "dnsConfig.dnsRecords[0].ttl: 60 -> 10",
        "dnsConfig.dnsRecords[1].ttl: 60 -> 10",
        "tags: gets Environment, ManagedBy, Service",
    ]
    assert [line for line in lines(things["rule-1"]) if line.startswith("transforms: none -> ")]
    assert "deploymentCircuitBreaker.rollback: false -> true" in lines(things["service"])
    assert [line for line in lines(things["service"]) if "taskDefinition" in line and "(known at the up)" in line]
    assert {left.what: left.remedy.split()[2] for left in found.leftovers} == {
        f"policy s3-access of role {NAME}-task-role": "delete-role-policy",
        f"policy SecretsManagerReadWrite attached to role {NAME}-task-role": "detach-role-policy",
    }


def test_the_import_file_has_the_form_that_pulumi_documents(place: Place) -> None:
    place.make()
    found = place.survey()
    entries = adopt.import_file(found)["resources"]

    components = {entry["name"]: entry for entry in entries if entry.get("component")}
    resources = [entry for entry in entries if not entry.get("component")]
    assert entries[: len(components)] == list(components.values()), "a parent stands before its children"
    assert len({entry["name"] for entry in entries}) == len(entries), "an ambiguous name cannot be a parent"
    assert {(entry["type"], entry["logicalName"]) for entry in components.values()} == {
        (f"mcp-on-ecs:index:{kind}", KEY) for kind in ("Registry", "Routing", "McpService")
    }
    assert not any("id" in entry for entry in components.values())
    assert all(entry["parent"] in components and entry["version"].startswith("7.") for entry in resources)
    ids = {entry["name"].removeprefix(f"{KEY}-"): entry["id"] for entry in resources}
    assert ids.keys() == HANDMADE.keys()
    assert [part for part, form in HANDMADE.items() if not re.fullmatch(form, ids[part])] == []


def collisions(place: Place) -> list[Check]:
    """What preflight says about names that are taken, but for "none"."""
    asked = [check for check in preflight(place.target) if "the stack's" in check.name]
    assert asked
    return [check for check in asked if not check.passed]


def test_without_adoption_preflight_names_each_collision_and_the_deployment_stops_at_one(place: Place) -> None:
    place.make()
    told = collisions(place)

    found = place.survey().existing
    assert {check.name for check in told} == {f"{thing.noun} {thing.id} is in the stack's state" for thing in found}
    assert {check.remedy for check in told} == {"adopt it: ./ops adopt --stack adopted"}
    with pytest.raises(DeploymentFailed, match=r"AlreadyExists|already exists"):
        place.deploy()


def test_the_first_deployment_after_the_import_changes_what_there_is_and_makes_nothing_twice(place: Place) -> None:
    place.make()
    found = place.survey()
    before = {thing.name: thing.id for thing in found.existing}
    assert set(place.take_in(found)) == before.keys()

    # What is imported is in the state, so nobody is sent to adopt it once more.
    assert collisions(place) == []
    done = place.deploy()
    assert {name for name, result in done.items() if result.action == "changed"} == before.keys()
    assert {result.action for result in done.values()} == {"changed", "created"}
    # All that was announced, and nothing else, was changed.
    announced = {thing.name: {d.property for d in thing.differences or ()} for thing in found.existing}
    announced[f"{KEY}-service"].remove("loadBalancers[0].targetGroupArn")  # Only the deployment knew: it is the same.
    assert {name: set(done[name].changes) for name in before} == announced

    again = place.deploy()
    assert {result.action for result in again.values()} == {"same"}
    account = place.account
    assert place.survey().existing == []
    groups = account.client("elbv2").describe_target_groups(Names=[f"{NAME}-tg"])["TargetGroups"]
    assert [group["TargetGroupArn"] for group in groups] == [before[f"{KEY}-target-group"]]
    # The revision that was made by hand is still there to go back to.
    ecs = account.client("ecs")
    assert ecs.describe_task_definition(taskDefinition=f"{NAME}:1")["taskDefinition"]["status"] == "ACTIVE"
    (service,) = ecs.describe_services(cluster="busyb-cluster", services=[f"{NAME}-service"])["services"]
    assert service["taskDefinition"].endswith(f"{NAME}:2")


@pytest.mark.parametrize(
    ("choices", "part", "why", "remedy"),
    [
        (
            {"encryption": "KMS"},
            "repository",
            "encryptionConfigurations[0].encryptionType: KMS -> AES256 (replaces); its images would have to go",
            "delete-repository",
        ),
        ({"port": 8080}, "target-group", "port: 8080 -> 8000 (replaces); AWS deletes no group", "What cannot be adopt"),
        (
            {"vpc": "vpc-0other"},
            "target-group",
            "vpcId: vpc-0other -> vpc-0111b7630bcb61b61 (rep",
            "delete-target",
        ),
        ({"records": ("A",)}, "discovery", "dnsConfig.dnsRecords: ", "servicediscovery delete-service --id srv-"),
        (
            {"tags": (("ManagedBy", "pulumi"), ("Environment", "staging"))},
            "logs",
            "it is of the environment staging",
            "another namePrefix",
        ),
        (
            {"tags": (("aws:cloudformation:stack-name", "mail"),)},
            "logs",
            "CloudFormation stack mail manages it",
            "DeletionPolicy: Retain",
        ),
    ],
)
def test_what_cannot_be_adopted_safely_is_told_apart_and_left_out(
    place: Place, choices: dict[str, Any], part: str, why: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place.make(**choices)
    found = place.survey()
    obstacles = {thing.name: thing for thing in found.existing if thing.obstacle}

    assert obstacles.keys() == {f"{KEY}-{part}"}
    (thing,) = obstacles.values()
    assert why in (thing.obstacle or "")
    assert remedy in thing.remedy
    assert thing.name not in {entry["name"] for entry in adopt.import_file(found)["resources"]}
    assert run(place.target, argparse.Namespace(out=None), Output(machines=False)) == 1
    assert f"in the way: {thing.noun} {thing.id}: " in capsys.readouterr().out


def test_another_port_for_the_first_deployment_goes_around_a_group_on_the_wrong_one(
    place: Place, tmp_path: Path
) -> None:
    place.make(port=8080)
    file = tmp_path / "Pulumi.adopted.yaml"
    file.write_text((ROOT / "Pulumi.production.yaml").read_text().replace("cpu: 512", "cpu: 512\n      port: 8080"))
    settings = configuration.parse(configuration.read_stack_file(file))
    found = adopt.survey(dataclasses.replace(place.target, file=file, settings=settings))

    assert not found.stops
    assert by_part(found).keys() == HANDMADE.keys() - {"target-group"}


def test_a_priority_of_others_is_told_apart_from_an_own_rule_that_is_moved(place: Place) -> None:
    place.make(priority=49)
    elb, of_others = place.account.client("elbv2"), listener(place.account, place.stack.settings)
    for priority, path in ((50, "/mail*"), (40, "/google-workspace/old")):
        elb.create_rule(
            ListenerArn=of_others,
            Priority=priority,
            Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": [path]}}],
            Actions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
        )
    found = place.survey()

    told = {what: (why, remedy) for what, _, why, remedy in found.conflicts}
    why, remedy = told[f"listener priority 50 for {KEY}"]
    assert why == "it is taken by rule 50 (/mail*)"
    assert remedy.startswith(f"set services.{KEY}.routing.priority to ")
    assert f"address api.busyb.ai/google-workspace /google-workspace/* for {KEY}" in told
    assert found.stops
    assert "priority 50" in found.unknown, "the program refuses too, so nothing can be previewed"
    assert by_part(found)["rule-1"].fate == "not known"


def test_an_own_rule_of_another_priority_is_moved(place: Place) -> None:
    place.make(priority=49)
    assert "priority: 49 -> 50" in lines(by_part(place.survey())["rule-1"])


def test_an_own_rule_that_nobody_declares_is_named_with_its_removal(place: Place) -> None:
    place.make()
    elb, at = place.account.client("elbv2"), listener(place.account, place.stack.settings)
    group = elb.describe_target_groups(Names=[f"{NAME}-tg"])["TargetGroups"][0]["TargetGroupArn"]
    for priority in range(60, 64):
        elb.create_rule(
            ListenerArn=at,
            Priority=priority,
            Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": [f"/google-{priority}/*"]}}],
            Actions=[{"Type": "forward", "TargetGroupArn": group}],
        )
    found = place.survey()
    assert {"rule-1", "rule-2", "rule-3"} <= by_part(found).keys()
    left = [leftover for leftover in found.leftovers if leftover.what.startswith("rule ")]
    assert [leftover.what.split(" to ")[0] for leftover in left] == ["rule 62 (/google-62/*)", "rule 63 (/google-63/*)"]
    assert all(leftover.remedy.startswith("aws elbv2 delete-rule --rule-arn arn:") for leftover in left)


def test_a_stack_whose_state_was_lost_is_taken_over_whole(place: Place) -> None:
    place.deploy()
    place.deployer(place.folder).file.unlink()
    found = place.survey()

    assert not found.stops
    known = [str(d) for thing in found.existing for d in thing.differences or () if "(known at the up)" not in str(d)]
    assert known == []
    place.take_in(found)
    done = place.deploy()
    changed = {name.removeprefix(f"{KEY}-") for name, result in done.items() if result.action == "changed"}
    # A key has no name to find it by. A new revision, though alike, is another one.
    assert changed <= {"service", "healthy", "dashboard"} | {name for name in done if name.startswith("notifications")}
    assert not any(result.action == "replaced" for result in done.values())
    assert {result.action for result in place.deploy().values()} == {"same"}


def test_leaving_takes_what_is_the_stacks_and_leaves_estate_and_tokens(place: Place) -> None:
    s3, bucket = place.account.client("s3"), "busyb-oauth-tokens-758888582357"
    s3.put_object(Bucket=bucket, Key="tokens/somebody.json", Body=b"{}")
    rules = {rule["Priority"] for rule in _rules(place)}
    place.deploy()
    place.deployer(place.folder).destroy()

    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["tokens/somebody.json"]
    assert {rule["Priority"] for rule in _rules(place)} == rules
    assert place.survey().existing == [], "names are free"
    assert preflight(place.target)[0].name == "the estate has all that the stack names"


def _rules(place: Place) -> list[Any]:
    at = listener(place.account, place.stack.settings)
    return list(place.account.client("elbv2").describe_rules(ListenerArn=at)["Rules"])


# --- the command


@pytest.fixture
def pulumi(place: Place, pulumi_cli: Cli, tmp_path: Path) -> PulumiStack:
    """The production stack on Pulumi's engine, with nothing in its state, where the shell is logged in."""
    project = Project(directory=ROOT, name=configuration.NAMESPACE, stack="production")
    context = Context(account=place.account, docker=None, directory=ROOT)
    made = PulumiStack(
        project,
        cli=pulumi_cli,
        folder=tmp_path / "pulumi",
        environment={},
        surroundings=place.account.environment,
        context=context,
    )
    made.configure(place.stack.config)
    # The official providers cannot be had everywhere; what is on the PATH, the engine takes before anything else.
    write_commands(made.folder, pulumi_cli, {})
    return made


def ops(place: Place, pulumi: PulumiStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **place.account.variables,
        **pulumi.environment,
        "PATH": f"{pulumi.folder / 'bin'}:/usr/bin:/bin",
        "HOME": str(pulumi.folder),
    }
    return commands.ops(*arguments, environment=environment)


@pytest.mark.engine
def test_the_command_works_on_the_account_that_the_shell_is_logged_in_to(
    place: Place, pulumi: PulumiStack, tmp_path: Path
) -> None:
    place.make()
    file = tmp_path / "adopt.json"
    people = ops(place, pulumi, "adopt", "--out", str(file))
    assert people.returncode == 0, people.stdout + people.stderr
    assert f"pulumi import --stack production --file {file} --protect=false --generate-code=false" in people.stdout
    machines = json.loads(ops(place, pulumi, "adopt", "--json").stdout)
    assert machines["import"] == json.loads(file.read_text())
    assert machines["unknown"] == ""
    assert [thing["fate"] for thing in machines["existing"]] == ["changed in place"] * len(HANDMADE)


@pytest.mark.engine
def test_what_the_state_has_is_not_adopted_once_more(place: Place, pulumi: PulumiStack, tmp_path: Path) -> None:
    place.make()
    document = adopt.import_file(place.survey())
    kept = [entry for entry in document["resources"] if entry.get("component") or entry["name"].endswith("-logs")]
    file = tmp_path / "logs.json"
    file.write_text(json.dumps({"resources": kept}))
    pulumi.take_in(file)
    done = json.loads(ops(place, pulumi, "adopt", "--json").stdout)
    assert (done["inState"], done["unknown"]) == (1, "")
    assert not any(thing["urn"].endswith("-logs") for thing in done["existing"])
    assert done["existing"]


@pytest.mark.engine
def test_an_estate_that_is_not_there_is_told_instead(place: Place, pulumi: PulumiStack) -> None:
    elb = place.account.client("elbv2")
    for balancer in elb.describe_load_balancers()["LoadBalancers"]:
        elb.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
    done = ops(place, pulumi, "adopt")
    assert done.returncode == 1
    assert "load balancer busyb-alb" in done.stderr and "./ops preflight" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.engine
def test_a_file_that_cannot_be_written_is_told(place: Place, pulumi: PulumiStack, tmp_path: Path) -> None:
    done = ops(place, pulumi, "adopt", "--out", str(tmp_path / "no" / "adopt.json"))
    assert done.returncode == 2
    assert "name a file in a folder that exists" in done.stderr and "Traceback" not in done.stderr
