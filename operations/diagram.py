"""`diagram`: the stack as a picture, drawn from what the program registers, as SVG or Mermaid.

Nothing is asked of AWS. Nodes are the registered resources, alike ones in one node; arrows follow the dependencies that
the program declares. What exists already, and is only looked up, is grey.
"""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import graphviz

from components import settings as configuration
from components.settings import Service, Settings, ValkeyState
from machine import debian
from operations.errors import OperationError, no_service
from policies.registrations import Registration, registrations

_MOST_LINES = 6
"""Resources with a line in a node; of more, the rest is counted."""
_WIDTH = 44
"""Characters of a line, roughly."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A box with text."""

    id: str
    title: str
    lines: tuple[str, ...] = ()
    frame: str = ""
    """Title of the frame that it is in; empty: none."""
    own: bool = True
    """Whether the program makes it; else it exists already, or is somebody else's."""


class Edge(NamedTuple):
    """An arrow between two nodes, by their ids."""

    source: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What is drawn, whatever it is drawn with."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def frames(self) -> dict[str, list[Node]]:
        """Title -> nodes, in order; those outside of any under the empty title."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            found.setdefault(node.frame, []).append(node)
        return found


Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class _Kind:
    """How resources of a type are drawn."""

    title: str
    line: Callable[[Inputs], str]
    """A resource's line in the node that it shares with its like."""
    routed: bool = False
    """Whether those that tell different topics are nodes of their own."""


def _name(inputs: Inputs) -> str:
    return str(inputs.get("name") or inputs.get("alarmName") or inputs.get("dashboardName"))


def _always(line: str) -> Callable[[Inputs], str]:
    return lambda _: line


def _rule(inputs: Inputs) -> str:
    texts = {kind: condition[kind] for condition in inputs["conditions"] for kind in condition}
    values = {kind: found.get("values") or found["regexValues"] for kind, found in texts.items()}
    paths = values.get("pathPattern", values["hostHeader"])
    shown = [
        f"{path}(/*)" if f"{path}/*" in paths else path
        for path in paths
        if path == path.removesuffix("/*") or path.removesuffix("/*") not in paths
    ]
    return f"{inputs['priority']}: {' '.join(shown)}{', rewritten' if inputs.get('transforms') else ''}"


_RULE, _GROUP = "aws:lb/listenerRule:ListenerRule", "aws:lb/targetGroup:TargetGroup"
_DISCOVERY, _SERVICE = "aws:servicediscovery/service:Service", "aws:ecs/service:Service"
_TASK, _IMAGE = "aws:ecs/taskDefinition:TaskDefinition", "docker:index/image:Image"
_REPOSITORY, _LOGS, _ROLE = "aws:ecr/repository:Repository", "aws:cloudwatch/logGroup:LogGroup", "aws:iam/role:Role"
_ALARM, _AFFECTED = "aws:cloudwatch/metricAlarm:MetricAlarm", "aws:cloudwatch/compositeAlarm:CompositeAlarm"
_EVENTS, _TOPIC = "aws:cloudwatch/eventRule:EventRule", "aws:sns/topic:Topic"
_FILTER = "aws:cloudwatch/logMetricFilter:LogMetricFilter"
_SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"
_SLACK = "aws:chatbot/slackChannelConfiguration:SlackChannelConfiguration"
_QUERY, _DASHBOARD = "aws:cloudwatch/queryDefinition:QueryDefinition", "aws:cloudwatch/dashboard:Dashboard"
_POLICY, _PARAMETER, _KEY = "aws:iam/policy:Policy", "aws:ssm/parameter:Parameter", "aws:kms/key:Key"
_SCALING = "aws:appautoscaling/target:Target"
_CACHE = "aws:elasticache/replicationGroup:ReplicationGroup"
_SECURITY_GROUP = "aws:ec2/securityGroup:SecurityGroup"

