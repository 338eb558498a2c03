"""`cost`: what a month of what a stack declares costs, by a table of prices; and what another configuration would.

Nothing is asked of AWS: the program runs without a cloud, and each resource that it registers is priced by its type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from components import account, scaling
from components import settings as configuration
from operations.errors import OperationError
from operations.prices import Architecture, Prices, Rates, read_prices, table_of
from policies.registrations import Registration, registrations


@dataclass(frozen=True, kw_only=True)
class Line:
    """One position: `amount` units at `price` each."""

    resource: str
    """Logical name of the resource."""
    what: str
    amount: float
    unit: str
    price: float

    @property
    def month(self) -> float:
        """In the table's currency."""
        return self.amount * self.price


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a month costs."""

    lines: tuple[Line, ...]
    unpriced: tuple[str, ...]
    """Resources of types that the estimate knows nothing of: `type name`."""
    prices: Prices
    region: str | None
    """Where the stack is; None where its file does not say."""

    @property
    def month(self) -> float:
        """In the table's currency."""
        return sum(line.month for line in self.lines)

    @property
    def elsewhere(self) -> str:
        """That the prices are another region's, and what to do; empty where they are not."""
        if self.region in (None, self.prices.region):
            return ""
        return (
            f"The stack is in {self.region}, and these are prices of {self.prices.region}, which differ. "
            f"Write {self.region}'s into operations/prices.{self.region}.yaml, which is taken by itself then, "
            "or give a table by --prices FILE; docs/operations.md says where AWS has them."
        )


def of_stack(file: Path, prices: Prices | None = None) -> Estimate:
    """What the stack of this file costs. `prices`: default, those of its region, as far as there is a table of them.

    Raises `SettingsError`, `AccountError`, `ContextError`.
    """
    config = configuration.read_stack_file(file)
    configuration.parse(config)
    region = account.provider(config).region
    registered = registrations(config, stack=file.stem.removeprefix("Pulumi."))
    return estimate(registered, prices or read_prices(table_of(region)), region=region)


_TWO: dict[str, Any] = {"desiredCount": 2, "autoscaling": None}
_VARIANTS: dict[str, dict[str, Any]] = {
    "one task": {"desiredCount": 1, "autoscaling": None, "capacity": None},
    "two, sharing a DynamoDB table": _TWO | {"capacity": None, "oauth.state": "dynamodb"},
    "two, sharing a Valkey that is made": _TWO | {"capacity": None, "oauth.state": "valkey"},
    "two, sharing a Valkey of yours, without its price": _TWO
    | {"capacity": None, "oauth.state": {"backend": "valkey", "host": "cache.internal"}},
    "two, on Graviton": _TWO | {"capacity": None, "image.platform": "linux/arm64"},
    "two, one of them on Spot": _TWO | {"capacity": {}},
    "two, on Graviton, one of them on Spot": _TWO | {"capacity": {}, "image.platform": "linux/arm64"},
}
"""What each service could be instead: words, and settings by their path; None takes one out."""


def variants(file: Path, prices: Prices) -> dict[str, float | None]:
    """What the stack of this file would cost a month in the usual forms, by words; None for one that its other settings
    do not allow.

    Raises `SettingsError`, `AccountError`, `ContextError`.
    """
    config = configuration.read_stack_file(file)
    configuration.parse(config)
    name = f"{configuration.NAMESPACE}:services"
    months: dict[str, float | None] = {}
    for words, changes in _VARIANTS.items():
        services = json.loads(config[name])
        for service in services.values():
            for path, value in changes.items():
                _put(service, path, value)
        varied = config | {name: json.dumps(services)}
        try:
            configuration.parse(varied)
        except configuration.SettingsError:
            months[words] = None
        else:
            registered = registrations(varied, stack=file.stem.removeprefix("Pulumi."))
            months[words] = estimate(registered, prices, region=prices.region).month
    return months


