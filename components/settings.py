"""The stack's configuration: its shape, its defaults, and the only place that reads it.

`load()` reads it inside a Pulumi program, `read_stack_file()` outside of one (rehearsal, operations); both end in
`parse()`, which reports every mistake at once in one `SettingsError`.
"""

from __future__ import annotations

import datetime
import difflib
import fnmatch
import itertools
import json
import re
import shlex
import string
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

import pulumi
import yaml
from pulumi.runtime import config as runtime_config
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    TypeAdapter,
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

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Settings that do not go together: the fields concerned, the one to mend first, and what is wrong with what
        to do."""
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
        problems += [
            {
                "type": PydanticCustomError("disagreement", "{text}", {"text": text}),
                "loc": (to_camel(fields[0]),),
                "input": data,
            }
            for fields, text in model.disagreements()
            if not any(to_camel(field) in wrong for field in fields)
        ]
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return model


def _like(pattern: str, words: str) -> AfterValidator:
    """A text that matches `pattern` as a whole; `words` say what that means."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(words)
        return value

    return AfterValidator(check)


_NAME_PATTERN = r"(?=.{1,40}$)[a-z][a-z0-9]*(-[a-z0-9]+)*"

Name = Annotated[
    str,
    _like(_NAME_PATTERN, "1 to 40 lower-case letters, digits and single hyphens between them, starting with a letter"),
]
"""Lower-case letters, digits and single hyphens, starting with a letter: what ECR, ELB, ECS and DNS all accept."""

Port = Annotated[int, Field(ge=1024, le=65535)]
"""A TCP port that a process without privileges can listen on."""

VariableName = Annotated[
    str, _like(r"[A-Za-z_][A-Za-z0-9_]*", "a variable's name: letters, digits and underscores, no digit at the start")
]

Host = Annotated[
    str,
    StringConstraints(to_lower=True),
    _like(
        r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}",
        "a host name like api.example.com: no https:// before it, no port or path behind it",
    ),
]
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

_TAG_WORDS = "letters, digits, spaces and . : / = + - _ @"

Tag = Annotated[str, _like(r"[\w .:/=+@-]{1,256}", f"1 to 256 {_TAG_WORDS}")]
"""A tag's value: what every AWS service accepts."""

OWN_TAGS = ("Environment", "Service", "ManagedBy", "RetentionReason", "Name")


def _tag_key(key: str) -> str:
    if key in OWN_TAGS or key.lower().startswith("aws:"):
        raise ValueError(f"a tag other than aws:... and {', '.join(OWN_TAGS)}, which are set for you")
    return key


TagKey = Annotated[str, _like(r"[\w .:/=+@-]{1,128}", f"1 to 128 {_TAG_WORDS}"), AfterValidator(_tag_key)]
"""A tag's key."""

Reference = Annotated[
    str, _like(r"[^\x00-\x1f\x7f*?]+", "a name, id or ARN as AWS shows it: one line, not empty, no * and no ?")
]
"""The name, id or ARN of something that exists."""

