"""`docs/policies.md`, from the rules themselves: `python -m policies.table > docs/policies.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

from policies.rule import Rule
from policies.rules import FAMILIES, of_family, rules


def markdown() -> str:
    """The rules, a table for each family."""
    stopping = sum(rule.stops for rule in rules())
    lines = [
        "# Policies",
        "",
        "Generated from `policies/rules/` by `python -m policies.table`; a test keeps it fresh.",
        f"Of {len(rules())} rules, {stopping} stop a deployment: the critical and high ones. The others advise.",
        "[The pipeline](pipeline.md#the-policies) says how to change that, and how to record an exception.",
    ]
    for family in FAMILIES:
        lines += ["", *_section(family)]
    return "\n".join(lines) + "\n"


def _section(family: ModuleType) -> Iterator[str]:
    yield f"## {family.__name__.rpartition('.')[2]}"
    yield ""
    yield str(family.__doc__).partition("\n\n")[0].replace("\n", " ")
    yield ""
    yield "| rule | severity | what must be so | controls |"
    yield "|---|---|---|---|"
    for rule in of_family(family):
        yield f"| `{rule.id}` | {rule.severity.value} | {_words(rule)} | {'<br>'.join(rule.controls)} |"


def _words(rule: Rule) -> str:
    words = (rule.description, f"Why: {rule.why}", f"Do: {rule.remedy}")
    return "<br>".join(text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;") for text in words)


if __name__ == "__main__":
    sys.stdout.write(markdown())
