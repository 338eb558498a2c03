"""`./ops history`."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from operations.output import Output
from operations.verbs.base import OnAccount

if TYPE_CHECKING:
    from operations.target import Target


def _run(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.revisions import history

    services = target.services(options.service)
    for service in services:
        revisions = history(target, service)
        if len(services) > 1:
            output.print(f"{service.key}:")
        output.record(service.key, [dataclasses.asdict(entry) for entry in revisions])
        output.table(
            [
                {
                    "revision": entry.name.rpartition(":")[2],
                    "registered": f"{entry.registered:%Y-%m-%d %H:%M}" if entry.registered else "",
                    "image": entry.tag or entry.digest[:19],
                    "source": entry.source,
                    "was healthy": "went back from it" if entry.rejected else "yes" if entry.healthy else "never",
                    "": "runs" if entry.running else "image is gone" if entry.available is False else "",
                }
                for entry in revisions
            ]
        )
    return 0


VERB = OnAccount(line="revisions, with image and source, and whether each ever became healthy", run=_run)
