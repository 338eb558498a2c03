"""Policy rules that some resources may break for a time."""

from __future__ import annotations

import datetime
import fnmatch
from typing import Annotated, Any

from pydantic import BeforeValidator, StringConstraints

from components.settings.model import Model

ISSUER_KEPT = "mcp-issuer-keep"
"""A rule that the program itself holds (components/issuer.py), and no policy: it compares the public address with that
of what runs. The resource is the service's key."""


def _day(value: Any) -> Any:
    # How the engine hands on a date that stands without quotation marks.
    return value.removesuffix(" 00:00:00 +0000 UTC") if isinstance(value, str) else value


class PolicyException(Model):
    """A policy rule that some resources may break for a time, with who answers for it."""

    rule: Annotated[str, StringConstraints(min_length=1)]
    """The rule's name, as `./ops policies --list` has it, or mcp-issuer-keep (docs/clients.md)."""
    resource: Annotated[str, StringConstraints(min_length=1)]
    """The resource's logical name, such as google-workspace-repository, or for mcp-issuer-keep the service's key;
    * stands for any characters."""
    reason: Annotated[str, StringConstraints(min_length=10)]
    """Why it may, in a sentence."""
    owner: Annotated[str, StringConstraints(min_length=1)]
    """Who answers for it: a team or a role."""
    expires: Annotated[datetime.date, BeforeValidator(_day)]
    """The last day on which it holds, such as 2027-06-30."""

    def covers(self, rule: str, resource: str) -> bool:
        """Whether it is about this rule and this resource."""
        return rule == self.rule and fnmatch.fnmatchcase(resource, self.resource)

    @property
    def terms(self) -> str:
        """Reason, owner and last day, for reports."""
        return f"{self.reason} ({self.owner}, until {self.expires})"
