"""The comment on a pull request: preview, policies, rehearsal and cost, as Markdown that fits into one.

    export PULUMI_ENABLE_STREAMING_JSON_PREVIEW=true    # The digest that --json prints otherwise leaves out policies.
    pulumi preview --stack production --policy-pack policies --json > preview.jsonl
    python -m operations.comment --stack production --preview preview.jsonl --rehearsal rehearsal.json > comment.md

Of a resource it says type, name, what happens to it and which properties differ, never a value: a comment is read by
more people than a state. Names are data and never Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import html
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT = 65_536
"""Characters that GitHub takes for a comment."""

_SHARES = {
    "preview": (20_000, 100),
    "messages": (6_000, 30),
    "policies": (10_000, 40),
    "failure": (5_000, 40),
    "checks": (5_000, 30),
    "details": (3_000, 40),
    "cost": (4_000, 40),
    "diagram": (6_000, 400),
}
"""Characters and lines that each part may have. Together the characters leave room for headings; and nobody reads more
lines."""
_SHORT = 25
"""Lines that are shown at once; more are folded."""

EXCEPTIONS_IN_FORCE = "policy-exceptions-list"
"""The policy that lists exceptions. As in `policies.pack`; this module needs no package, whatever was installed."""

Event = Mapping[str, Any]
"""An engine event: https://pkg.go.dev/github.com/pulumi/pulumi/sdk/v3/go/common/apitype#EngineEvent"""

_REPLACING = {"replace", "create-replacement", "delete-replaced", "discard-replaced", "import-replacement"}
_WORDS = {"create": "create", "update": "update", "delete": "delete", "import": "import"}
_ORDER = ("replace", "delete", "update", "create", "import")
_UNDECIDED = "not decided at preview"
_PREVIEW_FAILED = "preview failed"
"""What the engine says last of every preview that fails, whatever it failed of."""
_REVISIONED = "aws:ecs/taskDefinition:TaskDefinition"
"""A type whose replacement takes nothing away: a new revision beside the old one, at every change."""
_PIPELINE = "mcp-on-ecs:index:Delivery"
"""The component of the pipeline's roles, which these may not change themselves."""


def marker(stack: str) -> str:
    """The first line of a stack's comment, by which it is found again."""
    return f"<!-- mcp-on-ecs preview of {stack} -->"


def comment(
    stack: str,
    *,
    preview: Sequence[Event] | None = None,
    policies: Sequence[str] = (),
    rehearsal: Mapping[str, Any] | None = None,
    cost: str = "",
    diagram: str = "",
    run_url: str = "",
) -> str:
    """The comment's text, below `LIMIT` whatever it is about.

    Args:
        stack: the stack's name.
        preview: the events of `pulumi preview`; None: there was none (no credentials, as for a fork).
        policies: findings, as `./ops policies --json` has them; those of the preview take their place.
        rehearsal: what `./rehearse --json` printed; None: there was none.
        cost: the difference in cost, as Markdown; empty: not asked.
        diagram: the stack as Mermaid; empty: not drawn.
        run_url: where the whole of what is shortened can be read.
    """
    whole = _whole(run_url)
    steps = list(_steps(preview or ()))
    parts = [
        marker(stack),
        f"## {as_text(stack)}: {_headline(preview, steps)}",
        *_previewed(preview or (), steps, whole),
    ]
    if preview is None:
        parts.append(f"There was no preview: no credentials, as for a fork, or a step before it failed. See {whole}.")
    parts += _held(list(_found(preview or ())) or policies, whole)
    if rehearsal is not None:
        parts += _rehearsed(rehearsal, whole)
    if cost:
        parts.append("### Cost\n\n" + "\n".join(_fitting(cost.strip().splitlines(), "cost", whole)))
    if diagram:
        # Half a drawing is none.
        drawn = f"```mermaid\n{diagram.strip()}\n```"
        small = len(drawn) < _SHARES["diagram"][0]
        parts.append("\n".join(_folded("the stack", [drawn if small else f"Too large to be shown: {whole}."], False)))
    return _joined_below_limit(parts)


