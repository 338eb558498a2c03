"""The edge as a process of its own: started for a stack's listener, asked for the health of its targets."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import subprocess
import sys
import time
from typing import Any

from checks import Check
from checks.address import authorities
from components.names import target_group_names
from components.settings import Service, Settings
from rehearsal.emulator import Account
from rehearsal.kept import HOME, ROOT, RehearsalError

_HEALTH_FACTOR = 0.05
"""Target health is asked this much more often than configured, so that 2 x 30 s become 3 s; what it means is the
same."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edge:
    """The load balancer's data plane, as a process of its own."""

    url: str
    health_url: str
    pid: int
    process: subprocess.Popen[bytes] | None = None
    """None for one that an earlier run left."""

    @classmethod
    def start(cls, account: Account, listener: str, *, outlive: bool) -> Edge:
        """Start the process; `outlive`: it goes on when this one is killed."""
        command = [sys.executable, "-m", "rehearsal.edge", "--endpoint", account.endpoint, "--listener", listener]
        command += ["--health-interval-factor", str(_HEALTH_FACTOR), *([] if outlive else ["--follow-parent"])]
        log = HOME / "edge.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert process.stdout
        try:
            line = process.stdout.readline()
            if not line:
                raise RehearsalError(f"The edge did not start: {log.read_text().strip()}")
            return cls(pid=process.pid, process=process, **json.loads(line))
        except BaseException:
            process.kill()
            process.wait()
            raise

    def stop(self) -> None:
        """End the process."""
        if self.process:
            self.process.terminate()
            self.process.wait(10)

    def health(self) -> dict[str, list[dict[str, Any]]]:
        """Target group name -> targets, in AWS's words."""
        import httpx2

        with httpx2.Client(trust_env=False, verify=authorities()) as client:
            found: dict[str, list[dict[str, Any]]] = client.get(self.health_url, timeout=5).json()
            return found


def listener_of(account: Account, settings: Settings) -> str | None:
    """ARN of the listener that the stack's services are behind; None: all of them are internal."""
    if settings.estate.load_balancer is None or not any(service.public for service in settings.services.values()):
        return None
    elb = account.client("elbv2")
    balancer = elb.describe_load_balancers(Names=[settings.estate.load_balancer])["LoadBalancers"][0]["LoadBalancerArn"]
    listeners = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
    arns: dict[int, str] = {listener["Port"]: listener["ListenerArn"] for listener in listeners}
    return arns[settings.estate.listener_port]


def wait_until_listening(origin: str) -> None:
    """Wait, for at most 30 s, until connections to `http://address:port` are accepted."""
    host, port = origin.removeprefix("http://").split(":")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.1)


def wait_for_target_health(service: Service, edge: Edge) -> Check:
    """Target health as the load balancer asks for it: the group's own path, port, matcher and thresholds."""
    started, limit = time.monotonic(), 60.0
    while True:
        found = edge.health()
        targets = [target for name in target_group_names(service) for target in found.get(name, [])]
        # One that drains belongs to a task that is on its way out.
        states = [target["state"] for target in targets if target["state"] != "draining"]
        waiting = not states or any(state in ("initial", "unhealthy") for state in states)
        if not waiting or time.monotonic() - started > limit:
            break
        time.sleep(0.1)
    described = [
        f"{t['target']}:{t['port']} {t['state']}{' (' + t['description'] + ')' if t.get('description') else ''}"
        for t in targets
    ]
    return Check(
        name="the load balancer finds its targets healthy",
        passed=not waiting,
        detail=", ".join(described) or "no target is registered",
        remedy="compare health.path and port with what the server answers on; see its log",
        seconds=time.monotonic() - started,
    )
