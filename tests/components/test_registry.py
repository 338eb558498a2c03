"""The repository, and which images it keeps and builds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.components.production import REPOSITORY, TAGS
from tests.components.program import (
    DIGEST,
    TOKEN,
    Account,
    Deploy,
    Recorded,
    Secret,
    only,
)


def test_the_repository_scans_encrypts_and_refuses_to_overwrite_tags(production: Recorded) -> None:
    tag = production.outputs["services"]["google-workspace"]["tag"]
    assert production.inputs("google-workspace-repository") == {
        "name": "busyb-google-workspace-mcp",
        "imageTagMutability": "IMMUTABLE",
        "forceDelete": True,
        "imageScanningConfiguration": {"scanOnPush": True},
        "encryptionConfigurations": [{"encryptionType": "AES256"}],
        "tags": {**TAGS, "BuiltTag": tag},
    }


def kept(recorded: Recorded) -> list[dict[str, Any]]:
    """What each rule of the repository's lifecycle selects, in order of priority."""
    rules = json.loads(recorded.inputs("google-workspace-lifecycle")["policy"])["rules"]
    assert [rule["rulePriority"] for rule in rules] == list(range(1, len(rules) + 1))
    assert {rule["action"]["type"] for rule in rules} == {"expire"}
    return [rule["selection"] for rule in rules]


def test_the_repository_keeps_the_last_ten_images_and_those_that_became_healthy(production: Recorded) -> None:
    assert kept(production) == [
        {"tagStatus": "tagged", "tagPatternList": ["healthy-*"], "countType": "imageCountMoreThan", "countNumber": 100},
        {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 10},
    ]
    assert production.inputs("google-workspace-lifecycle")["repository"] == "busyb-google-workspace-mcp"


def declared(recorded: Recorded) -> dict[str, dict[str, Any]]:
    """URN -> inputs of all resources."""
    return {r.urn: r.inputs for r in recorded.resources}


def revisions(*numbers: int) -> list[dict[str, Any]]:
    """Healthy revisions, as the parameter holds them; each with an image of its own."""
    name = "busyb-google-workspace-mcp"
    return [{"revision": f"{name}:{n}", "digest": "sha256:" + f"{n:02}" * 32, "tag": f"tag-{n}"} for n in numbers]


def test_images_of_healthy_revisions_are_kept_however_many_are_pushed_after_them(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    seven, gone = revisions(7, 6)
    estate.healthy = {"google-workspace": [seven, gone]}
    estate.images = {"tag-7": seven["digest"], "just built": DIGEST}
    recorded = deploy(config)
    assert {tag: digest for tag, digest in estate.images.items() if tag.startswith("healthy-")} == {
        "healthy-" + "07" * 8: seven["digest"],
        "healthy-" + "ab" * 8: DIGEST,
    }
    tag = recorded.outputs["services"]["google-workspace"]["tag"]
    remembered = recorded.inputs("google-workspace-healthy")
    assert remembered["name"] == "/busyb/production/healthy/google-workspace"
    assert json.loads(remembered["value"].value) == [
        {"revision": "busyb-google-workspace-mcp:1", "digest": DIGEST, "tag": tag, "rejected": False},
        {**seven, "rejected": False},
        {**gone, "rejected": False},
    ]


@pytest.mark.parametrize(
    "remembered", [[], [1], [1, 2], [*range(12, 2, -1)], [2, 1, *range(12, 4, -1)]], ids=lambda value: str(len(value))
)
def test_a_deployment_leaves_nothing_to_change_to_the_next(
    deploy: Deploy, config: dict[str, Any], estate: Account, remembered: list[int]
) -> None:
    """Neither the first, nor one after a rollback, nor the eleventh image and those behind it."""
    estate.healthy = {"google-workspace": revisions(*remembered)}
    first = deploy(config)
    estate.healthy = {"google-workspace": json.loads(first.inputs("google-workspace-healthy")["value"].value)}
    estate.images[first.outputs["services"]["google-workspace"]["tag"]] = DIGEST
    estate.repository_tags = first.inputs("google-workspace-repository")["tags"]
    second = deploy(config)
    assert declared(second) == declared(first)


def test_a_preview_tags_no_image(deploy: Deploy, config: dict[str, Any], estate: Account) -> None:
    (seven,) = revisions(7)
    estate.healthy = {"google-workspace": [seven]}
    estate.images = {"tag-7": seven["digest"]}
    deploy(config, preview=True)
    assert estate.images == {"tag-7": seven["digest"]}


def test_content_that_was_pushed_before_is_used_as_it_is_and_not_built(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    """A `git revert` brings back what another build would only push under the same tag, which the registry refuses."""
    first = deploy(config)
    tag, before = first.outputs["services"]["google-workspace"]["tag"], "sha256:" + "cd" * 32
    estate.images, estate.repository_tags = {tag: before}, {"BuiltTag": "of-other-content"}
    again = deploy(config)
    assert not again.of("docker:index/image:Image")
    assert again.container()["image"] == f"{REPOSITORY}@{before}"
    assert again.outputs["services"]["google-workspace"]["tag"] == tag
    assert "BuiltTag" not in again.inputs("google-workspace-repository")["tags"]
    # And so it stays.
    estate.repository_tags = again.inputs("google-workspace-repository")["tags"]
    assert declared(deploy(config)) == declared(again)
    # The next content is built again.
    estate.images = {}
    assert deploy(config).of("docker:index/image:Image")


def test_a_pinned_image_that_the_stack_did_not_build_is_kept_while_it_runs(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    only(config)["image"] = {"digest": DIGEST}
    estate.images = {"pushed-by-hand": DIGEST}
    deploy(config)
    assert estate.images["healthy-" + "ab" * 8] == DIGEST


def test_the_image_is_built_for_amd64_from_the_staged_context_and_pushed_under_its_tag(production: Recorded) -> None:
    image = production.inputs("google-workspace-image")
    tag = production.outputs["services"]["google-workspace"]["tag"]
    assert image == {
        "imageName": f"{REPOSITORY}:{tag}",
        "build": {
            "context": f".build/google-workspace/{tag}",
            "dockerfile": f".build/google-workspace/{tag}/Dockerfile",
            "platform": "linux/amd64",
            "args": {},
        },
        "registry": Secret(
            {"server": "758888582357.dkr.ecr.us-east-1.amazonaws.com", "username": "AWS", "password": TOKEN}
        ),
        "buildOnPreview": False,
        "skipPush": False,
    }
