"""The rehearsal's Application Load Balancer: what AWS documents for one HTTPS listener, on plain HTTP.

The emulator stores listener rules and target groups, but it applies no transform, loses some conditions and
calls every target healthy. The edge reads the same listener through the same API and routes real requests:

    with Edge("http://127.0.0.1:4566", listener_arn) as edge:
        httpx.get(edge.url + "/google-workspace/mcp", headers={"Host": "api.busyb.ai"})
        edge.health()        # {"busyb-google-workspace-mcp-tg": [{"target": ..., "state": "healthy", ...}]}

`listener` has the rules. Targets are checked by their group's own settings. The first passed check makes a
new target healthy; only healthy targets get requests unless none is ("fail open", targets in their initial
checks included). The edge answers 502 if a target refuses, resets or talks nonsense, 503 if the group has no
target, 504 if it takes more than 10 s to connect or is silent for the idle timeout. Nothing is retried.

Not done, so a rehearsal cannot show it: TLS (https and 443 are only claimed in X-Forwarded-*), HTTP/2,
WebSockets, stickiness, slow start, availability zones, authentication actions (501), Lambda targets, the
deregistration delay (a deregistered target gets no new request and is forgotten when its last one ends).

Goes when MiniStack's load balancer keeps all conditions, applies transforms and asks for its targets' health.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import itertools
import json
import logging
import random
import re
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import boto3
import httpcore2
import uvicorn
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rehearsal.forwarding import answer, decoded, encoded, end_to_end, for_target, hung_up, page, refuse
from rehearsal.listener import (
    Request,
    Shape,
    TransformError,
    chosen,
    complaints,
    location,
    transformed,
    weights,
)
from rehearsal.targets import CHANGES, Health, Table, Target, expected

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 10.0
"""Seconds a target may take to accept a connection; fixed in AWS."""


TARGET_ERRORS = (httpcore2.NetworkError, httpcore2.ProtocolError)


class EdgeError(Exception):
    """The edge cannot start; the message says why and what to do."""


class Edge:
    """A listener at work, in a thread of its own. A context manager; or call `start` and `stop`."""

    def __init__(
        self,
        endpoint_url: str,
        listener_arn: str,
        *,
        port: int = 0,
        health_port: int = 0,
        poll_interval: float = 0.5,
        health_interval_factor: float = 1.0,
        idle_timeout: float = 60.0,
    ) -> None:
        """Nothing happens yet.

        endpoint_url: the emulator, e.g. "http://127.0.0.1:4566".
        port, health_port: on 127.0.0.1; 0 takes a free one.
        poll_interval: least seconds between two readings of rules and registered targets, which follow changes.
        health_interval_factor: multiplies every group's check interval (0.1 makes 30 s into 3 s). Time-outs,
            thresholds and what a check means stay the group's own.
        idle_timeout: seconds a target may be silent, before or within an answer; AWS's default is 60.
        """
        self.listener_arn = listener_arn
        self.endpoint_url = endpoint_url
        self.poll_interval = poll_interval
        self.health_interval_factor = health_interval_factor
        self.idle_timeout = idle_timeout
        self._ports = (port, health_port)
        self._api: Any = boto3.client(
            "elbv2",
            endpoint_url=endpoint_url,
            region_name=listener_arn.split(":")[3],
            # Fixed, so that a person's own credentials never leave for the emulator.
            aws_access_key_id="rehearsal",
            aws_secret_access_key="rehearsal",  # noqa: S106
            config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}, proxies={}),
        )
        self._table = Table([], {}, {})
        self._targets: list[Target] = []
        self._turn = itertools.count(1)

    def __enter__(self) -> Edge:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Read the listener and serve it. Raises EdgeError if it cannot be read or a port is taken."""
        try:
            first = self._read()
        except (BotoCoreError, ClientError) as error:
            raise EdgeError(
                f"the edge cannot read listener {self.listener_arn} at {self.endpoint_url}: {error}. "
                "Is the emulator running? `./rehearse` starts it."
            ) from error
        self._sockets = [self._bind(port) for port in self._ports]
        self.port, self.health_port = (each.getsockname()[1] for each in self._sockets)
        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            # Its errors are ours (`_serve` logs them) or streams that a stop or a target cut short.
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            # Otherwise uvicorn believes X-Forwarded-For from 127.0.0.1, which here is every client's.
            proxy_headers=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=64 * 1024,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=asyncio.run, args=[self._main(first)], name="edge", daemon=True)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise EdgeError("the edge's server ended as it started; its log has the reason")
            time.sleep(0.005)

    def stop(self) -> None:
        """End within about a second, open streams included."""
        self._server.should_exit = True
        self._thread.join(timeout=10)

    @property
    def url(self) -> str:
        """Where clients go, without a final slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def health_url(self) -> str:
        """Where other processes read `health()` as JSON; on `url` every path is the rules'."""
        return f"http://127.0.0.1:{self.health_port}"

    def health(self) -> dict[str, list[dict[str, Any]]]:
        """Target group name -> its targets, each {target, port, state, reason, description} in AWS's words.

        Only groups that a rule of the listener names. Reason and description of a healthy target are None.
        """
        targets = list(self._targets)
        return {
            group["TargetGroupName"]: [target.described() for target in targets if target.group_arn == arn]
            for arn, group in self._table.groups.items()
        }

    # -- reading the emulator

    @staticmethod
    def _bind(port: int) -> socket.socket:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(("127.0.0.1", port))
        except OSError as error:
            raise EdgeError(
                f"the edge cannot listen on 127.0.0.1:{port}: {error.strerror}. "
                f"`ss -ltnp 'sport = :{port}'` shows who does; or give another port."
            ) from error
        return bound

    def _read(self) -> Table:
        """Rules and targets of one moment: where ECS shifts requests, targets go once the rule does not name them."""
        rules = self._rules()
        while (table := self._table_of(rules)).rules != (rules := self._rules()):
            pass
        return table

    def _rules(self) -> list[Shape]:
        pages = self._api.get_paginator("describe_rules").paginate(ListenerArn=self.listener_arn)
        rules = [rule for page in pages for rule in page["Rules"]]
        # AWS says ListenerNotFound; the emulator, nothing.
        if not any(rule["IsDefault"] for rule in rules):
            raise EdgeError(
                f"the emulator at {self.endpoint_url} has no listener {self.listener_arn}. "
                "`aws elbv2 describe-listeners` with that --endpoint-url lists what it has."
            )
        return rules

    def _table_of(self, rules: list[Shape]) -> Table:
        forwards = (action for rule in rules for action in rule["Actions"] if action["Type"] == "forward")
        arns = sorted({arn for action in forwards for arn in weights(action)})
        groups = self._api.describe_target_groups(TargetGroupArns=arns)["TargetGroups"] if arns else []
        return Table(
            rules,
            {group["TargetGroupArn"]: group for group in groups},
            {group["TargetGroupArn"]: self._registered(group["TargetGroupArn"]) for group in groups},
        )

    def _registered(self, group_arn: str) -> set[tuple[str, int]]:
        descriptions = self._api.describe_target_health(TargetGroupArn=group_arn)["TargetHealthDescriptions"]
        # The emulator forgets a deregistered target at once; AWS lists it as draining.
        return {
            (each["Target"]["Id"], each["Target"]["Port"])
            for each in descriptions
            if each["TargetHealth"]["State"] != "draining"
        }

    def _apply(self, table: Table) -> None:
        if table.rules != self._table.rules:
            for complaint in complaints(table.rules):
                log.warning("%s", complaint)
        wanted = {(arn, *address) for arn, addresses in table.registered.items() for address in addresses}
        for target in self._targets:
            key = (target.group_arn, target.id, target.port)
            if not target.draining and key not in wanted:
                target.drain()
            elif not target.draining:
                wanted.remove(key)
        self._forget_drained()
        self._table = table
        for arn, address, port in sorted(wanted):
            target = Target(arn, address, port, scheme=table.groups[arn]["Protocol"].lower())
            target.checks = asyncio.create_task(self._keep_checking(target))
            self._targets.append(target)

    def _forget_drained(self) -> None:
        self._targets = [target for target in self._targets if not target.draining or target.in_flight]

    async def _keep_reading(self) -> None:
        failed, version = False, b""
        waiting: Any = {"timeout": {"connect": 2.0, "read": 30.0}}
        while True:
            await asyncio.sleep(self.poll_interval)
            try:
                url = f"{self.endpoint_url}{CHANGES}?{version.decode()}"
                answer = await self._pool.request("GET", url, extensions=waiting)
                if answer.status != 200:
                    raise EdgeError(f"{url} answered {answer.status}")
                if (now := answer.content) != version:
                    self._apply(await asyncio.to_thread(self._read))
                failed, version = False, now
            except (BotoCoreError, ClientError, EdgeError, httpcore2.TimeoutException, *TARGET_ERRORS) as error:
                if not failed:
                    log.warning("the listener cannot be read; routing goes on as last read: %s", error)
                failed = True

    async def _main(self, first: Table) -> None:
        # Targets' certificates are not verified by AWS either.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        # None is kept: a container's address is soon another container's, where a kept connection would fail.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context, max_connections=None, max_keepalive_connections=0
        )
        self._apply(first)
        reading = asyncio.create_task(self._keep_reading())
        await self._server.serve(sockets=self._sockets)
        reading.cancel()

    # -- health checks

    async def _keep_checking(self, target: Target) -> None:
        while True:
            started = time.monotonic()
            group = self._table.groups.get(target.group_arn)
            if group is None:
                return
            if group.get("HealthCheckEnabled", True):
                target.health.record(
                    await self._check(target, group),
                    healthy=group["HealthyThresholdCount"],
                    unhealthy=group["UnhealthyThresholdCount"],
                )
            else:
                reason = "Target.HealthCheckDisabled", "Health checks are disabled"
                target.health = Health("unavailable", *reason)
            # The time a target takes to answer does not move its next check.
            interval = group["HealthCheckIntervalSeconds"] * self.health_interval_factor
            await asyncio.sleep(max(0.0, started + interval - time.monotonic()))

    async def _check(self, target: Target, group: Shape) -> tuple[str, str] | None:
        """None if the target passes, else reason and description."""
        port = target.port if group["HealthCheckPort"] == "traffic-port" else int(group["HealthCheckPort"])
        scheme, path = group["HealthCheckProtocol"].lower(), group["HealthCheckPath"]
        url = httpcore2.URL(scheme=scheme, host=target.id, port=port, target=path)
        headers = [("Host", f"{target.id}:{port}"), ("User-Agent", "ELB-HealthChecker/2.0")]
        try:
            async with asyncio.timeout(group["HealthCheckTimeoutSeconds"]):
                response = await self._pool.request("GET", url, headers=headers)
        except TimeoutError:
            return "Target.Timeout", "Request timed out"
        except TARGET_ERRORS:
            return "Target.FailedHealthChecks", "Health checks failed"
        if expected(response.status, group["Matcher"]["HttpCode"]):
            return None
        return "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{response.status}]"

    # -- requests

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._route(scope, receive, send)
        except Exception:
            log.exception("the edge itself failed on %s %s", scope["method"], scope["path"])
            raise

    async def _route(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["server"][1] == self.health_port:
            await answer(send, 200, "application/json", json.dumps(self.health()).encode())
            return
        request = Request(
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers=decoded(scope["headers"]),
            source_ip=scope["client"][0],
        )
        rule = chosen(self._table.rules, request)
        action = max(rule["Actions"], key=lambda each: int(each.get("Order", 1)))
        if any(each["Type"] not in ("forward", "redirect", "fixed-response") for each in rule["Actions"]):
            # Going on as if a client had been authenticated would be worse than no answer.
            await refuse(send, 501, f"rule {rule['Priority']} has an action the edge does not know")
        elif action["Type"] == "fixed-response":
            fixed = action["FixedResponseConfig"]
            body = fixed.get("MessageBody", "").encode()
            await answer(send, int(fixed["StatusCode"]), fixed.get("ContentType", "text/plain"), body)
        elif action["Type"] == "redirect":
            status = int(action["RedirectConfig"]["StatusCode"].removeprefix("HTTP_"))
            to = location(action["RedirectConfig"], request)
            await answer(send, status, "text/html", page(status), to)
        else:
            await self._forward(rule, action, request, receive, send)

    async def _forward(self, rule: Shape, action: Shape, request: Request, receive: Any, send: Any) -> None:
        try:
            path, host = transformed(rule.get("Transforms", []), request)
        except (TransformError, re.error) as error:
            await refuse(send, 500, f"rule {rule['Priority']}: {error}")
            return
        target = self._pick(action)
        if target is None:
            await refuse(send, 503, f"rule {rule['Priority']}: no target is registered")
            return
        uploaded = asyncio.Event()
        relay = asyncio.create_task(self._relay(target, request, path, host, receive, send, uploaded))
        hangup = asyncio.create_task(hung_up(receive, uploaded))
        target.in_flight += 1
        try:
            await asyncio.wait({relay, hangup}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hangup.cancel()
            relay.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await relay
            target.in_flight -= 1
            self._forget_drained()

    def _pick(self, action: Shape) -> Target | None:
        """The target of one of the action's groups that has waited longest; a healthy one, if there is one."""
        shares = weights(action)
        if not any(shares.values()):
            return None
        [arn] = random.choices(list(shares), weights=list(shares.values()))  # noqa: S311
        registered = [target for target in self._targets if target.group_arn == arn and not target.draining]
        healthy = [target for target in registered if target.health.state in ("healthy", "unavailable")]
        target = min(healthy or registered, key=lambda each: each.last_used, default=None)
        if target:
            target.last_used = next(self._turn)
        return target

    async def _relay(
        self,
        target: Target,
        request: Request,
        path: str,
        host: str | None,
        receive: Any,
        send: Any,
        uploaded: asyncio.Event,
    ) -> None:
        async def body() -> AsyncIterator[bytes]:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    # Nobody is left to answer.
                    raise asyncio.CancelledError
                yield message.get("body", b"")
                more = message.get("more_body", False)
            uploaded.set()

        headers = for_target(request, host)
        has_body = any(name in ("content-length", "transfer-encoding") for name, _ in headers)
        if not has_body:
            async for _ in body():
                pass
        url = httpcore2.URL(scheme=target.scheme, host=target.id, port=target.port, target=path.encode("latin-1"))
        limits = {"connect": CONNECT_TIMEOUT, "read": self.idle_timeout, "write": self.idle_timeout}
        started = False
        try:
            async with self._pool.stream(
                request.method,
                url,
                headers=encoded(headers),
                content=body() if has_body else None,
                extensions={"timeout": limits},
            ) as response:
                started = True
                received = encoded(end_to_end(decoded(response.headers)))
                await send({"type": "http.response.start", "status": response.status, "headers": received})
                async for chunk in response.aiter_stream():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except (httpcore2.TimeoutException, *TARGET_ERRORS) as error:
            # Without the query: an OAuth code or a token may be in it.
            where = f"{target.id}:{target.port} {request.method} {request.path}"
            reason = f"{where}: {type(error).__name__} {error}"
            if started:
                # The status has gone out. uvicorn cuts the connection, so no client takes this for an end.
                log.warning("answer cut short: %s", reason)
            else:
                await refuse(send, 504 if isinstance(error, httpcore2.TimeoutException) else 502, reason)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m rehearsal.edge", description="Serve one listener until SIGTERM or ^C."
    )
    add = functools.partial(parser.add_argument, metavar="")
    add("--endpoint", required=True, help="the emulator, e.g. http://127.0.0.1:4566")
    add("--listener", required=True, help="ARN of the listener")
    add("--port", type=int, default=0, help="for clients, on 127.0.0.1 (default: a free one)")
    add("--health-port", type=int, default=0, help="for target health as JSON (default: a free one)")
    add("--health-interval-factor", type=float, default=1.0, help="multiplies check intervals (default: 1)")
    parser.add_argument("--follow-parent", action="store_true", help="end when standard input closes")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    done = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: done.set())
    if options.follow_parent:

        def watch() -> None:
            sys.stdin.buffer.read()
            done.set()

        threading.Thread(target=watch, daemon=True).start()
    try:
        with Edge(
            options.endpoint,
            options.listener,
            port=options.port,
            health_port=options.health_port,
            health_interval_factor=options.health_interval_factor,
        ) as edge:
            print(json.dumps({"url": edge.url, "health_url": edge.health_url}), flush=True)  # noqa: T201
            done.wait()
    except EdgeError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
