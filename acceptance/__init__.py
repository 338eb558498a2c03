"""Acceptance tests of a deployed server: sign-in, endpoints, tools. A pytest suite that takes a base URL.

    from acceptance import Subject, run
    report = run(Subject(address=PublicAddress(url="https://api.example.com/mail")))

Without a stand-in for Google or a token, what needs a user is not run, and the report says so. On a real deployment
only tools are called that the server marks as read-only.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from acceptance.report import Collector, Report
from acceptance.subject import Secrets, Subject

__all__ = ["Report", "Secrets", "Subject", "run"]


_PARTS = ("test_address.py", "test_oauth.py", "test_protocol.py", "test_tools.py", "test_log.py")
"""In this order: the log is looked at when all else is done."""


def run(subject: Subject, *, only: str = "") -> Report:
    """Run the suite in this process. `only`: tests whose names hold this expression (pytest's -k).

    Never raises for what the server does.
    """
    collector = Collector(subject)
    folder = Path(__file__).parent
    parts = [str(folder / part) for part in _PARTS]
    options = ["-c", os.devnull, "--rootdir", str(folder.parent), "-p", "no:cacheprovider", "-p", "no:terminal"]
    # These are for the tests of whoever set them, who may be running this beside his own.
    others = {name: os.environ.pop(name) for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS") if name in os.environ}
    try:
        pytest.main([*options, "-k", only, *parts], plugins=[collector])
    finally:
        os.environ.update(others)
    return collector.report
