"""Pulumi's engine and the embedded driver: a program like any other is carried out in the emulated account, and the
account is what counts. Both are held to the same.

The programs here are written by the tests, so that they can ask for what the project's program never would.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from engine.deployment import DeploymentFailed, Progress
from rehearsal.emulator import Emulator
from tests.rehearsal.programs import ACCOUNT, LOG_GROUP, REGION, Program, actions, changes


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
