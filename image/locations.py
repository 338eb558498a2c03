"""Where the modules of a start lie, written down when the image is built: Python looks for each of them in one folder
after the other, a fifteenth of a start. What is not written down it looks for as ever.

Goes when Python starts a program from an image of its modules.
"""

import json
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader, SourcelessFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")
"""Module -> its file. Is there in the image alone."""
_LOADERS = (SourceFileLoader, SourcelessFileLoader)


def record() -> None:
    """Write down those that are imported, but for what lies beside this."""
    specs = {name: module.__spec__ for name, module in sys.modules.items() if getattr(module, "__spec__", None)}
    files = {
        name: spec.origin
        for name, spec in specs.items()
        if spec.name == name and type(spec.loader) in _LOADERS and Path(spec.origin).parent != FILE.parent
    }
    FILE.write_text(json.dumps(files))


def begin() -> None:
    """Before anything else is imported."""
    if FILE.exists():
        sys.meta_path.insert(0, _Finder(json.loads(FILE.read_bytes())))


class _Finder:
    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        if not (file := self.files.get(name)):
            return None
        folder, _, base = file.rpartition("/")
        loader = (SourcelessFileLoader if base.endswith(".pyc") else SourceFileLoader)(name, file)
        within = [folder] if base.startswith("__init__.") else None
        return spec_from_file_location(name, file, loader=loader, submodule_search_locations=within)
