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
