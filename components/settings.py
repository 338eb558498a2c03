"""The stack's configuration: its shape, its defaults, and the only place that reads it.

`load()` reads it inside a Pulumi program, `read_stack_file()` outside of one (rehearsal, operations); both end in
`parse()`, which reports every mistake at once in one `SettingsError`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import pulumi
import yaml
from pulumi.runtime import config as runtime_config
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

NAMESPACE = "mcp-on-ecs"
"""The configuration namespace: keys are written `mcp-on-ecs:services` and so on. The project's name in Pulumi.yaml."""

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
FARGATE_MEMORY: dict[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
}
"""CPU units (1024 = one vCPU) -> the memory sizes, in MiB, that Fargate pairs them with."""

# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
LOG_RETENTION_DAYS = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)


class SettingsError(pulumi.RunError):
    """The stack's configuration cannot be used. `mistakes` has one text each; the message shows all of them."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        noun = "mistake" if len(mistakes) == 1 else "mistakes"
        super().__init__(
            f"{len(mistakes)} {noun} in the stack's configuration; nothing was changed.\n" + "\n".join(mistakes)
        )


class Model(BaseModel):
    """Frozen, camelCase in configuration, and a key nobody reads is a mistake: a typo must not be ignored."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        str_strip_whitespace=True,
    )

    def disagreements(self) -> Iterator[tuple[set[str], str]]:
        """Settings that do not go together: the fields concerned, and what is wrong with what to do."""
        return iter(())

    @model_validator(mode="wrap")
    @classmethod
    def _report_all(cls, data: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Disagreements are reported together with mistakes in other fields, not only once those are mended."""
        problems: list[Any] = []
        try:
            model = validate(data)
        except ValidationError as error:
            problems = [
                {**problem, "type": PydanticCustomError("disagreement", "{text}", problem["ctx"])}
                if problem["type"] == "disagreement"
                else problem
                for problem in error.errors(include_url=False)
            ]
            wrong = {str(problem["loc"][0]) for problem in problems if problem["loc"]}
            try:
                model = validate({name: value for name, value in data.items() if name not in wrong})
            except (ValidationError, AttributeError):
                raise error from None
        else:
            wrong = set()
        found = [
            text
            for fields, text in model.disagreements()
            if not fields & {name for name in fields if to_camel(name) in wrong}
        ]
        problems += [
            {"type": PydanticCustomError("disagreement", "{text}", {"text": text}), "loc": (), "input": data}
            for text in found
        ]
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return model


Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=40)]
"""Lower-case letters, digits and single hyphens, starting with a letter: what ECR, ELB, ECS and DNS all accept."""

Port = Annotated[int, Field(ge=1024, le=65535)]
"""A TCP port that a process without privileges can listen on."""

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]

Host = Annotated[str, StringConstraints(to_lower=True, pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}$")]
"""A fully qualified host name, without scheme or port."""


def _path_prefix(value: str) -> str:
    value = "/" + value.strip("/")
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value) or "/." in value:
        # Anything else would have to be escaped differently in path patterns, rewrite expressions and URLs.
        raise ValueError(
            "a path like /google-workspace: letters, digits, . _ ~ and - between slashes, none starting with a dot"
        )
    if value.startswith("/.well-known"):
        raise ValueError("a path outside /.well-known, which belongs to the whole domain")
    return value


PathPrefix = Annotated[str, AfterValidator(_path_prefix)]
"""A path with a leading and no trailing slash."""

Tag = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[\w\s.:/=+@-]+$")]
"""A tag's value: letters, digits, spaces and . : / = + - @ (what every AWS service accepts)."""


class Estate(Model):
    """What exists already and is shared with other services. It is looked up, never created and never changed."""

    vpc: str
    """The VPC's id (vpc-...) or its Name tag."""
    task_subnets: Annotated[list[str], Field(min_length=1)]
    """Private subnets for the tasks, each by id (subnet-...), CIDR block (10.0.10.0/24) or Name tag. Two zones or more survive the loss of one."""
    cluster: str
    """The ECS cluster's name."""
    load_balancer: str | None = None
    """The application load balancer's name. Needed when a service is reached from outside."""
    listener_port: Annotated[int, Field(ge=1, le=65535)] = 443
    """Port of the load balancer's HTTPS listener. Default 443."""
    namespace: str
    """The private DNS namespace (AWS Cloud Map) for discovery inside the VPC."""


class SecretKey(Model):
    """One key of a JSON secret in AWS Secrets Manager. Only the reference is configured, never a value."""

    secret: Annotated[str, StringConstraints(min_length=1)]
    """The secret's name or ARN."""
    key: Annotated[str, StringConstraints(pattern=r"^[\w./+=@-]+$")]
    """The JSON key within it. Required: without one the container would get the whole JSON object."""


class Image(Model):
    """How the image is made, or which finished one is used."""

    context: str = "image"
    """The build context: a directory, absolute or relative to the project. Default: `image`, which packages workspace-mcp."""
    dockerfile: str = "Dockerfile"
    """The Dockerfile's path within the context. Default Dockerfile."""
    target: str | None = None
    """The build stage to stop at. Default: the last."""
    args: dict[str, str] = {}
    """Build arguments. They end up in the image's history, so never a secret."""
    platform: Literal["linux/amd64", "linux/arm64"] = "linux/amd64"
    """What the image is built for; the task definition's CPU architecture follows from it. Default linux/amd64."""
    digest: Annotated[str, StringConstraints(pattern=r"^([a-z0-9.:/_-]+@)?sha256:[0-9a-f]{64}$")] | None = None
    """A finished image in place of a build: `sha256:...` in the service's own repository, or `registry/name@sha256:...`. While it is set nothing is built."""

    @property
    def architecture(self) -> Literal["X86_64", "ARM64"]:
        """The platform in ECS's words."""
        return "ARM64" if self.platform == "linux/arm64" else "X86_64"


class InternalRouting(Model):
    """Discovery inside the VPC only; no rule on the load balancer."""

    strategy: Literal["internal"]


class _Public(Model):
    host: Host
    """The public host name, which the listener's certificates must cover."""
    priority: Annotated[int, Field(ge=1, le=49_990)]
    """The first of the listener rule priorities that the service takes; further rules take the numbers that follow."""


class RewriteRouting(_Public):
    """A path of a shared host; the load balancer strips it, so the server needs to know nothing of it."""

    strategy: Literal["rewrite"]
    path: PathPrefix
    """The path prefix, such as /google-workspace."""


class HostRouting(_Public):
    """A host name of its own; no rewriting."""

    strategy: Literal["host"]
    hosted_zone: str | None = None
    """The Route 53 zone in which to make the host's alias record. Default: the record is made elsewhere."""


class PrefixRouting(_Public):
    """A path of a shared host that the server strips itself, told by an environment variable."""

    strategy: Literal["prefix"]
    path: PathPrefix
    """The path prefix, such as /google-workspace."""
    variable: VariableName = "MCP_PATH_PREFIX"
    """The environment variable that tells the server its prefix. Default MCP_PATH_PREFIX."""


PathPattern = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_\-.$/~\"'@:+*?&]*$", max_length=128)]
"""A path pattern of a listener rule: `*` stands for any characters, `?` for one."""