_BUCKET_SETTINGS = {
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "no public access",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": "no access lists",
    "aws:s3/bucketPolicy:BucketPolicy": "a policy",
    "aws:s3/bucketVersioning:BucketVersioning": "versions",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "old versions end",
}
_TOGETHER: Mapping[str, str] = {_AFFECTED: _ALARM, **dict.fromkeys(_BUCKET_SETTINGS, "aws:s3/bucket:Bucket")}
"""Type -> type of those whose node it shares."""

_KINDS: Mapping[str, _Kind] = {
    _RULE: _Kind("Listener rules", _rule),
    _GROUP: _Kind("Target group", lambda i: f"port {i['port']}, health {i['healthCheck']['path']}"),
    _DISCOVERY: _Kind("Private name (Cloud Map)", _name),
    _SERVICE: _Kind("ECS service on Fargate", lambda i: f"{_name(i)}, tasks: {i['desiredCount']}"),
    _TASK: _Kind(
        "Task definition", lambda i: f"{i['cpu']} CPU, {i['memory']} MiB, {i['runtimePlatform']['cpuArchitecture']}"
    ),
    _IMAGE: _Kind("Image", lambda i: f"{i['build']['platform']}, used by its digest"),
    _REPOSITORY: _Kind("ECR repository", _name),
    _LOGS: _Kind("Log group", lambda i: f"{_name(i)}, {i['retentionInDays']} days"),
    _ROLE: _Kind("Roles", _name),
    _ALARM: _Kind("Alarms", _name, routed=True),
    _AFFECTED: _Kind("Alarms", _name, routed=True),
    _EVENTS: _Kind("ECS events", _name, routed=True),
    _TOPIC: _Kind("SNS topic", _name, routed=True),
    _FILTER: _Kind("Metric filters", _name),
    # Not the address: a picture is seen by more people than it concerns.
    _SUBSCRIPTION: _Kind("Subscriptions", lambda i: f"by {i['protocol']}", routed=True),
    _SLACK: _Kind("Slack channel", lambda i: str(i["slackChannelId"])),
    _SECURITY_GROUP: _Kind("Security group", _name),
    _PARAMETER: _Kind("Parameters", _name),
    _QUERY: _Kind("Saved queries", _name),
    _DASHBOARD: _Kind("Dashboard", _name),
    _KEY: _Kind("KMS key", lambda i: str(i["description"])),
    _POLICY: _Kind("Policies", _name),
    "aws:dynamodb/table:Table": _Kind("DynamoDB table, for OAuth state", _name),
    _CACHE: _Kind("Valkey, for OAuth state", lambda i: f"{i['nodeType']}, nodes: {i['numCacheClusters']}"),
    "aws:secretsmanager/secret:Secret": _Kind("Secret, made once", _name),
    _SCALING: _Kind("Autoscaling", lambda i: f"{i['minCapacity']} to {i['maxCapacity']} tasks"),
    "aws:budgets/budget:Budget": _Kind("Budget", lambda i: f"{i['limitAmount']} {i['limitUnit']} a month"),
    **{type_: _Kind("Settings of the bucket", _always(line)) for type_, line in _BUCKET_SETTINGS.items()},
    "aws:route53/record:Record": _Kind("DNS record", _name),
}
"""Other types are drawn with the last part of their name, and the resources' logical names."""

_PART_OF: Mapping[str, str] = {
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": _REPOSITORY,
    "aws:iam/rolePolicy:RolePolicy": _ROLE,
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": _ROLE,
    "aws:sns/topicPolicy:TopicPolicy": _TOPIC,
    "aws:kms/alias:Alias": _KEY,
    "aws:appautoscaling/policy:Policy": _SCALING,
    "aws:appautoscaling/scheduledAction:ScheduledAction": _SCALING,
    "aws:cloudwatch/eventTarget:EventTarget": _EVENTS,
    **{f"aws:elasticache/{name[0].lower()}{name[1:]}:{name}": _CACHE for name in ("SubnetGroup", "User", "UserGroup")},
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _SECURITY_GROUP,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _SECURITY_GROUP,
}
"""Type -> type of the resource that it is a part of: not drawn, and what it depends on the other depends on."""

