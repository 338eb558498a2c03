"""Where a rollback goes, and what it then has to do. Nothing is asked or changed here: all that counts is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from operations.errors import OperationError
from operations.revisions import Revision


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a rollback does."""

    left: Revision
    """The one that runs."""
    goal: Revision
    starts: bool
    """Whether ECS has to be told; not where it went back by itself, so that the goal runs already."""
    ends_a_deployment: bool
    """Whether a deployment that is in progress ends by it."""
    pin: str
    """What `image.digest` of the service becomes: a digest of its own repository, or another registry's image."""
    rejects: bool
    """Whether the revision that is left is remembered as wrong."""

    @property
    def same_image(self) -> bool:
        """Whether only settings differ, so that the pinned image alone does not keep the fault away."""
        return self.goal.image == self.left.image and self.goal.name != self.left.name


def decide(
    revisions: Sequence[Revision],
    *,
    family: str,
    running: str,
    in_progress: bool,
    wanted: str | None = None,
    even_if_never_healthy: bool = False,
) -> Decision:
    """Where to go. Raises `OperationError` where there is nowhere, or where it might not be what anybody wants.

    revisions: newest first. family: the task definition's, which is the service's name. running: `family:number` of
    what the service is to run, also where that was deleted. in_progress: whether ECS is still going there. wanted:
    number, `family:number` or ARN; None: the newest healthy one before the running one.
    """
    left = next((entry for entry in revisions if entry.name == running), None)
    if left is None:
        raise OperationError(f"{running} runs, but its task definition was deleted. Deploy anew: pulumi up.")
    if in_progress and wanted is None and left.healthy:
        # Somebody else's rollback, most likely: the next one would lead further back than anybody wants.
        raise OperationError(
            f"ECS is still going to {left.name}, which was healthy before; nothing was done. "
            "Wait for it (./ops status), or name the revision to go to."
        )
    goal = (
        _last_healthy(revisions, left)
        if wanted is None
        else _named(revisions, family, wanted, even_if_never_healthy=even_if_never_healthy)
    )
    if goal.available is False:
        raise OperationError(
            f"The image of {goal.name}, {goal.digest}, is no longer in the registry. Choose another one: ./ops history"
        )
    moves = goal.name != left.name
    return Decision(
        left=left,
        goal=goal,
        starts=moves,
        ends_a_deployment=moves and in_progress,
        pin=(goal.digest or goal.image) if goal.image.split("@")[0].endswith(f"/{family}") else goal.image,
        rejects=moves,
    )


def _last_healthy(revisions: Sequence[Revision], left: Revision) -> Revision:
    older = revisions[revisions.index(left) + 1 :]
    goal = next((entry for entry in older if entry.healthy and not entry.rejected), None)
    if goal is None:
        raise OperationError(
            f"No revision before {left.name} was ever healthy, so there is nothing to go back to. "
            "See ./ops history; name one with --even-if-never-healthy, or mend the cause and deploy: pulumi up."
        )
    return goal


def _named(revisions: Sequence[Revision], family: str, wanted: str, *, even_if_never_healthy: bool) -> Revision:
    name = wanted.rsplit("/", 1)[-1] if ":" in wanted else f"{family}:{wanted}"
    goal = next((entry for entry in revisions if entry.name == name), None)
    if goal is None:
        raise OperationError(f"There is no revision {name}; there are {', '.join(e.name for e in revisions)}.", 2)
    if not goal.healthy and not even_if_never_healthy:
        raise OperationError(f"{name} was never healthy. If you are sure: --even-if-never-healthy")
    return goal