class PatternRouting(_Public):
    """Paths that the server itself answers on: requests that match are forwarded as they come."""

    strategy: Literal["pattern"]
    patterns: Annotated[list[PathPattern], Field(min_length=1, max_length=20)]
    """Path patterns that the server's own paths match, such as /mcp/google-workspace*."""
    path: PathPrefix | None = None
    """The path that the server's address has behind the host. Default: none."""


PublicRouting = RewriteRouting | HostRouting | PrefixRouting | PatternRouting
Routing = Annotated[PublicRouting | InternalRouting, Field(discriminator="strategy")]


class MemoryState(Model):
    """OAuth state in the task's memory: one task only, and every deployment logs the clients out."""

    backend: Literal["memory"] = "memory"


class ValkeyState(Model):
    """OAuth state in a Valkey or Redis that all tasks share."""

    backend: Literal["valkey"]
    host: Annotated[str, StringConstraints(min_length=1)]
    """Host name of the cache's endpoint."""
    port: Annotated[int, Field(ge=1, le=65535)] = 6379
    """Port. Default 6379."""
    tls: bool = True
    """Encrypt the connection. Default true."""
    database: Annotated[int, Field(ge=0)] = 0
    """Database number. Default 0."""


class OAuth(Model):
    """How clients log in to workspace-mcp."""

    enabled: bool = True
    """OAuth 2.1. Default true; false is for servers reached from inside the VPC only."""
    client_redirect_uris: list[str] = []
    """Redirect addresses that a client may register, such as https://claude.ai/api/mcp/auth_callback or http://localhost:* (any port).
    Required when reached from outside: unset, the server takes any."""
    allowed_origins: list[Annotated[str, StringConstraints(pattern=r"^https://[^/*,\s]+$")]] = []
    """Origins of browser-based clients that may call the server, beside its own. Default: none."""
    state: Annotated[MemoryState | ValkeyState, Field(discriminator="backend")] = MemoryState()
    """Where registrations and codes are kept. Default memory, which allows one task."""

    @field_validator("client_redirect_uris")
    @classmethod
    def _safe(cls, uris: list[str]) -> list[str]:
        for uri in uris:
            parts = urlsplit(uri)
            loopback = re.fullmatch(r"(localhost|127\.0\.0\.1|\[::1\])(:(\*|\d+))?", parts.netloc)
            if (
                "," in uri
                or not (parts.scheme == "https" or (parts.scheme == "http" and loopback))
                or "*" in (parts.hostname or "*")
            ):
                raise ValueError(
                    "https addresses, or http on localhost, each with a host spelled out (no * in it) and without a comma"
                )
        return uris


