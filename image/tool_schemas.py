"""The tools' schemas, written down when the image is built: FastMCP makes them of each tool's signature and docstring,
a fifth of a start, and the same each time.

`record()` writes down what FastMCP's `ParsedFunction.from_function` gets from its helpers, and `replay()` gives it the
same again. All else it does itself, and all of it for a function that was another when it was written down. check.py
holds the tools that come of it against those that were recorded.

As a program: records all tools, and where the modules lie that they take (locations.py).

Goes when FastMCP makes schemas when they are asked for.
"""

import hashlib
import inspect
import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import deferred
import locations
from fastmcp.tools import function_parsing
from fastmcp.tools.function_parsing import ParsedDocstring, ParsedFunction

FILE = Path(__file__).with_suffix(".json")
"""Is there in the image alone."""
Helpers = dict[str, Callable[..., Any]]
parse, adapt = function_parsing.parse_docstring, function_parsing.get_cached_typeadapter


def record() -> dict[str, dict[str, list[Any]]]:
    """Of all tools that are made from now on: a function's digest -> `docstrings` and `schemas`, in the order in which
    they are asked for. Without those for which a helper fails."""
    written: dict[str, dict[str, list[Any]]] = {}

    def helpers(function: str) -> Helpers:
        docstrings: list[Any] = []
        schemas: list[Any] = []
        if function in written:
            raise RuntimeError(f"two tools are made of {function}")
        written[function] = {"docstrings": docstrings, "schemas": schemas}

        def parse_docstring(of: Any) -> Any:
            found = parse(of)
            docstrings.append([found.description, found.parameters])
            return found

        def get_cached_typeadapter(of: Any) -> Any:
            def json_schema(**options: Any) -> Any:
                schema = adapter.json_schema(**options)
                schemas.append(json.loads(json.dumps(schema)))  # A copy: FastMCP goes on to change it.
                return schema

            try:
                adapter = adapt(of)
            except Exception:
                del written[function]
                raise
            return SimpleNamespace(json_schema=json_schema)

        return {"parse_docstring": parse_docstring, "get_cached_typeadapter": get_cached_typeadapter}

    _help(helpers)
    return written


def replay() -> None:
    """Each tool that is made from now on gets what was recorded of it, once."""
    written = json.loads(FILE.read_bytes())

    def helpers(function: str) -> Helpers:
        if not (tool := written.pop(function, None)):
            return {}
        docstrings, schemas = iter(tool["docstrings"]), iter(tool["schemas"])
        return {
            "parse_docstring": lambda _: ParsedDocstring(*next(docstrings)),
            "get_cached_typeadapter": lambda _: SimpleNamespace(json_schema=lambda **_: next(schemas)),
        }

    _help(helpers)


def _help(helpers: Callable[[str], Helpers]) -> None:
    """Give `from_function` the helpers of each function; of those that are not given it has its own."""
    made = ParsedFunction.from_function.__func__  # type: ignore[attr-defined]

    def from_function(cls: type[ParsedFunction], fn: Callable[..., Any], **options: Any) -> ParsedFunction:
        given = helpers(_told(fn))
        own = {name: getattr(function_parsing, name) for name in given}
        vars(function_parsing).update(given)
        try:
            parsed: ParsedFunction = made(cls, fn, **options)
        finally:
            vars(function_parsing).update(own)
        return parsed

    ParsedFunction.from_function = classmethod(from_function)


def _told(fn: Callable[..., Any]) -> str:
    """A digest of all that a tool's schemas are made of. The server itself changes signatures, by its settings."""
    signature = re.sub(" at 0x[0-9a-f]+", "", str(inspect.signature(fn)))
    told = f"{getattr(fn, '__module__', '')}.{getattr(fn, '__name__', '')}{signature}{fn.__doc__}"
    return hashlib.sha256(told.encode()).hexdigest()


def tools() -> dict[str, Any]:
    """All tools of the server, as clients are told of them."""
    from core.server import server
    from core.tool_registry import get_tool_components
    from main import SERVICE_MODULES

    for module in SERVICE_MODULES.values():
        import_module(module)
    found = get_tool_components(server)
    return {name: tool.to_mcp_tool().model_dump(mode="json") for name, tool in found.items()}


def main() -> None:
    deferred.check_no_types()  # All else is as FastMCP and pydantic have it.
    written = record()
    FILE.with_name("tools.json").write_text(json.dumps(tools()))
    FILE.write_text(json.dumps(written))
    locations.record()


if __name__ == "__main__":
    main()
