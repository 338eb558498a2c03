"""What the server has written to its log meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from acceptance.subject import Subject
from checks.check import Failed, NotRun


def test_no_secret_in_the_log(subject: Subject, note: Callable[[str], None]) -> None:
    """No code and no token of this run is in the server's log"""
    if subject.log_lines is None:
        raise NotRun("the log is read by ./ops accept only")
    lines = subject.log_lines()
    if not lines:
        raise NotRun("the server has written no line meanwhile")
    found = [line for line in lines if subject.secrets.found_in(line)]
    if found:
        raise Failed(
            f"{len(found)} of {len(lines)} lines, the first: {found[0][:200]}",
            "FASTMCP_LOG_LEVEL=WARNING keeps them out",
        )
    note(f"{len(lines)} lines")