class Logs(Model):
    """The service's log group."""

    retention_days: int = 7
    """Days that log lines are kept; one of the numbers CloudWatch Logs knows. Default 7."""
    retention_reason: Tag | None = None
    """Why the retention differs from the default, written on the log group as a tag."""

    @field_validator("retention_days")
    @classmethod
    def _known(cls, days: int) -> int:
        if days not in LOG_RETENTION_DAYS:
            raise ValueError(", ".join(map(str, LOG_RETENTION_DAYS)))
        return days

    def disagreements(self) -> Iterator[tuple[set[str], str]]:
        usual = Logs.model_fields["retention_days"].default
        if self.retention_days != usual and not self.retention_reason:
            yield (
                {"retention_days", "retention_reason"},
                f"retentionReason is missing: say why the retention is not the usual {usual} days",
            )


class Permissions(Model):
    """What the running server may do beyond nothing."""

    bucket: str | None = None
    """A bucket whose objects the server may read, write and delete, and which it may list."""
    secrets: list[Annotated[str, StringConstraints(pattern=r"^[\w/+=.@-]+\*?$", min_length=2)]] = []
    """Names of secrets the server itself may read at run time; a trailing * covers what begins so (busyb/*)."""


class Health(Model):
    """How the load balancer and ECS decide that a task is healthy. Times in seconds."""

    path: Annotated[str, StringConstraints(pattern=r"^/[\w./~-]*$")] = "/health"
    """Path that answers 200 without a login. Default /health."""
    interval: Annotated[int, Field(ge=5, le=300)] = 30
    """Time between checks. Default 30."""
    timeout: Annotated[int, Field(ge=2, le=60)] = 5
    """How long an answer may take. Default 5."""
    healthy_threshold: Annotated[int, Field(ge=2, le=10)] = 2
    """Good answers until a target is healthy. Default 2."""
    unhealthy_threshold: Annotated[int, Field(ge=2, le=10)] = 3
    """Bad answers until a target, or the container, is unhealthy. Default 3."""
    start_period: Annotated[int, Field(ge=0, le=300)] = 60
    """Time a container has to start before bad answers count. Default 60."""
    grace_period: Annotated[int, Field(ge=0)] = 60
    """Time after a task's start in which ECS ignores target health. Default 60."""

    def disagreements(self) -> Iterator[tuple[set[str], str]]:
        if self.timeout >= self.interval:
            yield (
                {"timeout", "interval"},
                f"timeout is {self.timeout} s; it must be less than interval, {self.interval} s",
            )
        if self.grace_period < self.start_period:
            # Otherwise ECS kills on target health what the container's own check still gives time to start.
            yield (
                {"grace_period", "start_period"},
                f"gracePeriod is {self.grace_period} s; it must be at least startPeriod, {self.start_period} s",
            )


