"""`review`: is the stack ready for production? One page of what was asked, with what to do about what is not right."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from checks import Check
from components import settings as configuration
from components.settings import TOPICS, Service
from operations import cost
from operations.accept import accept
from operations.comment import as_text
from operations.errors import UNREACHABLE, OperationError
from operations.preflight import preflight
from operations.prices import read_prices, table_of
from operations.revisions import history
from operations.target import Target
from operations.verify import named, verify
from policies import evaluate
from policies.registrations import Registration, registrations

OLDEST_IMAGE = 90
"""Days after which an image should be built anew, for the base image's security fixes: a choice, as is the next."""
NOTICE = 30
"""Days before its end at which an exception must be renewed, or what it excuses mended."""

_WORDS = {True: "passed", False: "**failed**", None: "not run"}
_ALARMS = ("aws:cloudwatch/metricAlarm:MetricAlarm", "aws:cloudwatch/compositeAlarm:CompositeAlarm")


@dataclass(frozen=True, kw_only=True)
class Part:
    """What was asked about one thing."""

    title: str
    checks: tuple[Check, ...]


def review(target: Target) -> list[Part]:
    """Every part, asked at once; the order is fixed. What cannot be asked is a check that was not run, with why.

    Changes nothing on the account, but for the task of its own that `verify` asks with. Raises what the program raises.
    """
    services = list(target.settings.services.values())
    several = len(services) > 1
    # Before the threads: the program runs in the project's directory, which is one for all of them.
    registered = registrations(configuration.read_stack_file(target.file), stack=target.stack)

    def each(ask: Callable[[Target, Service], list[Check]]) -> list[Check]:
        return [check for service in services for check in named(service, ask(target, service), several=several)]

    parts: list[tuple[str, Callable[[], list[Check]]]] = [
        ("What a deployment needs", partial(preflight, target)),
        ("Policies", lambda: list(policies(target, registered))),
        ("The running service", partial(each, verify)),
        ("Alarms and whom they tell", lambda: list(alarms(target, registered))),
        ("The image", partial(each, lambda target, service: list(image(target, service)))),
        ("Cost", lambda: [_cost(registered, target.region)]),
    ]
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda part: Part(title=part[0], checks=tuple(_ask(*part))), parts))
    # After the others, and in this thread: it is a run of pytest, and it writes into the log that they look at.
    title = "Sign-in and tools"
    tried = _ask(title, partial(each, lambda target, service: accept(target, service).checks))
    return [*found[:4], Part(title=title, checks=tuple(tried)), *found[4:]]


def _ask(title: str, ask: Callable[[], list[Check]]) -> list[Check]:
    started = time.monotonic()
    try:
        return ask()
    except OperationError as error:
        passed, detail = None if error.status == UNREACHABLE else False, str(error)
    except (BotoCoreError, ClientError) as error:
        passed, detail = None, f"could not be asked: {error}"
    return [_check(title, passed, detail, "see the line before" if passed is False else "", started)]


def _check(name: str, passed: bool | None, detail: str, remedy: str = "", started: float | None = None) -> Check:
    seconds = time.monotonic() - started if started else 0.0
    return Check(name=name, passed=passed, detail=detail, remedy="" if passed else remedy, seconds=seconds)


def _not_run(name: str, why: str) -> Check:
    return _check(name, None, why)


