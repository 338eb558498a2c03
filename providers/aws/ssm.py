"""Systems Manager: parameters."""

from __future__ import annotations

import contextlib

from providers.base import (
    Context,
    Handler,
    Properties,
    completing,
    function,
    given,
    gone_tags,
    resource,
    tag_list,
    tag_map,
)


@resource
class Parameter(Handler):
    type = "aws:ssm/parameter:Parameter"
    properties = frozenset(
        {"name", "type", "value", "description", "tier", "allowedPattern", "dataType", "keyId", "tags"}
    )
    replacing = frozenset({"name"})
    steering = frozenset({"overwrite"})
    defaults = {"description": "", "allowedPattern": "", "tags": {}}
    name_property = "name"

    def create(self, inputs: Properties) -> str:
        # PutParameter refuses tags together with Overwrite.
        overwrite = bool(inputs.get("overwrite"))
        self._put(inputs, overwrite)
        if inputs.get("tags"):
            with completing(inputs["name"]):
                self.context.client("ssm").add_tags_to_resource(
                    ResourceType="Parameter", ResourceId=inputs["name"], Tags=tag_list(inputs["tags"])
                )
        return str(inputs["name"])

    def _put(self, inputs: Properties, overwrite: bool) -> None:
        self.context.client("ssm").put_parameter(
            Overwrite=overwrite,
            **given(
                Name=inputs["name"],
                Type=inputs["type"],
                Value=inputs["value"],
                Description=inputs.get("description", ""),
                Tier=inputs.get("tier"),
                AllowedPattern=inputs.get("allowedPattern", ""),
                DataType=inputs.get("dataType"),
                KeyId=inputs.get("keyId"),
            ),
        )

    def read(self, locator: str) -> Properties | None:
        ssm = self.context.client("ssm")
        try:
            found = ssm.get_parameter(Name=locator, WithDecryption=True)["Parameter"]
        except ssm.exceptions.ParameterNotFound:
            return None
        filters = [{"Key": "Name", "Option": "Equals", "Values": [locator]}]
        about = ssm.describe_parameters(ParameterFilters=filters)["Parameters"][0]
        tags = tag_map(ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=locator)["TagList"])
        return {
            "id": locator,
            "name": locator,
            "arn": found["ARN"],
            "type": found["Type"],
            "value": found["Value"],
            "version": found["Version"],
            "description": about.get("Description", ""),
            "tier": about.get("Tier"),
            "allowedPattern": about.get("AllowedPattern", ""),
            "dataType": found.get("DataType"),
            "keyId": about.get("KeyId"),
            "tags": tags,
            "tagsAll": tags,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        ssm = self.context.client("ssm")
        if changed - {"tags"}:
            self._put(inputs, overwrite=True)
        if "tags" in changed:
            before = tag_map(ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=locator)["TagList"])
            if gone := gone_tags(before, inputs.get("tags")):
                ssm.remove_tags_from_resource(ResourceType="Parameter", ResourceId=locator, TagKeys=gone)
            if inputs.get("tags"):
                ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId=locator, Tags=tag_list(inputs["tags"]))

    def delete(self, locator: str, recorded: Properties) -> None:
        ssm = self.context.client("ssm")
        with contextlib.suppress(ssm.exceptions.ParameterNotFound):
            ssm.delete_parameter(Name=locator)


@function("aws:ssm/getParametersByPath:getParametersByPath", "path", "recursive", "withDecryption")
def get_parameters_by_path(context: Context, args: Properties) -> Properties:
    pages = (
        context.client("ssm")
        .get_paginator("get_parameters_by_path")
        .paginate(
            Path=args["path"], Recursive=bool(args.get("recursive")), WithDecryption=args.get("withDecryption", True)
        )
    )
    found = [parameter for page in pages for parameter in page["Parameters"]]
    return {
        "id": args["path"],
        "path": args["path"],
        "names": [entry["Name"] for entry in found],
        "arns": [entry["ARN"] for entry in found],
        "types": [entry["Type"] for entry in found],
        "values": [entry["Value"] for entry in found],
    }
