"""Pulumi's engine and the embedded driver: a program like any other is carried out in the emulated account, and the
account is what counts. Both are held to the same.

The programs here are written by the tests, so that they can ask for what the project's program never would.

Long because each test is held to both deployers by the same fixtures.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.cli import Cli
from engine.deployment import DeploymentFailed, Progress
from providers.provider import Change
from rehearsal.docker import Engine
from rehearsal.emulator import Account, Emulator
from tests.rehearsal.programs import ACCOUNT, LOG_GROUP, REGION, Program, actions, changes

EVERYTHING = (Path(__file__).parent / "everything.py").read_text()
ALL = 17


def make_estate(account: Account, name: str, vpc: str) -> None:
    ec2, elbv2 = account.client("ec2"), account.client("elbv2")
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


@pytest.fixture
def everything(program: Program) -> Iterator[Program]:
    """A program with every resource type and look-up, and the estate that it stands on."""
    (program.directory / "image").mkdir()
    (program.directory / "image" / "Dockerfile").write_text("FROM scratch\n")
    program.vpc = program.account.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    make_estate(program.account, program.name, program.vpc)
    (program.directory / "__main__.py").write_text(EVERYTHING)
    yield program
    program.destroy()


def test_every_resource_is_made_and_a_second_deployment_changes_nothing(everything: Program) -> None:
    first = everything.deploy()
    assert set(actions(first).values()) == {"created"}
    assert len(first.resources) == ALL
    second = everything.deploy()
    assert set(actions(second).values()) == {"same"}, changes(second)
    assert len(second.resources) == ALL
    assert second.outputs == first.outputs


def test_what_is_made_is_in_the_account(everything: Program) -> None:
    everything.deploy()
    name, client = everything.name, everything.account.client
    repository = client("ecr").describe_repositories(repositoryNames=[name])["repositories"][0]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    service = client("ecs").describe_services(cluster=name, services=[f"{name}-service"])["services"][0]
    assert (service["status"], service["runningCount"], service["taskDefinition"].rsplit("/", 1)[1]) == (
        "ACTIVE",
        1,
        f"{name}:1",
    )
    container = client("ecs").describe_task_definition(taskDefinition=name)["taskDefinition"]["containerDefinitions"][0]
    assert container["image"].startswith(f"{everything.account.registry}/{name}@sha256:"), (
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


def test_tags_are_changed_and_taken_away_again(everything: Program) -> None:
    everything.deploy()
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


def test_a_change_from_outside_is_found_and_mended(everything: Program) -> None:
    everything.deploy()
    everything.account.client("logs").put_retention_policy(logGroupName=f"/ecs/{everything.name}", retentionInDays=1)
    everything.account.client("ecr").delete_lifecycle_policy(repositoryName=everything.name)
    drifted = everything.refresh()
    assert changes(drifted) == {"logs": {"retentionInDays"}, "lifecycle": set()}
    assert actions(drifted)["lifecycle"] == "deleted", "what is gone is forgotten"
    again = everything.deploy()
    assert changes(again) == {"logs": {"retentionInDays"}, "lifecycle": set()}
    assert actions(again)["lifecycle"] == "created", "what is gone is made again"


def test_a_service_scaled_from_outside_is_set_back_as_a_refresh_would(everything: Program) -> None:
    everything.deploy()
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


def test_secrets_are_in_no_result_and_not_in_the_state(everything: Program) -> None:
    everything.deploy()
    deployment = everything.deploy(value="hush-hush")
    assert deployment.outputs["hidden"] == "[secret]"
    parameter = next(result for result in deployment.resources if result.name == "parameter")
    assert parameter.changes["value"] == Change("[secret]", "[secret]")
    assert "hush" not in repr(deployment)
    assert "hush" not in repr(deployment.calls)
    assert "hush" not in everything.state


def test_calls_are_known_with_the_resource_that_made_them(everything: Program) -> None:
    calls = everything.deploy().calls
    assert any(call.action == "RegisterTaskDefinition" and call.resource.endswith("::definition") for call in calls)
    assert any(call.action == "DescribeVpcs" and not call.resource for call in calls)


def test_what_has_no_effect_is_said_with_the_reason(everything: Program) -> None:
    service = next(result for result in everything.deploy().resources if result.name == "service")
    assert service.recorded_only.keys() == {"availabilityZoneRebalancing"}


def test_a_resource_is_in_the_state_below_its_component_with_what_it_waits_for(everything: Program) -> None:
    everything.deploy()
    found = {entry["urn"].rsplit("::", 1)[-1]: entry for entry in everything.resources}
    parameter = found["parameter"]
    assert parameter["urn"] == "urn:pulumi:stack::project::test:index:Group$aws:ssm/parameter:Parameter::parameter"
    assert parameter["parent"] == "urn:pulumi:stack::project::test:index:Group::group"
    assert "ciphertext" in parameter["inputs"]["value"]
    assert any(urn.endswith("::logs") for urn in found["definition"]["dependencies"])


def test_what_is_no_longer_registered_is_deleted_after_what_depends_on_it(program: Program) -> None:
    with_policy = (
        LOG_GROUP
        + """
trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}
right = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
role = aws.iam.Role("role", name=config.require("name"),
                    assume_role_policy={"Version": "2012-10-17", "Statement": [trust]})
aws.iam.RolePolicy("policy", name="p", role=role.name, policy={"Version": "2012-10-17", "Statement": [right]})
"""
    )
    program.deploy(with_policy)
    gone = program.deploy(LOG_GROUP)
    assert [(result.name, result.action) for result in gone.resources] == [("policy", "deleted"), ("role", "deleted")]


def test_a_failed_deployment_does_not_disturb_the_order_in_which_things_can_go(everything: Program) -> None:
    everything.deploy()
    source = EVERYTHING.replace("        rule = ", "        targets.arn.apply(lambda arn: 1 / 0)\n        rule = ")
    with pytest.raises(DeploymentFailed, match="division by zero"):
        everything.deploy(source)
    order = [result.name for result in everything.destroy().resources]
    assert order.index("rule") < order.index("targets")


def test_a_generated_name_is_kept_and_its_replacement_is_made_before_the_old_one_goes(program: Program) -> None:
    source = (
        LOG_GROUP
        + """
vpc = aws.ec2.get_vpc(default=True)
group = aws.lb.TargetGroup("tg", port=int(config.get("port") or 80), protocol="HTTP", target_type="ip", vpc_id=vpc.id)
pulumi.export("name", group.name)
pulumi.export("arn", group.arn)
"""
    )
    first = program.deploy(source)
    assert first.outputs["name"].startswith("tg-")
    assert program.deploy().outputs == first.outputs
    replaced = program.deploy(port="81")
    assert actions(replaced) == {"tg": "replaced"}
    assert replaced.outputs["name"] != first.outputs["name"]
    made = [call.action for call in replaced.calls]
    assert made.index("CreateTargetGroup") < made.index("DeleteTargetGroup")
    names = [
        group["TargetGroupName"] for group in program.account.client("elbv2").describe_target_groups()["TargetGroups"]
    ]
    assert first.outputs["name"] not in names
    program.destroy()


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


def test_a_given_name_makes_the_replacement_delete_first(program: Program) -> None:
    source = (
        LOG_GROUP
        + """
vpc = aws.ec2.get_vpc(default=True)
aws.lb.TargetGroup("tg", name=config.require("name"), port=int(config.get("port") or 80), protocol="HTTP",
                   target_type="ip", vpc_id=vpc.id)
"""
    )
    program.deploy(source)
    made = [call.action for call in program.deploy(port="81").calls]
    assert made.index("DeleteTargetGroup") < made.index("CreateTargetGroup")
    program.destroy()


def test_an_alias_keeps_the_resource_under_its_new_name(program: Program) -> None:
    program.deploy(LOG_GROUP + 'aws.cloudwatch.LogGroup("old", name=config.require("name"))')
    renamed = program.deploy(
        LOG_GROUP
        + """
