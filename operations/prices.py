"""The table of prices that `cost` reckons with: what AWS asks in a region, and what is supposed of a service's use."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from operations.errors import OperationError

TABLE = Path(__file__).with_name("prices.yaml")
"""Prices of one region, which it names. Those of another are in `prices.REGION.yaml` beside it, once somebody has put
them there."""

Amount = Annotated[float, Field(ge=0)]
Architecture = Literal["X86_64", "ARM64"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Usage(_Table):
    """What a configuration does not say, a month."""

    log_gb_per_task: Amount
    json_log_growth: Amount
    requests_per_task: Amount
    counted_hours: Amount
    image_gb: Amount
    images: Amount
    traffic_gb_per_task: Amount
    google_gb_per_task: Amount
    messages: Amount
    bucket_gb: Amount
    users_per_task: Amount
    state_writes_per_user: Amount
    state_reads_per_request: Amount
    state_kb_per_user: Amount


class Rates(_Table):
    """Prices in the table's currency, by what they are for."""

    fargate_vcpu_hour: dict[Architecture, Amount]
    fargate_gb_hour: dict[Architecture, Amount]
    fargate_spot_vcpu_hour: dict[Architecture, Amount]
    fargate_spot_gb_hour: dict[Architecture, Amount]
    log_gb: Amount
    log_gb_month: Amount
    metric_month: Amount
    alarm_month: Amount
    composite_alarm_month: Amount
    dashboard_month: Amount
    key_month: Amount
    traces_million: Amount
    budget_month: Amount
    image_gb_month: Amount
    traffic_gb: Amount
    nat_gb: Amount
    email: Amount
    sms: Amount
    s3_gb_month: Amount
    zone_record: Amount
    secret_month: Amount
    dynamodb_writes_million: Amount
    dynamodb_reads_million: Amount
    dynamodb_gb_month: Amount
    dynamodb_recovery_gb_month: Amount
    cache_node_hour: dict[str, Amount]


class Prices(_Table):
    """A table of prices, with where it is from."""

    date: datetime.date
    region: str
    currency: str
    hours: Amount
    usage: Usage
    prices: Rates


def table_of(region: str | None) -> Path:
    """The table for a stack in `region`: the region's own where there is one."""
    if region is None or not re.fullmatch(r"[a-z0-9-]+", region):
        return TABLE
    own = TABLE.with_name(f"prices.{region}.yaml")
    return own if own.exists() else TABLE


def read_prices(path: Path = TABLE) -> Prices:
    """A table of prices. Raises `OperationError` with every mistake in it."""
    try:
        return Prices.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise OperationError(f"{path}: {error.strerror}. Name a table like operations/{TABLE.name}.", 2) from None
    except yaml.YAMLError as error:
        raise OperationError(f"{path} is not YAML: {' '.join(str(error).split())}", 2) from None
    except ValidationError as error:
        mistakes = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise OperationError("\n".join([f"{path} is no table of prices like {TABLE.name}:", *mistakes]), 2) from None
