"""The edge in front of real little servers, its rules and targets in the emulator.

Long because all of it shares one listener and its servers.
"""

from __future__ import annotations

import http.client
import http.server
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from rehearsal.edge import Edge, EdgeError
from rehearsal.forwarding import traced
from rehearsal.targets import Health, expected

# ---------------------------------------------------------------- health, without any server


def judged(*checks: bool, healthy: int = 3, unhealthy: int = 2) -> list[str]:
    """The states after each check of a new target."""
    health, states = Health(), []
    for passed in checks:
        health.record(None if passed else ("Target.Timeout", "x"), healthy=healthy, unhealthy=unhealthy)
        states.append(health.state)
    return states


def test_a_new_target_needs_one_passed_check_whatever_the_threshold() -> None:
    assert judged(True, healthy=10) == ["healthy"]
    assert judged(False, True) == ["initial", "healthy"]


def test_a_target_turns_unhealthy_after_that_many_failures_in_a_row() -> None:
    assert judged(True, False, True, False, False, unhealthy=2) == [*["healthy"] * 4, "unhealthy"]
    assert judged(False, False, False, unhealthy=3) == ["initial", "initial", "unhealthy"]


def test_an_unhealthy_target_needs_the_whole_threshold_in_a_row_to_come_back() -> None:
    states = judged(False, False, True, True, False, True, True, True, healthy=3)
    assert states == ["initial", *["unhealthy"] * 6, "healthy"]


@pytest.mark.parametrize(
    ("status", "matcher", "passes"),
    [
        (200, "200", True),
        (204, "200", False),
        (202, "200,202", True),
        (299, "200-299", True),
        (300, "200-299", False),
        (404, "200-299,404", True),
    ],
)
def test_a_matcher_is_a_list_of_codes_and_ranges(status: int, matcher: str, passes: bool) -> None:
    assert expected(status, matcher) is passes


def test_a_trace_id_is_begun_or_continued() -> None:
    fresh = r"1-[0-9a-f]{8}-[0-9a-f]{24}"
    assert re.fullmatch(f"Root={fresh}", traced(""))
    assert re.fullmatch(f"Self={fresh};Root=1-a-b;CalledFrom=app", traced("Root=1-a-b;CalledFrom=app"))
    assert re.fullmatch(f"Self={fresh};Root=1-a-b", traced("Self=1-c-d;Root=1-a-b"))
    assert re.fullmatch(f"Root={fresh};CalledFrom=app", traced("CalledFrom=app"))


