"""The rules that a service has on the load balancer's listener: for which requests, and what they rewrite.

Texts alone: nothing here knows the configuration, and nothing makes a resource.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Sequence

WELL_KNOWN = "/.well-known"
_SERVER, _RESOURCE = ("oauth-authorization-server", "openid-configuration"), "oauth-protected-resource"
_VALUES_PER_RULE, _WILDCARDS_PER_RULE = 5, 6
"""Condition values, and wildcards in them, that AWS allows a listener rule: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListenerRule:
    """One rule on the listener: for `host` and one of `paths` (none: any), forward, rewritten first if `rewrite` says
    so."""

    part: str
    """What the rule is for; the end of its logical name."""
    priority: int
    """Place among the listener's rules, 1 to 50000."""
    host: str
    """Host name that it is for."""
    paths: tuple[str, ...] = ()
    """Path patterns."""
    rewrite: tuple[str, str] | None = None
    """Regular expression on the path and query, and what to put in place of a match ($1 is the first group)."""


def host_regex(host: str) -> str | None:
    """The regular expression by which a rule knows `host`, or None where its name will do.

    As a name, AWS takes "only alphabetical characters after the final '.'", and so no xn--p1ai.
    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_HostHeaderConditionConfig.html
    """
    return None if host.rpartition(".")[2].isalpha() else f"^{_literally(host)}$"


Plan = list[tuple[str, tuple[str, ...], tuple[str, str] | None]]
"""What each rule is for, its path patterns, and its rewrite."""


def rules(plan: Plan, *, host: str, priority: int) -> list[ListenerRule]:
    """The plan's rules for a host, in order of priority, of which `priority` is the first."""
    return [
        ListenerRule(part=part, priority=priority + offset, host=host, paths=paths, rewrite=rewrite)
        for offset, (part, paths, rewrite) in enumerate(plan)
    ]


def for_rewrite(path: str) -> Plan:
    """A path that the load balancer strips."""
    server, resource = _metadata(path)
    # What stands behind the path, such as the endpoint's /mcp or a slash, makes no other document.
    asked = rf"^{_literally(WELL_KNOWN)}/(?:{{}}){_literally(path)}(?:/[^?]*)?((?:\?.*)?)$"
    return [
        ("path", _below(path), strip_prefix(path)),
        ("authorization-server", server, (asked.format("|".join(_SERVER)), f"{WELL_KNOWN}/{_SERVER[0]}$1")),
        # The server answers on this one as it is, because its external URL has the prefix.
        ("protected-resource", resource, (asked.format(_RESOURCE), f"{WELL_KNOWN}/{_RESOURCE}{path}/mcp$1")),
    ]


def _metadata(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The paths outside of the prefix where clients look for the authorization server's and the resource's metadata.

    They take their address from the public URL by putting the well-known part before its path (RFC 8414 section 3.1,
    RFC 9728 section 3.1), with or without the endpoint's path or a slash behind it; those that know OpenID Connect only
    ask for its document. What they ask for below the prefix, the rule for the prefix takes.
    """
    server = tuple(pattern for kind in _SERVER for pattern in _below(f"{WELL_KNOWN}/{kind}{path}"))
    return server, _below(f"{WELL_KNOWN}/{_RESOURCE}{path}")


def for_host() -> Plan:
    """A whole host."""
    return [("host", (), None)]


def for_prefix(path: str) -> Plan:
    """A path that the server strips itself."""
    server, resource = _metadata(path)
    return [
        ("path", _below(path), None),
        ("authorization-server", server, None),
        ("protected-resource", resource, None),
    ]


def for_patterns(patterns: Sequence[str]) -> Plan:
    """Paths that are forwarded as they come: as many to a rule as AWS allows beside the host."""
    together: list[list[str]] = [[]]
    for pattern in patterns:
        more = [*together[-1], pattern]
        # One value is the host, which has no wildcard.
        if len(more) >= _VALUES_PER_RULE or _wildcards(more) > _WILDCARDS_PER_RULE:
            together.append([])
        together[-1].append(pattern)
    return [(f"pattern-{number}", tuple(each), None) for number, each in enumerate(together, 1)]


def _wildcards(patterns: Iterable[str]) -> int:
    return sum(pattern.count("*") + pattern.count("?") for pattern in patterns)


def _below(path: str) -> tuple[str, str]:
    return path, f"{path}/*"  # Not `path*`: that would take /google-workspace-2 as well.


def strip_prefix(path: str) -> tuple[str, str]:
    """The rewrite that takes `path` off the front, and slashes off both ends, of a path with its query.

    Slashes at the end go because the server would redirect /mcp/ to /mcp without knowing the prefix: on a shared host
    that is another service's address, and a client would take its bearer token there. More than one at the front go
    because `//name` is an address on another host wherever it is repeated.
    """
    return rf"^{_literally(path)}/*((?:[^?]*[^/?])?)/*((?:\?.*)?)$", "/$1$2"


def _literally(path: str) -> str:
    # The only character of a configured path or host that means something in a regular expression.
    return path.replace(".", r"\.")


def overlaps(ours: Iterable[str], theirs: Iterable[str]) -> bool:
    """Whether some text matches one of `ours` and one of `theirs`, both with the wildcards * and ?."""
    return any(_intersect(a, b) for a, b in itertools.product(ours, theirs))


def _intersect(a: str, b: str) -> bool:
    # Two paths are told apart by how they begin or end, most often; a stack of 50 services asks 80,000 times.
    if _begin_apart(a, b) or _begin_apart(a[::-1], b[::-1]):
        return False
    return _meet(a, b, 0, 0, {})


def _meet(a: str, b: str, i: int, j: int, known: dict[tuple[int, int], bool]) -> bool:
    """Whether a text fits a[i:] and b[j:]. `known`: answers of this comparison; those of all comparisons would grow to
    hundreds of megabytes."""
    if (i, j) not in known:
        if i == len(a) or j == len(b):
            known[i, j] = not (a[i:] + b[j:]).strip("*")
        elif "*" in (a[i], b[j]):
            known[i, j] = _meet(a, b, i + 1, j, known) or _meet(a, b, i, j + 1, known)
        else:
            known[i, j] = (a[i] == b[j] or "?" in (a[i], b[j])) and _meet(a, b, i + 1, j + 1, known)
    return known[i, j]


def _begin_apart(a: str, b: str) -> bool:
    """Whether what stands before the first wildcard of each keeps them from a common text."""
    begin_a, begin_b = (re.split(r"[*?]", text, maxsplit=1)[0] for text in (a, b))
    return not begin_a.startswith(begin_b) and not begin_b.startswith(begin_a)
