"""OAuth state that tasks share, with real containers: what one task began another goes on with."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

import pytest

import checks
from acceptance.sign_in import Session, ask, begin, exchange, returned, sign_in, through_google
from acceptance.subject import StandIn, Subject
from checks.http import expect, json_object
from checks.mcp import list_tools
from components.clients import CLIENTS
from components.settings.server import SIGNING_KEY
from rehearsal.base_images import NoBaseImage
from rehearsal.edge_process import wait_until_listening
from rehearsal.run import Rehearsal, different
from tests.asking import Asked, Question, long_calls, lost, minute_long, of_both_eras, without_pause
from tests.failing_stores import DOWN, NO_ANSWER, WELL, Between, answers, until
from tests.log_filters import counted
from tests.rehearsal.test_clients import log_in
from tests.stacks import SERVICE, changed, production

KEY = "google-workspace"
TASKS, LEFT = 3, 2
"""How many there are, and how many after one of them was taken away."""
TABLE = "busyb-google-workspace-mcp-oauth-state"
# At the root of a host of its own, so that tasks can be asked past the load balancer, which rewrites paths.
HOST = {"strategy": "host", "host": "mcp.busyb.ai", "priority": 50}


ALONE = {f"{SERVICE}.oauth.clients": list(CLIENTS), f"{SERVICE}.routing": HOST}
"""One task, with nothing said of its store: its memory."""
LONGEST = 61
"""Seconds that the longest answer takes, as it is configured."""
SEVERAL = {**ALONE, f"{SERVICE}.desiredCount": TASKS, f"{SERVICE}.longestRequest": LONGEST}


@pytest.fixture(scope="module")
def alone(engine: object) -> Iterator[Rehearsal]:
    """One task of the production stack."""
    try:
        with Rehearsal(changed(production("stores"), ALONE)) as rehearsal:
            rehearsal.deploy()
            yield rehearsal
    except NoBaseImage as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def former(alone: Rehearsal) -> str:
    """The token of a person who has signed in while there was one task."""
    token = ask(sign_in(subjects(alone)[0], "former@example.com")).token
    assert token and accepted(token, alone)
    return token


@pytest.fixture(scope="module")
def running(alone: Rehearsal, former: str) -> Rehearsal:
    """Three tasks, with nothing said of their store."""
    alone.deploy(changed(production("stores"), SEVERAL), policies=True)
    return alone


def accepted(token: str, rehearsal: Rehearsal) -> bool:
    """Whether each task takes a token; False: each refuses it."""
    seen = {answers(subject, token)["tools/list"] for subject in subjects(rehearsal)}
    assert seen in ({200}, {401})
    return seen == {200}


def tasks(rehearsal: Rehearsal, key: str = KEY) -> dict[str, str]:
    """ARN -> `http://address:port` of the tasks that run."""
    ecs, cluster = rehearsal.account.client("ecs"), rehearsal.stack.settings.estate.cluster
    arns = ecs.list_tasks(cluster=cluster, serviceName=f"{service(rehearsal, key).name}-service")["taskArns"]
    found = {}
    for task in ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"]:
        details = {d["name"]: d["value"] for each in task["attachments"] for d in each["details"]}
        if address := details.get("privateIPv4Address"):  # One that only begins to start has none.
            found[task["taskArn"]] = f"http://{address}:{service(rehearsal, key).port}"
    return found


def place(rehearsal: Rehearsal, key: str = KEY) -> dict[str, str]:
    """Where ECS has the service."""
    return {"cluster": rehearsal.stack.settings.estate.cluster, "service": f"{service(rehearsal, key).name}-service"}


def service(rehearsal: Rehearsal, key: str = KEY) -> Any:
    return rehearsal.stack.settings.services[key]


def subjects(rehearsal: Rehearsal, key: str = KEY) -> list[Subject]:
    """The service as each of its tasks is reached, past the load balancer."""
    return [subject_at(rehearsal, task, key) for task in tasks(rehearsal, key).values()]


def subject_at(rehearsal: Rehearsal, origin: str, key: str = KEY) -> Subject:
    """The service as it is reached at an address of its own, `http://address:port`."""
    assert rehearsal.google
    return Subject(
        address=checks.address(service(rehearsal, key), service(rehearsal, key).url, origin),
        expectations=checks.expectations(service(rehearsal, key)),
        google=StandIn(proxy=rehearsal.google.proxy, authority=rehearsal.google.authority).client,
    )


def log_of(rehearsal: Rehearsal) -> list[str]:
    """The lines of the service's log, oldest first."""
    pages = rehearsal.account.client("logs").get_paginator("filter_log_events")
    found = [e for page in pages.paginate(logGroupName=f"/ecs/{service(rehearsal).name}") for e in page["events"]]
    return [event["message"] for event in sorted(found, key=lambda event: event["timestamp"])]


