"""What groups share and each is made when it is first needed: Docker engine, images, a kept rehearsal. All go again."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.cli import Cli, find
from rehearsal.base_images import external_images
from rehearsal.docker import Engine
from rehearsal.google import Google, Starting
from rehearsal.google import ensure_installed as ensure_stand_in
from rehearsal.kept import HOME, ROOT, stop

STACK = "benchmark"
"""The production stack under a name of its own, so that a rehearsal that somebody keeps is not in the way."""
CONTEXT = ROOT / "image"
IMAGE, PLAIN = "benchmark-image", "benchmark-plain-install"
PEER = "plain pip install"


class Bench(contextlib.ExitStack):
    """Things to measure on. Leaving removes all of them."""

    def __enter__(self) -> Bench:
        super().__enter__()
        self._remove_stack()  # Of a run that was killed.
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        return self

    @functools.cached_property
    def engine(self) -> Engine:
        """A Docker engine with the image's base."""
        engine = self.enter_context(Engine(HOME / "docker"))
        engine.ensure_base_images(CONTEXT / "Dockerfile")
        return engine

    @functools.cached_property
    def base(self) -> str:
        """The name of the image's base."""
        return external_images((CONTEXT / "Dockerfile").read_text(), {})[0]

    @functools.cached_property
    def image(self) -> str:
        """The production image."""
        self.built(IMAGE, CONTEXT)
        return IMAGE

    @functools.cached_property
    def plain(self) -> str:
        """The same server on the same base, installed by pip alone."""
        self.built(PLAIN, self.plain_context)
        return PLAIN

    @functools.cached_property
    def server(self) -> str:
        """The requirement that the image is locked by: workspace-mcp[valkey]==..."""
        lines = (CONTEXT / "requirements.in").read_text().splitlines()
        return next(line.strip() for line in lines if line.startswith("workspace-mcp"))

    @functools.cached_property
    def plain_context(self) -> Path:
        """A Dockerfile with nothing but that."""
        context = self.folder / "plain"
        context.mkdir()
        install = f"python3 -m pip install --no-cache-dir --disable-pip-version-check '{self.server}'"
        (context / "Dockerfile").write_text(f"FROM {self.base}\nRUN {install}\n")
        return context

    def built(self, tag: str, context: Path, *, clean: bool = False, base: str = "", target: str = "") -> None:
        """Build an image, which goes with this block. clean: without layers that are there. Raises `RuntimeError`."""
        engine = self.engine
        command = [str(engine.client.command), "build", "--tag", tag, *(["--no-cache"] if clean else [])]
        command += ["--network", engine.client.network] if engine.client.network else []
        command += ["--build-arg", f"BASE_IMAGE={base}"] if base else []
        command += ["--target", target] if target else []
        done = engine.client.run([*command, str(context)])
        if done.returncode:
            raise RuntimeError(done.stdout)
        self.callback(self._remove_image, tag)

    def _remove_image(self, tag: str) -> None:
        import docker

        with contextlib.suppress(docker.errors.DockerException):
            self.engine.api.images.remove(tag, force=True)

    @functools.cached_property
    def google(self) -> Google:
        """The stand-in for Google, which signs users in."""
        starting = Starting(python=ensure_stand_in(ROOT), bridge_address=self.engine.bridge_address())
        google = self.enter_context(starting)
        starting.wait()
        return google

    @property
    def versions(self) -> dict[str, str]:
        """Of what was used so far, for people."""
        engine = {"Docker": str(self.engine.api.version()["Version"])} if "engine" in self.__dict__ else {}
        return {"engine": str(self.cli or "embedded driver"), "server": self.server, **engine}

    @property
    def cli(self) -> Cli | None:
        """Pulumi's, where it is at hand."""
        return find()

    @functools.cached_property
    def stack(self) -> str:
        """The name of a stack with a file of its own, which verbs may change."""
        (ROOT / f"Pulumi.{STACK}.yaml").write_text((ROOT / "Pulumi.production.yaml").read_text())
        self.callback(self._remove_stack)
        return STACK

    def _remove_stack(self) -> None:
        stop(STACK)
        (ROOT / f"Pulumi.{STACK}.yaml").unlink(missing_ok=True)

    @functools.cached_property
    def kept(self) -> list[str]:
        """The arguments by which verbs find a kept rehearsal."""
        _ = self.engine  # So that it goes after the stack.
        self.document("rehearsal", self.stack, "--keep", "--json")
        return ["--stack", self.stack, "--rehearsal"]

    def document(self, *command: str) -> dict[str, Any]:
        """What one of the project's modules prints as JSON. Raises `RuntimeError`."""
        environment = {**os.environ, "DOCKER_HOST": self.engine.host}
        return printed_document([sys.executable, "-m", *command], ROOT, environment)


def printed_document(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """What a command prints as JSON. Raises `RuntimeError`."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            printed, errors = process.communicate()
        except BaseException:
            process.terminate()  # A rehearsal then removes what it has started; the end of the block waits for it.
            raise
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {_failure(printed) or errors}")
    document: dict[str, Any] = json.loads(printed)
    return document


def _failure(printed: str) -> str:
    with contextlib.suppress(ValueError):
        return str(json.loads(printed).get("failure", printed))
    return printed


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Meanwhile a signal that ends this process ends it as Ctrl-C does, so that nothing stays."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
