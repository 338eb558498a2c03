"""What a deployment did, or would do: the same words for Pulumi's engine and the rehearsal's embedded driver."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from providers.provider import Change, paths
from providers.recording import Call

Action = Literal["created", "imported", "changed", "replaced", "same", "deleted", "failed"]
STACK = "pulumi:pulumi:Stack"
SECRET = "[secret]"  # noqa: S105  # What stands in for one.
MARK = "4dabf18193072939515e22adb298388d"
"""The key by which wire, events and state mark a secret value."""


@dataclass(frozen=True)
class Result:
    """What became of one resource."""

    urn: str
    type: str
    name: str
    action: Action
    seconds: float
    changes: Mapping[str, Change] = field(default_factory=dict)
    """What differed, by its path (healthCheck.path, containerDefinitions[0].image); empty for created and same. A
    secret's values are `[secret]`."""
    recorded_only: Mapping[str, str] = field(default_factory=dict)
    """Inputs that had no effect, each with the reason."""


@dataclass(frozen=True)
class Progress:
    """A resource was begun, or ended with `action`."""

    urn: str
    type: str
    name: str
    action: Action | None
    """None: begun."""
    seconds: float = 0.0


Listener = Callable[[Progress], None]
"""Is told of each resource when it is begun and ended, from several threads."""


class Deployer(Protocol):
    """One stack, by whatever deploys it. Each raises `DeploymentFailed`."""

    def configure(self, config: Mapping[str, str], secret_keys: Collection[str] = ()) -> None:
        """Set the stack's configuration: full key -> text, objects as JSON. `secret_keys`: those that are secret."""

    def take_in(self, file: Path) -> list[str]:
        """Take what exists into the state, as `pulumi import --file` does. Names of what was taken in.

        Raises `ValueError` for a file that is none, and `LookupError` where something cannot be imported.
        """

    def preview(self, progress: Listener | None = None, *, policies: bool = True) -> Deployment:
        """What `up` would do, held to the policies."""

    def up(self, progress: Listener | None = None, *, policies: bool = True) -> Deployment:
        """Deploy, held to the policies."""

    def refresh(self, progress: Listener | None = None) -> Deployment:
        """The state becomes what there is; what had drifted is changed."""

    def destroy(self, progress: Listener | None = None) -> Deployment:
        """Delete all that is in the state, what depends on others first."""


@dataclass
class Deployment:
    """Everything that one command did, or would do."""

    resources: list[Result] = field(default_factory=list)
    """In the order in which they were finished."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """Stack outputs; a secret one is `[secret]`."""
    messages: list[tuple[str, str]] = field(default_factory=list)
    """What program and engine said: (info | warning | error, text)."""
    policies: list[str] = field(default_factory=list)
    """What the policies found, a line each."""
    calls: list[Call] = field(default_factory=list, repr=False)
    """The AWS calls that this project's own providers made, with the resource on whose behalf."""
    seconds: float = 0.0
    preview: bool = False
    """Whether nothing was done, and this is what would be."""

    def count(self, action: Action) -> int:
        return sum(result.action == action for result in self.resources)


class DeploymentFailed(Exception):
    """The program, a resource or a policy failed; in the words of who failed, a paragraph each."""

    def __init__(self, deployment: Deployment, errors: list[str]) -> None:
        self.deployment = deployment
        """What had happened till then."""
        super().__init__("\n".join(errors) or "it failed without a word")


def name_of(urn: str) -> str:
    """The logical name in a URN."""
    return urn.rsplit("::", 1)[-1]


def narrowed(path: str, change: Change) -> Iterator[tuple[str, Change]]:
    """The innermost values that differ, for a person to read; JSON texts are looked into."""
    document = Change(_document(change.before), _document(change.after), change.replaces)
    for inner, narrow in paths(path, document):
        if (_document(narrow.before), _document(narrow.after)) == (narrow.before, narrow.after):
            yield inner, narrow
        else:
            yield from narrowed(inner, narrow)


def _document(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


def outputs_of(resources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Stack outputs among resources as `pulumi stack export` has them; what is secret in them is `SECRET`."""
    stacks = [resource for resource in resources if resource["type"] == STACK]
    return {name: without_secrets(value) for stack in stacks for name, value in stack.get("outputs", {}).items()}


def without_secrets(value: Any) -> Any:
    """The value with `SECRET` in place of each secret in it."""
    if isinstance(value, Mapping):
        return SECRET if MARK in value else {key: without_secrets(entry) for key, entry in value.items()}
    return [without_secrets(entry) for entry in value] if isinstance(value, list) else value
