"""ECS: task definitions."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError
from pulumi.runtime.rpc import UNKNOWN

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


def _tags(context: Context, arn: str) -> dict[str, str]:
    return tag_map(context.client("ecs").list_tags_for_resource(resourceArn=arn)["tags"], "key", "value")


def retag(context: Context, arn: str, after: dict[str, str] | None) -> None:
    ecs = context.client("ecs")
    if gone := gone_tags(_tags(context, arn), after):
        ecs.untag_resource(resourceArn=arn, tagKeys=gone)
    if after:
        ecs.tag_resource(resourceArn=arn, tags=tag_list(after, "key", "value"))


@resource
class TaskDefinition(Handler):
    type = "aws:ecs/taskDefinition:TaskDefinition"
    properties = frozenset(
        {
            "family",
            "containerDefinitions",
            "cpu",
            "memory",
            "networkMode",
            "requiresCompatibilities",
            "runtimePlatform",
            "executionRoleArn",
            "taskRoleArn",
            "volumes",
            "ephemeralStorage",
            "pidMode",
            "ipcMode",
            "tags",
        }
    )
    replacing = properties - {"tags"}
    steering = frozenset({"skipDestroy", "trackLatest"})
    defaults = {
        "executionRoleArn": None,
        "taskRoleArn": None,
        "volumes": [],
        "ephemeralStorage": None,
        "pidMode": None,
        "ipcMode": None,
        "tags": {},
    }
    unordered = frozenset({"requiresCompatibilities", "volumes"})

    def create(self, inputs: Properties) -> str:
        storage = inputs.get("ephemeralStorage")
        found = self.context.client("ecs").register_task_definition(
            **given(
                family=inputs["family"],
                containerDefinitions=_started(inputs["containerDefinitions"]),
                cpu=_text(inputs.get("cpu")),
                memory=_text(inputs.get("memory")),
                networkMode=inputs.get("networkMode"),
                requiresCompatibilities=inputs.get("requiresCompatibilities"),
                runtimePlatform=inputs.get("runtimePlatform"),
                executionRoleArn=inputs.get("executionRoleArn"),
                taskRoleArn=inputs.get("taskRoleArn"),
                volumes=[_volume(volume) for volume in inputs.get("volumes", [])] or None,
                ephemeralStorage={"sizeInGiB": storage["sizeInGib"]} if storage else None,
                pidMode=inputs.get("pidMode"),
                ipcMode=inputs.get("ipcMode"),
                tags=tag_list(inputs.get("tags"), "key", "value") or None,
            )
        )
        return str(found["taskDefinition"]["taskDefinitionArn"])

    def read(self, locator: str) -> Properties | None:
        found = find_task_definition(self.context, locator)
        if found is None or found["status"] != "ACTIVE":
            return None
        tags = _tags(self.context, locator)
        return task_definition_properties(found) | {"id": found["family"], "tags": tags, "tagsAll": tags}

    @classmethod
    def ineffective(cls, inputs: Properties) -> dict[str, str]:
        """Containers that are not essential are not started.

        Goes when the containers of an emulated task share a network, as on Fargate.
        """
        document = inputs.get("containerDefinitions", UNKNOWN)
        containers = [] if document == UNKNOWN else json.loads(document)
        return {
            f"containerDefinitions.{container['name']}": "the emulator gives each container of a task an address of "
            "its own, so nothing would reach it at localhost; it is not started"
            for container in containers
            if not container.get("essential", True)
        }

    def equal(self, name: str, wanted: Any, actual: Any, inputs: Properties) -> bool:
        if name == "containerDefinitions":
            return canonical(json.dumps(_started(wanted)), inputs) == canonical(actual or "[]", inputs)
        return super().equal(name, wanted, actual, inputs)

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        retag(self.context, locator, inputs.get("tags"))

    def delete(self, locator: str, recorded: Properties) -> None:
        if not recorded.get("skipDestroy") and find_task_definition(self.context, locator) is not None:
            self.context.client("ecs").deregister_task_definition(taskDefinition=locator)


def _started(definitions: str) -> list[dict[str, Any]]:
    """The containers that are started: see `TaskDefinition.ineffective`."""
    return [container for container in json.loads(definitions) if container.get("essential", True)]


def _text(number: Any) -> str | None:
    return None if number is None else str(number)


def _volume(volume: Properties) -> dict[str, Any]:
    return given(name=volume["name"], host={"sourcePath": volume["hostPath"]} if volume.get("hostPath") else None)


def canonical(document: str, inputs: Properties) -> list[Any]:
    """Container definitions without what ECS fills in or reorders, so that equal ones compare equal."""
    containers = []
    for container in json.loads(document):
        container = {"essential": True, "cpu": 0} | container
        for list_name in ("environment", "secrets"):
            container[list_name] = sorted(container.get(list_name) or [], key=lambda entry: str(entry["name"]))
        ports = [{"protocol": "tcp"} | port for port in container.get("portMappings") or []]
        for port in ports:
            if inputs.get("networkMode") == "awsvpc" or port.get("hostPort") == 0:
                port.pop("hostPort", None)
        container["portMappings"] = sorted(ports, key=lambda port: int(port["containerPort"]))
        containers.append(_without_empty(container))
    return sorted(containers, key=lambda container: str(container["name"]))


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: kept for key, entry in value.items() if (kept := _without_empty(entry)) not in (None, [], {})}
    return [_without_empty(entry) for entry in value] if isinstance(value, list) else value


def find_task_definition(context: Context, reference: str) -> dict[str, Any] | None:
    """The task definition (ARN, family or family:revision) as ECS describes it, or None."""
    ecs = context.client("ecs")
    try:
        return dict(ecs.describe_task_definition(taskDefinition=reference)["taskDefinition"])
    except ClientError as error:
        if "Unable to describe task definition" in str(error):
            return None
        raise


def task_definition_properties(found: dict[str, Any]) -> Properties:
    """ECS's description in Pulumi's terms."""
    arn = found["taskDefinitionArn"]
    return {
        "arn": arn,
        "arnWithoutRevision": arn.rsplit(":", 1)[0],
        "family": found["family"],
        "revision": found["revision"],
        "containerDefinitions": json.dumps(found["containerDefinitions"]),
        "cpu": found.get("cpu"),
        "memory": found.get("memory"),
        "networkMode": found.get("networkMode"),
        "requiresCompatibilities": found.get("requiresCompatibilities", []),
        "runtimePlatform": found.get("runtimePlatform"),
        "executionRoleArn": found.get("executionRoleArn", ""),
        "taskRoleArn": found.get("taskRoleArn", ""),
        "pidMode": found.get("pidMode", ""),
        "ipcMode": found.get("ipcMode", ""),
        "volumes": [
            given(name=volume["name"], hostPath=volume.get("host", {}).get("sourcePath"))
            for volume in found.get("volumes", [])
        ],
        "ephemeralStorage": {"sizeInGib": found["ephemeralStorage"]["sizeInGiB"]}
        if found.get("ephemeralStorage")
        else None,
        "status": found["status"],
    }


@function("aws:ecs/getTaskDefinition:getTaskDefinition", "taskDefinition")
def get_task_definition(context: Context, args: Properties) -> Properties:
    found = find_task_definition(context, args["taskDefinition"])
    if found is None:
        raise ProviderError(f"reading ECS Task Definition ({args['taskDefinition']}): couldn't find resource")
    return task_definition_properties(found) | {
        "id": found["taskDefinitionArn"],
        "taskDefinition": args["taskDefinition"],
    }
