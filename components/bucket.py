"""Protections for a bucket that exists already: each a setting of the bucket's, none of which takes the bucket over.

A bucket has one policy and one set of lifecycle rules. Where somebody else wrote these they are not touched, which the
look-ups in `estate` see to before anything is changed.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pulumi
import pulumi_aws as aws

from components.documents import policy_document
from components.estate import Estate
from components.names import role_name
from components.settings import Settings


def policy_statements(settings: Settings, bucket: str, partition: str, account: str) -> list[dict[str, Any]]:
    """The statements of the bucket's policy; none if its options ask for none."""
    options, arn = settings.buckets[bucket], f"arn:{partition}:s3:::{bucket}"
    statements: list[dict[str, Any]] = []
    if options.tls_only:
        statements.append(
            {
                "Sid": f"{settings.mark}TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        )
    if options.tasks_only:
        statements += [
            {
                "Sid": f"{settings.mark}Tasks{number}",
                "Effect": "Deny",
                "Principal": "*",
                "Action": ["s3:DeleteObject*", "s3:GetObject*", "s3:PutObject*"],
                "Resource": f"{arn}/{service.tokens.prefix}/*",
                "Condition": {
                    "ArnNotEquals": {
                        "aws:PrincipalArn": f"arn:{partition}:iam::{account}:role/{role_name(service, 'task')}"
                    }
                },
            }
            for number, service in enumerate(settings.tokens_in(bucket), 1)
            if service.tokens
        ]
    return statements


@dataclasses.dataclass(frozen=True, kw_only=True)
class BucketArgs:
    """What a bucket's protections are made of."""

    settings: Settings
    """The stack's settings, with the bucket's options."""
    estate: Estate
    """Where it is."""


class Bucket(pulumi.ComponentResource):
    """The protections of one bucket, whose name is the component's."""

    def __init__(self, name: str, args: BucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mcp-on-ecs:index:Bucket", name, None, opts)
        settings, estate = args.settings, args.estate
        options = settings.buckets[name]
        # The bucket outlives the stack, and a stack that goes must not publish it.
        child = pulumi.ResourceOptions(parent=self, retain_on_delete=True)
        if options.block_public_access:
            aws.s3.BucketPublicAccessBlock(
                f"{name}-public-access",
                bucket=name,
                block_public_acls=True,
                block_public_policy=True,
                ignore_public_acls=True,
                restrict_public_buckets=True,
                opts=child,
            )
        if options.disable_acls:
            aws.s3.BucketOwnershipControls(
                f"{name}-ownership", bucket=name, rule={"object_ownership": "BucketOwnerEnforced"}, opts=child
            )
        if statements := policy_statements(settings, name, estate.partition, estate.account):
            aws.s3.BucketPolicy(
                f"{name}-policy",
                bucket=name,
                policy=policy_document(statements),
                opts=child,
            )
        if options.keep_versions_days is not None:
            versioning = aws.s3.BucketVersioning(
                f"{name}-versioning", bucket=name, versioning_configuration={"status": "Enabled"}, opts=child
            )
            aws.s3.BucketLifecycleConfiguration(
                f"{name}-lifecycle",
                bucket=name,
                rules=[
                    {
                        "id": settings.mark,
                        "status": "Enabled",
                        "filter": {"prefix": ""},
                        "noncurrent_version_expiration": {"noncurrent_days": options.keep_versions_days},
                        "expiration": {"expired_object_delete_marker": True},
                        "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
                    }
                ],
                opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[versioning])),
            )
        self.register_outputs({})
