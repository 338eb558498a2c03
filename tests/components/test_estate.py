"""What is missing or unfit in the account: said in full, all at once, and before anything is registered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from components.estate import EstateError
from tests.components.clients import Elbv2
from tests.components.program import Account, Deploy, Recorded, listener_rule, only
from tests.stacks import INTERNAL

Change = Callable[[Account, dict[str, Any]], object]


def findings(recorded: Recorded) -> list[str]:
    assert isinstance(recorded.error, EstateError), recorded.error
    assert not recorded.resources, "something was registered before the error"
    return [str(finding) for finding in recorded.error.findings]


NOTHING = "no matching thing found"
PLACE = "in account 758888582357, region us-east-1"


def finding(what: str, looked: str, found: str, do: str) -> str:
    return f"  {what}\n      looked   {looked}\n      found    {found}\n      do       {do}"


MISSING: dict[str, tuple[Change, str]] = {
    "credentials": (
        lambda account, _: setattr(account, "caller", None),
        finding(
            "the AWS account",
            "with this shell's credentials",
            NOTHING,
            "log in, for example: aws sso login",
        ),
    ),
    "VPC": (
        lambda account, _: account.vpcs.clear(),
        finding(
            "VPC vpc-0111b7630bcb61b61",
            PLACE,
            NOTHING,
            "correct estate.vpc; aws ec2 describe-vpcs lists them",
        ),
    ),
    "subnet": (
        lambda account, _: account.subnets.pop(1),
        finding(
            "subnet 10.0.11.0/24",
            "in vpc-0111b7630bcb61b61",
            NOTHING,
            "correct estate.taskSubnets; aws ec2 describe-subnets lists them",
        ),
    ),
    "security group": (
        lambda account, _: account.groups.pop("busyb-ecs-sg"),
        finding(
            "security group busyb-ecs-sg",
            "in vpc-0111b7630bcb61b61",
            NOTHING,
            "correct securityGroups or consumers; aws ec2 describe-security-groups lists them",
        ),
    ),
    "consumer's security group": (
        lambda _, config: only(config).update({"securityGroups": [], "consumers": ["sg-0dead"]}),
        finding(
            "security group sg-0dead",
            "in vpc-0111b7630bcb61b61",
            NOTHING,
            "correct securityGroups or consumers; aws ec2 describe-security-groups lists them",
        ),
    ),
    "cluster": (
        lambda account, _: account.clusters.clear(),
        finding(
            "cluster busyb-cluster",
            PLACE,
            NOTHING,
            "correct estate.cluster; aws ecs list-clusters lists them",
        ),
    ),
    "namespace": (
        lambda account, _: account.namespaces.clear(),
        finding(
            "private namespace busyb.local",
            f"{PLACE}, of type DNS_PRIVATE",
            NOTHING,
            "correct estate.namespace; aws servicediscovery list-namespaces lists them",
        ),
    ),
    "load balancer": (
        lambda account, _: account.balancers.clear(),
        finding(
            "load balancer busyb-alb",
            PLACE,
            NOTHING,
            "correct estate.loadBalancer; aws elbv2 describe-load-balancers lists them",
        ),
    ),
    "listener": (
        lambda account, _: account.listeners.pop(443),
        finding(
            "listener on port 443",
            "at load balancer busyb-alb",
            NOTHING,
            "correct estate.listenerPort; aws elbv2 describe-listeners lists them",
        ),
    ),
    "secret": (
        lambda account, _: account.secrets.pop("busyb/google-oauth-client-id"),
        finding(
            "secret busyb/google-oauth-client-id",
            PLACE,
            NOTHING,
            "correct it under secrets, or create it: aws secretsmanager create-secret",
        ),
    ),
    "bucket": (
        lambda account, _: account.buckets.clear(),
        finding(
            "bucket busyb-oauth-tokens-758888582357",
            PLACE,
            NOTHING,
            "correct tokens.bucket or permissions.bucket; aws s3api list-buckets lists them",
        ),
    ),
    "execution role": (
        lambda _, config: only(config).update({"executionRole": "nobody"}),
        finding(
            "execution role nobody",
            PLACE,
            NOTHING,
            "correct executionRole, or remove it to have one made",
        ),
    ),
    "hosted zone": (
        lambda _, config: only(config).update(
            {"routing": {"host": "mail.example.com", "priority": 50, "hostedZone": "example.com"}}
        ),
        finding(
            "hosted zone example.com",
            PLACE,
            NOTHING,
            "correct routing.hostedZone; aws route53 list-hosted-zones lists them",
        ),
    ),
}

UNFIT: dict[str, tuple[Change, str]] = {
    "a subnet of another VPC": (
        lambda account, config: (
            account.subnets[0].update(vpcId="vpc-other"),
            config["estate"].update(taskSubnets=["subnet-0a"]),
        ),
        finding(
            "subnet subnet-0a",
            "in vpc-0111b7630bcb61b61",
            "it is in vpc-other",
            "name a subnet of the VPC in estate.taskSubnets",
        ),
    ),
    "a public subnet": (
        lambda _, config: config["estate"]["taskSubnets"].append("10.0.1.0/24"),
        finding(
            "subnet 10.0.1.0/24",
            "in vpc-0111b7630bcb61b61",
            "it gives out public addresses",
            "name a private subnet in estate.taskSubnets",
        ),
    ),
    "an HTTP listener": (
        lambda _, config: config["estate"].update(listenerPort=80),
        finding(
            "listener on port 80",
            "at load balancer busyb-alb",
            "it speaks HTTP",
            "name the HTTPS listener's port in estate.listenerPort",
        ),
    ),
    "a network load balancer": (
        lambda account, _: account.balancers["busyb-alb"].update(loadBalancerType="network"),
        finding(
            "load balancer busyb-alb",
            PLACE,
            "it is of type network",
            "name an application load balancer in estate.loadBalancer",
        ),
    ),
    "a load balancer of another VPC": (
        lambda account, _: account.balancers["busyb-alb"].update(vpcId="vpc-other"),
        finding(
            "load balancer busyb-alb",
            "in vpc-0111b7630bcb61b61",
            "it is in vpc-other",
            "name a load balancer of the VPC in estate.loadBalancer",
        ),
    ),
    "an inactive cluster": (
        lambda account, _: account.clusters.update({"busyb-cluster": "INACTIVE"}),
        finding("cluster busyb-cluster", PLACE, "it is INACTIVE", "name an active cluster in estate.cluster"),
    ),
}


@pytest.mark.parametrize("what", [*MISSING, *UNFIT])
def test_one_missing_or_unfit_thing_is_one_finding(
    deploy: Deploy, config: dict[str, Any], estate: Account, what: str
) -> None:
    change, expected = (MISSING | UNFIT)[what]
    change(estate, config)
    recorded = deploy(config, fails=True)
    assert findings(recorded) == [expected]
    first = "1 thing is missing or unfit in the estate; nothing was changed."
    assert str(recorded.error) == f"{first}\n{expected}"


def test_all_missing_and_unfit_things_are_one_error(deploy: Deploy, config: dict[str, Any], estate: Account) -> None:
    together = [name for name in (*MISSING, *UNFIT) if name not in _HIDDEN_BY_OTHERS]
    for what in together:
        (MISSING | UNFIT)[what][0](estate, config)
    recorded = deploy(config, fails=True)
    assert sorted(findings(recorded)) == sorted((MISSING | UNFIT)[what][1] for what in together)
    assert str(recorded.error).startswith(f"{len(together)} things are missing or unfit in the estate")


# Each of these takes away what another one would be looked for in, or changes the same thing.
_HIDDEN_BY_OTHERS = {
    "credentials",
    "VPC",
    "load balancer",
    "a network load balancer",
    "security group",
    "cluster",
    "listener",
    "a subnet of another VPC",
    "subnet",
}


@pytest.mark.parametrize(
    ("wanted", "id_"), [("10.0.10.0/24", "subnet-0a"), ("subnet-0b", "subnet-0b"), ("subnet-private-a", "subnet-0a")]
)
def test_a_subnet_is_found_by_block_id_and_name(deploy: Deploy, config: dict[str, Any], wanted: str, id_: str) -> None:
    config["estate"]["taskSubnets"] = [wanted]
    network = deploy(config).inputs("google-workspace-service")["networkConfiguration"]
    assert network["subnets"] == [id_]


def test_the_vpc_is_found_by_name(deploy: Deploy, config: dict[str, Any]) -> None:
    config["estate"]["vpc"] = "vpc-busyb"
    assert deploy(config).inputs("google-workspace-target-group")["vpcId"] == "vpc-0111b7630bcb61b61"


def test_a_secret_is_found_by_arn(deploy: Deploy, config: dict[str, Any]) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:758888582357:secret:busyb/google-oauth-client-id-AbCdEf"
    only(config)["secrets"]["GOOGLE_OAUTH_CLIENT_ID"]["secret"] = arn
    secrets = deploy(config).container()["secrets"]
    assert secrets[0]["valueFrom"] == f"{arn}:GOOGLE_OAUTH_CLIENT_ID::"


def test_the_same_thing_named_by_two_services_is_looked_up_once(deploy: Deploy, config: dict[str, Any]) -> None:
    second = {**only(config), **INTERNAL}
    config["services"]["second"] = second
    calls = [str(call) for call in deploy(config).calls if "getAuthorizationToken" not in call[0]]
    assert len(calls) == len(set(calls) | {call for call in calls if "getService" in call})


# Listener rules. The estate's own are on the listener in every test: 1 to 4, by path alone, and the default action.


def rule_findings(deploy: Deploy, config: dict[str, Any]) -> list[str]:
    return findings(deploy(config, fails=True))


def test_a_taken_priority_names_the_holder_and_a_free_range(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    estate.rules += [
        listener_rule(50, ["/billing*"], "billing-tg"),
        listener_rule(54, ["/reports*"], "reports-tg", ["api.busyb.ai"]),
    ]
    assert rule_findings(deploy, config) == [
        finding(
            "listener priority 50 for google-workspace",
            "among the listener's rules",
            "it is taken by rule 50 (/billing*) to target group billing-tg",
            # 51 to 53 are free; 54 is not, so the next three would begin at 55.
            "set services.google-workspace.routing.priority to 51; 51 to 53 are free",
        )
    ]


def test_the_free_range_leaves_room_for_all_rules_and_for_the_stacks_other_services(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    config["services"]["second"] = {
        **only(config),
        "routing": {"host": "api.busyb.ai", "path": "/second", "priority": 56},
    }
    estate.rules += [listener_rule(number, [f"/other-{number}"], "other-tg") for number in (51, 53)]
    found = rule_findings(deploy, config)
    assert [text.splitlines()[0].strip() for text in found] == ["listener priority 51 for google-workspace"]
    assert found[0].endswith("set services.google-workspace.routing.priority to 59; 59 to 61 are free")


def test_one_rule_needs_one_free_number(deploy: Deploy, config: dict[str, Any]) -> None:
    only(config)["routing"] = {"host": "mail.busyb.ai", "priority": 3}
    (text,) = rule_findings(deploy, config)
    assert text.endswith("set services.google-workspace.routing.priority to 5, which is free")


BELOW, ABOVE = 10, 90
"""Priorities before and behind the service's own, 50 to 52."""

