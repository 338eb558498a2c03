"""DynamoDB: tables."""

from __future__ import annotations

import contextlib
from typing import Any

from providers.base import Handler, Properties, completing, given, gone_tags, resource, tag_list, tag_map

_KINDS = {"hashKey": "HASH", "rangeKey": "RANGE"}
_ACTIVE = {"Delay": 1, "MaxAttempts": 120}


@resource
class Table(Handler):
    type = "aws:dynamodb/table:Table"
    properties = frozenset(
        {
            "name",
            "billingMode",
            "hashKey",
            "rangeKey",
            "attributes",
            "ttl",
            "pointInTimeRecovery",
            "serverSideEncryption",
            "deletionProtectionEnabled",
            "tags",
        }
    )
    replacing = frozenset({"name", "hashKey", "rangeKey"})
    defaults = {
        "billingMode": "PROVISIONED",
        "deletionProtectionEnabled": False,
        "pointInTimeRecovery": {"enabled": False},
        "ttl": {"enabled": False},
        "serverSideEncryption": {"enabled": False},
        "tags": {},
    }
    name_property = "name"
    unordered = frozenset({"attributes"})

    def create(self, inputs: Properties) -> str:
        client, name = self.context.client("dynamodb"), str(inputs["name"])
        client.create_table(
            **given(
                TableName=name,
                KeySchema=[
                    {"AttributeName": inputs[key], "KeyType": kind} for key, kind in _KINDS.items() if inputs.get(key)
                ],
                AttributeDefinitions=[
                    {"AttributeName": each["name"], "AttributeType": each["type"]} for each in inputs["attributes"]
                ],
                BillingMode=inputs.get("billingMode", "PROVISIONED"),
                DeletionProtectionEnabled=bool(inputs.get("deletionProtectionEnabled")),
                SSESpecification=_encryption(inputs) if inputs.get("serverSideEncryption") else None,
                Tags=tag_list(inputs.get("tags")) or None,
            )
        )
        with completing(name):
            client.get_waiter("table_exists").wait(TableName=name, WaiterConfig=_ACTIVE)
            self._set(name, inputs, frozenset(name for name in ("ttl", "pointInTimeRecovery") if inputs.get(name)))
        return name

    def _set(self, name: str, inputs: Properties, changed: frozenset[str]) -> None:
        client = self.context.client("dynamodb")
        if "ttl" in changed:
            wanted = inputs.get("ttl") or {}
            now = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
            client.update_time_to_live(
                TableName=name,
                TimeToLiveSpecification={
                    "AttributeName": wanted.get("attributeName") or now.get("AttributeName", "ttl"),
                    "Enabled": bool(wanted.get("enabled")),
                },
            )
        if "pointInTimeRecovery" in changed:
            client.update_continuous_backups(
                TableName=name,
                PointInTimeRecoverySpecification={
                    "PointInTimeRecoveryEnabled": bool((inputs.get("pointInTimeRecovery") or {}).get("enabled"))
                },
            )

    def read(self, locator: str) -> Properties | None:
        client = self.context.client("dynamodb")
        try:
            found = client.describe_table(TableName=locator)["Table"]
        except client.exceptions.ResourceNotFoundException:
            return None
        keys = {each["KeyType"]: each["AttributeName"] for each in found["KeySchema"]}
        ttl = client.describe_time_to_live(TableName=locator)["TimeToLiveDescription"]
        backups = client.describe_continuous_backups(TableName=locator)["ContinuousBackupsDescription"]
        recovery = backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
        encryption = found.get("SSEDescription", {})
        tags = tag_map(client.list_tags_of_resource(ResourceArn=found["TableArn"]).get("Tags"))
        return {
            "id": locator,
            "name": locator,
            "arn": found["TableArn"],
            "billingMode": found.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"),
            "hashKey": keys["HASH"],
            "rangeKey": keys.get("RANGE"),
            "attributes": [
                {"name": each["AttributeName"], "type": each["AttributeType"]} for each in found["AttributeDefinitions"]
            ],
            "ttl": {
                "enabled": ttl["TimeToLiveStatus"] in ("ENABLED", "ENABLING"),
                "attributeName": ttl.get("AttributeName", ""),
            },
            "pointInTimeRecovery": {"enabled": recovery == "ENABLED"},
            "serverSideEncryption": {
                "enabled": encryption.get("Status") in ("ENABLED", "ENABLING", "UPDATING"),
                "kmsKeyArn": encryption.get("KMSMasterKeyArn"),
            },
            "deletionProtectionEnabled": found.get("DeletionProtectionEnabled", False),
            "tags": tags,
            "tagsAll": tags,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        client, before = self.context.client("dynamodb"), self.read(locator) or {}
        changes: dict[str, Any] = {}
        if "deletionProtectionEnabled" in changed:
            changes["DeletionProtectionEnabled"] = bool(inputs.get("deletionProtectionEnabled"))
        if "serverSideEncryption" in changed:
            changes["SSESpecification"] = _encryption(inputs)
        if "billingMode" in changed:
            changes["BillingMode"] = inputs["billingMode"]
        # One kind of change at a time is what AWS takes.
        for name, value in changes.items():
            client.update_table(TableName=locator, **{name: value})
            client.get_waiter("table_exists").wait(TableName=locator, WaiterConfig=_ACTIVE)
        self._set(locator, inputs, changed)
        if "tags" in changed:
            if gone := gone_tags(before["tags"], inputs.get("tags")):
                client.untag_resource(ResourceArn=before["arn"], TagKeys=gone)
            if inputs.get("tags"):
                client.tag_resource(ResourceArn=before["arn"], Tags=tag_list(inputs["tags"]))

    def delete(self, locator: str, recorded: Properties) -> None:
        client = self.context.client("dynamodb")
        with contextlib.suppress(client.exceptions.ResourceNotFoundException):
            client.delete_table(TableName=locator)


def _encryption(inputs: Properties) -> dict[str, Any]:
    wanted = inputs.get("serverSideEncryption") or {}
    enabled = bool(wanted.get("enabled"))
    return given(
        Enabled=enabled, SSEType="KMS" if enabled else None, KMSMasterKeyId=wanted.get("kmsKeyArn") if enabled else None
    )
