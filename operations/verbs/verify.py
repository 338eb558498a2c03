"""`./ops verify`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from operations.output import Output
from operations.verbs.base import OnAccount

if TYPE_CHECKING:
    from operations.target import Target


def _run(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.verify import named, verify

    services = target.services(options.service)
    return output.checks([c for s in services for c in named(s, verify(target, s), several=len(services) > 1)])


VERB = OnAccount(
    line="check, after a deployment, that the service does what was wanted",
    more="Revision, digest, zones, target health, rules, logs, discovery, and all that a client sees.",
    changes="nothing; one task of its own asks from inside the VPC",
    run=_run,
)
