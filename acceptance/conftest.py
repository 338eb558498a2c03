"""What the tests share: users who are signed in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from acceptance.sign_in import Session, ask, sign_in
from acceptance.subject import Subject
from checks.check import Failed, NotRun, describe, first_cause

USER = "acceptance@example.com"


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tells what a passing test has seen."""
    return lambda text: request.node.user_properties.append(("seen", text))


@pytest.fixture(scope="session")
def oauth(subject: Subject) -> None:
    """For tests of a server with OAuth."""
    if not subject.full or not subject.expectations.oauth:
        raise NotRun("the service is configured without OAuth, or is of another kind")


@pytest.fixture(scope="session")
def stand_in(subject: Subject) -> None:
    """For tests that sign users in."""
    if subject.google is None:
        raise NotRun("a user must sign in at Google, which only a rehearsal's stand-in does by itself")


@pytest.fixture(scope="session")
def session(subject: Subject) -> Session:
    """One user who is signed in, or whose token was given; without OAuth, nobody."""
    if not subject.full:
        raise NotRun("the tools of a server of another kind are not known")
    if not subject.expectations.oauth:
        return Session(user=USER, token=None)
    if subject.token:
        return Session(user=None, token=subject.token)
    if subject.google is None:
        raise NotRun("no token was given: set ACCEPTANCE_TOKEN, or name a file with --token-file")
    try:
        return ask(sign_in(subject, USER))
    except Exception as error:
        raise Failed(f"the user cannot sign in: {describe(first_cause(error))}") from error
