"""`./ops cost`."""

from __future__ import annotations

import argparse
from pathlib import Path

from operations.output import Output
from operations.verbs.base import OnConfiguration


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="another stack file, or what cost --json printed (*.json), to show the difference",
    )
    parser.add_argument("--prices", type=Path, metavar="FILE", help="a table like operations/prices.yaml")
    parser.add_argument("--variants", action="store_true", help="with one task and two, on Graviton, on Spot")
    parser.add_argument("--markdown", action="store_true", help="for a pull request")


def _run(options: argparse.Namespace, output: Output) -> int:
    from components.settings import stack_file
    from operations import cost
    from operations.prices import read_prices, table_of

    prices = read_prices(options.prices) if options.prices else None
    file = stack_file(options.stack)
    after = cost.of_stack(file, prices)
    before = cost.read(options.against, after.prices) if options.against else None
    output.record("cost", cost.document(after))
    if before:
        output.record("against", cost.document(before))
    if options.markdown:
        output.print(cost.markdown(before, after))
        return 0
    output.table(cost.difference(before, after) if before else cost.table(after))
    if options.variants:
        months = cost.variants(file, after.prices)
        output.record("variants", {words: month and round(month, 2) for words, month in months.items()})
        currency = f"{after.prices.currency} a month"
        output.table(
            [
                {"instead": words, currency: "its settings do not allow it" if month is None else f"{month:.2f}"}
                for words, month in months.items()
            ]
        )
    output.print(
        f"{after.month:.2f} {after.prices.currency} a month"
        + (f", {after.month - before.month:+.2f}" if before else "")
    )
    for resource in after.unpriced:
        output.print(f"not priced: {resource}; add its type to operations/cost.py")
    output.print(
        f"Prices of {after.prices.region}, {after.prices.date}, without free tiers; traffic, log lines and images as"
        f" assumed in {(options.prices or table_of(after.region)).name}."
    )
    if after.elsewhere:
        output.print(after.elsewhere)
    return 0


VERB = OnConfiguration(
    line="what a month of the stack costs, estimated", see="#what-it-costs", arguments=_arguments, run=_run
)
