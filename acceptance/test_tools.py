"""Every tool that the server lists."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from mcp import Client, MCPError
from mcp.types import CallToolResult, Tool

from acceptance.sign_in import Session, ask
from acceptance.subject import Subject
from checks.check import Failed, NotRun, describe, first_cause
from checks.mcp import list_tools

AT_ONCE = 8
CALL_LIMIT = 60.0
"""Seconds for one call."""
ALL_LIMIT = 900.0
"""Seconds for all of them."""
EACH_KIND = {
    "Gmail": "search_gmail_messages",
    "Drive": "search_drive_files",
    "Calendar": "list_calendars",
    "Docs": "get_doc_content",
    "Sheets": "read_sheet_values",
    "Slides": "get_presentation",
    "Forms": "get_form",
    "Chat": "list_spaces",
    "Tasks": "list_task_lists",
    "Contacts": "list_contacts",
    "Apps Script": "get_script_project",
}
"""Google's service -> a tool that only reads, and for which whatever it asks for exists in the stand-in."""
_KNOWN = {
    "action": "list",
    "time_min": "2026-11-02T10:00:00Z",
    "time_max": "2026-11-03T10:00:00Z",
    "trigger_type": "time_minutes",
}
"""Values of parameters whose schema does not say which there are."""

Answers = dict[str, tuple[CallToolResult | BaseException, float]]


def example(name: str, schema: dict[str, Any]) -> Any:
    """A value for a parameter, of the kind that its schema asks for."""
    if "enum" in schema:
        return schema["enum"][0]
    if name in _KNOWN:
        return _KNOWN[name]
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return example(name, options[0])
    kind = schema.get("type")
    if kind == "array":
        return [example("", schema.get("items", {}))]
    if kind == "object":
        return arguments(schema)
    return {"integer": 1, "number": 1, "boolean": False}.get(str(kind), "acceptance")


def arguments(schema: dict[str, Any], user: str | None = None) -> dict[str, Any]:
    """What a tool requires, and no more."""
    properties = schema.get("properties", {})
    made = {name: example(name, properties.get(name, {})) for name in schema.get("required", [])}
    return made | ({"user_google_email": user or "acceptance@example.com"} if "user_google_email" in made else {})


def reads_only(tool: Tool) -> bool:
    """Whether the server says that the tool changes nothing."""
    return bool(tool.annotations and tool.annotations.read_only_hint)


@pytest.fixture(scope="module")
def tools(session: Session, subject: Subject) -> list[Tool]:
    """What the server lists."""

    async def questions() -> list[Tool]:
        async with session.client(subject.address) as client:
            return await list_tools(client)

    try:
        return ask(questions())
    except BaseException as error:
        raise Failed(f"the tools cannot be listed: {describe(first_cause(error))}") from error


@pytest.fixture(scope="module")
def answers(tools: list[Tool], session: Session, subject: Subject) -> Answers:
    """What each tool that may be called answers; in a rehearsal all are."""
    callable_tools = [tool for tool in tools if subject.google or reads_only(tool)]

    async def call(client: Client, tool: Tool, turn: asyncio.Semaphore) -> tuple[CallToolResult | BaseException, float]:
        async with turn:
            started = time.monotonic()
            try:
                async with asyncio.timeout(CALL_LIMIT):
                    answer = await client.call_tool(tool.name, arguments(tool.input_schema, session.user))
            except Exception as error:
                return first_cause(error), time.monotonic() - started
            return answer, time.monotonic() - started

    async def questions() -> Answers:
        turn = asyncio.Semaphore(AT_ONCE)
        async with session.client(subject.address) as client:
            results = await asyncio.gather(*(call(client, tool, turn) for tool in callable_tools))
        return {tool.name: result for tool, result in zip(callable_tools, results, strict=True)}

    return ask(questions(), limit=ALL_LIMIT)


def test_some_tools(tools: list[Tool], note: Callable[[str], None]) -> None:
    """The server lists tools, each with a name of its own"""
    names = [tool.name for tool in tools]
    if not names or len(set(names)) < len(names):
        raise Failed(f"{len(names)} tools with {len(set(names))} names", "see the server's tool settings")
    note(f"{len(names)} tools, {sum(map(reads_only, tools))} of which only read")


def test_schemas(tools: list[Tool], note: Callable[[str], None]) -> None:
    """Every tool has a description, and valid schemas of what it takes and gives"""
    for tool in tools:
        if not tool.description:
            raise Failed(f"{tool.name} has no description")
        if tool.input_schema.get("type") != "object":
            raise Failed(f"{tool.name} does not take an object")
        for schema in (tool.input_schema, tool.output_schema):
            try:
                jsonschema.Draft202012Validator.check_schema(schema or {})
            except jsonschema.SchemaError as error:
                raise Failed(f"{tool.name} has a schema that is none: {error.message}") from error
        unknown = set(tool.input_schema.get("required", [])) - set(tool.input_schema.get("properties", {}))
        if unknown:
            raise Failed(f"{tool.name} requires {', '.join(sorted(unknown))}, which it does not describe")
    note(f"{len(tools)} tools")


def test_calls(tools: list[Tool], answers: Answers, subtests: pytest.Subtests, note: Callable[[str], None]) -> None:
    """Every tool answers, or says in a sentence why not."""
    for tool in tools:
        with subtests.test(f"tool {tool.name} answers, or says why not"):
            if tool.name not in answers:
                raise NotRun("it may change something, which on a real deployment no test does")
            answer, seconds = answers[tool.name]
            note(f"{well_formed(answer)}, {seconds:.1f} s")


def well_formed(answer: CallToolResult | BaseException) -> str:
    """What kind of answer it is; raises `Failed` where it is none."""
    if isinstance(answer, MCPError):
        return f"error: {answer.error.message.splitlines()[0][:120]}"
    if isinstance(answer, BaseException):
        raise Failed(f"the call ended in {describe(answer)}", "read the server's log: ./ops logs")
    text = " ".join(getattr(content, "text", "") for content in answer.content)
    if not answer.content or not (text or not answer.is_error):
        raise Failed("the answer has no content")
    if "Traceback (most recent call last)" in text:
        raise Failed("the answer is a traceback", "read the server's log: ./ops logs")
    return f"error: {text.splitlines()[0][:120]}" if answer.is_error else "answered"


def test_each_kind(answers: Answers, subject: Subject, subtests: pytest.Subtests, note: Callable[[str], None]) -> None:
    """A read-only call of each kind gives the user's data."""
    if subject.google is None:
        raise NotRun("only the stand-in for Google is known to have something of each kind")
    for kind, name in EACH_KIND.items():
        with subtests.test(f"{kind}: {name} reads what the user has"):
            if name not in answers:
                raise NotRun("the server does not list it; tools are chosen by its settings")
            answer, _ = answers[name]
            detail = well_formed(answer)
            if isinstance(answer, BaseException) or answer.is_error:
                raise Failed(detail, "read the server's log: ./ops logs")
            note(detail)
