"""What is missing or unfit in the estate, collected so that all of it is reported at once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pulumi

T = TypeVar("T")

Ask = Callable[..., Awaitable[dict[str, Any]]]
"""Answers a look-up: its token and, by name, its arguments."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is missing or unfit."""

    what: str
    """What is missing or unfit."""
    where: str
    """The configuration key that names it."""
    why: str
    """What was seen."""
    remedy: str
    """What to do."""

    def __str__(self) -> str:
        return f"  {self.what}\n      looked   {self.where}\n      found    {self.why}\n      do       {self.remedy}"


class EstateError(pulumi.RunError):
    """Something the deployment stands on is missing or unfit; the message shows all `findings`."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        noun = "thing is" if len(findings) == 1 else "things are"
        super().__init__(
            f"{len(findings)} {noun} missing or unfit in the estate; nothing was changed.\n"
            + "\n".join(map(str, findings))
        )


class Findings:
    """Asks, and collects what is missing, so that all of it is reported at once."""

    def __init__(self, ask: Ask, client: Callable[[str], Any], warn: Callable[[str], None]) -> None:
        self.found: list[Finding] = []
        self.ask, self.client, self.warn = ask, client, warn

    def add(self, what: str, where: str, why: str, remedy: str) -> None:
        """Note that something is missing or unfit."""
        self.found.append(Finding(what, where, why, remedy))

    async def look_up(self, what: str, where: str, remedy: str, answer: Awaitable[T]) -> T | None:
        """The answer, or None with a note of why there is none."""
        try:
            return await answer
        except Exception as error:  # An invoke raises plain Exception, with AWS's words in its text.
            words = " ".join(str(error).split()) or type(error).__name__
            why = re.sub(r"^invoke of \S+ failed: (invocation of \S+ returned an error: )?", "", words)
            self.add(what, where, why, remedy)
            return None
