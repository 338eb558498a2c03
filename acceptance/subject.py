"""What is under test, and the secrets met on the way, which no report may show."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from checks import Expectations, PublicAddress

_PATTERNS = re.compile(
    r"ya29\.[\w.-]+|1//[\w-]+|eyJ[\w-]+\.[\w-]+\.[\w-]*"  # Google's access and refresh tokens; any JSON web token
    r"|(?<=[?&]code=)[^&\s]+|(?<=Bearer )[\w.~+/=-]{8,}"
)
"""What looks like a token, wherever it came from."""


class Secrets:
    """Values that must appear in no report, and in no log of the server."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def add(self, *values: str | None) -> None:
        """Remember values; empty ones are none."""
        self._values.update(value for value in values if value)

    def found_in(self, text: str) -> bool:
        """Whether one of the remembered values is in `text`, percent-encoded or not."""
        return any(value in text or quote(value, safe="") in text for value in self._values)

    def redact(self, text: str) -> str:
        """`text` with `[secret]` for the values, and for all that looks like a token."""
        # The longest first: one may be part of another.
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, "[secret]").replace(quote(value, safe=""), "[secret]")
        return _PATTERNS.sub("[secret]", text)


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """A rehearsal's stand-in for Google, as a browser reaches it."""

    proxy: str
    """Address of the proxy that answers in Google's name, `http://127.0.0.1:PORT`."""
    authority: str
    """File of the authority's certificate that signs in Google's name."""

    @classmethod
    def noted(cls, note: Mapping[str, Any]) -> StandIn:
        """From a rehearsal's note of it."""
        return cls(proxy=note["proxy"], authority=note["authority"])

    def client(self) -> httpx2.AsyncClient:
        """A browser's way to it; does not follow redirects."""
        context = ssl.create_default_context(cafile=self.authority)
        return httpx2.AsyncClient(proxy=self.proxy, verify=context, trust_env=False, timeout=10)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A deployed server, and what may be done with it."""

    address: PublicAddress
    expectations: Expectations = field(default_factory=Expectations)
    full: bool = True
    """Whether it is workspace-mcp, whose endpoints and tools are known. False: only what any server does is tested."""
    private: PublicAddress | None = None
    """The address that consumers inside the VPC use; None where there is none."""
    google: Callable[[], httpx2.AsyncClient] | None = field(default=None, repr=False)
    """A browser's way to the stand-in for Google. None: the real Google signs in, which no test can do."""
    token: str | None = field(default=None, repr=False)
    """An access token of the server's own for a user who has signed in."""
    log_lines: Callable[[], list[str]] | None = field(default=None, repr=False)
    """The server's log lines since the run began; None: they are not to be had."""
    secrets: Secrets = field(default_factory=Secrets, repr=False)

    def __post_init__(self) -> None:
        self.secrets.add(self.token)


def read_token(file: Path | None) -> str | None:
    """The token in `file`, or else in the environment variable ACCEPTANCE_TOKEN; None: there is none.

    Raises `ValueError` for a file that cannot be read, or is empty.
    """
    if file is None:
        return os.environ.get("ACCEPTANCE_TOKEN", "").strip() or None
    try:
        token = file.read_text().strip()
    except OSError as error:
        raise ValueError(f"the token file {file} cannot be read: {error.strerror}") from None
    if not token or len(token.split()) != 1:
        raise ValueError(f"the token file {file} must hold the token and nothing else")
    return token