aws.cloudwatch.LogGroup("new", name=config.require("name"),
                        opts=pulumi.ResourceOptions(aliases=[pulumi.Alias(name="old")]))
"""
    )
    assert actions(renamed) == {"new": "same"}


def test_ignored_changes_are_ignored(program: Program) -> None:
    source = (
        LOG_GROUP
        + """
aws.cloudwatch.LogGroup("logs", name=config.require("name"), retention_in_days=int(config.get("days") or 7),
                        opts=pulumi.ResourceOptions(ignore_changes=["retentionInDays"]))
"""
    )
    program.deploy(source)
    assert actions(program.deploy(days="30")) == {"logs": "same"}


def test_a_number_of_tasks_that_was_scaled_from_outside_is_not_reset_where_it_is_ignored(program: Program) -> None:
    ecs, name = program.account.client("ecs"), program.name
    ecs.create_cluster(clusterName=name)
    source = """
import json, pulumi, pulumi_aws as aws
config = pulumi.Config()
name = config.require("name")
definition = aws.ecs.TaskDefinition("definition", family=name, container_definitions=json.dumps(
    [{"name": "server", "image": "busybox", "memory": int(config.get("memory") or 64)}]))
aws.ecs.Service("service", name=name, cluster=name, task_definition=definition.arn, desired_count=1,
                opts=pulumi.ResourceOptions(ignore_changes=["desiredCount"]))
aws.appautoscaling.Target("scaling", service_namespace="ecs", scalable_dimension="ecs:service:DesiredCount",
                          resource_id=f"service/{name}/{name}", min_capacity=1, max_capacity=4)
"""
    first = program.deploy(source)
    (scaling,) = (r for r in first.resources if r.name == "scaling")
    assert "no Application Auto Scaling" in scaling.recorded_only["maxCapacity"], "nothing scales here, which is said"
    ecs.update_service(cluster=name, service=name, desiredCount=3)
    assert set(actions(program.refresh()).values()) == {"same"}, "nor does a search for drift find it"
    assert set(actions(program.deploy()).values()) == {"same"}
    assert actions(program.deploy(memory="128"))["service"] == "changed"
    (service,) = ecs.describe_services(cluster=name, services=[name])["services"]
    assert service["desiredCount"] == 3


def test_a_cache_is_changed_in_place_and_removed(program: Program) -> None:
    ec2, name = program.account.client("ec2"), program.name
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24")["Subnet"]["SubnetId"] for n in (10, 11)]
    source = """
import pulumi, pulumi_aws as aws
config = pulumi.Config()
name, more = config.require("name"), config.get_bool("more")
tags = {"Team": "x"} if more else {}
subnets = aws.elasticache.SubnetGroup("subnets", name=name, subnet_ids=config.require("subnets").split(","), tags=tags)
user = aws.elasticache.User("user", user_id=name, user_name=name, engine="valkey", tags=tags,
                            access_string="on ~* -@all +@read" if more else "off ~* -@all",
                            authentication_mode={"type": "iam"})
users = aws.elasticache.UserGroup("users", user_group_id=name, engine="valkey", user_ids=[user.user_id], tags=tags)
aws.elasticache.ReplicationGroup("cache", replication_group_id=name, description="state", engine="valkey",
    engine_version="8.0", node_type="cache.t4g.small" if more else "cache.t4g.micro", apply_immediately=True,
    num_cache_clusters=2 if more else 1, automatic_failover_enabled=more or False, port=6379,
    subnet_group_name=subnets.name, user_group_ids=[users.user_group_id], transit_encryption_enabled=True,
    transit_encryption_mode="required", at_rest_encryption_enabled=True, auto_minor_version_upgrade=True, tags=tags)
