"""A stack that the embedded driver deploys."""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.deployment import Deployment, DeploymentFailed, Listener, name_of
from engine.stack import Project
from providers import Provider
from providers.base import Context
from rehearsal.driver import Command, Failed, Registration
from rehearsal.resource_monitor import urn_of
from rehearsal.state import State

Policies = Callable[[Iterable[Registration]], tuple[list[str], bool]]
"""Holds registrations to policies: lines for the report, and whether they stop the deployment."""


class EmbeddedStack:
    """One stack, with the same methods as `engine.stack.PulumiStack`; its state is in `folder`.

    environment: variables of the program: where the account is. context: what the providers act on.
    policies: what `preview` and `up` are held to.
    """

    def __init__(
        self,
        project: Project,
        *,
        folder: Path,
        environment: Mapping[str, str],
        context: Context,
        policies: Policies | None = None,
    ) -> None:
        self._project, self._environment, self._context, self._policies = project, environment, context, policies
        self.file = folder / f"{project.stack}.state.json"
        self._config: Mapping[str, str] = {}
        self._secret_keys: tuple[str, ...] = ()

    def configure(self, config: Mapping[str, str], secret_keys: Collection[str] = ()) -> None:
        """Set the stack's configuration: full key -> text, objects as JSON. `secret_keys`: those that are secret."""
        self._config, self._secret_keys = dict(config), tuple(secret_keys)

    def preview(self, progress: Listener | None = None, *, policies: bool = True) -> Deployment:
        """What `up` would do, held to the policies. Raises `DeploymentFailed`."""
        return self._run(progress, policies, dry=True)

    def up(self, progress: Listener | None = None, *, policies: bool = True) -> Deployment:
        """Deploy, held to the policies. Raises `DeploymentFailed`."""
        with self._locked():
            return self._run(progress, policies)

    def refresh(self, progress: Listener | None = None) -> Deployment:
        """The state becomes what there is; what had drifted is changed. Raises `DeploymentFailed`."""
        with self._locked():
            command = self._command(progress)
            return self._finish(command, command.refresh)

    def destroy(self, progress: Listener | None = None) -> Deployment:
        """Delete all that is in the state, what depends on others first. Raises `DeploymentFailed`."""
        with self._locked():
            command = self._command(progress)
            return self._finish(command, command.delete_rest)

    def take_in(self, file: Path) -> list[str]:
        """Take what exists into the state, as `pulumi import --file` does. Names of what was taken in.

        Raises `LookupError` where something does not exist; then nothing was taken in.
        """
        document = json.loads(file.read_text())
        urns: dict[str, str] = dict(document.get("nameTable", {}))
        with self._locked():
            provider, state = Provider(self._context), State(self.file)
            taken: list[dict[str, Any]] = []
            for spec in document["resources"]:  # A parent stands before its children.
                type_, name = spec["type"], spec.get("logicalName", spec["name"])
                if "parent" in spec and spec["parent"] not in urns:
                    raise LookupError(
                        f"the parent '{spec['parent']}' for resource '{name}' has no entry in 'nameTable'"
                    )
                parent = urns.get(spec.get("parent", ""), "")
                urn = urns[spec["name"]] = urn_of(self._project, parent, type_, name)
                entry = {"urn": urn, "custom": not spec.get("component"), "type": type_, "parent": parent}
                if entry["custom"]:
                    found = provider.read(type_, spec["id"])
                    if found is None:
                        raise LookupError(f"resource '{spec['id']}' does not exist ({urn})")
                    entry |= {"id": found.id, "inputs": found.inputs, "outputs": found.state}
                taken.append(entry)
            new = [entry for entry in taken if not state.find(entry["urn"])]
            for entry in new:
                state.put(entry)
        return [name_of(entry["urn"]) for entry in new if entry["custom"]]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Meanwhile no other command changes the stack. The lock goes with its process, however that ends."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.with_suffix(".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DeploymentFailed(
                    Deployment(), ["the stack is currently locked: another command changes it. Wait for its end."]
                ) from None
            yield

    def _command(self, progress: Listener | None, *, dry: bool = False) -> Command:
        return Command(self._project, self._context, State(self.file), progress, dry=dry)

    def _run(self, progress: Listener | None, policies: bool, *, dry: bool = False) -> Deployment:
        command = self._command(progress, dry=dry)

        def run() -> None:
            command.run_program(self._environment, self._config, self._secret_keys)
            if policies and self._policies:
                command.deployment.policies, stops = self._policies(command.registrations)
                if stops:
                    raise Failed("The policies stop this deployment:", *command.deployment.policies)
            command.delete_rest()

        return self._finish(command, run)

    def _finish(self, command: Command, run: Callable[[], None]) -> Deployment:
        started, deployment = time.monotonic(), command.deployment
        self._context.stop.clear()
        try:
            run()
        except Failed as error:
            raise DeploymentFailed(deployment, error.words) from error
        finally:
            self._context.stop.set()
            deployment.seconds = time.monotonic() - started
        return deployment
