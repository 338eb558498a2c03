"""The store of people's credentials: the image's own code in a container, against the emulated S3."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from rehearsal.base_images import NoBaseImage
from rehearsal.docker import Engine
from rehearsal.emulator import Emulator
from tests.conftest import ACCOUNT, REGION

IMAGE = Path(__file__).parents[1] / "image"
BUCKET, PREFIX = "people-tokens", "tokens/google"
LAUNCHER = {"PYTHONPATH": "/opt/launcher:/opt/site"}

# In front of each program: a store, and credentials of which every field names the user.
HEAD = f"""
import json, sys, logging, concurrent.futures
logging.basicConfig()
from google.oauth2.credentials import Credentials
from s3_store import S3CredentialStore
store = S3CredentialStore({BUCKET!r}, {PREFIX!r})
def of(user, more=""):
    return Credentials(f"planted-access-{{user}}{{more}}", refresh_token=f"planted-refresh-{{user}}{{more}}",
        token_uri="https://oauth2.googleapis.com/token", client_id="id", client_secret="planted-secret")
def read(user):
    found = store.get_credential(user)
    return found and [found.token, found.refresh_token]
"""

ADDRESSES = [
    "person@example.com",
    "Person@example.com",
    "o'brien+mail@example.com",
    "a/b@example.com",
    "a%2Fb@example.com",
    "a%252Fb@example.com",
    "../../other/person@example.com",
    "/etc/passwd@example.com",
    "..",
    ".",
    "a//b@example.com",
    "a\\b@example.com",
    "probe",
    "sha256/" + "0" * 64,
    "用户@例え.jp",
    "pérson@example.com",  # One character,
    "pe\u0301rson@example.com",  # and two, that look the same.
    "line\nbreak@example.com",
    "nul\0@example.com",
    "x" * 300 + "@example.com",
    "x" * 299 + "y@example.com",
    "ü" * 300 + "@example.com",
    "ü" * 299 + "y@example.com",
    "/" * 300,
    "\ud800@example.com",
]


@dataclass
class Server:
    """The image as it runs, next to an account of its own."""

    engine: Engine
    image: str
    account: Emulator
    container: Any

    @property
    def endpoint(self) -> str:
        return f"http://{self.engine.bridge_address()}:{self.account.port}"

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "planted-aws-secret",
            "AWS_REGION": REGION,
        }

    def run(self, program: str, *arguments: str, endpoint: str | None = None) -> str:
        """What a program prints that has the store; it must end well."""
        done = self.container.exec_run(
            ["python3", "-c", HEAD + program, *arguments], environment=self.environment(endpoint) | LAUNCHER
        )
        output: str = done.output.decode()
        assert done.exit_code == 0, output
        return output

    def keys(self) -> list[str]:
        """The keys in the bucket, but for the store's own probe."""
        pages = self.account.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [
            entry["Key"] for page in pages for entry in page.get("Contents", []) if entry["Key"] != f"{PREFIX}/probe"
        ]

    def start(self, **environment: str) -> Any:
        """The server as a task without OAuth 2.1 runs it."""
        return self.engine.api.containers.run(
            self.image,
            detach=True,
            read_only=True,
            cap_drop=["ALL"],
            ports={"8000/tcp": ("127.0.0.1", 0)},
            environment=self.environment()
            | {
                "GOOGLE_OAUTH_CLIENT_ID": "id",
                "GOOGLE_OAUTH_CLIENT_SECRET": "planted-secret",
                "MCP_ENABLE_OAUTH21": "false",
                "WORKSPACE_MCP_STATELESS_MODE": "false",
                "WORKSPACE_MCP_CREDENTIAL_STORE_BACKEND": "s3",
                "WORKSPACE_MCP_S3_BUCKET": BUCKET,
                "WORKSPACE_MCP_S3_PREFIX": PREFIX,
            }
            | environment,
        )


@pytest.fixture(scope="module")
def running(engine: Engine, emulator_python: Path) -> Iterator[Server]:
    try:
        engine.ensure_base_images(IMAGE / "Dockerfile")
    except NoBaseImage as reason:
        pytest.skip(str(reason))
    built = engine.client.build(IMAGE, "test-token-store:latest")
    address = engine.bridge_address()
    with Emulator(ACCOUNT, REGION, python=emulator_python, bridge_address=address) as account:
        container = engine.api.containers.run(built.image, entrypoint=["sleep", "infinity"], init=True, detach=True)
        try:
            yield Server(engine, built.image, account, container)
        finally:
            container.remove(force=True, v=True)


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    s3 = running.account.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
        },
    )
    yield running
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for entry in page.get("Contents", []):
            s3.delete_object(Bucket=BUCKET, Key=entry["Key"])
    s3.delete_bucket(Bucket=BUCKET)


