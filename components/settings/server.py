"""What a server is told about its deployment: environment variables that follow from settings and cannot disagree
with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from components.settings.sign_in import DynamoDbState, MemoryState, OAuth, State, Tokens, ValkeyState
from components.settings.telemetry import Logs, Tracing

TRACES_PORT = 4318
"""Where the collector beside the server takes OpenTelemetry's traces, by HTTP."""

SIGNING_KEY = "FASTMCP_SERVER_AUTH_GOOGLE_JWT_SIGNING_KEY"
"""Variable with what workspace-mcp signs its tokens and encrypts its OAuth state with. It is also the JSON key of the
secret that is made for it."""

VALKEY = "WORKSPACE_MCP_OAUTH_PROXY_VALKEY_"
"""What the names of the variables begin with that tell of a Valkey."""

PASSWORD = f"{VALKEY}PASSWORD"
"""Variable with the password of a Valkey. It is also the JSON key of the secret that is made for it."""

_RESERVED = {
    "WORKSPACE_MCP_PORT": "the server listens on `port`",
    "WORKSPACE_MCP_BASE_URI": "the server appends its port to it; the address follows from routing",
    "WORKSPACE_MCP_ALLOWED_HOSTS": "with it the server refuses the load balancer's health checks",
    "WORKSPACE_MCP_ALLOWED_CLIENT_REDIRECT_URIS": "it follows from oauth.clients and oauth.clientRedirectUris",
    "OAUTH_CUSTOM_REDIRECT_URIS": "redirect addresses follow from routing and oauth.clients",
    "OAUTH_ALLOWED_ORIGINS": "it follows from oauth.clients and oauth.allowedOrigins",
    "MCP_PATH_PREFIX": "the path follows from routing; strategy: prefix sets it",
    **{f"{VALKEY}{part}": "it follows from oauth.state" for part in ("HOST", "PORT", "DB", "USE_TLS")},
    "WORKSPACE_MCP_OAUTH_PROXY_DYNAMODB_TABLE": "it follows from oauth.state",
    "WORKSPACE_MCP_OAUTH_PROXY_DISK_DIRECTORY": "a task's disk is gone with the task; see oauth.state",
    "WORKSPACE_MCP_CREDENTIALS_DIR": "a task's disk is gone with the task, and s3:// would be a directory; see tokens",
    "GOOGLE_MCP_CREDENTIALS_DIR": "a task's disk is gone with the task, and s3:// would be a directory; see tokens",
    "WORKSPACE_MCP_CREDENTIAL_STORE_BACKEND": "it follows from tokens",
    "WORKSPACE_MCP_S3_BUCKET": "it follows from tokens",
    "WORKSPACE_MCP_S3_PREFIX": "it follows from tokens",
    "MCP_SINGLE_USER_MODE": "everybody would get the first person's credentials",
}
"""Variables of workspace-mcp that would contradict the settings, even where these do not set them."""

_RESERVED_WITH_OAUTH = {
    # Without OAuth 2.1 it is where a browser comes back to, which may be a consumer's address that passes it on.
    "GOOGLE_OAUTH_REDIRECT_URI": "it follows from routing, and a path in it would be doubled",
    "EXTERNAL_OAUTH21_PROVIDER": "tokens of others would be taken for logins, whatever oauth.clients says",
}
"""Such variables where OAuth 2.1 is on."""

_SECRET = frozenset(
    {
        SIGNING_KEY,
        "GOOGLE_OAUTH_CLIENT_SECRET",
        "GOOGLE_SERVICE_ACCOUNT_KEY_JSON",
        PASSWORD,
    }
)
"""Variables of workspace-mcp that hold secrets."""


def reserved(*, oauth_enabled: bool) -> dict[str, str]:
    """Variables of workspace-mcp that configuration must not set, even where the settings do not set them either, each
    with the reason."""
    return _RESERVED | (_RESERVED_WITH_OAUTH if oauth_enabled else {})


def secret(names: Iterable[str]) -> list[str]:
    """Those of `names` that hold secrets of workspace-mcp, and so must not be plain variables."""
    return sorted(_SECRET.intersection(names))


