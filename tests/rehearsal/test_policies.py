"""The policy pack on Pulumi's own engine, where a preview does not know what it asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cli import Cli
from rehearsal.emulator import Emulator
from tests.conftest import ROOT
from tests.rehearsal.programs import LOG_GROUP, Program

UNKNOWN_RETENTION = (
    LOG_GROUP
    + """
tags = {"Environment": "test", "Service": "test", "ManagedBy": "pulumi", "RetentionReason": "the test's"}
first = aws.cloudwatch.LogGroup("first", name=config.require("name"), tags=tags, retention_in_days=400)
aws.cloudwatch.LogGroup("second", name=config.require("name") + "-second", tags=tags,
                        retention_in_days=first.arn.apply(lambda _arn: 7))
"""
)


@pytest.mark.engine
def test_a_policy_says_what_a_preview_does_not_know_and_finds_it_at_the_deployment(
    emulator: Emulator, unique: str, tmp_path: Path, pulumi_cli: Cli
) -> None:
    program = Program(tmp_path / "program", emulator, unique, pulumi_cli)
    program.directory.mkdir()
    (program.directory / "policies").symlink_to(ROOT / "policies")
    deployer = program.configured(UNKNOWN_RETENTION, None, 40, {})

    def about_retention(lines: list[str]) -> list[str]:
        return [line for line in lines if "logs-group-keep-a-year" in line]

    (at_preview,) = about_retention(deployer.preview().policies)
    assert "not decided at preview for second" in at_preview
    (at_deployment,) = about_retention(deployer.up().policies)
    assert "second: It keeps lines for 7 days" in at_deployment
    program.destroy()
