"""How people sign in to workspace-mcp, and where their credentials are kept."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from components.settings.model import Model
from components.settings.patterns import BucketName, Reference, like


class MemoryState(Model):
    """OAuth state in the task's memory: one task only, and every deployment logs the clients out."""

    backend: Literal["memory"] = "memory"
    """Chooses this store. Default memory."""


class ValkeyState(Model):
    """OAuth state in a Valkey or Redis that all tasks share."""

    backend: Literal["valkey"]
    """Chooses this store."""
    host: Reference
    """Host name of the cache's endpoint."""
    port: Annotated[int, Field(ge=1, le=65535)] = 6379
    """Port. Default 6379."""
    tls: bool = True
    """Encrypt the connection. Default true."""
    database: Annotated[int, Field(ge=0)] = 0
    """Database number. Default 0."""


class OAuth(Model):
    """How clients log in to workspace-mcp."""

    enabled: bool = True
    """OAuth 2.1. Default true; false is for servers reached from inside the VPC only."""
    client_redirect_uris: list[str] = []
    """Redirect addresses that a client may register, such as https://claude.ai/api/mcp/auth_callback or
    http://localhost:* (any port).
    Required when reached from outside: unset, the server takes any."""
    allowed_origins: list[Annotated[str, like(r"https://[^/*,\s]+", "an origin like https://app.example.com")]] = []
    """Origins of browser-based clients that may call the server, beside its own. Default: none."""
    state: Annotated[MemoryState | ValkeyState, Field(discriminator="backend")] = MemoryState()
    """Where registrations and codes are kept. Default memory, which allows one task."""

    @field_validator("client_redirect_uris")
    @classmethod
    def _safe(cls, uris: list[str]) -> list[str]:
        for uri in uris:
            parts = urlsplit(uri)
            loopback = re.fullmatch(r"(localhost|127\.0\.0\.1|\[::1\])(:(\*|\d+))?", parts.netloc)
            if (
                "," in uri
                or not (parts.scheme == "https" or (parts.scheme == "http" and loopback))
                or "*" in (parts.hostname or "*")
            ):
                raise ValueError(
                    "https addresses, or http on localhost, each with a host spelled out (no * in it), without a comma"
                )
        return uris


class Tokens(Model):
    """Where workspace-mcp keeps people's Google credentials without OAuth 2.1: an object for each person. With it the
    server keeps none."""

    bucket: BucketName
    """The bucket, which exists. Its default encryption applies."""
    prefix: Annotated[
        str,
        like(
            r"(?=.{1,200}$)[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*",
            "at most 200 letters, digits, _ - and . in parts between slashes; no part is empty or starts with a dot",
        ),
    ] = "tokens/google"
    """What the keys of its objects begin with; the task role may use no others. Default tokens/google."""