def policies(target: Target, registered: Sequence[Registration]) -> Iterator[Check]:
    """What the program registers, held to the policies; and each exception, whether it is needed and lasts."""
    findings = evaluate(registered, target.settings.policy_exceptions)
    yield _check(
        f"{findings.resources} resources keep {findings.rules} rules",
        not findings.violations,
        f"{len(findings.violations)} violations, {len(findings.excepted)} allowed by exceptions",
        "see ./ops policies",
    )
    for violation in findings.violations:
        name, why = f"{violation.rule.id} on {violation.resource.name}", f"{violation.problem}: {violation.rule.why}"
        yield _check(name, False, why.rstrip("."), violation.rule.remedy.rstrip("."))
    for undecided in findings.undecided:
        yield _not_run(f"{undecided.rule.id} on {undecided.resource.name}", undecided.reason)
    today = datetime.datetime.now(tz=datetime.UTC).date()
    for exception in findings.exceptions:
        left = (exception.expires - today).days
        needed = any(exception.covers(v.rule.id, v.resource.name) for v in findings.excepted)
        yield _check(
            f"exception {exception.rule} on {exception.resource} is needed, and in force for {NOTICE} days more",
            needed and left >= NOTICE,
            exception.terms if needed else "no resource breaks this rule",
            "mend what it excuses, or renew it" if needed else "remove it from policyExceptions",
        )


def alarms(target: Target, registered: Sequence[Registration]) -> Iterator[Check]:
    """The account's alarms against those that the program registers, and whether somebody hears of each topic."""
    monitoring = target.settings.monitoring
    if monitoring is None:
        yield _check("somebody is told of faults", False, "the stack has no monitoring", "configure monitoring")
        return
    topics = {r.urn: str(r.inputs["name"]) for r in registered if r.type == "aws:sns/topic:Topic"}
    wanted = {
        str(r.inputs.get("name") or r.inputs["alarmName"]): {topics[urn] for urn in r.dependencies if urn in topics}
        for r in registered
        if r.type in _ALARMS
    }
    found: dict[str, dict[str, Any]] = {}
    pages = target.client("cloudwatch").get_paginator("describe_alarms")
    for page in pages.paginate(AlarmTypes=["MetricAlarm", "CompositeAlarm"]):
        found |= {a["AlarmName"]: a for kind in ("MetricAlarms", "CompositeAlarms") for a in page[kind]}
    wrong = {
        name: "is missing"
        if name not in found
        else "is switched off"
        if not found[name]["ActionsEnabled"]
        else f"does not tell {', '.join(topics)}"
        for name, topics in wanted.items()
        if name not in found
        or not found[name]["ActionsEnabled"]
        or topics != {action.rpartition(":")[2] for action in found[name]["AlarmActions"]}
    }
    yield _check(
        "every alarm is there, is on, and tells its topic",
        not wrong,
        "; ".join(f"{name} {what}" for name, what in wrong.items()) or f"{len(wanted)} alarms",
        "pulumi up --refresh puts them right",
    )
    loud = sorted(name for name in wanted if name in found and found[name]["StateValue"] == "ALARM")
    yield _check("no alarm is on", not loud, ", ".join(loud) or "all are quiet", "see ./ops status and the runbook")
    for topic in TOPICS:
        yield _subscribed(target, monitoring.topics.name(topic))


def _subscribed(target: Target, topic: str) -> Check:
    name, sns = f"somebody hears of {topic}", target.client("sns")
    arn = f"arn:{target.partition}:sns:{target.region}:{target.account}:{topic}"
    try:
        pages = list(sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn))
    except sns.exceptions.NotFoundException:
        return _check(name, False, "there is no such topic", "pulumi up")
    entries = [entry for page in pages for entry in page["Subscriptions"]]
    confirmed = [e["Protocol"] for e in entries if e["SubscriptionArn"].startswith("arn:")]
    detail = f"confirmed: {', '.join(sorted(confirmed)) or 'none'}; waiting: {len(entries) - len(confirmed)}"
    if target.settings.monitoring and target.settings.monitoring.slack:
        return _check(name, True, f"Slack; {detail}")
    # A subscription need not be confirmed in a rehearsal. Stays: nobody gets the message.
    if not confirmed and target.rehearsed:
        return _not_run(name, f"{detail}; in a rehearsal nobody can confirm")
    return _check(name, bool(confirmed), detail, "add monitoring.subscriptions, and have each confirmed")


