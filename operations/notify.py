"""Tell SNS (environment TOPIC, an ARN) and Slack (environment SLACK_WEBHOOK) how a run of the pipeline ended, each if
it is set.

    python -m operations.notify "Deployment of production" --outcome failure --log last.log --url https://...

A deployment is not undone because nobody could be told of it: that is a warning.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

_LINES, _WIDTH = 15, 300
"""Of the log's end: as much as a person reads on a telephone."""
_DENIED = (
    "AccessDenied: does the change touch the pipeline's own roles? Those an administrator deploys: "
    "pulumi up --target '**Delivery**', or the whole pulumi up where something is removed. See docs/pipeline.md"
)
_AFTER_FAILURE = "What runs: ./ops status. Back: ./ops rollback, or the workflow rollback. See docs/runbook.md"


def message(subject: str, *, steps: str = "", log: str = "", url: str = "", failed: bool = False) -> str:
    """The whole text. `log`: what the last step printed, of which the end is told."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip()[:_WIDTH] for line in log.splitlines()]
    lines = [line for line in lines if line][-_LINES:]
    commit, actor = os.environ.get("GITHUB_SHA", "")[:7], os.environ.get("GITHUB_ACTOR", "")
    whose = f"commit {commit} by {actor}" if commit else ""
    head = [subject, whose, steps]
    denied = failed and re.search(r"AccessDenied|UnauthorizedOperation|not authorized to perform", log)
    tail = [_DENIED if denied else "", _AFTER_FAILURE if failed else "", url]
    paragraphs = ["\n".join(line for line in paragraph if line) for paragraph in (head, lines, tail)]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _tell_sns(topic: str, subject: str, text: str, url: str) -> None:
    import boto3  # here: where the run ended before the packages were installed, Slack is told all the same

    client = boto3.client("sns", region_name=topic.split(":")[3])
    # A text message has room for little, and every part of it is paid for.
    texts = json.dumps({"default": text, "sms": f"{subject} {url}"})
    client.publish(TopicArn=topic, Subject=subject[:100], Message=texts, MessageStructure="json")


def _tell_slack(webhook: str, text: str) -> None:
    # https://docs.slack.dev/messaging/formatting-message-text#escaping
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    body = json.dumps({"text": escaped}).encode()
    request = urllib.request.Request(webhook, body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=20):  # noqa: S310
        pass


def _warnings(subject: str, text: str, url: str) -> Iterator[str]:
    if topic := os.environ.get("TOPIC"):
        try:
            _tell_sns(topic, subject, text, url)
        except Exception as error:  # whatever it is, the run goes on
            yield f"SNS did not take the notification: {error}. The role needs delivery.topic: {topic}"
    if webhook := os.environ.get("SLACK_WEBHOOK"):
        try:
            _tell_slack(webhook, text)
        except Exception as error:
            # Not its words: they may have the address in them, which is a secret.
            reason = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__
            yield f"Slack did not take the notification ({reason}). Renew the secret SLACK_WEBHOOK of the environment."


def main() -> int:
    """Tell; always 0."""
    parser = argparse.ArgumentParser(prog="python -m operations.notify", description=__doc__.partition(".\n")[0])
    parser.add_argument("subject", help="what ended")
    parser.add_argument("--outcome", required=True, help="success, failure or cancelled")
    parser.add_argument("--steps", default="", help="what became of each step")
    parser.add_argument("--log", type=Path, metavar="FILE", help="what the last step printed")
    parser.add_argument("--url", default="", help="where the whole can be read")
    options = parser.parse_args()
    subject = f"{options.subject}: {options.outcome}"
    log = options.log.read_text(errors="replace") if options.log and options.log.exists() else ""
    failed = options.outcome != "success"
    text = message(subject, steps=options.steps, log=log, url=options.url, failed=failed)
    for warning in _warnings(subject, text, options.url):
        print(f"::warning::{' '.join(warning.split())}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
