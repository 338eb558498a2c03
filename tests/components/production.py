"""What the production stack names."""

from __future__ import annotations

BUCKET = "busyb-oauth-tokens-758888582357"


ROLE = "arn:aws:iam::758888582357:role"


TAGS = {"Environment": "production", "Service": "google-workspace-mcp", "ManagedBy": "pulumi"}


REPOSITORY = "758888582357.dkr.ecr.us-east-1.amazonaws.com/busyb-google-workspace-mcp"
