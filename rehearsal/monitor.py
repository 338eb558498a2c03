"""Deploys the program, unchanged, into the emulated account: a Pulumi engine in miniature, in this process.

The program talks to a resource monitor, which in production is Pulumi's engine. Here it is `Monitor`, built on the one
that Pulumi's SDK has for unit tests: it finds out what is there by reading the account, compares, and makes, changes,
replaces or leaves each resource by the calls in `rehearsal.calls`. What it cannot carry out, it refuses.

It follows the engine in what a program can see: URNs, aliases, ignoreChanges, import, protect, retainOnDelete, and
create-before-delete. It differs in three things: the actual state is always read (as if with --refresh), there is no
preview, and deleting before replacing does not take dependent resources along.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import hashlib
import json
import os
import runpy
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import grpc
import pulumi
from google.protobuf import empty_pb2
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import engine_pb2, resource_pb2
from pulumi.runtime.settings import Settings, configure, get_project, get_stack
from pulumi.runtime.stack import run_in_stack
from pulumi.runtime.sync_await import _ensure_event_loop, _sync_await

from rehearsal.calls import Context, Docker, Handler, NotCarriedOut, functions, handlers
from rehearsal.calls.base import Properties, ProviderError, Unfinished, generated_name
from rehearsal.emulator import Account, Call, recording

Action = Literal["created", "imported", "changed", "replaced", "same", "deleted", "failed"]
STACK = "pulumi:pulumi:Stack"
SECRET = "[secret]"  # noqa: S105  # What stands in for one.


@dataclass(frozen=True)
class Change:
    """One property that differed. A secret's values are `[secret]`."""

    before: Any
    after: Any


@dataclass(frozen=True)
class Result:
    """What became of one resource."""

    urn: str
    type: str
    name: str
    action: Action
    seconds: float
    changes: Mapping[str, Change] = field(default_factory=dict)
    """What differed, by its path (healthCheck.path, containerDefinitions[0].image); empty for created and same."""
    recorded_only: Mapping[str, str] = field(default_factory=dict)
    """Inputs that had no effect, each with the reason."""


@dataclass(frozen=True)
class Registration:
    """What the program asked for, component resources included; for policies and diagrams."""

    urn: str
    type: str
    name: str
    parent: str
    """URN of the parent; empty for the stack itself."""
    custom: bool
    inputs: Mapping[str, Any] = field(repr=False)
    """Inputs under Pulumi's names, in clear: not for printing."""
    secrets: frozenset[str]
    """Names of the inputs that are secret."""
    dependencies: tuple[str, ...]
    """URNs of the resources that it waits for."""
    protect: bool
    ignore_changes: tuple[str, ...]


@dataclass
class Deployment:
    """Everything that one run did."""

    resources: list[Result] = field(default_factory=list)
    """In the order in which they were finished."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """Stack outputs; a secret one is `[secret]`."""
    registrations: list[Registration] = field(default_factory=list)
    messages: list[tuple[str, str]] = field(default_factory=list)
    """What the program logged: (info | warning | error, text)."""
    calls: list[Call] = field(default_factory=list, repr=False)
    """The AWS calls made, with the resource on whose behalf."""
    seconds: float = 0.0

    def count(self, action: Action) -> int:
        return sum(result.action == action for result in self.resources)


class DeploymentFailed(Exception):
    """The program or a resource failed. `__cause__` is the original error, `deployment` what had happened till then."""

    def __init__(self, deployment: Deployment, error: BaseException) -> None:
        self.deployment = deployment
        super().__init__(str(error) or type(error).__name__)


@dataclass(frozen=True)
class Progress:
    """A resource was begun, or ended with `action`."""

    urn: str
    type: str
    name: str
    action: Action | None
    """None: begun."""
    seconds: float = 0.0


class State:
    """What earlier runs made: URN, type, locator. Kept in a JSON file so that what is no longer registered is deleted.

    It never says what a resource looks like, except for inputs that the account cannot show. Secrets are hashed.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        known = json.loads(file.read_text()) if file.exists() else {"resources": [], "replaced": []}
        self.resources: dict[str, dict[str, Any]] = {entry["urn"]: entry for entry in known["resources"]}
        """By URN."""
        self.replaced: list[dict[str, Any]] = known["replaced"]
        """Resources that have a successor and wait for deletion."""

    def put(self, entry: dict[str, Any]) -> None:
        with self._lock:
            self.resources[entry["urn"]] = entry
            self._save()

    def rename(self, old: str, new: str) -> None:
        with self._lock:
            self.resources[new] = self.resources.pop(old) | {"urn": new}
            self._save()

    def supersede(self, entry: dict[str, Any]) -> None:
        with self._lock:
            self.replaced.append(entry)
            self._save()

    def forget(self, entry: dict[str, Any]) -> None:
        with self._lock:
            if entry in self.replaced:
                self.replaced.remove(entry)
            else:
                self.resources.pop(entry["urn"], None)
            self._save()

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({"resources": list(self.resources.values()), "replaced": self.replaced}, indent=1))
        new.replace(self._file)


