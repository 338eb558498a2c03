"""The Docker engine of a rehearsal: which images a Dockerfile needs, building, pushing, and a dockerd of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.docker_client import BuildFailed, NoEngine, PushFailed, find_client
from rehearsal.base_images import NoBaseImage, external_images
from rehearsal.docker import Engine

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    try:
        with Engine(work=ROOT / ".rehearsal" / "docker") as engine:
            yield engine
    except NoEngine as reason:
        pytest.skip(str(reason))


def context(folder: Path, dockerfile: str) -> Path:
    (folder / "Dockerfile").write_text(dockerfile)
    return folder


def test_base_images_are_those_of_from_lines_with_their_arguments_filled_in() -> None:
    dockerfile = """
        # FROM commented:1
        ARG BASE=python:3.12 OTHER="debian:12"
        FROM --platform=linux/amd64 ${BASE} AS build
        ARG BASE=ignored
        RUN echo FROM nothing
        from $OTHER as Two
        FROM ${NONE:-alpine:3}
        FROM build
        FROM scratch
        COPY --from=two /a /b
        COPY --from=0 /a /b
        COPY --chown=1:1 \\
            --from=ghcr.io/astral-sh/uv:1 /uv /bin/
        FROM python:3.12
    """
    assert external_images(dockerfile, {}) == ["python:3.12", "debian:12", "alpine:3", "ghcr.io/astral-sh/uv:1"]
    assert external_images(dockerfile, {"BASE": "python:3.13"})[0] == "python:3.13"


def test_a_base_image_without_a_value_is_named() -> None:
    with pytest.raises(NoBaseImage, match=r"\$BASE"):
        external_images("ARG BASE\nFROM $BASE", {})


def test_the_servers_own_image_takes_one_image_from_outside() -> None:
    (base,) = external_images((ROOT / "image" / "Dockerfile").read_text(), {})
    assert base.startswith("python:3.12.")


def script(folder: Path, name: str, body: str) -> Path:
    folder.mkdir()
    command = folder / name
    command.write_text(f"#!/bin/sh\n{body}\n")
    command.chmod(0o755)
    return command


def test_a_client_that_cannot_build_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = '[ "$1" = buildx ] && exit {buildx}; echo "Docker version {number}, build 1"'
    bare = script(tmp_path / "bare", "docker", version.format(buildx=1, number="28.2.2"))
    old = script(tmp_path / "old", "docker", version.format(buildx=1, number="20.10.24+dfsg1"))
    full = script(tmp_path / "full", "docker", version.format(buildx=0, number="28.2.2"))

    monkeypatch.setenv("PATH", f"{bare.parent}:{old.parent}:{full.parent}")
    assert find_client() == old
    monkeypatch.setenv("PATH", f"{bare.parent}:{full.parent}")
    assert find_client() == full
    monkeypatch.setenv("PATH", str(bare.parent))
    with pytest.raises(NoEngine, match=f"{bare}.*docker-buildx"):
        find_client()


def test_a_chosen_engine_that_does_not_answer_is_an_error_and_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(NoEngine, match=r"none\.sock.*unset DOCKER_HOST"), Engine(work=tmp_path):
        pass


def test_the_bridge_has_an_address_on_this_machine(engine: Engine) -> None:
    addresses = subprocess.run(["ip", "-4", "address"], capture_output=True, text=True, check=True).stdout
    assert f" {engine.bridge_address()}/" in addresses


def test_an_image_is_built_for_the_platform_asked_for(engine: Engine, tmp_path: Path) -> None:
    files = context(tmp_path, "FROM scratch\nCOPY Dockerfile /\n")
    other = "arm64" if engine.client.architecture() == "amd64" else "amd64"
    for wanted in (f"linux/{engine.client.architecture()}", f"linux/{other}"):
        assert engine.client.build(files, "test-platform:latest", platform=wanted).platform == wanted


def test_the_failing_step_and_its_output_are_in_the_error(engine: Engine, tmp_path: Path) -> None:
    base = (ROOT / "image" / "Dockerfile").read_text().partition("ARG BASE_IMAGE=")[2].split()[0]
    files = context(tmp_path, f"FROM {base}\nRUN echo fine\nRUN echo the cause >&2; exit 3\n")
    engine.ensure_base_images(files / "Dockerfile")
    with pytest.raises(BuildFailed) as failed:
        engine.client.build(files, "test-failing:latest")
    message = str(failed.value)
    assert "[3/3] RUN echo the cause >&2; exit 3 failed" in message
    assert message.splitlines()[-1] == "the cause"
    assert "exit code: 3" in message


def test_a_base_image_that_can_neither_be_pulled_nor_stood_in_for_is_named(engine: Engine, tmp_path: Path) -> None:
    # Port 1 of this machine: refused at once, whether or not a registry is reachable from here.
    files = context(tmp_path, "FROM localhost:1/team/base:7\n")
    with pytest.raises(NoBaseImage, match=r"localhost:1/team/base:7 cannot be pulled .*docker load"):
        engine.ensure_base_images(files / "Dockerfile")


def test_a_stand_in_is_never_used_for_another_processor(engine: Engine, tmp_path: Path) -> None:
    files = context(tmp_path, "FROM python:0.0-stand-in\n")
    other = "arm64" if engine.client.architecture() == "amd64" else "amd64"
    assert engine.ensure_base_images(files / "Dockerfile") == ["python:0.0-stand-in"]
    with pytest.raises(NoBaseImage, match=f"python:0.0-stand-in for linux/{other}"):
        engine.ensure_base_images(files / "Dockerfile", platform=f"linux/{other}")


def test_a_push_that_fails_says_where_and_keeps_the_password(engine: Engine, tmp_path: Path) -> None:
    image = engine.client.build(context(tmp_path, "FROM scratch\nCOPY Dockerfile /\n"), "test-push:latest").image
    with pytest.raises(PushFailed, match="localhost:1/name:tag") as failed:
        engine.client.push(image, "localhost:1/name:tag", "AWS", "hunter2")
    assert "hunter2" not in str(failed.value)
    engine.api.images.remove("localhost:1/name:tag")


# A dockerd of our own, in a network of its own so that it cannot disturb one that runs on this machine.

OWN = """
import os, signal, sys
from pathlib import Path
from rehearsal import docker
docker._DEFAULT_HOST = "unix:///nonexistent.sock"
Engine = docker.Engine
work = Path(sys.argv[1])
def running():
    return bool(Engine(work=work)._processes())
