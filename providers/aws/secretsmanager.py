"""Secrets Manager: look-up of secrets. Values are never read."""

from __future__ import annotations

from providers.base import Context, Properties, ProviderError, function, tag_map


@function("aws:secretsmanager/getSecret:getSecret", "name", "arn")
def get_secret(context: Context, args: Properties) -> Properties:
    client = context.client("secretsmanager")
    sought = args.get("arn") or args["name"]
    try:
        found = client.describe_secret(SecretId=sought)
    except client.exceptions.ResourceNotFoundException as error:
        raise ProviderError(f"reading Secrets Manager Secret ({sought}): couldn't find resource") from error
    return {
        "id": found["ARN"],
        "arn": found["ARN"],
        "name": found["Name"],
        "description": found.get("Description", ""),
        "kmsKeyId": found.get("KmsKeyId", ""),
        "policy": "",
        "tags": tag_map(found.get("Tags")),
    }
