"""A stack's file as Pulumi's engine reads it."""

from __future__ import annotations

import datetime
import json
import math
import re
from pathlib import Path
from typing import Any

import yaml

from components.settings.errors import SettingsError


def stack_file(stack: str) -> Path:
    """Where the file of a stack of this program is."""
    return Path(__file__).resolve().parents[2] / f"Pulumi.{stack}.yaml"


def read_stack_file(path: Path) -> dict[str, str]:
    """A `Pulumi.<stack>.yaml` as the engine hands it to the program: full key -> text, objects as JSON.

    Raises `SettingsError` where the file is missing or is not YAML. Encrypted values stay as they are.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  # A safe one's subclass.
        config = document.get("config") if isinstance(document, dict) else None
        if not isinstance(config, dict):
            raise SettingsError(
                [
                    f"  {path.name} has no `config:` with keys below it; "
                    "write it (docs/configuration.md), or name another stack"
                ]
            )
        return {
            str(key): "" if value is None else value if isinstance(value, str) else json.dumps(value)
            for key, value in config.items()
        }
    except OSError as error:
        raise SettingsError([f"  {path.name}: {error.strerror}; write it, or name another stack"]) from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise SettingsError([f"  {path.name} is not the YAML of a stack: {' '.join(str(error).split())}"]) from None


class _Loader(yaml.SafeLoader):
    """Takes words and numbers for what Go's YAML library takes them for, which the engine reads the file with, and
    refuses what that refuses: a key that is there twice, and what grows by its aliases without end.

    PyYAML knows an older YAML, with yes and off for truths and 1:30 for a number; so a rehearsal would judge a file
    otherwise than `pulumi up`. https://github.com/go-yaml/yaml/blob/v3/resolve.go
    """

    yaml_implicit_resolvers = {}

    def construct_document(self, node: yaml.Node) -> Any:
        if _size(node, {}) > _MOST_VALUES:
            raise yaml.YAMLError("its aliases make too much of it")
        return super().construct_document(node)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines:
                raise yaml.YAMLError(f"{name} is there twice, in lines {lines[name]} and {line}; keep one")
            lines[name] = line
        return node


_MOST_VALUES = 400_000
"""As many values a file may have, each alias counted for all that it stands for: from there on the engine's library
looks for what is wrong. https://github.com/go-yaml/yaml/blob/v3/decode.go"""


def _size(node: Any, known: dict[int, float]) -> float:
    """How many values a node has. Infinite: it contains itself."""
    if isinstance(node, tuple):
        return sum(_size(inner, known) for inner in node)
    if id(node) not in known:
        known[id(node)] = math.inf
        inner = node.value if isinstance(node, yaml.CollectionNode) else ()
        known[id(node)] = 1 + sum(_size(each, known) for each in inner)
    return known[id(node)]


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float:
    text = loader.construct_scalar(node).replace("_", "").lower()
    digits = text.lstrip("+-")
    sign = -1 if text.startswith("-") else 1
    for prefix, base in (("0x", 16), ("0o", 8), ("0b", 2), ("0", 8)):
        if digits.startswith(prefix) and re.fullmatch(r"[0-9a-f]+", digits[len(prefix) :]):
            try:
                return sign * int(digits[len(prefix) :], base)
            except ValueError:
                break  # 089 is no octal number; it is one with a fraction of nothing.
    if digits.isdecimal() and abs(int(digits)) < 2**64:
        return sign * int(digits)
    number = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    return int(number) if number.is_integer() and abs(number) < 1e21 else number  # As JSON writes it.


def _time(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    try:
        found: Any = loader.construct_yaml_timestamp(node)
    except ValueError:
        return str(loader.construct_scalar(node))  # No such day: it is text.
    if not isinstance(found, datetime.datetime):
        found = datetime.datetime(found.year, found.month, found.day)
    return f"{found:%Y-%m-%d %H:%M:%S} +0000 UTC"


_SCALARS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
    (
        "number",
        r"[-+]?(0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?"
        r"|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    (
        "timestamp",
        r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
        r"(([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(\.[0-9]*)?([ \t]*(Z|[-+][0-9]{1,2}(:[0-9]{2})?))?)?",
        "0123456789",
    ),
)
for _name, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"({_pattern})\\Z"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:number", _number)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _time)