def tools_for(token: str, subject: Subject) -> int:
    """How many tools the task lists for the holder of a token."""

    async def question() -> int:
        async with Session(user=None, token=token).client(subject.address) as client:
            return len(await list_tools(client))

    return ask(question())


@pytest.fixture(scope="module")
def token(running: Rehearsal) -> str:
    """Registered on one task, signed in on the next, exchanged on the third."""
    first, second, third = subjects(running)

    async def over_three() -> str:
        attempt = await begin(first)
        told = returned(expect(await through_google(second, attempt.url, "several@example.com"), 302))
        tokens = json_object(expect(await exchange(third, attempt, told["code"]), 200))
        return str(tokens["access_token"])

    return ask(over_three())


def test_all_checks_pass_with_several_tasks(running: Rehearsal) -> None:
    assert [(check.name, check.detail) for check in running.check() if check.passed is False] == []


def test_who_signed_in_before_there_was_a_store_signs_in_once_more(running: Rehearsal, former: str) -> None:
    assert not accepted(former, running)


def test_a_sign_in_that_three_tasks_had_a_part_in_is_known_to_each(running: Rehearsal, token: str) -> None:
    assert [tools_for(token, subject) > 50 for subject in subjects(running)] == [True] * TASKS


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_of_the_table_logs_in_whichever_task_answers(running: Rehearsal, name: str) -> None:
    """By the load balancer, which sends one request after the other to another task."""
    assert running.edge
    ask(log_in(subject_at(running, running.edge.url), name))


def test_nothing_in_the_table_can_be_read_without_the_key(running: Rehearsal, token: str) -> None:
    items = running.account.client("dynamodb").scan(TableName=TABLE)["Items"]
    assert {item["collection"]["S"] for item in items} >= {
        "mcp-oauth-proxy-clients",
        "mcp-upstream-tokens",
        "mcp-jti-mappings",
    }
    assert all('"__encrypted_data__"' in item["value"]["S"] for item in items)
    assert "several@example.com" not in str(items) and "ya29." not in str(items)


def test_what_has_an_end_has_it_where_the_table_looks_for_it(running: Rehearsal, token: str) -> None:
    dynamodb = running.account.client("dynamodb")
    ttl = dynamodb.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"]
    ends = [
        int(item[ttl["AttributeName"]]["N"])
        for item in dynamodb.scan(TableName=TABLE)["Items"]
        if item["collection"]["S"] != "mcp-oauth-proxy-clients"
    ]
    assert ends and all(end > time.time() for end in ends)


def test_a_registration_ends_in_a_day_and_with_a_sign_in_it_stays(running: Rehearsal, token: str) -> None:
    unused = ask(begin(subjects(running)[0])).client_id
    used = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["client_id"]
    items = running.account.client("dynamodb").scan(TableName=TABLE)["Items"]
    ends = {item["key"]["S"]: item.get("ttl") for item in items if item["collection"]["S"] == "mcp-oauth-proxy-clients"}
    assert ends[used] is None
    assert time.time() < int(ends[unused]["N"]) <= time.time() + 24 * 3600


def test_a_deployment_without_change_is_none_and_keeps_the_key(running: Rehearsal, token: str) -> None:
    manager = running.account.client("secretsmanager")
    name = service(running).signing_key_name
    before = manager.get_secret_value(SecretId=name)["SecretString"]
    assert [r.name for r in running.deploy().resources if r.action != "same"] == []
    assert manager.get_secret_value(SecretId=name)["SecretString"] == before
    assert SIGNING_KEY in before and len(before) > 64


@pytest.fixture(scope="module")
def people(running: Rehearsal, token: str) -> dict[str, Question]:
    """Clients of both eras of the protocol, and of each one whose answers take some seconds."""
    patient = ask(sign_in(subjects(running)[0], "patient@example.com")).token
    assert patient
    return {**of_both_eras(token), **long_calls(patient, "patient@example.com")}


def asked_by(people: dict[str, Question], rehearsal: Rehearsal) -> AbstractContextManager[list[Asked]]:
    assert rehearsal.edge
    return without_pause(rehearsal.edge.url, str(HOST["host"]), people, every=0.2)


def settled(rehearsal: Rehearsal, wanted: int) -> bool:
    """Whether as many tasks run as are wanted, and the load balancer knows these alone, all healthy."""
    assert rehearsal.edge
    (targets,) = rehearsal.edge.health().values()
    addresses = {urlsplit(origin).hostname for origin in tasks(rehearsal).values()}
    healthy = {target["target"] for target in targets if target["state"] == "healthy"}
    return len(targets) == len(addresses) == wanted and healthy == addresses


