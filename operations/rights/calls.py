"""Recorded calls: a file of JSON lines, or calls as boto3 makes them, in one form.

A line is {"phase": ..., "service": ..., "operation": ..., "parameters": {...}}, with the parameters as they went over
the wire: flat for the query protocol (`Tags.member.1.Key`), and with method and address in place of the operation where
the protocol has none (`GET /bucket?policy=`). What a recorder left out is missing.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from operations.errors import OperationError


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of an AWS API."""

    phase: str
    """What was going on: preview, refresh, import, up, update, destroy or another word."""
    service: str
    """Signing name, such as ecs or elasticloadbalancing."""
    operation: str
    """As the API names it: CreateService."""
    parameters: Mapping[str, Any]
    """As boto3 takes them."""

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.operation.startswith(("Describe", "Get", "List", "Head"))


def read(file: Path) -> list[Call]:
    """The calls in a file, each once. Raises `OperationError` with every line that is none."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OperationError(f"{file} cannot be read: {error}. Name a file of recorded calls, one a line.", 2) from None
    calls: dict[str, Call] = {}
    wrong: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            call = normal(entry["phase"], entry["service"], entry["operation"], entry["parameters"])
        except (ValueError, KeyError, TypeError, AttributeError):
            wrong.append(str(number))
            continue
        calls.setdefault(json.dumps(dataclasses.asdict(call), sort_keys=True), call)
    if wrong or not calls:
        raise OperationError(
            f"{file} is no recording of calls: "
            + (f"wrong in line {', '.join(wrong[:10])}" if wrong else "it is empty")
            + '. Each line must be {"phase": ..., "service": ..., "operation": ..., "parameters": {...}}.',
            2,
        )
    return list(calls.values())


def normal(phase: str, service: str, operation: str, parameters: Mapping[str, Any]) -> Call:
    """The call in the form of boto3, from whatever form it was recorded in. Raises ValueError."""
    if not all(isinstance(text, str) for text in (phase, service, operation)):
        raise ValueError("phase, service and operation are texts")
    given = _nested(parameters)
    if " /" in operation:
        operation, named = _by_address(service, operation)
        given = {**given, **named}
    return Call(phase, {"monitoring": "cloudwatch"}.get(service, service), operation, given)


def _nested(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Without the query protocol's numbered keys: `Tags.member.1.Key` is `Tags[0]["Key"]`."""
    found: dict[str, Any] = {}
    lists: dict[str, dict[int, dict[str, Any]]] = {}
    for key, value in parameters.items():
        numbered = re.fullmatch(r"(.+?)(?:\.member)?\.(\d+)(?:\.(.+))?", key)
        if numbered is None:
            found[key] = value
            continue
        name, number, rest = numbered.groups()
        lists.setdefault(name, {}).setdefault(int(number), {})[rest or ""] = value
    for name, entries in lists.items():
        ordered = [entries[number] for number in sorted(entries)]
        found[name] = [entry[""] if "" in entry else _nested(entry) for entry in ordered]
    return found


# Method, address (a group is a parameter) and, for S3, the setting in the query -> the operation.
_ADDRESSES = {
    "route53": [
        ("GET", r"/hostedzone", "ListHostedZones"),
        ("GET", r"/hostedzonesbyname", "ListHostedZonesByName"),
        ("GET", r"/hostedzone/(?P<HostedZoneId>[^/]+)", "GetHostedZone"),
        ("GET", r"/hostedzone/(?P<HostedZoneId>[^/]+)/rrset", "ListResourceRecordSets"),
        ("POST", r"/hostedzone/(?P<HostedZoneId>[^/]+)/rrset", "ChangeResourceRecordSets"),
        ("GET", r"/change/(?P<Id>[^/]+)", "GetChange"),
        ("GET", r"/tags/hostedzone/(?P<ResourceId>[^/]+)", "ListTagsForResource"),
    ],
    "chatbot": [
        ("POST", r"/create-slack-channel-configuration", "CreateSlackChannelConfiguration"),
        ("POST", r"/update-slack-channel-configuration", "UpdateSlackChannelConfiguration"),
        ("POST", r"/delete-slack-channel-configuration", "DeleteSlackChannelConfiguration"),
        ("POST", r"/describe-slack-channel-configurations", "DescribeSlackChannelConfigurations"),
        ("POST", r"/list-tags-for-resource", "ListTagsForResource"),
        ("POST", r"/tag-resource", "TagResource"),
        ("POST", r"/untag-resource", "UntagResource"),
    ],
}
_BUCKET_SETTINGS = {
    "encryption": "BucketEncryption",
    "lifecycle": "BucketLifecycleConfiguration",
    "location": "BucketLocation",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "publicAccessBlock": "PublicAccessBlock",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
}


def _by_address(service: str, operation: str) -> tuple[str, dict[str, str]]:
    method, _, address = operation.partition(" ")
    parts = urlsplit(address)
    if service == "s3":
        bucket, _, key = parts.path.removeprefix("/").partition("/")
        named = {"Bucket": bucket, **({"Key": key} if key else {})}
        verb = {"HEAD": "Head", "GET": "Get", "PUT": "Put", "DELETE": "Delete"}.get(method, method.title())
        if key:
            return f"{verb}Object", named
        settings = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        setting = next((_BUCKET_SETTINGS[name] for name in settings if name in _BUCKET_SETTINGS), None)
        if setting:
            return f"{verb}{setting}", named
        return {"GET": "ListObjectsV2", "HEAD": "HeadBucket"}.get(method, f"{verb}Bucket"), named
    path = re.sub(r"^/\d{4}-\d{2}-\d{2}", "", parts.path).rstrip("/")
    for known, pattern, name in _ADDRESSES.get(service, []):
        if method == known and (found := re.fullmatch(pattern, path)):
            return name, found.groupdict()
    # Reported as it is: nobody has said yet what it takes.
    return operation, {}


def first(parameters: Mapping[str, Any], *names: str) -> Any:
    """The first of these parameters that is given; None: none is."""
    return next((parameters[name] for name in names if parameters.get(name) not in (None, "", [])), None)


def tags(value: Any) -> dict[str, str]:
    """Tags in any of the forms that AWS's APIs have."""
    if isinstance(value, Mapping):
        return {str(key): str(text) for key, text in value.items()}
    return dict(_pairs(value or []))


def _pairs(entries: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        key = first(entry, "Key", "key", "TagKey")
        values = [entry[name] for name in ("Value", "value", "TagValue") if name in entry]
        if key is not None and values:
            yield str(key), str(values[0])