def drift(stack: str, preview: Sequence[Event], *, run_url: str = "") -> str:
    """An issue's text about what `pulumi up` would put back, by the events of a refreshing preview; empty for nothing.

    What differs and is not the program's, such as a task count that autoscaling set, is no drift.
    """
    steps = list(_steps(preview))
    if not steps:
        return ""
    whole = _whole(run_url)
    parts = [
        f"## {as_text(stack)} differs from what main declares: {_headline(preview, steps)}",
        f"Somebody or something else changed what this stack owns, or a deployment did not finish. Seen in {whole}.",
        *_previewed(preview, steps, whole),
        "**Do**: find out who (CloudTrail, by the resource's name). To put back what main declares, "
        f"`pulumi up --refresh --stack {stack}` from main: without `--refresh`, as in the workflow `deploy`, Pulumi "
        "looks at its state alone and puts nothing back. To keep the change, declare it and merge. The next night "
        "without drift closes this.",
    ]
    return _joined_below_limit(parts)


def _whole(run_url: str) -> str:
    return f"[the run]({run_url})" if run_url else "the run's log"


def _joined_below_limit(parts: Sequence[str]) -> str:
    text = "\n\n".join(parts) + "\n"
    assert len(text) < LIMIT, f"The text has {len(text)} characters; lower a share in _SHARES."
    return text


def _previewed(preview: Sequence[Event], steps: Sequence[_Step], whole: str) -> Iterator[str]:
    """What happens to resources, and what the preview said of it."""
    if replaced := [step for step in steps if step.action == "replace" and step.type != _REVISIONED]:
        names = ", ".join(step.shown for step in replaced[:5]) + (" ..." if len(replaced) > 5 else "")
        yield f"> [!WARNING]\n> Replaced, so gone for a moment or for good: {names}"
    if own := [step for step in steps if step.pipeline]:
        names = ", ".join(step.shown for step in own[:5]) + (" ..." if len(own) > 5 else "")
        yield (
            f"> [!IMPORTANT]\n> An administrator deploys this, from this branch: the pipeline's own roles change "
            f"({names}), and they may not change themselves. Where rights are added, "
            "`pulumi up --target '**Delivery**'`; where a service or anything else is removed, the whole `pulumi up`. "
            "Until then the workflow `deploy` fails with AccessDenied: docs/pipeline.md."
        )
    if steps:
        table = ["| | resource | type | because of |", "|---|---|---|---|", *(step.row for step in steps)]
        fitting = _fitting(table, "preview", whole)
        yield "\n".join(_folded("resources", fitting, False) if len(steps) > _SHORT else fitting)
    if messages := list(_messages(preview)):
        yield "\n".join(_fitting(messages, "messages", whole))


def _held(policies: Sequence[str], whole: str) -> Iterator[str]:
    """What the policies found."""
    if not policies:
        return
    stopping = sum(line.startswith("stops") for line in policies)
    verdict = f"**stopped** by {stopping}" if stopping else "none stops the deployment"
    # What stops comes first in the findings; the count, their last line, goes into the heading.
    yield f"### Policies: {verdict}\n\n{as_text(policies[-1])}"
    if lines := [f"- {as_text(line.strip())}" for line in _joined(policies[:-1])]:
        yield "\n".join(_folded("findings", _fitting(lines, "policies", whole), bool(stopping)))


def _found(preview: Sequence[Event]) -> Iterator[str]:
    """What the pack reported to the preview, like the findings of `./ops policies`; nothing if nothing."""
    lines_of: dict[str, list[str]] = {"stops": [], "advises": [], _UNDECIDED: [], "exception": []}
    for event in (event["policyEvent"] for event in preview if "policyEvent" in event):
        name, message = event["policyName"], event["message"]
        severity = f" ({event['severity']})" if event.get("severity") else ""
        if name == EXCEPTIONS_IN_FORCE:
            lines_of["exception"].append(_plain(message.partition("\n")[2]))  # Below the policy's description.
        elif _UNDECIDED in message:
            lines_of[_UNDECIDED].append(f"{name}{severity} {_plain(message.rpartition(_UNDECIDED)[2])}")
        else:
            effect = "stops" if event["enforcementLevel"] == "mandatory" else "advises"
            lines_of[effect].append(f"{name}{severity}: {_plain(message)}")
    for effect, lines in lines_of.items():
        for line in lines:
            yield f"{effect}  {line}"
    if any(lines_of.values()):
        stop, advise, undecided, exceptions = map(len, lines_of.values())
        yield (
            f"in the preview of the account: {stop} stop, {advise} advise, {undecided} not decided, "
            f"{exceptions} exceptions"
        )


