"""What the aws provider's configuration says of who asks holds for our own questions too: asked of an emulated STS."""

from __future__ import annotations

import dataclasses
import json
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pulumi
import pytest
from botocore.exceptions import NoCredentialsError, ProfileNotFound

from components import account
from components.account import AccountError, clients, encrypted, provider, session, without_identity
from rehearsal.emulator import Emulator
from tests.conftest import ACCOUNT

HUB, TARGET = "111111111111", "222222222222"
"""Accounts with a role that is assumed: the first on the way, the second where the stack is."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request as STS had it."""

    parameters: dict[str, str]
    key: str
    """Access key of the credentials that signed it; empty: unsigned."""
    region: str


@dataclasses.dataclass(frozen=True)
class Sts:
    """The emulated STS, which notes what it is asked."""

    url: str
    asked: list[Asked]


@pytest.fixture
def sts(emulator: Emulator) -> Iterator[Sts]:
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            signed = self.headers.get("Authorization", "")
            scope = signed.partition("Credential=")[2].partition(",")[0].split("/")
            parameters = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            asked.append(Asked(parameters, scope[0], scope[2] if signed else ""))
            headers = {name: value for name, value in self.headers.items() if name not in ("Host", "Content-Length")}
            request = urllib.request.Request(emulator.endpoint, body, headers)  # noqa: S310
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.end_headers()
                self.wfile.write(answer.read())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield Sts(f"http://127.0.0.1:{server.server_port}", asked)
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def shell(emulator: Emulator) -> Iterator[None]:
    """A shell that is logged in to the emulated account, as `rehearsal`, and has no file of the user's."""
    with emulator.environment():
        yield


def caller(config: dict[str, Any]) -> dict[str, str]:
    raw = {f"aws:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    found: dict[str, str] = clients(provider(raw))("sts").get_caller_identity()
    return found


def test_without_configuration_it_is_who_the_shell_is() -> None:
    assert caller({})["Account"] == ACCOUNT


def test_roles_are_assumed_one_with_the_credentials_of_the_other(sts: Sts) -> None:
    roles = [
        {"roleArn": f"arn:aws:iam::{HUB}:role/hub"},
        {"roleArn": f"arn:aws:iam::{TARGET}:role/deployer", "sessionName": "pulumi"},
    ]
    found = caller({"assumeRoles": roles, "endpoints": [{"sts": sts.url}]})
    assert (found["Account"], found["Arn"]) == (TARGET, f"arn:aws:sts::{TARGET}:assumed-role/deployer/pulumi")
    first, second, question = sts.asked
    assert [asked.parameters["Action"] for asked in sts.asked] == ["AssumeRole", "AssumeRole", "GetCallerIdentity"]
    assert first.key == "rehearsal"
    assert len({first.key, second.key, question.key}) == 3


def test_all_that_is_said_of_a_role_reaches_sts(sts: Sts) -> None:
    role = {
        "roleArn": f"arn:aws:iam::{TARGET}:role/deployer",
        "externalId": "of-the-contract",
        "sessionName": "pulumi",
        "duration": "1h30m",
        "policy": '{"Version": "2012-10-17", "Statement": []}',
        "policyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
        "sourceIdentity": "somebody",
        "tags": {"team": "platform"},
        "transitiveTagKeys": ["team"],
    }
    caller({"assumeRoles": [role], "endpoints": [{"sts": sts.url}], "stsRegion": "eu-west-1"})
    assert sts.asked[0].region == "eu-west-1"
    assert sts.asked[0].parameters == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": role["roleArn"],
        "RoleSessionName": "pulumi",
        "ExternalId": "of-the-contract",
        "DurationSeconds": "5400",
        "Policy": role["policy"],
        "PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/ReadOnlyAccess",
        "SourceIdentity": "somebody",
        "Tags.member.1.Key": "team",
        "Tags.member.1.Value": "platform",
        "TransitiveTagKeys.member.1": "team",
    }


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"accessKey": "AKIAOFTHECONFIG", "secretKey": "x"}, "AKIAOFTHECONFIG"),
        ({"profile": "second"}, "AKIAOFTHESECOND"),
        ({}, "rehearsal"),
    ],
)
def test_keys_of_the_configuration_come_before_a_profile_and_the_shell(
    sts: Sts, tmp_path: Path, config: dict[str, str], key: str
) -> None:
    file = tmp_path / "credentials"
    file.write_text("[second]\naws_access_key_id = AKIAOFTHESECOND\naws_secret_access_key = x\n")
    caller({**config, "sharedCredentialsFiles": [str(file)], "endpoints": [{"sts": sts.url}]})
    assert [asked.key for asked in sts.asked] == [key]