_ARROWS = frozenset(
    {
        (_RULE, _GROUP),
        (_GROUP, _SERVICE),
        (_DISCOVERY, _SERVICE),
        (_REPOSITORY, _IMAGE),
        (_IMAGE, _TASK),
        (_POLICY, _ROLE),
        (_ROLE, _TASK),
        (_ROLE, _SLACK),
        (_TASK, _SERVICE),
        (_TASK, _PARAMETER),
        (_SECURITY_GROUP, _SERVICE),
        (_SCALING, _SERVICE),
        (_SERVICE, _CACHE),
        (_SERVICE, _LOGS),
        (_LOGS, _FILTER),
        (_LOGS, _QUERY),
        (_DASHBOARD, _ALARM),
        (_ALARM, _TOPIC),
        (_AFFECTED, _TOPIC),
        (_EVENTS, _TOPIC),
        (_TOPIC, _SUBSCRIPTION),
        (_TOPIC, _SLACK),
        (_TOPIC, _KEY),
    }
)
"""Types of two resources, one of which depends on the other: the arrow goes from the first to the second."""


def of_stack(file: Path, only: str | None = None) -> Picture:
    """The picture of the stack of this file; `only`: of one of its services.

    Raises `SettingsError`, `ContextError`, `OperationError`.
    """
    config = configuration.read_stack_file(file)
    settings, stack = configuration.parse(config), file.stem.removeprefix("Pulumi.")
    if only and only not in settings.services:
        raise no_service(stack, only, settings.services)
    registered = registrations(config, stack=stack)
    others = settings.services.keys() - {only} if only else set()
    return picture(stack, settings, [r for r in registered if _owner(r) not in others], without=others)


def picture(
    title: str, settings: Settings, registered: Sequence[Registration], without: Collection[str] = ()
) -> Picture:
    """The picture of what the program registered, with what its services need of the estate; `without`: keys of
    services that are not shown."""
    services = {key: service for key, service in settings.services.items() if key not in without}
    in_order = sorted(registered, key=lambda r: r.urn)  # They are registered in another one each time.
    drawn = {r.urn: r for r in in_order if r.type not in _PART_OF and not r.type.startswith("mcp-on-ecs:")}
    whole = {urn: urn for urn in drawn}
    for r in registered:
        for urn in r.dependencies:
            if r.type in _PART_OF and urn in drawn and drawn[urn].type == _PART_OF[r.type]:
                whole[r.urn] = urn
    needs: dict[str, set[str]] = {urn: set() for urn in drawn}
    for r in registered:
        if r.urn in whole:
            needs[whole[r.urn]] |= {whole[urn] for urn in r.dependencies if urn in whole} - {whole[r.urn]}
    place = {urn: _place(r, [drawn[need] for need in sorted(needs[urn])]) for urn, r in drawn.items()}
    alike: dict[str, list[Registration]] = {}
    for urn, r in drawn.items():
        alike.setdefault(place[urn], []).append(r)
    nodes = {id_: _node(id_, resources, services) for id_, resources in alike.items()}
    pairs = [pair for urn, r in drawn.items() for need in needs[urn] for pair in ((r, drawn[need]), (drawn[need], r))]
    edges = {Edge(place[a.urn], place[b.urn]) for a, b in pairs if (a.type, b.type) in _ARROWS}
    metrics = {r.inputs["metricTransformation"]["name"]: place[urn] for urn, r in drawn.items() if r.type == _FILTER}
    watched = ((urn, r.inputs.get("metricName")) for urn, r in drawn.items())
    edges |= {Edge(metrics[metric], place[urn]) for urn, metric in watched if metric in metrics}
    for thing in _around(settings, services.values()):
        if isinstance(thing, Node):
            nodes[thing.id] = thing
        else:
            edges.add(thing)
    buckets = {(f"bucket/{_owner(r)}", place[urn]) for urn, r in drawn.items() if r.type in _BUCKET_SETTINGS}
    edges |= {Edge(bucket, set_up) for bucket, set_up in buckets if bucket in nodes}
    return Picture(title=title, nodes=tuple(nodes.values()), edges=tuple(sorted(edges)))