@pytest.fixture(scope="module")
def between(running: Rehearsal) -> Iterator[Between]:
    assert running.engine
    with Between(running.engine.bridge_address(), running.account.port) as standing:
        yield standing


@pytest.fixture(scope="module")
def twin(running: Rehearsal, between: Between) -> Iterator[Any]:
    """The container of one more task, which finds the table behind `between`."""
    assert running.engine
    known = container_at(running, next(iter(tasks(running).values())))
    host = known.attrs["HostConfig"]
    made = running.engine.api.containers.run(
        known.attrs["Config"]["Image"],
        detach=True,
        environment=[*known.attrs["Config"]["Env"], f"AWS_ENDPOINT_URL_DYNAMODB={between.url}"],
        volumes=host["Binds"],
        extra_hosts=dict(entry.split(":", 1) for entry in host["ExtraHosts"] or ()),
    )
    try:
        made.reload()
        wait_until_listening(f"http://{container_address(made)}:{service(running).port}")
        yield made
    finally:
        made.remove(force=True, v=True)


def container_at(rehearsal: Rehearsal, origin: str) -> Any:
    """The container of a task."""
    assert rehearsal.engine
    found = rehearsal.engine.api.containers.list()
    return next(each for each in found if container_address(each) == urlsplit(origin).hostname)


def container_address(container: Any) -> str:
    return str(container.attrs["NetworkSettings"]["IPAddress"])


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("slow", NO_ANSWER),
        ("full", "ProvisionedThroughputExceededException"),
        ("denied", "AccessDeniedException"),
        ("gone", "ResourceNotFoundException"),
    ],
)
def test_a_table_that_fails_is_told_and_nobody_is_signed_out(
    running: Rehearsal, token: str, between: Between, twin: Any, how: str, told: str
) -> None:
    subject = subject_at(running, f"http://{container_address(twin)}:{service(running).port}")
    assert answers(subject, token) == WELL
    begun = len(twin.logs())
    with between.failing(how):
        assert answers(subject, token) == DOWN
    assert until(lambda: answers(subject, token) == WELL), "without a restart"
    log = twin.logs()[begun:].decode().splitlines()
    lines = [line for line in log if f"OAuth storage: DynamoDB table {TABLE} fails" in line]
    assert lines and all(told in line or NO_ANSWER in line for line in lines)
    assert [counted(line) for line in lines] == [{"store-failures"}] * len(lines), "by which the alarm goes off"
    assert any(f"OAuth state: DynamoDB table {TABLE} is well again" in line for line in log)


def test_a_scale_in_loses_no_request(running: Rehearsal, people: dict[str, Question]) -> None:
    with asked_by(people, running) as asked:
        running.account.client("ecs").update_service(**place(running), desiredCount=LEFT)
        assert until(lambda: settled(running, LEFT))
    assert lost(asked) == []
    assert {one.question for one in asked} == people.keys()


def test_a_rolling_update_loses_no_request_and_everybody_is_still_signed_in(
    running: Rehearsal, token: str, people: dict[str, Question]
) -> None:
    """A streamed answer of a minute among them: its task goes on for as long as `longestRequest` says."""
    before, user = tasks(running), "patient30@example.com"
    token_of_user = ask(sign_in(subjects(running)[0], user)).token
    assert token_of_user
    everybody = {**people, "a minute": minute_long(token_of_user, user)}
    with asked_by(everybody, running) as asked:
        assert until(lambda: {one.question for one in asked} == people.keys())
        running.account.client("ecs").update_service(**place(running), forceNewDeployment=True)
        assert until(lambda: not before.keys() & tasks(running).keys() and settled(running, LEFT), 300)
    assert lost(asked) == []
    assert {one.question for one in asked} == everybody.keys()
    (minute,) = [one for one in asked if one.question == "a minute"]
    # Longer than the load balancer waits for a silent target: the answer is streamed.
    assert minute.ended - minute.began >= 60
    assert [tools_for(token, subject) > 50 for subject in subjects(running)] == [True] * LEFT


def test_of_a_killed_task_only_what_was_sent_to_it_is_lost(running: Rehearsal, people: dict[str, Question]) -> None:
    """The load balancer goes on sending there until it learns of it, or another task has the address."""
    assert running.engine
    arn, origin = next(iter(tasks(running).items()))
    with asked_by(people, running) as asked:
        assert until(lambda: {one.question for one in asked} == people.keys())
        killed = time.monotonic()
        container_at(running, origin).kill()
        assert until(lambda: arn not in tasks(running) and settled(running, LEFT))
        for other in tasks(running).values():
            wait_until_listening(other)
        whole = time.monotonic()
        assert until(lambda: {one.question for one in asked if one.began > whole} >= of_both_eras("").keys())
    assert [one for one in lost(asked) if one.ended < killed or one.began > whole] == []