class Discovery(Model):
    """How other services in the VPC find this one."""

    name: Name | None = None
    """The name within the namespace. Default: the service's key."""
    ttl: Annotated[int, Field(ge=1, le=3600)] = 60
    """Life of the DNS records, in seconds. Default 60."""


class Service(Model):
    """One MCP server on the cluster."""

    key: Annotated[Name, Field(exclude=True)] = "unset"
    """Its key under `services`; not configured."""
    name: Annotated[Name, StringConstraints(max_length=26)] = "unset"
    """Base of the physical names: repository, log group, roles, target group, task definition, service. Default: `<namePrefix>-<key>-mcp`.
    At most 26 characters: a target group's name has 32, and carries a port behind it."""
    server: Literal["workspace-mcp", "other"] = "workspace-mcp"
    """What runs in the image. `workspace-mcp` gets all its settings from here; `other` gets those that `variables` names."""
    variables: dict[VariableName, str] = {}
    """For `other`: variables built from the deployment, with {url}, {origin}, {host}, {path} and {port} filled in."""
    image: Image = Image()
    """How the image is made. Default: built from `image/` for linux/amd64."""
    cpu: int = 512
    """CPU units of a task, 1024 to a vCPU. Default 512."""
    memory: int = 1024
    """Memory of a task, in MiB; Fargate pairs it with the CPU. Default 1024."""
    port: Port = 8000
    """The port the server listens on; target group, discovery and health checks follow. Default 8000."""
    desired_count: Annotated[int, Field(ge=0, le=100)] = 1
    """Number of tasks. Default 1. More than one needs shared OAuth state."""
    environment: dict[VariableName, str] = {}
    """Further plain environment variables. Nothing secret, and nothing that follows from other settings."""
    secrets: dict[VariableName, SecretKey] = {}
    """Environment variable -> the secret's JSON key it is filled from when a task starts."""
    oauth: OAuth = OAuth()
    """How clients log in (workspace-mcp)."""
    permissions: Permissions = Permissions()
    """What the running server may do in the account. Default: nothing."""
    execution_role: str | None = None
    """An existing execution role's name. Default: a role of its own with exactly the rights that starting the task takes."""
    security_groups: list[str] = []
    """Existing security groups for the tasks, by name or id. Default: one of its own that admits the load balancer and `consumers` on `port` alone."""
    consumers: list[str] = []
    """Security groups, by name or id, whose members may call the service inside the VPC (only with a group of its own)."""
    exec_enabled: bool = True
    """Allow `aws ecs execute-command` into the tasks. Default true."""
    read_only_root: bool = True
    """Mount the container's root file system read-only. Default true; what execute-command's agent writes goes to volumes of its own."""
    health: Health = Health()
    """Health checks."""
    logs: Logs = Logs()
    """Log group."""
    discovery: Discovery = Discovery()
    """Discovery inside the VPC."""
    routing: Routing = InternalRouting(strategy="internal")
    """How the service is reached from outside. Default: not at all."""
    tags: dict[str, Tag] = {}
    """Further tags for this service's resources."""

    @field_validator("routing", mode="before")
    @classmethod
    def _default_strategy(cls, value: Any) -> Any:
        if isinstance(value, dict) and "strategy" not in value:
            return {"strategy": "rewrite" if "path" in value else "host" if "host" in value else "internal", **value}
        return value

    @field_validator("memory")
    @classmethod
    def _fargate_pair(cls, memory: int, info: ValidationInfo) -> int:
        cpu = info.data.get("cpu")
        if cpu is not None and cpu not in FARGATE_MEMORY:
            raise ValueError(f"cpu is {cpu}; Fargate has {', '.join(map(str, FARGATE_MEMORY))}")
        if cpu is not None and memory not in FARGATE_MEMORY[cpu]:
            sizes = FARGATE_MEMORY[cpu]
            raise ValueError(
                f"with {cpu} CPU units Fargate has {', '.join(map(str, sizes[:8]))}{' ...' if len(sizes) > 8 else ''} MiB"
            )
        return memory

    def disagreements(self) -> Iterator[tuple[set[str], str]]:
        both = sorted(self.environment.keys() & self.secrets.keys())
        if both:
            yield {"environment", "secrets"}, f"{', '.join(both)}: in environment and in secrets; keep one"
        if self.security_groups and self.consumers:
            yield (
                {"security_groups", "consumers"},
                (
                    "consumers needs a security group of the service's own: leave securityGroups empty, or open the existing group yourself"
                ),
            )
        if self.server == "other":
            return
        if self.variables:
            yield {"server", "variables"}, "variables is for server: other; workspace-mcp's are set for you"
        for name in ("GOOGLE_OAUTH_CLIENT_ID", "GOOGLE_OAUTH_CLIENT_SECRET"):
            if name not in self.secrets:
                yield (
                    {"server", "secrets"},
                    f"secrets.{name} is missing: workspace-mcp exits at once without it (MCP_{name} is not read)",
                )
        if self.public and self.oauth.enabled and not self.oauth.client_redirect_uris:
            yield (
                {"oauth", "routing"},
                (
                    "oauth.clientRedirectUris is empty: reached from outside, the server would register any redirect address; "
                    "list your clients'"
                ),
            )
        if self.public and not self.oauth.enabled:
            yield (
                {"oauth", "routing"},
                (
                    "oauth.enabled is false, but routing reaches the service from outside: anyone could read people's mail; "
                    "use strategy: internal"
                ),
            )
        if self.oauth.enabled and self.desired_count > 1 and self.oauth.state.backend == "memory":
            yield (
                {"oauth", "desired_count"},
                (
                    f"desiredCount is {self.desired_count}, but OAuth state is in each task's memory: "
                    "logins fail between tasks; set oauth.state.backend: valkey"
                ),
            )

    @property
    def public(self) -> PublicRouting | None:
        """The routing from outside, or None for an internal service."""
        return None if isinstance(self.routing, InternalRouting) else self.routing

    @property
    def url(self) -> str | None:
        """The address from outside, without a trailing slash, or None."""
        if self.public is None:
            return None
        return f"https://{self.public.host}{getattr(self.public, 'path', None) or ''}"

    @property
    def discovery_name(self) -> str:
        """The name within the private namespace."""
        return self.discovery.name or self.key


