"""The server's image: what may be built, and how what was built behaves in a container as Fargate would run it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from docker.errors import ContainerError
from mcp import Client

from providers.docker_client import BuildFailed, BuildResult, NoEngine
from rehearsal.base_images import NoBaseImage, external_images
from rehearsal.docker import Engine

ROOT = Path(__file__).parent.parent
IMAGE = ROOT / "image"
TAG = "test-workspace-mcp:latest"
# Stateless mode alone would refuse to start without OAuth 2.1.
LEGACY = "MCP_ENABLE_OAUTH21=1 WORKSPACE_MCP_STATELESS_MODE=false"
CREDENTIALS = {"GOOGLE_OAUTH_CLIENT_ID": "test", "GOOGLE_OAUTH_CLIENT_SECRET": "test"}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    try:
        with Engine(work=ROOT / ".rehearsal" / "docker") as engine:
            engine.ensure_base_images(IMAGE / "Dockerfile")
            yield engine
    except (NoEngine, NoBaseImage) as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def built(engine: Engine) -> BuildResult:
    return engine.client.build(IMAGE, TAG)


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[str, str], Path]:
    """A copy of the image's folder with one thing in its Dockerfile changed."""

    def change(old: str, new: str) -> Path:
        context = tmp_path / "image"
        shutil.copytree(IMAGE, context)
        dockerfile = context / "Dockerfile"
        text = dockerfile.read_text()
        assert old in text
        dockerfile.write_text(text.replace(old, new))
        return context

    return change


@pytest.mark.parametrize(("file", "least"), [("requirements.txt", 50), ("installer.txt", 1)])
def test_every_locked_package_has_a_hash_and_no_host_is_named(file: str, least: int) -> None:
    lines = re.sub(r"\\\n", "", (IMAGE / file).read_text()).splitlines()
    packages = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert len(packages) >= least
    assert [line for line in packages if "--hash=sha256:" not in line] == []
    assert [line for line in packages if "://" in line] == []


def test_the_label_names_the_version_that_is_locked() -> None:
    wanted = re.search(r"^workspace-mcp\[valkey\]==(\S+)", (IMAGE / "requirements.in").read_text(), re.M)
    assert wanted
    assert f'image.version="{wanted[1]}"' in (IMAGE / "Dockerfile").read_text()
    assert re.search(
        rf"^workspace-mcp(\[valkey\])?=={re.escape(wanted[1])} ", (IMAGE / "requirements.txt").read_text(), re.M
    )


def test_the_installer_reaches_the_package_index_as_pip_is_configured_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(IMAGE))
    install = importlib.import_module("install")
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://index.example/simple\ncert = /own.pem\ntimeout = 30\n"
        "extra-index-url =\n  https://second.example/simple\n  https://third.example/simple\n"
        "[install]\nfind-links = /wheels\n  /more\n[download]\ntrusted-host = not.this.example\n"
    )
    own = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    own |= {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_DEFAULT_TIMEOUT": "60", "PIP_NO_INDEX": "1"}
    pip = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, env=own, check=True, capture_output=True, text=True).stdout
    options = install.configured(listed)
    assert options["no-index"] == "1"
    assert install.variables(options) == {
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "UV_INDEX": "https://second.example/simple https://third.example/simple",
        "UV_FIND_LINKS": "/wheels,/more",
        "SSL_CERT_FILE": "/own.pem",
        "UV_HTTP_TIMEOUT": "60",
    }


def test_a_package_that_is_not_the_locked_one_makes_no_image(
    engine: Engine, changed: Callable[[str, str], Path]
) -> None:
    context = changed("FROM", "FROM")
    lock = context / "requirements.txt"
    lock.write_text(re.sub(r"(?<=sha256:)[0-9a-f]{64}", "0" * 64, lock.read_text()))
    with pytest.raises(BuildFailed, match=r"(?i)hash mismatch"):
        engine.client.build(context, "test-broken:latest")


def test_a_server_that_exits_at_start_makes_no_image(engine: Engine, changed: Callable[[str, str], Path]) -> None:
    context = changed("TRANSPORT=streamable-http", "TRANSPORT=stdio")
    with pytest.raises(BuildFailed, match=r"smoke.*\n(.*\n)*.*ended by itself with exit code 0"):
        engine.client.build(context, "test-broken:latest")


def test_a_server_that_answers_without_a_token_makes_no_image(
    engine: Engine, changed: Callable[[str, str], Path]
) -> None:
    with pytest.raises(BuildFailed, match="not 401: OAuth"):
        engine.client.build(changed("MCP_ENABLE_OAUTH21=true", LEGACY), "test-broken:latest")


def test_a_tool_that_is_not_as_its_function_says_makes_no_image(
    engine: Engine, changed: Callable[[str, str], Path]
) -> None:
    written = "python3 /schemas/tool_schemas.py"
    change = " && sed -i 's/Searches messages in/Searches all in/' /schemas/tool_schemas.json"
    with pytest.raises(BuildFailed, match=r"what a start makes of .*search_gmail_messages.* is not what FastMCP"):
        engine.client.build(changed(written, written + change), "test-broken:latest")