@dataclass(frozen=True)
class _Step:
    action: str
    name: str
    type: str
    because: tuple[str, ...]
    pipeline: bool
    """Whether it is a part of the pipeline's roles."""

    @property
    def shown(self) -> str:
        return _code(self.name)

    @property
    def row(self) -> str:
        action = f"**{self.action}**" if self.action in ("replace", "delete") else self.action
        because = ", ".join(_code(name) for name in self.because[:8]) + (" ..." if len(self.because) > 8 else "")
        return f"| {action} | {self.shown} | {_code(self.type)} | {because} |"


def _steps(preview: Sequence[Event]) -> Iterator[_Step]:
    """What happens to each resource, once, replacements first."""
    found: dict[str, _Step] = {}
    for event in preview:
        if "resourcePreEvent" not in event:
            continue
        step = event["resourcePreEvent"]["metadata"]
        action = "replace" if step["op"] in _REPLACING else _WORDS.get(step["op"])
        _, _, qualified, name = step["urn"].split("::", 3)
        # Components, the stack itself among them, are nothing in the account; what is in them has events of its own.
        custom = (step.get("new") or step.get("old") or {}).get("custom")
        if action is None or not custom or (step["urn"] in found and found[step["urn"]].because):
            continue
        because = step.get("keys") if action == "replace" else None
        because = because or step.get("diffs") or step.get("detailedDiff") or ()
        pipeline = _PIPELINE in qualified.split("$")
        found[step["urn"]] = _Step(action, name, qualified.rpartition("$")[2], tuple(because), pipeline)
    yield from sorted(found.values(), key=lambda step: _ORDER.index(step.action))


def _headline(preview: Sequence[Event] | None, steps: Sequence[_Step]) -> str:
    if preview is None:
        return "not previewed"
    counts = Counter(step.action for step in steps)
    counted = ", ".join(f"{counts[action]} to {action}" for action in _ORDER if counts[action])
    errors = {_plain(entry["message"]) for entry in _diagnostics(preview) if entry["severity"] == "error"}
    if errors <= {_PREVIEW_FAILED} and any(line.startswith("stops ") for line in _found(preview or ())):
        # A preview goes on past a violation: these are all the changes that there would be.
        return f"stopped by policies{f'; otherwise {counted}' if counted else ''}"
    if errors or not preview:
        return f"the preview failed{f'; until then {counted}' if counted else ''}"
    return counted or "nothing changes"


def _diagnostics(preview: Sequence[Event]) -> Iterator[Mapping[str, Any]]:
    for event in preview:
        if (entry := event.get("diagnosticEvent")) and not entry.get("ephemeral"):
            yield entry


def _messages(preview: Sequence[Event]) -> Iterator[str]:
    """Errors and warnings, each once: the engine repeats what it says of every start of a plugin."""
    messages = dict.fromkeys((entry["severity"], entry["message"].strip()) for entry in _diagnostics(preview))
    for severity, message in messages:
        if severity in ("error", "warning") and _plain(message) != _PREVIEW_FAILED:
            lines = [as_text(plain) for line in message.splitlines() if (plain := _plain(line))]
            yield f"- {severity}: {'<br>'.join(lines)}"


def _plain(message: str) -> str:
    """A message of the engine without its colours, in one line."""
    return " ".join(re.sub(r"<\{%.*?%\}>|\x1b\[[0-9;]*m", "", message).split())


def _joined(lines: Sequence[str]) -> Iterator[str]:
    """Findings, each of which may go on in indented lines, as a line each."""
    gathered = ""
    for line in lines:
        if gathered and not line.startswith(" "):
            yield gathered
            gathered = ""
        gathered += f" {line.strip()}"
    if gathered:
        yield gathered