class Settings(Model):
    """A stack's configuration: one environment, its estate, and one or more MCP services."""

    environment: Name
    """Value of the tag Environment, such as production."""
    name_prefix: Name
    """What physical names begin with, such as the company's name."""
    tags: dict[str, Tag] = {}
    """Further tags for every resource."""
    estate: Estate
    """What exists already."""
    services: Annotated[dict[Name, Service], Field(min_length=1)]
    """The MCP services, by key."""

    @field_validator("services", mode="before")
    @classmethod
    def _keyed(cls, services: Any, info: ValidationInfo) -> Any:
        if not isinstance(services, dict):
            return services
        prefix = info.data.get("name_prefix", "unset")
        return {
            key: {"name": f"{prefix}-{key}-mcp", **value, "key": key} if isinstance(value, dict) else value
            for key, value in services.items()
        }

    @field_validator("services")
    @classmethod
    def _apart(cls, services: dict[str, Service]) -> dict[str, Service]:
        from components.routing import listener_rules  # here: routing is built on settings

        mistakes, holders = [], dict[str, str]()
        for key, service in services.items():
            rules = listener_rules(service)
            claims = {f"the name {service.name}", f"the discovery name {service.discovery_name}"}
            claims |= {f"the listener priority {rule.priority}" for rule in rules}
            claims |= {f"the address {rule.host}{path}" for rule in rules for path in rule.paths or ("",)}
            for claim in sorted(claims):
                holder = holders.setdefault(claim, key)
                if holder != key:
                    mistakes.append(f"{holder} and {key} both have {claim}; change one of them")
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return services

    def disagreements(self) -> Iterator[tuple[set[str], str]]:
        if self.estate.load_balancer is None:
            for key, service in self.services.items():
                if service.public:
                    yield (
                        {"estate", "services"},
                        f"estate.loadBalancer is missing: services.{key}.routing reaches the service from outside",
                    )

    @property
    def parameter_prefix(self) -> str:
        """Path under which the stack stores parameters."""
        return f"/{self.name_prefix}/{self.environment}"

    def tags_for(self, service: Service) -> dict[str, str]:
        """The tags of a service's resources. Environment, Service and ManagedBy are always there."""
        return {
            **self.tags,
            **service.tags,
            "Environment": self.environment,
            "Service": f"{service.key}-mcp",
            "ManagedBy": "pulumi",
        }


