"""A stack that the embedded driver deploys."""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

from engine.deployment import Deployment, DeploymentFailed, Listener
from engine.stack import Project
from providers.base import Context
from rehearsal.driver import Command, Failed, Registration
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
        with self._locked():
            return self._command(None).take_in(json.loads(file.read_text()))

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
