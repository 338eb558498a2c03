"""The comment on a pull request: preview, policies, rehearsal and cost, as Markdown that fits into one.

    python -m operations.comment --stack production --preview preview.json --rehearsal rehearsal.json > comment.md

Of a resource it says type, name, what happens to it and which properties differ, never a value: a comment is read by
more people than a state. Names are data and never Markdown.
"""

from __future__ import annotations

import argparse
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
    "preview": 24_000,
    "messages": 6_000,
    "policies": 10_000,
    "failure": 5_000,
    "checks": 5_000,
    "details": 3_000,
    "cost": 4_000,
}
"""Characters that each part may have; together they leave room for headings."""

_REPLACING = {"replace", "create-replacement", "delete-replaced", "discard-replaced", "import-replacement"}
_WORDS = {"create": "create", "update": "update", "delete": "delete", "import": "import"}
_ORDER = ("replace", "delete", "update", "create", "import")


def marker(stack: str) -> str:
    """The first line of a stack's comment, by which it is found again."""
    return f"<!-- mcp-on-ecs preview of {stack} -->"


def comment(
    stack: str,
    *,
    preview: Mapping[str, Any] | None = None,
    policies: Sequence[str] = (),
    rehearsal: Mapping[str, Any] | None = None,
    cost: str = "",
    run_url: str = "",
) -> str:
    """The comment's text, below `LIMIT` whatever it is about.

    Args:
        stack: the stack's name.
        preview: what `pulumi preview --json` printed; None: there was none (no credentials, as for a fork).
        policies: findings, as `./ops policies --json` has them.
        rehearsal: what `./rehearse --json` printed; None: there was none.
        cost: the difference in cost, as Markdown; empty: not asked.
        run_url: where the whole of what is shortened can be read.
    """
    whole = f"[the run]({run_url})" if run_url else "the run's log"
    parts = [marker(stack)]
    steps = list(_steps(preview)) if preview is not None else []
    parts.append(f"## {_text(stack)}: {_headline(preview, steps)}")
    if replaced := [step for step in steps if step.action == "replace"]:
        names = ", ".join(step.shown for step in replaced[:5]) + (" ..." if len(replaced) > 5 else "")
        parts.append(f"> [!WARNING]\n> Replaced, so gone for a moment or for good: {names}")
    if steps:
        table = ["| | resource | type | because of |", "|---|---|---|---|", *(step.row for step in steps)]
        parts.append("\n".join(_fitting(table, _SHARES["preview"], whole)))
    if messages := list(_messages(preview)):
        parts.append("\n".join(_fitting(messages, _SHARES["messages"], whole)))
    if policies:
        stopping = sum(line.startswith("stops") for line in policies)
        verdict = f"**stopped** by {stopping}" if stopping else "none stops the deployment"
        # What stops comes first in the findings; the count, their last line, goes into the heading.
        lines = [f"- {_text(line.strip())}" for line in _joined(policies[:-1])]
        parts.append(f"### Policies: {verdict}\n\n{_text(policies[-1])}")
        if lines:
            parts.append("\n".join(_folded("findings", _fitting(lines, _SHARES["policies"], whole), bool(stopping))))
    if rehearsal is not None:
        parts += _rehearsed(rehearsal, whole)
    if cost:
        parts.append("### Cost\n\n" + "\n".join(_fitting(cost.strip().splitlines(), _SHARES["cost"], whole)))
    text = "\n\n".join(parts) + "\n"
    assert len(text) < LIMIT, f"The comment has {len(text)} characters; lower a share in _SHARES."
    return text


@dataclass(frozen=True)
class _Step:
    action: str
    name: str
    type: str
    because: tuple[str, ...]

    @property
    def shown(self) -> str:
        return _code(self.name)

    @property
    def row(self) -> str:
        action = f"**{self.action}**" if self.action in ("replace", "delete") else self.action
        because = ", ".join(_code(name) for name in self.because[:8]) + (" ..." if len(self.because) > 8 else "")
        return f"| {action} | {self.shown} | {_code(self.type)} | {because} |"


