"""`./ops diagram`."""

from __future__ import annotations

import argparse

from operations.output import Output
from operations.verbs.base import OnConfiguration


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mermaid", action="store_true", help="as Mermaid, for Markdown (default: SVG, by Graphviz)")


def _run(options: argparse.Namespace, output: Output) -> int:
    from components.settings import stack_file
    from operations import diagram

    drawn = diagram.of_stack(stack_file(options.stack), options.service)
    text = diagram.mermaid(drawn) if options.mermaid else diagram.svg(drawn)
    output.record("mermaid" if options.mermaid else "svg", text)
    output.print(text.rstrip())
    return 0


VERB = OnConfiguration(
    line="the stack as a picture, drawn from what the program registers", arguments=_arguments, run=_run
)
