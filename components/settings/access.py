"""What a service reads of the account: secrets, a bucket."""

from __future__ import annotations

from components.settings.model import Model
from components.settings.patterns import BucketName, Reference, SecretJsonKey, SecretNames


class SecretKey(Model):
    """One key of a JSON secret in AWS Secrets Manager. Only the reference is configured, never a value."""

    secret: Reference
    """The secret's name or ARN."""
    key: SecretJsonKey
    """The JSON key within it. Required: without one the container would get the whole JSON object."""


class Permissions(Model):
    """What the running server may do beyond nothing."""

    bucket: BucketName | None = None
    """A bucket whose objects the server may read, write and delete, all of them, and which it may list. workspace-mcp
    needs none with OAuth 2.1, and `tokens` without it. Default: none."""
    secrets: list[SecretNames] = []
    """Names of secrets the server itself may read at run time; a trailing * covers what begins so: busyb/* those of
    every service with such names. What ECS gives the server (`secrets` of the service) needs none. Default: none."""
