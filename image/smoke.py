"""Start the server the way the image does and fail the build unless it works.

Asked: GET /health answers 200 within LIMIT seconds, POST /mcp without a token is refused with 401, SIGTERM ends the
process within STOP seconds. On failure the server's own output is printed, because the build log is all its reader has.

Meanwhile all that a start leaves for later is done here: every module of the server is imported, every deferred model
is built, every tool is as it was before anything was left out, and every client of Google's, S3's and DynamoDB's that
the server may open can be built.

Usage: smoke.py TOOLS ENTRYPOINT..., in the image's own environment and user. TOOLS: what tool_schemas.py has written.
"""

import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from importlib.metadata import files
from pathlib import Path

LIMIT = 90.0  # seconds; 2 s on a free core, but a build machine may be emulating another architecture
STOP = 10.0  # seconds; ECS waits 30 before it kills


def status(method: str, path: str) -> int:
    """The HTTP status of one request to the server, 0 when nothing answers."""
    connection = HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=5)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


def problem(server: "subprocess.Popen[bytes]") -> str:
    """What is wrong with the server that was just started, which is stopped on the way; empty when nothing is."""
    deadline = time.monotonic() + LIMIT
    while (health := status("GET", "/health")) != 200:
        if server.poll() is not None:
            return f"the server ended by itself with exit code {server.returncode}"
        if time.monotonic() > deadline:
            return f"GET /health answered {health or 'nothing'} for {LIMIT:.0f} s"
        time.sleep(0.1)
    if (refused := status("POST", "/mcp")) != 401:
        return f"POST /mcp without a token answered {refused}, not 401: OAuth 2.1 is not on"
    server.terminate()
    try:
        server.wait(STOP)
    except subprocess.TimeoutExpired:
        return f"the server still runs {STOP:.0f} s after SIGTERM"
    return ""


def check_tools(recorded: dict[str, object]) -> None:
    """Hold the tools, as a start makes them, against `recorded`; import all else; raises for what does not work."""
    sys.path.insert(0, "/opt/launcher")
    import deferred
    import tool_schemas

    deferred.begin()
    tool_schemas.replay()
    tools = tool_schemas.tools()
    if differ := sorted(name for name in {*tools, *recorded} if tools.get(name) != recorded.get(name)):
        sys.exit(f"smoke: what a start makes of {', '.join(differ)} is not what FastMCP makes of it without help")
    for file in files("workspace-mcp") or ():
        # Without single files, which are entry points, and what is for its makers.
        if file.suffix == ".py" and len(file.parts) > 1 and file.parts[0] != "scripts":
            import_module(".".join(file.with_suffix("").parts).removesuffix(".__init__"))
    build_models()


def build_models() -> None:
    """Build all that pydantic has deferred; raises for what cannot be built."""
    from core.server import server
    from core.tool_registry import get_tool_components
    from fastmcp.utilities.types import get_cached_typeadapter
    from pydantic import BaseModel, TypeAdapter

    for tool in get_tool_components(server).values():
        get_cached_typeadapter(tool.fn)
    for found in gc.get_objects():
        if isinstance(found, TypeAdapter):
            found.rebuild(raise_errors=True)
        elif isinstance(found, type) and issubclass(found, BaseModel) and found is not BaseModel:
            found.model_rebuild(raise_errors=True)


def build_clients() -> None:
    """Build every client from the descriptions left by prune.py; raises for one that is missing."""
    import boto3
    from auth.service_decorator import SERVICE_CONFIGS
    from googleapiclient.discovery import build
    from httplib2 import Http

    for config in (*SERVICE_CONFIGS.values(), {"service": "oauth2", "version": "v2"}):
        build(config["service"], config["version"], http=Http(), cache_discovery=False)
    for service in ("s3", "dynamodb"):
        boto3.client(service, region_name="us-east-1")
    import_module("glide")  # Opens Valkey's library.


def main() -> None:
    os.environ |= {"GOOGLE_OAUTH_CLIENT_ID": "smoke", "GOOGLE_OAUTH_CLIENT_SECRET": "smoke"}
    tools, *entrypoint = sys.argv[1:]
    with tempfile.TemporaryFile() as output:
        server = subprocess.Popen(entrypoint, stdout=output, stderr=subprocess.STDOUT)
        try:
            check_tools(json.loads(Path(tools).read_bytes()))
            build_clients()
            found = problem(server)
        finally:
            server.kill()
        if found:
            output.seek(0)
            shutil.copyfileobj(output, sys.stdout.buffer)
            sys.stdout.flush()  # before the reason, which goes to the other stream and is to come last
            sys.exit(f"smoke: {found}")


main()
