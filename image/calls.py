"""What the server's libraries would do anew for each request, done once.

A call verifies its token with Google and asks Google, by clients that are made for it: each reads the certificates of
all 140 authorities again. By the protocol's revision 2026-07-28 a call may repeat arguments in headers, and to hold
these against each other all tools are listed, with their schemas, for the one that is called. Together that is three
quarters of a call's processor time. A list of the tools makes each schema anew of the same one.

Goes when FastMCP and Google's client by httplib2 keep what they have read and made, and FastMCP tells the protocol's
library the schema of a tool (`get_tool_input_schema`).
"""

import functools
from collections.abc import Callable
from typing import Any

import httpcore2
import httplib2
from core import portable_schema_middleware
from fastmcp.server.middleware import dereference

SCHEMAS = 20_000
"""Parts of schemas that are remembered at most: the tools have some 4,000."""


def prepare(server: Any) -> None:
    """Before the first request; `server`: FastMCP's, with all its tools."""
    # What was read is shared by all that ask with the same arguments. None of them changes it.
    httpcore2.default_ssl_context = functools.cache(httpcore2.default_ssl_context)
    httplib2._build_ssl_context = functools.cache(httplib2._build_ssl_context)
    portable_schema_middleware.portable_schema = remembered(portable_schema_middleware.portable_schema)
    dereference.dereference_refs = remembered(dereference.dereference_refs)
    dereference._has_ref = remembered(dereference._has_ref)
    protocol = server._mcp_server
    if protocol.get_tool_input_schema is not None:
        raise RuntimeError("FastMCP tells the schema of a tool itself: this is no longer needed")
    protocol.get_tool_input_schema = functools.partial(_schema, server)


def remembered(made_of: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same function, asked once for each schema: the very object, which stays as it is."""
    known: dict[int, tuple[Any, Any]] = {}

    def made(schema: Any) -> Any:
        found = known.get(id(schema))
        if found is None or found[0] is not schema:
            if len(known) >= SCHEMAS:
                known.clear()
            found = known[id(schema)] = (schema, made_of(schema))
        return found[1]

    return made


def _schema(server: Any, name: str) -> Any:
    from core.tool_registry import get_tool_components

    tool = get_tool_components(server).get(name)
    return tool and tool.parameters
