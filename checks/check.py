"""A check: one question put to the server, and how its answer is judged and reported."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import httpx2

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of one check."""

    name: str
    """A short sentence that is true when the check passes."""
    passed: bool | None
    """None: not run; `detail` says why."""
    detail: str
    """What was seen."""
    remedy: str
    """What to do about it; empty unless it failed."""
    seconds: float


@dataclass(frozen=True)
class Probe:
    """A check not yet run."""

    name: str
    remedy: str
    """What to do if it fails, where the failure itself says nothing better."""
    ask: Callable[[], Awaitable[str]]
    """Returns what was seen; raises `Failed` or `NotRun`, or whatever the network raises, which counts as failed."""


class Failed(Exception):
    """The server answered, and not as it should. `remedy` replaces the probe's own."""

    def __init__(self, detail: str, remedy: str | None = None) -> None:
        super().__init__(detail)
        self.remedy = remedy


class NotRun(Exception):
    """The question cannot be put, or need not."""


async def run_probes(probes: Sequence[Probe], *, timeout: float = 30) -> list[Check]:
    """Run all probes at once, each for at most `timeout` seconds; results in the order of `probes`."""
    return list(await asyncio.gather(*(_run(probe, timeout) for probe in probes)))


async def _run(probe: Probe, timeout: float) -> Check:
    started = time.monotonic()

    def check(passed: bool | None, detail: str, remedy: str = "") -> Check:
        seconds = time.monotonic() - started
        return Check(name=probe.name, passed=passed, detail=detail, remedy=remedy, seconds=seconds)

    try:
        async with asyncio.timeout(timeout):
            return check(True, await probe.ask())
    except NotRun as reason:
        return check(None, str(reason))
    except TimeoutError:
        return check(False, f"no result within {timeout:g} s", probe.remedy)
    except Exception as error:  # Any error is this check's result: the other checks must still be reported.
        cause = first_cause(error)
        remedy = cause.remedy if isinstance(cause, Failed) else None
        return check(False, describe(cause), remedy or probe.remedy)


def first_cause(error: BaseException) -> BaseException:
    """The first exception inside nested exception groups, which the MCP client's task groups wrap around errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def describe(error: BaseException) -> str:
    """One line on an error, whoever raised it."""
    if isinstance(error, Failed):
        return str(error)
    if isinstance(error, httpx2.TransportError):
        try:
            url = f" to {error.request.method} {error.request.url.copy_with(query=None)}"
        except RuntimeError:  # Raised by httpx2 where an error has no request.
            url = ""
        return f"no answer{url}: {str(error) or type(error).__name__}"
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"


def once(fetch: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    """`fetch`, run at most once for all who call it; all get the one result or error."""
    task: asyncio.Future[T] | None = None

    async def shared() -> T:
        nonlocal task
        if task is None:
            task = asyncio.ensure_future(fetch())
        return await asyncio.shield(task)  # One caller's time-out must not cancel what the others wait for.

    return shared


async def needed(shared: Callable[[], Awaitable[T]], what: str) -> T:
    """The result of a step, `what` for short, that a check of its own reports on; `NotRun` if that step failed."""
    try:
        return await shared()
    except NotRun:
        raise
    except Exception as error:
        raise NotRun(f"not tried without {what}") from error
