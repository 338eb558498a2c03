"""What every file of calls builds on: how a resource type, and a look-up, is carried out in an account."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from pulumi.runtime.rpc import UNKNOWN

Properties = dict[str, Any]
"""Properties of a resource under the names of Pulumi's schema (camelCase)."""


class Account(Protocol):
    """An AWS account, or one that is emulated."""

    @property
    def account(self) -> str: ...
    @property
    def region(self) -> str: ...
    def client(self, service: str) -> Any: ...


class Docker(Protocol):
    """What the docker calls need of a Docker engine; `providers.docker_client.Client` has it."""

    def build(
        self,
        context: Path,
        tag: str,
        *,
        dockerfile: Path | None,
        platform: str | None,
        args: Mapping[str, str] | None,
        target: str | None,
    ) -> object: ...

    def push(self, image: str, reference: str, username: str, password: str) -> str: ...


class NotCarriedOut(Exception):
    """The program uses something that these providers would have to ignore."""

    def __init__(self, what: str, token: str) -> None:
        file = token.split(":")[1].split("/")[0] if ":" in token else token
        super().__init__(
            f"this provider does not carry out {what}: add it to providers/ (the file for `{file}`), "
            "or less would be deployed than was asked for"
        )


class ProviderError(Exception):
    """An error in the words of the real provider."""


class Unfinished(ProviderError):
    """Made, but not as it should be: it is in the state by its `locator`, and the next deployment goes on from it."""

    def __init__(self, words: str, locator: str) -> None:
        super().__init__(words)
        self.locator = locator


@contextlib.contextmanager
def completing(locator: str) -> Iterator[None]:
    """What is done inside completes what was made as `locator`: an error of AWS leaves it `Unfinished`, not unknown."""
    try:
        yield
    except (BotoCoreError, ClientError, ProviderError) as error:
        raise Unfinished(str(error), locator) from error


class Stopped(ProviderError):
    """The deployment was cancelled, so a wait was given up."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What handlers act on."""

    account: Account
    docker: Docker | None
    """None: images are simulated, as a manifest without layers."""
    directory: Path
    """The program's directory, from which relative paths count."""
    steady_timeout: float = 300.0
    """Seconds that a service may take until it is steady."""
    partition: str = "aws"
    """The account's, as ARNs have it."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when what is under way is cancelled; waits give up."""

    def client(self, service: str) -> Any:
        return self.account.client(service)

    def pause(self, seconds: float) -> None:
        """Sleep inside a wait. Raises `Stopped` when it is cancelled meanwhile."""
        if self.stop.wait(seconds):
            raise Stopped("given up, because the deployment was cancelled")


class Handler(ABC):
    """Carries out one resource type: says what is there in Pulumi's terms, and makes, changes and removes it.

    A handler holds no state. `locator` is the text by which it finds a resource again (a name, an ARN, an id).
    """

    type: ClassVar[str]
    """Pulumi's type token, aws:ecr/repository:Repository for example."""
    properties: ClassVar[frozenset[str]]
    """Input properties that the account shows; compared with what `read` returns."""
    replacing: ClassVar[frozenset[str]] = frozenset()
    """Those of `properties` and `remembered` that cannot be changed in place."""
    remembered: ClassVar[frozenset[str]] = frozenset()
    """Input properties compared with those of the last deployment, since the account cannot show them."""
    steering: ClassVar[frozenset[str]] = frozenset()
    """Input properties that are no state, but say how create, update or delete go about it."""
    recorded_only: ClassVar[Mapping[str, str]] = {}
    """Input properties that are accepted without effect, each with the reason."""
    defaults: ClassVar[Mapping[str, Any]] = {"tags": {}}
    """What an absent property stands for; a property neither given nor listed is AWS's to choose."""
    name_property: ClassVar[str | None] = None
    """The physical name: generated if absent; if given, a replacement deletes first, as the real provider does."""
    delete_before_replace: ClassVar[bool] = False
    """There can be only one, so a replacement deletes first."""
    json_properties: ClassVar[frozenset[str]] = frozenset()
    """Properties that are JSON documents, compared by meaning."""
    unordered: ClassVar[frozenset[str]] = frozenset()
    """List properties in which order means nothing."""
    unverified: ClassVar[frozenset[str]] = frozenset()
    """Properties that may rightly differ from the input right after an update."""
    renewed: ClassVar[frozenset[str]] = frozenset()
    """Outputs that an update makes anew, so that a preview of one does not know them."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @abstractmethod
    def create(self, inputs: Properties) -> str:
        """Make it and return its locator. An absent physical name has been filled in.

        Every call after the one that makes it stands within `completing`.
        """

    @abstractmethod
    def read(self, locator: str) -> Properties | None:
        """What is there, inputs and outputs, with `id` as the real provider's; None if it is gone."""

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> str | None:
        """Change it in place. `inputs` is complete, `changed` names what differs. Returns a new locator if it moved."""
        raise NotImplementedError(f"{self.type} cannot be changed in place")

    @abstractmethod
    def delete(self, locator: str, recorded: Properties) -> None:
        """Remove it; no error if it is gone. `recorded` has the inputs of the last deployment."""

    def locate(self, import_id: str) -> str:
        """The locator for the id with which the provider imports a resource."""
        return import_id

    def import_id(self, locator: str) -> str:
        """The reverse of `locate`."""
        return locator

    def find(self, inputs: Properties) -> str | None:
        """The locator of what is there under the name that `inputs` give it (those that are known); None: nothing."""
        name = inputs.get(self.name_property) if self.name_property else None
        return self._if_there(name)

    def _if_there(self, locator: str | None) -> str | None:
        return locator if locator and self.read(locator) is not None else None

    def replaced_by(self, name: str, wanted: Any, actual: Any) -> bool:
        """Whether property `name`, which differs, cannot be changed in place from `actual` to `wanted`."""
        return name in self.replacing

    def refused(self, inputs: Properties, changed: Collection[str]) -> str:
        """Why the real provider takes no such change of what is there, in its words; empty: it does."""
        return ""

    def equal(self, name: str, wanted: Any, actual: Any, inputs: Properties) -> bool:
        """Whether property `name` is as wanted. Members that AWS fills in are no difference."""
        if name in self.json_properties:
            return bool(_parsed(wanted) == _parsed(actual))
        if name == "tags":
            return bool((wanted or {}) == (actual or {}))
        return same(wanted, actual, ordered=name not in self.unordered)

    def check(self, inputs: Properties) -> Properties:
        """The inputs as the real provider takes them: documents may be given as objects, a type may add to this.

        What is not known yet is `UNKNOWN`, and stays so.
        """
        return {
            name: _document(value) if name in self.json_properties and isinstance(value, dict) else value
            for name, value in inputs.items()
        }

    @classmethod
    def ineffective(cls, inputs: Properties) -> dict[str, str]:
        """Which of these inputs are accepted without effect, each with the reason."""
        return {name: reason for name, reason in cls.recorded_only.items() if name in inputs}