def test_a_table_that_is_not_there_ends_the_start_with_the_reason(running: Rehearsal) -> None:
    container = running.engine.api.containers.run(  # type: ignore[union-attr]
        running.outputs["services"]["google-workspace"]["image"],
        detach=True,
        environment={
            "AWS_ENDPOINT_URL": f"http://{running.engine.bridge_address()}:{running.account.port}",  # type: ignore[union-attr]
            "AWS_ACCESS_KEY_ID": running.account.account,
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_REGION": running.account.region,
            "GOOGLE_OAUTH_CLIENT_ID": "id",
            "GOOGLE_OAUTH_CLIENT_SECRET": "planted-secret",
            SIGNING_KEY: "planted-signing-key",
            "WORKSPACE_MCP_OAUTH_PROXY_STORAGE_BACKEND": "dynamodb",
            "WORKSPACE_MCP_OAUTH_PROXY_DYNAMODB_TABLE": "another-table",
        },
    )
    try:
        assert container.wait(timeout=60)["StatusCode"] == 1
        told = container.logs().decode()
    finally:
        container.remove(force=True, v=True)
    assert "ERROR: OAuth state: DynamoDB table another-table cannot be used: ResourceNotFoundException" in told
    assert "planted" not in told


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"STORAGE_BACKEND": "redis"}, "STORAGE_BACKEND is redis; memory, dynamodb or valkey"),
        ({"STORAGE_BACKEND": "dynamodb"}, "DYNAMODB_TABLE and FASTMCP_SERVER_AUTH_GOOGLE_JWT_SIGNING_KEY is needed"),
        (
            {"STORAGE_BACKEND": "valkey", "VALKEY_HOST": "127.0.0.1", "VALKEY_PORT": "none"},
            "Valkey at 127.0.0.1 cannot be used: ValueError",
        ),
        (
            {"STORAGE_BACKEND": "valkey", "VALKEY_HOST": "127.0.0.1", "VALKEY_PASSWORD": "planted-password"},
            "Valkey at 127.0.0.1 cannot be used",
        ),
    ],
    ids=["a store that nobody knows", "no table", "a port that is none", "a cache that is not there"],
)
def test_a_store_that_is_wrong_is_replaced_by_no_other(
    running: Rehearsal, variables: dict[str, str], told: str
) -> None:
    environment = {f"WORKSPACE_MCP_OAUTH_PROXY_{name}": value for name, value in variables.items()}
    if "VALKEY_HOST" in variables:
        environment[SIGNING_KEY] = "planted-signing-key"
    container = running.engine.api.containers.run(  # type: ignore[union-attr]
        running.outputs["services"]["google-workspace"]["image"],
        detach=True,
        environment={"GOOGLE_OAUTH_CLIENT_ID": "id", "GOOGLE_OAUTH_CLIENT_SECRET": "planted-secret", **environment},
    )
    try:
        assert container.wait(timeout=90)["StatusCode"] == 1
        lines = container.logs().decode()
    finally:
        container.remove(force=True, v=True)
    assert told in lines
    assert "planted" not in lines


def test_the_way_back_to_one_task_is_as_documented_and_takes_the_table_along(running: Rehearsal, token: str) -> None:
    """The last one: it leaves one task, and no table."""
    dynamodb, stack = running.account.client("dynamodb"), production("stores")
    with pytest.raises(dynamodb.exceptions.ClientError, match="protect"):
        dynamodb.delete_table(TableName=TABLE)
    unprotected = {"backend": "dynamodb", "deletionProtection": False}
    first = running.deploy(
        changed(
            stack, {**SEVERAL, f"{SERVICE}.desiredCount": len(tasks(running)), f"{SERVICE}.oauth.state": unprotected}
        )
    )
    assert [(r.name, r.action) for r in different(first)] == [("google-workspace-oauth-state", "changed")]
    assert accepted(token, running), "no task was replaced for it"
    second = running.deploy(changed(stack, ALONE))
    gone = {r.name for r in second.resources if r.action == "deleted"}
    assert gone >= {"google-workspace-oauth-state", "google-workspace-signing-key"}
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.describe_table(TableName=TABLE)
    assert until(lambda: settled(running, 1))
    assert not accepted(token, running), "everybody signs in once more"
    again = ask(sign_in(subjects(running)[0], "several@example.com")).token
    assert again and accepted(again, running)
