"""The Docker engine a rehearsal builds and runs in: found, or installed and started, and put back as it was.

Nothing here knows AWS or the emulator.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import docker
import docker.errors
import requests

from machine import debian
from providers.docker_client import Client, NoEngine, architecture, find_client
from rehearsal.base_images import (
    CA_BUNDLE,
    INDEXES,
    NoBaseImage,
    apt_install,
    apt_source,
    external_images,
    trim,
    trust_machine_authorities,
)

STAND_IN = "rehearsal.stand-in"
"""Label of an image this module made in place of one no registry could give."""

_DEFAULT_HOST = "unix:///var/run/docker.sock"
_START_LIMIT = 60.0  # seconds for a dockerd of ours to answer; 2 s on an idle machine
_PULL_LIMIT = 300.0  # seconds for one base image; without a registry the failure comes in seconds
_BRIDGES = tuple(map(ipaddress.IPv4Network, ("172.30.0.0/16", "10.213.0.0/16", "192.168.0.0/16")))


@dataclass
class Engine:
    """A Docker engine for the length of a `with` block.

    Taken in this order: DOCKER_HOST, a dockerd of ours that an earlier run left, the machine's running engine,
    and on Debian or Ubuntu as root a dockerd started for us, installed first if need be. Only one of ours is
    ever stopped: when the block ends, unless `keep` is set by then, an earlier run was kept, or another run
    still uses it. Raises NoEngine.
    """

    work: Path
    """Folder for the data of a dockerd of ours (layers survive from run to run), its log and the builder's state."""
    keep: bool = False
    """Leave a dockerd of ours running after the block; `stop()` ends it later."""
    host: str = field(default="", init=False)
    """The address to give others as DOCKER_HOST; set inside the block."""
    client: Client = field(init=False)
    """Builds and pushes there; set inside the block."""
    stand_ins: list[str] = field(default_factory=list, init=False)
    """Base images that were substituted, by the names the Dockerfiles use."""
    _users: IO[str] | None = field(default=None, init=False, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.work = self.work.resolve()
        # Not under `work`: containerd puts sockets below it, and a socket's path must be shorter than 108 bytes.
        self._identity = hashlib.sha256(str(self.work).encode()).hexdigest()[:8]
        self._runtime = Path("/run") / f"rehearsal-{self._identity}"
        self._socket = self._runtime / "docker.sock"
        self._kept = self.work / "kept"

    def __enter__(self) -> Engine:
        self.work.mkdir(parents=True, exist_ok=True)
        # Shared while in use and given up by the kernel, however the process ends.
        self._users = (self.work / "users").open("w")
        fcntl.flock(self._users, fcntl.LOCK_SH)
        try:
            with (self.work / "starting").open("w") as alone:
                fcntl.flock(alone, fcntl.LOCK_EX)
                self.host = self._find() or self._start()
            self.client = Client(host=self.host, command=find_client(), state=self.work / "buildx")
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.api.close()
        if self.keep:
            self._kept.touch()
        self._leave()

    def _leave(self) -> None:
        """Tidy up, unless this engine is kept or others use it, which may be about to build."""
        assert self._users is not None
        if not self._kept.exists():
            with suppress(BlockingIOError):
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._tidy(self.host)
        self._users.close()

    def release(self, host: str) -> None:
        """Keep it no longer: tidy up now, unless another run uses it, which then does.

        host: the engine's address, when it was kept.
        """
        self._kept.unlink(missing_ok=True)
        if not self.work.exists():
            return
        with (self.work / "users").open("w") as users, suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._tidy(host)

    def _tidy(self, host: str) -> None:
        """Forget the stand-ins, and end a dockerd of ours. The caller has the users' lock to itself."""
        if host:
            _forget_stand_ins(host)
        if host in ("", f"unix://{self._socket}"):
            self.stop()

    # Finding and starting

    def _find(self) -> str:
        """The address of an engine that answers, empty if none does."""
        if chosen := os.environ.get("DOCKER_HOST"):
            if not _answers(chosen):
                raise NoEngine(f"DOCKER_HOST is {chosen}, and no engine answers there. Start it, or unset DOCKER_HOST.")
            return chosen
        own = f"unix://{self._socket}"
        if self._socket.exists() and _answers(own):
            return own
        return _DEFAULT_HOST if _answers(_DEFAULT_HOST) else ""

    def _start(self) -> str:
        """Start a dockerd of ours, installing it if need be; its address."""
        if not debian.may_install():
            raise NoEngine(
                f"No Docker engine answers at {_DEFAULT_HOST}, and one is started for you on Debian or Ubuntu as root"
                " only. Install and start Docker, or set DOCKER_HOST, then run this again."
            )
        if not _which("dockerd") or not _has_client() or not _which("ip"):
            # Newer releases have the client and buildx in packages of their own.
            apt_install("docker.io", "docker-cli", "docker-buildx", "iproute2")
            if _answers(_DEFAULT_HOST):  # where systemd runs, the package starts its own
                return _DEFAULT_HOST
        self.stop()  # whatever a killed run left
        self._runtime.mkdir(mode=0o700, exist_ok=True)
        host = f"unix://{self._socket}"
        log = self.work / "dockerd.log"
        command = [
            "dockerd",
            f"--host={host}",
            f"--data-root={self.work / 'data'}",
            f"--exec-root={self._runtime / 'exec'}",
            f"--pidfile={self._runtime / 'docker.pid'}",
            f"--bridge={self._make_bridge()}",
            "--log-level=warn",
        ]
        with log.open("w") as output:
            # A session of its own: Ctrl-C is for the rehearsal, which then stops what it started in order.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                env=debian.environment(),
            )  # fmt: skip
        deadline = time.monotonic() + _START_LIMIT
        while not _answers(host):
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
                raise NoEngine(f"dockerd did not start; the end of {log}:\n{tail}")
            time.sleep(0.1)
        return host

    @property
    def _bridge(self) -> str:
        return f"rh-{self._identity}"  # a link's name has at most 15 characters

    def _make_bridge(self) -> str:
        """A bridge for a dockerd of ours, with the first address of a free /24; its name.

        Two engines on one bridge give their containers the same addresses, and docker0 may be another's.
        """
        found = [json.loads(_ip("-json", "-4", kind, "show")) for kind in ("address", "route")]
        addresses = [f"{a['local']}/{a['prefixlen']}" for link in found[0] for a in link.get("addr_info", ())]
        routes = [route["dst"] for route in found[1] if route["dst"] != "default"]
        taken = [ipaddress.IPv4Network(network, strict=False) for network in addresses + routes]
        candidates = [network for pool in _BRIDGES for network in pool.subnets(new_prefix=24)]
        first = int(self._identity, 16) % _BRIDGES[0].num_addresses // 256
        for network in candidates[first:] + candidates[:first]:
            if not any(network.overlaps(other) for other in taken):
                # An address of its own, as Docker gives its bridges. Otherwise it has the lowest of the containers',
                # and when that one ends, the others send to an address that is gone, for ten seconds or more.
                hardware = "02:42:" + network[1].packed.hex(":")
                _ip("link", "add", self._bridge, "address", hardware, "type", "bridge")
                _ip("address", "add", f"{network[1]}/24", "dev", self._bridge)
                _ip("link", "set", self._bridge, "up")
                return self._bridge
        raise NoEngine(f"No /24 is free for a Docker bridge in {', '.join(map(str, _BRIDGES))}: see `ip route`.")

    def _processes(self, command: str = "") -> list[int]:
        """Our dockerd, its containerd and its containers' shims, or those of them whose command line begins so."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            line = _read(entry).decode(errors="replace")
            if f"{self._runtime}/" in line and line.startswith(command):
                found.append(int(entry.parent.name))
        return found

    def stop(self) -> None:
        """End a dockerd of ours and its containers, also one that was kept; nothing to do is no error."""
        self._kept.unlink(missing_ok=True)
        self._signal(signal.SIGTERM, self._processes("dockerd"))
        # What is left belongs to a dockerd that was killed, and would hold the locks the next one needs.
        left = self._processes()
        for pid in left.copy():
            with suppress(OSError):
                left += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        self._signal(signal.SIGKILL, left)
        if self._process:
            self._process.wait()
        shutil.rmtree(self._runtime, ignore_errors=True)
        with suppress(NoEngine):  # there is none, most often
            _ip("link", "delete", self._bridge)

    @staticmethod
    def _signal(number: signal.Signals, pids: Sequence[int]) -> None:
        """Send a signal and wait up to 30 s for its effect."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + 30
        # A zombie has no command line any more.
        while any(_read(Path(f"/proc/{pid}/cmdline")) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.02)

    # Using

    @property
    def api(self) -> Any:
        """The `docker.DockerClient` of this engine."""
        return self.client.api

    def bridge_address(self) -> str:
        """The machine's address as containers on the default bridge see it."""
        config = self.api.networks.get("bridge").attrs["IPAM"]["Config"][0]
        # An engine that chose the subnet itself may not list the gateway, which is then the subnet's first address.
        return str(config.get("Gateway") or re.sub(r"\d+/\d+$", "1", config["Subnet"]))

    def ensure_base_images(
        self, dockerfile: Path, build_args: Mapping[str, str] | None = None, platform: str | None = None
    ) -> list[str]:
        """Have every image the Dockerfile starts from in the engine: there already, pulled, or stood in for.

        A stand-in is a Debian made by debootstrap, for names beginning with `python` or `debian` only; it has this
        machine's Python version and architecture. Returns the names stood in for (they are in `stand_ins` too).
        Raises NoBaseImage.
        """
        substituted = []
        for name in external_images(dockerfile.read_text(encoding="utf-8"), build_args or {}):
            labels = self._labels(name)
            if labels is None and (problem := self._pull(name, platform)):
                repository = name.removeprefix("docker.io/").removeprefix("library/")
                if not repository.startswith(("python", "debian")):
                    raise NoBaseImage(
                        f"{dockerfile}: base image {name} cannot be pulled ({problem}), and only python and debian"
                        " images can be stood in for. Load it into the engine: docker load."
                    )
                self.api.images.get(self._debian()).tag(name)
                labels = {STAND_IN: "true"}
            if labels and STAND_IN in labels:
                if platform and architecture(platform) != self.client.architecture():
                    raise NoBaseImage(
                        f"{dockerfile}: no registry gives base image {name} for {platform}, and a stand-in is for"
                        f" {self.client.architecture()} only. Deploy for that, or load the image: docker load."
                    )
                substituted.append(name)
        self.stand_ins.extend(name for name in substituted if name not in self.stand_ins)
        if substituted:
            # A build on a stand-in reaches the package index as this machine does, through whatever proxy that takes.
            self.client = dataclasses.replace(self.client, network="host")
        return substituted

    # Base images

    def _labels(self, name: str) -> dict[str, str] | None:
        """The labels of a local image, None when there is no such image."""
        try:
            return dict(self.api.images.get(name).labels)
        except docker.errors.ImageNotFound:
            return None

    def _pull(self, name: str, platform: str | None) -> str:
        """Pull an image; why not, empty on success."""
        try:
            done = self.client.run(
                [str(self.client.command), "pull", *(["--platform", platform] if platform else []), name],
                limit=_PULL_LIMIT,
            )
        except subprocess.TimeoutExpired:
            return f"not pulled within {_PULL_LIMIT:.0f} s"
        return "" if done.returncode == 0 else done.stdout.strip().splitlines()[-1]

    def _debian(self) -> str:
        """The name of the Debian that stands in for base images, made if the engine has none yet (about 40 s).

        Goes when a registry of base images can be reached from every machine.
        """
        suite, mirror = apt_source()
        name = f"rehearsal-base:{suite}"
        if self._labels(name) is not None:
            return name
        if not _which("debootstrap"):
            apt_install("debootstrap")
        with _folder(self.work) as root:
            packages = "python3,python3-venv,python3-pip,curl,ca-certificates"
            log = self.work / "debootstrap.log"
            with log.open("w") as output:
                made = subprocess.run(
                    ["debootstrap", "--variant=minbase", f"--include={packages}", suite, str(root), mirror],
                    stdout=output, stderr=subprocess.STDOUT, check=False, env=debian.environment(),
                )  # fmt: skip
            if made.returncode != 0:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
                raise NoBaseImage(f"debootstrap could not make a base image; the end of {log}:\n{tail}")
            trim(root)
            trust_machine_authorities(root)
            environment = {
                **dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), CA_BUNDLE),
                "UV_NATIVE_TLS": "true",  # uv brings its own authorities unless told; newer ones call it SYSTEM_CERTS
                "UV_SYSTEM_CERTS": "true",
                **{index: os.environ[index] for index in INDEXES if index in os.environ},
            }
            changes = [f'ENV {key}="{value}"' for key, value in environment.items()]
            changes += [f"LABEL {STAND_IN}=true", 'CMD ["python3"]']
            with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
                # Not by the command's arguments: the address of a package index may hold a password.
                answer = self.api.api.import_image_from_stream(
                    tar.stdout, repository="rehearsal-base", tag=suite, changes=changes
                )
            if tar.returncode != 0 or self._labels(name) is None:
                raise NoBaseImage(f"the engine did not import debootstrap's base image: {answer}")
        return name