"""
    assert set(actions(program.deploy(source, subnets=",".join(subnets))).values()) == {"created"}
    assert changes(program.deploy(subnets=",".join(reversed(subnets)))) == {}
    changed = program.deploy(subnets=subnets[0], more="true")
    assert changes(changed) == {
        "subnets": {"subnetIds", "tags.Team"},
        "user": {"accessString", "tags.Team"},
        "users": {"tags.Team"},
        "cache": {"nodeType", "numCacheClusters", "automaticFailoverEnabled", "tags.Team"},
    }
    assert set(actions(changed).values()) == {"changed"}
    assert changes(program.deploy(subnets=subnets[0], more="true")) == {}
    elasticache = program.account.client("elasticache")
    (cache,) = elasticache.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"]
    assert (cache["CacheNodeType"], len(cache["NodeGroups"][0]["NodeGroupMembers"])) == ("cache.t4g.small", 2)
    assert changes(program.deploy(subnets=subnets[0]))["cache"] >= {"numCacheClusters"}
    program.destroy()
    for left in ("describe_replication_groups", "describe_user_groups", "describe_users"):
        assert name not in str(getattr(elasticache, left)())


def test_a_service_moves_onto_capacity_providers_in_place_and_by_a_new_deployment_alone(program: Program) -> None:
    ecs, name = program.account.client("ecs"), program.name
    ecs.create_cluster(clusterName=name, capacityProviders=["FARGATE", "FARGATE_SPOT"])
    source = """
import json, pulumi, pulumi_aws as aws
config = pulumi.Config()
name, spot = config.require("name"), config.get_int("spot")
definition = aws.ecs.TaskDefinition("definition", family=name, container_definitions=json.dumps(
    [{"name": "server", "image": "busybox", "memory": 64}]))
strategy = [{"capacity_provider": "FARGATE", "base": 1, "weight": 0},
            {"capacity_provider": "FARGATE_SPOT", "base": 0, "weight": spot}]
aws.ecs.Service("service", name=name, cluster=name, task_definition=definition.arn, desired_count=2,
                launch_type=None if spot else "FARGATE", capacity_provider_strategies=strategy if spot else None,
                force_new_deployment=config.get_bool("force"), wait_for_steady_state=True)
aws.appautoscaling.ScheduledAction("schedule", name=name, service_namespace="ecs",
                                   scalable_dimension="ecs:service:DesiredCount", resource_id=f"service/{name}/{name}",
                                   schedule="cron(0 8 ? * MON-FRI *)", scalable_target_action={"min_capacity": 2})
"""
    first = program.deploy(source)
    (schedule,) = (r for r in first.resources if r.name == "schedule")
    assert "no Application Auto Scaling" in schedule.recorded_only["schedule"], "nothing scales here, which is said"
    for deployed in (program.preview, program.deploy):
        with pytest.raises(DeploymentFailed, match="force_new_deployment should be true"):
            deployed(spot="1")

    def running() -> tuple[str, list[tuple[str, int]]]:
        (service,) = ecs.describe_services(cluster=name, services=[name])["services"]
        strategy = service.get("capacityProviderStrategy") or []
        (primary,) = (entry["id"] for entry in service["deployments"] if entry["status"] == "PRIMARY")
        return primary, [(item["capacityProvider"], item["weight"]) for item in strategy]

    deployment, strategy = running()
    assert strategy == []
    for spot in (1, 3):
        assert actions(program.deploy(spot=str(spot), force="true"))["service"] == "changed"
        before, (deployment, strategy) = deployment, running()
        assert strategy == [("FARGATE", 0), ("FARGATE_SPOT", spot)]
        assert deployment != before, "tasks move only by a new deployment"
    assert set(actions(program.deploy(spot="3", force="true")).values()) == {"same"}
    with pytest.raises(DeploymentFailed, match="force_new_deployment should be true"):
        program.deploy()


def test_what_exists_is_imported(program: Program) -> None:
    program.account.client("logs").create_log_group(logGroupName=program.name)
    source = (
        LOG_GROUP
        + """
