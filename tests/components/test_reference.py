"""The configuration reference is generated, and says what the settings say."""

from components.reference import markdown
from tests.conftest import ROOT


def test_the_reference_in_docs_is_fresh() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == markdown(), (
        "run: .venv/bin/python -m components.reference > docs/configuration.md"
    )


def test_every_key_has_a_meaning() -> None:
    rows = [line for line in markdown().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert [row for row in rows if row.rstrip(" |").endswith("|")] == []
