"""`docs/gaps.md`, from where each gap stands in the code: `python -m rehearsal.gaps_page > docs/gaps.md`.

A stand-in or shim says in its docstring, or in the comment on it, what it is for, and then either `Goes when ...` or
`Stays: ...`. What is data there (what reports say, what providers and comparisons pass over) is read as data.
"""

from __future__ import annotations

import ast
import io
import itertools
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.events import EMULATOR_DIFFERENCES
from providers import handlers
from rehearsal import gaps
from rehearsal.inventory import PASSED_OVER

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("rehearsal", "engine", "providers", "machine", "checks", "policies", "components", "operations", "image")
_MARK = re.compile(r"(?:^|\s)(Goes when |Stays: )")


@dataclass(frozen=True)
class Marked:
    """A place in the code that says on which condition it can go."""

    file: str
    """Below the project's root."""
    name: str
    """Of the function, class or constant; empty for a module or a comment."""
    what: str
    condition: str


def marked(root: Path = ROOT) -> list[Marked]:
    """All places, in the order of rooms and files."""
    files = [file for room in ROOMS for file in sorted((root / room).rglob("*.py")) if file != Path(__file__)]
    return [one for file in files for one in _of(file, root)]


def _of(file: Path, root: Path) -> Iterator[Marked]:
    source = file.read_text()
    if not _MARK.search(source):
        return
    place = str(file.relative_to(root))
    for name, text in [*_docstrings(ast.parse(source)), *_comments(source)]:
        if mark := _MARK.search(text):
            condition = text[mark.start(1) :].removeprefix("Goes when ")
            what = text[: mark.start()].partition("\n\n")[0]
            yield Marked(place, name, *(" ".join(part.split()) for part in (what, condition)))


def _docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(name, text) of modules, classes, functions and constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "name", ""), ast.get_docstring(node) or ""
        body = node.body if isinstance(node, ast.Module | ast.ClassDef) else []
        for above, below in itertools.pairwise(body):
            if isinstance(above, ast.Assign | ast.AnnAssign) and isinstance(below, ast.Expr):
                target = above.targets[0] if isinstance(above, ast.Assign) else above.target
                if isinstance(target, ast.Name) and isinstance(below.value, ast.Constant):
                    yield target.id, str(below.value.value)


def _comments(source: str) -> Iterator[tuple[str, str]]:
    """("", text) of comments, lines below each other as one."""
    block: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1 and block:
                yield "", " ".join(block)
                block = []
            block.append(token.string.lstrip("# "))
            last = token.start[0]
    yield "", " ".join(block)


_PAGE = """# Known gaps

Generated from the code by `python -m rehearsal.gaps_page`; a test keeps it fresh. A gap is a stand-in, a shim, or a
difference that a comparison passes over; each has the condition on which it can go. When one is met, remove what stands
for it, and run the tests.

## What a rehearsal does not prove

Its report names those that it met, under "Not proven".

{unproven}

## What the emulator takes without effect

The providers accept these inputs and record them, and the report names those that were given. One goes when the
emulator keeps it: it then moves from `recorded_only` to `properties` of its class in `providers/aws/`, and the refresh
of each rehearsal holds it.

{recorded_only}

## What counts as the same

A preview by the official providers finds these anew each time, and likewise what the emulator does not keep. The report
names them and counts the resource as the same. One goes when the emulator answers as AWS does.

{said_otherwise}

The account cannot show these inputs, or shows them later. One goes when its class can read it back.

{unread}

Comparisons (`./rehearse --compare providers`) and the look for remains pass over these members of AWS's answers. They
also pass over identifiers, times and the order of lists, and over whatever is empty, 0 or absent: AWS answers any of
these for a default.

{passed_over}

## Shims and stand-ins in the code

{shims}
"""


def markdown() -> str:
    """The page."""
    return _PAGE.format(
        unproven=_table(("what", "goes when"), [(gap.what, gap.goes_when) for gap in gaps.ALL]),
        recorded_only=_table(("type", "inputs", "why"), list(_recorded_only())),
        said_otherwise=_table(
            ("type", "input", "why"),
            [(f"`{t}`", f"`{name}`", why) for t, names in EMULATOR_DIFFERENCES.items() for name, why in names.items()],
        ),
        unread=_table(("type", "inputs", "how"), list(_unread())),
        passed_over=_table(
            ("members", "why", "goes when"), [(_code(one.members), one.why, one.goes_when) for one in PASSED_OVER]
        ),
        shims=_table(
            ("what", "goes when", "where"),
            [(one.what, one.condition, f"[{one.name or Path(one.file).name}](../{one.file})") for one in marked()],
        ),
    )


def _recorded_only() -> Iterator[tuple[str, ...]]:
    for type_, kind in sorted(handlers.items()):
        reasons: dict[str, list[str]] = {}
        for name, reason in kind.recorded_only.items():
            reasons.setdefault(reason, []).append(name)
        yield from ((f"`{type_}`", _code(names), reason) for reason, names in reasons.items())


def _unread() -> Iterator[tuple[str, ...]]:
    for type_, kind in sorted(handlers.items()):
        if names := kind.remembered - kind.recorded_only.keys():
            yield f"`{type_}`", _code(names), "held against those of the last deployment"
        if kind.unverified:
            yield f"`{type_}`", _code(kind.unverified), "not held right after an update"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = [[cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in (head, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], f"|{'---|' * len(head)}", *lines[1:]])


if __name__ == "__main__":
    sys.stdout.write(markdown())
