"""What every part of the configuration shares: camelCase keys, none of them unknown, and all mistakes at once."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

NAMESPACE = "mcp-on-ecs"
"""The configuration namespace: keys are written `mcp-on-ecs:services` and so on. The project's name in Pulumi.yaml."""


class Model(BaseModel):
    """Frozen, camelCase in configuration, and a key nobody reads is a mistake: a typo must not be ignored."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        str_strip_whitespace=True,
    )

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Settings that do not go together: the fields concerned, the one to mend first, and what is wrong with what
        to do."""
        return iter(())

    @model_validator(mode="wrap")
    @classmethod
    def _report_all(cls, data: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Disagreements are reported together with mistakes in other fields, not only once those are mended."""
        problems: list[Any] = []
        try:
            model = validate(data)
        except ValidationError as error:
            problems = [
                {**problem, "type": PydanticCustomError("disagreement", "{text}", problem["ctx"])}
                if problem["type"] == "disagreement"
                else problem
                for problem in error.errors(include_url=False)
            ]
            wrong = {str(problem["loc"][0]) for problem in problems if problem["loc"]}
            try:
                model = validate({name: value for name, value in data.items() if name not in wrong})
            except (ValidationError, AttributeError):
                raise error from None
        else:
            wrong = set()
        problems += [
            {
                "type": PydanticCustomError("disagreement", "{text}", {"text": text}),
                "loc": (to_camel(fields[0]),),
                "input": data,
            }
            for fields, text in model.disagreements()
            if not any(to_camel(field) in wrong for field in fields)
        ]
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return model


def meaning(model: type[BaseModel], field: str) -> str:
    """What the docstring under a field says, on one line; nothing if there is none.

    Read from the source when asked for. `use_attribute_docstrings` of pydantic reads it at each start of each process,
    more than half of the time that the settings take to import.
    """
    return _meanings(model).get(field, "")


@functools.cache
def _meanings(model: type[BaseModel]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for base in reversed(model.__mro__[: model.__mro__.index(BaseModel)]):
        definition = ast.parse(inspect.getsource(base)).body[0]
        assert isinstance(definition, ast.ClassDef)
        for statement, following in itertools.pairwise(definition.body):
            match statement, following:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                    found[name] = " ".join(text.split())
    return found
