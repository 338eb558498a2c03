"""`conformance`: the official suite of the protocol, against a stack or a URL, and what its results mean."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2

from acceptance.sign_in import ask
from acceptance.subject import Subject
from checks import Check
from checks.check import Failed, describe, first_cause
from checks.http import INITIALIZE, MCP_HEADERS
from conformance import REVISIONS, Outcome, SuiteFailed, run
from conformance.baseline import BaselineError, read
from machine.environments import NotInstalled
from operations.errors import UNREACHABLE, OperationError
from operations.users import SIGN_IN_FIRST, sessions

USER = "conformance@example.com"


def conformance(subject: Subject, file: Path) -> tuple[list[Outcome], list[Check]]:
    """Run the suite for each revision, held to the baseline in `file`. Raises `OperationError` where it cannot run."""
    try:
        known = read(file, REVISIONS)
    except BaselineError as error:
        raise OperationError(str(error), 2) from None
    token = _token(subject)
    outcomes, checks = [], []
    for revision in REVISIONS:
        began = time.monotonic()
        try:
            found = run(subject.address, token, revision, known[revision])
        except (SuiteFailed, NotInstalled) as error:
            raise OperationError(f"The conformance suite did not run: {subject.secrets.redact(str(error))}") from None
        outcomes.append(found)
        checks += judged(found, file, time.monotonic() - began)
    return outcomes, checks


def judged(found: Outcome, file: Path, seconds: float) -> list[Check]:
    """What a person is told: a line for the revision, and one for whatever is not as the baseline says."""
    figures = (
        f"{found.scenarios_passed} of {found.scenarios} scenarios, {found.checks_passed} of {found.checks} checks; "
        f"{len(found.expected)} failed as {file.name} says"
    )
    checks = [
        Check(
            name=f"{found.revision}: nothing fails but what is known to",
            passed=found.passed,
            detail=figures,
            remedy="" if found.passed else "see the lines below",
            seconds=seconds,
        )
    ]
    for name, said in found.unexpected.items():
        remedy = f"mend it; where the server is not meant to do it, put a line into {file}: {name}: REASON"
        checks.append(
            Check(name=f"{found.revision}: {name}", passed=False, detail=said, remedy=remedy, seconds=seconds)
        )
    for name in found.stale:
        detail = f"{file.name} says that it fails, but it passes, or no such scenario counts"
        checks.append(
            Check(
                name=f"{found.revision}: {name}",
                passed=False,
                detail=detail,
                remedy=f"take the line out of {file}",
                seconds=seconds,
            )
        )
    return checks


def _token(subject: Subject) -> str | None:
    """The token to ask with, tried once: without a right one every scenario would fail for that alone."""

    async def tried() -> str | None:
        token = (await sessions(subject, [USER]))[0].token
        headers = {**MCP_HEADERS, **({"Authorization": f"Bearer {token}"} if token else {})}
        async with subject.address.client() as client:
            answer = await client.post(subject.address.mcp_url, json=INITIALIZE, headers=headers)
        if answer.status_code == 401:
            raise OperationError(
                f"The server refused the token that was given. {SIGN_IN_FIRST}" if token else SIGN_IN_FIRST
            )
        if answer.status_code in (404, 502, 503, 504):
            raise Failed(f"{subject.address.mcp_url} answered {answer.status_code}")
        return token

    try:
        return ask(tried())
    except OperationError:
        raise
    except httpx2.TransportError as error:
        raise OperationError(f"The server cannot be asked: {describe(error)}", UNREACHABLE) from None
    except Exception as error:
        raise OperationError(
            f"The server cannot be asked as a user: {subject.secrets.redact(describe(first_cause(error)))}. "
            "Ask first: ./ops verify, ./ops accept"
        ) from None
