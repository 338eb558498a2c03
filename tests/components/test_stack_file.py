"""A stack's file is read as Pulumi's engine reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.settings import NAMESPACE, SettingsError, parse, read_stack_file
from tests.components.command_line import CommandLine
from tests.components.program import only


def refused_file(path: Path) -> str:
    with pytest.raises(SettingsError) as refused:
        read_stack_file(path)
    return refused.value.mistakes[0]


def test_a_missing_stack_file_is_told_by_name(tmp_path: Path) -> None:
    assert refused_file(tmp_path / "Pulumi.staging.yaml") == (
        "  Pulumi.staging.yaml: No such file or directory; write it, or name another stack"
    )


@pytest.mark.parametrize(
    "content", [b"config: [", b"a: b: c", b"\xff\xfe\x00", b"config:\n  ? [a, b]\n  : c", b"\x00", b"- [" * 5000]
)
def test_a_stack_file_that_is_not_yaml_is_told_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "Pulumi.staging.yaml"
    path.write_bytes(content)
    assert refused_file(path).startswith("  Pulumi.staging.yaml is not the YAML of a stack: ")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("config:\n  a:x:\n    memory: 1\n    memory: 2\n", "memory is there twice, in lines 3 and 4; keep one"),
        ("config: {a: {b: 1, b: 2}}\n", "b is there twice, in lines 1 and 1; keep one"),
        ("config: {a: 1}\nother: 2\nconfig: {}\n", "config is there twice, in lines 1 and 3; keep one"),
        ("config: {a: &a [*a]}\n", "its aliases make too much of it"),
        (
            "0: &0 [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{n + 1}: &{n + 1} [{', '.join([f'*{n}'] * 9)}]\n" for n in range(9)),
            "its aliases make too much of it",
        ),
    ],
)
def test_what_the_engines_library_refuses_is_refused_at_once(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "Pulumi.staging.yaml"
    path.write_text(content)
    assert refused_file(path) == f"  Pulumi.staging.yaml is not the YAML of a stack: {why}"


@pytest.mark.parametrize("content", ["", "config:", "config: text", "other: {}", "- config", "text", "5"])
def test_a_stack_file_without_configuration_is_told_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "Pulumi.staging.yaml"
    path.write_text(content)
    assert refused_file(path) == (
        "  Pulumi.staging.yaml has no `config:` with keys below it; "
        "write it (docs/configuration.md), or name another stack"
    )


SCALARS: dict[str, Any] = {
    "x": "x",
    "5": 5,
    "+5": 5,
    "010": 8,
    "-010": -8,
    "089": 89,
    "0o10": 8,
    "0x1F": 31,
    "0b11": 3,
    "1_000": 1000,
    "12345678901234567890123": 1.2345678901234568e22,
    "3.10": 3.1,
    ".5": 0.5,
    "5.": 5,
    "1e3": 1000,
    "true": True,
    "TRUE": True,
    "trUe": "trUe",
    "yes": "yes",
    "on": "on",
    "Off": "Off",
    "y": "y",
    "1:30": "1:30",
    "1.2.3": "1.2.3",
    "=": "=",
    "2027-01-31": "2027-01-31 00:00:00 +0000 UTC",
    "2027-1-5": "2027-01-05 00:00:00 +0000 UTC",
    "2027-01-31T10:00:00Z": "2027-01-31 10:00:00 +0000 UTC",
    "2027-01-31 10:00": "2027-01-31 10:00",
    "2027-13-45": "2027-13-45",
    "~": None,
    "Null": None,
    '"4"': "4",
    "''": "",
    "' x '": " x ",
}
"""What a file says -> what the engine makes of it."""


def written(folder: Path) -> Path:
    path = folder / "Pulumi.s.yaml"
    lines = [line for n, text in enumerate(SCALARS) for line in (f"a:plain{n}: {text}", f"a:inside{n}: {{v: {text}}}")]
    path.write_text("config:\n" + "".join(f"  {line}\n" for line in [*lines, 'a:list: [1, "é"]']))
    return path


def test_values_of_a_stack_file_are_handed_over_as_the_engine_does(tmp_path: Path) -> None:
    raw = read_stack_file(written(tmp_path))
    assert json.loads(raw["a:list"]) == [1, "é"]
    for number, value in enumerate(SCALARS.values()):
        assert json.loads(raw[f"a:inside{number}"]) == {"v": value}
        plain = "" if value is None else value if isinstance(value, str) else json.dumps(value)
        assert raw[f"a:plain{number}"] == plain


@pytest.mark.engine
def test_the_engine_reads_a_stack_file_in_the_same_way(cli: CommandLine) -> None:
    salt = cli.file.read_text()
    cli.file.write_text(salt + written(cli.folder).read_text())
    found = json.loads(cli("config", "--json"))
    ours = read_stack_file(cli.file)
    assert found.keys() == ours.keys()
    for key, entry in found.items():
        text = ours[key]
        if isinstance(entry.get("objectValue"), dict | list):
            assert json.loads(text) == json.loads(entry["value"]), key
        else:
            assert text == entry.get("value", ""), key


@pytest.mark.engine
def test_what_a_mistake_says_to_do_about_a_number_writes_text(cli: CommandLine, config: dict[str, Any]) -> None:
    key = f"{NAMESPACE}:services.google-workspace.environment.PYTHON_VERSION"
    only(config)["environment"] = {"PYTHON_VERSION": 3.1}
    texts = {f"{NAMESPACE}:{k}": v if isinstance(v, str) else json.dumps(v) for k, v in config.items()}
    with pytest.raises(SettingsError) as refused:
        parse(texts)
    remedy = refused.value.mistakes[0].partition("      do       ")[2]
    assert remedy == f"pulumi config set --path {key} --type string <value>"
    for value in ("3.10", "010", "4", "true", "1e3", "2027-01-31", "yes"):
        cli(*remedy.replace("<value>", value).split()[1:])
        services = json.loads(read_stack_file(cli.file)[f"{NAMESPACE}:services"])
        assert services["google-workspace"]["environment"]["PYTHON_VERSION"] == value
