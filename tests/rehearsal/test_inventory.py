"""What an account contains: the same after the same deployment, with every difference named, and as before when
destroyed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from rehearsal import estate, inventory
from rehearsal.emulator import Emulator
from rehearsal.run import Stack
from tests.conftest import ACCOUNT, REGION
from tests.stacks import SERVICE, changed, embedded, production

BUCKET = f"{inventory.BUCKET_SETTING}busyb-oauth-tokens-{ACCOUNT}"


@dataclass
class Deployed:
    """An account of its own with the production stack in it."""

    account: Emulator
    before: inventory.Inventory
    folder: Path

    def deploy(self, stack: Stack) -> None:
        embedded(stack, self.account, self.folder).up(policies=False)


@pytest.fixture(scope="module")
def two(emulator_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Deployed]]:
    stack = production("inventory")
    with ExitStack() as cleanup:
        deployed = []
        for _ in range(2):
            ids = estate.pinned_ids(stack.settings)
            account = cleanup.enter_context(Emulator(ACCOUNT, REGION, python=emulator_python, ids=ids))
            estate.make(account, stack.settings)
            folder = tmp_path_factory.mktemp("state")
            deployed.append(Deployed(account, inventory.read(account), folder))
            deployed[-1].deploy(stack)
        yield deployed


def test_all_that_a_deployment_makes_is_found(two: list[Deployed]) -> None:
    found = inventory.added(two[0].before, inventory.read(two[0].account))
    for kind in (
        "alarm busyb-google-workspace-mcp-cpu",
        f"{BUCKET} versioning",
        "dashboard GoogleWorkspaceMCP",
        "discovery service google-workspace",
        "ecr image busyb-google-workspace-mcp:",
        "ecr repository busyb-google-workspace-mcp",
        "ecs service busyb-cluster/busyb-google-workspace-mcp-service",
        "event rule busyb-google-workspace-mcp-deployment-failed",
        "iam role busyb-google-workspace-mcp-task-role",
        "key alias/",
        "listener rule busyb-alb:443 50",
        "log group /ecs/busyb-google-workspace-mcp",
        "metric filter /ecs/busyb-google-workspace-mcp busyb-google-workspace-mcp-errors",
        "parameter /busyb/production/healthy/google-workspace",
        "target group busyb-google-workspace-mcp-tg",
        "task definition busyb-google-workspace-mcp:1",
        "topic critical-alerts",
    ):
        assert any(key.startswith(kind) for key in found), f"{kind} in {found}"


def test_two_accounts_with_the_same_stack_are_equal_but_for_identifiers(two: list[Deployed]) -> None:
    first, second = two
    mine, theirs = (inventory.read(each.account)["target group busyb-google-workspace-mcp-tg"] for each in two)
    assert mine.ids != theirs.ids, "or the comparison would prove nothing"
    assert inventory.compare(first.account, second.account) == []


def test_images_of_one_content_have_one_name_whichever_was_pushed_first(two: list[Deployed]) -> None:
    manifest = '{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []}'
    for each, order in zip(two, (("one", "other"), ("other", "one")), strict=True):
        ecr, ssm = each.account.client("ecr"), each.account.client("ssm")
        for name in order:
            ecr.create_repository(repositoryName=name)
            image = ecr.put_image(repositoryName=name, imageManifest=manifest, imageTag="a")["image"]
        ssm.put_parameter(Name="/digest", Type="String", Value=image["imageId"]["imageDigest"])
    try:
        assert inventory.compare(two[0].account, two[1].account) == []
    finally:
        for each in two:
            for name in ("one", "other"):
                each.account.client("ecr").delete_repository(repositoryName=name, force=True)
            each.account.client("ssm").delete_parameter(Name="/digest")


def test_what_differs_is_named_with_both_values(two: list[Deployed]) -> None:
    first, second = two
    second.deploy(changed(production("inventory"), {f"{SERVICE}.health": {"interval": 20}}))
    try:
        lines = inventory.compare(first.account, second.account)
        assert any(
            line.startswith("target group busyb-google-workspace-mcp-tg: HealthCheckIntervalSeconds is 30, then 20")
            for line in lines
        ), lines
        assert not any(line.startswith("listener rule") for line in lines), "what does not differ is not named"
    finally:
        second.deploy(production("inventory"))


def test_a_buckets_settings_are_compared(two: list[Deployed]) -> None:
    first, second = two
    s3, bucket = second.account.client("s3"), f"busyb-oauth-tokens-{ACCOUNT}"
    before = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=before | {"BlockPublicPolicy": False})
    try:
        path = "PublicAccessBlockConfiguration.BlockPublicPolicy"
        line = f"{BUCKET} public access block: {path} is True, then None"
        assert line in inventory.compare(first.account, second.account)
    finally:
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=before)


def test_what_only_one_account_has_is_named(two: list[Deployed]) -> None:
    first, second = two
    second.account.client("logs").create_log_group(logGroupName="/somebody/else")
    try:
        assert "log group /somebody/else is only in the second" in inventory.compare(first.account, second.account)
        now = inventory.read(second.account)
        assert "log group /somebody/else" in inventory.added(second.before, now)
    finally:
        second.account.client("logs").delete_log_group(logGroupName="/somebody/else")


def test_after_a_destroy_only_revisions_and_what_protects_a_bucket_are_left(two: list[Deployed]) -> None:
    first = two[0]
    embedded(production("inventory"), first.account, first.folder).destroy()
    now = inventory.read(first.account)
    left = inventory.added(first.before, now)
    assert [key for key in left if not key.startswith(BUCKET)] == ["task definition busyb-google-workspace-mcp:1"]
    assert inventory.changed(first.before, now) == []
    elb = first.account.client("elbv2")
    rule = now["listener rule busyb-alb:443 1"]
    elb.delete_rule(RuleArn=rule.ids[0])
    assert inventory.changed(first.before, inventory.read(first.account)) == ["listener rule busyb-alb:443 1 is gone"]
