"""An alarm that goes off while a deployment is under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rehearsal.emulator import Account

NAME = "busyb-google-workspace-mcp"
ALARM = f"{NAME}-server-errors"
LINE = "serving errors"
ERRORS = f'FROM python:3.12.13-slim-bookworm\nENTRYPOINT ["sh", "-c", "echo {LINE}; sleep 60"]\n'
"""Dockerfile of a server that starts, says so, and does not become healthy within the test."""


def set_alarm(client: Any, state: str) -> None:
    """`client` gives a boto3 client by service name."""
    client("cloudwatch").set_alarm_state(AlarmName=ALARM, StateValue=state, StateReason="for the test")


@contextmanager
def goes_off_meanwhile(account: Account) -> Iterator[None]:
    """The alarm on answers of 5xx goes off once the new task of `ERRORS` runs."""

    def watch() -> None:
        while not ended.is_set():
            found = account.client("logs").filter_log_events(logGroupName=f"/ecs/{NAME}")["events"]
            if any(LINE in event["message"] for event in found):
                set_alarm(account.client, "ALARM")
                return
            time.sleep(0.1)

    ended = threading.Event()
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
