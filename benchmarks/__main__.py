"""Measures what users wait for, and writes it to `benchmarks/results.md`. Takes about ten minutes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rehearsal.docker import Engine
from rehearsal.kept import HOME, ROOT, Kept, stop

_IMAGE = "benchmark-google-workspace-mcp:latest"


def main() -> None:
    """Measure `--runs` times and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="measurements of each figure (default: 3)")
    runs = parser.parse_args().runs
    if Kept.read("production"):
        raise SystemExit("A rehearsal of production is kept, which would be measured: end it, ./rehearse --stop")
    figures: dict[str, list[float]] = {}
    with Engine(HOME / "docker") as engine:
        context = ROOT / "image"
        substituted = engine.ensure_base_images(context / "Dockerfile")
        network = ["--network=host"] if substituted else []
        clean = [str(engine.client.command), "build", "--no-cache", *network, "--tag", _IMAGE, str(context)]
        environment = {**os.environ, "DOCKER_HOST": engine.host, "DOCKER_BUILDKIT": "1"}
        for _ in range(runs):
            _time(
                figures,
                "image, clean build",
                lambda: subprocess.run(clean, env=environment, capture_output=True, check=True),
            )
        for _ in range(runs):
            _time(
                figures,
                "image, cached build",
                lambda: engine.client.build(context, _IMAGE),
            )
            _time(figures, "container start to healthy", lambda: _start(engine))
        size = engine.api.images.get(_IMAGE).attrs["Size"]
        engine.api.images.remove(_IMAGE, force=True)
        for _ in range(runs):
            report = _run(engine, "rehearsal", "--json")
            for phase in report["phases"]:
                figures.setdefault(f"rehearsal: {phase['name'].lower()}", []).append(phase["seconds"])
            figures.setdefault("rehearsal, all of it", []).append(report["seconds"])
        _run(engine, "rehearsal", "--keep", "--json")
        try:
            for _ in range(runs):
                (step,) = _run(engine, "operations", "load", "mixed", "--rehearsal", "--json")["steps"]
                for each in step["figures"]:
                    name = f"load test of a rehearsal, {step['users']} users at once: {each['name']}, p95"
                    figures.setdefault(name, []).append(each["p95"] / 1000)
        finally:
            stop("production")
    (Path(__file__).parent / "results.md").write_text(_table(figures, size, runs, substituted))


def _time(figures: dict[str, list[float]], name: str, action: Callable[[], object]) -> None:
    started = time.perf_counter()
    action()
    figures.setdefault(name, []).append(time.perf_counter() - started)


def _start(engine: Engine) -> None:
    """Run a container of the image until its /health answers."""
    variables = {"GOOGLE_OAUTH_CLIENT_ID": "benchmark", "GOOGLE_OAUTH_CLIENT_SECRET": "benchmark"}
    variables |= {"WORKSPACE_EXTERNAL_URL": "https://benchmark.example"}
    container = engine.api.containers.run(
        _IMAGE, detach=True, read_only=True, environment=variables, nano_cpus=500_000_000
    )
    try:
        container.reload()
        url = f"http://{container.attrs['NetworkSettings']['IPAddress']}:8000/health"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(600):
            try:
                opener.open(url, timeout=2).close()
                return
            except (OSError, urllib.error.URLError):
                time.sleep(0.05)
        raise SystemExit(f"the container never became healthy:\n{container.logs().decode()}")
    finally:
        container.remove(force=True)


def _run(engine: Engine, *command: str) -> dict[str, Any]:
    """The document that one of the project's modules prints."""
    environment = {**os.environ, "DOCKER_HOST": engine.host}
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _table(figures: dict[str, list[float]], size: int, runs: int, substituted: list[str]) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        "# Figures",
        "",
        f"Measured by `python -m benchmarks` on {datetime.now(tz=UTC):%Y-%m-%d}:",
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()},",
        f"Python {platform.python_version()}; {runs} runs each.",
    ]
    if substituted:
        lines.append(f"Base image {', '.join(substituted)} was stood in for by a Debian made on the machine.")
    lines += [
        "",
        f"Image: {size / 1e6:.0f} MB unpacked.",
        "",
        "| figure | median | least | most |",
        "|---|---|---|---|",
    ]
    for name, values in figures.items():
        lines.append(f"| {name} | {statistics.median(values):.2f} s | {min(values):.2f} s | {max(values):.2f} s |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
