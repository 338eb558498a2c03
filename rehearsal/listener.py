"""What a load balancer's rules say of a request: which action, and which URL and Host for the target.

Rules, conditions, actions and transforms have the shapes of boto3's elbv2 client. As AWS documents them
(docs.aws.amazon.com/elasticloadbalancing/latest/application/, pages rule-condition-types, rule-transforms):

- Rules are tried in numeric order, the default rule last; the conditions of a rule are ANDed, the values of a
  condition ORed.
- A path condition sees the path "only after URI normalization", of which AWS says no more. Here that is
  RFC 3986, section 6.2.2: `.` and `..` segments resolved, unreserved characters decoded; other escapes (%2F,
  %C3%A9) and double slashes stay.
- A transform is applied after the rule is chosen and changes nothing about that choice. The expression of a
  `url-rewrite` meets the normalised path and the raw query as one string; its first match is replaced. No
  match: the request goes on byte for byte as it came. A match whose replacement fails: 500. AWS does not say
  what failing is; here, naming a group that is not there, or a URL that no longer begins with "/".
- Regular expressions are searched, not anchored. AWS refuses lookarounds and backreferences at creation, so
  Python's `re` covers the rest but for two spellings (see `compiled`).
"""

from __future__ import annotations

import functools
import ipaddress
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Shape = Mapping[str, Any]
"""A structure of boto3's elbv2 client: RuleCondition, Action, TargetGroup ..."""

# RFC 3986's unreserved characters; and ':', as a rewrite on AWS was seen to decode %3A
# (github.com/kubernetes-sigs/aws-load-balancer-controller, issue 4579).
DECODED = frozenset(string.ascii_letters + string.digits + "-._~" + ":")


class TransformError(Exception):
    """A transform matched but could not be carried out; AWS answers 500."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What rules look at. Nothing is decoded."""

    method: str = "GET"
    path: str = "/"
    query: str = ""
    """Without the "?"."""
    headers: Sequence[tuple[str, str]] = ()
    """In order of arrival, names in lower case."""
    source_ip: str = "127.0.0.1"

    @property
    def host(self) -> str:
        """The Host header without its port; "" if there is none."""
        return re.sub(r":\d+$", "", next((value for name, value in self.headers if name == "host"), ""))

    @property
    def target(self) -> str:
        """Path and query as they came, but for a "?" that nothing follows."""
        return f"{self.path}?{self.query}" if self.query else self.path


def normalised(path: str) -> str:
    """The path that conditions and rewrites see: `/a/../%62%2f` is `/b%2F`."""

    def decode(escape: re.Match[str]) -> str:
        char = chr(int(escape[0][1:], 16))
        return char if char in DECODED else escape[0].upper()

    kept: list[str] = []
    segments = re.sub(r"%[0-9A-Fa-f]{2}", decode, path).split("/")
    for segment in segments[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept) if path.startswith("/") else path


