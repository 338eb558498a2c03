"""Runs a Pulumi program in a process of its own, as Pulumi's language host for Python does.

`run` starts this file as a script, and hands it the run's description on standard input: configuration holds secrets,
so it is in no argument and no environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import runpy
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

SAID = 32
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


def run(
    described: Run,
    said: Callable[[str], None],
    started: Callable[[subprocess.Popen[str]], None],
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run the program; its exit status. `said` gets what it prints, line by line, `started` the process.

    environment: the whole of the program's; default: this process's.
    """
    process = subprocess.Popen(
        # The program's directory is what it imports from, not this one.
        [sys.executable, "-P", __file__],
        cwd=described.program,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    started(process)
    assert process.stdin and process.stdout
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(json.dumps(asdict(described)))
    for line in process.stdout:
        said(line.rstrip("\n"))
    return process.wait()


def main() -> int:
    """Run the program that standard input describes."""
    described = Run(**json.loads(sys.stdin.read()))
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
    sys.path.insert(0, described.program)
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
        return SAID
    except Exception:
        pulumi.log.error(f"Program failed with an unhandled exception:\n{_own_traceback(file)}")
        return SAID
    return 0


def _own_traceback(file: str) -> str:
    """The traceback from the program's own first frame on."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    own = next((number for number, frame in enumerate(frames) if frame.filename == file), None)
    return traceback.format_exc(limit=None if own is None else own - len(frames))


if __name__ == "__main__":
    sys.exit(main())
