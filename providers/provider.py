"""What the engine asks of a provider, decided: what differs, what that replaces, and what is made of it.

Properties are plain values under the names of Pulumi's schema; `UNKNOWN` stands for what a preview does not know yet.
A resource's state is what the account shows, and what of the inputs it cannot show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi.runtime.rpc import UNKNOWN

from providers.base import (
    Context,
    Handler,
    NotCarriedOut,
    Properties,
    ProviderError,
    Unfinished,
    completing,
    contains_unknown,
    functions,
    generated_name,
    handlers,
)

MADE_UP = "__defaults"
"""Input that names the inputs which the program did not give, as the official providers have it."""
_LOCATOR = "__locator"
"""State by which a handler finds the resource, where that does not follow from its id."""


@dataclass(frozen=True)
class Change:
    """One value that differs."""

    before: Any
    after: Any
    """`UNKNOWN` for what is not known yet."""
    replaces: bool = False
    """Whether it cannot be changed in place."""


@dataclass(frozen=True)
class Diff:
    """How inputs differ from what there is."""

    changes: Mapping[str, Change] = field(default_factory=dict)
    """By property; empty: nothing is to be done."""
    delete_first: bool = False
    """Whether a replacement deletes the old resource before it makes the new one."""

    @property
    def replaces(self) -> list[str]:
        """The properties that cannot be changed in place."""
        return [name for name, change in self.changes.items() if change.replaces]


@dataclass(frozen=True)
class Existing:
    """What there is of a resource."""

    id: str
    state: Properties = field(repr=False)
    inputs: Properties = field(repr=False)
    """The inputs that would give this state."""


class Refused(Exception):
    """Inputs that the provider does not take."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = reasons
        """Property -> why."""


class Partial(ProviderError):
    """The resource was made or changed, but not as it should be: it belongs into the state all the same."""

    def __init__(self, words: str, existing: Existing) -> None:
        super().__init__(words)
        self.existing = existing


