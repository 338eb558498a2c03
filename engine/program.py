"""Runs a Pulumi program in a process of its own, as Pulumi's language host for Python does."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from engine import forks

EXITED_AFTER_LOGGING = 32
"""Exit status of a program that has told the engine what went wrong; Pulumi's own host has the same."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a program."""

    program: str
    """The program's directory, which holds `__main__.py`; its working directory."""
    project: str
    stack: str
    monitor: str
    """Address of the resource monitor."""
    engine: str
    """Address of the engine's log."""
    organization: str = "organization"
    dry_run: bool = False
    root: str = ""
    """Directory of the project file."""
    config: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_keys: tuple[str, ...] = ()
    debug: bool = True
    """Whether anybody reads what the SDK says of each resource; each message is a call that the program waits for."""


def run(
    described: Run,
    said: Callable[[str], None],
    started: Callable[[BaseProcess], None],
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run the program; its exit status. `said` gets what it prints, line by line, `started` the process.

    environment: the whole of the program's; default: this process's.
    """
    reader, writer = multiprocessing.Pipe(duplex=False)
    process = forks.start(
        _main,
        described,
        argv=[str(Path(described.program) / "__main__.py")],
        directory=described.program,
        environment=os.environ if environment is None else environment,
        output=writer,
        errors=writer,
    )
    started(process)
    for line in forks.lines(reader):
        said(line.rstrip("\n"))
    process.join()
    return process.exitcode or 0


def _main(described: Run) -> int:
    import pulumi
    from pulumi.runtime.stack import run_in_stack

    pulumi.runtime.set_all_config(dict(described.config), list(described.secret_keys))
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            monitor=described.monitor,
            engine=described.engine,
            project=described.project,
            stack=described.stack,
            dry_run=described.dry_run,
            organization=described.organization,
            root_directory=described.root or described.program,
        )
    )
    if not described.debug:
        pulumi.log.debug = lambda *_arguments, **_named: None
    file = str(Path(described.program) / "__main__.py")

    def run_file() -> None:
        runpy.run_path(file, run_name="__main__")

    # After a failure some futures are never awaited; what went wrong is told below.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(run_in_stack(run_file))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return EXITED_AFTER_LOGGING
    except Exception:
        pulumi.log.error(f"Program failed with an unhandled exception:\n{_own_traceback(file)}")
        return EXITED_AFTER_LOGGING
    return 0


def _own_traceback(file: str) -> str:
    """The traceback from the program's own first frame on."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    own = next((number for number, frame in enumerate(frames) if frame.filename == file), None)
    return traceback.format_exc(limit=None if own is None else own - len(frames))
