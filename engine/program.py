"""Runs a Pulumi program in a process of its own, as Pulumi's language host for Python does.

Each process is forked from one that has the libraries loaded, which takes most of a run's time: a rehearsal runs the
program several times. Only libraries are: each run reads the program itself anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import runpy
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

LIBRARIES = (
    "pulumi.runtime.stack", "pulumi.runtime.mocks", "pulumi_docker", "boto3", "docker", "pydantic", "yaml",
    *(f"pulumi_aws.{service}.outputs" for service in (
        "appautoscaling", "budgets", "chatbot", "cloudwatch", "dynamodb", "ec2", "ecr", "ecs", "iam", "kms", "lb",
        "route53", "s3", "secretsmanager", "servicediscovery", "ssm",
    )),
    "pulumi_aws.sns.topic", "pulumi_aws.vpc.security_group_ingress_rule",
)  # fmt: skip
"""Modules that a program here uses, loaded before it is forked. One that is missing is no error, and neither is one
that is not used."""

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
    started: Callable[[BaseProcess], None],
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run the program; its exit status. `said` gets what it prints, line by line, `started` the process.

    environment: the whole of the program's; default: this process's.
    """
    reader, writer = multiprocessing.Pipe(duplex=False)
    # Configuration holds secrets: it goes through a pipe, and is in no argument and no environment.
    process = _forks().Process(target=_forked, args=(described, dict(environment or os.environ), writer))
    process.start()
    started(process)
    writer.close()
    with contextlib.closing(reader), open(reader.fileno(), errors="replace", closefd=False) as output:
        for line in output:
            said(line.rstrip("\n"))
    process.join()
    return process.exitcode or 0


def _forks() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LIBRARIES))
    return context


def _forked(described: Run, environment: Mapping[str, str], output: Connection) -> None:
    """Be the program's process: its own directory, environment, modules and output, and nothing of the caller's."""
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    output.close()
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(described.program)
    installed = (sys.prefix, sys.base_prefix, sys.exec_prefix)
    sys.path[:] = [described.program, *(entry for entry in sys.path if entry.startswith(installed))]
    sys.argv[:] = [str(Path(described.program) / "__main__.py")]
    sys.exit(_main(described))


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
