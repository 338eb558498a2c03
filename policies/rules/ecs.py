"""Task definitions and ECS services; what is inside of the containers is in `containers`."""

from __future__ import annotations

from collections.abc import Iterator

from components.settings import FARGATE_MEMORY
from policies.rule import Resource, Severity, Stack, rule
from policies.rules.containers import IMAGE

SERVICE = "aws:ecs/service:Service"
TASK_DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"
_SERVICES, _TASKS = frozenset({SERVICE}), frozenset({TASK_DEFINITION})
_ARCHITECTURE = {"linux/amd64": "X86_64", "linux/arm64": "ARM64"}


@rule(
    id="ecs-service-disallow-public-address",
    controls=("ECS.2", "CKV_AWS_333"),
    severity=Severity.HIGH,
    description="Tasks have no public address.",
    why="the server would be reached past the load balancer.",
    remedy="networkConfiguration.assignPublicIp: false, and private subnets in estate.taskSubnets.",
    types=_SERVICES,
)
def private(service: Resource, _: Stack) -> Iterator[str]:
    if service.get("networkConfiguration", "assignPublicIp"):
        yield "its tasks get public addresses"


@rule(
    id="ecs-service-require-latest-platform",
    controls=("ECS.10", "CKV_AWS_332"),
    severity=Severity.MEDIUM,
    description="Services run on the latest platform version.",
    why="older ones lack security patches.",
    remedy="platformVersion: LATEST.",
    types=_SERVICES,
)
def latest(service: Resource, _: Stack) -> Iterator[str]:
    version = service.get("platformVersion")
    if version not in (None, "LATEST"):
        yield f"its platform version is {version}"


@rule(
    id="ecs-service-require-rollback",
    severity=Severity.HIGH,
    description="Services go back by themselves when new tasks do not start.",
    why="an image that crashes at start would be restarted for ever, while the deployment seems to be under way.",
    remedy="deploymentCircuitBreaker: {enable: true, rollback: true}.",
    types=_SERVICES,
)
def breaker(service: Resource, _: Stack) -> Iterator[str]:
    for part in ("enable", "rollback"):
        if not service.get("deploymentCircuitBreaker", part):
            yield f"deploymentCircuitBreaker.{part} is not true"


@rule(
    id="ecs-task-disallow-host-pid",
    controls=("ECS.3", "CKV_AWS_335"),
    severity=Severity.HIGH,
    description="Tasks do not share the host's process namespace.",
    why="a container could see and stop the processes of others.",
    remedy="remove pidMode.",
    types=_TASKS,
)
def host_pid(task: Resource, _: Stack) -> Iterator[str]:
    if task.get("pidMode") == "host":
        yield "pidMode is host"


@rule(
    id="ecs-task-disallow-host-network",
    controls=("ECS.17",),
    severity=Severity.HIGH,
    description="Tasks do not use the host's network.",
    why="security groups would not hold, and ports of other tasks would be within reach.",
    remedy="networkMode: awsvpc.",
    types=_TASKS,
)
def host_network(task: Resource, _: Stack) -> Iterator[str]:
    if task.get("networkMode") == "host":
        yield "networkMode is host"


