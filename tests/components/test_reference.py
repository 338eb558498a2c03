"""The configuration reference is generated, and says what the settings say; and every public field is documented."""

import ast
from pathlib import Path

import pytest

from components.reference import markdown
from tests.conftest import ROOT


def test_the_reference_in_docs_is_fresh() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == markdown(), (
        "run: .venv/bin/python -m components.reference > docs/configuration.md"
    )


def test_every_key_has_a_meaning_and_a_default() -> None:
    rows = [line for line in markdown().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    cells = [[cell.strip() for cell in row.removesuffix("|").split(" | ")] for row in rows]
    assert [row for row in cells if not row[3]] == []
    assert [row for row in cells if not row[2] and "Default" not in row[3]] == [], "a default, or words for it"


@pytest.mark.parametrize(
    "file", sorted((ROOT / "components").rglob("*.py")), ids=lambda file: "/".join(file.parts[-2:])
)
def test_every_public_field_of_a_component_has_a_docstring(file: Path) -> None:
    bare = [
        f"{owner.name}.{field.target.id}"
        for owner in ast.walk(ast.parse(file.read_text()))
        if isinstance(owner, ast.ClassDef) and not owner.name.startswith("_")
        for field, below in zip(owner.body, [*owner.body[1:], None], strict=True)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if not field.target.id.startswith("_")
        if not (isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant))
    ]
    assert bare == []
