"""A mistake in the configuration in the words of its file: key, value, what is allowed, what to do."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from typing import Any, get_args

import pulumi
from pydantic import BaseModel

from components.settings.model import NAMESPACE


class SettingsError(pulumi.RunError):
    """The stack's configuration cannot be used. `mistakes` has one text each; the message shows all of them."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        noun = "mistake" if len(mistakes) == 1 else "mistakes"
        super().__init__(
            f"{len(mistakes)} {noun} in the stack's configuration; nothing was changed.\n" + "\n".join(mistakes)
        )


def mistake(key: str, value: object, allowed: str, remedy: str) -> str:
    """A mistake in the value of one key."""
    shown = json.dumps(value, ensure_ascii=False)
    if len(shown) > 120:
        shown = shown[:117] + "..."
    return f"  {key}\n      is       {shown}\n      allowed  {allowed}\n      do       {remedy}"


_STRATEGY_TAGS = {"internal", "rewrite", "host", "prefix", "pattern", "memory", "valkey"}


def explain(problem: Any, root: type[BaseModel]) -> str:
    """One of pydantic's errors in the words of the configuration file. `root`: the model of all of it."""
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
    key = f"{NAMESPACE}:{_path_text(path)}"
    command = f"pulumi config set --path {shlex.quote(key)} <value>"
    match problem["type"]:
        case "missing":
            return f"  {key}\n      is       not set\n      allowed  {_describe(root, path)}\n      do       {command}"
        case "extra_forbidden":
            known = _keys(root, path[:-1])
            near = difflib.get_close_matches(str(path[-1]), known, n=1)
            hint = f"rename it to {near[0]}" if near else "remove it"
            return mistake(key, value, "one of " + ", ".join(known), f"{hint}: nothing reads this key")
        case "disagreement":
            return f"  {key}\n      {message}"
        case _ if location and location[-1] == "[key]":
            return mistake(key, value, message, "rename the key")
    return mistake(key, value, message[:1].lower() + message[1:], command)


def _path_text(path: list[Any]) -> str:
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
            if path[-1] in (name, field.alias) and field.description:
                return " ".join(field.description.split())
    return "a value"
