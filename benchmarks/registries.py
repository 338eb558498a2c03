"""Registries that images are pushed to: the emulated account's, and Debian's `docker-registry`; each begins empty."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.sheet import Sheet
from rehearsal.docker import Engine
from rehearsal.emulator import Emulator, ensure_installed, free_port
from rehearsal.kept import ROOT

DEBIAN = "docker-registry of Debian"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True, kw_only=True)
class Registry:
    """One that runs."""

    address: str
    engine: Engine
    make: Callable[[str], object] = lambda _repository: None
    """Makes a repository, where a push does not."""

    def push(self, image: str) -> float:
        """Seconds of an image's first push."""
        self.make(_name(image))
        started = time.perf_counter()
        self.engine.client.push(image, f"{self.address}/{_name(image)}:pushed", "AWS", "none")
        seconds = time.perf_counter() - started
        self.engine.api.images.remove(f"{self.address}/{_name(image)}:pushed", noprune=True)
        return seconds

    def layers(self, image: str) -> dict[str, int]:
        """Digest -> bytes of an image's layers, compressed, as they are pulled."""
        self.push(image)
        url = f"http://{self.address}/v2/{_name(image)}/manifests/pushed"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(url, headers={"Accept": _MANIFEST}), timeout=30) as answer:
            return {layer["digest"]: layer["size"] for layer in json.load(answer)["layers"]}


def _name(image: str) -> str:
    return image.partition(":")[0].rpartition("/")[2]


@contextlib.contextmanager
def emulated(bench: Bench) -> Iterator[Registry]:
    """The emulated account's, which has kept no layers of earlier rehearsals."""
    python = ensure_installed(ROOT)
    with tempfile.TemporaryDirectory(prefix="benchmarks-registry-") as folder:
        # Layers are kept beside the emulator's environment.
        environment = Path(folder) / python.parents[1].name
        environment.symlink_to(python.parents[1])
        python = environment / "bin" / "python"
        with Emulator("123456789012", "us-east-1", python=python, docker_host=bench.engine.host) as emulator:
            create = emulator.client("ecr").create_repository
            yield Registry(
                address=emulator.registry, engine=bench.engine, make=lambda name: create(repositoryName=name)
            )


@contextlib.contextmanager
def of_debian(bench: Bench, program: Path) -> Iterator[Registry]:
    """Debian's, on loopback."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-registry-") as folder:
        address = f"localhost:{free_port(None)}"
        config = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": f"{folder}/data"}},
            "http": {"addr": address.replace("localhost", "127.0.0.1")},
        }
        file = Path(folder) / "config.json"  # JSON is YAML.
        file.write_text(json.dumps(config))
        process = subprocess.Popen([program, "serve", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait(f"http://{address}/v2/", process)
            yield Registry(address=address, engine=bench.engine)
        finally:
            process.terminate()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            opener.open(url, timeout=2).close()
            return
        time.sleep(0.02)
    raise RuntimeError("docker-registry does not answer")


def _program(folder: Path) -> Path:
    """Debian's program, unpacked and not installed. Raises `RuntimeError` where apt has it not."""
    script = "apt-get download --quiet docker-registry && dpkg --extract docker-registry*.deb ."
    done = subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return folder / "usr" / "bin" / "docker-registry"


def measure(bench: Bench, sheet: Sheet) -> None:
    """The push of the whole image, its base too."""

    def push(registry: AbstractContextManager[Registry]) -> float:
        with registry as running:
            return running.push(bench.image)

    beside = {}
    folder = bench.folder / "docker-registry"
    folder.mkdir()
    try:
        beside[DEBIAN] = functools.partial(lambda program: push(of_debian(bench, program)), _program(folder))
    except RuntimeError as error:
        sheet.without[DEBIAN] = f"it cannot be downloaded: {error}"
    sheet.measure(
        "push of all layers, base included, into an empty registry",
        lambda: push(emulated(bench)),
        beside=beside,
    )
