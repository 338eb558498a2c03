"""Who asks a service from outside: its address, and users who have signed in or whose token was given."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import checks
from acceptance.sign_in import Session, sign_in
from acceptance.subject import StandIn, Subject, read_token
from components.settings import Service
from operations.errors import OperationError
from operations.target import Target

SIGN_IN_FIRST = (
    "The server wants a user who has signed in: give a token, in ACCEPTANCE_TOKEN or by --token-file. "
    "docs/operations.md says how to get one."
)


def token(file: Path | None) -> str | None:
    """The token that was given; None: none was. Raises `OperationError`."""
    try:
        return read_token(file)
    except ValueError as error:
        raise OperationError(f"{error}.", 2) from None


def from_outside(target: Target, service: Service, token_file: Path | None) -> Subject:
    """The service at its public URL. Raises `OperationError` where there is none, or the token cannot be read."""
    target.described(service)
    if not service.url:
        raise OperationError(f"{service.key} has no public URL, and is to be asked from outside.", 2)
    return Subject(
        address=checks.address(service, service.url, target.connect_to),
        expectations=checks.expectations(service),
        google=StandIn.noted(target.google).client if target.google else None,
        token=token(token_file),
    )


async def sessions(subject: Subject, names: Sequence[str]) -> list[Session]:
    """A session for each name where the stand-in for Google signs users in; else one, of the token that was given.

    Without OAuth it is nobody's. Raises `OperationError` where a token is wanted.
    """
    if subject.token:
        return [Session(user=None, token=subject.token)]
    if subject.google:
        return list(await asyncio.gather(*(sign_in(subject, name) for name in names)))
    if not subject.expectations.oauth:
        return [Session(user=None, token=None)]
    raise OperationError(SIGN_IN_FIRST)
