"""What the running program declares, recorded as it registers it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pulumi


@dataclasses.dataclass(frozen=True)
class Declared:
    """A resource that the program registered."""

    type: str
    """Pulumi's type, such as aws:sns/topic:Topic."""
    name: str
    """Logical name."""
    parent: pulumi.Resource | None
    """The resource that it is a child of."""
    inputs: Mapping[str, Any]
    """Under Python's names; physical names are plain texts."""


def recorded() -> list[Declared]:
    """A list that fills with every resource that the running program registers from now on, components included."""
    declared: list[Declared] = []

    def record(args: pulumi.ResourceTransformationArgs) -> None:
        inputs = args.props if isinstance(args.props, Mapping) else vars(args.props)
        declared.append(Declared(args.type_, args.name, args.opts.parent, dict(inputs)))

    pulumi.runtime.register_stack_transformation(record)
    return declared
