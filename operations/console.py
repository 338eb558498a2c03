"""`logs` and `exec`: the usual, without remembering the names."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from components.settings import Service
from operations.target import OperationError, Target, service_name

_DOCS = "https://docs.aws.amazon.com"
_SSM = f"{_DOCS}/systems-manager/latest/userguide"
_TOOLS = {
    "aws": f"{_DOCS}/cli/latest/userguide/getting-started-install.html",
    "session-manager-plugin": f"{_SSM}/session-manager-working-with-install-plugin.html",
}
"""What exec runs, and where to get it."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def span(text: str) -> timedelta:
    """`90s`, `15m`, `2h` or `7d`. Raises `OperationError`."""
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match is None:
        raise OperationError(f"{text!r} is no span of time; write 90s, 15m, 2h or 7d.", 2)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def logs(target: Target, service: Service, say: Callable[[str], None], *, since: str, follow: bool) -> int:
    """Tell the service's log lines, oldest first; with `follow` until interrupted. The number of lines told."""
    client, told = target.client("logs"), set[str]()
    start = datetime.now(tz=UTC) - span(since)
    while True:
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=f"/ecs/{service.name}", startTime=int(start.timestamp() * 1000)
        )
        for page in pages:
            for event in page["events"]:
                if event["eventId"] not in told:
                    told.add(event["eventId"])
                    at = datetime.fromtimestamp(event["timestamp"] / 1000, tz=UTC)
                    task = event["logStreamName"].rsplit("/", 1)[-1][:8]
                    say(f"{at:%Y-%m-%d %H:%M:%S} {task} {event['message'].rstrip()}")
        if not follow:
            return len(told)
        time.sleep(2)


def execute(target: Target, service: Service, command: list[str]) -> int:
    """Run `command` (default: a shell) in a running task; its exit status."""
    cluster = target.settings.estate.cluster
    arns = target.client("ecs").list_tasks(cluster=cluster, serviceName=service_name(service))["taskArns"]
    if not arns:
        raise OperationError(f"No task of {service_name(service)} runs. See ./ops status.")
    if target.docker_host:
        return _in_container(target, arns[0], command or ["sh"])
    if not service.exec_enabled:
        raise OperationError(f"execEnabled is false for {service.key}: set it and deploy, then try again.")
    for tool, where in _TOOLS.items():
        if shutil.which(tool) is None:
            raise OperationError(f"exec needs {tool}, which is not on the PATH. Install it: {where}")
    arguments = ["--cluster", cluster, "--task", arns[0], "--container", service.key, "--region", target.region]
    return subprocess.call(
        ["aws", "ecs", "execute-command", *arguments, "--interactive", "--command", " ".join(command) or "/bin/sh"]
    )


def _in_container(target: Target, task: str, command: list[str]) -> int:
    import docker

    (described,) = target.client("ecs").describe_tasks(cluster=target.settings.estate.cluster, tasks=[task])["tasks"]
    client = docker.DockerClient(base_url=target.docker_host)
    done = client.containers.get(described["containers"][0]["runtimeId"]).exec_run(command)
    assert isinstance(done.output, bytes) and done.exit_code is not None  # Neither a stream nor detached.
    sys.stdout.write(done.output.decode(errors="replace"))
    return done.exit_code
