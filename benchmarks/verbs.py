"""What a person at a terminal waits for: `./ops`, beside other command lines' help."""

from __future__ import annotations

import shutil
import sys

from benchmarks.bench import Bench
from benchmarks.sheet import Sheet


def measure(bench: Bench, sheet: Sheet) -> None:
    """Help, cost, policies, and the status of a kept rehearsal."""
    ops = [sys.executable, "-m", "operations"]
    peers = {}
    if bench.cli:
        peers["pulumi --help"] = [str(bench.cli.path), "--help"]
    else:
        sheet.without["pulumi --help"] = "Pulumi's CLI is not at hand"
    if aws := shutil.which("aws"):
        peers["aws help"] = [aws, "help"]
    else:
        sheet.without["aws help"] = "the AWS CLI is not on this machine"
    sheet.measure_command("./ops --help", [*ops, "--help"], beside=peers, reach=0.4)
    sheet.measure_command("./ops cost", [*ops, "cost"], reach=2)
    sheet.measure_command("./ops policies", [*ops, "policies"], reach=2)
    with sheet.surviving("./ops status --rehearsal"):
        sheet.measure_command("./ops status --rehearsal", [*ops, "status", *bench.kept], reach=1.5)
