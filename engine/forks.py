"""Processes of Python that begin with the libraries loaded, and with nothing else of this process.

A rehearsal runs its program and its policies several times, and loading the libraries takes most of a run. Only
libraries are loaded before: what is the project's own, each process reads anew. None of them looks for garbage among
the libraries, which `engine.settled` puts aside.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

LIBRARIES = (
    "pulumi.runtime.stack", "pulumi.runtime.mocks", "pulumi_docker", "pulumi_policy", "boto3", "docker", "pydantic",
    "yaml",
    *(f"pulumi_aws.{service}.outputs" for service in (
        "appautoscaling", "budgets", "chatbot", "cloudwatch", "dynamodb", "ec2", "ecr", "ecs", "elasticache", "iam",
        "kms", "lb", "route53", "s3", "secretsmanager", "servicediscovery", "ssm",
    )),
    "pulumi_aws.sns.topic", "pulumi_aws.vpc.security_group_ingress_rule",
)  # fmt: skip
"""Modules that are loaded before. One that is missing is no error, and neither is one that is not used."""


def prepare(*more: str) -> None:
    """Load the libraries, and `more` of them, beside whatever this process does next; without it, the first `start`
    waits for them.

    In vain where Pulumi's own language host runs the program.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload([*LIBRARIES, *more, "engine.settled"])
    forkserver.ensure_running()


def start(
    body: Callable[..., int],
    *arguments: Any,
    argv: Sequence[str],
    directory: str,
    environment: Mapping[str, str],
    output: Connection,
    errors: Connection,
) -> BaseProcess:
    """Start a process that runs `body(*arguments)` and ends with what it returns.

    Arguments go through a pipe: no list of processes shows them.

    Args:
        argv: its `sys.argv`.
        directory: where it works, and what it imports from first.
        environment: the whole of it.
        output: end of a pipe for what it prints. Closed here, so that the other end sees its end.
        errors: the same for standard error; may be the same.
    """
    prepare()
    process = multiprocessing.get_context("forkserver").Process(
        target=_forked, args=(body, arguments, list(argv), directory, dict(environment), output, errors)
    )
    process.start()
    output.close()
    if not errors.closed:
        errors.close()
    return process


def module(name: str) -> int:
    """A body for `start`: runs a module, or a package's `__main__`, as `python -m` does."""
    runpy.run_module(name, run_name="__main__", alter_sys=True)
    return 0


def lines(pipe: Connection) -> Iterator[str]:
    """What a process prints into the other end, line by line, until it ends."""
    with pipe, open(pipe.fileno(), errors="replace", closefd=False) as said:
        yield from said


def _forked(
    body: Callable[..., int],
    arguments: Sequence[Any],
    argv: Sequence[str],
    directory: str,
    environment: Mapping[str, str],
    output: Connection,
    errors: Connection,
) -> None:
    for stream, connection in ((sys.stdout, output), (sys.stderr, errors)):
        os.dup2(connection.fileno(), stream.fileno())
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    output.close()
    errors.close()
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(directory)
    installed = (sys.prefix, sys.base_prefix, sys.exec_prefix)
    sys.path[:] = [directory, *(entry for entry in sys.path if entry.startswith(installed))]
    sys.argv[:] = argv
    sys.exit(body(*arguments))
