"""Pulumi's engine and the embedded driver carry out a program with every resource type and look-up; the account is what
counts. Both are held to the same."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.cli import Cli
from engine.deployment import Deployment, DeploymentFailed
from providers.provider import Change
from rehearsal.emulator import Account, Emulator
from tests.rehearsal.programs import LOG_GROUP, Program, actions, changes

EVERYTHING = (Path(__file__).parent / "everything.py").read_text()
ALL = 17


def make_estate(account: Account, name: str) -> str:
    """A load balancer, a namespace, a cluster and a zone of that name; the id of their VPC."""
    ec2, elbv2 = account.client("ec2"), account.client("elbv2")
    vpc: str = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24")["Subnet"]["SubnetId"] for n in (10, 11)]
    balancer = elbv2.create_load_balancer(Name=name, Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    elbv2.create_listener(
        LoadBalancerArn=balancer,
        Port=443,
        Protocol="HTTPS",
        Certificates=[{"CertificateArn": "arn:x"}],
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
    )
    account.client("servicediscovery").create_private_dns_namespace(Name=f"{name}.local", Vpc=vpc)
    account.client("ecs").create_cluster(clusterName=name)
    account.client("route53").create_hosted_zone(Name=f"{name}.example", CallerReference=name)
    return vpc


def complete(program: Program) -> Program:
    """Make of it one with every resource type and look-up, and the estate that it stands on."""
    (program.directory / "image").mkdir(parents=True)
    (program.directory / "image" / "Dockerfile").write_text("FROM scratch\n")
    (program.directory / "__main__.py").write_text(EVERYTHING)
    program.secret = "hush"
    program.vpc = make_estate(program.account, program.name)
    return program


@pytest.fixture
def everything(program: Program) -> Iterator[Program]:
    """A program with every resource type and look-up, not yet deployed."""
    yield complete(program)
    program.destroy()


@dataclass(frozen=True)
class Deployed:
    """Such a program, deployed twice."""

    program: Program
    first: Deployment
    second: Deployment


@pytest.fixture(scope="module")
def deployed(emulator: Emulator, cli: Cli | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """For all tests of this file that look at it, or leave it as it was."""
    program = Program(tmp_path_factory.mktemp("deployed") / "program", emulator, f"t{uuid.uuid4().hex[:8]}", cli)
    yield Deployed(complete(program), program.deploy(), program.deploy())
    program.destroy()


def test_every_resource_is_made_and_a_second_deployment_changes_nothing(deployed: Deployed) -> None:
    first, second = deployed.first, deployed.second
    assert set(actions(first).values()) == {"created"}
    assert len(first.resources) == ALL
    assert set(actions(second).values()) == {"same"}, changes(second)
    assert len(second.resources) == ALL
    assert second.outputs == first.outputs


def test_what_is_made_is_in_the_account(deployed: Deployed) -> None:
    account, name = deployed.program.account, deployed.program.name
    client = account.client
    repository = client("ecr").describe_repositories(repositoryNames=[name])["repositories"][0]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    service = client("ecs").describe_services(cluster=name, services=[f"{name}-service"])["services"][0]
    assert (service["status"], service["runningCount"], service["taskDefinition"].rsplit("/", 1)[1]) == (
        "ACTIVE",
        1,
        f"{name}:1",
    )
    container = client("ecs").describe_task_definition(taskDefinition=name)["taskDefinition"]["containerDefinitions"][0]
    assert container["image"].startswith(f"{account.registry}/{name}@sha256:"), (
        "ECS here can only pull from the emulator"
    )
    group = client("ec2").describe_security_groups(Filters=[{"Name": "group-name", "Values": [f"{name}-sg"]}])[
        "SecurityGroups"
    ][0]
    assert [rule["FromPort"] for rule in group["IpPermissions"]] == [8000]
    assert len(group["IpPermissionsEgress"]) == 1, "AWS's own rule for a new group goes; the program's stays"


def test_a_change_is_made_in_place_and_named(everything: Program) -> None:
    everything.deploy()
    changed = everything.deploy(
        retention="30",
        keep="5",
        bucket="arn:aws:s3:::c/*",
        port="8010",
        health="/h",
        priority="51",
        replace="/y/$1",
        ttl="30",
        count="2",
        txt="b",
        value="hush2",
        mutability="MUTABLE",
        watched="no",
    )
    assert changes(changed) == {
        "logs": {"retentionInDays"},
        "lifecycle": {"policy.rules[0].selection.countNumber"},
        "policy": {"policy.Statement[0].Resource"},
        "in": {"toPort"},
        "targets": {"healthCheck.path"},
        "rule": {"priority", "transforms[0].urlRewriteConfig.rewrite.replace"},
        "discovery": {"dnsConfig.dnsRecords[0].ttl"},
        "service": {"desiredCount", "alarms.enable"},
        "text": {"records[0]"},
        "parameter": {"value"},
        "repository": {"imageTagMutability"},
    }
    assert actions(changed)["lifecycle"] == "replaced", "the provider has no update for it"
    client = everything.account.client
    assert (
        client("logs").describe_log_groups(logGroupNamePrefix=f"/ecs/{everything.name}")["logGroups"][0][
            "retentionInDays"
        ]
        == 30
    )
    assert (
        client("ssm").get_parameter(Name=f"/{everything.name}/v", WithDecryption=True)["Parameter"]["Value"] == "hush2"
    )


def test_tags_are_changed_and_taken_away_again(deployed: Deployed) -> None:
    everything = deployed.program
    tagged = everything.deploy(tags='{"Team": "x"}')
    assert {
        "repository",
        "logs",
        "role",
        "group",
        "in",
        "targets",
        "rule",
        "discovery",
        "service",
        "parameter",
        "definition",
    } == {name for name, paths in changes(tagged).items() if "tags.Team" in paths}
    assert len(changes(everything.deploy())) == 11
    assert changes(everything.deploy()) == {}


def test_a_new_image_gives_a_new_revision_and_the_service_follows(everything: Program) -> None:
    first = everything.deploy()
    (everything.directory / "image" / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    second = everything.deploy(tag="v2")
    assert changes(second).keys() == {"image", "definition", "service"}
    assert (first.outputs["revision"], second.outputs["revision"]) == (1, 2)
    assert first.outputs["digest"] != second.outputs["digest"]
    old = everything.account.client("ecs").describe_task_definition(taskDefinition=f"{everything.name}:1")[
        "taskDefinition"
    ]
    assert old["status"] == "INACTIVE"


def test_other_content_under_an_immutable_tag_is_refused(everything: Program) -> None:
    everything.deploy()
    (everything.directory / "image" / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    with pytest.raises(DeploymentFailed, match="v1"):
        everything.deploy()


def test_times_and_ignored_files_make_no_new_image_but_modes_and_arguments_do(everything: Program) -> None:
    image = everything.directory / "image"
    (image / ".dockerignore").write_text("*.md\n")
    (image / "start").write_text("x")
    everything.deploy(mutability="MUTABLE")
    (image / "start").touch()
    (image / "README.md").write_text("new")
    assert changes(everything.deploy(mutability="MUTABLE")) == {}
    (image / "start").chmod(0o755)
    assert "image" in changes(everything.deploy(mutability="MUTABLE"))
    assert "build.args.A" in changes(everything.deploy(mutability="MUTABLE", arg="c"))["image"]


def test_a_change_from_outside_is_found_and_mended(deployed: Deployed) -> None:
    everything = deployed.program
    everything.account.client("logs").put_retention_policy(logGroupName=f"/ecs/{everything.name}", retentionInDays=1)
    everything.account.client("ecr").delete_lifecycle_policy(repositoryName=everything.name)
    drifted = everything.refresh()
    assert changes(drifted) == {"logs": {"retentionInDays"}, "lifecycle": set()}
    assert actions(drifted)["lifecycle"] == "deleted", "what is gone is forgotten"
    again = everything.deploy()
    assert changes(again) == {"logs": {"retentionInDays"}, "lifecycle": set()}
    assert actions(again)["lifecycle"] == "created", "what is gone is made again"


def test_a_service_scaled_from_outside_is_set_back_as_a_refresh_would(deployed: Deployed) -> None:
    everything = deployed.program
    ecs, name = everything.account.client("ecs"), everything.name
    ecs.update_service(cluster=name, service=f"{name}-service", desiredCount=3)
    everything.refresh()
    assert changes(everything.deploy()) == {"service": {"desiredCount"}}
    assert ecs.describe_services(cluster=name, services=[f"{name}-service"])["services"][0]["desiredCount"] == 1


def test_destroy_removes_everything_and_only_that(everything: Program) -> None:
    everything.deploy()
    gone = everything.destroy()
    assert gone.count("deleted") == ALL
    order = [result.name for result in gone.resources]
    assert order.index("service") < order.index("definition") < order.index("role")
    assert order.index("rule") < order.index("targets")
    client, name = everything.account.client, everything.name
    assert not client("logs").describe_log_groups(logGroupNamePrefix=f"/ecs/{name}")["logGroups"]
    assert client("ecs").describe_clusters(clusters=[name])["clusters"], "the estate stays"
    assert [entry for entry in everything.resources if entry["type"].startswith(("aws:", "docker:"))] == []


def test_secrets_are_in_no_result_and_not_in_the_state(deployed: Deployed) -> None:
    everything = deployed.program
    deployment = everything.deploy(value="hush-hush")
    assert deployment.outputs["hidden"] == "[secret]"
    parameter = next(result for result in deployment.resources if result.name == "parameter")
    assert parameter.changes["value"] == Change("[secret]", "[secret]")
    assert "hush" not in repr(deployment)
    assert "hush" not in repr(deployment.calls)
    assert "hush" not in everything.state
    assert changes(everything.deploy()) == {"parameter": {"value"}}


def test_calls_are_known_with_the_resource_that_made_them(deployed: Deployed) -> None:
    calls = deployed.first.calls
    assert any(call.action == "RegisterTaskDefinition" and call.resource.endswith("::definition") for call in calls)
    assert any(call.action == "DescribeVpcs" and not call.resource for call in calls)


def test_what_has_no_effect_is_said_with_the_reason(deployed: Deployed) -> None:
    service = next(result for result in deployed.first.resources if result.name == "service")
    assert service.recorded_only.keys() == {"availabilityZoneRebalancing"}


def test_a_resource_is_in_the_state_below_its_component_with_what_it_waits_for(deployed: Deployed) -> None:
    found = {entry["urn"].rsplit("::", 1)[-1]: entry for entry in deployed.program.resources}
    parameter = found["parameter"]
    assert parameter["urn"] == "urn:pulumi:stack::project::test:index:Group$aws:ssm/parameter:Parameter::parameter"
    assert parameter["parent"] == "urn:pulumi:stack::project::test:index:Group::group"
    assert "ciphertext" in parameter["inputs"]["value"]
    assert any(urn.endswith("::logs") for urn in found["definition"]["dependencies"])


def test_a_failed_deployment_does_not_disturb_the_order_in_which_things_can_go(everything: Program) -> None:
    everything.deploy()
    source = EVERYTHING.replace("        rule = ", "        targets.arn.apply(lambda arn: 1 / 0)\n        rule = ")
    with pytest.raises(DeploymentFailed, match="division by zero"):
        everything.deploy(source)
    order = [result.name for result in everything.destroy().resources]
    assert order.index("rule") < order.index("targets")


def test_a_target_group_of_another_port_is_made_before_the_rule_turns_to_it_and_the_old_one_goes_last(
    everything: Program,
) -> None:
    everything.deploy()
    moved = everything.deploy(target_port="8001")
    assert {name: action for name, action in actions(moved).items() if action != "same"} == {
        "targets": "replaced",
        "rule": "changed",
        "service": "changed",
    }
    made = [call.action for call in moved.calls]
    assert made.index("CreateTargetGroup") < made.index("ModifyRule") < made.index("DeleteTargetGroup")
    assert set(actions(everything.deploy(target_port="8001")).values()) == {"same"}


def test_a_property_that_the_emulator_takes_and_drops_is_refused(everything: Program) -> None:
    source = (
        LOG_GROUP
        + """