class Engine:
    """Carries out registrations and look-ups; called from several threads at once."""

    def __init__(self, context: Context, state: State, progress: Callable[[Progress], None] | None) -> None:
        self.deployment = Deployment()
        self.registered: set[str] = set()
        self._context = context
        self._state = state
        self._progress = progress or (lambda _event: None)
        self._lock = threading.Lock()

    def look_up(self, token: str, args: Properties) -> Properties:
        """Answer an invoke. Raises NotCarriedOut for an unknown one, or one with an argument that would be ignored."""
        if token not in functions:
            raise NotCarriedOut(f"the look-up {token}", token)
        answer, heeded = functions[token]
        for name, value in args.items():
            if name not in heeded and not (name == "region" and value == self._context.account.region):
                raise NotCarriedOut(f"{token}.{name}", token)
        with recording(self.deployment.calls):
            return answer(self._context, args)

    def register(
        self, registration: Registration, aliases: Iterable[str], import_id: str, retain: bool, delete_first: bool
    ) -> tuple[str, Properties]:
        """Make the account agree with one registration. Returns the id and all properties."""
        urn, started = registration.urn, time.monotonic()
        self._progress(Progress(urn, registration.type, registration.name, None))
        with recording(self.deployment.calls, urn):
            try:
                handler = self._handler(registration)
                action, changes, locator, actual = self._settle(handler, registration, aliases, import_id, delete_first)
            except BaseException as error:
                if isinstance(error, Unfinished):
                    self._remember(handler, registration, error.locator, retain)
                self._finish(Result(urn, registration.type, registration.name, "failed", time.monotonic() - started))
                raise
        self._remember(handler, registration, locator, retain)
        recorded = {name: reason for name, reason in handler.recorded_only.items() if name in registration.inputs}
        recorded |= handler.left_out(dict(registration.inputs))
        shown = dict(entry for name, change in changes.items() for entry in narrowed(name, change))
        self._finish(
            Result(urn, registration.type, registration.name, action, time.monotonic() - started, shown, recorded)
        )
        return str(actual["id"]), {**registration.inputs, **actual}

    def _remember(self, handler: Handler, registration: Registration, locator: str, retain: bool) -> None:
        self._state.put(
            {
                "urn": registration.urn,
                "type": registration.type,
                "name": registration.name,
                "locator": locator,
                "dependencies": registration.dependencies,
                "protect": registration.protect,
                "retain": retain,
                "inputs": {
                    name: _hashed(value) if name in registration.secrets else value
                    for name, value in handler.check(dict(registration.inputs)).items()
                    if name in handler.remembered or (name in handler.steering and isinstance(value, bool))
                },
            }
        )

    def _handler(self, registration: Registration) -> Handler:
        kind = handlers.get(registration.type)
        if kind is None:
            raise NotCarriedOut(f"{registration.type} ({registration.name})", registration.type)
        known = kind.properties | kind.remembered | kind.steering | kind.recorded_only.keys()
        for name, value in registration.inputs.items():
            if name not in known and not (name == "region" and value == self._context.account.region):
                raise NotCarriedOut(f"{registration.type}.{name} ({registration.name})", registration.type)
        return kind(self._context)

    def _settle(
        self, handler: Handler, registration: Registration, aliases: Iterable[str], import_id: str, delete_first: bool
    ) -> tuple[Action, dict[str, Change], str, Properties]:
        urn = registration.urn
        inputs = handler.check(dict(registration.inputs))
        for alias in aliases:
            if urn not in self._state.resources and alias in self._state.resources:
                self._state.rename(alias, urn)
        entry = self._state.resources.get(urn)
        actual = handler.read(entry["locator"]) if entry else None
        if entry is None or actual is None:
            if import_id:
                return self._import(handler, registration, inputs, import_id)
            return "created", {}, *self._create(handler, registration, inputs)

        recorded = entry["inputs"]
        ignored = set(registration.ignore_changes)
        for name in ignored:
            if not name.isidentifier():
                raise NotCarriedOut(f"ignoreChanges of the path {name} ({registration.name})", registration.type)
            if name in handler.remembered and name in recorded:
                inputs[name] = recorded[name]
            elif name in handler.properties and actual.get(name) is not None:
                inputs[name] = actual[name]
        changes = differences(handler, inputs, actual, recorded, registration.secrets, ignored)
        if not changes:
            return "same", {}, entry["locator"], actual
        if not replacing(handler, changes):
            locator = handler.update(entry["locator"], inputs, frozenset(changes)) or entry["locator"]
            return "changed", changes, locator, self._verified(handler, locator, inputs, registration)

        # The provider too deletes first where the physical name is given and stays: there can be only one of a name.
        name_stays = handler.name_property in registration.inputs and handler.name_property not in changes
        if delete_first or handler.delete_before_replace or name_stays:
            self._delete_now(handler, entry)
            self._state.forget(entry)
            return "replaced", changes, *self._create(handler, registration, inputs)
        locator, actual = self._create(handler, registration, inputs)
        if locator != entry["locator"]:
            self._state.supersede(entry)
        return "replaced", changes, locator, actual

    def _create(self, handler: Handler, registration: Registration, inputs: Properties) -> tuple[str, Properties]:
        if handler.name_property and handler.name_property not in inputs:
            inputs = inputs | {handler.name_property: generated_name(registration.name)}
        locator = handler.create(inputs)
        return locator, self._verified(handler, locator, inputs, registration)

    def _import(
        self, handler: Handler, registration: Registration, inputs: Properties, import_id: str
    ) -> tuple[Action, dict[str, Change], str, Properties]:
        locator = handler.locate(import_id)
        actual = handler.read(locator)
        if actual is None:
            raise LookupError(f"resource '{import_id}' does not exist ({registration.urn})")
        # What the account cannot show is taken as the program says, or from what can be read after all.
        shown = {name: actual.get(name, value) for name, value in inputs.items() if name in handler.remembered}
        ignored = set(registration.ignore_changes)
        changes = differences(handler, inputs, actual, shown, registration.secrets, ignored)
        if changes:
            raise ValueError(
                f"inputs to import do not match the existing resource '{import_id}' ({registration.urn}): "
                + "; ".join(
                    f"{name} is {change.before!r}, the program says {change.after!r}"
                    for name, change in changes.items()
                )
            )
        return "imported", {}, locator, actual

    def _verified(self, handler: Handler, locator: str, inputs: Properties, registration: Registration) -> Properties:
        """Read back what was made. What then still differs was accepted by the emulator and ignored."""
        actual = handler.read(locator)
        if actual is None:
            raise RuntimeError(f"{registration.urn} was made as {locator}, but is not there")
        ignored = {*handler.remembered, *handler.unverified}
        if left := differences(handler, inputs, actual, {}, registration.secrets, ignored):
            name, change = next(iter(left.items()))
            raise NotCarriedOut(
                f"{registration.type}.{name} ({registration.name}): the emulator was asked for "
                f"{change.after!r} and has {change.before!r}",
                registration.type,
            )
        return actual

    def _delete_now(self, handler: Handler, entry: dict[str, Any]) -> None:
        if entry["protect"]:
            raise PermissionError(f"{entry['urn']} is protected: remove `protect` from it and deploy, then it can go")
        if not entry["retain"]:
            handler.delete(entry["locator"], entry["inputs"])

    def delete(self, entry: dict[str, Any], report: bool = True) -> None:
        """Delete what an earlier run made."""
        urn, started = entry["urn"], time.monotonic()
        if report:
            self._progress(Progress(urn, entry["type"], entry["name"], None))
        with recording(self.deployment.calls, urn):
            try:
                self._delete_now(handlers[entry["type"]](self._context), entry)
            except BaseException:
                self._finish(Result(urn, entry["type"], entry["name"], "failed", time.monotonic() - started))
                raise
        self._state.forget(entry)
        if report:
            self._finish(Result(urn, entry["type"], entry["name"], "deleted", time.monotonic() - started))

    def delete_rest(self) -> None:
        """Delete replaced resources, and those no longer registered; what depends on others goes first."""
        left = [entry for urn, entry in self._state.resources.items() if urn not in self.registered]
        left += self._state.replaced
        while left:
            needed = {urn for entry in left for urn in entry["dependencies"]}
            entry = next((entry for entry in reversed(left) if entry["urn"] not in needed), left[-1])
            self.delete(entry, report=entry not in self._state.replaced)
            left.remove(entry)

    def _finish(self, result: Result) -> None:
        with self._lock:
            self.deployment.resources.append(result)
        self._progress(Progress(result.urn, result.type, result.name, result.action, result.seconds))


