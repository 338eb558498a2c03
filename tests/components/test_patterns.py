"""The patterns of the settings against what the services themselves take: their APIs' own models where these say it,
their documentation elsewhere."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pytest
from botocore import session
from pydantic import TypeAdapter, ValidationError

from components.listener_rules import host_regex
from components.settings import PrefixRouting, RewriteRouting
from components.settings import patterns as p
from tests.components.program import Account, Deploy, only


def takes(pattern: Any, text: str) -> bool:
    try:
        TypeAdapter(pattern).validate_python(text)
    except ValidationError:
        return False
    return True


DIGEST = "sha256:" + "a" * 64
ACCEPTED: dict[str, list[str]] = {
    "Name": ["a", "3scale", "busyb", "eu-west-1", "a--b", "2", "x" * 40],
    "NamePrefix": ["busyb", "my-aws", "a-ssm", "3scale"],
    "ServiceName": ["a", "x" * 26, "sgx-mail"],
    "DiscoveryName": ["mail", "mail.mcp", "a" * 63, "1"],
    "VariableName": ["A", "_x", "my.setting", "MY-FLAG", "1ST", "a:b", "A[0]"],
    "Host": [
        "api.example.com", "API.Example.COM", "a.b.c.d.example", "xn--e1afmkfd.xn--p1ai", "mcp.xn--e1afmkfd.xn--p1ai",
        "1.example.com", "a--b.example", "example.co", f"{'a' * 63}.example", "x.y",
    ],
    "PathPrefix": ["/a", "a", "/a/b/", "/v1.0", "/~me", "/A_b-c", "/" + "a" * 86],
    "Tag": ["", "a", "Straße 5", "a b+c=d:e/f@g_h-i.j", "日本", "½", "x" * 256, "a\u00a0b"],
    "TagKey": ["a", "Cost Center", "x" * 128, "kubernetes.io/name", "Owner:Team"],
    "Reference": ["busyb-cluster", "vpc-0111b7630bcb61b61", "10.0.10.0/24", "arn:aws:iam::1:role/x", "VPC (old)", "ü"],
    "BucketName": ["abc", "my.bucket", "1bucket", "a" * 63, "busyb-oauth-tokens-758888582357", "a-.b"],
    "VariableValue": [" ", "\n", "x", "-----BEGIN-----\n", "${x}", "é"],
    "ImageByDigest": [
        f"public.ecr.aws/aws-observability/aws-otel-collector@{DIGEST}",
        f"758888582357.dkr.ecr.us-east-1.amazonaws.com/a/b_c__d-e@{DIGEST}", f"localhost:5000/x@{DIGEST}",
        f"alpine@{DIGEST}", f"Registry.example/x@{DIGEST}",
    ],
    "OwnOrOtherImage": [DIGEST, f"alpine@{DIGEST}"],
    "PathPattern": ["/mcp*", "*/admin", "?x", "/a?b&c", "/$-_.~\"'@:+", "/" + "a" * 127, "*", "/*a*b*c?d?e?f"],
    "TopicName": ["alerts", "A_b-1", "x" * 256],
    "DashboardName": ["GoogleWorkspaceMCP", "a_b-c", "x" * 255],
    "SecretJsonKey": ["KEY", "client id", "a.b", "käse", "x/y", "a[0]"],
    "SecretNames": ["busyb/*", "a", "busyb/google@x=y+z.w-v_u", "x" * 512],
    "KmsKeyArn": [
        "arn:aws:kms:us-east-1:758888582357:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws:kms:us-east-1:758888582357:key/mrk-1234abcd12ab34cd56ef1234567890ab",
        "arn:aws-us-gov:kms:us-gov-west-1:758888582357:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    ],
    "SlackWorkspace": ["T0123ABCD", "E0123ABCD"],
    "SlackChannel": ["C0123ABCD", "G0123ABCD", "D0123ABCD"],
    "Repository": ["busyb/mcp", "busyb@12/mcp@34", "a_short/mcp.py", "A-b/_x"],
    "Branch": ["main", "release/1.2", "feat+x", "fix#12", "v2=final", "a@b", "_x"],
    "GithubEnvironment": ["production", "Production_EU", "eu.prod-1"],
    "HealthPath": ["/", "/health", "/v1/health.json", "/a%20b", "/x:y@z+1,2=3", "/" + "a" * 1023],
}  # fmt: skip
"""Pattern -> legal forms."""

REFUSED: dict[str, list[str]] = {
    "Name": ["", "-a", "a-", "A", "a_b", "a.b", "a b", "x" * 41, "a\n", "é"],
    "NamePrefix": ["aws", "aws-team", "ssm", "ssmx", ""],
    "ServiceName": ["x" * 27, "sg-mail", "A"],
    "DiscoveryName": ["", ".", "a.", ".a", "a..b", "A", "a_b", "a" * 64, "a." * 63 + "ab"],
    "VariableName": ["", "a b", "A=B", "a\x00", "é", "a\n"],
    "Host": [
        "", "localhost", "https://a.example", "a.example:443", "a.example/x", "-a.example", "a-.example", "a_b.example",
        "*.example.com", "a..example", "a.example.", "10.0.0.1", f"{'a' * 64}.example", "mcp.пример.рф",
        ".".join(["a" * 43] * 3), ".".join(["a" * 40, "b" * 40, "c" * 38, "xn--p1ai"]),
    ],
    "PathPrefix": ["/", "", "/a b", "/a*", "/a/../b", "/.well-known/x", "/a//b", "/" + "a" * 87, "/a?b", "/ä", "/a&b"],
    "Tag": ["x" * 257, "a\nb", "a\x00", "${x}", "a;b", "a,b", "a\u2028b"],
    "TagKey": ["", "x" * 129, "aws:x", "AWS:x", "name", "Name", "SERVICE", "a\tb"],
    "Reference": ["", "a\nb", "a*", "a?", "\x7f"],
    "BucketName": [
        "ab", "a" * 64, "A-bucket", "a_bucket", "-abc", "abc-", "a..b", "192.168.5.4", "xn--abc", "sthree-x",
        "amzn-s3-demo-x", "x-s3alias", "x--ol-s3", "x.mrap", "x--use1-az4--x-s3", "x--table-s3", "s3://abc", "abc/x",
    ],
    "VariableValue": ["", "a\x00b"],
    "ImageByDigest": [
        "alpine", "alpine:3", f"alpine:3@{DIGEST}", f"Alpine@{DIGEST}", f"a//b@{DIGEST}", f"a@{DIGEST}0", DIGEST,
        f"-a@{DIGEST}", f"a/b-@{DIGEST}", "alpine@sha512:" + "a" * 128,
    ],
    "OwnOrOtherImage": ["repo:latest", f"@{DIGEST}", DIGEST[:-1]],
    "PathPattern": ["", "mcp", "/a b", "/a#b", "/" + "a" * 128, "/ä", "/a(b)", "/a\n", "/*a*b*c?d?e?f?"],
    "TopicName": ["", "a.fifo", "a b", "x" * 257],
    "DashboardName": ["", "a b", "a.b", "x" * 256],
    "SecretJsonKey": ["", "a:b", "a\nb"],
    "SecretNames": ["", "*", "a*b", "a b", "x" * 513, "a?"],
    "KmsKeyArn": ["alias/x", "arn:aws:kms:us-east-1:758888582357:alias/x", "1234abcd-12ab-34cd-56ef-1234567890ab"],
    "SlackWorkspace": ["busyb", "", "T 1"],
    "SlackChannel": ["#alerts", "", "C-1"],
    "Repository": ["busyb", "busyb/", "a/b/c", "a b/c", "*/c"],
    "Branch": ["", "*", "a*", "a b", "a..b", "a~1", "a^", "a:b", "x.lock", "a/", "a.", "-a", "a@{1}", "${x}", "a//b"],
    "GithubEnvironment": ["", "a b", "a:b", "*", "-a", "x" * 256],
    "HealthPath": ["", "health", "/a b", "/a?b", "/a&b", "/a;b", "/$(x)", "/a`b`", "/" + "a" * 1024, "/a|b", "/a'b"],
}  # fmt: skip
"""Pattern -> what the service, or what stands in its pattern's words, refuses."""


