"""Names of the pipeline's own resources, which its rights speak of as well."""

from __future__ import annotations

from components.estate import Estate
from components.settings import Settings

GITHUB = "token.actions.githubusercontent.com"
"""GitHub's issuer of OIDC tokens, without the scheme."""
PARTS = ("deploy", "preview")
"""The roles."""


def role_name(settings: Settings, part: str) -> str:
    """The physical name of the role `part`, deploy or preview."""
    return f"{settings.name_prefix}-{settings.environment}-mcp-{part}"


def provider_arn(estate: Estate) -> str:
    """The ARN that GitHub's OIDC provider has in the account."""
    return f"arn:{estate.partition}:iam::{estate.account}:oidc-provider/{GITHUB}"
