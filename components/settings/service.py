"""One MCP server on the cluster, with all its parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from components.listener_rules import ListenerRule
from components.settings import server
from components.settings.access import Permissions, SecretKey
from components.settings.deployment import Deployment
from components.settings.image import Image
from components.settings.model import Model
from components.settings.monitoring import Alarms
from components.settings.patterns import (
    DashboardName,
    Name,
    Port,
    Reference,
    ServiceName,
    Tag,
    TagKey,
    VariableName,
    VariableTemplate,
    VariableValue,
)
from components.settings.routing import LAST_PRIORITY, InternalRouting, PrefixRouting, PublicRouting, Routing
from components.settings.scaling import Autoscaling, Capacity
from components.settings.sign_in import Cache, DynamoDbState, MemoryState, OAuth, State, Tokens, ValkeyState
from components.settings.tasks import FARGATE_MEMORY, Discovery, Health
from components.settings.telemetry import Logs, Tracing

_LONGEST_NAME = 26  # of a service


class Service(Model):
    """One MCP server on the cluster."""

    key: Annotated[Name, Field(exclude=True)] = "unset"
    """Its key under `services`; not configured."""
    name: ServiceName = "unset"
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
    """Number of tasks. Default 1. With more than one, or with autoscaling to more, OAuth state is shared; see
    oauth.state."""
    autoscaling: Autoscaling | None = None
    """A number of tasks that follows what they do, or the time. Default: it stays at desiredCount."""
    capacity: Capacity | None = None
    """What tasks run on: on demand, on Spot, or both. Default: all on demand."""
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
    security_groups: Annotated[list[Reference], Field(max_length=5)] = []
    """Existing security groups for the tasks, by name or id, at most five. Default: one of its own that admits the
    load balancer and `consumers` on `port` alone."""
    consumers: list[Reference] = []
    """Security groups, by name or id, whose members may call the service inside the VPC (only with a group of its
    own)."""
    longest_request: Annotated[int, Field(ge=1, le=110)] = 30
    """Seconds that the longest answer takes. A task that goes gets no new requests through the load balancer, and as
    long for those under way before it is told to stop; then it has 10 seconds more than that until it is killed, of
    which Fargate allows 120 in all. Default 30."""
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
    deployment: Deployment = Deployment()
    """How a new version takes the place of the one before."""
    dashboard: DashboardName | None = None
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
        sizes = FARGATE_MEMORY[self.cpu]
        if self.memory not in sizes:
            words = ", ".join(map(str, sizes[:8])) + (f" ... {sizes[-1]}" if len(sizes) > 8 else "")
            yield ("memory", "cpu"), f"is {self.memory} MiB; with {self.cpu} CPU units Fargate has {words}"
        for name in sorted(self.environment.keys() & self.secrets.keys()):
            yield ("environment", "secrets"), f"{name} is in secrets too; keep one"
        for part in ("environment", "secrets"):
            for name, instead in self._refused(getattr(self, part)).items():
                yield (part, "server", "oauth", "routing", "variables", "tokens"), f"{name}: {instead}; remove it"
        for name in server.secret(self.environment) if self.server == "workspace-mcp" else ():
            yield ("environment", "server"), f"{name}: it is secret, and this would be in clear; put it under secrets"
        if (scaled := self.autoscaling) and not scaled.minimum <= self.desired_count <= scaled.maximum:
            yield (
                ("desired_count", "autoscaling"),
                f"is {self.desired_count}; with autoscaling it must be {scaled.minimum} to {scaled.maximum}",
            )
        if scaled and scaled.requests_per_target and not self.public:
            yield (
                ("autoscaling", "routing"),
                "requestsPerTarget counts what the load balancer passes on, and routing.strategy is internal: nothing "
                "comes through one; use cpuPercent or memoryPercent",
            )
        if self.deployment.shifts:
            yield from self._not_shifted()
        if (rules := self.listener_rules) and rules[-1].priority > LAST_PRIORITY:
            yield (
                ("routing",),
                f"priority leads its {len(rules)} rules up to {rules[-1].priority}, and a listener's end at "
                f"{LAST_PRIORITY}; take a lower one",
            )
        if isinstance(self.routing, PrefixRouting) and self.routing.variable in self._derived_of_server(""):
            yield ("routing",), f"variable is {self.routing.variable}, which follows from other settings; take another"
        if self.oauth_cache and not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", self.name):
            yield (
                ("name", "oauth"),
                f"is {self.name}; the cache that is made for it takes a letter first, and no two hyphens in a row",
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
        if self.public and self.oauth.enabled and not self.oauth.redirect_uris:
            yield (
                ("oauth", "routing"),
                "clients is empty: reached from outside, the server would register any redirect address; "
                "name your people's clients (./ops clients shows them)",
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
        if self.capacity and self.capacity.spot_weight and not self.capacity.on_demand_base and self._state_in_memory:
            yield (
                ("capacity", "oauth"),
                "onDemandBase is 0, so that its only task may run on Spot, and sign-ins are in that task's memory: AWS "
                "takes it away at two minutes' notice, and everybody signs in again; set onDemandBase: 1"
                + (", or oauth.state: dynamodb" if self.oauth.enabled else ""),
            )
        for field, most in (("desired_count", self.desired_count), ("autoscaling", self.task_range[1])):
            if not self.oauth.enabled and most > 1:
                yield (
                    (field, "oauth"),
                    f"is {most}, but without OAuth 2.1 sessions and sign-ins under way are in each task's memory; "
                    "run one task",
                )
                break
            if most > 1 and isinstance(self.oauth_state, MemoryState):
                yield (
                    (field, "oauth"),
                    f"is {most}, but oauth.state is memory, which each task has for itself: logins fail between tasks; "
                    "remove oauth.state to have a DynamoDB table made that they share, or set it to valkey",
                )
                break

    def _not_shifted(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Why ECS cannot shift requests as the deployment's strategy says."""
        strategy = f"strategy is {self.deployment.strategy}"
        if not self.public:
            yield (
                ("deployment", "routing"),
                f"{strategy}, but routing.strategy is internal: nothing comes through a load balancer that could be "
                "shifted; use rolling",
            )
        elif (rules := len(self.listener_rules)) > 1:
            yield (
                ("deployment", "routing"),
                f"{strategy}, but {self.public.strategy} takes {rules} listener rules, for each of which ECS wants two "
                "target groups of its own, and it shifts one after the other; use rolling, or a host of its own: "
                "routing: {strategy: host, host: ...}",
            )
        if self.autoscaling and self.autoscaling.requests_per_target:
            yield (
                ("deployment", "autoscaling"),
                f"{strategy}, but autoscaling.requestsPerTarget counts the requests of one target group, and with each "
                "deployment they go to the other; use cpuPercent or memoryPercent",
            )
        if len(self.name) == _LONGEST_NAME and self.port > 9999:
            yield (
                ("deployment", "name", "port"),
                f"{strategy}, which needs a second target group, whose name would have 33 characters; shorten name by "
                "one, or use a port of four digits",
            )
        split = self.deployment.strategy in ("canary", "linear")
        if split and self.server == "workspace-mcp" and self._state_in_memory:
            yield (
                ("deployment", "oauth"),
                f"{strategy}, but sign-ins are in a task's memory: while two versions answer, a sign-in that one of "
                "them began fails on the other; set oauth.state: dynamodb, or use blueGreen or rolling",
            )

    def container_environment(self, internal_url: str) -> dict[str, str]:
        """All plain environment variables of the container: `environment`'s, and those that follow from settings.

        `internal_url`: the address inside the VPC, `http://name.namespace:port`, which is the server's own where
        nothing is public.
        """
        return {**self.environment, **self._derived(internal_url)}

    def _derived(self, internal_url: str) -> dict[str, str]:
        prefix = {self.routing.variable: self.routing.path} if isinstance(self.routing, PrefixRouting) else {}
        return self._derived_of_server(internal_url) | prefix

    def _derived_of_server(self, internal_url: str) -> dict[str, str]:
        url = self.url or internal_url
        if self.server == "workspace-mcp":
            variables = server.workspace_mcp(
                url=url,
                port=self.port,
                oauth=self.oauth,
                state=self.oauth_state,
                store=self.oauth_store,
                tokens=self.tokens,
            )
        else:
            variables = server.filled_in(self.variables, url=url, port=self.port)
        return variables | server.for_any(name=self.name, logs=self.logs, tracing=self.tracing)

    def _refused(self, names: Iterable[str]) -> dict[str, str]:
        """Those of `names` that configuration must not set as variables, each with the reason."""
        instead = dict.fromkeys(self._derived("http://name.namespace:0"), "it follows from other settings")
        if self.server == "workspace-mcp":
            instead |= server.reserved(oauth_enabled=self.oauth.enabled)
        if self.oauth_cache:
            instead[server.PASSWORD] = "it is made with the cache"
        return {name: instead[name] for name in sorted(names) if name in instead}

    @property
    def listener_rules(self) -> list[ListenerRule]:
        """The rules on the load balancer's listener, in order of priority; none for an internal service."""
        return self.public.rules if self.public else []

    @property
    def task_range(self) -> tuple[int, int]:
        """The fewest and the most tasks that may rightly run."""
        if self.autoscaling is None:
            return self.desired_count, self.desired_count
        return self.autoscaling.task_range

    @property
    def stop_timeout(self) -> int:
        """Seconds between a task's SIGTERM and its SIGKILL: for what came by its private name, which has no drain."""
        return self.longest_request + 10

    @property
    def oauth_state(self) -> State | None:
        """Where OAuth state is kept, as configured or by default; None: the server has none."""
        if self.server != "workspace-mcp" or not self.oauth.enabled:
            return None
        if self.oauth.state is not None:
            return self.oauth.state
        return DynamoDbState() if self.task_range[1] > 1 else MemoryState()

    @property
    def _state_in_memory(self) -> bool:
        """Whether the end of a task ends sign-ins, of workspace-mcp."""
        return not self.oauth.enabled or isinstance(self.oauth_state, MemoryState)

    @property
    def oauth_cache(self) -> Cache | None:
        """The cache that is made for OAuth state; None: there is none, or one exists."""
        return self.oauth_state.made if isinstance(self.oauth_state, ValkeyState) else None

    @property
    def oauth_store(self) -> str:
        """Name of what is made for OAuth state: of the table, or of the cache and its user, of which ElastiCache takes
        40 characters."""
        return f"{self.name}-oauth-state"

    @property
    def made_secrets(self) -> dict[str, str]:
        """Environment variable -> name of the secret that is made for it, whose JSON has the variable as its key."""
        names = {
            server.SIGNING_KEY: self.signing_key_name,
            server.PASSWORD: f"{self.name}-cache-password" if self.oauth_cache else None,
        }
        return {variable: name for variable, name in names.items() if name}

    @property
    def signing_key_name(self) -> str | None:
        """Name of the secret that is made for the server's signing key; None: none is made, because state is not shared
        or `secrets` names one."""
        if self.oauth_state is None or isinstance(self.oauth_state, MemoryState) or server.SIGNING_KEY in self.secrets:
            return None
        return f"{self.name}-signing-key"

    @property
    def secret_keys(self) -> dict[str, str]:
        """Environment variable -> JSON key of the secret that it is filled from; `secrets`, and what is made beside."""
        return {
            **{name: wanted.key for name, wanted in self.secrets.items()},
            **{variable: variable for variable in self.made_secrets},
        }

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
