"""The project's commands as people run them, each in a process that begins with the libraries loaded.

Loading them takes most of what a command of `./ops` takes. See `engine.forks`.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from engine import forks
from tests.conftest import ROOT

_LIMIT = 300.0  # seconds

# While tests are collected.
forks.prepare("mcp.client.auth", "mcp.client.streamable_http", "rich.console", "rich.table")


def ops(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What `./ops` ends with; for the rest see `run`."""
    return run("operations", *arguments, environment=environment)


def run(
    module: str, *arguments: str, environment: Mapping[str, str] | None = None, together: bool = False
) -> subprocess.CompletedProcess[str]:
    """What `python -m module` ends with, in the project's directory.

    Args:
        environment: the whole of it; default: this process's.
        together: what it says of errors is in its output, as on a terminal.

    Raises:
        subprocess.TimeoutExpired: it took longer than five minutes, and was killed.
    """
    output, output_end = multiprocessing.Pipe(duplex=False)
    errors, errors_end = (output, output_end) if together else multiprocessing.Pipe(duplex=False)
    command = [module, *arguments]
    process = forks.start(
        forks.module,
        module,
        argv=command,
        directory=str(ROOT),
        environment=os.environ if environment is None else environment,
        output=output_end,
        errors=errors_end,
    )
    pipes = [output] if together else [output, errors]
    with ThreadPoolExecutor() as readers:
        printed = [readers.submit(lambda pipe: "".join(forks.lines(pipe)), pipe) for pipe in pipes]
        process.join(_LIMIT)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(command, _LIMIT)
    assert process.exitcode is not None
    return subprocess.CompletedProcess(command, process.exitcode, *(each.result() for each in printed))