def same(wanted: Any, actual: Any, ordered: bool = True) -> bool:
    """Whether `actual` is what was asked for: absent equals empty, "512" equals 512, extra members do not matter."""
    if isinstance(wanted, dict) and isinstance(actual, dict):
        return all(same(value, actual.get(key), ordered) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(actual, list):
        if len(wanted) != len(actual):
            return False
        if ordered:
            return all(map(same, wanted, actual))
        left = list(actual)
        for value in wanted:
            match = next((entry for entry in left if same(value, entry, ordered)), None)
            if match is None:
                return False
            left.remove(match)
        return True
    if wanted in (None, "", [], {}) and actual in (None, "", [], {}):
        return True
    if isinstance(wanted, bool) or isinstance(actual, bool):
        return str(wanted).lower() == str(actual).lower() or (not wanted and actual is None)
    return wanted is not None and actual is not None and str(wanted) == str(actual)


def contains_unknown(value: Any) -> bool:
    """Whether some part of the value is not known yet."""
    if isinstance(value, dict):
        return any(map(contains_unknown, value.values()))
    if isinstance(value, list):
        return any(map(contains_unknown, value))
    return bool(value == UNKNOWN)


def _document(value: dict[str, Any]) -> str:
    return UNKNOWN if contains_unknown(value) else json.dumps(value)


def _parsed(document: Any) -> Any:
    return json.loads(document) if isinstance(document, str) and document else document


def generated_name(logical_name: str, seed: bytes = b"") -> str:
    """A physical name as Pulumi generates it: the logical name, a hyphen, seven hexadecimal digits.

    seed: the engine's, so that a preview and its deployment make up the same.
    """
    digits = hashlib.sha256(seed).hexdigest() if seed else secrets.token_hex(4)
    return f"{logical_name}-{digits[:7]}"


def given(**parameters: Any) -> dict[str, Any]:
    """The parameters that are not None; AWS's APIs take absence, not null."""
    return {name: value for name, value in parameters.items() if value is not None}


def tag_list(tags: Mapping[str, str] | None, key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    """{"a": "b"} as AWS's [{"Key": "a", "Value": "b"}]."""
    return [{key: name, value: text} for name, text in (tags or {}).items()]


def tag_map(tags: list[dict[str, str]] | None, key: str = "Key", value: str = "Value") -> dict[str, str]:
    """The reverse of `tag_list`."""
    return {tag[key]: tag[value] for tag in tags or []}


def gone_tags(before: Mapping[str, str], after: Mapping[str, str] | None) -> list[str]:
    """Keys of tags to remove."""
    return [key for key in before if key not in (after or {})]


Function = Callable[[Context, Properties], Properties]
handlers: dict[str, type[Handler]] = {}
"""Every resource type that these providers carry out, by type token."""
functions: dict[str, tuple[Function, frozenset[str]]] = {}
"""Every look-up: how to answer it, and the arguments that it heeds."""


def resource(kind: type[Handler]) -> type[Handler]:
    """Register a handler."""
    handlers[kind.type] = kind
    return kind


def function(token: str, *arguments: str) -> Callable[[Function], Function]:
    """Register the answer to the look-up `token`, which heeds `arguments` (and `region`, if it is the account's)."""

    def register(answer: Function) -> Function:
        functions[token] = (answer, frozenset(arguments))
        return answer

    return register


def the_one(found: list[Any], noun: str, sought: Any) -> Any:
    """The only element of `found`. Raises `ProviderError` as the provider's singular look-ups do."""
    if not found:
        raise ProviderError(f"no matching {noun} found ({_words(sought)})")
    if len(found) > 1:
        raise ProviderError(
            f"multiple {noun}s matched ({_words(sought)}); use additional constraints to reduce "
            f"matches to a single {noun}"
        )
    return found[0]


def _words(sought: Any) -> str:
    return ", ".join(f"{key} = {value}" for key, value in sought.items()) if isinstance(sought, dict) else str(sought)
