"""`./ops restart`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from operations.output import Output
from operations.verbs.base import OnAccount

if TYPE_CHECKING:
    from operations.target import Target


def _run(target: Target, options: argparse.Namespace, output: Output) -> int:
    from components.names import service_name
    from operations.restart import restart

    service = target.service(options.service)
    seconds = restart(target, service, output.print)
    output.record("restart", {"service": service_name(service), "seconds": seconds})
    output.print(f"{service_name(service)} runs new tasks after {seconds:.1f} s.")
    return 0


VERB = OnAccount(
    line="new tasks of the same revision, for example after a secret was changed",
    more="The old ones answer until then.",
    changes="tasks",
    run=_run,
)
