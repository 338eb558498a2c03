"""What the embedded driver remembers, and how it handles secrets: of a secret the state has a hash."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

from engine.deployment import MARK, SECRET
from providers.base import Properties

KIND = "1b47061264138c4ac30d75fd1eb44270"
"""What `MARK` says of a secret."""


class State:
    """What is deployed, in a file as `pulumi stack export` writes it. Of a secret it has a hash.

    Entries are replaced by others, and never changed.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.RLock()
        known = json.loads(file.read_text()) if file.exists() else {"resources": []}
        self.resources: list[dict[str, Any]] = known["resources"]
        self._texts: dict[int, str] = {}  # Of what was saved last, by identity: a deployment saves after each resource.

    def find(self, *urns: str) -> dict[str, Any] | None:
        """The resource with the first of these URNs that is known; one that waits for its deletion is not."""
        known = {entry["urn"]: entry for entry in self.resources if not entry.get("delete")}
        return next((known[urn] for urn in urns if urn in known), None)

    def put(self, entry: dict[str, Any], *, instead: dict[str, Any] | None = None) -> None:
        with self._lock:
            self.resources = [other for other in self.resources if other is not instead] + [entry]
            self.save()

    def drop(self, entry: dict[str, Any]) -> None:
        with self._lock:
            self.resources = [other for other in self.resources if other is not entry]
            self.save()

    def await_deletion(self, entry: dict[str, Any]) -> None:
        """Let a resource wait for its deletion, as another has taken its place."""
        with self._lock:
            entry["delete"] = True
            self._texts.pop(id(entry), None)
            self.save()

    def save(self) -> None:
        with self._lock:
            self._texts = {id(entry): self._texts.get(id(entry)) or json.dumps(entry) for entry in self.resources}
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new = self._file.with_suffix(".new")
            new.touch(mode=0o600)
            new.write_text(f'{{"resources": [{", ".join(self._texts.values())}]}}')
            new.replace(self._file)


def is_secret(value: Any) -> bool:
    return isinstance(value, dict) and value.get(MARK) == KIND


def opened(properties: Properties) -> tuple[Properties, frozenset[str]]:
    """Properties without the wire's marks of secrets, and the names of those that hold any."""

    def unmarked(value: Any) -> tuple[Any, bool]:
        if is_secret(value):
            return unmarked(value["value"])[0], True
        if isinstance(value, dict):
            inner = {key: unmarked(entry) for key, entry in value.items()}
            return {key: entry for key, (entry, _) in inner.items()}, any(hidden for _, hidden in inner.values())
        if isinstance(value, list):
            parts = [unmarked(entry) for entry in value]
            return [entry for entry, _ in parts], any(hidden for _, hidden in parts)
        return value, False

    found = {name: unmarked(value) for name, value in properties.items()}
    return {name: value for name, (value, _) in found.items()}, frozenset(
        n for n, (_, hidden) in found.items() if hidden
    )


def _hashed(value: Any) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def closed(properties: Properties, secret: frozenset[str]) -> Properties:
    """As the state has them."""
    return {
        name: {MARK: KIND, "ciphertext": _hashed(value)} if name in secret else value
        for name, value in properties.items()
    }


def restored(properties: Properties, inputs: Properties | None = None) -> Properties:
    """The reverse of `_closed`, as far as that goes: a secret that is as before is the one among `inputs`."""
    given = inputs or {}
    return {
        name: (given.get(name) if value["ciphertext"] == _hashed(given.get(name)) else SECRET)
        if is_secret(value)
        else value
        for name, value in properties.items()
    }