# ---------------------------------------------------------------- targets


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def answer(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/health":
            self.server.checked_by = {name.lower(): value for name, value in self.headers.items()}
            self.respond(self.server.health_status, b"")
        elif path.endswith("/stream"):
            self.stream()
        elif path.endswith("/slow"):
            self.server.release.wait(10)
            self.respond(200, b"late")
        elif path.endswith("/nonsense"):
            self.wfile.write(b"this is not HTTP\r\n\r\n")
            self.close_connection = True
        elif path.endswith("/rude"):
            self.close_connection = True
        else:
            seen = {
                "name": self.server.name,
                "method": self.command,
                "target": self.path,
                "headers": [(name.lower(), value) for name, value in self.headers.items()],
                "body": len(self.body()),
            }
            self.respond(200, json.dumps(seen).encode(), ("Connection", "X-Hop"), ("X-Hop", "1"), ("X-End", "2"))

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PURGE = answer

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def respond(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def stream(self) -> None:
        """One event now, one on `release`, then silence until the peer goes."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"9\r\ndata: 1\n\n\r\n")
        self.server.release.wait(10)
        self.wfile.write(b"9\r\ndata: 2\n\n\r\n")
        self.connection.settimeout(10)
        if self.connection.recv(1) == b"":
            self.server.peer_gone.set()
        self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, name: str, address: str, port: int = 0) -> None:
        super().__init__((address, port), Handler)
        self.name = name
        self.address, self.port = str(self.server_address[0]), int(self.server_address[1])
        self.health_status = 200
        self.checked_by: dict[str, str] = {}
        self.release, self.peer_gone = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


@dataclass
class Listener:
    """A listener in the emulator, and what it takes to fill it."""

    endpoint: str
    elbv2: Any
    arn: str
    priorities: Iterator[int] = field(default_factory=lambda: iter(range(50, 100)))
    opened: list[Server] = field(default_factory=list)

    def group(self, **settings: Any) -> str:
        defaults: dict[str, Any] = {
            "Name": f"edge-{uuid.uuid4().hex[:8]}",
            "Protocol": "HTTP",
            "Port": 8000,
            "VpcId": "vpc-edge",
            "TargetType": "ip",
            "HealthCheckPath": "/health",
            "HealthCheckIntervalSeconds": 30,
            "HealthCheckTimeoutSeconds": 5,
            "HealthyThresholdCount": 2,
            "UnhealthyThresholdCount": 3,
        }
        made = self.elbv2.create_target_group(**{**defaults, **settings})
        return str(made["TargetGroups"][0]["TargetGroupArn"])

    def rule(self, *conditions: tuple[str, str], to: dict[str, Any] | str, **more: Any) -> None:
        action = {"Type": "forward", "TargetGroupArn": to} if isinstance(to, str) else to
        self.elbv2.create_rule(
            ListenerArn=self.arn,
            Priority=next(self.priorities),
            Conditions=[{"Field": kind, "Values": [value]} for kind, value in conditions],
            Actions=[action],
            **more,
        )

    def server(self, group: str, name: str = "one", address: str = "127.0.0.1") -> Server:
        """A started server, registered. The emulator tells targets apart by address only."""
        server = Server(name, address)
        self.opened.append(server)
        self.register(group, server)
        return server

    def register(self, group: str, server: Server) -> None:
        target = {"Id": server.address, "Port": server.port}
        self.elbv2.register_targets(TargetGroupArn=group, Targets=[target])

    def deregister(self, group: str, server: Server) -> None:
        self.elbv2.deregister_targets(TargetGroupArn=group, Targets=[{"Id": server.address}])


@pytest.fixture
def listener(emulator: Any) -> Iterator[Listener]:
    elbv2 = boto3.client(
        "elbv2",
        endpoint_url=emulator.endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    name = f"edge-{uuid.uuid4().hex[:8]}"
    made = elbv2.create_load_balancer(Name=name, Subnets=["subnet-a", "subnet-b"])
    balancer = made["LoadBalancers"][0]["LoadBalancerArn"]
    fixed = {"StatusCode": "404", "ContentType": "application/json", "MessageBody": '{"from":"default"}'}
    action = {"Type": "fixed-response", "FixedResponseConfig": fixed}
    made = elbv2.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=443, DefaultActions=[action])
    listener = Listener(emulator.endpoint, elbv2, made["Listeners"][0]["ListenerArn"])
    yield listener
    for server in listener.opened:
        server.release.set()
        server.stop()
    elbv2.delete_load_balancer(LoadBalancerArn=balancer)


def edge_for(listener: Listener, **options: Any) -> Edge:
    # 30 s between checks become 0.3 s, and a change is read within 0.1 s.
    return Edge(listener.endpoint, listener.arn, **{"poll_interval": 0.1, "health_interval_factor": 0.01, **options})


@contextmanager
def asked(
    edge: Edge, target: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    """http.client sends the request target as it is given."""
    with closing(http.client.HTTPConnection("127.0.0.1", edge.port, timeout=10)) as connection:
        connection.request(method, target, body, {"Host": "api.busyb.ai", **(headers or {})})
        yield connection.getresponse()


def status(edge: Edge, target: str) -> int:
    with asked(edge, target) as response:
        return response.status


def seen(edge: Edge, target: str, **request: Any) -> dict[str, Any]:
    """What the target reports of the request."""
    with asked(edge, target, **request) as response:
        assert response.status == 200, response.read()
        report = json.loads(response.read())
    report["headers"] = dict(report["headers"])
    return dict(report)


def soon(condition: Callable[[], object], within: float = 5.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.02)


def states(edge: Edge) -> list[str]:
    return [target["state"] for targets in edge.health().values() for target in targets]


# ---------------------------------------------------------------- requests


def test_a_rewritten_prefix_reaches_the_target_without_it_and_another_does_not(listener: Listener) -> None:
    group = listener.group()
    listener.server(group)
    rewrites = [{"Regex": "^/google-workspace(/.*)$", "Replace": "$1"}]
    listener.rule(
        ("path-pattern", "/google-workspace/*"),
        ("host-header", "api.busyb.ai"),
        to=group,
        Transforms=[{"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": rewrites}}],
    )
    listener.rule(("path-pattern", "/plain/*"), to=group)
    with edge_for(listener) as edge:
        assert seen(edge, "/google-workspace/mcp?a=%2F&b=")["target"] == "/mcp?a=%2F&b="
        assert seen(edge, "/plain/mcp")["target"] == "/plain/mcp"
        assert status(edge, "/google-workspace/../plain") == 404
        with asked(edge, "/google-workspace/mcp", headers={"Host": "other.ai"}) as response:
            assert response.status == 404
            assert response.getheader("Server") == "awselb/2.0"
            assert json.loads(response.read()) == {"from": "default"}


@pytest.mark.parametrize(
    "target",
    [
        "/x/a%2Fb",
        "/x/caf%C3%A9",
        "/x/caf%c3%a9",
        "/x//y///",
        "/x/a/../b/./c",
        "/x/?a=%2F&b=",
        "/x/?a=b?c=d&&",
        "/x/%20;p=1",
    ],
)
def test_a_request_target_arrives_byte_for_byte(listener: Listener, target: str) -> None:
    group = listener.group()
    listener.server(group)
    listener.rule(("path-pattern", "/x/*"), to=group)
    with edge_for(listener) as edge:
        assert seen(edge, target)["target"] == target


def test_a_target_gets_the_forwarding_headers_and_no_hop_by_hop_ones(listener: Listener) -> None:
    group = listener.group()
    listener.server(group)
    listener.rule(("path-pattern", "/*"), to=group)
    sent = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": "http",
        "Connection": "keep-alive, X-Drop",
        "X-Drop": "1",
        "Keep-Alive": "timeout=5",
        "Accept-Encoding": "gzip",
    }
    with edge_for(listener) as edge:
        headers = seen(edge, "/a", headers=sent)["headers"]
        with asked(edge, "/a") as response:
            assert response.getheader("X-End") == "2"
            assert response.getheader("X-Hop") is None
            assert response.getheader("Server", "").startswith("BaseHTTP")
    assert headers.pop("x-amzn-trace-id").startswith("Root=1-")
    assert headers == {
        "host": "api.busyb.ai",
        "accept-encoding": "gzip",
        "x-forwarded-for": "203.0.113.7, 127.0.0.1",
        "x-forwarded-proto": "https",
        "x-forwarded-port": "443",
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PURGE"])
def test_any_method_and_a_big_body_pass(listener: Listener, method: str) -> None:
    group = listener.group()
    listener.server(group)
    listener.rule(("path-pattern", "/*"), to=group)
    megabyte = b"x" * 2**20
    with edge_for(listener) as edge:
        sized = seen(edge, "/a", method=method, body=megabyte * 20)
        chunked = seen(edge, "/a", method=method, body=iter([megabyte] * 5))
        empty = seen(edge, "/a", method=method)
    assert (sized["method"], sized["body"]) == (method, 20 * 2**20)
    assert chunked["body"] == 5 * 2**20
    assert empty["body"] == 0


def test_a_head_answer_keeps_its_length_and_has_no_body(listener: Listener) -> None:
    group = listener.group()
    listener.server(group)
    listener.rule(("path-pattern", "/*"), to=group)
    with edge_for(listener) as edge, asked(edge, "/a", method="HEAD") as response:
        assert response.status == 200
        assert int(response.getheader("Content-Length", "0")) > 0
        assert response.read() == b""


def test_a_stream_arrives_event_by_event_and_ends_with_its_client(listener: Listener) -> None:
    group = listener.group()
    server = listener.server(group)
    listener.rule(("path-pattern", "/*"), to=group)
    with edge_for(listener) as edge:
        with asked(edge, "/stream") as response:
            assert response.read1(100) == b"data: 1\n\n"
            server.release.set()
            assert response.read1(100) == b"data: 2\n\n"
            assert not server.peer_gone.is_set()
            # http.client keeps the socket open while a response may still be read.
            response.close()
        assert server.peer_gone.wait(5)


def test_a_silent_stream_is_cut_after_the_idle_timeout(listener: Listener) -> None:
    group = listener.group()
    server = listener.server(group)
    server.release.set()
    listener.rule(("path-pattern", "/*"), to=group)
    with (
        edge_for(listener, idle_timeout=0.5) as edge,
        asked(edge, "/stream") as response,
        pytest.raises(http.client.IncompleteRead),
    ):
        response.read()


@pytest.mark.parametrize(("path", "answer"), [("/nonsense", 502), ("/rude", 502), ("/slow", 504)])
def test_a_bad_answer_is_502_and_none_in_time_504(listener: Listener, path: str, answer: int) -> None:
    group = listener.group()
    listener.server(group)
    listener.rule(("path-pattern", "/*"), to=group)
    with edge_for(listener, idle_timeout=0.5) as edge:
        assert status(edge, path) == answer


def test_no_target_is_503_and_a_stopped_one_502_without_a_second_try(listener: Listener) -> None:
    group = listener.group()
    listener.rule(("path-pattern", "/*"), to=group)
    with edge_for(listener, health_interval_factor=1) as edge:
        assert status(edge, "/a") == 503
        one = listener.server(group, "one", "127.0.0.1")
        listener.server(group, "two", "127.0.0.2")
        soon(lambda: states(edge) == ["healthy", "healthy"])
        one.stop()
        assert sorted(status(edge, "/a") for _ in range(4)) == [200, 200, 502, 502]


def test_a_rewrite_that_leaves_no_path_is_500(listener: Listener) -> None:
    group = listener.group()
    listener.server(group)
    rewrites = [{"Regex": "^/gw(.*)$", "Replace": "$1"}]
    transform = {"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": rewrites}}
    listener.rule(("path-pattern", "/gw*"), to=group, Transforms=[transform])
    with edge_for(listener) as edge:
        assert status(edge, "/gw/a") == 200
        assert status(edge, "/gw") == 500


def test_a_redirect_action_answers_itself(listener: Listener) -> None:
    config = {"Path": "/new/#{path}", "StatusCode": "HTTP_301"}
    listener.rule(("path-pattern", "/old/*"), to={"Type": "redirect", "RedirectConfig": config})
    with edge_for(listener) as edge, asked(edge, "/old/a%2Fb?x=1") as response:
        assert response.status == 301
        assert response.getheader("Location") == "https://api.busyb.ai:443/new/old/a%2Fb?x=1"


# ---------------------------------------------------------------- targets and their health


def test_checks_come_from_the_load_balancer_to_the_address_itself(listener: Listener) -> None:
    group = listener.group()
    server = listener.server(group)
    listener.rule(("path-pattern", "/*"), to=group)
    with edge_for(listener) as edge:
        soon(lambda: states(edge) == ["healthy"])
    assert server.checked_by["user-agent"] == "ELB-HealthChecker/2.0"
    assert server.checked_by["host"] == f"127.0.0.1:{server.port}"


def test_an_unhealthy_target_gets_nothing_until_none_is_healthy(listener: Listener) -> None:
    group = listener.group(Matcher={"HttpCode": "200-204"})
    one = listener.server(group, "one", "127.0.0.1")
    two = listener.server(group, "two", "127.0.0.2")
    listener.rule(("path-pattern", "/*"), to=group)
    with edge_for(listener) as edge:
        soon(lambda: states(edge) == ["healthy", "healthy"])
        assert {seen(edge, "/a")["name"] for _ in range(2)} == {"one", "two"}
        one.health_status, two.health_status = 403, 204
        soon(lambda: states(edge) == ["unhealthy", "healthy"])
        [described] = [each for [*targets] in edge.health().values() for each in targets[:1]]
        assert described == {
            "target": "127.0.0.1",
            "port": one.port,
            "state": "unhealthy",
            "reason": "Target.ResponseCodeMismatch",
            "description": "Health checks failed with these codes: [403]",
        }
        assert {seen(edge, "/a")["name"] for _ in range(4)} == {"two"}
        two.health_status = 500
        soon(lambda: states(edge) == ["unhealthy", "unhealthy"])
        assert {seen(edge, "/a")["name"] for _ in range(2)} == {"one", "two"}
        one.health_status = 200
        soon(lambda: states(edge) == ["healthy", "unhealthy"])


def test_a_target_that_refuses_and_one_that_hangs_are_told_apart(listener: Listener) -> None:
    # 2 s is the shortest time-out AWS takes, 2 the lowest threshold.
    settings = {"HealthCheckTimeoutSeconds": 2, "UnhealthyThresholdCount": 2}
    refusing, hanging = listener.group(), listener.group(HealthCheckPath="/slow", **settings)
    stopped = listener.server(refusing)
    stopped.stop()
    listener.server(hanging)
    for group in (refusing, hanging):
        listener.rule(("path-pattern", "/*"), to=group)
    with edge_for(listener) as edge:
        soon(lambda: states(edge) == ["unhealthy"] * 2, within=8)
        reasons = {target["reason"] for targets in edge.health().values() for target in targets}
    assert reasons == {"Target.FailedHealthChecks", "Target.Timeout"}


def test_a_rolling_update_is_followed_within_a_second(listener: Listener) -> None:
    group = listener.group()
    old = listener.server(group, "old", "127.0.0.1")
    listener.rule(("path-pattern", "/*"), to=group)
    with edge_for(listener, poll_interval=0.5, health_interval_factor=1) as edge:
        soon(lambda: states(edge) == ["healthy"])
        listener.server(group, "new", "127.0.0.2")
        soon(lambda: {seen(edge, "/a")["name"] for _ in range(2)} == {"old", "new"}, within=1)
        listener.deregister(group, old)
        soon(lambda: {seen(edge, "/a")["name"] for _ in range(2)} == {"new"}, within=1)
        old.stop()
        assert {seen(edge, "/a")["name"] for _ in range(10)} == {"new"}


def test_a_deregistered_target_finishes_what_it_has_begun(listener: Listener) -> None:
    group = listener.group()
    old = listener.server(group, "old", "127.0.0.1")
    listener.rule(("path-pattern", "/*"), to=group)
    with edge_for(listener) as edge:
        soon(lambda: states(edge) == ["healthy"])
        with closing(http.client.HTTPConnection("127.0.0.1", edge.port, timeout=10)) as connection:
            connection.request("GET", "/slow", headers={"Host": "api.busyb.ai"})
            time.sleep(0.1)
            listener.deregister(group, old)
            soon(lambda: states(edge) == ["draining"])
            assert status(edge, "/a") == 503
            old.release.set()
            assert connection.getresponse().read() == b"late"
        soon(lambda: states(edge) == [])


def test_a_new_rule_is_obeyed_soon(listener: Listener) -> None:
    group = listener.group()
    listener.server(group)
    with edge_for(listener) as edge:
        assert status(edge, "/a") == 404
        listener.rule(("path-pattern", "/*"), to=group)
        soon(lambda: status(edge, "/a") == 200, within=1)


def test_a_condition_that_the_emulator_loses_is_warned_of(listener: Listener, caplog: pytest.LogCaptureFixture) -> None:
    condition = {"Field": "path-pattern", "PathPatternConfig": {"RegexValues": ["^/a$"]}}
    action = {"Type": "forward", "TargetGroupArn": listener.group()}
    listener.elbv2.create_rule(ListenerArn=listener.arn, Priority=7, Conditions=[condition], Actions=[action])
    with edge_for(listener) as edge:
        assert status(edge, "/a") == 404
    assert "rule 7: its path-pattern condition" in caplog.text


# ---------------------------------------------------------------- starting and stopping


def test_an_unknown_listener_an_absent_emulator_and_a_taken_port_are_explained(listener: Listener) -> None:
    with pytest.raises(EdgeError, match=f"has no listener {listener.arn}0"):
        Edge(listener.endpoint, listener.arn + "0").start()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EdgeError, match=f"cannot listen on 127.0.0.1:{port}"):
            Edge(listener.endpoint, listener.arn, port=port).start()
    with pytest.raises(EdgeError, match="Is the emulator running"):
        Edge(f"http://127.0.0.1:{port}", listener.arn).start()


def test_as_a_program_it_says_where_it_is_and_ends_on_sigterm(listener: Listener) -> None:
    group = listener.group()
    server = listener.server(group)
    listener.rule(("path-pattern", "/*"), to=group)
    arguments = ["--endpoint", listener.endpoint, "--listener", listener.arn]
    command = [sys.executable, "-m", "rehearsal.edge", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            where = json.loads(process.stdout.readline())
            with urllib.request.urlopen(where["url"] + "/a") as response:  # noqa: S310
                assert json.load(response)["name"] == "one"
            with urllib.request.urlopen(where["health_url"]) as response:  # noqa: S310
                [[target]] = json.load(response).values()
            assert (target["target"], target["port"]) == ("127.0.0.1", server.port)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
