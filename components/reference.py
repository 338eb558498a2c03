"""`docs/configuration.md`, from the settings themselves: `python -m components.reference > docs/configuration.md`."""

from __future__ import annotations

import re
import sys
import types
import typing
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from components.settings import NAMESPACE, Settings
from components.settings.model import meaning

_WORDS = {str: "text", int: "number", Decimal: "number", bool: "true or false", dict: "map", list: "list"}


def markdown() -> str:
    """The reference: a table for each model, in the order in which the settings lead to them."""
    lines = [
        "# Configuration",
        "",
        "Generated from `components/settings/` by `python -m components.reference`; a test keeps it fresh.",
        f"Keys of `Pulumi.<stack>.yaml` begin with `{NAMESPACE}:`. Set one with",
        f"`pulumi config set --path {NAMESPACE}:services.google-workspace.memory 2048`.",
        "A key that is not listed here is refused.",
        "",
        "Text stays as it is written: in `environment`, `variables` and `image.args` with the spaces and lines at",
        "its ends. What YAML takes for a number, a truth or a date is no text: write `PYTHON_VERSION: '3.10'`, or set",
        "it with `--type string`. A secret (`--secret`, `secure:`) is refused but in the address of a subscription;",
        "what a server must know goes into AWS Secrets Manager, and `secrets` names it.",
    ]
    for path, model in _models(Settings, NAMESPACE + ":"):
        lines += ["", f"## `{path.rstrip('.')}`", "", " ".join((model.__doc__ or "").split()), ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        lines += [
            _row(name, field, meaning(model, name)) for name, field in model.model_fields.items() if not field.exclude
        ]
    return "\n".join(lines) + "\n"


def keys() -> dict[str, str]:
    """Every key of the configuration, below its namespace, with its type in words; NAME stands for a name of a map."""
    return {
        re.sub(r" \(\w+\)$", "", path) + str(field.alias or name): _type(field.annotation)
        for path, model in _models(Settings, "")
        for name, field in model.model_fields.items()
        if not field.exclude
    }


def _row(name: str, field: FieldInfo, text: str) -> str:
    cells = (f"`{field.alias or name}`", _type(field.annotation), _default(field, text), text.replace("|", "\\|"))
    return f"| {' | '.join(cells)} |"


def _default(field: FieldInfo, text: str) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return "as below"
    if value in (None, {}, [], "unset"):
        # Where it is more than a value, the meaning says it.
        return "" if "Default" in text else "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(_type(member) for member in arguments if member is not type(None)))
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"map to {_type(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "settings below"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _models(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, model
    for name, field in model.model_fields.items():
        for suffix, nested in _nested(field.annotation):
            key = f"{path}{field.alias or name}{suffix}"
            strategy = nested.model_fields.get("strategy") or nested.model_fields.get("backend")
            choice = f" ({typing.get_args(strategy.annotation)[0]})" if strategy else ""
            yield from ((p + choice if m is nested else p, m) for p, m in _models(nested, f"{key}."))


def _nested(annotation: Any, suffix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield suffix, annotation
        return
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    for argument in arguments[1:] if origin is dict else arguments:
        yield from _nested(argument, suffix + (".NAME" if origin is dict else "[]" if origin is list else ""))


if __name__ == "__main__":
    sys.stdout.write(markdown())
