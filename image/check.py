"""Try all that a start leaves for later, and fail the build unless it works: every tool is as it was before anything
was left out, every module of the server can be imported, every deferred model and every client of Google's, S3's,
DynamoDB's and Valkey's can be built.

Usage: check.py TOOLS, in the image's own environment. TOOLS: what tool_schemas.py has written.
"""

# ruff: noqa: E402
import locations

locations.begin()

import gc
import json
import sys
from importlib import import_module
from importlib.metadata import files
from pathlib import Path

import deferred
import tool_schemas


def check_tools(recorded: dict[str, object]) -> None:
    """Hold the tools, as a start makes them, against `recorded`; import all else; raises for what does not work."""
    deferred.begin()
    tool_schemas.replay()
    tools = tool_schemas.tools()
    if differ := sorted(name for name in {*tools, *recorded} if tools.get(name) != recorded.get(name)):
        sys.exit(f"check: what a start makes of {', '.join(differ)} is not what FastMCP makes of it without help")
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
    check_tools(json.loads(Path(sys.argv[1]).read_bytes()))
    build_clients()


main()
