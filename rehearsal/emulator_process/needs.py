"""What is taken from inside of MiniStack may be gone in its next version: then the start says so."""

import sys
from typing import Any


def need(module: Any, *names: str) -> None:
    """Raises `SystemExit` where `module` of MiniStack has not got one of `names`."""
    for name in names:
        if not hasattr(module, name):
            sys.exit(f"emulator: {module.__name__} has no {name} any more; adapt rehearsal/emulator_process/")
