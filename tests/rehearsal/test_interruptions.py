"""Commands that are ended in the middle, and two at once: nothing is lost, and the next one goes on from there."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from engine.cli import Cli
from engine.deployment import DeploymentFailed
from rehearsal.emulator import Account
from tests.rehearsal.programs import ACCOUNT, LOG_GROUP, REGION, Program, actions

SLOW = (
    LOG_GROUP
    + """
import pathlib, time

def wait(name):
    while not pathlib.Path("go").exists():
        time.sleep(0.1)
    return name + "-second"

first = aws.cloudwatch.LogGroup("first", name=config.require("name"))
aws.cloudwatch.LogGroup("second", name=pulumi.Output.all(first.name, first.arn).apply(lambda of: wait(of[0])))
"""
)
"""Makes a log group, waits for a file, and makes another."""


def deploy(directory: Path, endpoint: str, name: str, cli: Cli | None) -> None:
    os.setsid()
    Program(directory, Account(endpoint, ACCOUNT, REGION), name, cli).deploy()


def begun(program: Program) -> SpawnProcess:
    """A deployment of `SLOW` in a process of its own; it waits after the first log group."""
    (program.directory / "__main__.py").write_text(SLOW)
    child = multiprocessing.get_context("spawn").Process(
        target=deploy, args=(program.directory, program.account.endpoint, program.name, program.cli)
    )
    child.start()
    try:
        until(lambda: log_groups(program) and remembered(program))
    except BaseException:
        child.kill()
        raise
    return child


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def log_groups(program: Program) -> list[str]:
    found = program.account.client("logs").describe_log_groups(logGroupNamePrefix=program.name)
    return sorted(group["logGroupName"] for group in found["logGroups"])


def remembered(program: Program) -> bool:
    """Whether the first log group is in the state as made: it has an id, which what is under way has not."""
    return re.search(f'"id": ?"{program.name}"', program.state) is not None


def go(program: Program) -> None:
    (program.directory / "go").touch()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_what_was_made_before_the_end_is_known_and_the_next_deployment_goes_on(
    program: Program, number: signal.Signals
) -> None:
    child = begun(program)
    assert child.pid
    os.killpg(child.pid, number)
    child.join(60)
    assert child.exitcode, "it did not come to its end"
    assert log_groups(program) == [program.name]
    go(program)
    assert actions(program.deploy()) == {"first": "same", "second": "created"}
    program.destroy()
    assert log_groups(program) == []


def test_two_at_once_do_not_deploy_over_each_other(program: Program) -> None:
    first = begun(program)
    try:
        with pytest.raises(DeploymentFailed, match="the stack is currently locked"):
            program.deploy()
    finally:
        go(program)
        first.join(60)
    assert first.exitcode == 0
    assert actions(program.deploy()) == {"first": "same", "second": "same"}


def test_what_is_retained_stays_in_the_account_when_it_is_no_longer_declared(program: Program) -> None:
    retained = "opts=pulumi.ResourceOptions(retain_on_delete=True)"
    program.deploy(LOG_GROUP + f'aws.cloudwatch.LogGroup("logs", name=config.require("name"), {retained})')
    assert actions(program.deploy(LOG_GROUP)) == {"logs": "deleted"}
    assert log_groups(program) == [program.name]
    assert [resource for resource in program.resources if resource["type"] == "aws:cloudwatch/logGroup:LogGroup"] == []


def test_what_was_made_by_half_is_known_and_made_whole_by_the_next_deployment(program: Program) -> None:
    source = LOG_GROUP + 'aws.cloudwatch.LogGroup("logs", name=config.require("name"), retention_in_days=%s)'
    with pytest.raises(DeploymentFailed, match="retention"):
        program.deploy(source % 8)
    assert log_groups(program) == [program.name], "made, and its retention refused"
    assert actions(program.deploy(source % 7)) == {"logs": "changed"}
    (group,) = program.account.client("logs").describe_log_groups(logGroupNamePrefix=program.name)["logGroups"]
    assert group["retentionInDays"] == 7