def _rehearsed(report: Mapping[str, Any], whole: str) -> Iterator[str]:
    failed = [check for check in report["checks"] if check["passed"] is False]
    held = sum(check["passed"] is True for check in report["checks"])
    verdict = "passed" if report["passed"] else "**failed**"
    yield f"### Rehearsal: {verdict}, {held} of {len(report['checks'])} checks, {report['seconds']:.1f} s"
    if report["failure"]:
        yield "\n".join(_fitting([as_text(line) for line in report["failure"].splitlines()], "failure", whole))
    if failed:
        lines = [f"- {as_text(c['name'])}: {as_text(c['detail'])} Do: {as_text(c['remedy'])}" for c in failed]
        yield "\n".join(_fitting(lines, "checks", whole))
    details = [
        f"- {as_text(phase['name'])}: {phase['seconds']:.1f} s {as_text(phase['detail'])}" for phase in report["phases"]
    ]
    details += [f"- not proven: {as_text(line)}" for line in report["unproven"]]
    yield "\n".join(_folded("what it did, and what it does not prove", _fitting(details, "details", whole), False))


def _folded(title: str, lines: Sequence[str], shown: bool) -> list[str]:
    return [f"<details{' open' if shown else ''}><summary>{title}</summary>", "", *lines, "", "</details>"]


def _fitting(lines: Sequence[str], part: str, whole: str) -> list[str]:
    """The first of `lines` that the part has room for, and how many were left out."""
    room, most = _SHARES[part]
    kept: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0 or len(kept) == most:
            return [*kept, "", f"... and {len(lines) - len(kept)} more: see {whole}."]
        kept.append(line)
    return kept


def as_text(text: str, most: int = 1_500) -> str:
    """`text` as data: nothing in it is Markdown, HTML or a mention. Shortened to `most` characters."""
    text = " ".join(text.split())
    text = text if len(text) <= most else text[: most - 4] + " ..."
    # A zero-width space keeps a mention from calling a person.
    return re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", html.escape(text, quote=False)).replace("@", "@\u200b")


def _code(text: str) -> str:
    """`text` as code, in a table too."""
    text = " ".join(text.split())[:200]
    escaped = re.sub(r"[^A-Za-z0-9 .:/=-]|:(?=//)", lambda match: f"&#{ord(match[0])};", text)
    return f"<code>{escaped}</code>"


def main() -> int:
    """Write the comment to standard output; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m operations.comment", description=__doc__.partition("\n")[0])
    parser.add_argument("--stack", default="production", help="the stack (default: production)")
    parser.add_argument("--preview", type=Path, metavar="FILE", help="the events that pulumi preview printed")
    parser.add_argument("--policies", type=Path, metavar="FILE", help="what ./ops policies --json printed")
    parser.add_argument("--rehearsal", type=Path, metavar="FILE", help="what ./rehearse --json printed")
    parser.add_argument("--cost", type=Path, metavar="FILE", help="the difference in cost, as Markdown")
    parser.add_argument("--diagram", type=Path, metavar="FILE", help="the stack as Mermaid")
    parser.add_argument("--drift", action="store_true", help="an issue about drift instead; empty if there is none")
    parser.add_argument("--run-url", default="", help="where the whole can be read")
    options = parser.parse_args()
    preview = _events(options.preview)
    if options.drift:
        sys.stdout.write(drift(options.stack, preview or (), run_url=options.run_url))
        return 0
    policies = _document(options.policies) or {}
    text = comment(
        options.stack,
        preview=preview,
        policies=policies.get("findings", ()),
        rehearsal=_document(options.rehearsal),
        cost=_content(options.cost),
        diagram=_content(options.diagram),
        run_url=options.run_url,
    )
    sys.stdout.write(text)
    return 0


def _content(file: Path | None) -> str:
    """A file's text; empty where there is none, since the step that writes it failed or was skipped."""
    return file.read_text().strip() if file and file.exists() else ""


def _document(file: Path | None) -> dict[str, Any] | None:
    """A JSON document; None where there is none, or only the beginning of one."""
    try:
        document: dict[str, Any] = json.loads(_content(file))
    except json.JSONDecodeError:
        return None
    return document


def _events(file: Path | None) -> list[Event] | None:
    """The events of a preview, one a line; what else was printed is none. None where there is no file."""
    if file is None or not file.exists():
        return None
    events: list[Event] = []
    for line in file.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            events.append(json.loads(line))
    return [event for event in events if isinstance(event, dict)]


if __name__ == "__main__":
    sys.exit(main())