BucketName = Annotated[
    str, _like(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's name, without s3:// and without a path")
]
"""An S3 bucket's name."""

VariableValue = Annotated[
    str, _like(r"(?s)[^\x00]+", "text that is not empty: ECS drops empty variables, and would see a change each time")
]
"""An environment variable's value."""


def _template(text: str) -> str:
    try:
        fields = [part[1:] for part in string.Formatter().parse(text) if part[1] is not None]
    except ValueError:
        fields = [("", "", "")]
    if any(field not in {(fact, "", None) for fact in DEPLOYMENT_FACTS} for field in fields):
        facts = ", ".join(f"{{{fact}}}" for fact in DEPLOYMENT_FACTS)
        raise ValueError(f"text with {facts} in it; a brace that is meant as such is doubled")
    return text


DEPLOYMENT_FACTS = ("url", "origin", "host", "path", "port")
"""What the template of a variable may name, in braces."""

VariableTemplate = Annotated[VariableValue, AfterValidator(_template)]


def _relative_path(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError("a path within the context, such as Dockerfile or docker/Dockerfile")
    return str(path)


class Estate(Model):
    """What exists already and is shared with other services. It is looked up, never created and never changed."""

    vpc: Reference
    """The VPC's id (vpc-...) or its Name tag."""
    task_subnets: Annotated[list[Reference], Field(min_length=1)]
    """Private subnets for the tasks, each by id (subnet-...), CIDR block (10.0.10.0/24) or Name tag. Two zones or
    more survive the loss of one."""
    cluster: Reference
    """The ECS cluster's name."""
    load_balancer: Reference | None = None
    """The application load balancer's name. Needed when a service is reached from outside."""
    listener_port: Annotated[int, Field(ge=1, le=65535)] = 443
    """Port of the load balancer's HTTPS listener. Default 443."""
    namespace: Reference
    """The private DNS namespace (AWS Cloud Map) for discovery inside the VPC."""


class SecretKey(Model):
    """One key of a JSON secret in AWS Secrets Manager. Only the reference is configured, never a value."""

    secret: Reference
    """The secret's name or ARN."""
    key: Annotated[str, _like(r"[\w./+=@-]+", "a key of the secret's JSON: letters, digits and . / + = @ _ -")]
    """The JSON key within it. Required: without one the container would get the whole JSON object."""


ImageByDigest = Annotated[
    str,
    _like(
        r"[a-z0-9.:/_-]+@sha256:[0-9a-f]{64}",
        "registry/name@sha256: and 64 hexadecimal digits; a tag could be pushed again with other content",
    ),
]
"""A finished image in some registry."""


class Image(Model):
    """How the image is made, or which finished one is used."""

    context: Reference = "image"
    """The build context: a directory, absolute or relative to the project. Default: `image`, which packages
    workspace-mcp."""
    dockerfile: Annotated[str, AfterValidator(_relative_path)] = "Dockerfile"
    """The Dockerfile's path within the context. Default Dockerfile."""
    target: Reference | None = None
    """The build stage to stop at. Default: the last."""
    args: dict[str, str] = {}
    """Build arguments. They end up in the image's history, so never a secret."""
    platform: Literal["linux/amd64", "linux/arm64"] = "linux/amd64"
    """What the image is built for; the task definition's CPU architecture follows from it. Default linux/amd64."""
    digest: (
        Annotated[
            str,
            _like(
                r"([a-z0-9.:/_-]+@)?sha256:[0-9a-f]{64}",
                "sha256: and 64 hexadecimal digits, with registry/name@ before it if not in the own repository",
            ),
        ]
        | None
    ) = None
    """A finished image in place of a build: `sha256:...` in the service's own repository, or
    `registry/name@sha256:...`. While it is set nothing is built."""

    @property
    def architecture(self) -> Literal["X86_64", "ARM64"]:
        """The platform in ECS's words."""
        return "ARM64" if self.platform == "linux/arm64" else "X86_64"


class InternalRouting(Model):
    """Discovery inside the VPC only; no rule on the load balancer."""

    strategy: Literal["internal"]
    """Chooses this strategy. Default where `routing` has no host."""


class _Public(Model):
    host: Host
    """The public host name, which the listener's certificates must cover."""
    priority: Annotated[int, Field(ge=1, le=49_990)]
    """The first of the listener rule priorities that the service takes; further rules take the numbers that follow."""


class RewriteRouting(_Public):
    """A path of a shared host; the load balancer strips it, so the server needs to know nothing of it."""

    strategy: Literal["rewrite"]
    """Chooses this strategy. Default where `routing` has a path."""
    path: PathPrefix
    """The path prefix, such as /google-workspace."""


class HostRouting(_Public):
    """A host name of its own; no rewriting."""

    strategy: Literal["host"]
    """Chooses this strategy. Default where `routing` has a host and no path."""
    hosted_zone: Reference | None = None
    """The Route 53 zone in which to make the host's alias record. Default: the record is made elsewhere."""


class PrefixRouting(_Public):
    """A path of a shared host that the server strips itself, told by an environment variable."""

    strategy: Literal["prefix"]
    """Chooses this strategy."""
    path: PathPrefix
    """The path prefix, such as /google-workspace."""
    variable: VariableName = "MCP_PATH_PREFIX"
    """The environment variable that tells the server its prefix. Default MCP_PATH_PREFIX."""


PathPattern = Annotated[
    str,
    _like(
        r"/[A-Za-z0-9_\-.$/~\"'@:+*?&]{0,127}",
        "a path pattern like /mcp/name*: a slash, then up to 127 letters, digits and _ - . $ / ~ \" ' @ : + & * ?",
    ),
]
"""A path pattern of a listener rule: `*` stands for any characters, `?` for one."""


class PatternRouting(_Public):
    """Paths that the server itself answers on: requests that match are forwarded as they come."""

    strategy: Literal["pattern"]
    """Chooses this strategy."""
    patterns: Annotated[list[PathPattern], Field(min_length=1, max_length=20)]
    """Path patterns that the server's own paths match, such as /mcp/google-workspace*."""
    path: PathPrefix | None = None
    """The path that the server's address has behind the host. Default: none."""


PublicRouting = RewriteRouting | HostRouting | PrefixRouting | PatternRouting
Routing = Annotated[PublicRouting | InternalRouting, Field(discriminator="strategy")]


class MemoryState(Model):
    """OAuth state in the task's memory: one task only, and every deployment logs the clients out."""

    backend: Literal["memory"] = "memory"
    """Chooses this store. Default memory."""


class ValkeyState(Model):
    """OAuth state in a Valkey or Redis that all tasks share."""

    backend: Literal["valkey"]
    """Chooses this store."""
    host: Reference
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
    """Redirect addresses that a client may register, such as https://claude.ai/api/mcp/auth_callback or
    http://localhost:* (any port).
    Required when reached from outside: unset, the server takes any."""
    allowed_origins: list[Annotated[str, _like(r"https://[^/*,\s]+", "an origin like https://app.example.com")]] = []
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
                    "https addresses, or http on localhost, each with a host spelled out (no * in it), without a comma"
                )
        return uris


class Tokens(Model):
    """Where workspace-mcp keeps people's Google credentials without OAuth 2.1: an object for each person. With it the
    server keeps none."""

    bucket: BucketName
    """The bucket, which exists. Its default encryption applies."""
    prefix: Annotated[
        str,
        _like(
            r"(?=.{1,200}$)[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*",
            "at most 200 letters, digits, _ - and . in parts between slashes; no part is empty or starts with a dot",
        ),
    ] = "tokens/google"
    """What the keys of its objects begin with; the task role may use no others. Default tokens/google."""


class Logs(Model):
    """The service's log group."""

    retention_days: int = 7
    """Days that log lines are kept; one of the numbers CloudWatch Logs knows. Default 7."""
    retention_reason: Tag | None = None
    """Why the retention differs from the default, written on the log group as a tag."""
    format: Literal["text", "json"] = "text"
    """`json`: each record is an object with time, level, logger, message and exception, which queries and filters read
    by field; it makes the log longer. Only for workspace-mcp. Default text: the server's own lines."""

    @field_validator("retention_days")
    @classmethod
    def _known(cls, days: int) -> int:
        if days not in LOG_RETENTION_DAYS:
            raise ValueError(", ".join(map(str, LOG_RETENTION_DAYS)))
        return days

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        usual = Logs.model_fields["retention_days"].default
        if self.retention_days != usual and not self.retention_reason:
            yield (
                ("retention_reason", "retention_days"),
                f"missing: say why retentionDays is {self.retention_days} and not the usual {usual}",
            )


class Permissions(Model):
    """What the running server may do beyond nothing."""

    bucket: BucketName | None = None
    """A bucket whose objects the server may read, write and delete, and which it may list."""
    secrets: list[
        Annotated[str, _like(r"[A-Za-z0-9/_+=.@-]+\*?", "a secret's name, or the beginning of names and a * behind it")]
    ] = []
    """Names of secrets the server itself may read at run time; a trailing * covers what begins so (busyb/*)."""


class Health(Model):
    """How the load balancer and ECS decide that a task is healthy. Times in seconds."""

    path: Annotated[str, _like(r"/[A-Za-z0-9_./~-]*", "a path like /health")] = "/health"
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

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.timeout >= self.interval:
            yield (
                ("timeout", "interval"),
                f"is {self.timeout} s; it must be less than interval, {self.interval} s",
            )
        if self.grace_period < self.start_period:
            # Otherwise ECS kills on target health what the container's own check still gives time to start.
            yield (
                ("grace_period", "start_period"),
                f"is {self.grace_period} s; it must be at least startPeriod, {self.start_period} s",
            )


class Autoscaling(Model):
    """The number of tasks follows their CPU. `desiredCount` is where a new service begins; from then on the number is
    not the program's, and what was scaled by hand is not reset either."""

    minimum: Annotated[int, Field(ge=1, le=100)] = 1
    """The fewest tasks. Default 1."""
    maximum: Annotated[int, Field(ge=2, le=100)]
    """The most tasks. More than one needs shared OAuth state."""
    cpu_percent: Annotated[int, Field(ge=10, le=90)] = 60
    """CPU that tasks are kept at, on average, in percent. Default 60."""

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.minimum > self.maximum:
            yield ("minimum", "maximum"), f"is {self.minimum}; it must not be more than maximum, {self.maximum}"


class Tracing(Model):
    """Traces of MCP requests and tool calls to AWS X-Ray, through an OpenTelemetry collector beside the server, in the
    same task and within its CPU and memory. They name tools and methods, never people."""

    collector: ImageByDigest
    """The collector: public.ecr.aws/aws-observability/aws-otel-collector@sha256:... Its digest is shown by
    `docker buildx imagetools inspect public.ecr.aws/aws-observability/aws-otel-collector:latest`."""
    sample_percent: Annotated[float, Field(gt=0, le=100)] = 10
    """Of a hundred requests, how many are traced. Default 10."""


class Discovery(Model):
    """How other services in the VPC find this one."""

    name: Name | None = None
    """The name within the namespace. Default: the service's key."""
    ttl: Annotated[int, Field(ge=1, le=3600)] = 60
    """Life of the DNS records, in seconds. Default 60."""


Severity = Literal["critical", "operations", "warning"]
"""How soon somebody must look: at once, today, this week."""
Topic = Severity | Literal["deployments"]
TOPICS: tuple[Topic, ...] = ("critical", "operations", "warning", "deployments")
TopicName = Annotated[str, _like(r"[A-Za-z0-9_-]{1,256}", "an SNS topic's name")]


class Topics(Model):
    """Names of the topics that are made, one for each severity and one for deployments."""

    critical: TopicName = "mcp-critical"
    """Users are affected; somebody must look at once. Default mcp-critical."""
    operations: TopicName = "mcp-operations"
    """Somebody must look today. Default mcp-operations."""
    warning: TopicName = "mcp-warnings"
    """Somebody should look this week. Default mcp-warnings."""
    deployments: TopicName = "mcp-deployments"
    """What ECS does with deployments, and what the pipeline tells. Default mcp-deployments."""

    def name(self, topic: Topic) -> str:
        """The name of one of them."""
        return str(getattr(self, topic))


NOWHERE = "https://encrypted.invalid/"
"""Stands for a secret address where there is no engine to decrypt it: in a rehearsal, and for policies and cost."""


def _decrypted(value: Any) -> Any:
    return NOWHERE if isinstance(value, dict) and value.keys() == {"secure"} else value


class Subscription(Model):
    """Somebody who is told. E-mail addresses are asked to confirm first; `./ops status` shows who has not."""

    topic: Topic
    """critical, operations, warning or deployments."""
    protocol: Literal["email", "sms", "https"]
    """How."""
    endpoint: Annotated[str, StringConstraints(min_length=3), BeforeValidator(_decrypted)]
    """E-mail address, telephone number as +15550100, or https address. An https address often has a key in it: set it
    with `pulumi config set --secret --path`. In the state it is encrypted either way; addresses of people are not."""

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        shape, words = {
            "email": (r"[^@\s]+@[^@\s]+", "an e-mail address"),
            "sms": (r"\+[1-9]\d{6,14}", "a telephone number with its country, like +15550100"),
            "https": (r"https://\S+", "an https address"),
        }[self.protocol]
        if not re.fullmatch(shape, self.endpoint):
            yield ("endpoint", "protocol"), f"is {self.endpoint!r}; protocol {self.protocol} takes {words}"


class Slack(Model):
    """A Slack channel that AWS's chat service tells of all topics. The workspace is authorized once, by hand, in the
    console of Amazon Q Developer in chat applications."""

    workspace: Annotated[str, _like(r"T[A-Z0-9]+", "a workspace's id, like T0123ABCD")]
    """The workspace's id."""
    channel: Annotated[str, _like(r"[CG][A-Z0-9]+", "a channel's id, like C0123ABCD")]
    """The channel's id."""


class Budget(Model):
    """A monthly budget for what this stack's resources cost by their tag Service. AWS counts by tag only from the day
    on which the tag was activated as a cost allocation tag, once for an account, in the Billing console."""

    limit: Annotated[float, Field(gt=0)]
    """US dollars a month. What to expect: `./ops cost`."""
    alert_percent: Annotated[int, Field(ge=1, le=1000)] = 80
    """Percent of the limit, spent, from which the topic `warning` is told; it is told as well when AWS expects the
    month to end above the limit. Default 80."""


class Monitoring(Model):
    """Alarms, a dashboard and saved queries for each service, and who is told."""

    topics: Topics = Topics()
    """Names of the topics."""
    subscriptions: list[Subscription] = []
    """Who is told of what. Default: nobody but those who subscribe by themselves."""
    slack: Slack | None = None
    """A Slack channel. Default: none."""
    budget: Budget | None = None
    """A monthly budget with its alert. Default: none."""

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        names = [self.topics.name(topic) for topic in TOPICS]
        if len(set(names)) < len(names):
            yield ("topics",), f"two of them have one name ({', '.join(names)}); a topic has one key and one policy"


class Alarms(Model):
    """Limits of a service's alarms. The defaults are those of the estate that this was made for."""

    cpu_percent: Annotated[int, Field(ge=1, le=100)] = 80
    """CPU, on average over five minutes, in percent. Default 80."""
    memory_percent: Annotated[int, Field(ge=1, le=100)] = 80
    """Memory, on average over five minutes, in percent. Default 80."""
    errors_per_minute: Annotated[int, Field(ge=0)] = 10
    """Error lines in the log, two minutes in a row. Default 10."""
    oauth_failures_per_minute: Annotated[int, Field(ge=0)] = 5
    """Lines about failed sign-ins, two minutes in a row. Default 5."""
    server_errors_per_minute: Annotated[int, Field(ge=0)] = 5
    """Answers of 5xx, two minutes in a row. Default 5."""
    response_seconds: Annotated[float, Field(gt=0, le=300)] = 2.0
    """Time that 19 of 20 requests stay below, five minutes in a row, in seconds. Default 2: what a mail search may
    take."""
    stopped_tasks: Annotated[int, Field(ge=1)] = 3
    """Tasks that stop by themselves within ten minutes. Default 3."""
    anomaly_band: Annotated[float, Field(ge=1, le=10)] | None = None
    """Also alarms on what is unusual for the hour and the day of the week: more or fewer requests, slower answers, more
    memory. CloudWatch learns a band from two weeks; this is its half width in standard deviations, such as 3.
    Default: no such alarms."""


class Service(Model):
    """One MCP server on the cluster."""

    key: Annotated[Name, Field(exclude=True)] = "unset"
    """Its key under `services`; not configured."""
    name: Annotated[Name, _like(r".{1,26}", "at most 26 characters")] = "unset"
    """Base of the physical names: repository, log group, roles, target group, task definition, service. Default:
    `<namePrefix>-<key>-mcp`.
    At most 26 characters: a target group's name has 32, and carries a port behind it."""
    server: Literal["workspace-mcp", "other"] = "workspace-mcp"
    """What runs in the image. `workspace-mcp` gets all its settings from here; `other` gets those that `variables`
    names."""
    variables: dict[VariableName, VariableTemplate] = {}
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
    autoscaling: Autoscaling | None = None
    """A number of tasks that follows their CPU. Default: it stays at desiredCount."""
    environment: dict[VariableName, VariableValue] = {}
    """Further plain environment variables. Nothing secret, and nothing that follows from other settings."""
    secrets: dict[VariableName, SecretKey] = {}
    """Environment variable -> the secret's JSON key it is filled from when a task starts."""
    oauth: OAuth = OAuth()
    """How clients log in (workspace-mcp)."""
    tokens: Tokens | None = None
    """Where people's Google credentials are kept (workspace-mcp without OAuth 2.1)."""
    permissions: Permissions = Permissions()
    """What the running server may do in the account. Default: nothing."""
    execution_role: Reference | None = None
    """An existing execution role's name. Default: a role of its own with exactly the rights that starting the task
    takes."""
    security_groups: list[Reference] = []
    """Existing security groups for the tasks, by name or id. Default: one of its own that admits the load balancer
    and `consumers` on `port` alone."""
    consumers: list[Reference] = []
    """Security groups, by name or id, whose members may call the service inside the VPC (only with a group of its
    own)."""
    exec_enabled: bool = True
    """Allow `aws ecs execute-command` into the tasks. Default true."""
    read_only_root: bool = True
    """Mount the container's root file system read-only. Default true; what execute-command's agent writes goes to
    volumes of its own."""
    health: Health = Health()
    """Health checks."""
    logs: Logs = Logs()
    """Log group."""
    tracing: Tracing | None = None
    """Traces to AWS X-Ray. Default: none."""
    discovery: Discovery = Discovery()
    """Discovery inside the VPC."""
    routing: Routing = InternalRouting(strategy="internal")
    """How the service is reached from outside. Default: not at all."""
    alarms: Alarms = Alarms()
    """Limits of its alarms, which are made where the stack has `monitoring`."""
    dashboard: Annotated[str, _like(r"[A-Za-z0-9_-]{1,255}", "letters, digits, - and _")] | None = None
    """Its dashboard's name in CloudWatch. Default: the service's name."""
    tags: dict[TagKey, Tag] = {}
    """Further tags for this service's resources."""

    @field_validator("routing", mode="before")
    @classmethod
    def _default_strategy(cls, value: Any) -> Any:
        if isinstance(value, dict) and "strategy" not in value:
            return {"strategy": "rewrite" if "path" in value else "host" if "host" in value else "internal", **value}
        return value

    @field_validator("cpu")
    @classmethod
    def _fargate_cpu(cls, cpu: int) -> int:
        if cpu not in FARGATE_MEMORY:
            raise ValueError(", ".join(map(str, FARGATE_MEMORY)))
        return cpu

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        from components import server  # here: it is built on settings

        sizes = FARGATE_MEMORY[self.cpu]
        if self.memory not in sizes:
            words = ", ".join(map(str, sizes[:8])) + (f" ... {sizes[-1]}" if len(sizes) > 8 else "")
            yield ("memory", "cpu"), f"is {self.memory} MiB; with {self.cpu} CPU units Fargate has {words}"
        for name in sorted(self.environment.keys() & self.secrets.keys()):
            yield ("environment", "secrets"), f"{name} is in secrets too; keep one"
        for part in ("environment", "secrets"):
            for name, instead in server.refused(self, getattr(self, part)).items():
                yield (part, "server", "oauth", "routing", "variables", "tokens"), f"{name}: {instead}; remove it"
        for name in server.secret(self, self.environment):
            yield ("environment", "server"), f"{name}: it is secret, and this would be in clear; put it under secrets"
        fewest, most = self.task_range
        if not fewest <= self.desired_count <= most:
            yield (
                ("desired_count", "autoscaling"),
                f"is {self.desired_count}; with autoscaling it must be {fewest} to {most}",
            )
        if self.security_groups and self.consumers:
            yield (
                ("consumers", "security_groups"),
                "needs a security group of the service's own: leave securityGroups empty, "
                "or open the existing group yourself",
            )
        if self.server == "other":
            if self.logs.format == "json":
                yield ("logs", "server"), "format is json, which workspace-mcp alone is told; remove it"
            if self.tokens:
                yield ("tokens", "server"), "is for server: workspace-mcp; give another one permissions.bucket"
            return
        if self.variables:
            yield ("variables", "server"), "is for server: other; workspace-mcp's are set for you"
        for name in ("GOOGLE_OAUTH_CLIENT_ID", "GOOGLE_OAUTH_CLIENT_SECRET"):
            if name not in self.secrets:
                yield (
                    ("secrets", "server"),
                    f"{name} is missing: workspace-mcp exits at once without it (MCP_{name} is not read)",
                )
        if self.public and self.oauth.enabled and not self.oauth.client_redirect_uris:
            yield (
                ("oauth", "routing"),
                "clientRedirectUris is empty: reached from outside, the server would register any redirect address; "
                "list your clients'",
            )
        if self.oauth.enabled and not self.public:
            yield (
                ("oauth", "routing"),
                "enabled is true, but routing.strategy is internal: the server ends at once, because OAuth wants an "
                "https address; set oauth.enabled: false, or route it from outside",
            )
        if self.oauth.enabled and self.tokens:
            yield (
                ("tokens", "oauth"),
                "is for oauth.enabled: false; with OAuth 2.1 the server is stateless and keeps no credentials "
                "but in oauth.state; remove it",
            )
        if not self.oauth.enabled and not self.tokens and not self.public:
            yield (
                ("tokens", "oauth"),
                "is missing: without OAuth 2.1 the server keeps people's credentials, which would be gone with "
                "every task; name a bucket in tokens.bucket",
            )
        if self.public and not self.oauth.enabled:
            yield (
                ("oauth", "routing"),
                "enabled is false, but routing reaches the service from outside: anyone could read people's mail; "
                "use routing.strategy: internal",
            )
        for field, most in (("desired_count", self.desired_count), ("autoscaling", self.task_range[1])):
            if not self.oauth.enabled and most > 1:
                yield (
                    (field, "oauth"),
                    f"is {most}, but without OAuth 2.1 sessions and sign-ins under way are in each task's memory; "
                    "run one task",
                )
                break
            if self.oauth.enabled and most > 1 and self.oauth.state.backend == "memory":
                yield (
                    (field, "oauth"),
                    f"is {most}, but OAuth state is in each task's memory: "
                    "logins fail between tasks; set oauth.state.backend: valkey",
                )
                break

    @property
    def task_range(self) -> tuple[int, int]:
        """The fewest and the most tasks that may rightly run."""
        if self.autoscaling is None:
            return self.desired_count, self.desired_count
        return self.autoscaling.minimum, self.autoscaling.maximum

    @property
    def buckets(self) -> frozenset[str]:
        """Names of the buckets that the running server uses."""
        names = (self.permissions.bucket, self.tokens.bucket if self.tokens else None)
        return frozenset(name for name in names if name)

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


class BucketOptions(Model):
    """Protections for a bucket that exists already and that services use. What is off is left as it is, and so is all
    when an option is switched off later, or the stack is destroyed: a bucket is never made less safe."""

    block_public_access: bool = False
    """Block public access in all four ways. Default false."""
    tls_only: bool = False
    """Refuse requests without TLS, by the bucket's policy. Refused where somebody else wrote one. Default false."""
    tasks_only: bool = False
    """Refuse everybody but the task roles that keep tokens there to read or change these, by the bucket's policy: other
    programs and administrators too. Default false."""
    disable_acls: bool = False
    """Switch off access control lists; what is in the bucket belongs to its owner. Default false."""
    keep_versions_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    """Keep versions, and what is replaced or deleted for so many days. Refused where somebody else wrote lifecycle
    rules. Default: as it is."""


class PolicyException(Model):
    """A policy rule that some resources may break for a time, with who answers for it."""

    rule: Annotated[str, StringConstraints(min_length=1)]
    """The rule's name, as `./ops policies` lists it."""
    resource: Annotated[str, StringConstraints(min_length=1)]
    """The resource's logical name, such as google-workspace-repository; * stands for any characters."""
    reason: Annotated[str, StringConstraints(min_length=10)]
    """Why it may, in a sentence."""
    owner: Annotated[str, StringConstraints(min_length=1)]
    """Who answers for it: a team or a role."""
    expires: datetime.date
    """The last day on which it holds, quoted: "2027-06-30"."""

    def covers(self, rule: str, resource: str) -> bool:
        """Whether it is about this rule and this resource."""
        return rule == self.rule and fnmatch.fnmatchcase(resource, self.resource)

    @property
    def terms(self) -> str:
        """Reason, owner and last day, for reports."""
        return f"{self.reason} ({self.owner}, until {self.expires})"


class Delivery(Model):
    """The pipeline's access to the account: a role for previews and one for deployments, both for GitHub Actions."""

    repository: Annotated[
        str,
        _like(
            r"[A-Za-z0-9-]+(@\d+)?/[A-Za-z0-9._-]+(@\d+)?",
            "owner/name as on GitHub; owner@id/name@id where its tokens have immutable subjects",
        ),
    ]
    """The GitHub repository that the workflows run in: owner/name, or owner@id/name@id if it was made or renamed since
    2026-07-15, or takes part in GitHub's immutable subjects otherwise."""
    branch: Annotated[str, _like(r"[A-Za-z0-9][A-Za-z0-9._/-]*", "a branch's name, without *")] = "main"
    """The only branch that deploys. Default main."""
    environment: Name = "production"
    """The GitHub environment of deployments and rollbacks. Default production."""
    preview_environment: Name = "preview"
    """The GitHub environment of previews and of the search for drift. Default preview."""
    create_provider: bool = False
    """Make GitHub's OIDC provider, of which an account can have one. Default false: it exists."""
    state_bucket: BucketName
    """The bucket that holds the stack's state."""
    state_key: Annotated[str, _like(r"arn:[^:]+:kms:[^:]+:\d{12}:key/[0-9a-f-]+", "a KMS key's ARN")]
    """The key of the stack's secrets provider, as an ARN: an alias says nothing to IAM."""
    topic: TopicName | None = None
    """An SNS topic that the pipeline tells of deployments. Default: that of `monitoring`, if there is one."""

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.environment == self.preview_environment:
            yield (
                ("preview_environment", "environment"),
                "is the same as environment: pull requests could take the role that deploys; name another",
            )


class Settings(Model):
    """A stack's configuration: one environment, its estate, and one or more MCP services."""

    environment: Name
    """Value of the tag Environment, such as production."""
    name_prefix: Name
    """What physical names begin with, such as the company's name."""
    tags: dict[TagKey, Tag] = {}
    """Further tags for every resource."""
    estate: Estate
    """What exists already."""
    services: Annotated[dict[Name, Service], Field(min_length=1)]
    """The MCP services, by key."""
    buckets: dict[BucketName, BucketOptions] = {}
    """Protections for buckets that services use, by the bucket's name. Default: none is touched."""
    monitoring: Monitoring | None = None
    """Alarms and who hears of them. Default: none are made, since nobody would hear of them."""
    delivery: Delivery | None = None
    """The pipeline's roles. Default: none are made."""
    policy_exceptions: list[PolicyException] = []
    """Policy rules that resources of this stack may break for a time. Default: none."""

    @field_validator("services", mode="before")
    @classmethod
    def _keyed(cls, services: Any, info: ValidationInfo) -> Any:
        if not isinstance(services, dict):
            return services
        prefix = info.data.get("name_prefix", "unset")
        return {
            # A bad key is reported as such, and not again in all that is made of it.
            key: {"name": f"{prefix}-{key}-mcp", **value, "key": key}
            if isinstance(value, dict) and re.fullmatch(_NAME_PATTERN, str(key))
            else value
            for key, value in services.items()
        }

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        from components.routing import listener_rules, overlaps  # here: routing is built on settings

        if self.delivery and len(f"{self.name_prefix}-{self.environment}-mcp-preview") > 64:
            yield (
                ("environment", "name_prefix"),
                "is too long for the names of the pipeline's roles: with namePrefix, at most 51 characters",
            )
        for key, service in self.services.items():
            if service.public and self.estate.load_balancer is None:
                yield (
                    ("estate", "services"),
                    f"loadBalancer is missing: services.{key}.routing reaches the service from outside",
                )
        used = {bucket for service in self.services.values() for bucket in service.buckets}
        for bucket in sorted(self.buckets.keys() - used):
            yield (
                ("buckets", "services"),
                f"{bucket} is used by no service (tokens.bucket, permissions.bucket), and others' are left alone; "
                "correct the name, or remove it",
            )
        for bucket, options in self.buckets.items():
            if options.tasks_only and not self.tokens_in(bucket) and bucket in used:
                yield (
                    ("buckets", "services"),
                    f"{bucket}.tasksOnly is true, but no service has it as tokens.bucket; remove tasksOnly",
                )
        for one, other in itertools.combinations(self.services.values(), 2):
            ours, theirs = listener_rules(one), listener_rules(other)
            both = [f"the name {one.name}"] if one.name == other.name else []
            if one.discovery_name == other.discovery_name:
                both.append(f"the discovery name {one.discovery_name}")
            if self.monitoring and (one.dashboard or one.name) == (other.dashboard or other.name):
                both.append(f"the dashboard {one.dashboard or one.name}")
            if one.tokens and other.tokens and one.tokens.bucket == other.tokens.bucket:
                shorter, longer = sorted((f"{one.tokens.prefix}/", f"{other.tokens.prefix}/"), key=len)
                both += [f"the tokens below {longer}"] if longer.startswith(shorter) else []
            priorities = {rule.priority for rule in ours} & {rule.priority for rule in theirs}
            both += [f"the listener priority {priority}" for priority in sorted(priorities)]
            both += [
                f"requests to {mine.host}{path}"
                for mine, yours in itertools.product(ours, theirs)
                for path in mine.paths or ("/*",)
                if mine.host == yours.host and overlaps([path], yours.paths or ["/*"])
            ]
            if both:
                yield ("services",), f"{one.key} and {other.key} both have {', '.join(both)}; change one of them"

    def tokens_in(self, bucket: str) -> list[Service]:
        """The services that keep tokens in a bucket."""
        return [service for service in self.services.values() if service.tokens and service.tokens.bucket == bucket]

    @property
    def mark(self) -> str:
        """What ids begin with that the stack writes into a document of somebody else's, such as a bucket's policy:
        letters and digits alone."""
        words = f"{self.name_prefix}-{self.environment}".split("-")
        return "McpOnEcs" + "".join(word.capitalize() for word in words)

    @property
    def parameter_prefix(self) -> str:
        """Path under which the stack stores parameters."""
        return f"/{self.name_prefix}/{self.environment}"

    def tags_for(self, service: Service) -> dict[str, str]:
        """The tags of a service's resources. Environment, Service and ManagedBy are always there."""
        return {**self.own_tags(f"{service.key}-mcp"), **service.tags}

    def own_tags(self, part: str) -> dict[str, str]:
        """The tags of resources that are no single service's: `part` stands where a service's name does."""
        return {**self.tags, "Environment": self.environment, "Service": part, "ManagedBy": "pulumi"}


def load() -> Settings:
    """The configuration of the stack whose program is running."""
    raw = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    return parse(raw)


def load_policy_exceptions() -> list[PolicyException]:
    """The exceptions of the stack that a policy pack is run on: the engine gives a pack the configuration as well.

    None where they cannot be read: what is wrong with them the program reports, and stops.
    """
    raw = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    try:
        return TypeAdapter(list[PolicyException]).validate_json(raw.get(f"{NAMESPACE}:policyExceptions", "[]"))
    except ValidationError:
        return []


def read_stack_file(path: Path) -> dict[str, str]:
    """A `Pulumi.<stack>.yaml` as the engine hands it to the program: full key -> text, objects as JSON.

    Raises `SettingsError` where the file is missing or is not YAML. Encrypted values stay as they are.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        config = document.get("config") if isinstance(document, dict) else None
        if not isinstance(config, dict):
            raise SettingsError([f"  {path.name} has no `config:` with keys below it"])
        # YAML knows dates, which JSON has as text.
        return {
            str(key): value if isinstance(value, str) else json.dumps(value, default=str)
            for key, value in config.items()
        }
    except OSError as error:
        raise SettingsError([f"  {path.name}: {error.strerror}; write it, or name another stack"]) from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise SettingsError([f"  {path.name} is not the YAML of a stack: {' '.join(str(error).split())}"]) from None


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
            except (ValueError, RecursionError) as error:
                mistakes.append(
                    _mistake(key, text, f"JSON ({error})", f"pulumi config set --path '{key}.<name>' <value>")
                )
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
        part
        for before, part in zip(("", *location), location, strict=False)
        if part != "[key]" and not (part in _STRATEGY_TAGS and before in ("routing", "state"))
    ]
    value, message = problem["input"], problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if problem["type"].startswith("union_tag"):
        path.append(problem["ctx"]["discriminator"].strip("'"))
        names = [get_args(model.model_fields[path[-1]].annotation)[0] for model in _model_at(path[:-1])]
        value, message = problem["ctx"].get("tag"), "one of " + ", ".join(names)
    if problem["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = "keys with values below it"
    key = f"{NAMESPACE}:{_path_text(path)}"
    command = f"pulumi config set --path {shlex.quote(key)} <value>"
    match problem["type"]:
        case "missing":
            return f"  {key}\n      is       not set\n      allowed  {_describe(path)}\n      do       {command}"
        case "extra_forbidden":
            known = _keys(path[:-1])
            near = difflib.get_close_matches(str(path[-1]), known, n=1)
            hint = f"rename it to {near[0]}" if near else "remove it"
            return _mistake(key, value, "one of " + ", ".join(known), f"{hint}: nothing reads this key")
        case "disagreement":
            return f"  {key}\n      {message}"
        case _ if location and location[-1] == "[key]":
            return _mistake(key, value, message, "rename the key")
    return _mistake(key, value, message[:1].lower() + message[1:], command)


def _path_text(path: list[Any]) -> str:
    """`path` as `pulumi config set --path` takes it."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[\w-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def _model_at(path: list[Any]) -> list[type[BaseModel]]:
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


def _keys(path: list[Any]) -> list[str]:
    return sorted(
        {
            field.alias or name
            for model in _model_at(path)
            for name, field in model.model_fields.items()
            if name != "key"
        }
    )


def _describe(path: list[Any]) -> str:
    for model in _model_at(path[:-1]):
        for name, field in model.model_fields.items():
            if path[-1] in (name, field.alias) and field.description:
                return " ".join(field.description.split())
    return "a value"
