"""What a server is told about its deployment: environment variables that follow from settings and cannot disagree with them."""

from __future__ import annotations

from components.settings import PrefixRouting, Service, SettingsError


def environment(service: Service, *, internal_url: str) -> dict[str, str]:
    """All plain environment variables of the service's container, derived ones and `environment`'s.

    `internal_url`: the address inside the VPC, `http://name.namespace:port`, which is the server's own where nothing
    is public. Raises `SettingsError` where `environment` or `secrets` names a derived variable.
    """
    derived = (
        _workspace_mcp(service, internal_url) if service.server == "workspace-mcp" else _other(service, internal_url)
    )
    taken = sorted(derived.keys() & (service.environment.keys() | service.secrets.keys()))
    if taken:
        raise SettingsError(
            [
                f"  mcp-on-ecs:services.{service.key}: {name} follows from the deployment (it is {derived[name]!r}); remove it from the configuration"
                for name in taken
            ]
        )
    return {**service.environment, **derived}


def _workspace_mcp(service: Service, internal_url: str) -> dict[str, str]:
    url = service.url or internal_url
    variables = {
        "WORKSPACE_MCP_TRANSPORT": "streamable-http",  # Unset, the server speaks stdio and exits with 0 at once.
        "WORKSPACE_MCP_HOST": "0.0.0.0",  # Its own default without OAuth 2.1 is 127.0.0.1, which fails target health.
        "PORT": str(service.port),
        "WORKSPACE_EXTERNAL_URL": url,
        "MCP_ENABLE_OAUTH21": "true" if service.oauth.enabled else "false",  # Only the very word `true` switches it on.
        "FORWARDED_ALLOW_IPS": "*",  # The security group admits the load balancer only; unset, /mcp/ redirects to http://.
        "FASTMCP_LOG_LEVEL": "WARNING",  # Keeps `?code=` out of the access log.
    }
    if service.oauth.enabled:
        state = service.oauth.state
        variables |= {
            "WORKSPACE_MCP_STATELESS_MODE": "true",  # A session would bind a client to one task.
            "WORKSPACE_MCP_OAUTH_PROXY_STORAGE_BACKEND": state.backend,
        }
        if service.oauth.client_redirect_uris:
            variables["WORKSPACE_MCP_ALLOWED_CLIENT_REDIRECT_URIS"] = ",".join(service.oauth.client_redirect_uris)
        if service.oauth.allowed_origins:
            variables["OAUTH_ALLOWED_ORIGINS"] = ",".join(service.oauth.allowed_origins)
        if state.backend == "valkey":
            prefix = "WORKSPACE_MCP_OAUTH_PROXY_VALKEY_"
            variables |= {
                prefix + "HOST": state.host,
                prefix + "PORT": str(state.port),
                prefix + "DB": str(state.database),
                prefix + "USE_TLS": "true" if state.tls else "false",  # Its own default is TLS on port 6380 only.
            }
    return variables


def _other(service: Service, internal_url: str) -> dict[str, str]:
    url = service.url or internal_url
    facts = {
        "url": url,
        "origin": "/".join(url.split("/", 3)[:3]),
        "host": url.split("/")[2],
        "path": "/" + "/".join(url.split("/", 3)[3:]),
        "port": str(service.port),
    }
    variables = {name: template.format(**facts) for name, template in service.variables.items()}
    if isinstance(service.routing, PrefixRouting):
        variables[service.routing.variable] = service.routing.path
    return variables