aws.cloudwatch.LogGroup("logs", name=config.require("name"), retention_in_days=int(config.get("days") or 0),
                        opts=pulumi.ResourceOptions(import_=config.require("name")))
"""
    )
    assert actions(program.deploy(source)) == {"logs": "imported"}
    assert actions(program.deploy()) == {"logs": "same"}


def test_what_is_imported_becomes_at_once_what_the_program_says(program: Program) -> None:
    program.account.client("logs").create_log_group(logGroupName=program.name)
    source = (
        LOG_GROUP
        + """
aws.cloudwatch.LogGroup("logs", name=config.require("name"), retention_in_days=7,
                        opts=pulumi.ResourceOptions(import_=config.require("name")))
"""
    )
    assert actions(program.deploy(source)) == {"logs": "changed"}
    assert actions(program.deploy()) == {"logs": "same"}


def test_what_exists_and_is_not_imported_is_a_collision(program: Program) -> None:
    program.account.client("logs").create_log_group(logGroupName=program.name)
    with pytest.raises(DeploymentFailed, match="already exists"):
        program.deploy(LOG_GROUP + 'aws.cloudwatch.LogGroup("logs", name=config.require("name"))')


def test_a_protected_resource_is_not_deleted(program: Program) -> None:
    program.deploy(
        LOG_GROUP
        + 'aws.cloudwatch.LogGroup("logs", name=config.require("name"), opts=pulumi.ResourceOptions(protect=True))'
    )
    with pytest.raises(DeploymentFailed, match="is protected"):
        program.deploy(LOG_GROUP)
    with pytest.raises(DeploymentFailed, match="is protected"):
        program.destroy()


def test_an_unknown_type_is_refused_by_name(program: Program) -> None:
    with pytest.raises(DeploymentFailed, match=r"does not carry out aws:sqs/queue:Queue \(queue\): add it to"):
        program.deploy(LOG_GROUP + 'aws.sqs.Queue("queue")')


def test_an_unknown_property_of_a_known_type_is_refused_by_name(program: Program) -> None:
    with pytest.raises(DeploymentFailed, match=r"aws:cloudwatch/logGroup:LogGroup.deletionProtectionEnabled \(logs\)"):
        program.deploy(LOG_GROUP + 'aws.cloudwatch.LogGroup("logs", deletion_protection_enabled=True)')


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


def test_an_unknown_look_up_and_an_unheeded_argument_are_refused_by_name(program: Program) -> None:
    with pytest.raises(DeploymentFailed, match="the look-up aws:index/getAvailabilityZones"):
        program.deploy(LOG_GROUP + "aws.get_availability_zones()")
    with pytest.raises(DeploymentFailed, match=r"getSubnet:getSubnet.ipv6CidrBlock"):
        program.deploy(LOG_GROUP + 'aws.ec2.get_subnet(ipv6_cidr_block="::/64")')


def test_a_look_up_that_finds_nothing_says_so_in_the_providers_words_and_a_plural_one_is_empty(
    program: Program,
) -> None:
    with pytest.raises(DeploymentFailed, match="no matching EC2 VPC found") as failure:
        program.deploy(LOG_GROUP + 'aws.ec2.get_vpc(tags={"Name": "none"})')
    assert not failure.value.deployment.resources
    with pytest.raises(DeploymentFailed, match="multiple EC2 Subnets matched"):
        program.deploy(LOG_GROUP + "aws.ec2.get_subnet()")
    found = program.deploy(LOG_GROUP + 'pulumi.export("n", len(aws.ec2.get_subnets(tags={"Name": "none"}).ids))')
    assert found.outputs == {"n": 0}


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


def test_a_failing_program_keeps_its_own_error_and_what_had_been_made_is_known_and_used_next_time(
    program: Program,
) -> None:
    source = (
        LOG_GROUP
        + """
