"""Logs and traces of a service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, field_validator

from components.settings.model import Model
from components.settings.patterns import ImageByDigest, Tag

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


class Tracing(Model):
    """Traces of MCP requests and tool calls to AWS X-Ray, through an OpenTelemetry collector beside the server, in the
    same task and within its CPU and memory. They name tools and methods, never people."""

    collector: ImageByDigest
    """The collector: public.ecr.aws/aws-observability/aws-otel-collector@sha256:... Its digest is shown by
    `docker buildx imagetools inspect public.ecr.aws/aws-observability/aws-otel-collector:latest`."""
    sample_percent: Annotated[float, Field(gt=0, le=100)] = 10
    """Of a hundred requests, how many are traced. Default 10."""
