"""The log as JSON, an object for each record, where LOG_FORMAT is json. Python imports this module at its start.

The server has no setting for it, and it and its libraries bring formats of their own, set at different times; what they
share is that a handler is asked to format a record.

Goes when workspace-mcp has a setting for JSON logs.
"""

import json
import logging
import os
from datetime import UTC, datetime


def as_json(_handler: logging.Handler, record: logging.LogRecord) -> str:
    """One line: time (UTC), level, logger, message, and a traceback if there is one."""
    line = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "logger": record.name,
        "message": record.getMessage(),
    }
    if record.exc_info:
        line["exception"] = logging.Formatter().formatException(record.exc_info)
    return json.dumps(line, ensure_ascii=False)


if os.environ.get("LOG_FORMAT") == "json":
    logging.Handler.format = as_json