logs = aws.cloudwatch.LogGroup("logs", name=config.require("name"))
async def main():
    await logs.arn.future()
    if config.get("bad"):
        raise ZeroDivisionError("the program's own")
pulumi.run(main)
"""
    )
    with pytest.raises(DeploymentFailed, match="the program's own") as failure:
        program.deploy(source, bad="yes")
    assert "ZeroDivisionError" in str(failure.value)
    assert actions(failure.value.deployment) == {"logs": "created"}
    assert actions(program.deploy()) == {"logs": "same"}


def test_a_program_that_exits_or_cannot_be_read_has_failed(program: Program) -> None:
    with pytest.raises(DeploymentFailed) as failure:
        program.deploy("raise SystemExit(1)")
    assert "exit status 1" in str(failure.value)
    with pytest.raises(DeploymentFailed) as failure:
        program.deploy("def")
    assert "SyntaxError" in str(failure.value)


def test_a_failure_does_not_delete_what_the_program_had_no_time_to_register(program: Program) -> None:
    program.deploy(LOG_GROUP + 'aws.cloudwatch.LogGroup("logs", name=config.require("name"))')
    with pytest.raises(DeploymentFailed):
        program.deploy("1 / 0")
    assert program.account.client("logs").describe_log_groups(logGroupNamePrefix=program.name)["logGroups"]


@pytest.mark.parametrize("use", ['pulumi.export("x", broken)', "broken.apply(print)", "pass"])
def test_an_error_in_an_output_is_a_failure_whether_it_is_used_or_not(program: Program, use: str) -> None:
    source = (
        LOG_GROUP
        + f"""
logs = aws.cloudwatch.LogGroup("logs", name=config.require("name"))
broken = logs.arn.apply(lambda arn: {{}}["missing key"])
{use}
"""
    )
    with pytest.raises(DeploymentFailed, match="missing key"):
        program.deploy(source)


def test_the_program_has_its_modules_afresh_its_own_directory_and_the_emulated_account(program: Program) -> None:
    (program.directory / "helper.py").write_text("count = 0\n")
    source = (
        LOG_GROUP
        + """
import boto3, os, helper
helper.count += 1
pulumi.export("count", helper.count)
pulumi.export("here", os.getcwd())
pulumi.export("account", boto3.client("sts").get_caller_identity()["Account"])
"""
    )
    before = Path.cwd()
    for _ in range(2):
        assert program.deploy(source).outputs == {"count": 1, "here": str(program.directory), "account": ACCOUNT}
    assert Path.cwd() == before


def test_two_accounts_are_deployed_to_at_once(program: Program, emulator_python: Path, tmp_path: Path) -> None:
    source = (
        LOG_GROUP
        + """
aws.cloudwatch.LogGroup("logs", name="shared-name")
pulumi.export("account", aws.get_caller_identity().account_id)
"""
    )
    (tmp_path / "other").mkdir()
    outputs = {}
    with Emulator("111122223333", REGION, python=emulator_python) as other:
        programs = [program, Program(tmp_path / "other" / "program", other, "other", program.cli)]
        programs[1].directory.mkdir()

        def run(one: Program) -> None:
            outputs[one.name] = one.deploy(source).outputs

        threads = [threading.Thread(target=run, args=(one,)) for one in programs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert outputs == {program.name: {"account": ACCOUNT}, "other": {"account": "111122223333"}}
    program.destroy()


def test_progress_tells_of_each_beginning_and_end(program: Program) -> None:
    events: list[Progress] = []
    (program.directory / "__main__.py").write_text(
        LOG_GROUP + 'aws.cloudwatch.LogGroup("logs", name=config.require("name"))'
    )
    program.deploy(progress=events.append)
    assert [(event.name, event.action) for event in events] == [("logs", None), ("logs", "created")]


SERVICE = """
import pulumi, pulumi_aws as aws, pulumi_docker as docker
config = pulumi.Config()
name = config.require("name")
repository = aws.ecr.Repository("repository", name=name, image_tag_mutability="IMMUTABLE", force_delete=True)
image = docker.Image("image",
                     image_name=pulumi.Output.format("{0}:{1}", repository.repository_url, config.require("tag")),
                     build={"context": "image", "args": {"COMMAND": config.require("command")}})
