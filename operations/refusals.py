"""What a service's log tells of clients that were refused or not known."""

from __future__ import annotations

import collections
import datetime
import json
import re
from typing import Any

from components.containers import log_group_name
from components.observability import TERMS
from components.settings import Service
from operations.target import Target

LOOKED_BACK = datetime.timedelta(hours=1)
_SHOWN = 5
_LINE = re.compile("|".join(f"(?:{re.escape(term)}).*" for term in TERMS["refusals"]))


def refusals(target: Target, service: Service) -> list[dict[str, Any]]:
    """The last hour's refusals, the newest first: what was said, and how often."""
    since = datetime.datetime.now(tz=datetime.UTC) - LOOKED_BACK
    logs = target.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=log_group_name(service),
        startTime=int(since.timestamp() * 1000),
        PaginationConfig={"MaxItems": 10_000},
    )
    try:
        said = [refusal for page in pages for event in page["events"] if (refusal := found(event["message"]))]
    except logs.exceptions.ResourceNotFoundException:
        return []
    times = collections.Counter(said)
    newest = list(dict.fromkeys(reversed(said)))[:_SHOWN]
    return [{"refusal": refusal, "times": f"{times[refusal]} in the last hour"} for refusal in newest]


def found(line: str) -> str | None:
    """What a line of the log says of a client that was refused or not known, or None where it is about none."""
    if line.startswith("{"):
        try:
            line = str(json.loads(line).get("message", ""))
        except ValueError:
            return None
    match = _LINE.search(re.sub(r"\x1b\[\d+m", "", line))
    return match[0].strip() if match else None
