"""Each mistake in a stack's configuration, and what its reader is told.

Long because it is a table, with an entry for each mistake.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from components import settings
from components.settings import SettingsError, parse
from tests.components.mistakes import (
    PREFIX,
    SERVICE,
    Change,
    at_odds,
    mistakes,
    not_text,
    parsed,
    routing,
    service,
    unset,
    wrong,
)
from tests.components.program import Deploy, only
from tests.stacks import INTERNAL

NAME = "1 to 40 lower-case letters, digits and hyphens between them"
LENGTH = "at most 26 characters, and not beginning with sg-, as ids of security groups do"
HOST = "a host name like api.example.com, of at most 128 characters: no https:// before it, no port or path behind it"
PATH = (
    "a path like /google-workspace: at most 87 letters, digits, . _ ~ and - between slashes, none starting with a dot"
)
BUCKET = "a bucket's name, without s3:// and without a path"
REFERENCE = "a name, id or ARN as AWS shows it: one line, not empty, no * and no ?"
TAG = "at most 256 letters, digits, spaces and . : / = + - _ @"

ONE_VALUE: dict[str, tuple[Change, str]] = {
    "cpu that Fargate has not": (
        service(cpu=300),
        wrong(f"{SERVICE}.cpu", 300, "256, 512, 1024, 2048, 4096, 8192, 16384"),
    ),
    "text for a number": (
        service(memory="plenty"),
        wrong(f"{SERVICE}.memory", "plenty", "a valid integer, unable to parse string as an integer"),
    ),
    "a list for a section": (
        service(health=[1]),
        wrong(f"{SERVICE}.health", [1], "keys with values below it"),
    ),
    "a number for text": (service(environment={"A": 8}), not_text(f"{SERVICE}.environment.A", 8)),
    "a fraction for text": (service(environment={"A": 3.1}), not_text(f"{SERVICE}.environment.A", 3.1)),
    "a truth for text": (service(environment={"A": True}), not_text(f"{SERVICE}.environment.A", True)),
    "a number for a build argument": (service(image={"args": {"A": 8}}), not_text(f"{SERVICE}.image.args.A", 8)),
    "a number for a tag": (service(tags={"CostCenter": 4711}), not_text(f"{SERVICE}.tags.CostCenter", 4711)),
    "nothing for text": (
        service(environment={"A": None}),
        wrong(
            f"{SERVICE}.environment.A",
            None,
            "a valid string",
            f"pulumi config set --path {SERVICE}.environment.A <value>; "
            f"or pulumi config rm --path {SERVICE}.environment.A",
        ),
    ),
    "a date without quotation marks": (
        service(environment={"A": "2027-01-31 00:00:00 +0000 UTC"}),
        wrong(
            f"{SERVICE}.environment.A",
            "2027-01-31 00:00:00 +0000 UTC",
            'text; a date in quotation marks, such as "2027-01-31", or YAML takes it for a time',
        ),
    ),
    "a privileged port": (service(port=80), wrong(f"{SERVICE}.port", 80, "greater than or equal to 1024")),
    "too many tasks": (
        service(desiredCount=101),
        wrong(f"{SERVICE}.desiredCount", 101, "less than or equal to 100"),
    ),
    "a retention that CloudWatch has not": (
        service(logs={"retentionDays": 8, "retentionReason": "x"}),
        wrong(f"{SERVICE}.logs.retentionDays", 8, ", ".join(map(str, settings.LOG_RETENTION_DAYS))),
    ),
    "a platform that is none": (
        service(image={"platform": "linux/arm"}),
        wrong(f"{SERVICE}.image.platform", "linux/arm", "'linux/amd64' or 'linux/arm64'"),
    ),
    "a tag for a digest": (
        service(image={"digest": "repo:latest"}),
        wrong(
            f"{SERVICE}.image.digest",
            "repo:latest",
            "sha256: and 64 hexadecimal digits, with registry/name@ before it if not in the own repository",
        ),
    ),
    "a Dockerfile outside of the context": (
        service(image={"dockerfile": "../Dockerfile"}),
        wrong(
            f"{SERVICE}.image.dockerfile",
            "../Dockerfile",
            "a path within the context, such as Dockerfile or docker/Dockerfile",
        ),
    ),
    "an absolute Dockerfile": (
        service(image={"dockerfile": "/etc/passwd"}),
        wrong(
            f"{SERVICE}.image.dockerfile",
            "/etc/passwd",
            "a path within the context, such as Dockerfile or docker/Dockerfile",
        ),
    ),
    "an unknown strategy": (
        routing(strategy="rewrit"),
        wrong(f"{SERVICE}.routing.strategy", "rewrit", "one of rewrite, host, prefix, pattern, internal"),
    ),
    "an unknown state": (
        service(oauth={"state": {"backend": "redis"}, "clientRedirectUris": ["http://localhost:*"]}),
        wrong(f"{SERVICE}.oauth.state.backend", "redis", "one of memory, dynamodb, valkey"),
    ),
    "a URL for a host": (
        routing(host="http://api.busyb.ai"),
        wrong(f"{SERVICE}.routing.host", "http://api.busyb.ai", HOST),
    ),
    "a port behind a host": (
        routing(host="api.busyb.ai:8000"),
        wrong(f"{SERVICE}.routing.host", "api.busyb.ai:8000", HOST),
    ),
    "a path with a space": (routing(path="/a b"), wrong(f"{SERVICE}.routing.path", "/a b", PATH)),
    "a path with a wildcard": (routing(path="/a*"), wrong(f"{SERVICE}.routing.path", "/a*", PATH)),
    "a path that climbs": (routing(path="/a/../b"), wrong(f"{SERVICE}.routing.path", "/a/../b", PATH)),
    "no path at all": (routing(path="/"), wrong(f"{SERVICE}.routing.path", "/", PATH)),
    "a priority of zero": (
        routing(priority=0),
        wrong(f"{SERVICE}.routing.priority", 0, "greater than or equal to 1"),
    ),
    "http to a client elsewhere": (
        service(oauth={"clientRedirectUris": ["http://evil.example/cb"]}),
        wrong(
            f"{SERVICE}.oauth.clientRedirectUris[0]",
            "http://evil.example/cb",
            "https, but for localhost, 127.0.0.1 and [::1]",
        ),
    ),
    "any host for a client": (
        service(oauth={"clientRedirectUris": ["https://*.example/cb"]}),
        wrong(
            f"{SERVICE}.oauth.clientRedirectUris[0]",
            "https://*.example/cb",
            "a host spelled out: no * in it, and none in its port but on loopback",
        ),
    ),
    "an unknown client": (
        service(oauth={"clients": ["cluade"]}),
        wrong(
            f"{SERVICE}.oauth.clients[0]",
            "cluade",
            "one of claude, claude-code, vscode, cursor, chatgpt, codex, gemini-cli, gemini, opencode, inspector, "
            "mcp-remote; the redirect addresses of others go into clientRedirectUris",
        ),
    ),
    "an origin over http": (
        lambda config: only(config)["oauth"].update(allowedOrigins=["http://app.example"]),
        wrong(f"{SERVICE}.oauth.allowedOrigins[0]", "http://app.example", "an origin like https://app.example.com"),
    ),
    "a wildcard for all secrets": (
        service(permissions={"secrets": ["*"]}),
        wrong(f"{SERVICE}.permissions.secrets[0]", "*", "a secret's name, or the beginning of names and a * behind it"),
    ),
    "a wildcard for all buckets": (
        service(permissions={"bucket": "*"}),
        wrong(f"{SERVICE}.permissions.bucket", "*", BUCKET),
    ),
    "a template that names nothing known": (
        service(server="other", oauth={}, variables={"BASE": "{nope}"}),
        wrong(
            f"{SERVICE}.variables.BASE",
            "{nope}",
            "text with {url}, {origin}, {host}, {path}, {port} in it; a brace that is meant as such is doubled",
        ),
    ),
    "a template that reaches into Python": (
        service(server="other", oauth={}, variables={"BASE": "{url.__class__}"}),
        wrong(
            f"{SERVICE}.variables.BASE",
            "{url.__class__}",
            "text with {url}, {origin}, {host}, {path}, {port} in it; a brace that is meant as such is doubled",
        ),
    ),
    "an open brace": (
        service(server="other", oauth={}, variables={"BASE": "{url"}),
        wrong(
            f"{SERVICE}.variables.BASE",
            "{url",
            "text with {url}, {origin}, {host}, {path}, {port} in it; a brace that is meant as such is doubled",
        ),
    ),
    "an empty variable": (
        service(environment={"A": ""}),
        wrong(
            f"{SERVICE}.environment.A",
            "",
            "text that is not empty: ECS drops empty variables, and would see a change each time",
        ),
    ),
    "no subnets": (
        lambda config: config["estate"].update(taskSubnets=[]),
        wrong(f"{PREFIX}:estate.taskSubnets", [], "list should have at least 1 item after validation, not 0"),
    ),
    "a subnet that is no text": (
        lambda config: config["estate"].update(taskSubnets=["10.0.10.0/24", 5]),
        not_text(f"{PREFIX}:estate.taskSubnets[1]", 5),
    ),
    "no services": (
        lambda config: config.update(services={}),
        wrong(f"{PREFIX}:services", {}, "dictionary should have at least 1 item after validation, not 0"),
    ),
    "text for the services": (
        lambda config: config.update(services="google-workspace"),
        wrong(f"{PREFIX}:services", "google-workspace", "keys with values below it"),
    ),
    # Names: unicode, newlines, shell and template characters, quotes.
    "an umlaut in a name": (service(name="müll"), wrong(f"{SERVICE}.name", "müll", NAME)),
    "a newline in a name": (service(name="a\nb"), wrong(f"{SERVICE}.name", "a\nb", NAME)),
    "a dollar in a name": (service(name="${HOME}"), wrong(f"{SERVICE}.name", "${HOME}", NAME)),
    "a quote in a name": (service(name="a'b"), wrong(f"{SERVICE}.name", "a'b", NAME)),
    "a name too long for a target group": (
        service(name="a" * 27),
        wrong(f"{SERVICE}.name", "a" * 27, LENGTH),
    ),
    "an environment that is no name": (
        lambda config: config.update(environment="Production!"),
        wrong(f"{PREFIX}:environment", "Production!", NAME),
    ),
    "a newline in a reference": (
        lambda config: config["estate"].update(cluster="a\nb"),
        wrong(f"{PREFIX}:estate.cluster", "a\nb", REFERENCE),
    ),
    "an empty reference": (
        lambda config: config["estate"].update(namespace=""),
        wrong(f"{PREFIX}:estate.namespace", "", REFERENCE),
    ),
    "a newline in a tag": (service(tags={"Team": "a\nb"}), wrong(f"{SERVICE}.tags.Team", "a\nb", TAG)),
    "a dollar in a tag": (service(tags={"Team": "${x}"}), wrong(f"{SERVICE}.tags.Team", "${x}", TAG)),
    # Keys of dictionaries.
    "a service key that is no name": (
        lambda config: config["services"].update({"Bad ${Name}": config["services"].pop("google-workspace")}),
        wrong(f'{PREFIX}:services["Bad ${{Name}}"]', "Bad ${Name}", NAME, "rename the key"),
    ),
    "a variable that is no name": (
        service(environment={"a b": "x"}),
        wrong(
            f'{SERVICE}.environment["a b"]',
            "a b",
            "a variable's name: printable characters of ASCII, without spaces and without =",
            "rename the key",
        ),
    ),
    "a tag that is set for you": (
        lambda config: config.update(tags={"Environment": "staging"}),
        wrong(
            f"{PREFIX}:tags.Environment",
            "Environment",
            "a tag other than aws:... and Environment, Service, ManagedBy, RetentionReason, BuiltTag, "
            "Name, which are set for you",
            "rename the key",
        ),
    ),
    "a tag that is set for you, in other capitals": (
        lambda config: config.update(tags={"environment": "staging"}),
        wrong(
            f"{PREFIX}:tags.environment",
            "environment",
            "a tag other than aws:... and Environment, Service, ManagedBy, RetentionReason, BuiltTag, Name, "
            "which are set for you",
            "rename the key",
        ),
    ),
    "tags that differ by capitals alone": (
        lambda config: (config.update(tags={"Team": "a"}), only(config).update(tags={"team": "b"})),
        at_odds(
            f"{PREFIX}:services",
            "google-workspace has the tags Team and team, which are the same to IAM; spell them alike",
        ),
    ),
    "more tags than AWS takes": (
        lambda config: config.update(tags={f"T{n}": "x" for n in range(46)}),
        at_odds(
            f"{PREFIX}:services",
            "google-workspace has 46 tags beside the 6 that are set for you; AWS takes 50 in all, so remove some",
        ),
    ),
    "a prefix that Parameter Store keeps for itself": (
        lambda config: config.update(namePrefix="aws-team"),
        wrong(
            f"{PREFIX}:namePrefix",
            "aws-team",
            f"{NAME}; not beginning with aws or ssm, which Parameter Store keeps for itself",
        ),
    ),
    "a host that is not in ASCII": (
        routing(host="mcp.пример.рф"),
        wrong(
            f"{SERVICE}.routing.host",
            "mcp.пример.рф",
            "a host name in its ASCII form, which is mcp.xn--e1afmkfd.xn--p1ai",
        ),
    ),
    # What must be there.
    "no estate": (lambda config: config.pop("estate"), unset(f"{PREFIX}:estate", "What exists already.")),
    "no VPC": (
        lambda config: config["estate"].pop("vpc"),
        unset(f"{PREFIX}:estate.vpc", "The VPC's id (vpc-...) or its Name tag."),
    ),
    "no name prefix": (
        lambda config: config.pop("namePrefix"),
        unset(f"{PREFIX}:namePrefix", "What physical names begin with, such as the company's name."),
    ),
    "a secret without a key": (
        lambda config: only(config)["secrets"]["GOOGLE_OAUTH_CLIENT_ID"].pop("key"),
        unset(
            f"{SERVICE}.secrets.GOOGLE_OAUTH_CLIENT_ID.key",
            "The JSON key within it. Required: without one the container would get the whole JSON object.",
        ),
    ),
    "routing without a priority": (
        lambda config: only(config)["routing"].pop("priority"),
        unset(
            f"{SERVICE}.routing.priority",
            "The first of the listener rule priorities that the service takes; "
            "further rules take the numbers that follow.",
        ),
    ),
    # What does not go together.
    "memory that Fargate does not pair": (
        service(memory=8192),
        at_odds(f"{SERVICE}.memory", "is 8192 MiB; with 512 CPU units Fargate has 1024, 2048, 3072, 4096"),
    ),
    "a default memory that does not pair": (
        lambda config: (only(config).pop("memory"), only(config).update(cpu=8192)),
        at_odds(
            f"{SERVICE}.memory",
            "is 1024 MiB; with 8192 CPU units Fargate has "
            "16384, 20480, 24576, 28672, 32768, 36864, 40960, 45056 ... 61440",
        ),
    ),
    "a retention without a reason": (
        service(logs={"retentionDays": 30}),
        at_odds(f"{SERVICE}.logs.retentionReason", "missing: say why retentionDays is 30 and not the usual 7"),
    ),
    "a health check that overlaps the next": (
        service(health={"timeout": 30}),
        at_odds(f"{SERVICE}.health.timeout", "is 30 s; it must be less than interval, 8 s"),
    ),
    "a grace period shorter than the start": (
        service(health={"gracePeriod": 30}),
        at_odds(f"{SERVICE}.health.gracePeriod", "is 30 s; it must be at least startPeriod, 60 s"),
    ),
    "a variable that is also a secret": (
        service(environment={"GOOGLE_OAUTH_CLIENT_ID": "x"}),
        at_odds(f"{SERVICE}.environment", "GOOGLE_OAUTH_CLIENT_ID is in secrets too; keep one"),
    ),
    "a service's key with a space": (
        lambda config: config["services"].update({" mail": config["services"].pop("google-workspace")}),
        wrong(
            f"{PREFIX}:services", " mail", "a key without space at its ends", "take the space away, in the stack's file"
        ),
    ),
    "rules behind the last priority": (
        routing(priority=49_990, strategy="pattern", patterns=["/*" * 6] * 20, path=None),
        at_odds(
            f"{SERVICE}.routing",
            "priority leads its 20 rules up to 50009, and a listener's end at 50000; take a lower one",
        ),
    ),
    "a variable for the path that the server has for something else": (
        routing(strategy="prefix", variable="PORT"),
        at_odds(f"{SERVICE}.routing", "variable is PORT, which follows from other settings; take another"),
    ),
    "a name that no cache takes": (
        service(name="3--mail", oauth={"clients": ["claude"], "state": "valkey"}, securityGroups=[]),
        at_odds(
            f"{SERVICE}.name",
            "is 3--mail; the cache that is made for it takes a letter first, and no two hyphens in a row",
        ),
    ),
    "a limit that is none": (
        service(alarms={"errorsPerMinute": 10**9}),
        wrong(f"{SERVICE}.alarms.errorsPerMinute", 10**9, "less than or equal to 1000000"),
    ),
    "consumers of a shared security group": (
        service(consumers=["core-agent-sg"]),
        at_odds(
            f"{SERVICE}.consumers",
            "needs a security group of the service's own: leave securityGroups empty, "
            "or open the existing group yourself",
        ),
    ),
    "templates for workspace-mcp": (
        service(variables={"BASE": "{url}"}),
        at_odds(f"{SERVICE}.variables", "is for server: other; workspace-mcp's are set for you"),
    ),
    "a public server that takes any redirect": (
        service(oauth={}),
        at_odds(
            f"{SERVICE}.oauth",
            "clients is empty: reached from outside, the server would register any redirect address; "
            "name your people's clients (./ops clients shows them)",
        ),
    ),
    "a public server without a login": (
        service(oauth={"enabled": False}),
        at_odds(
            f"{SERVICE}.oauth",
            "enabled is false, but routing reaches the service from outside: anyone could read people's mail; "
            "use routing.strategy: internal",
        ),
    ),
    "scaling with state in memory": (
        service(autoscaling={"maximum": 3}, oauth={"clientRedirectUris": ["http://localhost:*"], "state": "memory"}),
        at_odds(
            f"{SERVICE}.autoscaling",
            "is 3, but oauth.state is memory, which each task has for itself: logins fail between tasks; "
            "remove oauth.state to have a DynamoDB table made that they share, or set it to valkey",
        ),
    ),
    "a first number of tasks outside of the limits": (
        service(
            desiredCount=1,
            autoscaling={"minimum": 2, "maximum": 4},
            oauth={"clientRedirectUris": ["http://localhost:*"], "state": {"backend": "valkey", "host": "cache"}},
        ),
        at_odds(f"{SERVICE}.desiredCount", "is 1; with autoscaling it must be 2 to 4"),
    ),
    "tokens beside OAuth 2.1": (
        service(tokens={"bucket": "busyb-oauth-tokens"}),
        at_odds(
            f"{SERVICE}.tokens",
            "is for oauth.enabled: false; with OAuth 2.1 the server is stateless and keeps no credentials "
            "but in oauth.state; remove it",
        ),
    ),
    "credentials that go with the task": (
        service(**{**INTERNAL, "tokens": None}),
        at_odds(
            f"{SERVICE}.tokens",
            "is missing: without OAuth 2.1 the server keeps people's credentials, which would be gone with "
            "every task; name a bucket in tokens.bucket",
        ),
    ),
    "tokens for another server": (
        service(server="other", oauth={"enabled": False}, tokens={"bucket": "busyb-oauth-tokens"}),
        at_odds(f"{SERVICE}.tokens", "is for server: workspace-mcp; give another one permissions.bucket"),
    ),
    "a prefix that covers more than itself": (
        service(**{**INTERNAL, "tokens": {"bucket": "busyb-oauth-tokens-758888582357", "prefix": "tokens/*"}}),
        wrong(
            f"{SERVICE}.tokens.prefix",
            "tokens/*",
            "at most 200 letters, digits, _ - and . in parts between slashes; no part is empty or starts with a dot",
        ),
    ),
    "two tasks without OAuth 2.1": (
        service(**INTERNAL, desiredCount=2),
        at_odds(
            f"{SERVICE}.desiredCount",
            "is 2, but without OAuth 2.1 sessions and sign-ins under way are in each task's memory; run one task",
        ),
    ),
    "a signing key in clear": (
        service(environment={"FASTMCP_SERVER_AUTH_GOOGLE_JWT_SIGNING_KEY": "x"}),
        at_odds(
            f"{SERVICE}.environment",
            "FASTMCP_SERVER_AUTH_GOOGLE_JWT_SIGNING_KEY: it is secret, and this would be in clear; "
            "put it under secrets",
        ),
    ),
    "a bucket that no service uses": (
        lambda config: config["buckets"].update({"somebody-elses": {}}),
        at_odds(
            f"{PREFIX}:buckets",
            "somebody-elses is used by no service (tokens.bucket, permissions.bucket), and other buckets "
            "are left alone; correct the name, or remove it",
        ),
    ),
    "tokens for tasks alone in a bucket without tokens": (
        lambda config: config["buckets"]["busyb-oauth-tokens-758888582357"].update({"tasksOnly": True}),
        at_odds(
            f"{PREFIX}:buckets",
            "busyb-oauth-tokens-758888582357.tasksOnly is true, but no service has it as tokens.bucket; "
            "remove tasksOnly",
        ),
    ),
    "two tasks with state in memory": (
        service(
            desiredCount=2,
            oauth={"clientRedirectUris": ["http://localhost:*"], "state": {"backend": "memory"}},
        ),
        at_odds(
            f"{SERVICE}.desiredCount",
            "is 2, but oauth.state is memory, which each task has for itself: logins fail between tasks; "
            "remove oauth.state to have a DynamoDB table made that they share, or set it to valkey",
        ),
    ),
    "a public service without a load balancer": (
        lambda config: config["estate"].pop("loadBalancer"),
        at_odds(
            f"{PREFIX}:estate",
            "loadBalancer is missing: services.google-workspace.routing reaches the service from outside; "
            "name one, or set routing.strategy: internal",
        ),
    ),
}


@pytest.mark.parametrize("what", ONE_VALUE)
def test_a_mistake_is_told_with_its_key_its_value_what_is_allowed_and_what_to_do(
    config: dict[str, Any], what: str
) -> None:
    change, expected = ONE_VALUE[what]
    change(config)
    assert mistakes(config) == [expected]


def test_the_name_that_a_key_makes_is_held_to_the_same_length(config: dict[str, Any]) -> None:
    config["services"]["a" * 30] = config["services"].pop("google-workspace")
    key = f"{PREFIX}:services.{'a' * 30}.name"
    assert mistakes(config) == [wrong(key, f"busyb-{'a' * 30}-mcp", LENGTH)]


@pytest.mark.parametrize(
    ("secrets", "missing"),
    [
        # MCP_GOOGLE_*: the names that were once believed to be right.
        (["MCP_GOOGLE_OAUTH_CLIENT_ID", "MCP_GOOGLE_OAUTH_CLIENT_SECRET"], ["CLIENT_ID", "CLIENT_SECRET"]),
        (["GOOGLE_OAUTH_CLIENT_ID"], ["CLIENT_SECRET"]),
        ([], ["CLIENT_ID", "CLIENT_SECRET"]),
    ],
)
def test_credentials_under_another_name_are_named(
    config: dict[str, Any], secrets: list[str], missing: list[str]
) -> None:
    only(config)["secrets"] = {name: {"secret": "busyb/x", "key": "K"} for name in secrets}
    assert mistakes(config) == [
        at_odds(
            f"{SERVICE}.secrets",
            f"GOOGLE_OAUTH_{name} is missing: workspace-mcp exits at once without it "
            f"(MCP_GOOGLE_OAUTH_{name} is not read)",
        )
        for name in missing
    ]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("MCP_ENABLE_OAUTH21", "1", "it follows from other settings"),
        ("WORKSPACE_EXTERNAL_URL", "http://api.busyb.ai", "it follows from other settings"),
        ("PORT", "8080", "it follows from other settings"),
        ("WORKSPACE_MCP_PORT", "8080", "the server listens on `port`"),
        ("WORKSPACE_MCP_TRANSPORT", "stdio", "it follows from other settings"),
        (
            "WORKSPACE_MCP_BASE_URI",
            "https://api.busyb.ai:8000",
            "the server appends its port to it; the address follows from routing",
        ),
        ("WORKSPACE_MCP_ALLOWED_HOSTS", "api.busyb.ai", "with it the server refuses the load balancer's health checks"),
        (
            "GOOGLE_OAUTH_REDIRECT_URI",
            "https://api.busyb.ai/x/oauth2callback",
            "it follows from routing, and a path in it would be doubled",
        ),
        ("OAUTH_ALLOWED_ORIGINS", "https://x", "it follows from oauth.clients and oauth.allowedOrigins"),
        ("MCP_PATH_PREFIX", "/x", "the path follows from routing; strategy: prefix sets it"),
        ("WORKSPACE_MCP_OAUTH_PROXY_VALKEY_HOST", "cache", "it follows from oauth.state"),
    ],
)
def test_a_variable_that_would_contradict_the_settings_is_refused(
    config: dict[str, Any], name: str, value: str, why: str
) -> None:
    only(config)["environment"] = {name: value}
    assert mistakes(config) == [at_odds(f"{SERVICE}.environment", f"{name}: {why}; remove it")]


def test_a_variable_that_would_contradict_the_settings_is_refused_as_a_secret_too(config: dict[str, Any]) -> None:
    only(config)["secrets"]["WORKSPACE_EXTERNAL_URL"] = {"secret": "s", "key": "K"}
    assert mistakes(config) == [
        at_odds(f"{SERVICE}.secrets", "WORKSPACE_EXTERNAL_URL: it follows from other settings; remove it")
    ]


UNKNOWN_KEYS = [
    ([], "enviroment", "environment"),
    ([], "service", "services"),
    (["estate"], "taskSubnet", "taskSubnets"),
    (["services", "google-workspace"], "desiredCuont", "desiredCount"),
    # Python's spelling is no second spelling.
    (["services", "google-workspace"], "desired_count", "desiredCount"),
    (["services", "google-workspace", "image"], "dockerFile", "dockerfile"),
    (["services", "google-workspace", "oauth"], "clientRedirectURIs", "clientRedirectUris"),
    (["services", "google-workspace", "oauth", "state"], "backnd", "backend"),
    (["services", "google-workspace", "permissions"], "buckets", "bucket"),
    (["services", "google-workspace", "health"], "intervall", "interval"),
    (["services", "google-workspace", "logs"], "retention", "retentionDays"),
    (["services", "google-workspace", "discovery"], "tll", "ttl"),
    (["services", "google-workspace", "routing"], "prority", "priority"),
    (["services", "google-workspace", "secrets", "GOOGLE_OAUTH_CLIENT_ID"], "secert", "secret"),
]


@pytest.mark.parametrize(("path", "typo", "meant"), UNKNOWN_KEYS)
def test_an_unknown_key_is_a_mistake_with_a_suggestion(
    config: dict[str, Any], path: list[str], typo: str, meant: str
) -> None:
    only(config)["oauth"]["state"] = {"backend": "memory"}
    place = config
    for part in path:
        place = place.setdefault(part, {})
    place[typo] = "x"
    (text,) = mistakes(config)
    key = f"{PREFIX}:{'.'.join([*path, typo])}"
    assert text.startswith(f'  {key}\n      is       "x"\n      allowed  one of ')
    assert meant in text.splitlines()[2].removeprefix("      allowed  one of ").split(", ")
    assert text.endswith(f"\n      do       rename it to {meant}: nothing reads this key")


def test_an_unknown_key_that_resembles_none_is_to_be_removed(config: dict[str, Any]) -> None:
    only(config)["quux"] = None
    assert mistakes(config)[0].endswith("do       remove it: nothing reads this key")


def test_the_key_is_no_setting(config: dict[str, Any]) -> None:
    only(config)["ky"] = "x"
    assert ", key" not in mistakes(config)[0]


def test_all_mistakes_are_told_at_once(config: dict[str, Any]) -> None:
    config["nonsense"] = "1"
    config["estate"].pop("vpc")
    only(config).update(cpu=300, desiredCuont=2, port=80, logs={"retentionDays": 30})
    only(config)["routing"]["priority"] = "first"
    keys = [text.splitlines()[0].strip().removeprefix(f"{PREFIX}:") for text in mistakes(config)]
    assert sorted(keys) == [
        "estate.vpc",
        "nonsense",
        "services.google-workspace.cpu",
        "services.google-workspace.desiredCuont",
        "services.google-workspace.logs.retentionReason",
        "services.google-workspace.port",
        "services.google-workspace.routing.priority",
    ]


def test_a_disagreement_is_told_together_with_a_mistake_elsewhere(config: dict[str, Any]) -> None:
    only(config).update(desiredCount=2, port=80)
    only(config)["oauth"]["state"] = "memory"
    assert [text.splitlines()[0] for text in mistakes(config)] == [f"  {SERVICE}.port", f"  {SERVICE}.desiredCount"]


def test_a_long_value_is_cut(config: dict[str, Any]) -> None:
    only(config)["name"] = "x" * 10_000
    assert max(map(len, mistakes(config)[0].splitlines())) < 200


def test_two_services_that_overlap_are_told_what_they_share(config: dict[str, Any]) -> None:
    config["services"]["copy"] = copy.deepcopy(only(config))
    host = "api.busyb.ai"
    assert mistakes(config) == [
        at_odds(
            f"{PREFIX}:services",
            "google-workspace and copy both have "
            "the listener priority 50, the listener priority 51, the listener priority 52, "
            f"requests to {host}/google-workspace, requests to {host}/google-workspace/*, "
            f"requests to {host}/.well-known/oauth-authorization-server/google-workspace, "
            f"requests to {host}/.well-known/oauth-authorization-server/google-workspace/*, "
            f"requests to {host}/.well-known/openid-configuration/google-workspace, "
            f"requests to {host}/.well-known/openid-configuration/google-workspace/*, "
            f"requests to {host}/.well-known/oauth-protected-resource/google-workspace, "
            f"requests to {host}/.well-known/oauth-protected-resource/google-workspace/*; change one of them",
        )
    ]


@pytest.mark.parametrize(
    ("changes", "shared"),
    [
        ({"name": "busyb-google-workspace-mcp"}, "the name busyb-google-workspace-mcp"),
        ({"discovery": {"name": "google-workspace"}}, "the discovery name google-workspace"),
        (
            {"routing": {"host": "api.busyb.ai", "path": "/second", "priority": 52}},
            "the listener priority 52",
        ),
        (
            {"routing": {"host": "api.busyb.ai", "path": "/google-workspace/admin", "priority": 60}},
            "requests to api.busyb.ai/google-workspace/*",
        ),
        (
            {"routing": {"host": "API.busyb.ai", "priority": 60}},
            "requests to api.busyb.ai/google-workspace",
        ),
        (
            {"routing": {"strategy": "pattern", "host": "api.busyb.ai", "patterns": ["/google*"], "priority": 60}},
            "requests to api.busyb.ai/google-workspace",
        ),
    ],
)
def test_services_of_one_stack_cannot_overlap(config: dict[str, Any], changes: dict[str, Any], shared: str) -> None:
    second = {**copy.deepcopy(only(config)), **(INTERNAL if "routing" not in changes else {}), **changes}
    config["services"]["second"] = second
    (text,) = mistakes(config)
    assert text.startswith(f"  {PREFIX}:services\n      google-workspace and second both have {shared}")


def test_services_side_by_side_are_no_mistake(config: dict[str, Any]) -> None:
    for number, path in enumerate(("/google-workspace-2", "/google", "/google-workspaces")):
        config["services"][f"s{number}"] = {
            **copy.deepcopy(only({"services": {"x": config["services"]["google-workspace"]}})),
            "routing": {"host": "api.busyb.ai", "path": path, "priority": 100 + 10 * number},
        }
    assert len(parsed(config).services) == 4


def test_configuration_of_others_is_not_ours_to_judge(config: dict[str, Any]) -> None:
    texts = {f"{PREFIX}:{k}": v if isinstance(v, str) else json.dumps(v) for k, v in config.items()}
    assert parse({**texts, "aws:region": "us-east-1", "other:enviroment": "{"}) == parsed(config)


@pytest.mark.parametrize("text", ["{", '{"a": }', "[1, 2", '{"a": 1} x', "[" * 100_000])
def test_rubbish_for_json_is_told_by_its_key(text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse({f"{PREFIX}:services": text, f"{PREFIX}:estate": "["})
    first, second = refused.value.mistakes
    assert first.startswith(f"  {PREFIX}:services\n      is       ")
    assert "\n      allowed  JSON (" in first
    assert first.endswith(f"do       pulumi config set --path '{PREFIX}:services.<name>' <value>")
    assert second.startswith(f"  {PREFIX}:estate\n")


@pytest.mark.parametrize(
    "text", [" ", "\n", "-----BEGIN KEY-----\nx\n-----END KEY-----\n", "\ta, ", "a\r\n", "é \u2028"]
)
@pytest.mark.parametrize("server", ["workspace-mcp", "other"])
def test_the_text_of_a_variable_reaches_the_container_as_it_is_written(
    deploy: Deploy, config: dict[str, Any], text: str, server: str
) -> None:
    only(config)["environment"] = {"PAYLOAD": text}
    if server == "other":
        only(config).update(server="other", oauth={}, variables={"TEMPLATE": f"{text}{{port}}{text}"})
    (definition,) = deploy(config).of("aws:ecs/taskDefinition:TaskDefinition").values()
    (container,) = json.loads(definition["containerDefinitions"])
    variables = {variable["name"]: variable["value"] for variable in container["environment"]}
    assert variables["PAYLOAD"] == text
    assert variables.get("TEMPLATE") == (f"{text}8000{text}" if server == "other" else None)


def test_a_build_argument_reaches_the_build_as_it_is_written(config: dict[str, Any]) -> None:
    only(config)["image"] = {"args": {"A": " x \n"}}
    assert parsed(config).services["google-workspace"].image.args == {"A": " x \n"}


def test_an_exception_ends_on_its_day_however_yaml_takes_it(config: dict[str, Any]) -> None:
    entry = {"rule": "r", "resource": "*", "reason": "until it is mended", "owner": "team"}
    for written in ("2027-01-31", "2027-01-31 00:00:00 +0000 UTC"):
        config["policyExceptions"] = [{**entry, "expires": written}]
        assert [str(e.expires) for e in parsed(config).policy_exceptions] == ["2027-01-31"]


def test_numbers_may_be_written_as_text(config: dict[str, Any]) -> None:
    only(config).update(cpu="1024", memory="2048")
    assert parsed(config).services["google-workspace"].memory == 2048


def test_nothing_at_all_is_told_as_missing() -> None:
    assert [text.splitlines()[0] for text in mistakes({})] == [
        f"  {PREFIX}:{name}" for name in ("environment", "namePrefix", "estate", "services")
    ]


def test_a_mistake_stops_the_program_before_it_asks_or_registers_anything(
    deploy: Deploy, config: dict[str, Any]
) -> None:
    config["enviroment"] = "x"
    recorded = deploy(config, fails=True)
    assert isinstance(recorded.error, SettingsError)
    assert (recorded.calls, recorded.resources) == ([], [])


def test_the_production_stack_is_valid(config: dict[str, Any]) -> None:
    service = parsed(config).services["google-workspace"]
    assert (service.name, service.url) == ("busyb-google-workspace-mcp", "https://api.busyb.ai/google-workspace")


# Bad input of any kind is a SettingsError: never a traceback.