def _forget_stand_ins(host: str) -> None:
    """No engine may go on calling a stand-in by an official name; the next run asks the registry again."""
    with (
        suppress(docker.errors.DockerException, requests.RequestException),
        closing(docker.DockerClient(base_url=host, timeout=30)) as api,
    ):
        for name in [name for image in api.images.list(name="rehearsal-base") for name in image.tags]:
            if not name.startswith("rehearsal-base:"):
                with suppress(docker.errors.DockerException):
                    api.images.remove(name, noprune=True)


@contextmanager
def _folder(parent: Path) -> Iterator[Path]:
    """A folder of mode 0755 for a root file system, gone afterwards."""
    with tempfile.TemporaryDirectory(dir=parent, prefix="base-") as folder:
        root = Path(folder) / "root"
        root.mkdir(mode=0o755)
        yield root


def _answers(host: str) -> bool:
    """Whether a Docker engine answers at an address within five seconds."""
    try:
        client = docker.DockerClient(base_url=host, timeout=5)
    except docker.errors.DockerException:
        return False
    try:
        return bool(client.ping())
    except (docker.errors.DockerException, requests.RequestException):
        return False
    finally:
        client.close()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _ip(*arguments: str) -> str:
    """The output of the `ip` command; raises NoEngine when there is no such command or it fails."""
    if not (command := _which("ip")):
        raise NoEngine("No ip command on the PATH. Install it (Debian: apt-get install iproute2).")
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoEngine(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _which(command: str) -> str | None:
    return shutil.which(command, path=debian.environment()["PATH"])


def _has_client() -> bool:
    try:
        find_client()
    except NoEngine:
        return False
    return True
