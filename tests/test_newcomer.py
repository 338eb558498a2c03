"""The first hour, as README tells it, in a copy of the project: its own commands, in its order, and nothing else."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rehearsal.docker import Engine
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
SERVER = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"status": "healthy"}')

    def do_POST(self):
        ours = "/".join(os.environ["PUBLIC_URL"].split("/")[:3])
        self.send_error(401 if self.headers.get("Origin", ours) == ours else 403)

http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"""


def block(title: str, language: str) -> str:
    """The first code block of a section of README, or of what is before all sections."""
    section = (README.partition(f"\n## {title}\n")[2] if title else README).partition("\n## ")[0]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    found = [text for of, text in blocks if of == language]
    assert found, f"README's section {title!r} has no block of {language}"
    return str(found[0])


def pattern(line: str) -> str:
    """What README prints, as a pattern: times, addresses of this machine and what is cut (...) may be others."""
    others = {
        r"\d+\.\d s": r"[\d.]+ s",
        r"unix://\S+": r"\S+",
        r"http://127\.0\.0\.1:\d+": r"http://\S+",
        r"\.\.\.": ".*",
    }
    parts = re.split(f"({'|'.join(others)})", line.strip())
    known = [next((to for of, to in others.items() if re.fullmatch(of, part)), None) for part in parts]
    return "".join(
        to or r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part, to in zip(parts, known, strict=True)
    )


@dataclass
class Newcomer:
    """Somebody with a clean copy of the project."""

    home: Path
    engine: Engine

    def types(self, line: str) -> str:
        """Run a command as it stands in README; what it prints."""
        words = shlex.split(line, comments=True)
        # The scripts' own part, making the environment, is done: the tests run in it.
        script = {"./rehearse": "rehearsal", "./ops": "operations"}.get(words[0])
        command = [sys.executable, "-m", script, *words[1:]] if script else words
        done = subprocess.run(
            command,
            cwd=self.home,
            env={**os.environ, "DOCKER_HOST": self.engine.host, "COLUMNS": "160"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}"
        return done.stdout


@pytest.fixture
def newcomer(engine: Engine, emulator_python: Path, google_python: Path, tmp_path: Path) -> Iterator[Newcomer]:
    home = tmp_path / "project"
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split()]
    shutil.copytree(ROOT, home, ignore=shutil.ignore_patterns(".git", "Pulumi.*-[0-9]*.yaml", *ignored))
    (home / ".rehearsal").mkdir()
    for python in (emulator_python, google_python):
        (home / ".rehearsal" / python.parents[1].name).symlink_to(python.parents[1])
    person = Newcomer(home, engine)
    yield person
    person.types("./rehearse --stop")


def test_the_first_hour_goes_as_readme_says(newcomer: Newcomer) -> None:
    lines = [line for line in block("The first hour", "sh").splitlines() if line]
    start, change, again, history, back, stop = lines
    first = newcomer.types(start)
    shown = [line for line in block("", "").splitlines() if line]
    assert [line for line in shown if not re.search(pattern(line), first)] == [], f"README shows what is not:\n{first}"
    newcomer.types(change)
    assert re.search(r"Deployment .* [1-9]\d* of \d+ resources changed", newcomer.types(again))
    assert re.search(r" 2 .*runs", newcomer.types(history))
    told = newcomer.types(back)
    assert "mcp:1 (from busyb-google-workspace-mcp:2)" in told
    assert "a setting differs. Put it back too" in told, "only the image is pinned"
    file = newcomer.home / "Pulumi.production.yaml"
    file.write_text(file.read_text().replace("memory: 2048", "memory: 1024"))

    server = newcomer.home.parent / "research-mcp"
    server.mkdir()
    (server / "server.py").write_text(SERVER)
    (server / "Dockerfile").write_text(
        'FROM python:3.12.13-slim-bookworm\nCOPY server.py /\nUSER 10001\nENTRYPOINT ["python3", "/server.py"]\n'
    )
    services = "  mcp-on-ecs:services:\n"
    assert services in file.read_text()
    file.write_text(file.read_text().replace(services, services + block("A second service", "yaml")))
    printed = newcomer.types("./rehearse")
    assert "services.research.url https://api.busyb.ai/research" in printed
    assert "research: health answers 200 from outside" in printed
    assert "no rehearsal" not in newcomer.types(stop).lower()
