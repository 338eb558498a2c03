"""KMS: keys and aliases."""

from __future__ import annotations

import contextlib

from providers.base import Handler, Properties, completing, given, gone_tags, resource, tag_list, tag_map


@resource
class Key(Handler):
    type = "aws:kms/key:Key"
    properties = frozenset({"description", "policy", "enableKeyRotation", "tags"})
    steering = frozenset({"deletionWindowInDays"})
    json_properties = frozenset({"policy"})
    defaults = {"description": "", "enableKeyRotation": False, "tags": {}}

    def create(self, inputs: Properties) -> str:
        kms = self.context.client("kms")
        made = kms.create_key(
            **given(
                Description=inputs.get("description"),
                Policy=inputs.get("policy"),
                Tags=tag_list(inputs.get("tags"), "TagKey", "TagValue") or None,
            )
        )
        key = str(made["KeyMetadata"]["KeyId"])
        if inputs.get("enableKeyRotation"):
            with completing(key):
                kms.enable_key_rotation(KeyId=key)
        return key

    def read(self, locator: str) -> Properties | None:
        kms = self.context.client("kms")
        try:
            found = kms.describe_key(KeyId=locator)["KeyMetadata"]
        except kms.exceptions.NotFoundException:
            return None
        if found["KeyState"] == "PendingDeletion":
            return None
        tags = tag_map(kms.list_resource_tags(KeyId=locator)["Tags"], "TagKey", "TagValue")
        return {
            "id": locator,
            "keyId": locator,
            "arn": found["Arn"],
            "description": found.get("Description", ""),
            "policy": kms.get_key_policy(KeyId=locator, PolicyName="default")["Policy"],
            "enableKeyRotation": kms.get_key_rotation_status(KeyId=locator)["KeyRotationEnabled"],
            "tags": tags,
            "tagsAll": tags,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        kms, before = self.context.client("kms"), self.read(locator) or {}
        if "description" in changed:
            kms.update_key_description(KeyId=locator, Description=inputs.get("description", ""))
        if "policy" in changed:
            kms.put_key_policy(KeyId=locator, PolicyName="default", Policy=inputs["policy"])
        if "enableKeyRotation" in changed:
            switch = kms.enable_key_rotation if inputs.get("enableKeyRotation") else kms.disable_key_rotation
            switch(KeyId=locator)
        if "tags" in changed:
            if gone := gone_tags(before["tags"], inputs.get("tags")):
                kms.untag_resource(KeyId=locator, TagKeys=gone)
            if inputs.get("tags"):
                kms.tag_resource(KeyId=locator, Tags=tag_list(inputs["tags"], "TagKey", "TagValue"))

    def delete(self, locator: str, recorded: Properties) -> None:
        kms = self.context.client("kms")
        with contextlib.suppress(kms.exceptions.NotFoundException, kms.exceptions.KMSInvalidStateException):
            kms.schedule_key_deletion(KeyId=locator, PendingWindowInDays=7)


@resource
class Alias(Handler):
    type = "aws:kms/alias:Alias"
    properties = frozenset({"name", "targetKeyId"})
    replacing = frozenset({"name"})
    name_property = "name"

    def create(self, inputs: Properties) -> str:
        self.context.client("kms").create_alias(AliasName=inputs["name"], TargetKeyId=inputs["targetKeyId"])
        return str(inputs["name"])

    def read(self, locator: str) -> Properties | None:
        pages = self.context.client("kms").get_paginator("list_aliases").paginate()
        found = next((a for page in pages for a in page["Aliases"] if a["AliasName"] == locator), None)
        if found is None:
            return None
        return {"id": locator, "name": locator, "arn": found["AliasArn"], "targetKeyId": found.get("TargetKeyId")}

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        self.context.client("kms").update_alias(AliasName=locator, TargetKeyId=inputs["targetKeyId"])

    def delete(self, locator: str, recorded: Properties) -> None:
        kms = self.context.client("kms")
        with contextlib.suppress(kms.exceptions.NotFoundException):
            kms.delete_alias(AliasName=locator)