def test_every_pattern_has_its_examples() -> None:
    made = {name for name, value in vars(p).items() if hasattr(value, "__metadata__") and not name.startswith("_")}
    assert ACCEPTED.keys() == REFUSED.keys()
    beside = {
        "Port",
        "Payload",
        "VariableTemplate",
        "RelativePath",
    }  # A number, and what is tested by itself.
    assert made - beside == ACCEPTED.keys()


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in ACCEPTED for text in ACCEPTED[name]])
def test_legal_forms_are_taken(name: str, text: str) -> None:
    assert takes(getattr(p, name), text)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in REFUSED for text in REFUSED[name]])
def test_what_a_service_would_refuse_is_refused(name: str, text: str) -> None:
    assert not takes(getattr(p, name), text)


def of_the_api(service: str, shape: str, text: str) -> bool:
    """Whether the service's own model takes a text."""
    metadata = session.get_session().get_service_model(service).shape_for(shape).metadata
    pattern = metadata.get("pattern", "(?s).*").replace(r"\p{L}", r"\w").replace(r"\p{N}", "").replace(r"\p{Z}", " ")
    return bool(re.fullmatch(pattern, text)) and metadata.get("min", 0) <= len(text) <= metadata.get("max", 10**6)


@pytest.mark.parametrize("name", [name for name in ACCEPTED["ServiceName"] + ACCEPTED["Name"] if len(name) <= 26])
def test_a_services_name_is_one_for_each_service_that_gets_it(name: str) -> None:
    assert of_the_api("ecr", "RepositoryName", name) or len(name) == 1, "ECR wants two; the default has more"
    assert of_the_api("iam", "roleNameType", f"{name}-execution-role")
    assert of_the_api("logs", "LogGroupName", f"/ecs/{name}")
    assert of_the_api("events", "RuleName", f"{name}-deployment-completed")
    assert of_the_api("cloudwatch", "AlarmName", f"{name}-no-healthy-target")
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html
    assert re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,32}(?<!-)", f"{name}-65535")