def test_building_again_without_a_change_gives_the_same_image_in_under_two_seconds(
    engine: Engine, built: BuildResult
) -> None:
    again = engine.client.build(IMAGE, TAG)
    assert again.image == built.image
    assert again.seconds < 2


def test_the_image_adds_less_than_110_mb_to_its_base(engine: Engine, built: BuildResult) -> None:
    (base,) = external_images((IMAGE / "Dockerfile").read_text(), {})
    assert built.size - engine.api.images.get(base).attrs["Size"] < 110_000_000


def test_a_version_of_the_server_is_a_layer_of_a_few_mb(engine: Engine, built: BuildResult) -> None:
    layers = engine.api.images.get(built.image).history()
    (server,) = [layer["Size"] for layer in layers if "COPY /opt/server" in layer["CreatedBy"]]
    assert server < 10_000_000


def test_an_error_in_a_library_without_its_source_names_file_and_line(engine: Engine, built: BuildResult) -> None:
    program = ["-c", "import yaml; yaml.safe_load('[')"]
    with pytest.raises(ContainerError, match=r'site-packages/yaml/parser\.py", line \d+, in parse_flow_sequence'):
        engine.api.containers.run(built.image, program, entrypoint="python3", remove=True)


READS = """
import ssl, sys
from types import SimpleNamespace
sys.path.insert(0, "/opt/launcher")
import calls
import httplib2
import httpx2

reads = []
read = ssl.SSLContext.load_verify_locations
ssl.SSLContext.load_verify_locations = lambda *arguments, **named: (reads.append(1), read(*arguments, **named))[1]
for when in ("by themselves", "prepared"):
    for _ in range(3):
        httpx2.AsyncClient()
        httplib2.HTTPSConnectionWithTimeout("gmail.googleapis.com")
    print(when, len(reads))
    reads.clear()
    calls.prepare(SimpleNamespace(_mcp_server=SimpleNamespace(get_tool_input_schema=None)))
"""


def test_clients_of_google_read_the_authorities_once_and_not_each_anew(engine: Engine, built: BuildResult) -> None:
    printed = engine.api.containers.run(built.image, ["-c", READS], entrypoint="python3", remove=True)
    assert printed.decode().splitlines() == ["by themselves 6", "prepared 2"]


HELD = """
import sys
from typing import Annotated
sys.path.insert(0, "/opt/launcher")
import calls
from fastmcp import FastMCP
from mcp.shared.inbound import validate_mcp_param_headers
from pydantic import Field

server = FastMCP("headers")

@server.tool
def list_files(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    return region

calls.prepare(server)
schema = server._mcp_server.get_tool_input_schema
for header in ("eu", "us"):
    print(validate_mcp_param_headers(schema("list_files"), {"region": "eu"}, {"mcp-param-region": header}) is None)
print(schema("no_such_tool"))
"""


REMEMBERED = """
import sys
sys.path.insert(0, "/opt/launcher")
import calls

calls.SCHEMAS = 4
asked = []
made = calls.remembered(lambda schema: asked.append(schema) or {**schema, "made": True})
tool, other = {"type": "object"}, {"type": "object"}
print(made(tool) is made(tool), made(tool) is made(other), made(tool) == made(other), len(asked))
(known,) = (cell.cell_contents for cell in made.__closure__ if isinstance(cell.cell_contents, dict))
print(max(made({"n": n}) and len(known) for n in range(100)), made(tool))
"""


def test_what_is_made_of_a_schema_is_remembered_for_that_very_one_and_not_without_end(
    engine: Engine, built: BuildResult
) -> None:
    printed = engine.api.containers.run(built.image, ["-c", REMEMBERED], entrypoint="python3", remove=True)
    assert printed.decode().splitlines() == ["True False True 2", "4 {'type': 'object', 'made': True}"]


def test_a_header_that_contradicts_the_argument_that_it_repeats_is_still_seen(
    engine: Engine, built: BuildResult
) -> None:
    printed = engine.api.containers.run(built.image, ["-c", HELD], entrypoint="python3", remove=True)
    assert printed.decode().splitlines() == ["True", "False", "None"]


@pytest.mark.parametrize(
    ("file", "source", "problem"),
    [
        ("fastmcp/server/new.py", "    import pygments.lexers\n", "fastmcp/server/new.py imports pygments"),
        ("uvicorn/new.py", "from watchfiles import watch\n", "uvicorn/new.py imports watchfiles"),
        ("fastmcp/cli/new.py", "import cyclopts\n", None),
    ],
)
def test_a_file_that_imports_a_package_that_is_left_out_makes_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, source: str, problem: str | None
) -> None:
    monkeypatch.syspath_prepend(str(IMAGE))
    hold_imports = importlib.import_module("prune").hold_imports
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(source)
    with pytest.raises(SystemExit, match=problem) if problem else contextlib.nullcontext():
        hold_imports(tmp_path)


