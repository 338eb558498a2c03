"""`logs` and `exec`: the usual, without remembering the names."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from components.containers import log_group_name
from components.names import service_name
from components.settings import LOG_RETENTION_DAYS, Service
from operations.errors import OperationError
from operations.target import Target
from providers.docker_client import NoEngine, find_client

_DOCS = "https://docs.aws.amazon.com"
_SSM = f"{_DOCS}/systems-manager/latest/userguide"
_TOOLS = {
    "aws": f"{_DOCS}/cli/latest/userguide/getting-started-install.html",
    "session-manager-plugin": f"{_SSM}/session-manager-working-with-install-plugin.html",
}
"""What exec runs, and where to get it."""

_WHO = {"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"}
"""Variables by which the AWS CLI would take other credentials than the ones it is given."""

LONGEST = timedelta(days=max(LOG_RETENTION_DAYS))
"""No log is kept for longer."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def span(text: str) -> timedelta:
    """`90s`, `15m`, `2h` or `7d`. Raises `OperationError`."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    found = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
    if found is None or found > LONGEST:
        raise OperationError(f"{text!r} is no span of time; write 90s, 15m, 2h or 7d, {LONGEST.days}d at most.", 2)
    return found


def logs(target: Target, service: Service, write: Callable[[str], None], *, since: str, follow: bool) -> int:
    """Tell the service's log lines, oldest first; with `follow` until interrupted. The number of lines shown."""
    client, shown = target.client("logs"), set[str]()
    start = datetime.now(tz=UTC) - span(since)
    name = log_group_name(service)
    while True:
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=name, startTime=int(start.timestamp() * 1000)
        )
        try:
            events = [event for page in pages for event in page["events"] if event["eventId"] not in shown]
        except client.exceptions.ResourceNotFoundException:
            raise OperationError(f"There is no log group {name}. Deploy the service: pulumi up.") from None
        for event in events:
            shown.add(event["eventId"])
            at = datetime.fromtimestamp(event["timestamp"] / 1000, tz=UTC)
            task = event["logStreamName"].rsplit("/", 1)[-1][:8]
            write(f"{at:%Y-%m-%d %H:%M:%S} {task} {event['message'].rstrip()}")
        if not follow:
            return len(shown)
        # What is older was told; a minute is left for lines that arrive late.
        start = max(start, datetime.now(tz=UTC) - timedelta(minutes=1))
        time.sleep(2)


def execute(target: Target, service: Service, command: list[str]) -> int:
    """Run `command` (default: a shell) in a running task; its exit status."""
    cluster = target.settings.estate.cluster
    target.described(service)  # Says so where there is no such service.
    arns = target.client("ecs").list_tasks(cluster=cluster, serviceName=service_name(service))["taskArns"]
    if not arns:
        raise OperationError(f"No task of {service_name(service)} runs. See ./ops status.")
    if target.docker_host:
        return _in_container(target, service, target.docker_host, arns[0], command or ["sh"])
    if not service.exec_enabled:
        raise OperationError(f"execEnabled is false for {service.key}: set it and deploy, then try again.")
    for tool, where in _TOOLS.items():
        if shutil.which(tool) is None:
            raise OperationError(f"exec needs {tool}, which is not on the PATH. Install it: {where}")
    arguments = ["--cluster", cluster, "--task", arns[0], "--container", service.key, "--region", target.region]
    return subprocess.call(
        ["aws", "ecs", "execute-command", *arguments, "--interactive", "--command", shlex.join(command) or "/bin/sh"],
        # A profile of the shell's would be somebody else; and a secret is in no argument, where others see it.
        env={name: value for name, value in os.environ.items() if name not in _WHO} | target.credentials(),
    )


def _in_container(target: Target, service: Service, host: str, task: str, command: list[str]) -> int:
    (described,) = target.client("ecs").describe_tasks(cluster=target.settings.estate.cluster, tasks=[task])["tasks"]
    try:
        docker = find_client()
    except NoEngine as error:
        raise OperationError(str(error)) from None
    terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    container = next(entry["runtimeId"] for entry in described["containers"] if entry["name"] == service.key)
    return subprocess.call([docker, "--host", host, "exec", "--interactive", *terminal, container, *command])
