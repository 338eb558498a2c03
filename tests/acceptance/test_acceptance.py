"""The acceptance tests pass on a server deployed right, and fail on each mistake they are there for."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from acceptance import Subject
from acceptance.sign_in import begin, exchange, returned, sign_in, through_google
from acceptance.subject import StandIn
from checks import Expectations, PublicAddress
from checks.http import expect
from engine.reading import ByFile
from operations.accept import private_address
from operations.target import Target
from rehearsal.docker import Engine
from rehearsal.emulator import Emulator, free_port
from rehearsal.estate import SECRET_VALUE
from rehearsal.google import Google
from rehearsal.kept import HOME, Kept
from rehearsal.run import Rehearsal, Stack
from tests.checks.conftest import GOOD, StartServer, server_python
from tests.checks.load_balancer import LoadBalancer
from tests.checks.test_checks import prefix_rules
from tests.commands import ops, run
from tests.conftest import REGION, ROOT
from tests.stacks import noted

URL = "https://api.busyb.ai/google-workspace"
REDIRECT_URIS = ("http://localhost:*",)
EDGE_READS_RULES = 2.0
"""Seconds after which the edge has surely read the listener's rules again."""
ACCEPTED = "The user's token is accepted"
CLOCK = "The server's clock is right"

Checks = dict[str, dict[str, Any]]


@dataclasses.dataclass
class Ran:
    """What a run of the suite printed and wrote."""

    status: int
    checks: Checks
    told: str
    """All of it: both streams, and the report."""

    @property
    def failed(self) -> Checks:
        return {name: check for name, check in self.checks.items() if check["passed"] is False}


def ran(process: subprocess.CompletedProcess[str], report: Path) -> Ran:
    told = process.stdout + process.stderr + (report.read_text() if report.exists() else "")
    assert process.stdout.startswith("{"), told
    found = json.loads(process.stdout)["checks"]
    return Ran(process.returncode, {check["name"]: check for check in found}, told)


@dataclasses.dataclass
class Server:
    """A server process behind a load balancer, and the suite's way to it."""

    balancer: LoadBalancer
    google: Google | None
    folder: Path

    @property
    def subject(self) -> Subject:
        return Subject(
            address=PublicAddress(url=URL, connect_to=self.balancer.url),
            expectations=Expectations(client_redirect_uris=REDIRECT_URIS),
            google=StandIn.noted(self.google.noted).client if self.google else None,
        )

    def accept(self, only: str = "", token: str | None = None) -> Ran:
        """Run the suite as a person does who has no stack, only the address."""
        report = self.folder / "report.md"
        options = ["--connect-to", self.balancer.url, "--report", str(report), "-k", only]
        options += [f"--redirect-uri={uri}" for uri in REDIRECT_URIS]
        options += ["--google", json.dumps(self.google.noted)] if self.google else []
        environment = {**os.environ, **({"ACCEPTANCE_TOKEN": token} if token else {})}
        return ran(run("acceptance", URL, *options, environment=environment), report)


class Behind:
    """Starts servers that take the stand-in for Google."""

    def __init__(self, start: StartServer, google: Google, folder: Path, cleanup: ExitStack) -> None:
        self._start, self._google, self._folder, self._cleanup = start, google, folder, cleanup

    def __call__(self, *, google: bool = True, **environment: str | None) -> Server:
        port = self._start(WORKSPACE_EXTERNAL_URL=URL, **{**self._google.variables(), **environment})
        balancer = self._cleanup.enter_context(LoadBalancer(port, prefix_rules).running())
        return Server(balancer, self._google if google else None, self._folder)


@pytest.fixture
def serve(start_server: StartServer, google: Google, tmp_path: Path) -> Iterator[Behind]:
    """Starts a server with the given environment."""
    with ExitStack() as cleanup:
        yield Behind(start_server, google, tmp_path, cleanup)


# Through the edge


@dataclasses.dataclass
class Deployed:
    """A kept rehearsal of the production stack under a name of its own."""

    rehearsal: Rehearsal
    name: str
    folder: Path

    def accept(self) -> Ran:
        """`./ops accept` on it."""
        report = self.folder / "report.md"
        return ran(ops("accept", "--stack", self.name, "--rehearsal", "--json", "--report", str(report)), report)