@dataclass
class Stub:
    """An HTTP server that containers reach, with one answer; it remembers what it was asked."""

    address: str
    status: int = 200
    body: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __enter__(self) -> Stub:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                stub.asked.append((self.command, body.decode(errors="replace")))
                self.send_response(stub.status)
                self.send_header("Content-Type", "application/json" if stub.body[:1] == "{" else "application/xml")
                self.send_header("Content-Length", str(len(stub.body)))
                self.end_headers()
                self.wfile.write(stub.body.encode())

            do_GET = do_PUT = do_POST = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer((self.address, 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


DENIED = "<Error><Code>AccessDenied</Code><Message>explicit deny in a resource-based policy</Message></Error>"


def test_each_address_has_a_key_of_its_own_below_the_prefix(server: Server) -> None:
    output = server.run(
        "users = json.loads(sys.argv[1])\n"
        "assert all([store.store_credential(user, of(number)) for number, user in enumerate(users)])\n"
        "print(json.dumps([[store.key(user), read(user)] for user in users]))",
        json.dumps(ADDRESSES),
    )
    found = json.loads(output.splitlines()[-1])
    assert [tokens for _, tokens in found] == [
        [f"planted-access-{n}", f"planted-refresh-{n}"] for n in range(len(found))
    ]
    keys = [key for key, _ in found]
    assert sorted(server.keys()) == sorted(set(keys)), "one object for each address, and none beside them"
    assert len(set(keys)) == len(ADDRESSES)
    for key in keys:
        assert key.startswith(f"{PREFIX}/")
        assert key.endswith(".json")
        assert len(key.encode()) <= 1024
        assert not {".", "..", ""} & set(key.split("/")), "no path that something on the way could shorten"


def test_an_empty_address_is_refused(server: Server) -> None:
    server.run(
        "for user in ('', '  '):\n"
        "    try:\n        store.store_credential(user, of('x'))\n"
        "    except ValueError:\n        continue\n"
        "    sys.exit(1)"
    )
    assert server.keys() == []


def test_the_buckets_own_encryption_applies(server: Server) -> None:
    server.run("assert store.store_credential('person@example.com', of('person'))")
    head = server.account.client("s3").head_object(Bucket=BUCKET, Key=f"{PREFIX}/person@example.com.json")
    assert head["ServerSideEncryption"] == "aws:kms"


def test_what_the_fork_wrote_is_read_and_replaced_in_place(server: Server) -> None:
    written = {
        "token": "fork-access",
        "refresh_token": "fork-refresh",
        "token_uri": "https://oauth2.googleapis.com/token",
        "client_id": "id",
        "client_secret": "secret",
        "scopes": ["mail"],
        "expiry": "2026-01-02T03:04:05.678901",
        "user_email": "o'brien+mail@example.com",
        "id_token": "x.y.z",
    }
    key = f"{PREFIX}/o'brien+mail@example.com.json"
    server.account.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(written).encode())
    output = server.run(
        'found = store.get_credential("o\'brien+mail@example.com")\n'
        "print(json.dumps([found.token, found.refresh_token, found.scopes, found.expiry.isoformat()]))\n"
        'assert store.store_credential("o\'brien+mail@example.com", found)'
    )
    assert json.loads(output) == ["fork-access", "fork-refresh", ["mail"], "2026-01-02T03:04:05.678901"]
    assert server.keys() == [key]


def test_what_is_missing_deleted_or_damaged_is_no_credential(server: Server) -> None:
    server.account.client("s3").put_object(Bucket=BUCKET, Key=f"{PREFIX}/half.json", Body=b'{"token": "planted-ha')
    output = server.run(
        "assert store.store_credential('gone', of('gone')) and store.delete_credential('gone')\n"
        "assert store.delete_credential('gone'), 'what is gone already is deleted'\n"
        "assert [read(user) for user in ('nobody', 'gone', 'half')] == [None] * 3"
    )
    assert f"ERROR:s3_store:OAuth storage: s3://{BUCKET}/{PREFIX}/half.json holds no credentials" in output
    assert "planted" not in output


def test_two_hundred_users_at_once_are_neither_lost_nor_mixed_up(server: Server) -> None:
    output = server.run(
        "users = [f'user{number}@example.com' for number in range(200)]\n"
        "def both(user):\n"
        "    assert store.store_credential(user, of(user))\n"
        "    return read(user)\n"
        "with concurrent.futures.ThreadPoolExecutor(200) as pool:\n"
        "    at_once = list(pool.map(both, users))\n"
        "    later = list(pool.map(read, users))\n"
        "assert at_once == later == [[f'planted-access-{u}', f'planted-refresh-{u}'] for u in users]\n"
        "print('all', len(later))"
    )
    assert "all 200" in output
    assert len(server.keys()) == 200


def test_a_process_killed_while_storing_leaves_the_old_or_the_new_credential_whole(server: Server) -> None:
    server.run("assert store.store_credential('person', of('person', '-0'))")
    api, chance, seen = server.engine.api.api, random.Random(7), set()
    program = (
        "import itertools\nprint('begun', flush=True)\n"
        "for number in itertools.count(int(sys.argv[1])):\n"
        # Large, so that the kill falls into a transfer.
        "    assert store.store_credential('person', of('person', '-' + str(number) + '-' * 500_000))\n"
        "    print('stored', flush=True)"
    )
    for round_ in range(8):
        started = api.exec_create(
            server.container.id,
            ["python3", "-c", HEAD + program, str(1000 * (round_ + 1))],
            environment=server.environment() | LAUNCHER,
        )["Id"]
        output = api.exec_start(started, stream=True)
        told = next(output)
        assert b"begun" in told
        while told.count(b"stored") < round_ % 3:
            told += next(output)
        time.sleep(chance.uniform(0, 0.1))  # Anywhere in the next one, or in what comes before and after it.
        os.kill(api.exec_inspect(started)["Pid"], signal.SIGKILL)
        for _ in output:
            """Until it is gone."""
        found = server.account.client("s3").get_object(Bucket=BUCKET, Key=f"{PREFIX}/person.json")
        data = json.loads(found["Body"].read())
        seen.add(data["token"])
        assert data["refresh_token"] == data["token"].replace("access", "refresh")
        server.run("assert read('person')")
    assert len(seen) > 1, "some were stored before the kill"


def test_a_bucket_that_denies_or_does_not_answer_is_told_and_never_taken_for_success(server: Server) -> None:
    program = (
        "assert store.store_credential('person', of('person')) is False\n"
        "assert store.delete_credential('person') is False\n"
        "try:\n    store.get_credential('person')\n"
        "except Exception as error:\n    print(f'raised {error}')"
    )
    with Stub(server.engine.bridge_address(), 403, DENIED) as denying:
        denied = server.run(program, endpoint=denying.url)
    gone = server.run(program, endpoint=denying.url)
    for verb in ("written", "deleted", "read"):
        told = f"ERROR:s3_store:OAuth storage: s3://{BUCKET}/{PREFIX}/person.json could not be {verb}: "
        assert f"{told}An error occurred (AccessDenied)" in denied
        assert f"{told}Could not connect to the endpoint URL" in gone
    assert "raised An error occurred (AccessDenied)" in denied
    assert "raised Could not connect to the endpoint URL" in gone
    assert "planted" not in denied + gone


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"WORKSPACE_MCP_S3_BUCKET": "no-such-bucket"}, "s3://no-such-bucket/tokens/google/ cannot be used"),
        ({"WORKSPACE_MCP_S3_PREFIX": ""}, "WORKSPACE_MCP_S3_BUCKET and WORKSPACE_MCP_S3_PREFIX are needed"),
    ],
)
def test_a_server_that_cannot_keep_credentials_does_not_start(
    server: Server, change: dict[str, str], told: str
) -> None:
    container = server.start(**change)
    try:
        assert container.wait(timeout=60)["StatusCode"] == 1
        assert f"ERROR: OAuth storage: {told}" in container.logs().decode()
    finally:
        container.remove(force=True, v=True)


