"""The embedded driver: deploys a stack without Pulumi's engine, where its CLI is not at hand.

It orders what the program registers, asks the same providers as the engine does for what differs and what to do about
it, and keeps the state. It has no opinion of its own. It differs from the engine in this: each resource is read before
it is compared, as if with --refresh; policies are held at the end of a command, not before each step; and deleting
before replacing does not take dependent resources along.

Goes when Pulumi's CLI can be had on every machine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any

from pulumi.runtime.rpc import UNKNOWN

from engine import program
from engine.deployment import SECRET, STACK, Action, Deployment, Listener, Progress, Result, name_of, narrowed
from engine.stack import Project, killing_commands_on_signal
from providers import NotCarriedOut, Provider, handlers
from providers.base import Context, Properties, Stopped
from providers.provider import MADE_UP, Change, Existing, Partial
from providers.recording import recording
from providers.server import plain
from rehearsal.resource_monitor import alias_urn, serving, urn_of
from rehearsal.state import State, closed, is_secret, opened, restored


@dataclass(frozen=True)
class Registration:
    """What the program asked for, as policies see it."""

    urn: str
    type: str
    name: str
    parent: str
    """URN of the parent; empty for the stack itself."""
    inputs: Mapping[str, Any] = field(repr=False)
    """As the provider takes them, in clear: not for printing. `UNKNOWN` for what a preview does not know."""
    dependencies: tuple[str, ...]
    """URNs of the resources that it waits for."""


class Failed(Exception):
    """The command cannot go on."""

    def __init__(self, *words: str) -> None:
        super().__init__(*words)
        self.words = list(words)


class Command:
    """One command: answers the program's registrations from several threads, and brings the account to them."""

    def __init__(
        self, project: Project, context: Context, state: State, progress: Listener | None, *, dry: bool = False
    ) -> None:
        self.deployment = Deployment(preview=dry)
        self.registrations: list[Registration] = []
        self._project, self._provider, self._state, self._dry = project, Provider(context), state, dry
        self._stop, self._progress = context.stop, progress or (lambda _event: None)
        self._registered: set[str] = set()
        self._errors: list[str] = []
        self._lock = threading.Lock()

    def run_program(self, environment: Mapping[str, str], config: Mapping[str, str], secrets: tuple[str, ...]) -> None:
        """Run it to its end, and carry out what it registers."""
        processes: list[BaseProcess] = []
        printed: list[str] = []
        with serving(self, self.deployment.messages) as address:
            run = program.Run(
                program=str(self._project.directory),
                project=self._project.name,
                stack=self._project.stack,
                monitor=address,
                engine=address,
                dry_run=self._dry,
                config=config,
                secret_keys=secrets,
                debug=False,
            )
            try:
                with killing_commands_on_signal():
                    status = program.run(run, printed.append, processes.append, environment)
            finally:
                if self._errors:
                    self._stop.set()
                for process in processes:
                    process.kill()
        self.deployment.messages += [("info", line) for line in printed]
        if self._errors or status:
            errors = [text for severity, text in self.deployment.messages if severity == "error"]
            raise Failed(*(self._errors or errors or [*printed[-15:], f"the program ended with exit status {status}"]))

    def register(self, request: Any) -> tuple[str, str, Properties, frozenset[str]]:
        """Carry out one registration: URN, id, what the program gets to know, and what of it is secret."""
        urn = urn_of(self._project, request.parent, request.type, request.name)
        inputs, secret = opened(plain(request.object))
        hidden = secret | set(request.additionalSecretOutputs)
        with self._lock:
            if urn in self._registered:
                raise Failed(f"duplicate resource URN {urn}: give one of the two another name")
            self._registered.add(urn)
        entry: dict[str, Any] = {"urn": urn, "custom": request.custom, "type": request.type, "parent": request.parent}
        if not request.custom or request.type == STACK:
            if request.type != STACK:
                self._record(urn, request, inputs)
            self._keep(entry, self._state.find(urn))
            return urn, "", inputs, hidden
        if request.type.startswith("pulumi:providers:"):
            raise NotCarriedOut(
                f"an explicit provider ({request.name}): configure the default one, aws:region and so on", request.type
            )
        self._progress(Progress(urn, request.type, request.name, None))
        started = time.monotonic()
        old = self._state.find(urn, *(alias_urn(self._project, alias, request) for alias in request.aliases))
        entry |= {"dependencies": sorted(request.dependencies), "protect": request.protect}
        entry |= {"retainOnDelete": request.retainOnDelete, "ignoreChanges": list(request.ignoreChanges)}
        try:
            with recording(self.deployment.calls, urn):
                action, made, changes = self._settle(request, inputs, entry, old, hidden)
        except Exception as error:
            self._end(urn, request.type, "failed", started)
            raise Failed(f"{request.name}: {error}") from error
        shown = {
            path: Change(SECRET, UNKNOWN if narrow.after == UNKNOWN else SECRET) if name in hidden else narrow
            for name, change in changes.items()
            for path, narrow in narrowed(name, change)
        }
        recorded = handlers[request.type].ineffective(inputs)
        self._end(urn, request.type, action, started, shown, recorded)
        return urn, made.id, made.state, hidden

    def _settle(
        self,
        request: Any,
        inputs: Properties,
        entry: dict[str, Any],
        old: dict[str, Any] | None,
        hidden: frozenset[str],
    ) -> tuple[Action, Existing, Mapping[str, Change]]:
        provider, type_ = self._provider, request.type
        existing: Existing | None = None
        action: Action = "same"
        if old:
            known, shown = restored(old["inputs"], inputs), restored(old["outputs"], inputs)
            existing = provider.read(type_, old["id"], shown, known)
        elif request.importId:
            existing, action = provider.read(type_, request.importId), "imported"
            if existing is None:
                raise LookupError(f"resource '{request.importId}' does not exist")
        if existing:
            inputs = _with_ignored(request, inputs, existing.inputs)
        checked = provider.check(type_, request.name, inputs, existing.inputs if existing else None)
        self._record(entry["urn"], request, checked)

        def keep(made: Existing, instead: dict[str, Any] | None, **more: Any) -> Existing:
            entry.update(id=made.id, inputs=closed(made.inputs, hidden), outputs=closed(made.state, hidden), **more)
            self._keep(entry, instead)
            return made

        def carry_out(what: Callable[[], Existing], instead: dict[str, Any] | None) -> Existing:
            try:
                return keep(what(), instead)
            except Partial as error:
                keep(error.existing, instead, initErrors=[str(error)])
                raise

        if existing is None:
            return "created", carry_out(lambda: provider.create(type_, checked, preview=self._dry), old), {}
        diff = provider.diff(type_, existing.state, existing.inputs, checked)
        if old is None:  # Imported. What the program says otherwise is changed at once.
            old = {**entry, "id": existing.id, "inputs": existing.inputs, "outputs": existing.state}
            self._keep(old, None)
        if diff.replaces:
            checked = provider.check(type_, request.name, inputs)  # With a name of its own, if it is made up.
            if old.get("protect"):
                raise PermissionError(f"{old['urn']} is protected: remove `protect` from it, deploy, then replace it")
            if not self._dry:
                if diff.delete_first or request.deleteBeforeReplace:
                    self._delete(old)
                    old = None
                else:
                    self._state.await_deletion(old)
            made = carry_out(
                lambda: provider.create(type_, checked, preview=self._dry), old if old and self._dry else None
            )
            return "replaced", made, diff.changes
        if not diff.changes and not old.get("initErrors"):
            return action, keep(Existing(existing.id, existing.state, checked), old), {}

        def update() -> Existing:
            state = provider.update(type_, existing.id, existing.state, existing.inputs, checked, preview=self._dry)
            return Existing(existing.id, state, checked)

        return "changed", carry_out(update, old), diff.changes

    def register_outputs(self, urn: str, outputs: Properties) -> None:
        """Of the stack, which has no others."""
        if f"::{STACK}::" not in urn or not (stack := self._state.find(urn)):
            return
        values, secret = opened(outputs)
        self.deployment.outputs = {name: SECRET if name in secret else value for name, value in values.items()}
        self._keep({**stack, "outputs": closed(values, secret)}, stack)

    def look_up(self, token: str, arguments: Properties) -> Properties:
        with recording(self.deployment.calls):
            return self._provider.invoke(token, opened(arguments)[0])

    def fail(self, error: Exception) -> None:
        """The first error is the command's; nothing is begun after it."""
        with self._lock:
            self._errors += [] if self._errors or isinstance(error, Stopped) else [str(error)]

    @property
    def failed(self) -> bool:
        return bool(self._errors)

    def refresh(self) -> None:
        """Read everything."""
        for entry in [entry for entry in self._state.resources if entry["custom"] and entry["type"] != STACK]:
            started = time.monotonic()
            found = self._provider.read(
                entry["type"], entry["id"], restored(entry["outputs"]), restored(entry["inputs"])
            )
            if found is None:
                self._state.drop(entry)
                self._end(entry["urn"], entry["type"], "deleted", started)
                continue
            drifted = {
                path: narrow
                for name, value in found.state.items()
                if name not in entry.get("ignoreChanges", ())
                and not is_secret(before := entry["outputs"].get(name))
                and before != value
                for path, narrow in narrowed(name, Change(before, value))
            }
            secret = frozenset(name for name, value in entry["outputs"].items() if is_secret(value))
            inputs = {name: value for name, value in found.inputs.items() if not is_secret(entry["inputs"].get(name))}
            self._keep(
                {
                    **entry,
                    "inputs": entry["inputs"] | inputs,
                    "outputs": entry["outputs"] | closed(found.state, secret),
                },
                entry,
            )
            self._end(entry["urn"], entry["type"], "changed" if drifted else "same", started, drifted)

    def delete_rest(self) -> None:
        """Delete what was replaced, and what is no longer registered; what depends on others goes first."""
        left = [entry for entry in self._state.resources if entry.get("delete") or entry["urn"] not in self._registered]
        while left:
            needed = {urn for entry in left for urn in (*entry.get("dependencies", ()), entry["parent"])}
            entry = next((entry for entry in reversed(left) if entry["urn"] not in needed), left[-1])
            left.remove(entry)
            started, reported = time.monotonic(), entry["custom"] and entry["type"] != STACK and not entry.get("delete")
            if reported:
                self._progress(Progress(entry["urn"], entry["type"], name_of(entry["urn"]), None))
            try:
                if not self._dry:
                    self._delete(entry)
            except Exception as error:
                self._end(entry["urn"], entry["type"], "failed", started)
                raise Failed(f"{name_of(entry['urn'])}: {error}") from error
            if reported:
                self._end(entry["urn"], entry["type"], "deleted", started)

    def _delete(self, entry: dict[str, Any]) -> None:
        if entry.get("protect"):
            raise PermissionError(f"{entry['urn']} is protected: remove `protect` from it and deploy, then it can go")
        if entry["custom"] and entry["type"] != STACK and not entry.get("retainOnDelete"):
            with recording(self.deployment.calls, entry["urn"]):
                self._provider.delete(entry["type"], entry["id"], restored(entry["outputs"]), restored(entry["inputs"]))
        self._state.drop(entry)

    def _record(self, urn: str, request: Any, inputs: Properties) -> None:
        seen = {name: value for name, value in inputs.items() if name != MADE_UP}
        registration = Registration(
            urn, request.type, request.name, request.parent, seen, tuple(sorted(request.dependencies))
        )
        with self._lock:
            self.registrations.append(registration)

    def _keep(self, entry: dict[str, Any], instead: dict[str, Any] | None) -> None:
        if not self._dry:
            self._state.put(entry, instead=instead)

    def _end(
        self,
        urn: str,
        type_: str,
        action: Action,
        started: float,
        changes: Mapping[str, Change] | None = None,
        recorded: Mapping[str, str] | None = None,
    ) -> None:
        seconds, name = time.monotonic() - started, name_of(urn)
        with self._lock:
            self.deployment.resources.append(Result(urn, type_, name, action, seconds, changes or {}, recorded or {}))
        self._progress(Progress(urn, type_, name, action, seconds))


def _with_ignored(request: Any, inputs: Properties, known: Properties) -> Properties:
    """Inputs in which what is in `ignoreChanges` is as it was."""
    ignored = list(request.ignoreChanges)
    for name in ignored:
        if not name.isidentifier():
            raise NotCarriedOut(f"ignoreChanges of the path {name} ({request.name})", request.type)
    rest = {name: value for name, value in inputs.items() if name not in ignored}
    return rest | {name: known[name] for name in ignored if name in known}