@pytest.fixture(scope="module")
def deployed(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with noted("acceptance") as (rehearsal, name):
        yield Deployed(rehearsal, name, tmp_path_factory.mktemp("acceptance"))


def test_all_pass_in_the_rehearsal_at_the_public_url(deployed: Deployed) -> None:
    found = deployed.accept()
    assert {name: check["detail"] for name, check in found.failed.items()} == {}
    assert found.status == 0
    not_run = {name for name, check in found.checks.items() if check["passed"] is None}
    # On a busy machine the code has expired by the time that this is asked.
    assert not_run <= {"A code of the server's own that has expired is refused"}, "there is a test of its own for it"
    # Client, consumer, tools and log: each kind was really asked.
    assert found.checks["A user signs in with an MCP client, which then lists the tools"]["passed"]
    assert (
        "google-workspace.busyb.local"
        in found.checks["A consumer uses the private name with its user's token, and not without one"]["detail"]
    )
    assert sum(name.startswith("tool ") for name in found.checks) > 100
    assert found.checks["No code and no token of this run is in the server's log"]["detail"] != "0 lines"
    for planted in (SECRET_VALUE.split("{")[0], "ya29.", "1//0", "eyJ"):
        assert planted not in found.told


@pytest.mark.parametrize(
    ("profile", "asked"),
    [("health", {"health"}), ("mixed", {"health", "initialize", "initialized", "tools/list", "search"})],
)
def test_users_at_once_are_all_answered(deployed: Deployed, profile: str, asked: set[str]) -> None:
    users = ("--users", "6", "--seconds", "15")
    done = ops("load", profile, *users, "--stack", deployed.name, "--rehearsal", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    (step,) = found["steps"]
    assert {figures["name"] for figures in step["figures"]} == asked
    assert (step["users"], step["errors"]) == (6, [])
    failed, *times = found["checks"]
    assert (failed["name"], failed["passed"]) == ("no request failed", True)
    assert times
    assert {check["passed"] for check in times} == {None}, "the times of a rehearsal are held to no limit"
    assert "eyJ" not in done.stdout + done.stderr, "no token is told"


def test_the_conformance_suite_finds_what_is_known_and_the_documents_figures_are_those(deployed: Deployed) -> None:
    done = ops("conformance", "--stack", deployed.name, "--rehearsal", "--json")
    assert done.stdout.startswith("{"), done.stderr
    found = json.loads(done.stdout)
    assert [check["name"] + ": " + check["detail"] for check in found["checks"] if not check["passed"]] == []
    assert done.returncode == 0
    rows = [
        f"| {each['revision']} | {each['scenarios_passed']} of {each['scenarios']} "
        f"| {each['checks_passed']} of {each['checks']} | {len(each['expected'])} |"
        for each in found["outcomes"]
    ]
    assert [row.split(" | ")[0] for row in rows] == ["| 2025-11-25", "| 2026-07-28"]
    assert "\n".join(["", *rows, ""]) in (ROOT / "docs" / "conformance.md").read_text()
    assert "eyJ" not in done.stdout + done.stderr, "no token is told"


def test_nothing_secret_is_left_where_people_and_machines_read(deployed: Deployed) -> None:
    """After users have signed in: the server's log, the state, outputs, the note, the edge's log and Google's."""
    rehearsal = deployed.rehearsal
    logs = rehearsal.account.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/ecs/busyb-google-workspace-mcp")
    google = rehearsal.google
    assert google
    texts = {
        "log": "\n".join(event["message"] for page in pages for event in page["events"]),
        "state": Path(rehearsal.note().state).read_text(),
        "outputs": json.dumps(rehearsal.outputs),
        "note": Kept.file(deployed.name).read_text(),
        "edge": (HOME / "edge.log").read_text(),
        "google": (Path(google.home) / "log").read_text(),
    }
    assert "ERROR" in texts["log"], "the tools were called, and some have failed"
    planted = re.compile(rf"{SECRET_VALUE.split('{')[0]}|ya29\.\w|1//0\w|4/0\w|eyJ[\w-]{{10,}}\.eyJ")
    assert {name: found[0] for name, text in texts.items() if (found := planted.search(text))} == {}


def test_missing_rules_for_the_metadata_are_found(deployed: Deployed) -> None:
    elb = deployed.rehearsal.account.client("elbv2")
    listeners = [
        listener["ListenerArn"]
        for balancer in elb.describe_load_balancers()["LoadBalancers"]
        for listener in elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    ]
    rules = [rule for listener in listeners for rule in elb.describe_rules(ListenerArn=listener)["Rules"]]
    gone = [rule for rule in rules if "/.well-known/" in json.dumps(rule["Conditions"])]
    assert len(gone) == 2
    for rule in gone:
        elb.delete_rule(RuleArn=rule["RuleArn"])
    time.sleep(EDGE_READS_RULES)
    found = deployed.accept()
    assert found.status == 1
    metadata = found.failed["resource metadata answers at its advertised and its standard address"]
    assert "/.well-known/" in metadata["detail"] and "404" in metadata["detail"]
    assert "A user signs in with an MCP client, which then lists the tools" in found.failed


def test_all_pass_with_two_tasks_that_share_their_state(deployed: Deployed) -> None:
    file = ROOT / f"Pulumi.{deployed.name}.yaml"
    file.write_text(file.read_text().replace("desiredCount: 1", "desiredCount: 2"))
    deployed.rehearsal.deploy(Stack.read(deployed.name))
    found = deployed.accept()
    assert {name: check["detail"] for name, check in found.failed.items()} == {}
    assert found.status == 0
    assert len(deployed.rehearsal.account.client("ecs").list_tasks(cluster="busyb-cluster")["taskArns"]) == 2
    assert sum(name.startswith("tool ") for name in found.checks) > 100


# One mistake each


def test_a_server_in_legacy_mode_fails(serve: Behind) -> None:
    """OAUTH21 as `1` leaves OAuth off."""
    server = serve(MCP_ENABLE_OAUTH21="1", WORKSPACE_MCP_STATELESS_MODE=None)
    found = server.accept("test_checks or test_endpoints or test_direct")
    assert found.status == 1
    assert "anyone" in found.failed["MCP without a token is refused and told where to sign in"]["detail"]
    assert "A user signs in with an MCP client, which then lists the tools" in found.failed


def test_an_empty_list_of_redirect_addresses_fails(serve: Behind) -> None:
    server = serve(WORKSPACE_MCP_ALLOWED_CLIENT_REDIRECT_URIS=None)
    found = server.accept("foreign_redirect")
    assert set(found.failed) == {"A client with a foreign redirect address cannot register"}
    assert found.status == 1


def test_both_eras_of_the_protocol_are_asked(serve: Behind) -> None:
    found = serve().accept("test_protocol")
    assert found.failed == {}
    assert len(found.checks) == 7
    assert found.checks["A client of either era of the protocol lists the same tools"]["passed"]


def test_a_load_balancer_that_drops_headers_of_the_protocol_fails(serve: Behind) -> None:
    server = serve()
    right = server.balancer.request_headers
    server.balancer.request_headers = lambda headers: [
        (name, value) for name, value in right(headers) if not name.lower().startswith("mcp-")
    ]
    found = server.accept("test_discovery_of_the_server")
    assert found.status == 1
    assert found.failed.keys() == {"The server says by server/discover which revisions it speaks"}


def test_a_changed_signing_key_fails(serve: Behind, emulator: Emulator, unique: str) -> None:
    emulator.client("dynamodb").create_table(
        TableName=unique,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "collection", "KeyType": "HASH"}, {"AttributeName": "key", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("collection", "key")],
    )

    def with_key(key: str) -> Server:
        return serve(
            WORKSPACE_MCP_OAUTH_PROXY_STORAGE_BACKEND="dynamodb",
            WORKSPACE_MCP_OAUTH_PROXY_DYNAMODB_TABLE=unique,
            FASTMCP_SERVER_AUTH_GOOGLE_JWT_SIGNING_KEY=key,
            AWS_ENDPOINT_URL=emulator.endpoint,
            AWS_DEFAULT_REGION=REGION,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",
        )

    before = with_key("the-first-signing-key")
    token = asyncio.run(sign_in(before.subject, "stays@example.com")).token
    assert before.accept("token_is_accepted", token).status == 0
    found = with_key("the-second-signing-key").accept("token_is_accepted", token)
    assert "SIGNING_KEY" in found.failed[ACCEPTED]["remedy"]
    assert found.status == 1
    assert token and token not in found.told


@pytest.mark.parametrize("shift", ["+10m", "-10m"])
def test_a_clock_that_is_off_by_ten_minutes_fails(serve: Behind, faketime: Path, shift: str) -> None:
    found = serve(LD_PRELOAD=str(faketime), FAKETIME=shift).accept("clock or token_is_of_now")
    assert (
        "s ahead of" in found.failed[CLOCK]["detail"]
        if shift[0] == "+"
        else "s behind" in found.failed[CLOCK]["detail"]
    )
    assert found.status == 1


class DeniesWriting(BaseHTTPRequestHandler):
    """S3 as a bucket's policy makes it that denies PutObject."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_a_bucket_that_denies_writing_fails(tmp_path: Path) -> None:
    """The server then ends before it answers anybody, so that the suite finds nobody at the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), DeniesWriting) as bucket:
        threading.Thread(target=bucket.serve_forever, daemon=True).start()
        environment = {
            **GOOD,
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHONDONTWRITEBYTECODE": "1",  # The launcher lies in the build context.
            "PORT": (port := str(free_port(None))),
            "MCP_ENABLE_OAUTH21": "false",
            "WORKSPACE_MCP_STATELESS_MODE": "false",
            "WORKSPACE_MCP_CREDENTIAL_STORE_BACKEND": "s3",
            "WORKSPACE_MCP_S3_BUCKET": "tokens",
            "WORKSPACE_MCP_S3_PREFIX": "google",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{bucket.server_port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        command = [str(server_python()), str(ROOT / "image" / "launcher.py")]
        started = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        bucket.shutdown()
    assert started.returncode == 1
    assert "s3://tokens/google/ cannot be used" in started.stderr and "AccessDenied" in started.stderr
    report = tmp_path / "report.md"
    suite = [sys.executable, "-m", "acceptance", URL, "--connect-to", f"http://127.0.0.1:{port}", "-k", "test_checks"]
    found = ran(subprocess.run(suite, cwd=ROOT, capture_output=True, text=True), report)
    assert found.status == 1
    assert "no answer" in found.failed["health answers 200 from outside"]["detail"]


# What the suite itself cannot wait for


def test_a_code_expires_after_five_minutes(serve: Behind, faketime: Path, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    server = serve(LD_PRELOAD=str(faketime), FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_NO_CACHE="1")

    async def code_used_after(shift: str) -> int:
        attempt = await begin(server.subject)
        answer = await through_google(server.subject, attempt.url, "late@example.com")
        clock.write_text(f"{shift}\n")
        return (await exchange(server.subject, attempt, returned(expect(answer, 302))["code"])).status_code

    assert asyncio.run(code_used_after("+4m")) == 200
    assert asyncio.run(code_used_after("+10m")) in (400, 401)


# Without the stand-in


def test_without_a_token_what_needs_a_user_is_not_run(serve: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--an-option-of-somebody-elses-tests")
    found = serve(google=False).accept()
    assert found.status == 0, found.failed
    assert found.checks["MCP without a token is refused and told where to sign in"]["passed"]
    assert "ACCEPTANCE_TOKEN" in found.checks[ACCEPTED]["detail"]
    for name in ("Consent denied at Google: the client is told access_denied, with its state", ACCEPTED):
        assert found.checks[name]["passed"] is None
    assert not [name for name in found.checks if name.startswith("tool ")]


def test_with_a_token_only_tools_that_read_are_called(serve: Behind) -> None:
    token = asyncio.run(sign_in(serve().subject, "given@example.com")).token
    server = serve(google=False)
    found = server.accept("tools or consent", token)
    assert found.status == 0, found.failed
    called = {name: check["passed"] for name, check in found.checks.items() if name.startswith("tool ")}
    assert called["tool search_gmail_messages answers, or says why not"]
    assert called["tool send_gmail_message answers, or says why not"] is None
    assert found.checks["Consent denied at Google: the client is told access_denied, with its state"]["passed"] is None
    assert token and token not in found.told


def test_what_a_broken_server_echoes_is_not_in_the_report(serve: Behind) -> None:
    """A server that answers errors with what it was given, tokens and codes among it."""
    server = serve()
    token = asyncio.run(sign_in(server.subject, "echo@example.com")).token
    google = "ya29.planted-by-the-test"

    def echo(path: str, status: int, headers: Any, body: bytes) -> Any:
        if path.startswith("/token"):
            return 418, [("Location", f"https://api.busyb.ai/?code={token}")], google.encode()
        if path.startswith("/mcp") and (number := re.search(rb'"id": ?(\d+)', body)):
            message = {
                "jsonrpc": "2.0",
                "id": int(number[1]),
                "error": {"code": -32000, "message": f"Bearer {token} is {google}"},
            }
            return 200, [("Content-Type", "application/json")], json.dumps(message).encode()
        return status, headers, body

    server.balancer.response = echo
    found = server.accept("test_made_up_code or test_some_tools or test_direct", token)
    assert len(found.failed) == 3, found.checks
    assert "[secret]" in found.told
    assert token and token not in found.told
    assert google not in found.told


@pytest.mark.parametrize(("host", "reached"), [("google-workspace.invalid", False), ("localhost", True)])
def test_on_a_real_account_the_private_name_is_used_where_it_resolves(host: str, reached: bool, tmp_path: Path) -> None:
    stack = Stack.read("production")
    state = tmp_path / "state.json"
    outputs = {"services": {"google-workspace": {"internalUrl": f"http://{host}:8000"}}}
    state.write_text(json.dumps({"resources": [{"type": "pulumi:pulumi:Stack", "outputs": outputs}]}))
    target = Target(
        stack=stack.name,
        file=ROOT / "Pulumi.production.yaml",
        settings=stack.settings,
        account="758888582357",
        region="us-east-1",
        client=lambda service: pytest.fail(f"{service} has no part in it"),
        deployed=ByFile(state),
        copy=lambda _folder: pytest.fail("the state has no part in it"),
    )
    address = private_address(target, stack.settings.services["google-workspace"])
    assert (address.url if address else None) == (f"http://{host}:8000" if reached else None)


def test_a_wrong_token_file_is_told_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "acceptance", URL, "--token-file", str(tmp_path / "none")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "none cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
