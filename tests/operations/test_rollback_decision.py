"""Where a rollback goes and what it does then, for every situation that a service can be in."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest

from operations.errors import OperationError
from operations.revisions import Revision
from operations.rollback_decision import Decision, decide

FAMILY = "busyb-mail"
REGISTRY = "758888582357.dkr.ecr.us-east-1.amazonaws.com"


def revision(number: int, **values: object) -> Revision:
    digest = f"sha256:{number:064x}"
    entry = Revision(
        name=f"{FAMILY}:{number}",
        arn=f"arn:aws:ecs:us-east-1:758888582357:task-definition/{FAMILY}:{number}",
        image=f"{REGISTRY}/{FAMILY}@{digest}",
        digest=digest,
        tag=None,
        registered=None,
        source=None,
        healthy=True,
        rejected=False,
        running=False,
        available=True,
    )
    return dataclasses.replace(entry, **values)  # type: ignore[arg-type]


def decided(revisions: list[Revision], running: int, wanted: str | None = None, **values: bool) -> Decision:
    in_progress = values.pop("in_progress", False)
    return decide(
        revisions, family=FAMILY, running=f"{FAMILY}:{running}", in_progress=in_progress, wanted=wanted, **values
    )


STATES = [
    {"healthy": healthy, "rejected": rejected, "available": available}
    for healthy, rejected, available in itertools.product([True, False], [True, False], [True, False, None])
    if healthy or not rejected  # Only what was healthy is remembered, and so can be remembered as wrong.
]


@pytest.mark.parametrize("in_progress", [False, True])
@pytest.mark.parametrize("running", [3, 2, 1])
def test_unasked_it_goes_to_the_newest_before_the_running_one_that_was_healthy_and_is_not_rejected(
    running: int, in_progress: bool
) -> None:
    for states in itertools.product(STATES, repeat=3):
        revisions = [revision(number, **state) for number, state in zip((3, 2, 1), states, strict=True)]
        left = next(entry for entry in revisions if entry.name == f"{FAMILY}:{running}")
        older = [entry for entry in revisions[revisions.index(left) + 1 :] if entry.healthy and not entry.rejected]
        try:
            found = decided(revisions, running, in_progress=in_progress)
        except OperationError as error:
            halfway = in_progress and left.healthy
            assert halfway or not older or older[0].available is False, states
            words = (
                "is still going to" if halfway else "is no longer in the registry" if older else "nothing to go back"
            )
            assert words in str(error), states
            continue
        assert (found.left, found.goal) == (left, older[0]), states
        assert found.goal.available is not False, states
        assert (found.starts, found.rejects, found.ends_a_deployment) == (True, True, in_progress), states


@pytest.mark.parametrize("wanted", ["1", f"{FAMILY}:1", revision(1).arn])
def test_a_revision_is_named_by_number_family_and_number_or_arn(wanted: str) -> None:
    assert decided([revision(3), revision(2), revision(1)], 3, wanted).goal.name == f"{FAMILY}:1"


def test_one_that_is_named_may_be_newer_and_may_have_been_rejected() -> None:
    revisions = [revision(3, rejected=True), revision(2), revision(1)]
    found = decided(revisions, 2, "3")
    assert (found.left.name, found.goal.name) == (f"{FAMILY}:2", f"{FAMILY}:3")


def test_one_that_was_never_healthy_is_gone_to_only_if_somebody_is_sure() -> None:
    revisions = [revision(2), revision(1, healthy=False)]
    with pytest.raises(OperationError, match=f"{FAMILY}:1 was never healthy. If you are sure: --even-if-never-healthy"):
        decided(revisions, 2, "1")
    assert decided(revisions, 2, "1", even_if_never_healthy=True).goal.name == f"{FAMILY}:1"
    with pytest.raises(OperationError, match="nothing to go back to"):
        decided(revisions, 2, even_if_never_healthy=True)


def test_one_that_there_is_not_is_told_with_those_there_are() -> None:
    with pytest.raises(
        OperationError, match=re.escape(f"no revision {FAMILY}:9; there are {FAMILY}:2, {FAMILY}:1.")
    ) as e:
        decided([revision(2), revision(1)], 2, "9")
    assert e.value.status == 2


def test_an_image_that_is_gone_is_refused_also_to_who_is_sure() -> None:
    with pytest.raises(OperationError, match=f"The image of {FAMILY}:1, sha256:0+1, is no longer in the registry"):
        decided([revision(2), revision(1, available=False)], 2, "1", even_if_never_healthy=True)


def test_where_the_running_revision_was_deleted_nothing_is_guessed() -> None:
    with pytest.raises(OperationError, match=f"{FAMILY}:3 runs, but its task definition was deleted"):
        decided([revision(2), revision(1)], 3)


def test_while_ecs_goes_to_a_healthy_one_only_a_named_one_ends_it() -> None:
    revisions = [revision(3), revision(2), revision(1)]
    with pytest.raises(OperationError, match=f"still going to {FAMILY}:3, which was healthy before; nothing was done"):
        decided(revisions, 3, in_progress=True)
    assert decided(revisions, 3, "1", in_progress=True).ends_a_deployment


def test_where_ecs_went_back_by_itself_only_the_image_is_pinned() -> None:
    found = decided([revision(3, healthy=False), revision(2)], 2, "2")
    assert (found.starts, found.rejects, found.ends_a_deployment, found.same_image) == (False, False, False, False)
    assert found.pin == revision(2).digest


@pytest.mark.parametrize(
    ("image", "pin"),
    [
        (f"{REGISTRY}/{FAMILY}@sha256:ab", "sha256:ab"),
        ("ghcr.io/somebody/server@sha256:ab", "ghcr.io/somebody/server@sha256:ab"),
        (f"{REGISTRY}/other-{FAMILY}@sha256:ab", f"{REGISTRY}/other-{FAMILY}@sha256:ab"),
        (f"{REGISTRY}/{FAMILY}@sha256:cd", "sha256:cd"),
    ],
)
def test_an_image_of_its_own_repository_is_pinned_by_digest_and_of_others_in_full(image: str, pin: str) -> None:
    goal = revision(1, image=image, digest=image.partition("@")[2], available=None)
    assert decided([revision(2), goal], 2).pin == pin


@pytest.mark.parametrize("same", [True, False])
def test_it_is_said_where_only_settings_differ(same: bool) -> None:
    goal = revision(1, image=revision(2).image) if same else revision(1)
    assert decided([revision(2), goal], 2).same_image is same