def differences(
    handler: Handler,
    inputs: Properties,
    actual: Properties,
    recorded: Properties,
    secrets: frozenset[str],
    ignored: set[str],
) -> dict[str, Change]:
    """What of `inputs` (as `handler.check` gives them) is not so in `actual`, by property.

    recorded: what an earlier deployment remembered of properties that the account cannot show. secrets: properties
    whose values are not told. ignored: properties not compared.
    """
    changes = {}
    for name in sorted(handler.properties | handler.remembered):
        if name in ignored or (name not in inputs and name not in handler.defaults):
            continue
        wanted = inputs.get(name, handler.defaults.get(name))
        if name in handler.remembered:
            before = recorded.get(name, handler.defaults.get(name))
            same = before in (wanted, _hashed(wanted))
        else:
            before = actual.get(name)
            same = handler.equal(name, wanted, before, inputs)
        if not same:
            changes[name] = Change(SECRET, SECRET) if name in secrets else Change(before, wanted)
    return changes


def replacing(handler: Handler, changes: Mapping[str, Change]) -> list[str]:
    """The properties among `changes` that cannot be changed in place."""
    return [name for name, change in changes.items() if handler.replaced_by(name, change.after, change.before)]


def narrowed(path: str, change: Change) -> Iterator[tuple[str, Change]]:
    """The innermost values that differ, for a person to read; JSON texts are looked into."""
    before, after = (_document(value) for value in (change.before, change.after))
    if isinstance(before, dict) and isinstance(after, dict):
        pairs = [(f"{path}.{key}", before.get(key), after.get(key)) for key in after | before]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [(f"{path}[{index}]", *pair) for index, pair in enumerate(zip(before, after, strict=True))]
    else:
        yield path, Change(before, after)
        return
    for inner, old, new in pairs:
        # Members that the program leaves to AWS are no difference, except among tags.
        if old != new and (new is not None or path == "tags"):
            yield from narrowed(inner, Change(old, new))