def load() -> Settings:
    """The configuration of the stack whose program is running."""
    raw = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    return parse(raw)


def read_stack_file(path: Path) -> dict[str, str]:
    """A `Pulumi.<stack>.yaml` as the engine hands it to the program: full key -> text, objects as JSON.

    Raises `SettingsError` where the file is missing or is not YAML. Encrypted values stay as they are.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingsError([f"  {path.name}: {error.strerror}; write it, or name another stack"]) from None
    except yaml.YAMLError as error:
        raise SettingsError([f"  {path.name} is not YAML: {' '.join(str(error).split())}"]) from None
    config = (document or {}).get("config") if isinstance(document or {}, dict) else None
    if not isinstance(config, dict):
        raise SettingsError([f"  {path.name} has no `config:` with keys below it"])
    return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}


def parse(raw: Mapping[str, str]) -> Settings:
    """`raw` (full key -> text, objects as JSON) as settings. Raises `SettingsError` with every mistake there is."""
    values: dict[str, Any] = {}
    mistakes: list[str] = []
    for key, text in raw.items():
        namespace, _, name = key.partition(":")
        if namespace != NAMESPACE:
            continue
        # Objects come as JSON, plain values as they are.
        if isinstance(text, str) and text[:1] in "{[":
            try:
                values[name] = json.loads(text)
            except ValueError as error:
                mistakes.append(_mistake(key, text, f"JSON ({error})", f"pulumi config set --path {key}. ..."))
        else:
            values[name] = text
    if mistakes:
        raise SettingsError(mistakes)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError([_explain(problem) for problem in error.errors()]) from None


def _mistake(key: str, value: object, allowed: str, remedy: str) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    if len(shown) > 120:
        shown = shown[:117] + "..."
    return f"  {key}\n      is       {shown}\n      allowed  {allowed}\n      do       {remedy}"


_STRATEGY_TAGS = {"internal", "rewrite", "host", "prefix", "pattern", "memory", "valkey"}


def _explain(problem: Any) -> str:
    """One of pydantic's errors in the words of the configuration file."""
    # The name of a union's member is part of pydantic's path, not of the file's.
    location = problem["loc"]
    path = [
        str(part)
        for before, part in zip(("", *location), location, strict=False)
        if part != "[key]" and not (part in _STRATEGY_TAGS and before in ("routing", "state"))
    ]
    key = f"{NAMESPACE}:{'.'.join(path)}" if path else f"{NAMESPACE}:"
    value, message = problem["input"], problem["msg"].removeprefix("Value error, ")
    match problem["type"]:
        case "missing":
            return f"  {key}\n      is       not set\n      allowed  {_describe(path)}\n      do       pulumi config set --path '{key}' ..."
        case "extra_forbidden":
            known = _keys(path[:-1])
            near = difflib.get_close_matches(path[-1], known, n=1)
            hint = f"rename it to {near[0]}" if near else "remove it"
            return _mistake(key, value, "one of " + ", ".join(known), f"{hint}: nothing reads this key")
        case "disagreement":
            return f"  {key}\n      {message}"
        case "string_pattern_mismatch":
            allowed = f"{_describe(path)} (pattern {problem['ctx']['pattern']})"
        case "value_error":
            allowed = message
        case _:
            allowed = message[:1].lower() + message[1:]
    return _mistake(key, value, allowed, f"pulumi config set --path '{key}' <value>")


def _model_at(path: list[str]) -> list[type[BaseModel]]:
    """The models that can stand at a path of the configuration (several for a union)."""
    models: list[type[BaseModel]] = [Settings]
    for part in path:
        found: list[type[BaseModel]] = []
        for model in models:
            for name, field in model.model_fields.items():
                if part in (name, field.alias):
                    found += _models_in(field.annotation)
        models = found or models  # a dictionary's key or a list's index stays at the same models
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]


def _keys(path: list[str]) -> list[str]:
    return sorted(
        {
            field.alias or name
            for model in _model_at(path)
            for name, field in model.model_fields.items()
            if name != "key"
        }
    )


def _describe(path: list[str]) -> str:
    for model in _model_at(path[:-1]):
        for name, field in model.model_fields.items():
            if path[-1] in (name, field.alias) and field.description:
                return " ".join(field.description.split())
    return "a value"
