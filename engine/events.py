"""Makes of the engine's events what a report tells."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from typing import Any

from pulumi.automation import events

from engine.deployment import MARK, SECRET, STACK, Action, Deployment, Listener, Progress, Result, name_of, narrowed
from providers import handlers
from providers.provider import Change

_ACTIONS: Mapping[events.OpType, Action] = {
    events.OpType.SAME: "same",
    events.OpType.CREATE: "created",
    events.OpType.UPDATE: "changed",
    events.OpType.REPLACE: "replaced",
    events.OpType.DELETE: "deleted",
    events.OpType.IMPORT: "imported",
}
"""Logical steps; what a replacement consists of is told once, as the replacement."""

EMULATOR_DIFFERENCES: Mapping[str, Mapping[str, str]] = {
    "aws:cloudwatch/metricAlarm:MetricAlarm": {
        "statistic": "DescribeAlarms of the emulator names an average beside an extended statistic; AWS names none"
    }
}
"""Type -> property -> what the emulator answers otherwise than AWS, beside what the handlers know to be unstored. The
official providers find it as a change.

Goes when the emulator answers as AWS does.
"""


class Events:
    """Called with each event, from any thread; `deployment` is what they tell so far."""

    def __init__(self, progress: Listener | None = None) -> None:
        self.deployment = Deployment()
        self.errors: list[str] = []
        """What the engine, a provider or a mandatory policy said, in order."""
        self._progress = progress or (lambda _event: None)
        self._begun: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, event: events.EngineEvent) -> None:
        with self._lock:
            if event.resource_pre_event:
                self._begin(event.resource_pre_event.metadata)
            elif event.res_outputs_event:
                self._end(event.res_outputs_event.metadata, _ACTIONS.get(event.res_outputs_event.metadata.op))
            elif event.res_op_failed_event:
                self._end(event.res_op_failed_event.metadata, "failed")
            elif event.diagnostic_event:
                self._diagnose(event.diagnostic_event)
            elif event.policy_event:
                self._hold(event.policy_event)

    def _begin(self, step: events.StepEventMetadata) -> None:
        self._begun.setdefault(step.urn, time.monotonic())
        if _counts(step):
            self._progress(Progress(step.urn, step.type, name_of(step.urn), None))

    def _end(self, step: events.StepEventMetadata, action: Action | None) -> None:
        if action is None or not _counts(step):
            return
        seconds = time.monotonic() - self._begun.get(step.urn, time.monotonic())
        kind = handlers.get(step.type)
        recorded = kind.ineffective(dict((step.new.inputs if step.new else None) or {})) if kind else {}
        changes = _changes(step)
        gaps = {**(kind.recorded_only if kind else {}), **EMULATOR_DIFFERENCES.get(step.type, {})}
        if action == "changed" and changes and {re.split(r"[.\[]", path)[0] for path in changes} <= gaps.keys():
            # Each preview by the official providers finds these anew. The report names them.
            action, recorded, changes = "same", recorded | {path: gaps[path] for path in changes if path in gaps}, {}
        result = Result(step.urn, step.type, name_of(step.urn), action, seconds, changes, recorded)
        # What is imported may be changed at once; then that is told.
        others = [known for known in self.deployment.resources if (known.urn, known.action) != (step.urn, "imported")]
        self.deployment.resources = [*others, result]
        self._progress(Progress(step.urn, step.type, result.name, action, seconds))

    def _diagnose(self, event: events.DiagnosticEvent) -> None:
        text = _plain(event.message).strip()
        if not text or event.ephemeral or event.severity == "debug":
            return
        severity = {"info#err": "info"}.get(event.severity, event.severity)
        self.deployment.messages.append((severity, text))
        if severity == "error":
            urn = event.urn or ""
            own = urn and f"::{STACK}::" not in urn
            self.errors.append(f"{name_of(urn)}: {text}" if own else text)

    def _hold(self, event: events.PolicyEvent) -> None:
        line = f"{event.enforcement_level}: {event.policy_name}: {' '.join(_plain(event.message).split())}"
        self.deployment.policies.append(line)
        if event.enforcement_level == "mandatory":
            self.errors.append(line)


def _counts(step: events.StepEventMetadata) -> bool:
    """Whether it is a resource of the program's that a provider looks after."""
    state = step.new or step.old
    return bool(state and state.custom) and not step.type.startswith("pulumi:")


def _plain(text: str) -> str:
    """Without the engine's colour marks, `<{%reset%}>`."""
    return re.sub(r"<\{%.*?%\}>", "", text)


def _changes(step: events.StepEventMetadata) -> dict[str, Change]:
    """What differs, by the engine's own property paths; values only where the events have them in clear."""
    if step.op not in (events.OpType.UPDATE, events.OpType.REPLACE):
        return {}
    found: dict[str, Change] = {}
    for path, detail in (step.detailed_diff or dict.fromkeys(step.diffs or [])).items():
        old = step.old and (step.old.inputs if detail is None or detail.input_diff else step.old.outputs)
        before, after = _at(old, path), _at(step.new and step.new.inputs, path)
        replaces = detail is not None and detail.diff_kind.endswith("-replace")
        found.update(narrowed(path, Change(before, after, replaces)))
    return found


def _at(properties: Any, path: str) -> Any:
    """The value at a property path; `[secret]` for one that is."""
    value: Any = properties or {}
    for part in re.findall(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.\[\]]+)', path):
        quoted, index, name = part
        if isinstance(value, Mapping) and MARK in value:
            return SECRET
        if isinstance(value, Mapping):
            value = value.get(quoted or name)
        elif isinstance(value, list) and index and int(index) < len(value):
            value = value[int(index)]
        else:
            return None
    return SECRET if isinstance(value, Mapping) and MARK in value else value