cluster = aws.ecs.get_cluster(cluster_name=name)
definition = aws.ecs.TaskDefinition("definition", family=name, container_definitions=pulumi.Output.json_dumps(
    [{"name": "server", "image": image.repo_digest, "memory": 64}]))
aws.ecs.Service("service", name=name, cluster=cluster.arn, task_definition=definition.arn, desired_count=1,
                deployment_circuit_breaker={"enable": True, "rollback": True}, wait_for_steady_state=True)
pulumi.export("definition", definition.arn)
"""


def test_a_real_image_runs_and_that_a_crashing_one_is_rolled_back_is_an_error(
    engine: Engine, emulator_python: Path, tmp_path: Path, cli: Cli | None
) -> None:
    context = tmp_path / "program" / "image"
    context.mkdir(parents=True)
    (context / "Dockerfile").write_text(
        'FROM python:3.12-slim\nARG COMMAND\nENV COMMAND=$COMMAND\nCMD ["sh", "-c", "$COMMAND"]\n'
    )
    engine.ensure_base_images(context / "Dockerfile")
    with Emulator(
        ACCOUNT, REGION, python=emulator_python, docker_host=engine.host, bridge_address=engine.bridge_address()
    ) as account:
        account.client("ecs").create_cluster(clusterName="real")
        program = Program(tmp_path / "program", account, "real", cli)
        first = program.deploy(SERVICE, docker=engine.client, tag="v1", command="sleep 600")
        assert set(actions(first).values()) == {"created"}
        assert set(actions(program.deploy(docker=engine.client, tag="v1", command="sleep 600")).values()) == {"same"}

        with pytest.raises(DeploymentFailed, match=r"tasks failed to start, rolled back.*exited with 3"):
            program.deploy(docker=engine.client, tag="v2", command="exit 3")
        service = account.client("ecs").describe_services(cluster="real", services=["real"])["services"][0]
        assert service["taskDefinition"] == first.outputs["definition"]
        assert any(deployment["rolloutState"] == "FAILED" for deployment in service["deployments"])


@pytest.mark.parametrize(
    ("breaker", "words"),
    [(True, "deployment failed: tasks failed to start"), (False, r"timeout while waiting .*of 1 tasks run")],
)
def test_a_first_deployment_that_fails_gives_the_last_tasks_reason_and_the_next_goes_on_from_it(
    engine: Engine, emulator_python: Path, tmp_path: Path, cli: Cli | None, breaker: bool, words: str
) -> None:
    context = tmp_path / "program" / "image"
    context.mkdir(parents=True)
    (context / "Dockerfile").write_text(
        'FROM python:3.12-slim\nARG COMMAND\nENV COMMAND=$COMMAND\nCMD ["sh", "-c", "$COMMAND"]\n'
    )
    engine.ensure_base_images(context / "Dockerfile")
    with Emulator(
        ACCOUNT, REGION, python=emulator_python, docker_host=engine.host, bridge_address=engine.bridge_address()
    ) as account:
        account.client("ecs").create_cluster(clusterName="real")
        program = Program(tmp_path / "program", account, "real", cli)
        text = SERVICE.replace('"enable": True', f'"enable": {breaker}')
        (program.directory / "__main__.py").write_text(text)
        with pytest.raises(DeploymentFailed, match=f"{words}.*exited with 3"):
            program.deploy(docker=engine.client, steady_timeout=60 if breaker else 4, tag="v1", command="exit 3")
        mended = program.deploy(text, docker=engine.client, tag="v2", command="sleep 600")
        assert actions(mended)["service"] == "changed"
