"""How long a task takes until it answers, and what memory it needs; beside a plain `pip install` of the same server."""

from __future__ import annotations

import asyncio
import contextlib
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mcp import Client

from acceptance.sign_in import sign_in
from acceptance.subject import StandIn, Subject
from benchmarks.bench import PEER, Bench
from benchmarks.sheet import Sheet
from checks import PublicAddress

_CALLS, _AT_ONCE, _PEOPLE = 1000, 10, 50
_LIMIT = 180.0  # seconds until a container answers
_URL = "https://benchmark.example"
_SERVERS = ("WORKSPACE_", "MCP_", "FASTMCP_", "PORT=", "HOME=")
_TOOL = "search_gmail_messages"


def measure(bench: Bench, sheet: Sheet) -> None:
    """Each size of processor, the two images in turn."""
    images = {"": bench.image, PEER: bench.plain}
    for cpus in (0.25, 0.5, 1.0):
        health = sheet.row(f"to /health at {cpus:g} CPU")
        call = sheet.row(
            f"to the first tool call at {cpus:g} CPU", note="a user signs in as soon as it is healthy, and calls"
        )
        for _ in range(sheet.runs):
            for peer, image in images.items():
                with sheet.surviving(f"to /health at {cpus:g} CPU"), _started(bench, image, cpus) as task:
                    health.put(task.seconds(), peer)
                    if cpus == 1.0:
                        sheet.row("to /health, processor time", unit="CPU s").put(task.cpu(), peer)
                    asyncio.run(_calls(bench, task, 1))
                    call.put(task.seconds(), peer)
        for row in (health, call):
            if PEER in row.beside:
                row.reach = round(min(row.beside[PEER]) / 2, 2)
    for peer, image in images.items():
        with sheet.surviving("memory, idle"), _started(bench, image, 1.0) as task:
            for name, people, calls in (
                ("memory, idle", 0, 0),
                (f"memory, after {_CALLS} calls", 1, _CALLS),
                (f"memory, then with {_PEOPLE} people signed in", _PEOPLE, _PEOPLE),
            ):
                asyncio.run(_calls(bench, task, calls, people))
                sheet.row(name, unit="MB").put(task.memory(), peer)


@dataclass(frozen=True)
class _Task:
    container: Any
    address: str
    started: float

    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def _stats(self) -> dict[str, Any]:
        return dict(self.container.client.api.stats(self.container.id, stream=False, one_shot=True))

    def cpu(self) -> float:
        """Seconds of a processor so far, which other load on the machine hardly changes."""
        return float(self._stats()["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9)

    def memory(self) -> float:
        """MB, without the files that the kernel would give up."""
        found = self._stats()["memory_stats"]
        files = found["stats"].get("inactive_file", found["stats"].get("total_inactive_file", 0))
        return float(round((found["usage"] - files) / 1e6, 1))


@contextlib.contextmanager
def _started(bench: Bench, image: str, cpus: float) -> Iterator[_Task]:
    """A container of the image, from its start on; healthy."""
    added = bench.google.container()
    own = bench.engine.api.images.get(bench.image).attrs["Config"]["Env"]
    # What the production image says of the server, so that both serve the same.
    variables = dict(each.split("=", 1) for each in own if each.startswith(_SERVERS))
    variables |= {"GOOGLE_OAUTH_CLIENT_ID": "benchmark", "GOOGLE_OAUTH_CLIENT_SECRET": "benchmark"}
    variables |= {"WORKSPACE_EXTERNAL_URL": _URL, **added["environment"]}
    variables |= {} if image == bench.image else {"PYTHONPATH": "/opt/site"}  # For what the stand-in needs.
    started = time.perf_counter()
    container = bench.engine.api.containers.run(
        image,
        None if image == bench.image else ["workspace-mcp", "--transport", "streamable-http"],
        detach=True,
        environment=variables,
        volumes=added["volumes"],
        nano_cpus=int(cpus * 1e9),
    )
    try:
        container.reload()
        address = f"http://{container.attrs['NetworkSettings']['Networks']['bridge']['IPAddress']}:8000"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            with contextlib.suppress(OSError):
                opener.open(f"{address}/health", timeout=5).close()
                break
            container.reload()
            if container.status == "exited" or time.perf_counter() > started + _LIMIT:
                raise RuntimeError(f"the container never became healthy: {container.logs().decode()}")
            time.sleep(0.02)
        yield _Task(container, address, started)
    finally:
        container.remove(v=True, force=True)


async def _calls(bench: Bench, task: _Task, calls: int, people: int = 1) -> None:
    """Calls of a tool that asks Google, by so many users, who sign in first."""
    stand_in = StandIn(proxy=bench.google.proxy, authority=bench.google.authority)
    address = PublicAddress(url=_URL, connect_to=task.address)
    subject = Subject(address=address, google=stand_in.client)
    for session in [await sign_in(subject, f"benchmark{number}@example.com") for number in range(people)]:
        async with session.client(address) as client:

            async def some(number: int, client: Client = client) -> None:
                for _ in range(number):
                    arguments = {"query": "invoices"}
                    if (answer := await client.call_tool(_TOOL, arguments)).is_error:
                        raise RuntimeError(f"{_TOOL}: {answer.content}")

            own = calls // people
            at_once = min(own, _AT_ONCE)
            await asyncio.gather(*(some(own // at_once) for _ in range(at_once)))
