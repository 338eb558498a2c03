"""Secrets Manager: secrets, and the look-up of them. Values are never read."""

from __future__ import annotations

import contextlib

from providers.base import (
    Context,
    Handler,
    Properties,
    ProviderError,
    function,
    given,
    gone_tags,
    resource,
    tag_list,
    tag_map,
)


@resource
class Secret(Handler):
    type = "aws:secretsmanager/secret:Secret"
    properties = frozenset({"name", "description", "kmsKeyId", "tags"})
    replacing = frozenset({"name"})
    steering = frozenset({"recoveryWindowInDays"})
    defaults = {"description": "", "kmsKeyId": "", "tags": {}}
    name_property = "name"

    def create(self, inputs: Properties) -> str:
        made = self.context.client("secretsmanager").create_secret(
            **given(
                Name=inputs["name"],
                Description=inputs.get("description"),
                KmsKeyId=inputs.get("kmsKeyId"),
                Tags=tag_list(inputs.get("tags")) or None,
            )
        )
        return str(made["ARN"])

    def read(self, locator: str) -> Properties | None:
        client = self.context.client("secretsmanager")
        try:
            found = client.describe_secret(SecretId=locator)
        except client.exceptions.ResourceNotFoundException:
            return None
        if found.get("DeletedDate"):
            return None
        tags = tag_map(found.get("Tags"))
        return {
            "id": found["ARN"],
            "arn": found["ARN"],
            "name": found["Name"],
            "description": found.get("Description", ""),
            "kmsKeyId": found.get("KmsKeyId", ""),
            "tags": tags,
            "tagsAll": tags,
        }

    def find(self, inputs: Properties) -> str | None:
        found = self.read(inputs["name"])
        return str(found["arn"]) if found else None

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        client, before = self.context.client("secretsmanager"), self.read(locator) or {}
        if changed - {"tags"}:
            client.update_secret(
                SecretId=locator,
                **given(Description=inputs.get("description", ""), KmsKeyId=inputs.get("kmsKeyId") or None),
            )
        if "tags" in changed:
            if gone := gone_tags(before["tags"], inputs.get("tags")):
                client.untag_resource(SecretId=locator, TagKeys=gone)
            if inputs.get("tags"):
                client.tag_resource(SecretId=locator, Tags=tag_list(inputs["tags"]))

    def delete(self, locator: str, recorded: Properties) -> None:
        client, days = self.context.client("secretsmanager"), recorded.get("recoveryWindowInDays", 30)
        with contextlib.suppress(client.exceptions.ResourceNotFoundException):
            client.delete_secret(
                SecretId=locator,
                **({"RecoveryWindowInDays": days} if days else {"ForceDeleteWithoutRecovery": True}),
            )


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
