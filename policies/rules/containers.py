"""What runs in a task: its container definitions, which are one JSON text.

At a preview that builds an image the text of the task definition is unknown, since the image's digest is. Then the
component's own is held to the rules: it has everything but the digest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from policies.rule import SERVICE_COMPONENT, Check, Resource, Severity, Stack, boolean, rule

IMAGE = "docker:index/image:Image"
TASK_DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"
DEFINED_IN = frozenset({TASK_DEFINITION, SERVICE_COMPONENT})

Container = Mapping[str, Any]


def containers(resource: Resource) -> list[Container]:
    """The containers of a task definition, or of the component that makes one, which stands in for its unknown text.

    Goes when Pulumi knows in a preview which digest an image will have.
    """
    is_decided_by_component = f"{SERVICE_COMPONENT}$" in resource.urn
    if is_decided_by_component and not resource.knows("containerDefinitions"):
        return []
    return list(resource.document("containerDefinitions") or [])


def running(service: Resource, stack: Stack) -> list[Container]:
    """The containers of an ECS service, from its task definition or component. Raises `UnknownValueError` without."""
    component = stack.by_urn.get(service.parent)
    for task in stack.needs(service, TASK_DEFINITION):
        if component and component.get("containerDefinitions") and not task.knows("containerDefinitions"):
            return containers(component)
        return list(task.document("containerDefinitions") or [])
    return containers(component) if component else []


def environment(container: Container) -> dict[str, str]:
    """Plain variables. Their values are not for messages."""
    return {variable["name"]: str(variable.get("value", "")) for variable in container.get("environment") or []}


def _each(check: Callable[[Container], Iterator[str]]) -> Check:
    """Makes a check on one container one on all of a task."""

    def of_all(resource: Resource, _: Stack) -> Iterator[str]:
        for container in containers(resource):
            for problem in check(container):
                yield f"container {container.get('name')}: {problem}"

    return of_all


@rule(
    id="ecs-container-disallow-privileged",
    controls=("ECS.4", "CKV_AWS_334"),
    severity=Severity.HIGH,
    description="Containers are not privileged.",
    why="the server would have the rights of root on its host.",
    remedy="remove privileged from the container.",
    types=DEFINED_IN,
)
@_each
def unprivileged(container: Container) -> Iterator[str]:
    if boolean(container.get("privileged")):
        yield "it is privileged"


@rule(
    id="ecs-container-require-read-only-root",
    controls=("ECS.5", "CKV_AWS_336"),
    severity=Severity.HIGH,
    description="Containers cannot write to their root file system.",
    why="who breaks into the server could change the program that runs.",
    remedy="services.<service>.readOnlyRoot: true; what must be written goes to a volume.",
    types=DEFINED_IN,
)
@_each
def read_only(container: Container) -> Iterator[str]:
    if not boolean(container.get("readonlyRootFilesystem")):
        yield "its root file system can be written to"


@rule(
    id="ecs-container-require-logs",
    controls=("ECS.9",),
    severity=Severity.HIGH,
    description="Containers write logs.",
    why="a container that dies at start leaves no trace of why.",
    remedy="a logConfiguration with the awslogs driver, as components/containers.py has.",
    types=DEFINED_IN,
)
@_each
def logged(container: Container) -> Iterator[str]:
    if not (container.get("logConfiguration") or {}).get("logDriver"):
        yield "it has no log configuration"


@rule(
    id="ecs-container-require-user",
    controls=("ECS.20",),
    severity=Severity.MEDIUM,
    description="Containers name a user that is not root.",
    why="root in the container makes every hole in the kernel or the runtime worse.",
    remedy="set the container's user to an id such as 10001.",
    types=DEFINED_IN,
)
@_each
def non_root(container: Container) -> Iterator[str]:
    if _is_root(str(container.get("user") or "").partition(":")[0]):
        yield "it runs as root, or as the image says"


def _is_root(user: str) -> bool:
    """Whether a user is root, by name, by being left out, or by an id that the runtime reads as 0: `00`, `+0`."""
    return user in ("", "root") or re.fullmatch(r"[+-]?0+", user) is not None


_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


@rule(
    id="ecs-container-require-image-digest",
    severity=Severity.HIGH,
    description="Images are named by digest, never by a tag such as latest.",
    why="a tag that is pushed again changes what a rollback or a new task starts, without a deployment.",
    remedy="image@sha256:...; components/registry.py gives it, and services.<service>.image.digest takes it.",
    types=DEFINED_IN,
)
@_each
def by_digest(container: Container) -> Iterator[str]:
    image = str(container.get("image", ""))
    if not _DIGEST.search(image):
        tag = image.rpartition("/")[2].partition(":")[2]
        yield f"its image is named by {f'the tag {tag}' if tag else 'the tag latest, unsaid'}"


_ONE_KEY = re.compile(r"^arn:[^:]+:secretsmanager:[^:]+:[^:]+:secret:[^:]+:[^:]+:[^:]*:[^:]*$")


@rule(
    id="ecs-container-require-secret-key",
    severity=Severity.HIGH,
    description="Secrets are injected by one key of their JSON.",
    why="the variable would hold the whole JSON object, which the server takes for the value and fails with later.",
    remedy="arn:KEY:: as valueFrom; name the key under services.<service>.secrets.<variable>.key.",
    types=DEFINED_IN,
)
@_each
def one_key(container: Container) -> Iterator[str]:
    for secret in container.get("secrets") or []:
        source = str(secret.get("valueFrom", ""))
        if ":secretsmanager:" in source and not _ONE_KEY.match(source):
            yield f"{secret.get('name')} gets a whole secret, not one key of its JSON"


_SECRET_NAME = re.compile(
    r"(^|_)(SECRET|PASSWORD|PASSWD|PWD|PASSPHRASE|TOKEN|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY(_ID)?|SIGNING_?KEY"
    r"|ENCRYPTION_?KEY|ECS_ENGINE_AUTH_DATA)$",
    re.I,
)
_SECRET_VALUE = re.compile(
    r"(A3T[A-Z0-9]|AKIA|ASIA)[A-Z0-9]{16}"  # AWS access keys
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|GOCSPX-|ya29\.|AIza[\w-]{35}"  # Google client secrets, access tokens, API keys
    r"|gh[pousr]_\w{36}|github_pat_|xox[abprs]-|hooks\.slack\.com/services/|sk-[\w-]{20}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\."  # JSON web tokens
    r"|://[^/\s:@]+:[^/\s:@]+@"  # addresses with a password
)


def _looks_secret(name: str, value: str) -> bool:
    return bool(_SECRET_VALUE.search(value) or (value and _SECRET_NAME.search(name)))


@rule(
    id="ecs-container-disallow-plain-secrets",
    controls=("ECS.8",),
    severity=Severity.HIGH,
    description="No secret stands in plain variables or build arguments.",
    why="whoever may describe the task definition or pull the image reads it, and it stays in every old revision.",
    remedy="put it into Secrets Manager and name it under services.<service>.secrets: {secret: ..., key: ...}.",
    types=DEFINED_IN | {IMAGE},
)
def no_plain_secrets(resource: Resource, _: Stack) -> Iterator[str]:
    if resource.type == IMAGE:
        build_args = resource.get("build", "args") or {}
        for name in build_args:
            if _looks_secret(name, str(build_args[name])):
                yield f"the build argument {name} looks like a secret"
        return
    for container in containers(resource):
        where = f"container {container.get('name')}"
        for name, value in environment(container).items():
            if _looks_secret(name, value):
                yield f"{where}: the plain variable {name} looks like a secret"
        yield from (f"{where}: {unseen}" for unseen in _unseen_variables(container))


def _unseen_variables(container: Container) -> Iterator[str]:
    if container.get("environmentFiles"):
        yield "its environmentFiles hold variables that no rule sees"
    given = Counter(variable["name"] for variable in container.get("environment") or [])
    for name, times in given.items():
        if times > 1:
            yield f"the plain variable {name} is given {times} times, and rules see the last value only"