def test_the_server_reads_refreshes_and_stores_through_it_and_logs_no_token(server: Server) -> None:
    """A read-only call of a user whose token has expired. Google's token endpoint is a stub here, where the stored
    credentials say that it is; Gmail itself is not asked with success."""
    refreshed = json.dumps({"access_token": "planted-new", "expires_in": 3600, "token_type": "Bearer"})
    scopes = ["https://www.googleapis.com/auth/gmail.readonly", "https://www.googleapis.com/auth/userinfo.email"]
    key, user = f"{PREFIX}/person@example.com.json", "person@example.com"
    s3 = server.account.client("s3")
    with Stub(server.engine.bridge_address(), 200, refreshed) as google:
        stored = {
            "token": "planted-old",
            "refresh_token": "planted-refresh",
            "token_uri": f"{google.url}/token",
            "client_id": "id",
            "client_secret": "planted-secret",
            "scopes": scopes,
            "expiry": "2020-01-01T00:00:00",
        }
        s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(stored).encode())
        # A proxy that nobody is at: no request may leave for the real Google.
        container = server.start(HTTPS_PROXY="http://127.0.0.1:9")
        try:
            address = f"http://127.0.0.1:{_port(container)}/mcp"
            _wait(container)
            asyncio.run(_call(address, "search_gmail_messages", {"query": "x", "user_google_email": user}))
            logs = container.logs().decode()
        finally:
            container.remove(force=True, v=True)
    assert "grant_type=refresh_token" in google.asked[0][1], logs
    now = json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    assert (now["token"], now["refresh_token"]) == ("planted-new", "planted-refresh"), logs
    assert now["expiry"] > stored["expiry"]
    assert "planted" not in logs


def _port(container: Any) -> int:
    container.reload()
    return int(container.ports["8000/tcp"][0]["HostPort"])


def _wait(container: Any) -> None:
    deadline = time.monotonic() + 60
    while container.exec_run(["curl", "-fs", "http://localhost:8000/health"]).exit_code:
        container.reload()
        assert container.status == "running", container.logs().decode()
        assert time.monotonic() < deadline, container.logs().decode()
        time.sleep(0.2)


async def _call(address: str, tool: str, arguments: dict[str, str]) -> Any:
    async with Client(address) as client:
        return await client.call_tool(tool, arguments)
