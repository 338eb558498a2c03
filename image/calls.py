"""What the server's libraries would do anew for each tool call, done once.

A call verifies its token with Google and asks Google, by clients that are made for it: each reads the certificates of
all 140 authorities again. By the protocol's revision 2026-07-28 a call may repeat arguments in headers, and to hold
these against each other all tools are listed, with their schemas, for the one that is called. Together that is three
quarters of a call's processor time.

Goes when FastMCP and Google's client by httplib2 keep what they have read, and FastMCP tells the protocol's library the
schema of a tool (`get_tool_input_schema`).
"""

import functools
from typing import Any

import httpcore2
import httplib2


def prepare(server: Any) -> None:
    """Before the first request; `server`: FastMCP's, with all its tools."""
    # What was read is shared by all that ask with the same arguments. None of them changes it.
    httpcore2.default_ssl_context = functools.cache(httpcore2.default_ssl_context)
    httplib2._build_ssl_context = functools.cache(httplib2._build_ssl_context)
    protocol = server._mcp_server
    if protocol.get_tool_input_schema is not None:
        raise RuntimeError("FastMCP tells the schema of a tool itself: this is no longer needed")
    protocol.get_tool_input_schema = functools.partial(_schema, server)


def _schema(server: Any, name: str) -> Any:
    from core.tool_registry import get_tool_components

    tool = get_tool_components(server).get(name)
    return tool and tool.parameters