class Provider:
    """The resource types and look-ups of this package, in one account. May be called from several threads.

    Each call raises `ProviderError`, `NotCarriedOut` or the account's own errors.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def check(
        self, type_: str, name: str, inputs: Properties, old: Properties | None = None, seed: bytes = b""
    ) -> Properties:
        """The inputs completed: an absent physical name is made up once, and then kept from the `old` inputs.

        name: the logical name. seed: see `generated_name`. Raises `Refused` with all that is wrong.
        """
        kind, inputs, old = self._kind(type_, name), dict(inputs), old or {}
        known = kind.properties | kind.remembered | kind.steering | kind.recorded_only.keys()
        region = self._context.account.region
        unknown = [given for given in inputs if given not in known and (given, inputs[given]) != ("region", region)]
        if unknown:
            raise Refused({given: str(NotCarriedOut(f"{type_}.{given} ({name})", type_)) for given in unknown})
        inputs = kind(self._context).check(inputs)
        physical = kind.name_property
        if physical and physical not in inputs:
            kept = old.get(physical) if physical in old.get(MADE_UP, ()) else None
            inputs |= {physical: kept or generated_name(name, seed), MADE_UP: [physical]}
        return inputs

    def diff(self, type_: str, state: Properties, old: Properties, inputs: Properties) -> Diff:
        """What of checked `inputs` is not so in `state`, which the `old` inputs gave."""
        handler = handlers[type_](self._context)
        changes = _differences(handler, state, old, inputs)
        if why := handler.refused(inputs, changes):
            raise ProviderError(why)
        replaces = any(change.replaces for change in changes.values())
        physical = handler.name_property
        # There can be only one of a name that the program gives.
        name_stays = physical is not None and physical not in inputs.get(MADE_UP, ()) and physical not in changes
        return Diff(changes, replaces and (handler.delete_before_replace or name_stays))

    def create(self, type_: str, inputs: Properties, *, preview: bool = False) -> Existing:
        """Make a resource of checked inputs. At a preview nothing is made, and the id is empty.

        Raises `Partial`.
        """
        if preview:
            return Existing("", _shown(inputs), inputs)
        handler = handlers[type_](self._context)
        try:
            locator = handler.create(inputs)
        except Unfinished as error:
            raise Partial(str(error), self._made(handler, error.locator, inputs)) from None
        return self._verified(handler, locator, inputs, handler.properties)

    def update(
        self, type_: str, id_: str, state: Properties, old: Properties, inputs: Properties, *, preview: bool = False
    ) -> Properties:
        """Change a resource in place; its new state. Raises `Partial`."""
        handler = handlers[type_](self._context)
        if preview:
            return state | _shown(inputs) | dict.fromkeys(handler.renewed, UNKNOWN)
        locator = _locator(handler, id_, state)
        # Empty where the engine asks only because the last attempt failed.
        if changes := _differences(handler, state, old, inputs):
            try:
                with completing(locator):
                    locator = handler.update(locator, inputs, frozenset(changes)) or locator
            except Unfinished as error:
                raise Partial(str(error), self._made(handler, locator, inputs)) from None
        return self._verified(handler, locator, inputs, frozenset(changes)).state

    def read(
        self, type_: str, id_: str, state: Properties | None = None, old: Properties | None = None
    ) -> Existing | None:
        """What there is now; None if it is gone. Without `state` and `old` inputs: of something to be imported."""
        handler = self._kind(type_, id_)(self._context)
        locator = _locator(handler, id_, state or {})
        actual = handler.read(locator)
        if actual is None:
            return None
        if not state and not old:
            inputs = {
                name: value
                for name, value in actual.items()
                if name in handler.properties and value not in (None, [], {}, handler.defaults.get(name))
            }
            return Existing(str(actual["id"]), _state(handler, locator, {}, actual), inputs)
        old = old or {}
        inputs = {
            name: actual[name]
            if name in handler.properties and name in actual and not handler.equal(name, value, actual[name], old)
            else value
            for name, value in old.items()
        }
        return Existing(str(actual["id"]), _state(handler, locator, old, actual), inputs)

    def delete(self, type_: str, id_: str, state: Properties, old: Properties) -> None:
        """Remove a resource; no error if it is gone."""
        handler = handlers[type_](self._context)
        handler.delete(_locator(handler, id_, state), old)

    def invoke(self, token: str, arguments: Properties) -> Properties:
        """Answer a look-up. Raises `NotCarriedOut` for an unknown one, or an argument that would be ignored."""
        if token not in functions:
            raise NotCarriedOut(f"the look-up {token}", token)
        answer, heeded = functions[token]
        for name, value in arguments.items():
            if name not in heeded and (name, value) != ("region", self._context.account.region):
                raise NotCarriedOut(f"{token}.{name}", token)
        return answer(self._context, arguments)

    def cancel(self) -> None:
        """Give up what waits."""
        self._context.stop.set()

    def _kind(self, type_: str, name: str) -> type[Handler]:
        if type_ not in handlers:
            raise NotCarriedOut(f"{type_} ({name})", type_)
        return handlers[type_]

    def _made(self, handler: Handler, locator: str, inputs: Properties) -> Existing:
        actual = handler.read(locator)
        if actual is None:
            raise ProviderError(f"{handler.type} was made as {locator}, but is not there")
        return Existing(str(actual["id"]), _state(handler, locator, inputs, actual), inputs)

    def _verified(self, handler: Handler, locator: str, inputs: Properties, asked: frozenset[str]) -> Existing:
        """Read back what was `asked` for. What then still differs was accepted by the account and ignored."""
        made = self._made(handler, locator, inputs)
        asked -= handler.remembered | handler.unverified
        differing = _differences(handler, made.state, inputs, inputs)
        if left := {name: change for name, change in differing.items() if name in asked}:
            name, change = next(iter(left.items()))
            error = NotCarriedOut(
                f"{handler.type}.{name}: the account was asked for {change.after!r} and has {change.before!r}",
                handler.type,
            )
            raise Partial(str(error), made)
        return made


def _differences(handler: Handler, state: Properties, old: Properties, inputs: Properties) -> dict[str, Change]:
    changes = {}
    for name in sorted(handler.properties | handler.remembered):
        if name not in inputs and name not in handler.defaults:
            continue
        wanted = inputs.get(name, handler.defaults.get(name))
        remembered = name in handler.remembered
        before = old.get(name, state.get(name, handler.defaults.get(name))) if remembered else state.get(name)
        if contains_unknown(wanted):
            equal = False
        else:
            equal = before == wanted if remembered else handler.equal(name, wanted, before, inputs)
        if not equal:
            changes[name] = Change(before, wanted, handler.replaced_by(name, wanted, before))
    return changes


def _locator(handler: Handler, id_: str, state: Properties) -> str:
    return str(state.get(_LOCATOR) or handler.locate(id_))


def _shown(inputs: Properties) -> Properties:
    return {name: value for name, value in inputs.items() if name != MADE_UP}


def _state(handler: Handler, locator: str, inputs: Properties, actual: Properties) -> Properties:
    # What the account cannot show is in the state as it was asked for.
    state = _shown(inputs) | {name: value for name, value in actual.items() if name != "id"}
    if locator != handler.locate(str(actual["id"])):
        state[_LOCATOR] = locator
    return state


def paths(name: str, change: Change) -> Iterator[tuple[str, Change]]:
    """The innermost values that differ, by property path as the engine writes it: `healthCheck.path`, `tags["a.b"]`."""
    before, after = change.before, change.after
    if isinstance(before, dict) and isinstance(after, dict):
        pairs = [(f"{name}{_member(key)}", before.get(key), after.get(key)) for key in after | before]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [(f"{name}[{index}]", *pair) for index, pair in enumerate(zip(before, after, strict=True))]
    else:
        yield name, change
        return
    for inner, old, new in pairs:
        # Members that the program leaves to AWS are no difference, except among tags.
        if old != new and (new is not None or name == "tags"):
            yield from paths(inner, Change(old, new, change.replaces))


def _member(key: str) -> str:
    return f".{key}" if re.fullmatch(r"\w+", key) else '["' + key.replace('"', '\\"') + '"]'