balancer = aws.lb.get_load_balancer(name=config.require("name"))
aws.lb.ListenerRule("rule", listener_arn=aws.lb.get_listener(load_balancer_arn=balancer.arn, port=443).arn, priority=9,
                    actions=[{"type": "fixed-response", "fixed_response": {"content_type": "text/plain",
                                                                           "status_code": "200"}}],
                    conditions=[{"query_strings": [{"key": "a", "value": "b"}]}])
"""
    )
    with pytest.raises(DeploymentFailed, match=r"ListenerRule.conditions: the account was asked for"):
        everything.deploy(source)


def test_a_taken_priority_is_refused_as_by_aws(everything: Program) -> None:
    elbv2 = everything.account.client("elbv2")
    balancer = elbv2.describe_load_balancers(Names=[everything.name])["LoadBalancers"][0]["LoadBalancerArn"]
    listener = elbv2.describe_listeners(LoadBalancerArn=balancer)["Listeners"][0]["ListenerArn"]
    elbv2.create_rule(
        ListenerArn=listener,
        Priority=50,
        Conditions=[{"Field": "path-pattern", "Values": ["/z"]}],
        Actions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}],
    )
    with pytest.raises(DeploymentFailed, match="Priority '50' is currently in use") as failure:
        everything.deploy()
    assert "service" not in actions(failure.value.deployment), "what depends on the rule is not begun"
