"""Topics, who is subscribed to them, a budget, and the limits of alarms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, ValidationInfo

from components.settings.model import Model
from components.settings.patterns import SlackChannel, SlackWorkspace, TopicName
from components.settings.secrecy import is_encrypted

Severity = Literal["critical", "operations", "warning"]
"""How soon somebody must look: at once, today, this week."""
Topic = Severity | Literal["deployments"]
TOPICS: tuple[Topic, ...] = ("critical", "operations", "warning", "deployments")


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


PLACEHOLDER_ENDPOINTS = {
    "email": "encrypted@encrypted.invalid",
    "sms": "+15550100",
    "https": "https://encrypted.invalid/",
}
"""Protocol -> what stands for a secret address where there is no engine to decrypt it: in a rehearsal, and for policies
and cost."""


def _decrypted(value: Any, info: ValidationInfo) -> Any:
    return PLACEHOLDER_ENDPOINTS.get(info.data.get("protocol", ""), value) if is_encrypted(value) else value


class Subscription(Model):
    """Somebody who is told. E-mail addresses are asked to confirm first; `./ops status` shows who has not."""

    topic: Topic
    """critical, operations, warning or deployments."""
    protocol: Literal["email", "sms", "https"]
    """How."""
    endpoint: Annotated[str, StringConstraints(min_length=3), BeforeValidator(_decrypted)]
    """E-mail address, telephone number as +15550100, or https address. An https address often has a key in it: set it
    with `pulumi config set --secret --path`, the only place where the configuration takes a secret. In the state and in
    previews it is encrypted, however it is set."""

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        shape, words = {
            "email": (r"[^@\s]+@[^@\s]+", "an e-mail address"),
            "sms": (r"\+[1-9]\d{6,14}", "a telephone number with its country, like +15550100"),
            "https": (r"https://\S+", "an https address"),
        }[self.protocol]
        if not re.fullmatch(shape, self.endpoint):
            yield ("endpoint", "protocol"), f"protocol {self.protocol} takes {words}"


class Slack(Model):
    """A Slack channel that AWS's chat service tells of all topics. The workspace is authorized once, by hand, in the
    console of Amazon Q Developer in chat applications."""

    workspace: SlackWorkspace
    """The workspace's id."""
    channel: SlackChannel
    """The channel's id."""


class Budget(Model):
    """A monthly budget for what this stack's resources cost by their tag Service. AWS counts by tag only from the day
    on which the tag was activated as a cost allocation tag, once for an account, in the Billing console."""

    limit: Annotated[Decimal, Field(gt=0, le=2_147_483_647, decimal_places=2)]
    """US dollars a month, to the cent. What to expect: `./ops cost`."""
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
            yield ("topics",), f"two of them have the same name ({', '.join(names)}); give each a name of its own"


_MOST = 1_000_000
"""Of what an alarm counts: more is no limit any more."""


class Alarms(Model):
    """Limits of a service's alarms. The defaults are those of the estate that this was made for."""

    cpu_percent: Annotated[int, Field(ge=1, le=100)] = 80
    """CPU, on average over five minutes, in percent. Default 80."""
    memory_percent: Annotated[int, Field(ge=1, le=100)] = 80
    """Memory, on average over five minutes, in percent. Default 80."""
    errors_per_minute: Annotated[int, Field(ge=0, le=_MOST)] = 10
    """Error lines in the log, two minutes in a row. Default 10."""
    oauth_failures_per_minute: Annotated[int, Field(ge=0, le=_MOST)] = 5
    """Lines about failed sign-ins, two minutes in a row. Default 5."""
    refusals_per_minute: Annotated[int, Field(ge=0, le=_MOST)] = 5
    """Lines about clients that were refused or not known, two minutes in a row. Default 5."""
    server_errors_per_minute: Annotated[int, Field(ge=0, le=_MOST)] = 5
    """Answers of 5xx, two minutes in a row. Default 5."""
    response_seconds: Annotated[float, Field(gt=0, le=300)] = 2.0
    """Time that 19 of 20 requests stay below, five minutes in a row, in seconds. Default 2: what a mail search may
    take."""
    stopped_tasks: Annotated[int, Field(ge=1, le=_MOST)] = 3
    """Tasks that stop by themselves within ten minutes. Default 3."""
    anomaly_band: Annotated[float, Field(ge=1, le=10)] | None = None
    """Also alarms on what is unusual for the hour and the day of the week: more or fewer requests, slower answers, more
    memory. CloudWatch learns a band from two weeks; this is its half width in standard deviations, such as 3.
    Default: no such alarms."""