@functools.cache
def compiled(regex: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """A regular expression in AWS's spelling: `(?<name>` and `\\z` are Python's `(?P<name>` and `\\Z`."""
    regex = re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", regex).replace(r"\z", r"\Z")
    return re.compile(regex, re.ASCII | (re.IGNORECASE if ignore_case else 0))


@functools.cache
def wildcard(pattern: str, *, ignore_case: bool = False, escapes: bool = False) -> re.Pattern[str]:
    """`*` is any run of characters, `?` any one; with `escapes` (query strings), `\\*` is a plain `*`."""
    parts = re.findall(r"\\[*?]|.", pattern, re.DOTALL) if escapes else list(pattern)
    wild = {"*": ".*", "?": "."}
    regex = "".join(wild.get(part) or re.escape(part[-1]) for part in parts)
    return re.compile(regex, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def holds(condition: Shape, request: Request) -> bool:
    """Whether one condition is met. One without values never is: see `complaints`."""
    kind = condition["Field"]
    config: Shape = next((value for key, value in condition.items() if key.endswith("Config")), {})
    values = config.get("Values") or condition.get("Values") or []
    if kind == "http-request-method":
        return request.method in values
    if kind == "source-ip":
        address = ipaddress.ip_address(request.source_ip)
        return any(address in ipaddress.ip_network(value) for value in values)
    if kind == "query-string":
        pairs = [pair.partition("=")[::2] for pair in request.query.split("&")]
        match = functools.partial(wildcard, ignore_case=True, escapes=True)
        return any(
            ("Key" not in wanted or match(wanted["Key"]).fullmatch(key)) and match(wanted["Value"]).fullmatch(value)
            for wanted in values
            for key, value in pairs
        )
    if kind == "path-pattern":
        subjects, ignore_case = [normalised(request.path)], False
    elif kind == "host-header":
        subjects, ignore_case = [request.host], True
    elif kind == "http-header":
        name = config["HttpHeaderName"].lower()
        subjects, ignore_case = [value for header, value in request.headers if header == name], True
    else:
        return False
    regexes = config.get("RegexValues") or condition.get("RegexValues") or []
    return any(
        any(wildcard(value, ignore_case=ignore_case).fullmatch(subject) for value in values)
        or any(compiled(regex, ignore_case=ignore_case).search(subject) for regex in regexes)
        for subject in subjects
    )


def by_priority(rule: Shape) -> float:
    return float("inf") if rule["IsDefault"] else int(rule["Priority"])


def chosen(rules: Sequence[Shape], request: Request) -> Shape:
    """The first rule, lowest number first, whose conditions all hold. The default rule has none: it fits."""
    return next(
        rule for rule in sorted(rules, key=by_priority) if all(holds(each, request) for each in rule["Conditions"])
    )


def rewritten(subject: str, regex: str, replace: str) -> str | None:
    """`subject` with the first match of `regex` replaced, `$1` ... being its groups; None if nothing matches.

    Raises TransformError if `replace` names a group that `regex` has not.
    """
    match = compiled(regex).search(subject)
    if match is None:
        return None

    def group(reference: re.Match[str]) -> str:
        number = int(reference[1])
        if number > match.re.groups:
            raise TransformError(f"replacement {replace!r} uses ${number}, and {regex!r} has no such group")
        return match[number] or ""

    return subject[: match.start()] + re.sub(r"\$(\d+)", group, replace) + subject[match.end() :]


def transformed(transforms: Sequence[Shape], request: Request) -> tuple[str, str | None]:
    """The request target for the target, and its Host if that is rewritten. Raises TransformError."""
    target, host = request.target, None
    path = normalised(request.path)
    for transform in transforms:
        if transform["Type"] == "url-rewrite":
            subject = f"{path}?{request.query}" if request.query else path
            for rewrite in transform["UrlRewriteConfig"]["Rewrites"]:
                url = rewritten(subject, rewrite["Regex"], rewrite["Replace"])
                if url is not None and not url.startswith("/"):
                    raise TransformError(f"{rewrite['Regex']!r} turns {path!r} into {url!r}, which is no path")
                target = target if url is None else url
        elif transform["Type"] == "host-header-rewrite":
            for rewrite in transform["HostHeaderRewriteConfig"]["Rewrites"]:
                host = rewritten(request.host, rewrite["Regex"], rewrite["Replace"])
    return target, host


def location(redirect: Shape, request: Request) -> str:
    """Where a redirect action sends the client. What it leaves out stays; the port is always written."""
    parts = {
        "protocol": "https",
        "host": request.host,
        "port": "443",
        "path": request.path.removeprefix("/"),
        "query": request.query,
    }

    def filled(key: str, default: str) -> str:
        template = redirect.get(key) or default
        return re.sub(r"#\{(\w+)\}", lambda match: parts.get(match[1], match[0]), template)

    query = filled("Query", "#{query}")
    protocol, authority = filled("Protocol", "#{protocol}").lower(), filled("Host", "#{host}")
    url = f"{protocol}://{authority}:{filled('Port', '#{port}')}{filled('Path', '/#{path}')}"
    return f"{url}?{query}" if query else url


def complaints(rules: Sequence[Shape]) -> Iterator[str]:
    """What the edge cannot do as the rules say, a sentence each: MiniStack drops regular expressions and query strings
    of conditions.

    Goes when MiniStack keeps them.
    """
    for rule in rules:
        name = f"rule {rule['Priority']}"
        for condition in rule["Conditions"]:
            shapes = [condition, *(value for value in condition.values() if isinstance(value, dict))]
            if not any(shape.get("Values") or shape.get("RegexValues") for shape in shapes):
                yield f"{name}: its {condition['Field']} condition came back empty, so it never holds"
        for action in rule["Actions"]:
            if action["Type"] == "forward" and not weights(action):
                yield f"{name}: its forward action came back without a target group, so it answers 503"


def weights(action: Shape) -> dict[str, int]:
    """The target groups of a forward action and their weights."""
    groups = action.get("ForwardConfig", {}).get("TargetGroups") or [action]
    return {group["TargetGroupArn"]: group.get("Weight", 1) for group in groups if "TargetGroupArn" in group}
