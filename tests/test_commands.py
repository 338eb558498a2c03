"""What documents and messages tell people to type, to set and to open is there: commands, options, keys and files."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.reference import keys
from operations import verbs
from rehearsal import __main__ as rehearse
from tests.conftest import ROOT
from tests.test_docs import DOCUMENTS, anchors

CURRENT = [document for document in DOCUMENTS if document.name != "CHANGELOG.md"]
"""The changelog names what was, too."""
each_document = pytest.mark.parametrize("document", CURRENT, ids=lambda document: document.name)

_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_OPEN = ("VERB", "[stack]")
"""In a command that stands for all of its kind."""


def commands(document: Path) -> Iterator[list[str]]:
    """Every command line in it, in words: of blocks in a shell's language, and of code within a line."""
    text = document.read_text()
    blocks = "\n".join(block[2] for block in _BLOCK.finditer(text) if block[1] in ("sh", "console"))
    within = re.findall(r"`([^`\n]+)`", _BLOCK.sub("", text))
    for line in (*blocks.replace("\\\n", " ").splitlines(), *within):
        words = shlex.split(line.strip().removeprefix("$ "), comments=True) if line.count("'") % 2 == 0 else []
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # A variable of the environment.
            words = words[1:]
        if words and not set(_OPEN) & set(words):
            yield words


def parsed(parser: argparse.ArgumentParser, words: list[str]) -> str:
    """Why `words` are no arguments of it; empty where they are."""
    try:
        parser.parse_args(words)
    except SystemExit as ended:
        return "" if ended.code == 0 else "is refused"
    return ""


def wrong(words: list[str]) -> str:
    """What of a command is not there; empty where it is, and for commands of others."""
    program, *rest = words
    arguments = rest[: rest.index(">")] if ">" in rest else rest
    if missing := [file for file in rest[len(arguments) + 1 :] if "/" in file and not (ROOT / file).exists()]:
        return f"{missing} does not exist"
    match program:
        case "./ops" if arguments:
            verb, *own = arguments
            return parsed(verbs.find(verb).parser(verb), own) if verb in verbs.NAMES else "is no verb"
        case "./rehearse":
            return parsed(rehearse.parser(), arguments)
        case "./ops" | "./test":
            return "".join(f"{file} does not exist" for file in arguments if not (ROOT / file).exists())
        case "python" | ".venv/bin/python" if arguments[:1] == ["-m"]:
            return "" if importlib.util.find_spec(arguments[1]) else "is no module"
        case "pulumi" if arguments[:1] == ["config"]:
            place = next((each for each in arguments if each.startswith("mcp-on-ecs:")), "")
            return "" if not place or known(place.removeprefix("mcp-on-ecs:")) else "is no key"
    return ""


@each_document
def test_commands_of_documents_are_taken_as_they_stand(
    document: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert [" ".join(words) for words in commands(document) if wrong(words)] == [], capsys.readouterr().err


def test_commands_are_found_and_mistakes_in_them_too() -> None:
    found = [words for document in CURRENT for words in commands(document)]
    for program in ("./ops", "./rehearse", "./test", ".venv/bin/python", "pulumi"):
        assert sum(words[0] == program for words in found) > 2, program
    for words in (
        "./ops rolback",
        "./ops rollback --dryrun",
        "./ops load heavy",
        "./rehearse --quick",
        "./test tests/none",
        "python -m components.none",
        "./ops diagram > docs/none.svg",
        "pulumi config set --path mcp-on-ecs:services.mail.memmory 2048",
    ):
        assert wrong(shlex.split(words)), words


KEYS = keys()
SERVICE_KEYS = {key.removeprefix("services.NAME.") for key in KEYS if key.startswith("services.NAME.")}


def known(key: str) -> bool:
    """Whether the configuration has it; behind a map of texts stands any name."""
    key = re.sub(r"\[\w*\]", "", re.sub(r"^(services|buckets)\.[^.]+", r"\1.NAME", key))
    maps = [each for each, kind in KEYS.items() if kind.startswith("map to text") and key.startswith(f"{each}.")]
    return (
        key.removesuffix(".NAME") in KEYS or bool(maps) or key in ("services.NAME", "buckets.NAME") or "secrets." in key
    )


_FILES = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
TOLD = [
    file
    for file in _FILES
    if file.endswith((".py", ".md", ".yml", ".yaml", ".sh"))
    and not file.startswith(("tests/", "benchmarks/", "CHANGELOG"))
]
"""Whatever speaks to people: programs with their messages, documents, workflows."""
_KEY = re.compile(r"\bservices\.(?:<key>|<service>|KEY|NAME|google-workspace|\{[\w.]+\})\.([A-Za-z]+(?:\.[A-Za-z]+)*)")


def told(file: str) -> str:
    """What is in it, but for blocks without a language, which show what a program prints."""
    text = (ROOT / file).read_text()
    return _BLOCK.sub(lambda block: block[0] if block[1] else "", text) if file.endswith(".md") else text


def test_settings_that_people_are_told_of_are_there() -> None:
    unknown, found = [], 0
    for file in TOLD:
        named = {f"services.mail.{key}" for key in _KEY.findall(told(file))}
        if file.endswith(".md"):
            for key in re.findall(r"`([a-z][A-Za-z]+(?:\.[A-Za-z]+)+)[:`]", told(file)):
                top = key.partition(".")[0]
                named |= {key} if top in {"estate", "monitoring", "delivery", "buckets"} else set()
                named |= {f"services.mail.{key}"} if top in SERVICE_KEYS else set()
        found += len(named)
        unknown += [(file, key) for key in sorted(named) if not known(key)]
    assert found > 50
    assert unknown == []


def test_options_that_people_are_told_of_are_there() -> None:
    helps = {f"./ops {name}": verbs.find(name).parser(name).format_help() for name in verbs.NAMES}
    helps["./rehearse"] = rehearse.parser().format_help()
    unknown, found = [], 0
    for file in TOLD:
        for command, options in re.findall(r"(\./ops [a-z-]+|\./rehearse)((?: --[a-z-]+)*)", told(file)):
            found += 1
            of_it = helps.get(command, "")
            unknown += [(file, command, option) for option in options.split() if f"{option}" not in of_it]
            unknown += [] if of_it else [(file, command, "")]
    assert found > 100
    assert unknown == []


def test_documents_that_people_are_sent_to_are_there() -> None:
    broken, found = [], 0
    for file in TOLD:
        for page, anchor in re.findall(r"\bdocs/([\w-]+\.md)(?:#([\w-]+))?", told(file)):
            found += 1
            there = (ROOT / "docs" / page).exists()
            if not there or (anchor and anchor not in anchors(ROOT / "docs" / page)):
                broken.append((file, page, anchor))
    assert found > 30
    assert broken == []


WRITTEN_BY_USERS = {"policies/enforcement.json"}
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]*)+")


@each_document
def test_files_that_a_document_names_are_there(document: Path) -> None:
    text = _BLOCK.sub("", document.read_text())
    tops = {file.partition("/")[0] for file in _FILES if "/" in file}
    named = {name for name in re.findall(r"`([^`\n ]+)`", text) if _PATH.fullmatch(name) and name.split("/")[0] in tops}
    exact = {name for name in named if not re.search(r"[A-Z]{4}", name)}  # REGION stands for each.
    assert sorted(name for name in exact - WRITTEN_BY_USERS if not (ROOT / name).exists()) == []
