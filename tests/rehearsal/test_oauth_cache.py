"""OAuth state in a cache: a real one with TLS and a password, which the tasks find by the stack's own name for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from acceptance.sign_in import ask, begin, exchange, returned, sign_in, through_google
from acceptance.subject import Subject
from checks.http import expect, json_object
from components.settings import NAMESPACE
from components.settings.server import PASSWORD
from rehearsal import cache
from rehearsal.base_images import NoBaseImage
from rehearsal.cache import NoCache
from rehearsal.emulator import Emulator
from rehearsal.estate import SECRET_VALUE
from rehearsal.run import Rehearsal, different
from tests.asking import Question, of_both_eras, outcomes, without_pause
from tests.conftest import ROOT
from tests.failing_stores import DOWN, NO_ANSWER, WELL, answers, until
from tests.log_filters import counted
from tests.rehearsal.test_oauth_store import HOST, KEY, container_at, log_of, place, subjects, tasks, tools_for
from tests.stacks import SERVICE, changed, production

MADE = "made"
"""The service with a cache that the program makes."""


@pytest.fixture(scope="module")
def running(engine: object) -> Iterator[Rehearsal]:
    """Two tasks of the production stack that share a cache which exists, and two beside them with one that is made."""
    shipped = json.loads(production("cached").config[f"{NAMESPACE}:services"])["google-workspace"]
    stack = changed(
        production("cached"),
        {
            f"{SERVICE}.desiredCount": 2,
            f"{SERVICE}.routing": HOST,
            f"services.{MADE}": {
                **{name: value for name, value in shipped.items() if name not in ("name", "dashboard")},
                "desiredCount": 2,
                "routing": HOST | {"host": "made.busyb.ai", "priority": 55},
                "oauth": {**shipped["oauth"], "state": "valkey"},
            },
            f"{SERVICE}.oauth.state": {"backend": "valkey", "host": "cache.busyb.local", "port": 6380},
            f"{SERVICE}.secrets.{PASSWORD}": {"secret": "busyb/cache", "key": "PASSWORD"},
        },
    )
    try:
        with Rehearsal(stack) as rehearsal:
            rehearsal.deploy(policies=True)
            yield rehearsal
    except (NoBaseImage, NoCache) as reason:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(reason))


def asked_of_the_cache(rehearsal: Rehearsal, *words: str, password: str, number: int = 0) -> str:
    """What the cache answers a client beside the tasks. number: 1 is the one that is made."""
    started, folder = rehearsal.caches[number], ROOT / ".rehearsal" / "redis"
    address, port = started.address.split(":")
    library = next(folder.glob("usr/lib/*/liblzf.so.1")).parent
    assert rehearsal.google
    command = [str(folder / "usr/bin/redis-cli"), "-h", address, "-p", port, "--tls", "--sni", started.host]
    done = subprocess.run(
        [*command, "--cacert", rehearsal.google.authority, *words],
        env={"LD_LIBRARY_PATH": str(library), "REDISCLI_AUTH": password},
        capture_output=True,
        text=True,
    )
    return str(done.stdout + done.stderr)


def test_all_checks_pass_with_a_cache(running: Rehearsal) -> None:
    assert [(check.name, check.detail) for check in running.check() if check.passed is False] == []


@pytest.fixture(scope="module")
def token(running: Rehearsal) -> str:
    """Of a person who has signed in: begun on one task, ended on the other."""
    first, second = subjects(running)

    async def over_two() -> str:
        attempt = await begin(first)
        told = returned(expect(await through_google(second, attempt.url, "cached@example.com"), 302))
        tokens = json_object(expect(await exchange(first, attempt, told["code"]), 200))
        return str(tokens["access_token"])

    return ask(over_two())


def test_a_sign_in_that_both_tasks_had_a_part_in_is_known_to_both(running: Rehearsal, token: str) -> None:
    assert [tools_for(token, subject) > 50 for subject in subjects(running)] == [True, True]


def test_the_cache_asks_for_the_password_and_what_is_in_it_is_encrypted(running: Rehearsal, token: str) -> None:
    assert "NOAUTH" in asked_of_the_cache(running, "DBSIZE", password="")
    right = SECRET_VALUE.format(key="PASSWORD")
    (key, *_) = asked_of_the_cache(running, "KEYS", "mcp-upstream-tokens*", password=right).split()
    value = asked_of_the_cache(running, "GET", key, password=right)
    assert "__encrypted_data__" in value and "cached@example.com" not in value


def test_a_registration_ends_and_with_a_sign_in_it_stays(running: Rehearsal, token: str) -> None:
    unused = ask(begin(subjects(running)[0])).client_id
    right = SECRET_VALUE.format(key="PASSWORD")
    keys = asked_of_the_cache(running, "KEYS", "mcp-oauth-proxy-clients*", password=right).split()
    ends = {key: int(asked_of_the_cache(running, "TTL", key, password=right)) for key in keys}
    assert [0 < end <= 24 * 3600 for key, end in ends.items() if key.endswith(unused)] == [True]
    assert -1 in ends.values(), "the one that signed in before has none"


def test_a_sign_in_is_shared_in_a_cache_that_is_made(running: Rehearsal) -> None:
    first, second = subjects(running, MADE)

    async def sign_in() -> str:
        attempt = await begin(first)
        told = returned(expect(await through_google(second, attempt.url, "made@example.com"), 302))
        tokens = json_object(expect(await exchange(first, attempt, told["code"]), 200))
        return str(tokens["access_token"])

    token = ask(sign_in())
    assert [tools_for(token, subject) > 50 for subject in (first, second)] == [True, True]


def test_a_cache_that_is_made_knows_one_user_whose_password_nobody_else_has(running: Rehearsal) -> None:
    made = running.stack.settings.services[MADE]
    manager = running.account.client("secretsmanager")
    value = manager.get_secret_value(SecretId=made.made_secrets[PASSWORD])["SecretString"]
    password = json.loads(value)[PASSWORD]

    def asked(*words: str, user: str = made.oauth_store, password: str = password) -> str:
        return asked_of_the_cache(running, "--user", user, *words, password=password, number=1)

    assert int(asked("DBSIZE")) > 0
    for user, wrong in (("default", ""), ("default", password), (made.oauth_store, "another")):
        assert "NOAUTH" in asked("DBSIZE", user=user, password=wrong)
    # It reads and writes, and neither looks at all keys at once nor deletes them.
    assert [("NOPERM" in asked(*words)) for words in (("KEYS", "*"), ("FLUSHALL",), ("ACL", "LIST"))] == [True] * 3
    assert password not in Path(running.note().state).read_text() + json.dumps(running.outputs)


def test_a_cache_that_is_made_stays_as_it_is(running: Rehearsal) -> None:
    assert [(result.name, result.changes) for result in different(running.preview())] == []
    assert [(result.name, result.changes) for result in different(running.refresh())] == []


def test_services_of_a_stack_find_each_other_by_their_private_names(running: Rehearsal) -> None:
    def seen(key: str, name: str) -> set[str]:
        """The addresses that a task of a service finds for a name."""
        code = f"import socket; print(*{{i[4][0] for i in socket.getaddrinfo({name!r}, 0, socket.AF_INET)}})"
        container = container_at(running, next(iter(tasks(running, key).values())))
        return set(container.exec_run(["python3", "-c", code]).output.decode().split())

    def addresses(key: str) -> set[str]:
        return {str(urlsplit(origin).hostname) for origin in tasks(running, key).values()}

    for asking, asked in ((MADE, KEY), (KEY, MADE)):
        origin = running.outputs["services"][asked]["internalUrl"].removesuffix("/mcp")
        assert seen(asking, str(urlsplit(origin).hostname)) == addresses(asked)
        container = container_at(running, next(iter(tasks(running, asking).values())))
        told = container.exec_run(["curl", "-sS", "--noproxy", "*", f"{origin}/health"]).output.decode()
        assert '"workspace-mcp"' in told, told
    name = str(urlsplit(running.outputs["services"][MADE]["internalUrl"]).hostname)
    before = addresses(MADE)
    running.account.client("ecs").update_service(**place(running, MADE), desiredCount=len(before) - 1)
    assert until(lambda: seen(KEY, name) == addresses(MADE) < before), "the name leads to the tasks that are left"


@contextmanager
def failing(rehearsal: Rehearsal, how: str) -> Iterator[None]:
    """The cache of the tasks is slow, full, or denies, and then is well again."""
    pid, right = rehearsal.caches[0].pid, SECRET_VALUE.format(key="PASSWORD")

    def tell(*words: str) -> None:
        assert "OK" in asked_of_the_cache(rehearsal, *words, password=right)

    steps: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "slow": (lambda: os.kill(pid, signal.SIGSTOP), lambda: os.kill(pid, signal.SIGCONT)),
        "full": (lambda: tell("CONFIG", "SET", "maxmemory", "1"), lambda: tell("CONFIG", "SET", "maxmemory", "0")),
        "denied": (
            lambda: tell("ACL", "SETUSER", "default", "-@read", "-@write"),
            lambda: tell("ACL", "SETUSER", "default", "+@all"),
        ),
    }
    begin, end = steps[how]
    begin()
    try:
        yield
    finally:
        end()


@pytest.mark.parametrize(
    ("how", "seen", "told"),
    [
        ("slow", DOWN, "TimeoutError: timed out"),
        # What is there already can be read: nothing fails but what is to be kept.
        ("full", {**WELL, "/register": 503}, "fails (put): RequestError: OOM"),
        ("denied", DOWN, "PermissionDenied: this user has no permissions to run the"),
    ],
)
def test_a_cache_that_fails_is_told_and_nobody_is_signed_out(
    running: Rehearsal, token: str, how: str, seen: dict[str, int], told: str
) -> None:
    first, before = subjects(running)[0], len(log_of(running))
    with failing(running, how):
        assert answers(first, token) == seen
    assert until(lambda: answers(first, token) == WELL), "without a restart"
    assert until(lambda: any("is well again" in line for line in log_of(running)[before:]))
    lines = [line for line in log_of(running)[before:] if "OAuth storage: Valkey at cache.busyb.local fails" in line]
    assert lines and all(told in line or NO_ANSWER in line for line in lines)
    assert [counted(line) for line in lines] == [{"store-failures"}] * len(lines), "by which the alarm goes off"


async def ready(subject: Subject) -> tuple[int, int]:
    async with subject.address.client() as http:
        return tuple(
            [(await http.get(subject.address.url + path)).status_code for path in ("/health", "/health/ready")]
        )  # type: ignore[return-value]


def test_a_killed_cache_is_told_and_used_again_when_it_is_back_though_it_has_forgotten_everybody(
    running: Rehearsal, token: str
) -> None:
    """The last one: it leaves another cache, without a copy of what was in the first."""
    assert running.edge and running.engine and running.google and isinstance(running.account, Emulator)
    both = subjects(running)
    assert [ask(ready(task)) for task in both] == [(200, 200)] * 2
    clients = {"/health": Question(), **of_both_eras(token)}
    with without_pause(running.edge.url, str(HOST["host"]), clients, every=0.1) as asked:
        assert until(lambda: {one.question for one in asked} == clients.keys())
        assert outcomes(asked) == {200}
        os.kill(running.caches[0].pid, signal.SIGKILL)
        assert until(lambda: [ask(ready(task)) for task in both] == [(200, 503)] * 2)
        assert until(lambda: 503 in outcomes(asked))
        again = cache.start(
            cache.wanted(running.stack.settings.services.values())[0],
            root=ROOT,
            address=running.engine.bridge_address(),
            authority=Path(running.google.authority).with_name("mitmproxy-ca.pem"),
            control=running.account.cache,
        )
        try:
            assert until(lambda: [ask(ready(task)) for task in both] == [(200, 200)] * 2)
            known = ask(sign_in(both[0], "again@example.com")).token
            assert known and tools_for(known, both[1]) > 50
            assert until(lambda: 401 in outcomes(asked)), "who signed in before has to sign in again"
        finally:
            again.stop()
    assert outcomes(one for one in asked if one.question == "/health") == {200}
    assert outcomes(asked) == {200, 503, 401}