def test_a_web_identity_is_exchanged_and_the_roles_follow(sts: Sts, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("eyJ.of.GitHub")
    web = {"roleArn": f"arn:aws:iam::{HUB}:role/web", "sessionName": "ci", "webIdentityTokenFile": str(file)}
    roles = [{"roleArn": f"arn:aws:iam::{TARGET}:role/deployer", "sessionName": "pulumi"}]
    found = caller({"assumeRoleWithWebIdentity": web, "assumeRoles": roles, "endpoints": [{"sts": sts.url}]})
    assert found["Arn"] == f"arn:aws:sts::{TARGET}:assumed-role/deployer/pulumi"
    assert sts.asked[0].parameters["WebIdentityToken"] == "eyJ.of.GitHub"
    assert sts.asked[0].key == ""
    assert sts.asked[1].key not in ("", "rehearsal")


@pytest.mark.parametrize(
    ("config", "environment", "region"),
    [
        ({"region": "eu-central-1"}, {"AWS_REGION": "eu-west-1"}, "eu-central-1"),
        ({}, {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-west-2"}, "eu-west-1"),
        ({}, {"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-2"}, "us-west-2"),
    ],
)
def test_the_region_is_that_of_the_configuration_then_of_the_variables_in_the_providers_order(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, str], environment: dict[str, str], region: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert session(provider({f"aws:{key}": value for key, value in config.items()})).region_name == region


@pytest.mark.parametrize("name", ["cloudwatchlogs", "logs"])
def test_an_endpoint_is_found_by_each_name_that_the_provider_has_for_the_service(name: str) -> None:
    who = provider({"aws:region": "us-east-1", "aws:endpoints": json.dumps([{name: "http://127.0.0.1:1"}])})
    client = clients(who)
    assert client("logs").meta.endpoint_url == "http://127.0.0.1:1"
    assert client("ecs").meta.endpoint_url != "http://127.0.0.1:1"


def test_fips_and_dual_stack_are_those_of_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    who = provider({"aws:region": "us-east-1", "aws:useFipsEndpoint": "true", "aws:useDualstackEndpoint": "true"})
    assert clients(who)("ecr").meta.endpoint_url == "https://ecr-fips.us-east-1.api.aws"


def test_a_profile_that_is_missing_and_credentials_that_are_nowhere_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProfileNotFound):
        caller({"profile": "nobody"})
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(NoCredentialsError):
        caller({"assumeRoles": [{"roleArn": f"arn:aws:iam::{TARGET}:role/deployer"}]})


@pytest.mark.parametrize(
    ("config", "admitted"),
    [
        ({}, True),
        ({"allowedAccountIds": [ACCOUNT]}, True),
        ({"allowedAccountIds": [int(ACCOUNT)]}, True),
        ({"allowedAccountIds": [HUB]}, False),
        ({"forbiddenAccountIds": [HUB]}, True),
        ({"forbiddenAccountIds": [ACCOUNT]}, False),
    ],
)
def test_accounts_are_admitted_as_the_provider_admits_them(config: dict[str, Any], admitted: bool) -> None:
    who = provider({f"aws:{key}": json.dumps(value) for key, value in config.items()})
    assert who.admits(ACCOUNT) is admitted


def test_all_mistakes_are_told_at_once_with_their_keys_and_no_value() -> None:
    config = {
        "aws:assumeRoles": json.dumps([{"duration": "an hour", "externalId": "hidden"}]),
        "aws:allowedAccountIds": ACCOUNT,
        "aws:sharedConfigFiles": json.dumps(["a", "b"]),
        "aws:assumeRoleWithWebIdentity": json.dumps({"roleArn": "arn"}),
        "aws:secretKey": json.dumps({"hidden": 1}),
    }
    with pytest.raises(AccountError) as error:
        provider(config)
    told = str(error.value)
    for words in (
        "aws:assumeRoles.0.roleArn: Field required",
        "aws:assumeRoles.0.duration: is no span of time; write 15m, 1h or 1h30m",
        "aws:allowedAccountIds: ",
        "aws:sharedConfigFiles: ",
        "aws:assumeRoleWithWebIdentity: needs webIdentityToken or webIdentityTokenFile",
        "aws:secretKey: ",
    ):
        assert words in told
    assert "hidden" not in told
    with pytest.raises(AccountError, match="aws:assumeRoles is not the JSON that it begins as"):
        provider({"aws:assumeRoles": "[{"})


def test_what_is_encrypted_in_the_file_is_named_and_what_only_the_provider_reads_is_not() -> None:
    config = {
        "aws:region": "us-east-1",
        "aws:secretKey": '{"secure": "v1:abc"}',
        "aws:assumeRoles": '[{"roleArn": "arn", "externalId": {"secure": "v1:abc"}}]',
        "aws:httpsProxy": '{"secure": "v1:abc"}',
    }
    assert encrypted(config) == ["aws:assumeRoles", "aws:secretKey"]


def test_a_rehearsal_is_nobody_in_particular() -> None:
    config = {"aws:region": "eu-west-1", "aws:allowedAccountIds": "[]", "aws:profile": "p", "aws:assumeRoles": "[]"}
    assert without_identity({**config, "mcp-on-ecs:environment": "production"}) == {
        "aws:region": "eu-west-1",
        "aws:allowedAccountIds": "[]",
        "mcp-on-ecs:environment": "production",
    }


@pytest.fixture
def configured() -> Iterator[Callable[[dict[str, str]], None]]:
    """Gives the running program its configuration, as the engine does."""
    before = dict(pulumi.runtime.config.CONFIG.get())

    def configure(config: dict[str, str]) -> None:
        pulumi.runtime.set_all_config(config)
        account._of_the_program.cache_clear()

    yield configure
    configure(before)


def test_the_program_asks_as_its_provider_does(configured: Callable[[dict[str, str]], None]) -> None:
    role = {"roleArn": f"arn:aws:iam::{TARGET}:role/deployer", "sessionName": "pulumi"}
    configured({"aws:region": "us-east-1", "aws:assumeRoles": json.dumps([role])})
    assert account.client("sts").get_caller_identity()["Account"] == TARGET
    assert account.client("ecs") is account.client("ecs")
