"""What lines of the log mean: metric filters count them, saved queries find them."""

from __future__ import annotations

from typing import Literal

TERMS: dict[str, tuple[str, ...]] = {
    # The server writes `[ERROR] ...` or the name of a part, and what follows in red (critical: in magenta); its
    # libraries write `ERROR: ...` and `ERROR:    ...`.
    "errors": ("[ERROR]", "[CRITICAL]", "ERROR: ", "CRITICAL: ", "[31m", "[35m"),
    # What a person sees who comes back from Google and is not let in, or has to sign in again.
    "oauth-failures": (
        "IdP callback",
        "IdP token exchange failed",
        "OAuth token refresh failed",
        "Refresh token not found",
        "Error handling auth callback",
    ),
    # Clients that are refused or not known, of which people only say that it does not work (image/middleware.py). The
    # last is the server's own line about a browser.
    "refusals": ("Client refused: ", "Client unknown: ", "Rejected HTTP request from Origin"),
    # The shared store of registrations and codes, and the server's own question to it.
    "store-failures": (
        "OAuth storage",
        "StoreSetupError",
        "Failed to store token session",
        "Error storing credentials",
    ),
}
"""Texts of which a line must contain one, by metric. A 401 on /mcp writes no line at all: every client begins with
one."""


def filter_pattern(part: str, log_format: Literal["text", "json"]) -> str:
    """The metric filter of a part of `TERMS`.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
    """
    if log_format == "text":
        return " ".join(f'?"{term}"' for term in TERMS[part])
    if part == "errors":
        tests = ['$.level = "ERROR"', '$.level = "CRITICAL"']
    else:
        tests = [f'$.{field} = "*{term}*"' for term in TERMS[part] for field in ("message", "exception")]
    return "{ " + " || ".join(f"({test})" for test in tests) + " }"


ERROR_LINE = r'\[(ERROR|CRITICAL)\]|(ERROR|CRITICAL):|\[3[15]m|"level": "(ERROR|CRITICAL)"'
"""Regular expression of a line that tells of an error, in either format."""

QUERIES: dict[str, str] = {
    "errors": "fields @timestamp, @logStream, @message\n"
    f"| filter @message like /{ERROR_LINE}/\n"
    "| sort @timestamp desc\n| limit 100",
    "errors by kind": "fields @message\n"
    f"| filter @message like /{ERROR_LINE}/\n"
    # A line that is JSON begins with its time.
    "| stats count(*) as lines by substr(coalesce(message, @message), 0, 80) as kind\n| sort lines desc",
    "sign-ins that failed": "fields @timestamp, @message\n"
    "| filter @message like /IdP callback|IdP token exchange|token refresh|Refresh token|auth callback/\n"
    "| sort @timestamp desc\n| limit 100",
    "refused clients": "fields @timestamp, @message\n"
    "| filter @message like /Client refused: |Client unknown: |Rejected HTTP request from Origin/\n"
    "| stats count(*) as requests, max(@timestamp) as last by coalesce(message, @message) as refusal\n"
    "| sort requests desc",
    "last lines of each task": "fields @timestamp, @logStream, @message\n| sort @timestamp desc\n| limit 200",
}
"""Saved queries of CloudWatch Logs Insights, by what they answer."""