def _steps(preview: Mapping[str, Any]) -> Iterator[_Step]:
    """What happens to each resource, once, replacements first."""
    found: dict[str, _Step] = {}
    for step in preview.get("steps", []):
        action = "replace" if step["op"] in _REPLACING else _WORDS.get(step["op"])
        if action is None or (step["urn"] in found and found[step["urn"]].because):
            continue
        _, _, qualified, name = step["urn"].split("::", 3)
        because = step.get("replaceReasons") if action == "replace" else None
        because = because or step.get("diffReasons") or step.get("detailedDiff") or ()
        found[step["urn"]] = _Step(action, name, qualified.rpartition("$")[2], tuple(because))
    yield from sorted(found.values(), key=lambda step: _ORDER.index(step.action))


def _headline(preview: Mapping[str, Any] | None, steps: Sequence[_Step]) -> str:
    if preview is None:
        return "not previewed, for want of credentials"
    counts = Counter(step.action for step in steps)
    told = ", ".join(f"{counts[action]} to {action}" for action in _ORDER if counts[action])
    errors = sum(entry.get("severity") == "error" for entry in preview.get("diagnostics", []))
    if errors:
        return f"the preview failed{f'; until then {told}' if told else ''}"
    return told or "nothing changes"


def _messages(preview: Mapping[str, Any] | None) -> Iterator[str]:
    for entry in (preview or {}).get("diagnostics", []):
        if entry.get("severity") in ("error", "warning"):
            message = re.sub(r"<\{%.*?%\}>|\x1b\[[0-9;]*m", "", entry.get("message", ""))
            yield f"- {entry['severity']}: {_text(' '.join(message.split()))}"


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
        yield "\n".join(_fitting([_text(line) for line in report["failure"].splitlines()], _SHARES["failure"], whole))
    if failed:
        lines = [f"- {_text(c['name'])}: {_text(c['detail'])} Do: {_text(c['remedy'])}" for c in failed]
        yield "\n".join(_fitting(lines, _SHARES["checks"], whole))
    details = [
        f"- {_text(phase['name'])}: {phase['seconds']:.1f} s {_text(phase['detail'])}" for phase in report["phases"]
    ]
    details += [f"- not proven: {_text(line)}" for line in report["unproven"]]
    yield "\n".join(
        _folded("what it did, and what it does not prove", _fitting(details, _SHARES["details"], whole), False)
    )


def _folded(title: str, lines: Sequence[str], shown: bool) -> list[str]:
    return [f"<details{' open' if shown else ''}><summary>{title}</summary>", "", *lines, "", "</details>"]


def _fitting(lines: Sequence[str], share: int, whole: str) -> list[str]:
    """The first of `lines` that have room in `share` characters, and how many were left out."""
    kept: list[str] = []
    for line in lines:
        share -= len(line) + 1
        if share < 0:
            return [*kept, "", f"... and {len(lines) - len(kept)} more: see {whole}."]
        kept.append(line)
    return kept


def _text(text: str, most: int = 1_500) -> str:
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
    parser = argparse.ArgumentParser(prog="python -m operations.comment", description=__doc__)
    parser.add_argument("--stack", default="production", help="the stack (default: production)")
    parser.add_argument("--preview", type=Path, metavar="FILE", help="what pulumi preview --json printed")
    parser.add_argument("--policies", type=Path, metavar="FILE", help="what ./ops policies --json printed")
    parser.add_argument("--rehearsal", type=Path, metavar="FILE", help="what ./rehearse --json printed")
    parser.add_argument("--cost", type=Path, metavar="FILE", help="the difference in cost, as Markdown")
    parser.add_argument("--run-url", default="", help="where the whole can be read")
    options = parser.parse_args()
    policies = _document(options.policies) or {}
    text = comment(
        options.stack,
        preview=_document(options.preview),
        policies=policies.get("findings", ()),
        rehearsal=_document(options.rehearsal),
        cost=options.cost.read_text() if options.cost and options.cost.exists() else "",
        run_url=options.run_url,
    )
    sys.stdout.write(text)
    return 0


def _document(file: Path | None) -> dict[str, Any] | None:
    """A JSON document; None where there is no file, or nothing in it, since the step that writes it was skipped."""
    if file is None or not file.exists() or not (text := file.read_text().strip()):
        return None
    document: dict[str, Any] = json.loads(text)
    return document


if __name__ == "__main__":
    sys.exit(main())