def _document(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


def _hashed(value: Any) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class Monitor(mocks.MockMonitor):
    """The resource monitor that the program's SDK talks to; translates its requests for `Engine`."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(_NoMocks())
        self._engine = engine
        self._failure: BaseException | None = None

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """As the engine does: the parent's whole type is kept, and the stack is no part of it."""
        return _urn(get_stack(), get_project(), parent, type_, name)

    def Invoke(self, request: Any) -> Any:
        _ensure_event_loop()  # type: ignore[no-untyped-call]
        if request.tok == "pulumi:pulumi:getResource":
            return super().Invoke(request)  # type: ignore[no-untyped-call]
        args = _plain(rpc.deserialize_properties(request.args))[0]
        try:
            found = self._engine.look_up(request.tok, args)
        except ProviderError as error:
            raise LookUpFailed(str(error)) from error
        # `return` is a Python keyword.
        answer: dict[str, Any] = {"return": _sync_await(rpc.serialize_properties(found, {}))}
        return resource_pb2.ResourceInvokeResponse(**answer)

    def ReadResource(self, request: Any) -> Any:
        kind = handlers.get(request.type)
        if kind is None:
            raise NotCarriedOut(f"reading {request.type} ({request.name})", request.type)
        _ensure_event_loop()  # type: ignore[no-untyped-call]
        handler = kind(self._engine._context)
        with recording(self._engine.deployment.calls):
            found = handler.read(handler.locate(request.id))
        if found is None:
            raise LookupError(f"resource '{request.id}' of type {request.type} does not exist ({request.name})")
        urn = self.make_urn(request.parent, request.type, request.name)
        self.resources[urn] = mocks.MockMonitor.ResourceRegistration(urn, str(found["id"]), found)
        return resource_pb2.ReadResourceResponse(urn=urn, properties=_sync_await(rpc.serialize_properties(found, {})))

    def RegisterResource(self, request: Any) -> Any:
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        _ensure_event_loop()  # type: ignore[no-untyped-call]
        inputs, secrets = _plain(rpc.deserialize_properties(request.object))
        registration = Registration(
            urn=urn,
            type=request.type,
            name=request.name,
            parent=request.parent,
            custom=request.custom,
            inputs=inputs,
            secrets=secrets,
            dependencies=tuple(sorted(request.dependencies)),
            protect=request.protect,
            ignore_changes=tuple(request.ignoreChanges),
        )
        self._engine.deployment.registrations.append(registration)
        if urn in self._engine.registered:
            raise ValueError(f"duplicate resource URN {urn}: give one of the two another name")
        self._engine.registered.add(urn)
        if request.remote:
            raise NotCarriedOut(f"the remote component {request.type} ({request.name})", request.type)
        if not request.custom:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        if request.type.startswith("pulumi:providers:"):
            raise NotCarriedOut(
                f"an explicit provider ({request.name}): configure the default one, aws:region and so on", request.type
            )
        if self._failure is not None:
            # Nothing is begun after a failure, and there must be one error only: the first.
            raise self._failure
        try:
            id_, outputs = self._engine.register(
                registration,
                [_alias_urn(alias, request) for alias in request.aliases],
                request.importId,
                request.retainOnDelete,
                request.deleteBeforeReplace,
            )
        except BaseException as error:
            self._failure = self._failure or error
            raise
        hidden = secrets | set(request.additionalSecretOutputs)
        outputs = {
            name: rpc.wrap_rpc_secret(value) if name in hidden else value
            for name, value in outputs.items()
            if name != "id"
        }
        self.resources[urn] = mocks.MockMonitor.ResourceRegistration(urn, id_, outputs)
        return resource_pb2.RegisterResourceResponse(
            urn=urn, id=id_, object=_sync_await(rpc.serialize_properties(outputs, {}))
        )

    def RegisterResourceOutputs(self, request: Any) -> Any:
        if request.urn.split("::")[2] == STACK:
            outputs = rpc.deserialize_properties(request.outputs)
            self._engine.deployment.outputs = {
                name: SECRET if rpc.is_rpc_secret(value) else _plain({name: value})[0][name]
                for name, value in outputs.items()
            }
        return empty_pb2.Empty()


class LookUpFailed(grpc.RpcError):  # type: ignore[misc]
    """A provider's error as it reaches the program from the engine, so that the program can catch it."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return str(self)


class _NoMocks(mocks.Mocks):
    """Never asked: `Monitor` overrides what would ask."""

    def call(self, args: mocks.MockCallArgs) -> Any:
        raise AssertionError(args.token)

    def new_resource(self, args: mocks.MockResourceArgs) -> Any:
        raise AssertionError(args.typ)


class _Log(mocks.MockEngine):
    def __init__(self, messages: list[tuple[str, str]]) -> None:
        super().__init__(None)
        self._messages = messages

    def Log(self, request: Any) -> Any:
        names = {engine_pb2.INFO: "info", engine_pb2.WARNING: "warning", engine_pb2.ERROR: "error"}
        if request.severity in names:
            self._messages.append((names[request.severity], request.message))
        return empty_pb2.Empty()

    def RequirePulumiVersion(self, _request: Any) -> Any:
        return empty_pb2.Empty()


def _urn(stack: str, project: str, parent: str, type_: str, name: str) -> str:
    parent_type = parent.split("::")[2] if parent else STACK
    return f"urn:pulumi:{stack}::{project}::{type_ if parent_type == STACK else f'{parent_type}${type_}'}::{name}"


def _alias_urn(alias: Any, request: Any) -> str:
    if alias.urn:
        return str(alias.urn)
    spec = alias.spec
    parent = "" if spec.noParent else spec.parentUrn or request.parent
    return _urn(
        spec.stack or get_stack(),
        spec.project or get_project(),
        parent,
        spec.type or request.type,
        spec.name or request.name,
    )


def _plain(properties: Properties) -> tuple[Properties, frozenset[str]]:
    """Properties without the wire's wrappings (secrets; numbers are all floats), and the names of the secret ones."""
    secrets = frozenset(name for name, value in properties.items() if rpc.is_rpc_secret(value))
    return {name: _unwrapped(value) for name, value in properties.items()}, secrets


def _unwrapped(value: Any) -> Any:
    if rpc.is_rpc_secret(value):
        value = rpc.unwrap_rpc_secret(value)
    if isinstance(value, dict):
        return {key: _unwrapped(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_unwrapped(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


_one_at_a_time = threading.Lock()


def deploy(
    directory: Path,
    *,
    project: str,
    stack: str,
    config: Mapping[str, str],
    account: Account,
    state: Path,
    secret_keys: Iterable[str] = (),
    docker: Docker | None = None,
    organization: str = "organization",
    progress: Callable[[Progress], None] | None = None,
    steady_timeout: float = 300.0,
) -> Deployment:
    """Run the program in `directory` against `account`, and make the account agree with it.

    Args:
        directory: holds the program's `__main__.py`; its working directory meanwhile.
        project: project name, from Pulumi.yaml.
        stack: stack name.
        config: fully qualified configuration keys; objects and lists as JSON text.
        account: a running emulated account.
        state: file that remembers, from run to run, what was made; created if missing.
        secret_keys: keys of `config` that are secret.
        docker: builds and pushes images; None: images are simulated.
        organization: organization name that the program sees.
        progress: told of each resource when it is begun and ended, from several threads.
        steady_timeout: seconds that a service may take until it is steady, where the program waits for that.

    Returns:
        What was done. No exception, no failure: errors in outputs count as well.

    Raises:
        DeploymentFailed: from the program's or a resource's own error, with what had been done till then.
    """
    context = Context(account=account, docker=docker, directory=directory.resolve(), steady_timeout=steady_timeout)
    known = State(state)
    engine = Engine(context, known, progress)

    def run() -> None:
        configure(
            Settings(
                project=project,
                stack=stack,
                monitor=Monitor(engine),
                engine=_Log(engine.deployment.messages),
                dry_run=False,
                organization=organization,
                root_directory=str(context.directory),
            )
        )
        pulumi.runtime.set_all_config(dict(config), list(secret_keys))
        _run_program(context)
        engine.delete_rest()

    return _run(engine, context, run)


def take_in(file: Path, *, project: str, stack: str, account: Account, state: Path) -> list[str]:
    """Take what exists into the state, as `pulumi import --file` does; nothing is changed. Names of what was taken in.

    What is in the state already stays as it is there. An imported resource is remembered without inputs, as by Pulumi.

    Raises:
        LookupError: a resource or a parent does not exist; nothing was taken in.
        NotCarriedOut: a type that the rehearsal has not got.
    """
    context = Context(account=account, docker=None, directory=Path.cwd())
    document = json.loads(file.read_text())
    urns: dict[str, str] = dict(document.get("nameTable", {}))
    taken: list[dict[str, Any]] = []
    for spec in document["resources"]:  # A parent stands before its children.
        type_, name = spec["type"], spec.get("logicalName", spec["name"])
        if "parent" in spec and spec["parent"] not in urns:
            raise LookupError(f"the parent '{spec['parent']}' for resource '{name}' has no entry in 'nameTable'")
        urn = urns[spec["name"]] = _urn(stack, project, urns.get(spec.get("parent", ""), ""), type_, name)
        if spec.get("component"):
            continue
        if type_ not in handlers:
            raise NotCarriedOut(f"{type_} ({name})", type_)
        handler = handlers[type_](context)
        locator = handler.locate(spec["id"])
        if handler.read(locator) is None:
            raise LookupError(f"resource '{spec['id']}' does not exist ({urn})")
        entry = {"urn": urn, "type": type_, "name": name, "locator": locator}
        taken.append(entry | {"dependencies": [], "protect": False, "retain": False, "inputs": {}})
    known = State(state)
    new = [entry for entry in taken if entry["urn"] not in known.resources]
    for entry in new:
        known.put(entry)
    return [entry["name"] for entry in new]


def destroy(*, account: Account, state: Path, progress: Callable[[Progress], None] | None = None) -> Deployment:
    """Delete everything that the runs with this `state` made, what depends on others first.

    Raises:
        DeploymentFailed: a resource could not be deleted, or is protected; the rest is still there.
    """
    context = Context(account=account, docker=None, directory=Path.cwd())
    engine = Engine(context, State(state), progress)
    return _run(engine, context, engine.delete_rest)


def _run(engine: Engine, context: Context, run: Callable[[], None]) -> Deployment:
    started = time.monotonic()
    try:
        with _one_at_a_time:
            # A context of its own: Pulumi's settings, configuration and root stack are context variables.
            contextvars.Context().run(run)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # Also SystemExit, with which a program may end itself.
        engine.deployment.seconds = time.monotonic() - started
        raise DeploymentFailed(engine.deployment, error) from error
    finally:
        context.stop.set()
    engine.deployment.seconds = time.monotonic() - started
    return engine.deployment


def _run_program(context: Context) -> None:
    """Run `__main__.py` as Pulumi's language host does, then wait for all that it set going."""

    def program() -> None:
        runpy.run_path(str(context.directory / "__main__.py"), run_name="__main__")

    loop = asyncio.new_event_loop()
    # Errors of futures that nobody awaits any more after a failure; the failure itself is raised below.
    loop.set_exception_handler(lambda _loop, _details: None)
    asyncio.set_event_loop(loop)
    try:
        with _as_program(context):
            try:
                loop.run_until_complete(run_in_stack(program))
            except BaseException:
                context.stop.set()
                raise
            finally:
                # Calls under way must come to their end, or what they make would not be in the state.
                loop.run_until_complete(loop.shutdown_default_executor())
                pending = asyncio.all_tasks(loop)
                for task in pending:
                    task.cancel()
                loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


@contextlib.contextmanager
def _as_program(context: Context) -> Iterator[None]:
    """The program's surroundings: its directory, its own modules afresh, and the emulated account as its AWS."""
    directory, working, path = str(context.directory), Path.cwd(), list(sys.path)
    kept = _program_modules(directory)
    for name in kept:
        del sys.modules[name]
    os.chdir(directory)
    sys.path.insert(0, directory)
    try:
        with context.account.environment():  # For the program's own AWS clients, beside the provider.
            yield
    finally:
        for name in _program_modules(directory):
            del sys.modules[name]
        sys.modules.update(kept)
        sys.path[:] = path
        os.chdir(working)


def _program_modules(directory: str) -> dict[str, ModuleType]:
    """Modules imported from the program's directory, but for those that are at work right now."""
    own = __name__.partition(".")[0]
    return {
        name: module
        for name, module in list(sys.modules.items())
        if (getattr(module, "__file__", None) or "").startswith(directory + os.sep)
        and name.partition(".")[0] not in (own, "__main__", "tests", "conftest")
        and "site-packages" not in (module.__file__ or "")
    }
