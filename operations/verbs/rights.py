"""`./ops rights`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from operations.output import Output
from operations.verbs.base import OnConfiguration


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--calls", type=Path, metavar="FILE", help="hold the roles against calls that a provider was seen to make"
    )


def _run(options: argparse.Namespace, output: Output) -> int:
    from components import settings
    from operations.rights import calls, coverage
    from operations.rights.evaluation import texts

    recorded = calls.read(options.calls) if options.calls else []
    roles = coverage.roles_of(settings.read_stack_file(settings.stack_file(options.stack)))
    if not options.calls:
        output.record("roles", roles.statements)
        for role, statements in roles.statements.items():
            for statement in statements:
                output.print(f"{role}: {statement['Sid']}")
                output.print(f"    may  {' '.join(texts(statement['Action']))}")
                output.print(f"    on   {' '.join(texts(statement['Resource']))}")
                if "Condition" in statement:
                    output.print(f"    if   {json.dumps(statement['Condition'])}")
        return 0
    found = list(coverage.refusals(roles, recorded))
    output.record("refused", [dataclasses.asdict(refusal) for refusal in found])
    for refusal in found:
        output.print(f"the {refusal.role} role is refused {refusal.action} on {refusal.resource}")
        output.print(f"    call: {refusal.call}, {refusal.phase}")
        output.print(f"    do: {refusal.remedy}")
    output.print(f"{len(recorded)} different calls: {len(found)} requests refused")
    return 1 if found else 0


VERB = OnConfiguration(
    line="what the pipeline's roles may do, and whether it is enough",
    see="pipeline.md#the-roles",
    arguments=_arguments,
    run=_run,
)
