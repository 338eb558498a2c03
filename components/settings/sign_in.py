"""How people sign in to workspace-mcp, and where their credentials are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from components import clients
from components.settings.model import Model
from components.settings.patterns import BucketName, KmsKeyArn, Reference, like


def _client(name: str) -> str:
    if name not in clients.CLIENTS:
        raise ValueError(
            f"one of {', '.join(clients.CLIENTS)}; the redirect addresses of others go into clientRedirectUris"
        )
    return name


ClientName = Annotated[str, AfterValidator(_client)]
"""A client's name in `components/clients.py`."""


def _redirect_uri(uri: str) -> str:
    if words := clients.wrong(uri):
        raise ValueError(words)
    return uri


RedirectUri = Annotated[str, AfterValidator(_redirect_uri)]
"""A redirect address, as workspace-mcp takes them (see `components/clients.py`)."""


class MemoryState(Model):
    """OAuth state in the task's memory: one task only, and every deployment logs the clients out."""

    backend: Literal["memory"] = "memory"
    """Chooses this store. Default memory."""


class DynamoDbState(Model):
    """OAuth state in a DynamoDB table that the program makes and all tasks share; it costs by use, next to nothing.
    Encrypted by the server with a key of its own, which is made once in Secrets Manager, and by DynamoDB besides."""

    backend: Literal["dynamodb"] = "dynamodb"
    """Chooses this store."""
    kms_key: KmsKeyArn | None = None
    """ARN of a key of yours that DynamoDB encrypts the table with. Default: the account's own key for DynamoDB."""
    deletion_protection: bool = True
    """Whether AWS refuses to delete the table. Default true; set it to false, and deploy that, before the table may go:
    before `pulumi destroy`, or a change to another store."""


class Cache(Model):
    """A Valkey that the program makes in ElastiCache: with TLS, for the tasks of its service alone, with a user and a
    password of its own."""

    node_type: Annotated[str, like(r"cache\.[a-z0-9]+\.[a-z0-9]+", "a node type like cache.t4g.micro")] = (
        "cache.t4g.micro"
    )
    """Its size, as ElastiCache has them. Default cache.t4g.micro, which has 0.5 GiB. Changed in place."""
    replicas: Annotated[int, Field(ge=0, le=5)] = 0
    """Copies in other zones. With one or more, another takes over where a node or its zone fails; with none, people who
    are signed in sign in once more. Default 0. Changed in place."""
    kms_key: KmsKeyArn | None = None
    """ARN of a key of yours that what it writes to disk is encrypted with. Default: a key of ElastiCache's. Another one
    replaces the cache, and everybody signs in once more."""


class ValkeyState(Model):
    """OAuth state in a Valkey that all tasks share: a cache that the program makes, or a Valkey or Redis that exists,
    where `host` names one. Encrypted by the server with a key of its own, which is made once in Secrets Manager."""

    backend: Literal["valkey"]
    """Chooses this store."""
    cache: Cache | None = None
    """What the program makes. Default: the smallest there is. Not with host."""
    host: Reference | None = None
    """Host name of the endpoint of one that exists. Default: the program makes a cache."""
    port: Annotated[int, Field(ge=1, le=65535)] = 6379
    """Its port. Default 6379."""
    tls: bool = True
    """Encrypt the connection to it. Default true."""
    database: Annotated[int, Field(ge=0)] = 0
    """Its database's number. Default 0."""

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.host and self.cache:
            yield ("cache", "host"), "is for a cache that the program makes, and host names one that exists; remove one"
        for field in ("port", "tls", "database"):
            if not self.host and getattr(self, field) != ValkeyState.model_fields[field].default:
                yield (field, "host"), "is for a cache that exists, and host names none; remove it, or name the host"

    @property
    def made(self) -> Cache | None:
        """The cache that the program makes; None: one exists."""
        return None if self.host else self.cache or Cache()


def _as_backend(value: Any) -> Any:
    """`memory` is short for `{backend: memory}`."""
    return {"backend": value} if isinstance(value, str) else value


State = MemoryState | DynamoDbState | ValkeyState
"""Where OAuth state is kept."""


class OAuth(Model):
    """How clients log in to workspace-mcp."""

    enabled: bool = True
    """OAuth 2.1. Default true; false is for servers reached from inside the VPC only."""
    clients: list[ClientName] = []
    """Clients that may log in, by their names in docs/clients.md, such as claude or vscode: their redirect addresses
    and origins are known. What each opens: `./ops clients`.
    Required when reached from outside, these or clientRedirectUris: without either the server takes any client."""
    client_redirect_uris: list[RedirectUri] = []
    """Further redirect addresses that a client may register, such as https://app.example.com/callback,
    http://localhost:*/callback (any port) or app://host/callback (an app's own scheme)."""
    allowed_origins: list[Annotated[str, like(r"https://[^/*,\s]+", "an origin like https://app.example.com")]] = []
    """Further origins from which a browser may call the server, beside its own. Default: none."""
    state: Annotated[State, Field(discriminator="backend"), BeforeValidator(_as_backend)] | None = None
    """Where registrations, codes and tokens are kept: `memory`, `dynamodb` or `valkey`, alone or as `backend` with the
    settings below. Default: memory for one task, dynamodb where there may be more."""

    @property
    def redirect_uris(self) -> list[str]:
        """All redirect addresses that a client may register; empty: any."""
        return clients.redirect_uris(self.clients, self.client_redirect_uris)

    @property
    def origins(self) -> list[str]:
        """All origins from which a browser may call the server, beside its own."""
        return clients.origins(self.clients, self.allowed_origins)


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