def pid():
    return Engine(work=work)._processes("dockerd")[0]
"""


def own(folder: Path, body: str) -> str:
    """The output of Python lines run with OWN before them, where nothing but loopback is on the network."""
    if os.geteuid() != 0 or not shutil.which("dockerd") or not Path("/etc/debian_version").exists():
        pytest.skip("starting a dockerd needs root and Debian's docker.io")
    environment = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}
    done = subprocess.run(
        # With processes of its own too: whatever a failing test leaves ends with it.
        ["unshare", "--net", "--pid", "--fork", "--mount-proc", sys.executable, "-c", OWN + body, str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=120,
        check=False,
    )
    if "Operation not permitted" in done.stderr and "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_engine_of_our_own_is_started_used_and_ended(tmp_path: Path) -> None:
    context(tmp_path, "FROM scratch\nCOPY Dockerfile /\n")
    body = """
with Engine(work=work / "docker") as engine:
    print(engine.host.startswith("unix:///run/"), engine.client.build(work, "a:1").platform.partition("/")[0])
print(bool(Engine(work=work / "docker")._processes()), list(Path("/run").glob(f"{engine._runtime.name}*")))
"""
    assert own(tmp_path, body).splitlines() == ["True linux", "False []"]


def test_two_engines_of_our_own_have_a_bridge_each_and_leave_none(tmp_path: Path) -> None:
    body = """
