"""The texts that configuration takes: names, hosts, paths, tags and references, each with the words for a mistake."""

from __future__ import annotations

import contextlib
import re
import string
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from components.listener_rules import host_regex


def like(pattern: str, words: str) -> AfterValidator:
    """A text that matches `pattern` as a whole; `words` say what that means."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(words)
        return value

    return AfterValidator(check)


NAME_PATTERN = r"(?=.{1,40}$)[a-z0-9]+(-+[a-z0-9]+)*"
_NAME_WORDS = "1 to 40 lower-case letters, digits and hyphens between them"

Name = Annotated[str, like(NAME_PATTERN, _NAME_WORDS)]
"""A part of physical names: what ECR, ELB, ECS, IAM, CloudWatch, EventBridge and DNS all accept.

ECR has no capitals (RepositoryName in its API), target groups have neither dots nor underscores (CreateTargetGroup).
"""

NamePrefix = Annotated[
    str,
    like(
        rf"(?!aws|ssm){NAME_PATTERN}",
        f"{_NAME_WORDS}; not beginning with aws or ssm, which Parameter Store keeps for itself",
    ),
]
"""What physical names and the paths of parameters begin with.

https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html: no aws and no ssm in front.
"""

ServiceName = Annotated[
    Name, like(r"(?!sg-).{1,26}", "at most 26 characters, and not beginning with sg-, as ids of security groups do")
]
"""The base of a service's names. A target group's name has 32 characters, and carries a port behind it.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html: no sg- in front.
"""

DiscoveryName = Annotated[
    str,
    like(
        r"(?=.{1,127}$)(?!.*[^.]{64})[a-z0-9]+(-+[a-z0-9]+)*(\.[a-z0-9]+(-+[a-z0-9]+)*)*",
        "a name like mail or mail.mcp: lower-case letters, digits and hyphens between dots",
    ),
]
"""A name within a private DNS namespace, which becomes part of a host name.

Cloud Map takes underscores and capitals too (ServiceName in its API), which many HTTP clients do not.
"""

Port = Annotated[int, Field(ge=1024, le=65535)]
"""A TCP port that a process without privileges can listen on."""

VariableName = Annotated[
    str, like(r"[!-<>-~]+", "a variable's name: printable characters of ASCII, without spaces and without =")
]
"""An environment variable's name.

ECS sets no limit (KeyValuePair in its API), and a container's engine none but = and NUL. Whether the server can read
SPRING.PROFILES or my-flag is its affair.
"""


def _host(value: str) -> str:
    if not value.isascii():
        with contextlib.suppress(UnicodeError):
            raise ValueError(f"a host name in its ASCII form, which is {value.encode('idna').decode()}")
    label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    if not re.fullmatch(rf"({label}\.)+(?![0-9]+$){label}", value) or len(host_regex(value) or value) > 128:
        raise ValueError(
            "a host name like api.example.com, of at most 128 characters: no https:// before it, "
            "no port or path behind it"
        )
    return value


Host = Annotated[str, StringConstraints(to_lower=True), AfterValidator(_host)]
"""A fully qualified host name, without scheme or port.

