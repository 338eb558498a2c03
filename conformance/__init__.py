"""The official conformance suite of MCP, run against a server, and held to what that server is known not to do.

The suite is the npm package `@modelcontextprotocol/conformance`, pinned in `package-lock.json` here. For each revision
of the protocol it has a list of scenarios that the revision requires; only these count.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from checks import PublicAddress
from conformance.baseline import as_the_suite_takes_it
from conformance.forwarder import forwarding
from machine.node import Packages, packages

__all__ = ["REVISIONS", "Outcome", "SuiteFailed", "run"]

REVISIONS = ("2025-11-25", "2026-07-28")
"""The revisions that the suite has requirements for, and workspace-mcp speaks; one of each era."""
FOLDER = Path(__file__).resolve().parent
HOME = FOLDER.parent / ".rehearsal" / "conformance"

_PASSED, _FAILED = ("SUCCESS",), ("FAILURE", "WARNING")
"""A check's status. The suite holds a warning to the baseline as it does a failure; others are for information."""
_VERDICT = {
    "Expected failures": "expected",
    "Stale baseline entries": "stale",
    "Unexpected failures (not": "unexpected",
}


class SuiteFailed(Exception):
    """There are no results; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the suite found for one revision, of the scenarios that count."""

    revision: str
    scenarios: int
    scenarios_passed: int
    """Without a failed check or a warning."""
    checks: int
    checks_passed: int
    expected: Mapping[str, str]
    """Line of the baseline whose scenario or check failed -> its reason."""
    unexpected: Mapping[str, str]
    """`scenario:check` that failed without a line in the baseline -> what the suite says of it."""
    stale: Sequence[str]
    """Lines of the baseline that passed, or that name no scenario that counts."""

    @property
    def passed(self) -> bool:
        """Whether all failed that was known to fail, and nothing else."""
        return not self.unexpected and not self.stale


def installed() -> Packages:
    """The suite and its Node. Raises `machine.environments.NotInstalled`."""
    return packages(HOME, FOLDER)


def run(address: PublicAddress, token: str | None, revision: str, known: Mapping[str, str]) -> Outcome:
    """Run what a revision requires of a server. known: the revision's part of the baseline.

    Nothing of it runs on when this is interrupted. Raises `SuiteFailed`, and `machine.environments.NotInstalled` where
    Node or the suite cannot be had.
    """
    tools = installed()
    with tempfile.TemporaryDirectory() as folder:
        printed = asyncio.run(_printed(tools, address, token, revision, known, Path(folder)))
        required = _package(tools) / "requirements" / f"{revision}.yaml"
        counted = yaml.safe_load(required.read_text())["server"]
        return outcome(revision, printed, checks_of(Path(folder)), counted, known)


def _package(tools: Packages) -> Path:
    return tools.modules / "@modelcontextprotocol" / "conformance"


async def _printed(
    tools: Packages,
    address: PublicAddress,
    token: str | None,
    revision: str,
    known: Mapping[str, str],
    folder: Path,
) -> str:
    """What the suite prints. Its results go to `folder`, a folder for each scenario."""
    expected = folder / "expected-failures.yaml"
    expected.write_text(as_the_suite_takes_it(list(known)))
    options = ["server", "--requirements", revision, "--expected-failures", str(expected), "--output-dir", str(folder)]
    suite = (_package(tools) / "dist" / "index.js").as_uri()
    async with forwarding(address, token) as door:
        process = await asyncio.create_subprocess_exec(
            *[str(tools.node), str(FOLDER / "suite.mjs"), suite, *options],
            cwd=folder,
            env={**os.environ, "CONFORMANCE_URL": door + address.mcp_path},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return output.decode(errors="replace")


def checks_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Scenario -> its checks, of the folders that the suite leaves: `server-<scenario>-<time>/checks.json`."""
    found = {}
    for file in folder.glob("server-*/checks.json"):
        named = re.fullmatch(r"server-(.+?)-\d{4}-\d\d-\d\dT.*", file.parent.name)
        assert named, file.parent.name
        found[named[1]] = json.loads(file.read_text())
    return found


def outcome(
    revision: str,
    printed: str,
    checks: Mapping[str, Sequence[Mapping[str, Any]]],
    counted: Sequence[str],
    known: Mapping[str, str],
) -> Outcome:
    """What the suite's words and results say. Raises `SuiteFailed` where it came to no verdict."""
    verdict: dict[str, list[str]] = {"expected": [], "stale": [], "unexpected": []}
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in printed.splitlines()]
    section: list[str] | None = None
    concluded = False
    for line in lines:
        title = next((part for words, part in _VERDICT.items() if line.startswith(words)), None)
        if title:
            section = verdict[title]
            concluded = True
        elif section is not None and (entry := re.fullmatch(r"  [~✓✗] (\S+)", line)):
            section.append(entry[1])
        elif line.strip():
            section = None
            concluded = concluded or line.startswith("Baseline check passed")
    if not concluded:
        raise SuiteFailed("\n".join(["it came to no verdict; its last words:", *lines[-15:]]))
    results = {scenario: list(_results(checks.get(scenario, []))) for scenario in counted}
    every = [passed for scenario in results.values() for passed in scenario]
    return Outcome(
        revision=revision,
        scenarios=len(results),
        scenarios_passed=sum(bool(found) and all(found) for found in results.values()),
        checks=len(every),
        checks_passed=sum(every),
        expected={name: known[name] for name in verdict["expected"]},
        unexpected=dict(said for name in verdict["unexpected"] for said in _said(name, checks)),
        stale=[*verdict["stale"], *(name for name in known if name.split(":")[0] not in counted)],
    )


def _results(checks: Sequence[Mapping[str, Any]]) -> Iterator[bool]:
    for check in checks:
        if check["status"] in (*_PASSED, *_FAILED):
            yield check["status"] in _PASSED


def _said(name: str, checks: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[str, str]]:
    """`scenario:check` and what the suite says of it, for each check of a scenario that failed, or the one named."""
    scenario, _, only = name.partition(":")
    failed = [c for c in checks.get(scenario, []) if c["status"] in _FAILED and only in ("", c["id"])]
    said = [(f"{scenario}:{c['id']}", str(c.get("errorMessage") or c["description"])) for c in failed]
    return said or [(name, "it could not be run")]
