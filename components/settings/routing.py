"""How a service is reached: inside the VPC only, or by one of four strategies from outside."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components import listener_rules
from components.listener_rules import ListenerRule
from components.settings.model import Model
from components.settings.patterns import Host, PathPattern, PathPrefix, Reference, VariableName

LAST_PRIORITY = 50_000
"""https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateRule.html"""


class InternalRouting(Model):
    """Discovery inside the VPC only; no rule on the load balancer."""

    strategy: Literal["internal"]
    """Chooses this strategy. Default where `routing` has no host."""


class _Public(Model):
    host: Host
    """The public host name, which the listener's certificates must cover."""
    priority: Annotated[int, Field(ge=1, le=49_990)]
    """The first of the listener rule priorities that the service takes; further rules take the numbers that follow."""

    @property
    def rules(self) -> list[ListenerRule]:
        """The strategy's rules on the listener, in order of priority."""
        return listener_rules.rules(self._plan, host=self.host, priority=self.priority)

    @property
    def _plan(self) -> listener_rules.Plan:
        raise NotImplementedError


class RewriteRouting(_Public):
    """A path of a shared host; the load balancer strips it, so the server needs to know nothing of it."""

    strategy: Literal["rewrite"]
    """Chooses this strategy. Default where `routing` has a path."""
    path: PathPrefix
    """The path prefix, such as /google-workspace."""

    @property
    def _plan(self) -> listener_rules.Plan:
        return listener_rules.for_rewrite(self.path)


class HostRouting(_Public):
    """A host name of its own; no rewriting."""

    strategy: Literal["host"]
    """Chooses this strategy. Default where `routing` has a host and no path."""
    hosted_zone: Reference | None = None
    """The Route 53 zone in which to make the host's alias record. Default: the record is made elsewhere."""

    @property
    def _plan(self) -> listener_rules.Plan:
        return listener_rules.for_host()


class PrefixRouting(_Public):
    """A path of a shared host that the server strips itself, told by an environment variable."""

    strategy: Literal["prefix"]
    """Chooses this strategy."""
    path: PathPrefix
    """The path prefix, such as /google-workspace."""
    variable: VariableName = "MCP_PATH_PREFIX"
    """The environment variable that tells the server its prefix. Default MCP_PATH_PREFIX."""

    @property
    def _plan(self) -> listener_rules.Plan:
        return listener_rules.for_prefix(self.path)


class PatternRouting(_Public):
    """Paths that the server itself answers on: requests that match are forwarded as they come."""

    strategy: Literal["pattern"]
    """Chooses this strategy."""
    patterns: Annotated[list[PathPattern], Field(min_length=1, max_length=20)]
    """Path patterns that the server's own paths match, such as /mcp/google-workspace*, with up to six wildcards each:
    a listener rule takes no more."""
    path: PathPrefix | None = None
    """The path that the server's address has behind the host. Default: none."""

    @property
    def _plan(self) -> listener_rules.Plan:
        return listener_rules.for_patterns(self.patterns)


PublicRouting = RewriteRouting | HostRouting | PrefixRouting | PatternRouting
Routing = Annotated[PublicRouting | InternalRouting, Field(discriminator="strategy")]
