"""A client of a Docker engine: builds images with BuildKit, and pushes them.

Building goes through the docker command, because only it speaks BuildKit; everything else goes through the `docker`
package.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class NoEngine(RuntimeError):
    """No engine answers and none can be had here; the message says what to install or start."""


class BuildFailed(RuntimeError):
    """An image did not build; the message has the failing step and the last lines of its output."""


class PushFailed(RuntimeError):
    """The registry did not take an image; the message has its words."""


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """One built image."""

    image: str
    """Identity in the local engine, `sha256:…`; not the digest a registry gives it."""
    platform: str
    """What it was really built for, for example `linux/amd64`."""
    size: int
    """Bytes of all its layers, unpacked."""
    seconds: float
    """Wall-clock time of the build."""


def find_client() -> Path:
    """The first docker command on the PATH that can build with BuildKit.

    That is one with the buildx plug-in, or one older than 23, which has BuildKit built in. Raises NoEngine.
    """
    passed_over = []
    for folder in dict.fromkeys(os.environ.get("PATH", os.defpath).split(os.pathsep)):
        command = shutil.which("docker", path=folder)
        if command is None:
            continue
        if _succeeds(command, "buildx", "version"):
            return Path(command)
        version = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
        major = re.search(r"version (\d+)\.", version)
        if major and 18 < int(major[1]) < 23:
            return Path(command)
        passed_over.append(command)
    if passed_over:
        found = ", ".join(passed_over)
        raise NoEngine(f"{found}: cannot build with BuildKit. Install its buildx plug-in (Debian: docker-buildx).")
    raise NoEngine("No docker command on the PATH. Install Docker (Debian: apt-get install docker.io).")


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client of the engine at `host`."""

    host: str
    """Address, as DOCKER_HOST has it."""
    command: Path
    """The docker command used for builds, from `find_client`."""
    state: Path | None = None
    """Where the builder keeps its state. Default: the user's home, as ever."""
    network: str | None = None
    """Network of builds, as `docker build --network` has it. Default: the engine's choice."""

    @functools.cached_property
    def api(self) -> Any:
        """The `docker.DockerClient` of this engine."""
        return docker.DockerClient(base_url=self.host, timeout=600)

    def build(
        self,
        context: Path,
        tag: str,
        *,
        dockerfile: Path | None = None,
        platform: str | None = None,
        args: Mapping[str, str] | None = None,
        target: str | None = None,
    ) -> BuildResult:
        """Build an image with BuildKit and the engine's layer cache.

        `dockerfile` defaults to the one in `context`, `platform` to the engine's own, `target` to the last stage.
        Values of `args` must not be secret: images record them. Raises BuildFailed.
        """
        command = [str(self.command), "build", "--progress=plain", "--tag", tag]
        command += ["--file", str(dockerfile or context / "Dockerfile")]
        command += ["--platform", platform] if platform else []
        command += ["--target", target] if target else []
        command += ["--network", self.network] if self.network else []
        # By name alone: the client takes the value, which may hold a password, from its environment.
        for name in _PROXIES:
            command += ["--build-arg", name] if name in os.environ else []
        for name, value in (args or {}).items():
            command += ["--build-arg", f"{name}={value}"]
        started = time.monotonic()
        done = self.run([*command, str(context)])
        if done.returncode != 0:
            foreign = platform is not None and architecture(platform) != self.architecture()
            hint = (
                f"\n{platform} was asked for on {self.architecture()}: that needs emulation. Install it (Debian:"
                " apt-get install qemu-user-static), or build on such a machine."
            )
            raise BuildFailed(f"image {tag} from {context}: {_failure(done.stdout)}{hint if foreign else ''}")
        seconds = time.monotonic() - started
        image = self.api.images.get(tag)
        attributes = image.attrs
        return BuildResult(
            image=image.id,
            platform=f"{attributes['Os']}/{attributes['Architecture']}",
            size=attributes["Size"],
            seconds=seconds,
        )

    def push(self, image: str, reference: str, username: str, password: str) -> str:
        """Push a local image to `registry/name:tag` and return its digest there, `sha256:…`.

        The registry may speak plain HTTP on loopback. The password goes to the engine in a request header: not through
        an argument list, nor into a configuration file. Raises PushFailed.
        """
        repository, _, tag = reference.rpartition(":")
        self.api.images.get(image).tag(repository, tag)
        digest = ""
        credentials = {"username": username, "password": password}
        for event in self.api.api.push(repository, tag, stream=True, decode=True, auth_config=credentials):
            if "error" in event:
                raise PushFailed(f"push of {reference}: {event['error']}")
            digest = event.get("aux", {}).get("Digest", digest)
        if not digest:
            raise PushFailed(f"push of {reference}: the registry answered without a digest")
        return digest

    def architecture(self) -> str:
        """The engine's processor in Docker's words: amd64, arm64, …"""
        machine = str(self.api.info()["Architecture"])
        return _MACHINES.get(machine, machine)

    def run(self, command: Sequence[str], limit: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run the docker command against this engine; both output streams in `stdout`."""
        environment = os.environ | {
            "DOCKER_HOST": self.host,
            "DOCKER_BUILDKIT": "1",
            "BUILDX_BUILDER": "default",  # The engine's own, whatever the user has selected.
            **({"BUILDX_CONFIG": str(self.state)} if self.state else {}),
            # An attestation holds the time of the build, and with it the digest changes without any other change.
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        }
        environment.pop("DOCKER_CONTEXT", None)
        return subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit,
            check=False,
            text=True,
            errors="replace",
        )


def _failure(output: str) -> str:
    """The failing step of BuildKit's plain output and the last lines it printed."""
    lines = output.splitlines()
    failed = [match for line in lines if (match := re.match(r"#(\d+) ERROR:? (.*)", line))]
    if not failed:
        return "\n".join(lines[-10:])
    number, reason = failed[-1].groups()
    of_step = [line.removeprefix(f"#{number} ") for line in lines if line.startswith(f"#{number} ")]
    # The first line names the step; what it printed is prefixed with seconds.
    printed = [line.partition(" ")[2] for line in of_step if re.match(r"\d+\.\d+ ", line)]
    return "\n".join([f"step {of_step[0]} failed: {reason}", *printed[-20:]])


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def architecture(platform: str) -> str:
    """`linux/arm64/v8` -> `arm64`."""
    return platform.split("/")[1] if "/" in platform else platform
