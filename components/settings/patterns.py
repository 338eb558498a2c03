"""The texts that configuration takes: names, hosts, paths, tags and references, each with the words for a mistake."""

from __future__ import annotations

import re
import string
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints


def like(pattern: str, words: str) -> AfterValidator:
    """A text that matches `pattern` as a whole; `words` say what that means."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(words)
        return value

    return AfterValidator(check)


NAME_PATTERN = r"(?=.{1,40}$)[a-z][a-z0-9]*(-[a-z0-9]+)*"

Name = Annotated[
    str,
    like(NAME_PATTERN, "1 to 40 lower-case letters, digits and single hyphens between them, starting with a letter"),
]
"""Lower-case letters, digits and single hyphens, starting with a letter: what ECR, ELB, ECS and DNS all accept."""

Port = Annotated[int, Field(ge=1024, le=65535)]
"""A TCP port that a process without privileges can listen on."""

VariableName = Annotated[
    str, like(r"[A-Za-z_][A-Za-z0-9_]*", "a variable's name: letters, digits and underscores, no digit at the start")
]

Host = Annotated[
    str,
    StringConstraints(to_lower=True),
    like(
        r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}",
        "a host name like api.example.com: no https:// before it, no port or path behind it",
    ),
]
"""A fully qualified host name, without scheme or port."""


def _path_prefix(value: str) -> str:
    value = "/" + value.strip("/")
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value) or "/." in value:
        # Anything else would have to be escaped differently in path patterns, rewrite expressions and URLs.
        raise ValueError(
            "a path like /google-workspace: letters, digits, . _ ~ and - between slashes, none starting with a dot"
        )
    if value.startswith("/.well-known"):
        raise ValueError("a path outside /.well-known, which belongs to the whole domain")
    return value


PathPrefix = Annotated[str, AfterValidator(_path_prefix)]
"""A path with a leading and no trailing slash."""

_TAG_WORDS = "letters, digits, spaces and . : / = + - _ @"

Tag = Annotated[str, like(r"[\w .:/=+@-]{1,256}", f"1 to 256 {_TAG_WORDS}")]
"""A tag's value: what every AWS service accepts."""

OWN_TAGS = ("Environment", "Service", "ManagedBy", "RetentionReason", "Name")


def _tag_key(key: str) -> str:
    if key in OWN_TAGS or key.lower().startswith("aws:"):
        raise ValueError(f"a tag other than aws:... and {', '.join(OWN_TAGS)}, which are set for you")
    return key


TagKey = Annotated[str, like(r"[\w .:/=+@-]{1,128}", f"1 to 128 {_TAG_WORDS}"), AfterValidator(_tag_key)]
"""A tag's key."""

Reference = Annotated[
    str, like(r"[^\x00-\x1f\x7f*?]+", "a name, id or ARN as AWS shows it: one line, not empty, no * and no ?")
]
"""The name, id or ARN of something that exists."""

BucketName = Annotated[
    str, like(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's name, without s3:// and without a path")
]
"""An S3 bucket's name."""


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

ImageByDigest = Annotated[
    str,
    like(
        r"[a-z0-9.:/_-]+@sha256:[0-9a-f]{64}",
        "registry/name@sha256: and 64 hexadecimal digits; a tag could be pushed again with other content",
    ),
]
"""A finished image in some registry."""

PathPattern = Annotated[
    str,
    like(
        r"/[A-Za-z0-9_\-.$/~\"'@:+*?&]{0,127}",
        "a path pattern like /mcp/name*: a slash, then up to 127 letters, digits and _ - . $ / ~ \" ' @ : + & * ?",
    ),
]
"""A path pattern of a listener rule: `*` stands for any characters, `?` for one."""

TopicName = Annotated[str, like(r"[A-Za-z0-9_-]{1,256}", "an SNS topic's name")]
