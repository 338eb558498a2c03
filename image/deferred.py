"""What a start need not do: left until it is asked for, or left out. The launcher imports this before the server.

Where a library has changed so that this no longer fits, the start ends with an error, and with it the image's build.
A start without any of this takes twice the processor time: `python -m benchmarks start`.

Goes when FastMCP, pydantic and the server's other libraries start as quickly by themselves.
"""

import gc
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType, SimpleNamespace
from typing import Any

from pydantic import TypeAdapter
from pydantic._internal._config import config_defaults

_MISSING = ("caio.linux_uring", "caio.linux_aio")
"""Whose package goes on without them: two of four ways to write files, probed at length, where no file is written."""


def begin() -> None:
    """Before the server is imported."""
    # What a start makes stays. Looking through all of it for garbage again and again finds next to none.
    gc.disable()
    _build_models_when_used()
    check_no_types()
    sys.meta_path.insert(0, _Finder)
    # Another event loop than this server's. Its HTTP client imports it for the first sign-in; Valkey's client needs it.
    trio = () if os.environ.get("WORKSPACE_MCP_OAUTH_PROXY_STORAGE_BACKEND") == "valkey" else ("trio",)
    for name in (*_MISSING, *trio):
        sys.modules[name] = None  # type: ignore[assignment]  # Imported, it is an ImportError.


def end() -> None:
    """Before the server answers. It collects garbage once itself then, which the freeze makes quick."""
    gc.freeze()
    gc.enable()


def _build_models_when_used() -> None:
    """Some 1,500 validators are made at a start, most of them for messages that this server never sees."""
    if config_defaults["defer_build"] or not isinstance(TypeAdapter._defer_build, property):
        raise RuntimeError("pydantic no longer defers what it builds in the way that this expects")
    config_defaults["defer_build"] = True
    TypeAdapter._defer_build = True


def check_no_types() -> None:
    """In place of beartype, with which the library of the OAuth store checks what it is called with: that imports 400
    modules and compiles the library anew at each start."""
    package, claw = ModuleType("beartype"), ModuleType("beartype.claw")
    package.__dict__.update(
        __path__=[],
        BeartypeConf=dict,
        BeartypeStrategy=SimpleNamespace(O0="none", O1="some"),
        beartype=lambda **_: lambda function: function,
        claw=claw,
    )
    claw.__dict__.update(beartype_this_package=lambda **_: None)
    sys.modules |= {"beartype": package, "beartype.claw": claw}


class _Finder:
    """Finds modules that are run when something of theirs is first asked for."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        loader = {"fastapi": _Hollow, "httplib2.auth": LazyLoader}.get(name)
        spec = PathFinder.find_spec(name, path, target) if loader else None
        if loader and spec:
            spec.loader = loader(spec.loader)
        return spec


class _Hollow:
    """Loads a package whose own code is run when it is asked for a name: the server takes `fastapi.responses` alone,
    which are Starlette's."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, _: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        def fill(name: str) -> Any:
            if name.startswith("__"):  # The import system's own questions.
                raise AttributeError(name)
            del module.__dict__["__getattr__"]
            self.loader.exec_module(module)
            return getattr(module, name)

        module.__dict__["__getattr__"] = fill
