"""`./ops timing`."""

from __future__ import annotations

import argparse
import dataclasses

from operations.output import Output
from operations.verbs.base import OnConfiguration


def _run(options: argparse.Namespace, output: Output) -> int:
    from components.settings import stack_file
    from operations import timing

    found = timing.of_stack(stack_file(options.stack), options.service)
    output.record("timing", {key: [dataclasses.asdict(span) for span in spans] for key, spans in found.items()})
    for key, spans in found.items():
        whole, default = (sum(getattr(span, of) for span in spans) for of in ("seconds", "default"))
        output.print(
            f"{key}: from a new task that answers until the old one is gone {whole} s at most; "
            f"{default} s with AWS's defaults"
        )
        for span in spans:
            output.print(f"  {span.seconds:>4} s  {span.what} ({span.setting}; AWS's default {span.default} s)")
    return 0


VERB = OnConfiguration(line="how long a rollout takes by the settings, and what each second is for", run=_run)
