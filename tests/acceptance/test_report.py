"""The report: what it says, and what it must not."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from acceptance import Report, Secrets
from checks import Check


@pytest.mark.parametrize(
    "text",
    [
        "the token {value} was refused",
        "see https://example.com/?access_token={encoded}&x=1",
        "Authorization: Bearer {value}",
    ],
)
def test_a_known_secret_is_redacted_wherever_it_is(text: str) -> None:
    secrets, value = Secrets(), "a/secret+value=="
    secrets.add(value, None, "")
    told = text.format(value=value, encoded=quote(value, safe=""))
    assert secrets.found_in(told)
    assert value not in secrets.redact(told)
    assert quote(value, safe="") not in secrets.redact(told)


@pytest.mark.parametrize(
    "token",
    [
        "ya29.a0AfH6SMB",
        "1//0gabcdef-XYZ",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "https://x.example/cb?code=4/0Adef",
    ],
)
def test_what_looks_like_a_token_is_redacted_though_nobody_knew_it(token: str) -> None:
    assert token not in Secrets().redact(f"the server said {token}")


def test_ordinary_text_is_left_as_it_is() -> None:
    text = "GET https://api.example.com/mail/.well-known/x answered 404, not 200: no rule matches the path"
    assert Secrets().redact(text) == text


def test_it_has_what_failed_first_then_what_was_not_run_and_why() -> None:
    checks = [
        Check(name="one", passed=True, detail="fine", remedy="", seconds=0),
        Check(name="two", passed=None, detail="no token was given", remedy="", seconds=0),
        Check(name="three", passed=False, detail="a | b", remedy="mend it", seconds=0),
    ]
    report = Report(url="https://x.example", began=datetime(2026, 1, 2, tzinfo=UTC), seconds=1, checks=checks)
    text = report.to_markdown()
    assert text.startswith("# Acceptance of https://x.example: failed\n\n1 passed, 1 failed, 1 not run.")
    assert (
        text.index("| three | a \\| b Do: mend it |")
        < text.index("| two | no token was given |")
        < text.index("| one |")
    )


def test_a_run_in_which_nothing_passed_has_not_passed() -> None:
    assert not Report(url="https://x.example", began=datetime.now(tz=UTC)).passed