DNS: labels of letters, digits and hyphens, up to 63 (RFC 1123 section 2.1); the last is no number. A listener rule has
128 characters for it (HostHeaderConditionConfig in ELB's API).
"""


def _path_prefix(value: str) -> str:
    value = "/" + value.strip("/")
    if not re.fullmatch(r"(?=.{1,87}$)(/[A-Za-z0-9._~-]+)+", value) or "/." in value:
        raise ValueError(
            "a path like /google-workspace: at most 87 letters, digits, . _ ~ and - between slashes, "
            "none starting with a dot"
        )
    if value.startswith("/.well-known"):
        raise ValueError("a path outside /.well-known, which belongs to the whole domain")
    return value


PathPrefix = Annotated[str, AfterValidator(_path_prefix)]
"""A path with a leading and no trailing slash.

A listener rule takes 128 characters of A-Z a-z 0-9 _ - . $ / ~ " ' @ : + and &, the wildcards * and ?, and of these the
well-known paths of RFC 9728 take 41. All but the unreserved characters of RFC 3986 are left out: they would have to be
escaped differently in path patterns, rewrite expressions and URLs.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html
"""

_TAG_CHARACTERS = r"(?:[\w.:/=+@-]|[^\S\x00-\x1f\x7f-\x9f\u2028\u2029])"
_TAG_WORDS = "letters, digits, spaces and . : / = + - _ @"

Tag = Annotated[str, like(rf"{_TAG_CHARACTERS}{{0,256}}", f"at most 256 {_TAG_WORDS}")]
"""A tag's value: what every AWS service accepts. It may be empty.

https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html#id_tags_naming_best_practices;
in the services' API: `[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*`, of which the separators of lines are left out.
"""

OWN_TAGS = ("Environment", "Service", "ManagedBy", "RetentionReason", "BuiltTag", "Name")
"""Keys of tags that the program sets itself."""


def _tag_key(key: str) -> str:
    if key.lower() in map(str.lower, OWN_TAGS) or key.lower().startswith("aws:"):
        raise ValueError(f"a tag other than aws:... and {', '.join(OWN_TAGS)}, which are set for you")
    return key


TagKey = Annotated[str, like(rf"{_TAG_CHARACTERS}{{1,128}}", f"1 to 128 {_TAG_WORDS}"), AfterValidator(_tag_key)]
"""A tag's key. To IAM, keys that differ by capitals alone are the same, and refused.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html
"""

Reference = Annotated[
    str, like(r"[^\x00-\x1f\x7f*?]+", "a name, id or ARN as AWS shows it: one line, not empty, no * and no ?")
]
"""The name, id or ARN of something that exists; AWS judges it when it is looked up. EC2's filters by Name tag take *
and ? for wildcards, so neither can be meant."""


def _bucket_name(value: str) -> str:
    reserved = value.startswith(("xn--", "sthree-", "amzn-s3-demo-")) or value.endswith(
        ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
    )
    if (
        not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value)
        or ".." in value
        or re.fullmatch(r"\d+\.\d+\.\d+\.\d+", value)
        or reserved
    ):
        raise ValueError("a bucket's name, without s3:// and without a path")
    return value


BucketName = Annotated[str, AfterValidator(_bucket_name)]
"""An S3 bucket's name.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; the capitals and underscores of buckets
from before 2018 are left out, since no address with TLS leads to them.
"""


def _no_time(value: str) -> str:
    if re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC", value):
        # How the engine hands on a date that stands without quotation marks.
        raise ValueError('text; a date in quotation marks, such as "2027-01-31", or YAML takes it for a time')
    return value


Payload = Annotated[str, StringConstraints(strip_whitespace=False), AfterValidator(_no_time)]
"""Text that is handed on as it is written, with the spaces and lines at its ends."""

VariableValue = Annotated[
    Payload,
    like(r"(?s)[^\x00]+", "text that is not empty: ECS drops empty variables, and would see a change each time"),
]
"""An environment variable's value."""


def _template(text: str) -> str:
    try:
        fields = [part[1:] for part in string.Formatter().parse(text) if part[1] is not None]
    except ValueError:
        fields = [("", "", "")]
    if any(field not in {(fact, "", None) for fact in DEPLOYMENT_FACTS} for field in fields):
        facts = ", ".join(f"{{{fact}}}" for fact in DEPLOYMENT_FACTS)
        raise ValueError(f"text with {facts} in it; a brace that is meant as such is doubled")
    return text


DEPLOYMENT_FACTS = ("url", "origin", "host", "path", "port")
"""What the template of a variable may name, in braces."""

VariableTemplate = Annotated[VariableValue, AfterValidator(_template)]


def _relative_path(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError("a path within the context, such as Dockerfile or docker/Dockerfile")
    return str(path)


RelativePath = Annotated[str, AfterValidator(_relative_path)]
"""A path within a directory."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DIGEST = r"sha256:[0-9a-f]{64}"
_IMAGE = rf"(?:[A-Za-z0-9.-]+(?::\d+)?/)?{_COMPONENT}(?:/{_COMPONENT})*@{_DIGEST}"

ImageByDigest = Annotated[
    str,
    like(_IMAGE, "registry/name@sha256: and 64 hexadecimal digits; a tag could be pushed again with other content"),
]
"""A finished image in some registry, without a tag beside its digest.

https://github.com/distribution/reference/blob/main/reference.go: the grammar that container engines share.
"""

OwnOrOtherImage = Annotated[
    str,
    like(
        rf"{_DIGEST}|{_IMAGE}",
        "sha256: and 64 hexadecimal digits, with registry/name@ before it if not in the own repository",
    ),
]
"""An image by digest, in the service's own repository where no other is named."""

PathPattern = Annotated[
    str,
    like(
        r"[/*?][A-Za-z0-9_\-.$/~\"'@:+*?&]{0,127}",
        "a path pattern like /mcp/name*: at most 128 letters, digits and _ - . $ / ~ \" ' @ : + & * ?, "
        "the first of them /, * or ?",
    ),
    like(r"([^*?]*[*?]){0,6}[^*?]*", "a path pattern with at most six * and ?, which is all that a rule takes"),
]
"""A path pattern of a listener rule: `*` stands for any characters, `?` for one. Every path begins with a slash.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
"""

TopicName = Annotated[str, like(r"[A-Za-z0-9_-]{1,256}", "an SNS topic's name")]
"""A standard topic's name; neither alarms nor ECS's events reach a FIFO topic, which has .fifo behind its name.

https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html
"""

DashboardName = Annotated[str, like(r"[A-Za-z0-9_-]{1,255}", "letters, digits, - and _")]
"""https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html"""

SecretJsonKey = Annotated[str, like(r"[^:\x00-\x1f\x7f]+", "a key of the secret's JSON, without a colon")]
"""A key of a JSON secret. ECS names it between colons, behind the secret's ARN.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
"""

SecretNames = Annotated[
    str,
    like(r"(?=.{1,512}$)[A-Za-z0-9/_+=.@-]+\*?", "a secret's name, or the beginning of names and a * behind it"),
]
"""A secret's name, or the beginning of names and a *.

https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
"""

KmsKeyArn = Annotated[str, like(r"arn:[^:]+:kms:[^:]+:\d{12}:key/(mrk-)?[0-9a-f-]+", "a KMS key's ARN")]
"""A KMS key's ARN; that of a key in several regions has mrk- before its id.

https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id-key-ARN
"""

SlackWorkspace = Annotated[str, like(r"[0-9A-Z]{1,255}", "a workspace's id, like T0123ABCD")]
"""SlackTeamId in the API of AWS's chat service."""

SlackChannel = Annotated[str, like(r"[A-Za-z0-9]{1,255}", "a channel's id, like C0123ABCD")]
"""SlackChannelId in the API of AWS's chat service."""

Repository = Annotated[
    str,
    like(
        r"[A-Za-z0-9_-]+(@\d+)?/[A-Za-z0-9._-]+(@\d+)?",
        "owner/name as on GitHub; owner@id/name@id where its tokens have immutable subjects",
    ),
]
"""A repository on GitHub. The owner has an underscore where an enterprise manages its users.

https://docs.github.com/en/enterprise-cloud@latest/admin/managing-iam/iam-configuration-reference/username-considerations-for-external-authentication
"""

Branch = Annotated[
    str,
    like(
        r"(?!.*(\.\.|//|/\.|@\{))(?!.*(\.lock|[/.])$)[A-Za-z0-9_][A-Za-z0-9._/+@#,=!%-]{0,243}",
        "a branch's name, without *",
    ),
]
"""A branch's name: of what git takes, letters and signs that mean nothing in an IAM condition.

https://git-scm.com/docs/git-check-ref-format
"""

GithubEnvironment = Annotated[
    str, like(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", "at most 255 letters, digits, . _ and -, starting with no sign")
]
"""A GitHub environment's name: of what GitHub takes, the characters that stand as they are in its tokens' subjects.

https://docs.github.com/en/actions/reference/workflows-and-actions/deployments-and-environments
"""

HealthPath = Annotated[str, like(r"/[A-Za-z0-9_./~%@:+,=-]{0,1023}", "a path like /health")]
"""Where health is asked. A target group's has up to 1024 characters (Path in ELB's API); ECS's own check is a command
of a shell, so what means something to a shell is left out, and with it queries."""
