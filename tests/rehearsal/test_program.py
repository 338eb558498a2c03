"""Processes that run a program: forked with the libraries loaded, and as good as new in all else."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest

from engine.deployment import DeploymentFailed
from engine.forks import LIBRARIES
from tests.conftest import ROOT
from tests.rehearsal.programs import Program

SAYS = """\
import os, sys
import pulumi
import helper
pulumi.export("helper", helper.VALUE)
pulumi.export("directory", os.getcwd())
pulumi.export("argv", sys.argv)
pulumi.export("path", [entry for entry in sys.path if entry == os.environ["PROJECT_ROOT"]])
pulumi.export("left", [name for name in ("LEFT_BEHIND",) if name in os.environ] + list(getattr(pulumi, "left", [])))
os.environ["LEFT_BEHIND"] = "1"
pulumi.left = ["attribute"]
print("said")
"""


def test_each_run_reads_the_program_anew_and_finds_nothing_of_the_caller_or_of_the_run_before(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROJECT_ROOT", str(ROOT))
    (program.directory / "__main__.py").write_text(SAYS)
    for value in ("first", "second one"):
        (program.directory / "helper.py").write_text(f"VALUE = {value!r}\n")
        deployment = program.deploy()
        assert deployment.outputs == {
            "helper": value,
            "directory": str(program.directory),
            "argv": [str(program.directory / "__main__.py")],
            "path": [],
            "left": [],
        }
        assert "said" in [text for _, text in deployment.messages]


def test_a_program_that_ends_itself_is_a_failure_with_what_it_said(program: Program) -> None:
    with pytest.raises(DeploymentFailed, match=r"the end|exit status 7"):
        program.deploy("import os\nprint('the end', flush=True)\nos._exit(7)\n")


def test_what_the_program_uses_of_a_provider_is_loaded_before_it_is_forked() -> None:
    files = [ROOT / "__main__.py", *(ROOT / "components").rglob("*.py")]
    used = {name for file in files for name in re.findall(r"\baws\.([a-z]+[a-z0-9]*)\.[A-Z]", file.read_text())}
    loaded = {name.split(".")[1] for name in LIBRARIES if name.startswith("pulumi_aws.")}
    assert loaded == used
    assert [name for name in LIBRARIES if find_spec(name) is None] == []
