"""Nothing secret comes out: values are planted where secrets are kept, used, and then looked for everywhere else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from checks.deployment import task_address
from rehearsal.docker import Engine
from rehearsal.emulator import Emulator
from rehearsal.estate import SECRET_VALUE
from rehearsal.run import Rehearsal
from tests.stacks import beside, changed, production

CLIENT_SECRET = SECRET_VALUE.format(key="GOOGLE_OAUTH_CLIENT_SECRET")
TOKENS = {"token": "planted-access", "refresh_token": "planted-refresh", "client_secret": CLIENT_SECRET}
# Of a client's id it is known that it is no secret: browsers show it.
PLANTED = (*TOKENS.values(), "planted-code", "planted-bearer")
PERSON = "person@example.com"


@pytest.fixture(scope="module")
def running(engine: Engine) -> Iterator[Rehearsal]:
    """Production, and beside it a service without OAuth 2.1, which keeps people's tokens in the bucket."""
    shipped = production("secrets")
    stack = changed(shipped, {"services.inside": beside(shipped)})
    with Rehearsal(stack) as rehearsal:
        rehearsal.deploy()
        yield rehearsal


def test_what_is_planted_is_used_and_comes_out_nowhere(running: Rehearsal) -> None:
    assert [f"{check.name}: {check.detail}" for check in running.check() if check.passed is False] == []
    inside = running.stack.settings.services["inside"]
    assert inside.tokens and running.engine and running.edge
    expired = {
        **TOKENS,
        # Nobody is there, so that a refresh fails and the server has an error to tell of.
        "token_uri": "http://127.0.0.1:9/token",
        "client_id": "id",
        "scopes": ["https://www.googleapis.com/auth/gmail.readonly"],
        "expiry": "2020-01-01T00:00:00",
    }
    s3 = running.account.client("s3")
    s3.head_object(
        Bucket=inside.tokens.bucket, Key=f"{inside.tokens.prefix}/probe"
    )  # The server wrote it at its start.
    s3.put_object(
        Bucket=inside.tokens.bucket, Key=f"{inside.tokens.prefix}/{PERSON}.json", Body=json.dumps(expired).encode()
    )
    address = task_address(running.account.client("ecs"), running.stack.settings, inside)
    asyncio.run(_call(f"{address}/mcp", "search_gmail_messages"))
    _come_back_from_google(running)
    found = _everywhere(running)
    assert any("refresh" in text.lower() and PERSON in text for text in found.values()), "the refresh was tried"
    containers = [c.attrs["Config"]["Env"] for c in _containers(running)]
    assert sum(CLIENT_SECRET in str(variables) for variables in containers) >= 2, "the servers have it"
    leaks = [f"{value} in {place}" for place, text in found.items() for value in PLANTED if value in text]
    assert leaks == []


async def _call(address: str, tool: str) -> None:
    async with Client(address) as client:
        result = await client.call_tool(tool, {"query": "x", "user_google_email": PERSON})
        assert "planted" not in result.model_dump_json()


def _come_back_from_google(running: Rehearsal) -> None:
    """As a browser does, with codes and tokens that the server does not know."""
    import httpx2

    assert running.edge
    public = running.stack.settings.services["google-workspace"].public
    assert public
    host = {"Host": public.host}
    with httpx2.Client(trust_env=False, base_url=running.edge.url, headers=host) as client:
        for path in ("oauth2callback?code=planted-code&state=x", "mcp?access_token=planted-bearer"):
            assert client.get(f"/google-workspace/{path}").status_code >= 400
        answer = client.post("/google-workspace/mcp", json={}, headers={"Authorization": "Bearer planted-bearer"})
        assert answer.status_code == 401
        form = {"grant_type": "authorization_code", "code": "planted-code", "client_id": "x"}
        assert client.post("/google-workspace/token", data=form).status_code == 401


def _containers(running: Rehearsal) -> list[Any]:
    assert running.engine and isinstance(running.account, Emulator)
    mine = {"label": f"ministack.instance={running.account.name}:{running.account.port}"}
    return list(running.engine.api.containers.list(all=True, filters=mine))


def _everywhere(running: Rehearsal) -> dict[str, str]:
    """Place -> all its text: what the deployment keeps, prints and exports, and all logs."""
    assert running.engine
    client: Any = running.account.client
    found = {
        "state": Path(running.note().state).read_text(),
        "outputs": json.dumps(running.outputs, default=str),
        "report": running.narrator.report.to_markdown() + running.narrator.report.to_json(),
    }
    for container in _containers(running):
        found[f"the log of container {container.name}"] = container.logs().decode(errors="replace")
    for group in client("logs").describe_log_groups()["logGroups"]:
        events = client("logs").filter_log_events(logGroupName=group["logGroupName"])["events"]
        found[f"log group {group['logGroupName']}"] = "\n".join(event["message"] for event in events)
    for arn in client("ecs").list_task_definitions()["taskDefinitionArns"]:
        described = client("ecs").describe_task_definition(taskDefinition=arn)["taskDefinition"]
        found[f"task definition {arn}"] = json.dumps(described, default=str)
    for parameter in client("ssm").describe_parameters()["Parameters"]:
        value = client("ssm").get_parameter(Name=parameter["Name"])["Parameter"]["Value"]
        found[f"parameter {parameter['Name']}"] = value
    return found