def image(target: Target, service: Service) -> Iterator[Check]:
    """How old the running image is, and what the registry's scan found in it."""
    running = next((entry for entry in history(target, service) if entry.running), None)
    young, clean = f"the image is at most {OLDEST_IMAGE} days old", "the registry's scan found nothing grave"
    if running is None or not running.available:
        for name in (young, clean):
            yield _not_run(name, "the running image is not in the service's own repository")
        return
    ecr = target.client("ecr")
    asked = {"repositoryName": service.name, "imageIds": [{"imageDigest": running.digest}]}
    (details,) = ecr.describe_images(**asked)["imageDetails"]
    pushed = details["imagePushedAt"]
    days = (datetime.datetime.now(tz=datetime.UTC) - pushed).days
    yield _check(
        young,
        days <= OLDEST_IMAGE,
        f"{days} days: {running.tag or running.digest}, pushed {pushed:%Y-%m-%d}, source {running.source or 'unknown'}",
        "build it anew, with the base image of today: docs/upgrading.md",
    )
    # An image's scan is not read in a rehearsal. Goes when the emulator scans images.
    if target.rehearsed:
        yield _not_run(clean, "the emulator does not scan images")
        return
    try:
        scan = ecr.describe_image_scan_findings(repositoryName=service.name, imageId=asked["imageIds"][0])
    except ecr.exceptions.ScanNotFoundException:
        yield _not_run(clean, "the image was never scanned")
        return
    if scan["imageScanStatus"]["status"] not in ("COMPLETE", "ACTIVE"):
        yield _not_run(clean, f"the scan is {scan['imageScanStatus']['status']}")
        return
    counts = scan["imageScanFindings"].get("findingSeverityCounts", {})
    detail = ", ".join(f"{count} {severity}" for severity, count in counts.items()) or "no findings"
    grave = counts.get("CRITICAL", 0) + counts.get("HIGH", 0)
    yield _check(clean, not grave, detail, "upgrade what it names, or the base image: docs/upgrading.md")


def _cost(registered: Sequence[Registration], region: str) -> Check:
    found = cost.estimate(registered, read_prices(table_of(region)), region=region)
    detail = f"{found.month:.2f} {found.prices.currency} a month, estimated at prices of {found.prices.date}"
    if found.elsewhere:
        detail += f", and of {found.prices.region}, while the stack is in {region}: see ./ops cost"
    if found.unpriced:
        return _not_run("what it costs is known", f"{detail}, without {', '.join(found.unpriced)}")
    return _check("what it costs is known", True, detail)


def markdown(target: Target, parts: Sequence[Part]) -> str:
    """The review as a page."""
    checks = [check for part in parts for check in part.checks]
    failed = [check for check in checks if check.passed is False]
    place = "a rehearsal" if target.rehearsed else f"account {target.account}, {target.region}"
    now = datetime.datetime.now(tz=datetime.UTC)
    verdict = f"not ready, {len(failed)} to mend" if failed else "ready, as far as it was asked"
    lines = [
        f"# Production readiness of {target.stack}: {verdict}",
        "",
        f"Asked of {place} on {now:%Y-%m-%d at %H:%M} UTC by `./ops review`. Not run is not passed: see why.",
        "",
        "| part | passed | failed | not run |",
        "|---|---|---|---|",
    ]
    for part in parts:
        counts = [sum(check.passed is outcome for check in part.checks) for outcome in (True, False, None)]
        lines.append(f"| {part.title} | {' | '.join(map(str, counts))} |")
    if failed:
        lines += ["", "## To do", ""]
        lines += [f"- [ ] {as_text(c.name)}: {as_text(c.detail)}. **{as_text(c.remedy)}**" for c in failed]
    for part in parts:
        lines += ["", f"## {part.title}", "", "| | result | seen |", "|---|---|---|"]
        lines += [f"| {as_text(c.name)} | {_WORDS[c.passed]} | {as_text(c.detail)} |" for c in part.checks]
    return "\n".join(lines) + "\n"
