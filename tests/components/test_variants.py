"""What configuration changes, and that it changes nothing else: one difference from production a test."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest

from components.registry import Login, Registry, RegistryArgs
from components.rollout import NotRolledOut
from components.service import OversizedError
from components.settings import Image
from tests.components.program import DIGEST, Account, Deploy, Recorded, only, run, target_group_arn
from tests.stacks import INTERNAL

FINISHED = "sha256:" + "cd" * 32


def rules(recorded: Recorded) -> list[tuple[int, dict[str, Any], str | None]]:
    """Priority, condition values by kind, and rewrite of each listener rule, in order of priority."""
    found = []
    for rule in recorded.of("aws:lb/listenerRule:ListenerRule").values():
        conditions = {kind: c["values"] for condition in rule["conditions"] for kind, c in condition.items()}
        transforms = rule.get("transforms", [])
        rewrite = transforms[0]["urlRewriteConfig"]["rewrite"] if transforms else None
        words = f"{rewrite['regex']} -> {rewrite['replace']}" if rewrite else None
        found.append((int(rule["priority"]), conditions, words))
    return sorted(found, key=lambda rule: rule[0])


@pytest.mark.parametrize(("platform", "architecture"), [("linux/amd64", "X86_64"), ("linux/arm64", "ARM64")])
def test_the_task_definitions_architecture_is_the_images(
    deploy: Deploy, config: dict[str, Any], platform: str, architecture: str
) -> None:
    only(config)["image"] = {"platform": platform}
    recorded = deploy(config)
    assert recorded.inputs("google-workspace-image")["build"]["platform"] == platform
    runtime = recorded.inputs("google-workspace-task-definition")["runtimePlatform"]
    assert runtime["cpuArchitecture"] == architecture


@pytest.mark.parametrize(
    ("digest", "image"),
    [
        (FINISHED, f"758888582357.dkr.ecr.us-east-1.amazonaws.com/busyb-google-workspace-mcp@{FINISHED}"),
        (f"registry.example/mcp@{FINISHED}", f"registry.example/mcp@{FINISHED}"),
    ],
)
def test_a_finished_digest_is_run_and_nothing_is_built(
    deploy: Deploy, config: dict[str, Any], digest: str, image: str
) -> None:
    only(config)["image"] = {"digest": digest}
    recorded = deploy(config)
    assert not recorded.of("docker:index/image:Image")
    assert recorded.container()["image"] == image
    assert recorded.outputs["services"]["google-workspace"]["image"] == image


def test_a_finished_digest_needs_no_build_context(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["image"] = {"digest": FINISHED, "context": "not-there"}
    assert deploy(config).container()["image"].endswith(FINISHED)


def test_build_arguments_and_stage_reach_the_builder(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["image"] = {"args": {"BASE": "python:3.12-slim"}, "target": "server"}
    build = deploy(config).inputs("google-workspace-image")["build"]
    assert (build["args"], build["target"]) == ({"BASE": "python:3.12-slim"}, "server")


def test_rewrite_strips_the_prefix_and_routes_the_well_known_paths(deploy: Deploy, config: dict[str, Any]) -> None:
    host = {"hostHeader": ["api.busyb.ai"]}
    server = "/.well-known/oauth-authorization-server"
    assert rules(deploy(config)) == [
        (
            50,
            {**host, "pathPattern": ["/google-workspace", "/google-workspace/*"]},
            r"^/google-workspace/*((?:[^?]*[^/?])?)/*((?:\?.*)?)$ -> /$1$2",
        ),
        (
            51,
            {**host, "pathPattern": SERVER},
            r"^/\.well-known/(?:oauth-authorization-server|openid-configuration)/google-workspace"
            rf"(?:/[^?]*)?((?:\?.*)?)$ -> {server}$1",
        ),
        (
            52,
            {**host, "pathPattern": RESOURCE},
            r"^/\.well-known/(?:oauth-protected-resource)/google-workspace(?:/[^?]*)?((?:\?.*)?)$"
            " -> /.well-known/oauth-protected-resource/google-workspace/mcp$1",
        ),
    ]


SERVER = [
    "/.well-known/oauth-authorization-server/google-workspace",
    "/.well-known/oauth-authorization-server/google-workspace/*",
    "/.well-known/openid-configuration/google-workspace",
    "/.well-known/openid-configuration/google-workspace/*",
]
RESOURCE = [
    "/.well-known/oauth-protected-resource/google-workspace",
    "/.well-known/oauth-protected-resource/google-workspace/*",
]


def test_every_rule_forwards_to_the_one_target_group_on_the_https_listener(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    for rule in deploy(config).of("aws:lb/listenerRule:ListenerRule").values():
        group = target_group_arn("busyb-google-workspace-mcp-tg")
        assert rule["actions"] == [{"type": "forward", "targetGroupArn": group}]
        assert rule["listenerArn"].endswith("listener/443")


def test_host_takes_the_whole_host_and_makes_its_records_of_each_kind_of_address(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    only(config)["routing"] = {
        "strategy": "host",
        "host": "mail.busyb.ai",
        "priority": 70,
        "hostedZone": "busyb.ai",
    }
    recorded = deploy(config)
    assert rules(recorded) == [(70, {"hostHeader": ["mail.busyb.ai"]}, None)]
    assert len(recorded.of("aws:route53/record:Record")) == 1
    alias = recorded.inputs("google-workspace-record")
    assert alias == {
        "zoneId": "ZBUSYB",
        "name": "mail.busyb.ai",
        "type": "A",
        "aliases": [
            {
                "name": "busyb-alb-1.us-east-1.elb.amazonaws.com",
                "zoneId": "Z35SXDOTRQ7X7K",
                "evaluateTargetHealth": True,
            }
        ],
    }
    assert {"name": "WORKSPACE_EXTERNAL_URL", "value": "https://mail.busyb.ai"} in recorded.container()["environment"]
    assert recorded.outputs["services"]["google-workspace"]["url"] == "https://mail.busyb.ai"

    estate.balancers["busyb-alb"]["ipAddressType"] = "dualstack"
    both = deploy(config)
    assert both.inputs("google-workspace-record") == alias
    assert both.inputs("google-workspace-record-ipv6") == {**alias, "type": "AAAA"}


def test_host_without_a_hosted_zone_makes_no_record(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["routing"] = {"host": "mail.busyb.ai", "priority": 70}
    recorded = deploy(config)
    assert [kind for _, kind, _ in rules(recorded)] == [{"hostHeader": ["mail.busyb.ai"]}]
    assert not recorded.of("aws:route53/record:Record")


def test_prefix_leaves_the_path_and_tells_the_server(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["routing"] |= {"strategy": "prefix"}
    recorded = deploy(config)
    host = {"hostHeader": ["api.busyb.ai"]}
    assert rules(recorded) == [
        (50, {**host, "pathPattern": ["/google-workspace", "/google-workspace/*"]}, None),
        (51, {**host, "pathPattern": SERVER}, None),
        (52, {**host, "pathPattern": RESOURCE}, None),
    ]
    assert {"name": "MCP_PATH_PREFIX", "value": "/google-workspace"} in recorded.container()["environment"]


def test_more_patterns_than_a_rule_may_hold_are_spread_over_several(deploy: Deploy, config: dict[str, Any]) -> None:
    patterns = [f"/mcp/part-{number}*" for number in range(9)]
    only(config)["routing"] = {"strategy": "pattern", "host": "api.busyb.ai", "priority": 80, "patterns": patterns}
    found = rules(deploy(config))
    assert [priority for priority, _, _ in found] == [80, 81, 82]
    assert [value for _, conditions, _ in found for value in conditions["pathPattern"]] == patterns
    for _, conditions, rewrite in found:
        # A rule may have five condition values in all: an AWS quota.
        assert len(conditions["pathPattern"]) + len(conditions["hostHeader"]) <= 5
        assert rewrite is None


def test_a_rule_has_no_more_than_six_wildcards(deploy: Deploy, config: dict[str, Any]) -> None:
    patterns = ["/a/*/b?*", "/b/*/*/*", "/c*", "/f*/*/*/*/*/*", "/d", "/e?"]
    only(config)["routing"] = {"strategy": "pattern", "host": "api.busyb.ai", "priority": 80, "patterns": patterns}
    assert [conditions["pathPattern"] for _, conditions, _ in rules(deploy(config))] == [
        ["/a/*/b?*", "/b/*/*/*"],
        ["/c*"],
        ["/f*/*/*/*/*/*", "/d"],
        ["/e?"],
    ]


@pytest.fixture
def internal(deploy: Deploy, config: dict[str, Any], estate: Account) -> Recorded:
    only(config).update(INTERNAL)
    del only(config)["routing"]
    del config["estate"]["loadBalancer"]
    estate.balancers.clear()  # None is needed, and so none is looked for.
    return deploy(config)


def test_internal_has_nothing_at_the_load_balancer(internal: Recorded) -> None:
    types = {r.type for r in internal.resources}
    assert not {t for t in types if t.startswith(("aws:lb/", "aws:route53/"))}
    service = internal.inputs("google-workspace-service")
    assert service["loadBalancers"] == []
    assert "healthCheckGracePeriodSeconds" not in service, "ECS refuses a grace period without a load balancer"


def test_internal_is_known_by_its_private_address_only(internal: Recorded) -> None:
    outputs = internal.outputs["services"]["google-workspace"]
    assert outputs["internalUrl"] == "http://google-workspace.busyb.local:8000"
    assert (outputs.get("url"), outputs.get("targetGroup")) == (None, None)
    environment = {variable["name"]: variable["value"] for variable in internal.container()["environment"]}
    assert environment["WORKSPACE_EXTERNAL_URL"] == "http://google-workspace.busyb.local:8000"
    assert environment["WORKSPACE_MCP_STATELESS_MODE"] == "false", (
        "the image's own default ends the server without OAuth"
    )


def test_its_own_security_group_admits_load_balancer_and_consumers_on_the_port_alone(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    only(config).update({"securityGroups": [], "consumers": ["core-agent-sg", "busyb-alb-sg"]})
    recorded = deploy(config)
    group = recorded.inputs("google-workspace-security-group")
    assert (group["name"], group["vpcId"]) == ("busyb-google-workspace-mcp", "vpc-0111b7630bcb61b61")
    assert not {"ingress", "egress"} & group.keys(), "rules of the group itself would fight with those beside it"
    ingress = recorded.of("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule").values()
    assert sorted((i["referencedSecurityGroupId"], i["ipProtocol"], i["fromPort"], i["toPort"]) for i in ingress) == [
        ("sg-alb", "tcp", 8000, 8000),
        ("sg-core-agent", "tcp", 8000, 8000),
    ]
    egress = recorded.of("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule").values()
    assert [(e["cidrIpv4"], e["ipProtocol"], e["fromPort"], e["toPort"]) for e in egress] == [
        ("0.0.0.0/0", "tcp", 443, 443)
    ]
    own = "sg-busyb-google-workspace-mcp"
    assert {rule["securityGroupId"] for rule in (*ingress, *egress)} == {own}
    network = recorded.inputs("google-workspace-service")["networkConfiguration"]
    assert network["securityGroups"] == [own]


def test_an_internal_services_own_group_does_not_admit_the_load_balancer(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    # Beside a public one, so that the load balancer's group is known.
    groups = {"securityGroups": [], "consumers": ["core-agent-sg"]}
    config["services"]["second"] = {**only(config), **INTERNAL, **groups}
    ingress = deploy(config).of("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule").values()
    assert [rule["referencedSecurityGroupId"] for rule in ingress] == ["sg-core-agent"]


def test_an_existing_execution_role_is_used_and_none_is_made(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["executionRole"] = "ecsTaskExecutionRole"
    recorded = deploy(config)
    assert list(recorded.of("aws:iam/role:Role")) == ["google-workspace-task-role"]
    assert list(recorded.of("aws:iam/rolePolicy:RolePolicy")) == ["google-workspace-task-policy"]
    definition = recorded.inputs("google-workspace-task-definition")
    assert definition["executionRoleArn"] == "arn:aws:iam::758888582357:role/ecsTaskExecutionRole"


def test_a_server_that_may_do_nothing_has_a_role_without_a_policy(deploy: Deploy, config: dict[str, Any]) -> None:
    del config["buckets"]
    only(config).update({"permissions": {}, "execEnabled": False})
    recorded = deploy(config)
    assert "google-workspace-task-role" in recorded.of("aws:iam/role:Role")
    assert list(recorded.of("aws:iam/rolePolicy:RolePolicy")) == ["google-workspace-execution-policy"]


def test_a_secret_named_in_full_covers_that_secret_and_not_those_that_begin_so(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    del config["buckets"]
    only(config)["permissions"] = {"secrets": ["busyb/google"]}
    policy = json.loads(deploy(config).inputs("google-workspace-task-policy")["policy"])
    assert policy["Statement"][0]["Resource"] == [
        "arn:aws:secretsmanager:us-east-1:758888582357:secret:busyb/google-??????"
    ]


def test_without_execute_command_its_agent_has_no_volumes_no_init_and_no_channel_rights(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    only(config)["execEnabled"] = False
    recorded = deploy(config)
    assert recorded.inputs("google-workspace-task-definition")["volumes"] == [{"name": "scratch"}]
    assert [point["containerPath"] for point in recorded.container()["mountPoints"]] == ["/tmp"]  # noqa: S108
    assert recorded.container()["linuxParameters"] == {"initProcessEnabled": False}
    assert "ssmmessages" not in recorded.inputs("google-workspace-task-policy")["policy"]
    assert recorded.inputs("google-workspace-service")["enableExecuteCommand"] is False


def test_two_tasks_share_their_oauth_state_in_valkey(deploy: Deploy, config: dict[str, Any]) -> None:
    state = {"backend": "valkey", "host": "cache.busyb.local", "port": 6380, "database": 2}
    only(config).update({"desiredCount": 2, "securityGroups": []})
    only(config)["oauth"]["state"] = state
    recorded = deploy(config)
    assert recorded.inputs("google-workspace-service")["desiredCount"] == 2
    environment = {variable["name"]: variable["value"] for variable in recorded.container()["environment"]}
    prefix = "WORKSPACE_MCP_OAUTH_PROXY_"
    assert {name: value for name, value in environment.items() if name.startswith(prefix)} == {
        f"{prefix}STORAGE_BACKEND": "valkey",
        f"{prefix}VALKEY_HOST": "cache.busyb.local",
        f"{prefix}VALKEY_PORT": "6380",
        f"{prefix}VALKEY_DB": "2",
        f"{prefix}VALKEY_USE_TLS": "true",
    }
    egress = recorded.inputs("google-workspace-to-oauth-state")
    assert (egress["cidrIpv4"], egress["fromPort"], egress["toPort"]) == ("10.0.0.0/16", 6380, 6380)


def test_the_store_is_reached_in_every_range_of_the_vpc(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    only(config).update({"securityGroups": []})
    only(config)["oauth"]["state"] = {"backend": "valkey", "host": "cache.busyb.local"}
    estate.vpcs[0]["cidrBlockAssociations"] = [
        {"cidrBlock": "100.64.0.0/16", "state": "associated"},
        {"cidrBlock": "10.0.0.0/16", "state": "associated"},
        {"cidrBlock": "10.9.0.0/16", "state": "disassociated"},
    ]
    recorded = deploy(config)
    egress = recorded.of("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule")
    assert {name: inputs["cidrIpv4"] for name, inputs in egress.items() if "oauth-state" in name} == {
        "google-workspace-to-oauth-state": "10.0.0.0/16",
        "google-workspace-to-oauth-state-2": "100.64.0.0/16",
    }


def test_a_change_of_port_reaches_every_place_and_gives_the_target_group_a_new_name(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    only(config)["port"] = 9000
    recorded = deploy(config)
    # The new group is made while the old one still has the rules: with one name AWS says "already exists".
    group = recorded.inputs("google-workspace-target-group-9000")
    assert (group["name"], group["port"]) == ("busyb-google-workspace-mcp-9000", 9000)
    container = recorded.container()
    assert container["portMappings"] == [{"containerPort": 9000, "hostPort": 9000, "protocol": "tcp"}]
    assert {"name": "PORT", "value": "9000"} in container["environment"]
    assert "http://localhost:9000/health" in container["healthCheck"]["command"][1]
    service = recorded.inputs("google-workspace-service")
    assert service["loadBalancers"][0]["containerPort"] == service["serviceRegistries"]["containerPort"] == 9000
    assert recorded.outputs["MCP_GOOGLE_WORKSPACE_URL"] == "http://google-workspace.busyb.local:9000/mcp"


def test_a_target_groups_name_is_never_longer_than_elb_allows(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config).update({"name": "a" * 26, "port": 65535})
    assert len(deploy(config).inputs("google-workspace-target-group-65535")["name"]) == 32


def test_another_server_gets_the_variables_it_names_filled_in(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config).update(
        {
            "server": "other",
            "secrets": {},
            "oauth": {},
            "variables": {
                "BASE": "{url}",
                "ORIGIN": "{origin}",
                "HOST": "{host}",
                "ROOT": "{path}",
                "LISTEN": ":{port}",
            },
        }
    )
    container = deploy(config).container()
    assert {variable["name"]: variable["value"] for variable in container["environment"]} == {
        "BASE": "https://api.busyb.ai/google-workspace",
        "ORIGIN": "https://api.busyb.ai",
        "HOST": "api.busyb.ai",
        "ROOT": "/google-workspace",
        "LISTEN": ":8000",
    }
    assert "user" not in container, "who another image runs as is that image's affair"


def test_values_with_newlines_quotes_and_dollars_reach_the_container_as_they_are(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    awkward = 'é\n"${HOME}"\\ \t\'$(id)'
    only(config)["environment"] = {"AWKWARD": awkward}
    assert {"name": "AWKWARD", "value": awkward} in deploy(config).container()["environment"]


def test_a_definition_over_the_limit_is_refused_before_anything_is_registered(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    only(config)["environment"] = {"HUGE": "x" * 60_000, "LARGE": "é" * 2_000, "SMALL": "x"}
    recorded = deploy(config, fails=True)
    assert isinstance(recorded.error, OversizedError)
    first, size, allowed, largest, remedy = str(recorded.error).splitlines()
    assert first == "The task definition of google-workspace is too large; nothing was changed."
    assert size.split()[1:] == [size.split()[1], "bytes", "of", "container", "definitions"]
    assert int(size.split()[1].replace(",", "")) > 63_488
    assert "63,488 bytes" in allowed
    assert largest.strip().startswith("largest  HUGE (60,000 bytes), LARGE (4,000 bytes), ")
    assert "mcp-on-ecs:services.google-workspace" in remedy
    assert not recorded.resources


def test_a_large_definition_below_the_limit_is_registered(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["environment"] = {"LARGE": "x" * 60_000}
    assert len(deploy(config).inputs("google-workspace-task-definition")["containerDefinitions"]) > 60_000


def test_a_rollback_by_ecs_fails_the_up_and_is_not_remembered_as_healthy(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    estate.running = "arn:aws:ecs:us-east-1:758888582357:task-definition/busyb-google-workspace-mcp:0"
    recorded = deploy(config, fails=True)
    assert isinstance(recorded.error, NotRolledOut)
    assert (
        "busyb-google-workspace-mcp-service runs busyb-google-workspace-mcp:0, not busyb-google-workspace-mcp:1"
        in str(recorded.error)
    )
    assert "google-workspace-healthy" not in {r.name for r in recorded.resources}
    assert not recorded.of("aws:cloudwatch/metricAlarm:MetricAlarm")


def test_a_revision_that_somebody_went_back_from_is_not_brought_back_by_an_unchanged_up(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    family = "busyb-google-workspace-mcp"
    estate.running = f"arn:aws:ecs:us-east-1:758888582357:task-definition/{family}:0"
    estate.healthy = {"google-workspace": [{"revision": f"{family}:1", "digest": DIGEST, "tag": None}]}
    error = deploy(config, fails=True).error
    assert isinstance(error, NotRolledOut)
    assert f"runs {family}:0, not {family}:1, which was healthy before" in str(error)
    assert f"./ops rollback {family}:1" in str(error)


def test_the_callers_options_stay_with_the_component(estate: Account) -> None:
    def program() -> None:
        anchor = pulumi.ComponentResource("test:index:Anchor", "anchor")
        Registry(
            "mine",
            RegistryArgs(
                repository="mine",
                image=Image(digest=FINISHED),
                login=Login(username="AWS", password=pulumi.Output.secret("x")),
                tags={},
            ),
            pulumi.ResourceOptions(ignore_changes=["tags"], depends_on=[anchor], additional_secret_outputs=["x"]),
        )

    recorded = run(program, estate, config={})
    assert recorded.error is None
    children = [r for r in recorded.resources if "Registry$" in r.urn]
    assert {r.name for r in children} == {"mine-repository", "mine-lifecycle"}
    for child in children:
        assert not child.request.ignoreChanges
        assert not child.request.additionalSecretOutputs
        assert not any(urn.endswith("::anchor") for urn in child.request.dependencies)
    assert recorded.of("aws:ecr/repository:Repository")["mine-repository"]["name"] == "mine"
    assert DIGEST not in repr([r.inputs for r in recorded.resources])
