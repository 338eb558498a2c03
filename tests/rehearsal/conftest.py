"""Programs for tests that hold both deployers to the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cli import Cli
from rehearsal.emulator import Emulator
from tests.rehearsal.programs import Program


@pytest.fixture(scope="module", params=["embedded", pytest.param("pulumi", marks=pytest.mark.engine)])
def cli(request: pytest.FixtureRequest) -> Cli | None:
    """Who deploys: nobody's CLI, or Pulumi's."""
    return request.getfixturevalue("pulumi_cli") if request.param == "pulumi" else None


@pytest.fixture
def program(emulator: Emulator, unique: str, tmp_path: Path, cli: Cli | None) -> Program:
    """A directory for a small program."""
    (tmp_path / "program").mkdir()
    return Program(tmp_path / "program", emulator, unique, cli)