import re, subprocess
def links():
    return re.findall(r"rh-\\w+", subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True).stdout)
with Engine(work=work / "one") as one, Engine(work=work / "two") as two:
    print(one.bridge_address() != two.bridge_address(), len(set(links())))
print(links())
"""
    assert own(tmp_path, body).splitlines() == ["True 2", "[]"]


def test_the_bridge_avoids_what_the_machine_reaches_already(tmp_path: Path) -> None:
    body = """
docker._ip("link", "add", "lan", "type", "bridge")
docker._ip("address", "add", "172.30.200.7/16", "dev", "lan")
with Engine(work=work) as engine:
    print(engine.bridge_address().split(".")[0] in ("10", "192"))
"""
    assert own(tmp_path, body).split() == ["True"]


def test_the_bridge_keeps_its_hardware_address_when_containers_come_and_go(tmp_path: Path) -> None:
    body = """
def address():
    return docker._ip("-brief", "link", "show", engine._bridge).split()[2]
with Engine(work=work) as engine:
    seen = [address()]
    docker._ip("link", "add", "container", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "inside")
    docker._ip("link", "set", "container", "master", engine._bridge)
    seen.append(address())
    docker._ip("link", "delete", "container")
    seen.append(address())
print(seen[0] == seen[1] == seen[2], seen[0].startswith("02:42:"))
"""
    assert own(tmp_path, body).split() == ["True", "True"]


def test_an_interrupted_rehearsal_ends_its_engine(tmp_path: Path) -> None:
    body = """
try:
    with Engine(work=work):
        print(running())
        os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print(running())
"""
    assert own(tmp_path, body).split() == ["True", "False"]


def test_the_engine_of_a_killed_rehearsal_is_used_and_ended_by_the_next(tmp_path: Path) -> None:
    body = """
child = os.fork()
if child == 0:
    Engine(work=work).__enter__()
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
left = pid()
with Engine(work=work):
    print(pid() == left)
print(running())
"""
    assert own(tmp_path, body).split() == ["True", "False"]


def test_a_killed_engine_with_a_stale_pid_file_does_not_stop_the_next(tmp_path: Path) -> None:
    body = """
engine = Engine(work=work).__enter__()
os.kill(pid(), signal.SIGKILL)
(engine._runtime / "docker.pid").write_text("1")
with Engine(work=work) as second:
    print(second.api.ping())
Engine(work=work).stop()
print(running())
"""
    assert own(tmp_path, body).split() == ["True", "False"]


def test_a_kept_engine_stays_until_it_is_stopped(tmp_path: Path) -> None:
    body = """
with Engine(work=work) as engine:
    engine.keep = True
with Engine(work=work):
    pass
print(running())
Engine(work=work).stop()
print(running())
"""
    assert own(tmp_path, body).split() == ["True", "False"]


def test_an_engine_that_another_rehearsal_still_uses_is_left_to_it(tmp_path: Path) -> None:
    body = """
with Engine(work=work) as first:
    with Engine(work=work):
        pass
    print(first.api.ping())
print(running())
"""
    assert own(tmp_path, body).split() == ["True", "False"]


def test_a_stand_in_keeps_its_official_name_as_long_as_a_run_may_build_on_it(tmp_path: Path) -> None:
    context(tmp_path, "FROM scratch\nCOPY Dockerfile /\n")
    body = """
def named(engine):
    return "python:0.0" in [tag for image in engine.api.images.list() for tag in image.tags]
docker_of = work / "docker"
with Engine(work=docker_of) as kept:
    kept.client.build(work, "rehearsal-base:test")
    kept.api.images.get("rehearsal-base:test").tag("python:0.0")
    kept.keep = True
with Engine(work=docker_of) as other:
    Engine(work=docker_of).release(kept.host)
    print(named(other))
with Engine(work=docker_of) as after:
    print(named(after), bool(after.api.images.list(name="rehearsal-base")))
"""
    assert own(tmp_path, body).splitlines() == ["True", "False True"]
