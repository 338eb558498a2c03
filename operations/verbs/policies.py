"""`./ops policies`."""

from __future__ import annotations

import argparse

from operations.output import Output
from operations.verbs.base import OnConfiguration


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--list", action="store_true", help="list the rules")


def _run(options: argparse.Namespace, output: Output) -> int:
    import policies

    if options.list:
        listed = [
            {
                "rule": rule.id,
                "severity": rule.severity.value,
                "ids": " ".join(rule.controls),
                "description": rule.description,
            }
            for rule in policies.rules()
        ]
        output.record("rules", listed)
        output.table(listed)
        return 0
    findings = policies.check_stack(options.stack)
    output.record("findings", list(findings.lines()))
    for line in findings.lines():
        output.print(line)
    return 1 if findings.stops else 0


VERB = OnConfiguration(
    line="hold what the program registers to the policies, without a cloud",
    see="pipeline.md#the-policies",
    arguments=_arguments,
    run=_run,
)