@rule(
    id="ecs-task-require-fargate-size",
    controls=("E3047", "E3048", "E3054"),
    severity=Severity.HIGH,
    description="Tasks and services have the fields, CPU and memory that Fargate takes.",
    why="ECS refuses the task definition or the service in the middle of a deployment.",
    remedy="set services.<service>.cpu and .memory to a pair that Fargate has.",
    types=_TASKS | _SERVICES,
)
def fargate(resource: Resource, _: Stack) -> Iterator[str]:
    if resource.type == SERVICE:
        launch, strategy = resource.get("launchType"), resource.items("capacityProviderStrategies")
        if launch and strategy:
            yield f"launchType is {launch}, and it has capacityProviderStrategies; ECS takes one of them"
        elif launch != "FARGATE" and not strategy:
            yield f"launchType is {launch or 'not set, which AWS takes for EC2'}"
        for provider in (item.get("capacityProvider") for item in strategy):
            if provider not in ("FARGATE", "FARGATE_SPOT"):
                yield f"capacity provider {provider} is not Fargate's"
        if resource.get("schedulingStrategy") == "DAEMON":
            yield "schedulingStrategy is DAEMON; Fargate has REPLICA only"
        return
    if "FARGATE" not in resource.items("requiresCompatibilities"):
        yield "requiresCompatibilities does not name FARGATE"
    if resource.get("networkMode") != "awsvpc":
        yield f"networkMode is {resource.get('networkMode')}; Fargate has awsvpc only"
    if resource.items("placementConstraints"):
        yield "it has placementConstraints; Fargate has none"
    cpu, memory = (_number(resource.get(name)) for name in ("cpu", "memory"))
    if cpu not in FARGATE_MEMORY:
        yield f"cpu is {cpu}; Fargate has {', '.join(map(str, FARGATE_MEMORY))}"
    elif memory not in FARGATE_MEMORY[cpu]:
        yield f"{cpu} CPU units and {memory} MiB are no pair that Fargate has"


@rule(
    id="ecs-service-require-on-demand",
    severity=Severity.MEDIUM,
    description="A service on Spot keeps a task on demand.",
    why="AWS may take all of its tasks at two minutes' notice, and starts none until it has capacity to spare.",
    remedy="set services.<service>.capacity.onDemandBase to 1 or more.",
    types=_SERVICES,
)
def on_demand(service: Resource, _: Stack) -> Iterator[str]:
    strategy = service.items("capacityProviderStrategies")
    spot = any(item.get("capacityProvider") == "FARGATE_SPOT" and item.get("weight") for item in strategy)
    if spot and not any(item.get("capacityProvider") != "FARGATE_SPOT" and item.get("base") for item in strategy):
        yield "all of its tasks may run on Spot"


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, str | float | int) and str(value).removesuffix(".0").isdigit() else None


@rule(
    id="ecs-task-separate-roles",
    controls=("CKV_AWS_249",),
    severity=Severity.HIGH,
    description="The task role is not the execution role.",
    why="the server could read every secret and pull every image that starting the task takes.",
    remedy="leave executionRole out to have one made, or name one that is not the task's.",
    types=_TASKS,
    whole_stack=True,
)
def roles_apart(task: Resource, stack: Stack) -> Iterator[str]:
    known = [task.knows(name) for name in ("taskRoleArn", "executionRoleArn")]
    if all(known):
        same = task.get("taskRoleArn") is not None and task.get("taskRoleArn") == task.get("executionRoleArn")
    elif any(known):
        same = False  # One is being made, the other is not.
    else:
        # Both are being made: one role for the two, or more.
        roles = stack.needs(task, "aws:iam/role:Role")
        same = len(roles) == 1 if roles else task.get("taskRoleArn")
    if same:
        yield "its task role is its execution role"


@rule(
    id="ecs-task-match-image-architecture",
    severity=Severity.HIGH,
    description="Images are built for the architecture that their task runs on.",
    why="the container ends with `exec format error`, after the image was pushed and the service updated.",
    remedy="set services.<service>.image.platform; the task's architecture follows from it.",
    types=_TASKS,
    whole_stack=True,
)
def architecture_agrees(task: Resource, stack: Stack) -> Iterator[str]:
    wanted = task.get("runtimePlatform", "cpuArchitecture") or "X86_64"
    for image in stack.needs(task, IMAGE):
        platform = image.get("build", "platform")
        if platform in _ARCHITECTURE and _ARCHITECTURE[platform] != wanted:
            yield f"it runs {image.name}, built for {platform}, on {wanted}"


@rule(
    id="docker-image-require-platform",
    severity=Severity.HIGH,
    description="Image builds state their platform.",
    why="the image is otherwise built for whatever machine runs the deployment.",
    remedy="set services.<service>.image.platform to linux/amd64 or linux/arm64.",
    types=frozenset({IMAGE}),
)
def platform_stated(image: Resource, _: Stack) -> Iterator[str]:
    platform = image.get("build", "platform")
    if platform not in _ARCHITECTURE:
        yield f"build.platform is {platform or 'not set'}"
