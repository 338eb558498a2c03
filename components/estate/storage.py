"""Secrets and buckets, and the keys that encrypt them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from components.estate.findings import Findings
from components.estate.found import FoundSecret
from components.settings import Settings


async def secret(name: str, place: str, findings: Findings) -> FoundSecret | None:
    """The secret, with the key that encrypts it."""
    by = {"arn": name} if name.startswith("arn:") else {"name": name}
    found = await findings.look_up(
        f"secret {name}",
        place,
        "correct it under secrets, or create it: aws secretsmanager create-secret",
        findings.ask("aws:secretsmanager/getSecret:getSecret", **by),
    )
    if not found:
        return None
    key = found.get("kmsKeyId") or None
    if key:
        key = await findings.look_up(
            f"the key {key} of secret {name}",
            place,
            "allow kms:DescribeKey on it, or encrypt the secret with a key that exists",
            asyncio.to_thread(_customer_key, key, findings),
        )
    return FoundSecret(arn=found["arn"], kms_key=key)


async def permitted_keys(name: str, findings: Findings) -> tuple[str, ...]:
    """ARNs of the customers' keys that encrypt the secrets of a name, or of all names that begin so."""

    def ask() -> tuple[str, ...]:
        wanted = name.removesuffix("*")
        # Filtered by the beginning: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_Filter.html
        pages = findings.client("secretsmanager").get_paginator("list_secrets")
        found = [
            secret
            for page in pages.paginate(Filters=[{"Key": "name", "Values": [wanted]}])
            for secret in page["SecretList"]
            if secret["Name"] == name or (name.endswith("*") and secret["Name"].startswith(wanted))
        ]
        keys = {key for secret in found if (key := secret.get("KmsKeyId"))}
        return tuple(sorted({arn for key in keys if (arn := _customer_key(key, findings))}))

    try:
        return await asyncio.to_thread(ask)
    except (BotoCoreError, ClientError) as error:
        findings.warn(
            f"Which keys encrypt the secrets {name} could not be asked ({error}), so the server gets no right to use "
            "them: allow secretsmanager:ListSecrets and kms:DescribeKey to whoever deploys."
        )
        return ()


def _customer_key(key: str, findings: Findings) -> str | None:
    """The ARN of a key by id, alias or ARN; None for AWS's own, which needs no further right."""
    if re.fullmatch(r"arn:[^:]+:kms:[^:]+:\d+:key/.+", key):
        return key
    found = findings.client("kms").describe_key(KeyId=key)["KeyMetadata"]
    return str(found["Arn"]) if found["KeyManager"] == "CUSTOMER" else None


async def bucket(name: str, settings: Settings, place: str, findings: Findings) -> str | None:
    """The ARN of the customer's key that the bucket encrypts with, if any."""
    found = await findings.look_up(
        f"bucket {name}",
        place,
        "correct tokens.bucket or permissions.bucket; aws s3api list-buckets lists them",
        findings.ask("aws:s3/getBucket:getBucket", bucket=name),
    )
    if not found:
        return None
    try:
        return await asyncio.to_thread(_bucket_settings, name, settings, findings)
    except NoCredentialsError:
        # Whoever deploys has them. Nothing is known of the bucket then, and nothing can be done to it.
        findings.warn(f"The settings of bucket {name} could not be read: there are no credentials.")
    except (BotoCoreError, ClientError) as error:
        findings.add(
            f"the settings of bucket {name}",
            place,
            str(error),
            "allow s3:GetEncryptionConfiguration, s3:GetBucketPolicy and s3:GetLifecycleConfiguration on it, "
            "and kms:DescribeKey on its key",
        )
    return None


def _bucket_settings(name: str, settings: Settings, findings: Findings) -> str | None:
    s3, options = findings.client("s3"), settings.buckets.get(name)
    # There is one policy and one set of rules for a bucket: to write ours would be to remove theirs.
    if options and (options.tls_only or options.tasks_only):
        policy = json.loads(_unless_missing(s3.get_bucket_policy, name).get("Policy", "{}"))
        statements = policy.get("Statement", [])
        ids = [s.get("Sid", "unnamed") for s in (statements if isinstance(statements, list) else [statements])]
        if foreign := [sid for sid in ids if not re.fullmatch(rf"{settings.mark}(TlsOnly|Tasks\d+)", sid)]:
            findings.add(
                f"the policy of bucket {name}",
                "for statements of others, which this stack would remove",
                f"it has {', '.join(foreign)}",
                f"set buckets.{name}.tlsOnly and .tasksOnly to false, and have its owner add a Deny of s3:* for * "
                "where aws:SecureTransport is false",
            )
    if options and options.keep_versions_days is not None:
        ids = [
            rule.get("ID", "unnamed")
            for rule in _unless_missing(s3.get_bucket_lifecycle_configuration, name).get("Rules", [])
        ]
        if foreign := [rule for rule in ids if rule != settings.mark]:
            findings.add(
                f"the lifecycle rules of bucket {name}",
                "for rules of others, which this stack would remove",
                f"it has {', '.join(foreign)}",
                f"remove buckets.{name}.keepVersionsDays, and have its owner enable versioning with a rule that "
                "expires old versions",
            )
    return bucket_key(name, findings)


def bucket_key(name: str, findings: Findings) -> str | None:
    """The ARN of the customer's key that a bucket encrypts with, if any."""
    s3 = findings.client("s3")
    encryption = _unless_missing(s3.get_bucket_encryption, name).get("ServerSideEncryptionConfiguration", {"Rules": []})
    keys = [rule["ApplyServerSideEncryptionByDefault"].get("KMSMasterKeyID") for rule in encryption["Rules"]]
    return _customer_key(keys[0], findings) if any(keys) else None


def _unless_missing(ask: Callable[..., dict[str, Any]], bucket: str) -> dict[str, Any]:
    try:
        return ask(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in _MISSING:
            return {}
        raise


_MISSING = ("NoSuchBucketPolicy", "NoSuchLifecycleConfiguration", "ServerSideEncryptionConfigurationNotFoundError")
"""What S3 says of a setting that a bucket has not got."""