TO_OTHERS = "its requests go to rule 10"
FROM_OTHERS = "it would take the requests of rule 90"


@pytest.mark.parametrize(
    ("priority", "paths", "hosts", "why"),
    [
        (BELOW, ["/google-workspace/*"], ["api.busyb.ai"], TO_OTHERS),
        # As the estate's rules are written: by path alone, for every host.
        (BELOW, ["/google-workspace*"], None, TO_OTHERS),
        (BELOW, ["/*"], ["*.busyb.ai"], TO_OTHERS),
        (BELOW, ["*/mcp"], None, TO_OTHERS),
        (BELOW, [], ["API.busyb.ai"], TO_OTHERS),
        (ABOVE, ["/google-workspace/mcp"], ["api.busyb.ai"], FROM_OTHERS),
        (ABOVE, ["/google-workspace*"], None, FROM_OTHERS),
    ],
)
def test_an_address_that_a_foreign_rule_has_is_refused(
    deploy: Deploy,
    config: dict[str, Any],
    estate: Account,
    priority: int,
    paths: list[str],
    hosts: list[str] | None,
    why: str,
) -> None:
    estate.rules.append(listener_rule(priority, paths, "other-tg", hosts))
    found = rule_findings(deploy, config)
    assert found[0].startswith("  address api.busyb.ai/google-workspace /google-workspace/* for google-workspace\n")
    assert f"      found    {why} (" in found[0]
    assert "to target group other-tg" in found[0]
    assert "choose another path or host in services.google-workspace.routing, or remove that rule" in found[0]


