"""The image: its size by package, what nodes pull again after a change, and how long it takes to build; beside a plain
`pip install` of the same server on the same base."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from benchmarks import registries
from benchmarks.bench import CONTEXT, IMAGE, PEER, PLAIN, Bench
from benchmarks.sheet import Sheet

_LARGEST = 12
"""Packages that are named: what stands in the way of a smaller image."""
_REST = "all other packages"
_WHY = {
    "valkey-glide": "its client is one compiled library; for `oauth.state: valkey` alone",
    "cryptography": "one compiled library",
    "pydantic_core": "one compiled library",
    "trio": "valkey-glide imports it",
    "pypdf": "a tool of Drive's reads PDF with it",
}
_SIZES = """
import importlib.metadata, importlib.util, json, os
sizes = {}
for found in importlib.metadata.distributions():
    if "/usr/lib/python3/" in str(found.locate_file("")) or found.name in ("pip", "setuptools", "wheel"):
        continue  # The base's own.
    for file in found.files or ():
        path = str(found.locate_file(file))
        # With its byte code, which lies in a folder of its own, or in the source's place.
        code = (importlib.util.cache_from_source(path), path + "c") if path.endswith(".py") else ()
        for one in (path, *code):
            if os.path.isfile(one) and (one == path or not path.endswith(".pyc")):
                sizes[found.name.lower()] = sizes.get(found.name.lower(), 0) + os.path.getsize(one)
print(json.dumps(sizes))
"""


def measure(bench: Bench, sheet: Sheet) -> None:
    """Builds first: what they leave is what is looked at."""
    _ = bench.engine  # Not part of the first build.
    sheet.measure(
        "clean build",
        lambda: bench.built(IMAGE, CONTEXT, clean=True),
        beside={PEER: lambda: bench.built(PLAIN, bench.plain_context, clean=True)},
        reach=15,
    )
    sheet.measure("unchanged build", lambda: bench.built(IMAGE, CONTEXT), reach=1)
    changed = functools.partial(_changed, bench, "launcher.py", lambda text: f"{text}\n# {uuid.uuid4()}\n")
    sheet.measure("build, launcher changed", lambda: bench.built("benchmark-launcher", changed()), reach=3)
    with sheet.surviving("above its base"):
        size, base = (bench.engine.api.images.get(name).attrs["Size"] for name in (bench.image, bench.base))
        plain = bench.engine.api.images.get(bench.plain).attrs["Size"] - base
        sheet.row("above its base", unit="MB", reach=110, values=[_mb(size - base)], beside={PEER: [_mb(plain)]})
    with sheet.surviving("of it"):
        ours, theirs = (_packages(bench, image) for image in (bench.image, bench.plain))
        named = sorted(ours, key=lambda name: -ours[name])[:_LARGEST]
        for sizes in (ours, theirs):
            sizes[_REST] = sum(size for name, size in sizes.items() if name not in named)
        for name in (*named, _REST):
            beside = {PEER: [_mb(theirs[name])]} if name in theirs else {}
            sheet.row(f"of it {name}", unit="MB", values=[_mb(ours[name])], beside=beside, note=_WHY.get(name, ""))
    with sheet.surviving("compressed, above its base"):
        _pulled(bench, sheet)
    registries.measure(bench, sheet)
    sheet.without["the first users' fork"] = "its source is on GitHub alone, which a closed network does not reach"
    sheet.without["upstream's own Dockerfile"] = (
        "it takes upstream's uv.lock, on GitHub alone as the Dockerfile is; the source on the package index has neither"
    )


def _mb(size: float) -> float:
    return round(size / 1e6, 1)


def _packages(bench: Bench, image: str) -> dict[str, int]:
    """Package -> bytes, with its byte code."""
    run = bench.engine.api.containers.run
    printed = run(image, ["-c", _SIZES], entrypoint="python3", remove=True)
    found: dict[str, int] = json.loads(printed)
    return found


def _changed(bench: Bench, file: str, change: Callable[[str], str], of: Path = CONTEXT) -> Path:
    """A copy of the image's folder with one file of it changed."""
    context = bench.folder / f"context-{uuid.uuid4().hex[:8]}"
    shutil.copytree(of, context)
    (context / file).write_text(change((context / file).read_text()))
    return context


def _pulled(bench: Bench, sheet: Sheet) -> None:
    """What a node pulls that has the base: all of it, and what is new after each kind of change."""
    base = f"{IMAGE}-base"
    context = bench.folder / "base"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {bench.base}\nRUN touch /changed\n")
    bench.built(base, context)
    version = functools.partial(_other_version, bench)
    # Installed anew, once: of several builds of the same layer, each with its own times, the cache gives any.
    own_context = _changed(bench, "requirements.txt", lambda text: f"{text}\n# {uuid.uuid4()}\n")
    reference = f"{IMAGE}-reference"
    bench.built(reference, own_context, target="runtime")
    variants: dict[str, Callable[[str], None]] = {
        "only the launcher changed": lambda tag: bench.built(
            tag, _changed(bench, "launcher.py", lambda text: f"{text}\n# changed\n", own_context), target="runtime"
        ),
        "only the server's version changed": lambda tag: bench.built(
            tag, _changed(bench, "requirements.txt", version, own_context), target="runtime"
        ),
        "only the base changed": lambda tag: bench.built(tag, own_context, base=base, target="runtime"),
    }
    with registries.emulated(bench) as registry:
        own = {layer for name in (bench.base, base) for layer in registry.layers(name)}
        pushed, plain = registry.layers(reference), registry.layers(bench.plain)

        def megabytes(layers: dict[str, int], known: set[str]) -> float:
            return _mb(sum(size for digest, size in layers.items() if digest not in known))

        beside = {PEER: [megabytes(plain, own)]}
        sheet.row("compressed, above its base", unit="MB", reach=40, values=[megabytes(pushed, own)], beside=beside)
        for name, build in variants.items():
            with sheet.surviving(f"pulled again, {name}"):
                tag = f"{IMAGE}-{uuid.uuid4().hex[:8]}"
                build(tag)
                again = megabytes(registry.layers(tag), own | set(pushed))
                # A plain install is one layer, and has nothing of a launcher.
                sheet.row(
                    f"pulled again, {name}", unit="MB", values=[again], beside={} if "launcher" in name else beside
                )


def _other_version(bench: Bench, text: str) -> str:
    """The lock with the server's newest version before its own, as the package index has it."""
    name, version = bench.server.split("==")
    package = name.partition("[")[0]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    folder = bench.folder / "wheel"
    command = [*pip, "download", "--quiet", "--no-deps", "--dest", str(folder), f"{package}<{version}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    (wheel,) = folder.iterdir()
    hashed = subprocess.run([*pip, "hash", str(wheel)], capture_output=True, text=True, check=True).stdout
    locked = re.compile(rf"^{re.escape(package)}(\[\w+\])?==\S+ (\\\n +--hash=\S+ ?)+(?=\n)", re.MULTILINE)
    changed, count = locked.subn(f"{package}=={wheel.name.split('-')[1]} \\\\\n    {hashed.split()[-1]}", text)
    if count != 1:
        raise RuntimeError(f"the lock has {package} {count} times")
    return changed