def _owner(r: Registration) -> str:
    """Name of the component that it is in: a service's key, for those of services."""
    return r.parent.rpartition("::")[2]


def _id(owner: str, type_: str, route: str = "") -> str:
    return "/".join(filter(None, (owner, type_.split(":")[1], route)))


def _place(r: Registration, needs: Sequence[Registration]) -> str:
    """Id of the resource's node."""
    kind = _KINDS.get(r.type)
    type_ = _TOGETHER.get(r.type, r.type)
    topics = [r.name] if r.type == _TOPIC else [need.name for need in needs if need.type == _TOPIC]
    return _id(_owner(r), type_, topics[0] if kind and kind.routed and topics else "")


def _node(id_: str, alike: Sequence[Registration], services: Mapping[str, Service]) -> Node:
    first, owner = alike[0], _owner(alike[0])
    kind, service = _KINDS.get(first.type), services.get(owner)
    in_order = sorted(alike, key=lambda r: r.name)
    lines = [_KINDS[r.type].line(r.inputs) if r.type in _KINDS else r.name for r in in_order]
    frame = "" if first.type in _BUCKET_SETTINGS else owner  # They stand behind their bucket, which names them.
    if service:
        frame = f"{owner}: watched by" if "index:Observability" in first.parent else owner
        if first.type not in (_REPOSITORY, _SERVICE):  # Names that begin alike are easier to tell apart without it.
            lines = [re.sub(rf"^{re.escape(service.name)}[-/]", "", line) for line in lines]
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], f"and {len(lines) - _MOST_LINES + 1} more"]
    lines = [piece for line in lines for piece in _wrapped(line)]
    return Node(id=id_, title=kind.title if kind else first.type.rpartition(":")[2], lines=tuple(lines), frame=frame)


def _wrapped(line: str) -> list[str]:
    """Lines of at most `_WIDTH` characters, where the text has a slash or a space to break at."""
    pieces = [""]
    for part in re.split(r"(?=/)|(?<= )", line):
        if pieces[-1] and len(pieces[-1] + part) > _WIDTH:
            pieces.append("")
        pieces[-1] += part
    return pieces


def _around(settings: Settings, services: Iterable[Service]) -> Iterator[Node | Edge]:
    """What the stack needs and is needed by, and does not make."""
    if settings.delivery:
        yield Node(id="github", title="GitHub Actions", lines=(settings.delivery.repository,), own=False)
        yield Edge("github", _id("delivery", _ROLE))
    for service in services:
        yield from _around_service(settings, service)


def _around_service(settings: Settings, service: Service) -> Iterator[Node | Edge]:
    key, runs = service.key, _id(service.key, _SERVICE)
    if service.public:
        balancer = f"{settings.estate.load_balancer}, HTTPS {settings.estate.listener_port}"
        yield Node(id=f"{key}/clients", title="MCP clients", lines=(str(service.url),), own=False)
        yield Node(id="balancer", title="Load balancer", lines=(balancer,), own=False)
        yield Edge(f"{key}/clients", "balancer")
        yield Edge("balancer", _id(key, _RULE))
    yield Node(id="consumers", title="Services in the VPC", own=False)
    yield Edge("consumers", _id(key, _DISCOVERY))
    if service.secrets:
        names = tuple(sorted({wanted.secret for wanted in service.secrets.values()}))
        yield Node(id=f"{key}/secrets", title="Secrets, one key of each", lines=names, own=False)
        yield Edge(f"{key}/secrets", _id(key, _TASK))
    for bucket in sorted(service.buckets):
        yield Node(id=f"bucket/{bucket}", title="S3 bucket", lines=(bucket,), own=False)
        yield Edge(runs, f"bucket/{bucket}")
    if isinstance(state := service.oauth_state, ValkeyState) and state.host:
        yield Node(id=f"valkey/{state.host}", title="Valkey, for OAuth state", lines=(state.host,), own=False)
        yield Edge(runs, f"valkey/{state.host}")
    if service.server == "workspace-mcp":
        yield Node(id="google", title="Google", lines=("sign-in and APIs",), own=False)
        yield Edge(runs, "google")


