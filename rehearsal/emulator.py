"""The emulated account: MiniStack, installed apart, started on loopback, and cleaned up without remains."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from machine.environments import installed
from machine.processes import running
from providers import recording

MINISTACK = "ministack==1.5.33"
REQUIREMENTS = (MINISTACK, "docker==7.2.0", "cbor2==6.3.0")
"""MiniStack pins botocore exactly, and so has an environment of its own. With `docker` its ECS runs containers; with
`cbor2` its CloudWatch answers the AWS SDK for Go, which the aws provider is made with.

Goes when MiniStack allows this program's botocore.
"""
START_TIMEOUT = 30.0  # seconds
_environment = threading.RLock()
_sessions = threading.Lock()
"""Making a client with a session that others use is not safe."""


class EmulatorError(Exception):
    """The emulator could not be started. The message says what to do."""


def ensure_installed(root: Path) -> Path:
    """The interpreter of the environment with MiniStack, `.rehearsal/emulator-venv` below `root`; made if need be.

    Raises `machine.environments.NotInstalled`.
    """
    return installed(root / ".rehearsal" / "emulator-venv", *REQUIREMENTS)


@functools.cache
def _session(region: str) -> boto3.Session:
    """What all accounts' clients of a region are made with: to make one reads descriptions of all of AWS."""
    # The user's profile and configuration must not reach it: these variables have no source, and an empty default.
    nowhere = botocore.session.Session(
        {
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    session = boto3.Session(
        aws_access_key_id="rehearsal",
        aws_secret_access_key="rehearsal",  # noqa: S106  # Not a secret: the emulator takes anything.
        region_name=region,
        botocore_session=nowhere,
    )
    session.events.register("provide-client-params.*.*", recording.record)
    return session


class Account:
    """A running emulated account, reached by its address.

    Args:
        endpoint: address of the emulator, http://127.0.0.1:PORT.
        account: account id, 12 digits.
        region: region name, us-east-1 for example.
    """

    def __init__(self, endpoint: str, account: str, region: str) -> None:
        self.endpoint = endpoint
        self.account = account
        self.region = region
        self._clients: dict[str, Any] = {}

    @property
    def port(self) -> int:
        return int(self.endpoint.rsplit(":", 1)[1])

    @property
    def registry(self) -> str:
        """Address to which Docker pushes and from which it pulls: `localhost:PORT`, which Docker trusts without TLS."""
        return f"localhost:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """What makes AWS clients reach this account and no other, where no other variable of theirs is set."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "rehearsal",
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    @property
    def whole_environment(self) -> dict[str, str]:
        """This process's environment, with `variables` in place of all that is AWS's."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return others | self.variables

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        """Meanwhile the AWS clients of this process, and of those that it starts, reach this account and no other."""
        # The environment is the whole process's, so it is lent to one at a time.
        with _environment:
            yield from self._lent()

    def _lent(self) -> Iterator[None]:
        before = dict(os.environ)
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ |= self.variables
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def client(self, service: str) -> Any:
        """boto3 client of `service` (cached; safe to share between threads)."""
        with _sessions:
            if service not in self._clients:
                # No host prefix: `data-` of DiscoverInstances and the like would not resolve.
                config = Config(
                    inject_host_prefix=False,
                    retries={"max_attempts": 2},
                    max_pool_connections=32,
                    s3={"addressing_style": "path"},
                    ignore_configured_endpoint_urls=True,
                    proxies={},
                )
                self._clients[service] = _session(self.region).client(
                    service, endpoint_url=self.endpoint, config=config
                )
            return self._clients[service]


class Emulator(Account):
    """Starts MiniStack on entering the `with` block and leaves nothing behind on leaving it.

    Args:
        account: account id that it answers with.
        region: its region.
        python: interpreter with MiniStack, from `ensure_installed`.
        docker_host: address of a Docker engine (unix:///...); None: tasks are only simulated.
        bridge_address: address of the Docker bridge, so that containers reach the emulator; None: loopback only.
        ids: EC2 ids to give out: `vpc-...` and `subnet-...` in the order of creation, `sg-...` to the group that is
            created with this text as its name.
        additions: what containers that have the variable `having` are given beside what their task definition says, as
            `environment` (name -> value), `volumes` (SOURCE:TARGET:ro) and `hosts` (name -> address).
        private_names: containers find services by their names in Cloud Map.
        outlive: keep running when this process ends, for a kept rehearsal; `stop_kept` ends it.

    Raises:
        EmulatorError: it did not answer in time; the message has the last lines of its log.
    """

    def __init__(
        self,
        account: str,
        region: str,
        *,
        python: Path,
        docker_host: str | None = None,
        bridge_address: str | None = None,
        ids: Sequence[str] = (),
        additions: Mapping[str, Any] | None = None,
        private_names: bool = False,
        outlive: bool = False,
    ) -> None:
        self._private_names = private_names
        self._python = python
        self._docker_host = docker_host
        self._bridge_address = bridge_address
        self._ids = ids
        self._additions = additions or {}
        self._outlive = outlive
        self._process: subprocess.Popen[bytes] | None = None
        # Name that MiniStack labels its containers with (ministack.instance=NAME:PORT); unique, so that cleaning up
        # can never reach the containers of another run.
        self.name = f"rehearsal-{uuid.uuid4().hex[:8]}"
        self.home = Path(tempfile.gettempdir()) / self.name
        super().__init__(f"http://127.0.0.1:{free_port(bridge_address)}", account, region)

    def __enter__(self) -> Emulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._outlive or error is not None:
            self.stop()

    @property
    def log(self) -> Path:
        """Its log file; gone with `stop`."""
        return self.home / "emulator.log"

    @property
    def target_health(self) -> Path:
        """Where to note the address at which an edge says its targets' health; ECS then waits for it in deployments."""
        return self.home / "target-health"

    def official_calls(self) -> list[dict[str, Any]]:
        """Every call that an official provider has made so far: service, operation, parameters."""
        file = self.home / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def cache(self) -> Path:
        """Folder of what stands behind the caches of this account: its `socket`, and its administrator's `password`."""
        return self.home / "cache"

    @property
    def kept(self) -> dict[str, Any]:
        """What `stop_kept` needs to end an emulator that outlived its process; plain JSON."""
        return {
            "endpoint": self.endpoint,
            "account": self.account,
            "region": self.region,
            "name": self.name,
            "home": str(self.home),
            "pid": self._process.pid if self._process else 0,
            "docker_host": self._docker_host,
        }

    def start(self) -> None:
        self.home.mkdir(mode=0o700)
        self.cache.mkdir()
        environment = {
            name: value
            for name, value in os.environ.items()
            # AWS_*: the user's own account must not be reachable. HOSTNAME: MiniStack takes it for the
            # name of the container that it runs in.
            if not name.startswith(("AWS_", "MINISTACK_", "DOCKER_")) and name != "HOSTNAME"
        }
        environment |= {
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_ACCOUNT_ID": self.account,
            "MINISTACK_REGION": self.region,
            "MINISTACK_HOSTNAME": self.name,
            "AWS_DEFAULT_REGION": self.region,
            "LOG_LEVEL": "INFO",
            "S3_DATA_DIR": str(self.home / "s3"),
            "TMPDIR": str(self.home),
            # Both listen on all interfaces, and the first takes seconds to start.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "DOCKER_HOST": self._docker_host or f"unix://{self.home}/no-docker-engine.sock",
        }
        # Isolated: nothing of this environment is found there.
        command = [
            str(self._python),
            "-I",
            str(Path(__file__).with_name("emulator_process") / "__main__.py"),
            "--bind",
            f"127.0.0.1:{self.port}",
            "--target-health",
            str(self.target_health),
            "--calls",
            str(self.home / "calls.jsonl"),
            "--layers",
            str(self._python.parents[2] / "layers"),
            # ECR says the address of its registry by which Docker reaches it, in place of AWS's, which leads nowhere.
            "--registry",
            self.registry,
            "--cache",
            str(self.cache),
            "--additions",
            json.dumps(self._additions),
        ]
        if self._bridge_address:
            command += ["--bind", f"{self._bridge_address}:{self.port}"]
            if self._private_names:
                command += ["--hosts", str(self.home / "hosts"), "--gateway", self._bridge_address]
        for wanted in self._ids:
            command += ["--id", wanted]
        if not self._outlive:
            command += ["--follow-parent", str(self.home)]
        with self.log.open("wb") as log:
            # Its own session: Ctrl-C reaches this process, which then stops the emulator in order.
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.home,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            with contextlib.suppress(OSError):
                opener.open(f"{self.endpoint}/_ministack/health", timeout=2).close()
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                state = (
                    f"ended with {self._process.returncode}"
                    if self._process.poll() is not None
                    else f"did not answer within {START_TIMEOUT:.0f} s"
                )
                lines = self.log.read_text(errors="replace").strip()[-2000:]
                raise EmulatorError(
                    f"the emulator at {self.endpoint} {state}:\n{lines}\n"
                    "Remove .rehearsal/emulator-venv to have it installed anew, then run again."
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it and remove its containers, the images pulled from it, and its files. Safe to call twice."""
        if self._process is not None:
            if self._process.stdin:
                self._process.stdin.close()
            if self._process.poll() is None:
                self._process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(15)
                if self._process.poll() is None:
                    self._process.kill()
                    self._process.wait()
            self._process = None
        _clean(self.name, self.port, self._docker_host, self.home)


def stop_kept(kept: dict[str, Any]) -> None:
    """Stop an emulator that outlived its process, from what `Emulator.kept` gave. Safe when it is gone already."""
    # The pid may be another program's by now, so it must still carry our name.
    try:
        arguments = Path(f"/proc/{kept['pid']}/environ").read_bytes()
    except OSError:
        arguments = b""
    if f"MINISTACK_HOSTNAME={kept['name']}".encode() in arguments:
        os.kill(kept["pid"], signal.SIGTERM)
        deadline = time.monotonic() + 15
        while running(kept["pid"]) and time.monotonic() < deadline:
            time.sleep(0.05)
        if running(kept["pid"]):
            os.kill(kept["pid"], signal.SIGKILL)
    _clean(kept["name"], int(kept["endpoint"].rsplit(":", 1)[1]), kept["docker_host"], Path(kept["home"]))


def _clean(name: str, port: int, docker_host: str | None, home: Path) -> None:
    # MiniStack removes its containers when it ends in order; after a crash nobody else would. It makes no networks,
    # and only anonymous volumes, which go with their containers.
    if docker_host is not None:
        import docker

        with (
            contextlib.suppress(docker.errors.DockerException),
            contextlib.closing(docker.DockerClient(base_url=docker_host, timeout=30)) as engine,
        ):
            for container in engine.containers.list(all=True, filters={"label": f"ministack.instance={name}:{port}"}):
                with contextlib.suppress(docker.errors.NotFound):
                    container.remove(v=True, force=True)
            for image in engine.images.list():
                for reference in (*image.tags, *(image.attrs.get("RepoDigests") or [])):
                    if reference.startswith(f"localhost:{port}/"):
                        with contextlib.suppress(docker.errors.APIError):
                            engine.images.remove(reference, noprune=True)
    shutil.rmtree(home, ignore_errors=True)


def free_port(bridge_address: str | None) -> int:
    """A port that is free on loopback and, if there is one, on the Docker bridge."""
    for _ in range(20):
        with socket.socket() as loopback, socket.socket() as bridge:
            loopback.bind(("127.0.0.1", 0))
            port = int(loopback.getsockname()[1])
            with contextlib.suppress(OSError):
                if bridge_address:
                    bridge.bind((bridge_address, port))
                return port
    raise EmulatorError(f"no port is free on both 127.0.0.1 and {bridge_address}; is the Docker bridge up?")