@pytest.mark.parametrize(
    ("pattern", "service", "shape"),
    [
        ("DiscoveryName", "servicediscovery", "ServiceName"),
        ("SlackWorkspace", "chatbot", "SlackTeamId"),
        ("SlackChannel", "chatbot", "SlackChannelId"),
        ("HealthPath", "elbv2", "Path"),
        ("SecretNames", "secretsmanager", "NameType"),
        ("Tag", "iam", "tagValueType"),
        ("TagKey", "iam", "tagKeyType"),
        ("Tag", "ecs", "TagValue"),
        ("TagKey", "ecs", "TagKey"),
    ],
)
def test_what_is_taken_the_services_model_takes(pattern: str, service: str, shape: str) -> None:
    for text in ACCEPTED[pattern]:
        assert of_the_api(service, shape, text.replace("\u00a0", " ").replace("½", "1")), text


def test_tags_take_every_character_that_aws_takes_but_separators_of_lines() -> None:
    for number in range(0x10000):
        character = chr(number)
        category = unicodedata.category(character)
        expected = category[0] in "LN" or category == "Zs" or character in "_.:/=+-@"
        assert takes(p.Tag, f"a{character}b") == expected, f"U+{number:04X} {category}"


def test_the_longest_path_still_fits_into_every_rule() -> None:
    routing: dict[str, Any] = {"host": "api.example.com", "path": "/" + "a" * 86, "priority": 1}
    for model, strategy in ((RewriteRouting, "rewrite"), (PrefixRouting, "prefix")):
        for rule in model.model_validate({**routing, "strategy": strategy}).rules:
            assert all(len(path) <= 128 for path in rule.paths)
            assert rule.rewrite is None or max(map(len, rule.rewrite)) <= 1024


def test_a_host_whose_last_label_is_not_of_letters_is_known_by_an_expression(
    deploy: Deploy, config: dict[str, Any], estate: Account
) -> None:
    host = "mcp.xn--e1afmkfd.xn--p1ai"
    only(config)["routing"]["host"] = host
    estate.certificates = {"arn:aws:acm:us-east-1:1:certificate/1": ["*.xn--e1afmkfd.xn--p1ai"]}
    regex = host_regex(host)
    assert regex
    for rule in deploy(config).of("aws:lb/listenerRule:ListenerRule").values():
        (condition,) = [c["hostHeader"] for c in rule["conditions"] if "hostHeader" in c]
        assert condition == {"regexValues": [regex]}
    assert re.search(regex, host)
    assert not re.search(regex, f"x{host}")
    assert not re.search(regex, host.replace("mcp.", "mcpx"))
    assert host_regex("api.example.com") is None