@pytest.mark.parametrize(
    "rule",
    [
        listener_rule(BELOW, ["/google-workspace-2*"], "other-tg"),
        listener_rule(BELOW, ["/google-workspace*"], "other-tg", ["mail.busyb.ai"]),
        # What is there for whatever nobody else takes, behind us.
        listener_rule(ABOVE, [], "core-agent-tg", ["api.busyb.ai"]),
        listener_rule(ABOVE, ["/*"], "core-agent-tg"),
        # Whether these take our requests, a header or an address decides.
        listener_rule(BELOW, [], "beta-tg", http_header={"HttpHeaderConfig": {"HttpHeaderName": "X", "Values": ["1"]}}),
        listener_rule(BELOW, [], "office-tg", source_ip={"SourceIpConfig": {"Values": ["10.0.0.0/8"]}}),
        listener_rule(BELOW, [], "other-tg", path_pattern={"PathPatternConfig": {"RegexValues": ["^/x"]}}),
    ],
)
def test_a_foreign_rule_for_other_requests_is_no_matter(
    deploy: Deploy, config: dict[str, Any], estate: Account, rule: dict[str, Any]
) -> None:
    estate.rules.append(rule)
    assert deploy(config).of("aws:lb/listenerRule:ListenerRule")


def test_a_whole_host_is_refused_where_a_foreign_rule_takes_its_mcp_endpoint(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    only(config)["routing"] = {"host": "mail.busyb.ai", "priority": 50}
    assert deploy(config).resources, "the estate's /mcp/quickbooks* and the like do not touch /mcp"
    estate.rules.append(listener_rule(BELOW, ["/mcp*"], "other-tg"))
    (text,) = rule_findings(deploy, config)
    assert f"{TO_OTHERS} (/mcp*)" in text


@pytest.mark.parametrize("group", ["busyb-google-workspace-mcp-tg", "busyb-google-workspace-mcp-9000"])
def test_a_rule_to_the_services_own_target_group_is_its_own_and_can_be_adopted(
    deploy: Deploy, config: dict[str, Any], estate: Account, group: str
) -> None:
    estate.rules.append(listener_rule(50, ["/google-workspace/*"], group))
    assert deploy(config).of("aws:lb/listenerRule:ListenerRule")


def test_a_rule_to_several_target_groups_is_foreign_unless_one_is_the_services_own(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    weighted = listener_rule(50, ["/google-workspace/*"], "unused")
    groups = [listener_rule(0, [], name)["Actions"][0]["TargetGroupArn"] for name in ("blue-tg", "green-tg")]
    weighted["Actions"] = [
        {"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": group} for group in groups]}}
    ]
    estate.rules.append(weighted)
    (text,) = rule_findings(deploy, config)
    assert "it is taken by rule 50 (/google-workspace/*) to target group blue-tg, green-tg" in text


