"""Documents lead somewhere: every relative link to a file that exists, every anchor to a heading."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def prose(document: Path) -> str:
    """Without code, in which nothing is a link or a heading."""
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(document: Path) -> list[str]:
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(document))


def anchors(document: Path) -> set[str]:
    """As GitHub makes them of headings."""
    code = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", code, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_there_are_documents_and_links() -> None:
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= {document.name for document in DOCUMENTS}
    assert sum(len(links(document)) for document in DOCUMENTS) > 50


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_to_files_and_headings_that_exist(document: Path) -> None:
    broken = []
    for link in links(document):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", sorted((ROOT / "docs").glob("*.md")), ids=lambda document: document.name)
def test_every_document_is_found_from_readme(document: Path) -> None:
    assert f"docs/{document.name}" in links(ROOT / "README.md")


def test_every_row_of_what_it_does_leads_to_a_test() -> None:
    section = (ROOT / "README.md").read_text().partition("## What it does that others do not")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and "shown by" not in line]
    assert len(rows) > 5
    assert [row for row in rows if "](tests/" not in row] == []


def test_the_times_that_readme_shows_are_of_one_run() -> None:
    printed = (ROOT / "README.md").read_text().partition("✓ Docker engine")[2].partition("\n```")[0]
    phases = {name: float(time) for name, time in re.findall(r"^✓ ([A-Z][\w ]+?) +([\d.]+) s ", printed, re.MULTILINE)}
    (whole,) = re.findall(r"passed in ([\d.]+) s", printed)
    assert len(phases) > 5
    assert sum(phases.values()) < float(whole)
    assert all(float(time) < phases["Deployment"] for time in re.findall(r"([\d.]+) s │", printed))


ARCHITECTURE = ROOT / "docs" / "architecture.md"


def section(title: str) -> list[list[str]]:
    """The cells of all tables below a heading of docs/architecture.md."""
    text = ARCHITECTURE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if not set(row[0]) <= set("-| ")]


def test_every_room_has_its_purpose_in_the_map_and_every_row_of_it_a_room() -> None:
    rooms = {row[0].strip("`"): row for row in section("The rooms")[1:]}
    packages = {str(file.parent.relative_to(ROOT)) for file in ROOT.glob("*/*.py")} - {"tests"}
    assert {room for room in rooms if "/" not in room} == packages
    inner = {str(file.parent.relative_to(ROOT)) for file in ROOT.glob("[!t]*/*/__init__.py")}
    for folder in inner:
        outer, name = folder.split("/")
        assert folder in rooms or f"`{name}/`" in rooms[outer][1] or name == "aws", f"{folder} is in no row"
    for room in rooms:
        assert (ROOT / room).is_dir(), room
    readme = (ROOT / "README.md").read_text()
    assert [room for room in packages - {"benchmarks"} if f"`{room}/`" not in readme] == []


IMPORT = re.compile(r"^\s*(?:from|import) (\w+)", re.MULTILINE)


def test_the_map_says_which_room_imports_which() -> None:
    rooms = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2])) for row in section("The rooms")[1:]}
    outer = {room for room in rooms if "/" not in room}
    for room in outer - {"image"}:  # It runs apart, where `auth` and `main` are the server's.
        imported = {name for file in (ROOT / room).rglob("*.py") for name in IMPORT.findall(file.read_text())}
        assert (imported & outer) - {room} == rooms[room], room


def test_the_glossary_has_at_most_twenty_words_each_once() -> None:
    words = [row[0] for row in section("Words")[1:]]
    assert 10 <= len(words) <= 20
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("thing", "word"), [("an image's digest", "digest"), ("a path prefix", "path"), ("a secret's name", "secret")]
)
def test_a_walk_leads_through_files_that_know_the_thing_each_once(thing: str, word: str) -> None:
    rows = section("Follow one thing")
    heads = [number for number, row in enumerate(rows) if "`" not in row[0]]
    begin = next(number for number in heads if rows[number][0] == thing)
    end = next((number for number in heads if number > begin), len(rows))
    files = [row[0].strip("`") for row in rows[begin + 1 : end]]
    assert len(files) > 4
    assert len(set(files)) == len(files)
    assert [file for file in files if word not in (ROOT / file).read_text()] == []


def test_a_file_above_500_lines_says_why() -> None:
    """`Long because ...`, in its docstring: otherwise it is two rooms."""
    files = [file for pattern in ("*.py", "[!.]*/**/*.py") for file in ROOT.glob(pattern)]
    assert len(files) > 250
    long = {file: text for file in files if (text := file.read_text()).count("\n") > 500}
    silent = [str(file.relative_to(ROOT)) for file, text in long.items() if "Long because " not in text[:1000]]
    assert silent == []