_FOREIGN = {"style": "rounded,filled,dashed", "color": "#6b7280", "fillcolor": "#f3f4f6"}


def graph(drawn: Picture) -> graphviz.Digraph:
    """The picture for Graphviz."""
    font = "Helvetica,Arial,sans-serif"
    made = graphviz.Digraph(
        name=f"Stack {drawn.title}",
        graph_attr={
            "label": f"Stack {drawn.title}. Dashed: exists already and is only looked up, or is somebody else's.",
            "labelloc": "b",
            "rankdir": "TB",
            "fontname": font,
            "nodesep": "0.15",
            "ranksep": "0.35",
            "bgcolor": "white",
        },
        node_attr={
            "shape": "box",
            "margin": "0.08,0.05",
            "style": "rounded,filled",
            "fontname": font,
            "fontsize": "12",
            "color": "#1f6feb",
            "fillcolor": "white",
        },
        edge_attr={"color": "#4b5563", "arrowsize": "0.7"},
    )
    for number, (title, nodes) in enumerate(drawn.frames.items()):
        with made.subgraph(name=f"cluster_{number}" if title else None) as frame:
            if title:
                frame.attr(
                    label=title,
                    style="rounded,filled",
                    color="#1f6feb",
                    fillcolor="#eef6ff",
                    labelloc="t",
                    labeljust="r",
                )
            for node in nodes:
                lines = "".join(f'<br/><font point-size="11">{html.escape(line)}</font>' for line in node.lines)
                label = f"<<b>{html.escape(node.title)}</b>{lines}>"
                frame.node(node.id, label, **({} if node.own else _FOREIGN))
    for edge in drawn.edges:
        made.edge(edge.source, edge.target)
    return made


def svg(drawn: Picture) -> str:
    """The picture as SVG, by Graphviz, which is installed first where it is missing and may be: on Debian as root.

    Raises `OperationError`.
    """
    if shutil.which("dot") is None and debian.may_install():
        try:
            debian.install("graphviz", "fonts-dejavu-core")
        except debian.AptFailed as error:
            raise OperationError(str(error)) from None
    try:
        return str(graph(drawn).pipe(format="svg", encoding="utf-8"))
    except graphviz.ExecutableNotFound:
        raise OperationError(
            "Graphviz's dot is not on the PATH. Install it (Debian: apt-get install graphviz; "
            "others: https://graphviz.org/download/), or have Mermaid: ./ops diagram --mermaid"
        ) from None


def mermaid(drawn: Picture) -> str:
    """The picture as a Mermaid flowchart, which GitHub draws in Markdown."""
    ids = {node.id: f"n{number}" for number, node in enumerate(drawn.nodes)}
    lines = ["flowchart TB"]
    for number, (title, nodes) in enumerate(drawn.frames.items()):
        lines += [f'  subgraph f{number}["{_text(title)}"]'] if title else []
        for node in nodes:
            text = "<br/>".join([f"<b>{_text(node.title)}</b>", *map(_text, node.lines)])
            lines.append(f'    {ids[node.id]}["{text}"]')
        lines += ["  end"] if title else []
    for edge in drawn.edges:
        lines.append(f"  {ids[edge.source]} --> {ids[edge.target]}")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """`text` as data: no character of it means anything to Mermaid."""
    return re.sub(r"[^A-Za-z0-9 .,:/_()-]", lambda match: f"#{ord(match[0])};", text)