def test_a_rule_that_only_answers_is_named_without_a_target_group(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    fixed = {**listener_rule(50, [], "unused", ["old.busyb.ai"]), "Actions": [{"Type": "fixed-response"}]}
    estate.rules.append(fixed)
    (text,) = rule_findings(deploy, config)
    assert "found    it is taken by rule 50 (old.busyb.ai)\n" in text


def test_rules_are_a_finding_among_the_others(deploy: Deploy, config: dict[str, Any], estate: Account) -> None:
    estate.buckets.clear()
    estate.rules.append(listener_rule(50, ["/billing*"], "billing-tg"))
    assert len(findings(deploy(config, fails=True))) == 2


def test_a_damaged_memory_of_healthy_revisions_is_a_finding(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    estate.healthy = {"google-workspace": [{"revision": "x"}]}
    (text,) = findings(deploy(config, fails=True))
    assert text.startswith("  the healthy revisions of earlier deployments\n")
    assert f"looked   {PLACE}, parameters below /busyb/production/healthy/\n" in text


def test_rules_that_may_not_be_listed_are_left_to_aws(
    deploy: Deploy, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "DescribeRules")

    monkeypatch.setattr(Elbv2, "paginate", refuse)
    assert deploy(config).of("aws:lb/listenerRule:ListenerRule")
    assert "The listener's rules could not be listed" in caplog.text
    assert "The listener's certificates could not be read" in caplog.text


def test_a_host_that_no_certificate_covers_is_refused_with_what_they_cover(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    only(config)["routing"]["host"] = "mcp.tools.busyb.ai"
    (text,) = findings(deploy(config, fails=True))
    assert "a certificate for mcp.tools.busyb.ai" in text
    assert "they cover *.busyb.ai, *.example.com, busyb.ai" in text


@pytest.mark.parametrize("names", [["api.busyb.ai"], ["other.example", "*.BusyB.ai"]])
def test_a_host_is_covered_by_its_own_name_or_a_wildcard_on_any_certificate(
    deploy: Deploy, config: dict[str, Any], estate: Account, names: list[str]
) -> None:
    estate.certificates["arn:second"] = names
    estate.certificates["arn:aws:acm:first"] = ["unrelated.example"]
    assert deploy(config).of("aws:lb/listenerRule:ListenerRule")


def test_an_internal_service_asks_nothing_of_the_load_balancer(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    only(config).update(INTERNAL)
    estate.balancers.clear()
    assert not [token for token, _ in deploy(config).calls if "aws:lb/" in token]
