"""Protections for buckets that exist."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings.model import Model


class BucketOptions(Model):
    """Protections for a bucket that exists already and that services use. What is off is left as it is, and so is all
    when an option is switched off later, or the stack is destroyed: a bucket is never made less safe."""

    block_public_access: bool = False
    """Block public access in all four ways. Default false."""
    tls_only: bool = False
    """Refuse requests without TLS, by the bucket's policy. Refused where somebody else wrote one. Default false."""
    tasks_only: bool = False
    """Refuse everybody but the task roles that keep tokens there to read or change these, by the bucket's policy: other
    programs and administrators too. Default false."""
    disable_acls: bool = False
    """Switch off access control lists; what is in the bucket belongs to its owner. Default false."""
    keep_versions_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    """Keep versions, and what is replaced or deleted for so many days. Refused where somebody else wrote lifecycle
    rules. Default: as it is."""
