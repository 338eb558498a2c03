"""What a service reads of the account: secrets, a bucket."""

from __future__ import annotations

from typing import Annotated

from components.settings.model import Model
from components.settings.patterns import BucketName, Reference, like


class SecretKey(Model):
    """One key of a JSON secret in AWS Secrets Manager. Only the reference is configured, never a value."""

    secret: Reference
    """The secret's name or ARN."""
    key: Annotated[str, like(r"[\w./+=@-]+", "a key of the secret's JSON: letters, digits and . / + = @ _ -")]
    """The JSON key within it. Required: without one the container would get the whole JSON object."""


class Permissions(Model):
    """What the running server may do beyond nothing."""

    bucket: BucketName | None = None
    """A bucket whose objects the server may read, write and delete, and which it may list."""
    secrets: list[
        Annotated[str, like(r"[A-Za-z0-9/_+=.@-]+\*?", "a secret's name, or the beginning of names and a * behind it")]
    ] = []
    """Names of secrets the server itself may read at run time; a trailing * covers what begins so (busyb/*)."""
