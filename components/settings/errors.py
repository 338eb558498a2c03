"""A mistake in the configuration in the words of its file: key, value, what is allowed, what to do."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Iterable, Sequence
from types import EllipsisType
from typing import Any, get_args

import pulumi
from pydantic import BaseModel

from components.settings.model import NAMESPACE, meaning


class SettingsError(pulumi.RunError):
    """The stack's configuration cannot be used. `mistakes` has one text each; the message shows all of them."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        noun = "mistake" if len(mistakes) == 1 else "mistakes"
        super().__init__(
            f"{len(mistakes)} {noun} in the stack's configuration; nothing was changed.\n" + "\n".join(mistakes)
        )


SecretPath = tuple[str | int | EllipsisType, ...]
"""Keys and indexes that lead to a secret from the top of the configuration. `...` at the end: it is somewhere below,
since the engine tells a program only which of the top keys have secrets in them."""

HIDDEN = object()
"""Stands for a value that must not be shown."""


def mistake(key: str, value: object, allowed: str, remedy: str) -> str:
    """A mistake in the value of one key."""
    shown = "a secret" if value is HIDDEN else json.dumps(value, ensure_ascii=False)
    if len(shown) > 120:
        shown = shown[:117] + "..."
    return f"  {key}\n      is       {shown}\n      allowed  {allowed}\n      do       {remedy}"


_STRATEGY_TAGS = {"internal", "rewrite", "host", "prefix", "pattern", "memory", "dynamodb", "valkey"}


def explain(problem: Any, root: type[BaseModel], secrets: Iterable[SecretPath] = ()) -> str:
    """One of pydantic's errors in the words of the configuration file.

    root: the model of all of it. secrets: where there are any; a value with one in it is not shown.
    """
    # The name of a union's member is part of pydantic's path, not of the file's.
    location = problem["loc"]
    path = [
        part
        for before, part in zip(("", *location), location, strict=False)
        if part != "[key]" and not (part in _STRATEGY_TAGS and before in ("routing", "state"))
    ]
    value, message = problem["input"], problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if problem["type"].startswith("union_tag"):
        path.append(problem["ctx"]["discriminator"].strip("'"))
        names = [get_args(model.model_fields[path[-1]].annotation)[0] for model in _model_at(root, path[:-1])]
        value, message = problem["ctx"].get("tag"), "one of " + ", ".join(names)
    if problem["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = "keys with values below it"
    if any(_meet(secret, path) for secret in secrets):
        value = HIDDEN
    key = f"{NAMESPACE}:{key_text(path)}"
    remedy = command("set", path, "<value>")
    match problem["type"]:
        case "missing":
            return f"  {key}\n      is       not set\n      allowed  {_describe(root, path)}\n      do       {remedy}"
        case "extra_forbidden":
            known = _keys(root, path[:-1])
            near = difflib.get_close_matches(str(path[-1]), known, n=1)
            hint = f"rename it to {near[0]}" if near else "remove it"
            return mistake(key, value, "one of " + ", ".join(known), f"{hint}: nothing reads this key")
        case "disagreement":
            return f"  {key}\n      {message}"
        case _ if location and location[-1] == "[key]":
            return mistake(key, value, message, "rename the key")
        case "string_type" if isinstance(value, bool | int | float):
            message = "text; without quotation marks YAML takes it for something else: 010 for 8, 3.10 for 3.1"
            remedy = command("set", path, "--type string <value>")
        case "string_type" if value is None:
            remedy = f"{remedy}; or {command('rm', path)}"
    return mistake(key, value, message[:1].lower() + message[1:], remedy)


def _meet(secret: SecretPath, path: Sequence[Any]) -> bool:
    """Whether what is at `path` has the secret in it, or may have, or is a part of it."""
    known = [part for part in secret if not isinstance(part, EllipsisType)]
    shorter = min(len(known), len(path))
    return list(path[:shorter]) == known[:shorter]


def command(verb: str, path: Sequence[Any], rest: str = "") -> str:
    """The command that sets or removes what is at `path`."""
    return f"pulumi config {verb} --path {shlex.quote(f'{NAMESPACE}:{key_text(path)}')} {rest}".rstrip()


def key_text(path: Sequence[Any]) -> str:
    """`path` as `pulumi config set --path` takes it."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[\w-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def _model_at(root: type[BaseModel], path: list[Any]) -> list[type[BaseModel]]:
    """The models that can stand at a path of the configuration (several for a union)."""
    models: list[type[BaseModel]] = [root]
    for part in path:
        found: list[type[BaseModel]] = []
        for model in models:
            for name, field in model.model_fields.items():
                if part in (name, field.alias):
                    found += _models_in(field.annotation)
        models = found or models  # a dictionary's key or a list's index stays at the same models
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]


def _keys(root: type[BaseModel], path: list[Any]) -> list[str]:
    return sorted(
        {
            field.alias or name
            for model in _model_at(root, path)
            for name, field in model.model_fields.items()
            if name != "key"
        }
    )


def _describe(root: type[BaseModel], path: list[Any]) -> str:
    for model in _model_at(root, path[:-1]):
        for name, field in model.model_fields.items():
            if path[-1] in (name, field.alias) and (text := meaning(model, name)):
                return text
    return "a value"