def for_any(*, name: str, logs: Logs, tracing: Tracing | None) -> dict[str, str]:
    """What any server is told. `name`: the service's, by which its traces are found."""
    variables: dict[str, str] = {}
    if logs.format == "json":
        variables["LOG_FORMAT"] = "json"  # Read by image/sitecustomize.py.
    if tracing:
        variables |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://localhost:{TRACES_PORT}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_SERVICE_NAME": name,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": f"{tracing.sample_percent / 100:g}",
        }
    return variables


def workspace_mcp(
    *, url: str, port: int, oauth: OAuth, state: State | None, store: str, tokens: Tokens | None
) -> dict[str, str]:
    """What workspace-mcp is told. `url`: its own address, without a trailing slash. `store`: name of the table or cache
    that is made for its state.

    A cache that is made has no host name before; whoever knows it adds it.
    """
    variables = {
        "WORKSPACE_MCP_TRANSPORT": "streamable-http",  # Unset, the server speaks stdio and exits with 0 at once.
        "WORKSPACE_MCP_HOST": "0.0.0.0",  # noqa: S104  # Its own default without OAuth 2.1 is 127.0.0.1, which fails target health.
        "PORT": str(port),
        "WORKSPACE_EXTERNAL_URL": url,
        "MCP_ENABLE_OAUTH21": "true" if oauth.enabled else "false",  # Only the very word `true` switches it on.
        "FORWARDED_ALLOW_IPS": "*",  # The security group admits the load balancer only; unset, /mcp/ redirects to http://.
        "FASTMCP_LOG_LEVEL": "WARNING",  # Keeps `?code=` out of the access log.
        "WORKSPACE_MCP_DISABLE_LOCAL_FILES": "true",  # The task's files are no caller's.
        "WORKSPACE_MCP_LOG_LEVEL": "INFO",  # DEBUG writes what people search for, and the parameters of their sign-ins.
        "FASTMCP_ENABLE_RICH_LOGGING": "false",  # Its own default draws boxes 80 columns wide: no line is whole.
    }
    if not oauth.enabled:
        variables["WORKSPACE_MCP_STATELESS_MODE"] = (
            "false"  # The image has it on, and it ends the server without OAuth.
        )
        if tokens:
            variables |= {
                # For the image's launcher. The server itself, in an image without it, would refuse the word.
                "WORKSPACE_MCP_CREDENTIAL_STORE_BACKEND": "s3",
                "WORKSPACE_MCP_S3_BUCKET": tokens.bucket,
                "WORKSPACE_MCP_S3_PREFIX": tokens.prefix,
            }
    else:
        variables |= {
            "WORKSPACE_MCP_STATELESS_MODE": "true",  # A session would bind a client to one task.
            "WORKSPACE_MCP_OAUTH_PROXY_STORAGE_BACKEND": (state or MemoryState()).backend,
        }
        if oauth.redirect_uris:
            variables["WORKSPACE_MCP_ALLOWED_CLIENT_REDIRECT_URIS"] = ",".join(oauth.redirect_uris)
        if oauth.origins:
            variables["OAUTH_ALLOWED_ORIGINS"] = ",".join(oauth.origins)
        if isinstance(state, DynamoDbState):
            variables["WORKSPACE_MCP_OAUTH_PROXY_DYNAMODB_TABLE"] = store  # For the image's launcher.
        if isinstance(state, ValkeyState):
            variables |= {
                f"{VALKEY}PORT": str(state.port),
                f"{VALKEY}DB": str(state.database),
                f"{VALKEY}USE_TLS": "true" if state.tls else "false",  # Its own default is TLS on port 6380 only.
                **({f"{VALKEY}HOST": state.host} if state.host else {f"{VALKEY}USERNAME": store}),
            }
    return variables


def filled_in(templates: Mapping[str, str], *, url: str, port: int) -> dict[str, str]:
    """What another server is told: name -> template, with the facts of its deployment filled in. `url`: its own
    address, without a trailing slash."""
    facts = {
        "url": url,
        "origin": "/".join(url.split("/", 3)[:3]),
        "host": url.split("/")[2],
        "path": "/" + "/".join(url.split("/", 3)[3:]),
        "port": str(port),
    }
    return {name: template.format(**facts) for name, template in templates.items()}
