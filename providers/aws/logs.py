"""CloudWatch Logs: log groups."""

from __future__ import annotations

import contextlib
from typing import Any

from providers.base import Handler, Properties, completing, given, gone_tags, resource


@resource
class LogGroup(Handler):
    type = "aws:cloudwatch/logGroup:LogGroup"
    properties = frozenset({"name", "retentionInDays", "kmsKeyId", "logGroupClass", "tags"})
    replacing = frozenset({"name", "logGroupClass"})
    steering = frozenset({"skipDestroy"})
    defaults = {"retentionInDays": 0, "kmsKeyId": None, "tags": {}}
    name_property = "name"

    def create(self, inputs: Properties) -> str:
        logs = self.context.client("logs")
        logs.create_log_group(
            **given(
                logGroupName=inputs["name"],
                kmsKeyId=inputs.get("kmsKeyId"),
                logGroupClass=inputs.get("logGroupClass"),
                tags=inputs.get("tags") or None,
            )
        )
        if inputs.get("retentionInDays"):
            with completing(inputs["name"]):
                logs.put_retention_policy(logGroupName=inputs["name"], retentionInDays=inputs["retentionInDays"])
        return str(inputs["name"])

    def read(self, locator: str) -> Properties | None:
        found = self._find(locator)
        if found is None:
            return None
        arn = found["arn"].removesuffix(":*")
        tags = self.context.client("logs").list_tags_for_resource(resourceArn=arn)["tags"]
        return {
            "id": locator,
            "name": locator,
            "arn": arn,
            "retentionInDays": found.get("retentionInDays", 0),
            "kmsKeyId": found.get("kmsKeyId"),
            "logGroupClass": found.get("logGroupClass"),
            "tags": tags,
            "tagsAll": tags,
            "skipDestroy": False,
        }

    def _find(self, name: str) -> dict[str, Any] | None:
        pages = self.context.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
        return next((group for page in pages for group in page["logGroups"] if group["logGroupName"] == name), None)

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        logs = self.context.client("logs")
        if "retentionInDays" in changed:
            if inputs.get("retentionInDays"):
                logs.put_retention_policy(logGroupName=locator, retentionInDays=inputs["retentionInDays"])
            else:
                logs.delete_retention_policy(logGroupName=locator)
        if "kmsKeyId" in changed:
            if inputs.get("kmsKeyId"):
                logs.associate_kms_key(logGroupName=locator, kmsKeyId=inputs["kmsKeyId"])
            else:
                logs.disassociate_kms_key(logGroupName=locator)
        if "tags" in changed:
            before = self.read(locator) or {}
            if gone := gone_tags(before["tags"], inputs.get("tags")):
                logs.untag_resource(resourceArn=before["arn"], tagKeys=gone)
            if inputs.get("tags"):
                logs.tag_resource(resourceArn=before["arn"], tags=inputs["tags"])

    def delete(self, locator: str, recorded: Properties) -> None:
        logs = self.context.client("logs")
        if not recorded.get("skipDestroy"):
            with contextlib.suppress(logs.exceptions.ResourceNotFoundException):
                logs.delete_log_group(logGroupName=locator)