def _put(settings: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for key in above:
        settings = settings.setdefault(key, {})
    if value is None:
        settings.pop(last, None)
    else:
        settings[last] = value


def read(file: Path, prices: Prices) -> Estimate:
    """What another configuration costs: of a stack file, or (*.json) what `./ops cost --json` printed, which also tells
    what another version of the program declares. Raises `SettingsError`, `ContextError`, `OperationError`."""
    if file.suffix != ".json":
        return of_stack(file, prices)
    try:
        report = _Report.model_validate_json(file.read_text(encoding="utf-8")).cost
    except OSError as error:
        raise OperationError(
            f"{file}: {error.strerror}. Name what ./ops cost --json printed, or a stack file.", 2
        ) from None
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"])) or "the document"
        raise OperationError(
            f"{file} is not what ./ops cost --json prints: {place}: {error.errors()[0]['msg']}", 2
        ) from None
    return Estimate(lines=report.lines, unpriced=report.unpriced, prices=prices, region=None)


class _Estimated(BaseModel):
    lines: tuple[Line, ...]
    unpriced: tuple[str, ...]


class _Report(BaseModel):
    cost: _Estimated


def estimate(registered: Sequence[Registration], prices: Prices, *, region: str | None) -> Estimate:
    """What these resources cost a month. `region`: where they are, as far as it is known."""
    lines: list[Line] = []
    unpriced = []
    for resource in registered:
        if resource.type == _CACHE and resource.inputs["nodeType"] not in prices.prices.cache_node_hour:
            unpriced.append(f"{resource.type} {resource.name}, a {resource.inputs['nodeType']}")
        elif resource.type in _PRICED:
            lines += _PRICED[resource.type](resource, registered, prices)
        elif resource.type not in _FREE and resource.type.startswith(("aws:", "docker:")):
            unpriced.append(f"{resource.type} {resource.name}")
    return Estimate(lines=tuple(lines), unpriced=tuple(unpriced), prices=prices, region=region)


def _related(resource: Registration, registered: Sequence[Registration], type_: str) -> Registration:
    """The sibling of a type: the task definition of a service, the service of a log group."""
    return next(r for r in registered if r.type == type_ and r.parent == resource.parent)


def _variables(resource: Registration, registered: Sequence[Registration]) -> dict[str, str]:
    """Plain variables of the server that a resource is a part of; the component's, whose text a preview knows."""
    component = next(r for r in registered if r.urn == resource.parent)
    server, *_ = json.loads(component.inputs["containerDefinitions"])
    return {entry["name"]: entry["value"] for entry in server.get("environment", [])}


def _service(service: Registration, registered: Sequence[Registration], table: Prices) -> Iterator[Line]:
    definition = _related(service, registered, "aws:ecs/taskDefinition:TaskDefinition").inputs
    architecture: Architecture = definition["runtimePlatform"]["cpuArchitecture"]
    tasks, rates, usage = float(service.inputs["desiredCount"]), table.prices, table.usage

    def line(what: str, amount: float, unit: str, price: float, of: float = tasks) -> Line:
        return Line(resource=service.name, what=what, amount=of * amount, unit=unit, price=price)

    cpu, memory = int(definition["cpu"]) / 1024, int(definition["memory"]) / 1024
    kind = "Graviton" if architecture == "ARM64" else "x86"
    strategy = service.inputs.get("capacityProviderStrategies") or []
    spot = scaling.on_spot(tasks, [(item["capacityProvider"], item["base"], item["weight"]) for item in strategy])
    for of, where, vcpu_hour, gb_hour in (
        (tasks - spot, kind, rates.fargate_vcpu_hour, rates.fargate_gb_hour),
        (spot, f"{kind}, Spot", rates.fargate_spot_vcpu_hour, rates.fargate_spot_gb_hour),
    ):
        if of or (not tasks and where == kind):
            yield line(f"Fargate CPU ({where})", cpu * table.hours, "vCPU hours", vcpu_hour[architecture], of)
            yield line(f"Fargate memory ({where})", memory * table.hours, "GB hours", gb_hour[architecture], of)
    yield line("answers to clients", usage.traffic_gb_per_task, "GB", rates.traffic_gb)
    yield line("answers of Google", usage.google_gb_per_task, "GB through NAT", rates.nat_gb)
    if sampled := float(_variables(service, registered).get("OTEL_TRACES_SAMPLER_ARG", 0)):
        yield line("traces", sampled * usage.requests_per_task / 1e6, "million", rates.traces_million)


def _log_group(group: Registration, registered: Sequence[Registration], table: Prices) -> Iterator[Line]:
    tasks = float(_related(group, registered, "aws:ecs/service:Service").inputs["desiredCount"])
    taken = tasks * table.usage.log_gb_per_task
    if _variables(group, registered).get("LOG_FORMAT") == "json":
        taken *= table.usage.json_log_growth
    months = float(group.inputs.get("retentionInDays") or 3650) / 30
    yield Line(resource=group.name, what="log, taken in", amount=taken, unit="GB", price=table.prices.log_gb)
    yield Line(resource=group.name, what="log, kept", amount=taken * months, unit="GB", price=table.prices.log_gb_month)


def _repository(repository: Registration, _: Sequence[Registration], table: Prices) -> Iterator[Line]:
    stored = table.usage.images * table.usage.image_gb
    yield Line(resource=repository.name, what="images", amount=stored, unit="GB", price=table.prices.image_gb_month)


def _subscription(subscription: Registration, _: Sequence[Registration], table: Prices) -> Iterator[Line]:
    protocol = subscription.inputs["protocol"]
    price = {"email": table.prices.email, "sms": table.prices.sms}.get(protocol, 0.0)
    yield Line(resource=subscription.name, what=protocol, amount=table.usage.messages, unit="messages", price=price)


def _versions(versioning: Registration, _: Sequence[Registration], table: Prices) -> Iterator[Line]:
    yield Line(
        resource=versioning.name,
        what="older versions of tokens",
        amount=table.usage.bucket_gb,
        unit="GB",
        price=table.prices.s3_gb_month,
    )


def _alarm(alarm: Registration, _: Sequence[Registration], table: Prices) -> Iterator[Line]:
    queries = alarm.inputs.get("metricQueries") or []
    band = any("ANOMALY" in query.get("expression", "") for query in queries)
    # Each metric that it looks at; a band is two more.
    metrics = (sum("metric" in query for query in queries) or 1) + 2 * band
    what = "alarm with a band, metrics" if band else "alarm, metrics" if metrics > 1 else "alarm"
    yield Line(resource=alarm.name, what=what, amount=metrics, unit="month", price=table.prices.alarm_month)


def _metric(metric: Registration, _: Sequence[Registration], table: Prices) -> Iterator[Line]:
    hours, price = table.usage.counted_hours, table.prices.metric_month / table.hours
    yield Line(resource=metric.name, what="metric of log lines", amount=hours, unit="hours", price=price)


def _scaling(policy: Registration, _: Sequence[Registration], table: Prices) -> Iterator[Line]:
    # AWS makes an alarm for each direction.
    yield Line(resource=policy.name, what="alarm of scaling", amount=2, unit="month", price=table.prices.alarm_month)


def _table(table: Registration, registered: Sequence[Registration], prices: Prices) -> Iterator[Line]:
    """A table of OAuth state: by what users do, whom the table of prices supposes for each task."""
    around = next(r for r in registered if r.urn == table.parent)
    service = next(r for r in registered if r.type == "aws:ecs/service:Service" and r.parent == around.parent)
    tasks, usage, rates = float(service.inputs["desiredCount"]), prices.usage, prices.prices
    users = tasks * usage.users_per_task
    writes = users * usage.state_writes_per_user
    reads = tasks * usage.requests_per_task * usage.state_reads_per_request
    stored = users * usage.state_kb_per_user / 1e6
    for what, amount, unit, price in (
        ("OAuth state, written", writes / 1e6, "million units", rates.dynamodb_writes_million),
        ("OAuth state, read", reads / 1e6, "million units", rates.dynamodb_reads_million),
        ("OAuth state, kept", stored, "GB", rates.dynamodb_gb_month),
        ("OAuth state, recovery", stored, "GB", rates.dynamodb_recovery_gb_month),
    ):
        yield Line(resource=table.name, what=what, amount=amount, unit=unit, price=price)


def _cache(cache: Registration, _: Sequence[Registration], table: Prices) -> Iterator[Line]:
    node, nodes = cache.inputs["nodeType"], float(cache.inputs["numCacheClusters"])
    price = table.prices.cache_node_hour[node]
    yield Line(resource=cache.name, what=f"{node}, OAuth state", amount=nodes * table.hours, unit="hours", price=price)


_CACHE = "aws:elasticache/replicationGroup:ReplicationGroup"


def _one(what: str, rate: Callable[[Rates], float]) -> _Pricing:
    """A resource with a monthly price of its own."""

    def price(resource: Registration, _: Sequence[Registration], table: Prices) -> Iterator[Line]:
        yield Line(resource=resource.name, what=what, amount=1, unit="month", price=rate(table.prices))

    return price


_Pricing = Callable[[Registration, Sequence[Registration], Prices], Iterator[Line]]
_PRICED: Mapping[str, _Pricing] = {
    "aws:ecs/service:Service": _service,
    "aws:cloudwatch/logGroup:LogGroup": _log_group,
    "aws:ecr/repository:Repository": _repository,
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": _metric,
    "aws:appautoscaling/policy:Policy": _scaling,
    "aws:budgets/budget:Budget": _one("budget", lambda rates: rates.budget_month),
    "aws:cloudwatch/metricAlarm:MetricAlarm": _alarm,
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": _one("composite alarm", lambda r: r.composite_alarm_month),
    "aws:cloudwatch/dashboard:Dashboard": _one("dashboard", lambda rates: rates.dashboard_month),
    "aws:dynamodb/table:Table": _table,
    _CACHE: _cache,
    "aws:secretsmanager/secret:Secret": _one("secret", lambda rates: rates.secret_month),
    "aws:kms/key:Key": _one("key", lambda rates: rates.key_month),
    "aws:route53/record:Record": _one("record", lambda rates: rates.zone_record),
    "aws:sns/topicSubscription:TopicSubscription": _subscription,
    "aws:s3/bucketVersioning:BucketVersioning": _versions,
}
_FREE = frozenset(
    {
        "aws:appautoscaling/scheduledAction:ScheduledAction",
        "aws:appautoscaling/target:Target",
        "aws:chatbot/slackChannelConfiguration:SlackChannelConfiguration",
        "aws:cloudwatch/eventRule:EventRule",  # events of AWS's own cost nothing
        "aws:cloudwatch/eventTarget:EventTarget",
        "aws:cloudwatch/queryDefinition:QueryDefinition",  # what a query reads costs, when a person runs it
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:elasticache/subnetGroup:SubnetGroup",
        "aws:elasticache/user:User",
        "aws:elasticache/userGroup:UserGroup",
        "aws:ecr/lifecyclePolicy:LifecyclePolicy",
        "aws:ecs/taskDefinition:TaskDefinition",
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        "aws:iam/policy:Policy",
        "aws:iam/role:Role",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "aws:kms/alias:Alias",
        "aws:lb/listenerRule:ListenerRule",  # the load balancer is there already, and shared
        "aws:lb/targetGroup:TargetGroup",
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        "aws:s3/bucketPolicy:BucketPolicy",
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "aws:servicediscovery/service:Service",  # instances that ECS registers cost nothing
        "aws:sns/topic:Topic",
        "aws:sns/topicPolicy:TopicPolicy",
        "aws:ssm/parameter:Parameter",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        "docker:index/image:Image",
    }
)
"""Types that cost nothing by themselves."""


def table(found: Estimate) -> list[dict[str, Any]]:
    """For people: positions of one kind together, the dearest first."""
    kinds: dict[tuple[str, str, float], float] = {}
    for line in found.lines:
        kind = (line.what, line.unit, line.price)
        kinds[kind] = kinds.get(kind, 0.0) + line.amount
    rows = sorted(((amount * kind[2], kind, amount) for kind, amount in kinds.items()), reverse=True)
    return [
        {
            "what": what,
            "amount": f"{amount:,.6g} {unit}",
            "each": f"{price:.6g}",
            f"{found.prices.currency} a month": f"{month:.2f}",
        }
        for month, (what, unit, price), amount in rows
    ]


def difference(before: Estimate, after: Estimate) -> list[dict[str, Any]]:
    """What is dearer or cheaper, by resource and position, the largest change first."""

    def by_position(found: Estimate) -> dict[tuple[str, str], float]:
        return {(line.resource, line.what): line.month for line in found.lines}

    old, new = by_position(before), by_position(after)
    changes = {key: new.get(key, 0.0) - old.get(key, 0.0) for key in sorted({*old, *new})}
    return [
        {
            "resource": resource,
            "what": what,
            "before": f"{old.get((resource, what), 0.0):.2f}",
            "after": f"{new.get((resource, what), 0.0):.2f}",
            "difference": f"{change:+.2f}",
        }
        for (resource, what), change in sorted(changes.items(), key=lambda item: -abs(item[1]))
        if abs(change) >= 0.005
    ]


def markdown(before: Estimate | None, after: Estimate) -> str:
    """For a pull request: the sum, what changes, and whether the prices are another region's."""
    currency = after.prices.currency
    paragraphs = [f"**{after.month:.2f} {currency}** a month, estimated."]
    if before is not None:
        paragraphs = [f"**{after.month:.2f} {currency}** a month, estimated; {after.month - before.month:+.2f}."]
        if rows := difference(before, after):
            lines = [" | ".join(str(value).replace("|", "\\|") for value in row.values()) for row in rows]
            paragraphs.append("\n".join([" | ".join(rows[0]), " | ".join("---" for _ in rows[0]), *lines]))
    return "\n\n".join(filter(None, [*paragraphs, after.elsewhere]))


def document(found: Estimate) -> dict[str, Any]:
    """For machines."""
    return {
        "month": round(found.month, 2),
        "currency": found.prices.currency,
        "prices": str(found.prices.date),
        "pricesOf": found.prices.region,
        "region": found.region,
        "lines": [json.loads(json.dumps(line.__dict__)) | {"month": round(line.month, 4)} for line in found.lines],
        "unpriced": list(found.unpriced),
    }
