"""A secret in the configuration stays one, or is refused; on every way into the program alike."""

from __future__ import annotations

import contextvars
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime import mocks, set_all_config
from pulumi.runtime import settings as runtime

from components import settings
from components.settings import SettingsError, parse
from tests.components.command_line import CommandLine
from tests.components.program import Deploy, Secret, only

PREFIX = settings.NAMESPACE
SERVICE = f"{PREFIX}:services.google-workspace"
CIPHERTEXT = {"secure": "v1:abc:def"}
PLAIN = "planted-in-clear"


def texts(config: dict[str, Any]) -> dict[str, str]:
    return {f"{PREFIX}:{k}": v if isinstance(v, str) else json.dumps(v) for k, v in config.items()}


def put(config: dict[str, Any], path: str, value: Any) -> None:
    *before, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    place: Any = config
    for part in before:
        place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
    place[last] = value


@pytest.fixture
def in_a_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """`in_a_program(config, secret keys)`: `load()` as a program's, whose engine has decrypted what it hands over."""
    monkeypatch.chdir(tmp_path)

    def load(config: dict[str, Any], keys: list[str]) -> settings.Settings:
        def run() -> settings.Settings:
            runtime.configure(runtime.Settings(project=PREFIX, stack="production", monitor=mocks.MockMonitor(None)))  # type: ignore[arg-type]
            set_all_config(texts(config), [f"{PREFIX}:{key}" for key in keys])
            return settings.load()

        return contextvars.Context().run(run)

    return load


def refused(load: Any, *arguments: Any) -> list[str]:
    with pytest.raises(SettingsError) as error:
        load(*arguments)
    assert PLAIN not in str(error.value)
    return [mistake.splitlines()[0].strip() for mistake in error.value.mistakes]


PLACES = {
    "services/google-workspace/environment/API_KEY": f"{SERVICE}.environment.API_KEY",
    "services/google-workspace/variables/API_KEY": f"{SERVICE}.variables.API_KEY",
    "services/google-workspace/image/args/API_KEY": f"{SERVICE}.image.args.API_KEY",
    "services/google-workspace/tags/Team": f"{SERVICE}.tags.Team",
    "services/google-workspace/routing/host": f"{SERVICE}.routing.host",
    "services/google-workspace/oauth/clients/0": f"{SERVICE}.oauth.clients[0]",
    "services/google-workspace/secrets": f"{SERVICE}.secrets",
    "services": f"{PREFIX}:services",
    "environment": f"{PREFIX}:environment",
    "estate/cluster": f"{PREFIX}:estate.cluster",
    "monitoring/topics/critical": f"{PREFIX}:monitoring.topics.critical",
    "monitoring": f"{PREFIX}:monitoring",
    "policyExceptions/0/reason": f"{PREFIX}:policyExceptions[0].reason",
    "nonsense/deep": f"{PREFIX}:nonsense.deep",
}


@pytest.mark.parametrize("path", PLACES)
def test_a_secret_that_would_stand_in_clear_is_refused_in_a_stack_file(config: dict[str, Any], path: str) -> None:
    put(config, path, CIPHERTEXT)
    assert refused(parse, texts(config)) == [PLACES[path]]


@pytest.mark.parametrize("path", [path for path in PLACES if path != "monitoring/topics/critical"])
def test_a_secret_that_would_stand_in_clear_is_refused_where_the_engine_has_decrypted_it(
    in_a_program: Any, config: dict[str, Any], path: str
) -> None:
    if path not in ("services", "monitoring"):
        put(config, path, PLAIN)
    top = path.split("/")[0]
    assert refused(in_a_program, config, [top]) == [f"{PREFIX}:{top}"], "the engine says no more than the top key"


def test_the_program_names_the_place_of_a_secret_that_the_stack_file_shows(
    in_a_program: Any, config: dict[str, Any], tmp_path: Path
) -> None:
    only(config)["environment"] = {"API_KEY": PLAIN}
    config["monitoring"]["topics"]["critical"] = PLAIN
    (tmp_path / "Pulumi.production.yaml").write_text(
        f"config:\n  {PREFIX}:services: {{google-workspace: {{environment: {{API_KEY: {{secure: v1:a}}}}}}}}\n"
        f"  {PREFIX}:monitoring: {{topics: {{critical: {{secure: v1:a}}}}}}\n"
    )
    assert refused(in_a_program, config, ["services", "monitoring"]) == [
        f"{PREFIX}:monitoring.topics.critical",
        f"{SERVICE}.environment.API_KEY",
    ]


def test_a_secret_of_somebody_elses_configuration_is_not_ours_to_judge(config: dict[str, Any]) -> None:
    assert parse({**texts(config), "aws:secretKey": json.dumps(CIPHERTEXT)}) == parse(texts(config))


def test_a_mistake_beside_a_secret_does_not_tell_it(in_a_program: Any, config: dict[str, Any]) -> None:
    hook = {"topic": "critical", "protocol": "https", "endpoint": f"http://hooks.example.com/{PLAIN}"}
    for wrong in (hook, {**hook, "nonsense": PLAIN}, {**hook, "topic": PLAIN}, PLAIN, [PLAIN]):
        config["monitoring"]["subscriptions"] = [wrong]
        for mistake in refused(in_a_program, config, ["monitoring"]):
            assert mistake.startswith(f"{PREFIX}:monitoring.subscriptions[0]")


@pytest.mark.parametrize(
    ("protocol", "address"),
    [("https", f"https://hooks.example.com/{PLAIN}"), ("email", f"{PLAIN}@example.com"), ("sms", "+15550199")],
)
def test_the_address_of_a_subscription_may_be_a_secret_and_stays_one(
    in_a_program: Any, deploy: Deploy, config: dict[str, Any], protocol: str, address: str
) -> None:
    def subscribed(endpoint: Any) -> dict[str, Any]:
        config["monitoring"]["subscriptions"] = [{"topic": "critical", "protocol": protocol, "endpoint": endpoint}]
        return config

    taken = in_a_program(subscribed(address), ["monitoring"])
    assert taken.monitoring.subscriptions[0].endpoint == address
    (inputs,) = deploy(subscribed(address)).of("aws:sns/topicSubscription:TopicSubscription").values()
    assert inputs["endpoint"] == Secret(address)
    # Where there is no engine, something of the same shape stands for it.
    assert parse(texts(subscribed(CIPHERTEXT))).monitoring


@pytest.mark.engine
def test_the_way_to_do_it_right_is_right(cli: CommandLine, config: dict[str, Any]) -> None:
    lines = [f"  {PREFIX}:{name}: {json.dumps(value)}\n" for name, value in config.items()]
    cli.file.write_text(cli.file.read_text() + "config:\n" + "".join(lines))
    cli("config", "set", "--secret", "--path", f"{SERVICE}.environment.API_KEY", PLAIN)
    cli("config", "set", "--secret", "--path", f"{SERVICE}.tags.Team", "Mail")
    for _ in range(2):
        with pytest.raises(SettingsError) as error:
            parse(settings.read_stack_file(cli.file))
        remedy = error.value.mistakes[0].rpartition(": pulumi")[2]
        for command in f"pulumi{remedy}".replace("NAME", "busyb/api").replace("<value>", "Mail").split("; "):
            cli(*shlex.split(command.replace(" KEY", " api_key"))[1:])
    service = parse(settings.read_stack_file(cli.file)).services["google-workspace"]
    assert (service.secrets["API_KEY"].secret, service.secrets["API_KEY"].key) == ("busyb/api", "api_key")
    assert service.environment == {}
    assert service.tags == {"Team": "Mail"}