def test_modules_are_found_where_they_were_when_that_was_written_down_and_others_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(IMAGE))
    locations = importlib.import_module("locations")
    monkeypatch.setattr(locations, "FILE", tmp_path / "locations.json")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = list(sys.meta_path)
    locations.begin()
    assert sys.meta_path == before  # There is nothing written down outside of the image.
    locations.record()
    locations.begin()
    finder: Any = sys.meta_path[0]
    for name in ("json", "json.decoder"):
        found, usual = finder.find_spec(name), importlib.util.find_spec(name)
        assert usual
        assert (found.origin, found.submodule_search_locations) == (usual.origin, usual.submodule_search_locations)
    assert finder.find_spec("of_nobody") is None


@pytest.fixture(scope="module")
def container(engine: Engine, built: BuildResult) -> Iterator[Any]:
    """The server as Fargate runs it: no root, no capabilities, nothing to write on."""
    container = engine.api.containers.run(
        built.image,
        detach=True,
        read_only=True,
        cap_drop=["ALL"],
        environment=CREDENTIALS,
        ports={"8000/tcp": ("127.0.0.1", 0)},
    )
    try:
        yield container
    finally:
        container.remove(force=True)


def ask(container: Any, method: str, path: str) -> int:
    """The HTTP status of one request, 0 when nothing answers."""
    container.reload()
    connection = HTTPConnection("127.0.0.1", int(container.ports["8000/tcp"][0]["HostPort"]), timeout=5)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/health/ready", 200),
        ("GET", "/.well-known/oauth-authorization-server", 200),
        ("GET", "/.well-known/openid-configuration", 200),
        ("POST", "/mcp", 401),
    ],
)
def test_it_serves_on_a_read_only_root_file_system(container: Any, method: str, path: str, status: int) -> None:
    deadline = time.monotonic() + 30
    while ask(container, "GET", "/health") != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ask(container, method, path) == status


def test_the_health_check_of_the_task_definition_works_inside(container: Any) -> None:
    assert container.exec_run(["curl", "-f", "http://localhost:8000/health"]).exit_code == 0


def test_it_does_not_run_as_root(container: Any) -> None:
    assert container.exec_run(["id", "-u"]).output.strip() == b"10001"
    assert container.image.attrs["Config"]["User"] == "10001:10001"


def test_it_ends_by_itself_when_told_to(engine: Engine, built: BuildResult) -> None:
    container = engine.api.containers.run(
        built.image, detach=True, environment=CREDENTIALS, ports={"8000/tcp": ("127.0.0.1", 0)}
    )
    try:
        deadline = time.monotonic() + 30
        while ask(container, "GET", "/health") != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        container.stop(timeout=30)  # As long as ECS waits before it kills, which gives 137.
        assert container.wait()["StatusCode"] == 0
    finally:
        container.remove(force=True)


def test_without_credentials_it_exits_with_an_error(engine: Engine, built: BuildResult) -> None:
    container = engine.api.containers.run(built.image, detach=True)
    try:
        assert container.wait(timeout=30)["StatusCode"] == 1
        assert b"GOOGLE_OAUTH_CLIENT_ID" in container.logs()
    finally:
        container.remove(force=True)


def test_where_it_is_told_of_a_collector_it_sends_traces_of_requests(engine: Engine, built: BuildResult) -> None:
    got: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.path.encode() + self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    # Without OAuth, because only a request that is let in makes a trace.
    told = {
        **CREDENTIALS,
        "MCP_ENABLE_OAUTH21": "false",
        "WORKSPACE_MCP_STATELESS_MODE": "false",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": "a-traced-service",
        "OTEL_BSP_SCHEDULE_DELAY": "100",  # milliseconds
    }
    with HTTPServer((engine.bridge_address(), 0), Collector) as collector:
        Thread(target=collector.serve_forever, daemon=True).start()
        address = f"http://{engine.bridge_address()}:{collector.server_port}"
        container = engine.api.containers.run(
            built.image,
            detach=True,
            environment=told | {"OTEL_EXPORTER_OTLP_ENDPOINT": address},
            ports={"8000/tcp": ("127.0.0.1", 0)},
        )
        try:
            deadline = time.monotonic() + 60
            while ask(container, "GET", "/health") != 200 and time.monotonic() < deadline:
                time.sleep(0.1)
            asyncio.run(_list_tools(int(container.ports["8000/tcp"][0]["HostPort"])))
            while not any(b"tools/list" in trace for trace in got) and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            container.remove(force=True)
            collector.shutdown()
    assert any(b"tools/list" in trace and b"a-traced-service" in trace for trace in got)
    assert {trace[:10] for trace in got} == {b"/v1/traces"}


async def _list_tools(port: int) -> None:
    async with Client(f"http://127.0.0.1:{port}/mcp") as client:
        assert (await client.list_tools()).tools
