"""Records the AWS calls that are made, each with the resource on whose behalf."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Call:
    """One AWS API call as it was made."""

    service: str
    """Signing name of the service, as in IAM actions: ecs, ecr, logs, elasticloadbalancing, ..."""
    action: str
    """Operation name: CreateService, ..."""
    parameters: dict[str, Any] = field(repr=False)
    """Parameters; values that the API model marks as sensitive are replaced by `[secret]`."""
    resource: str
    """URN of the resource on whose behalf the call was made; empty for a look-up."""


@dataclass
class _Recorder:
    calls: list[Call]
    resource: str = ""


_recorder: contextvars.ContextVar[_Recorder | None] = contextvars.ContextVar("recorder", default=None)


@contextlib.contextmanager
def recording(calls: list[Call], resource: str = "") -> Iterator[None]:
    """Append every AWS call made inside the `with` block, by this thread or context, to `calls`."""
    token = _recorder.set(_Recorder(calls, resource))
    try:
        yield
    finally:
        _recorder.reset(token)


def record(params: dict[str, Any], model: Any, **_: Any) -> None:
    """For botocore's event `provide-client-params.*.*`: note the call, where calls are recorded."""
    recorder = _recorder.get()
    if recorder is None:
        return
    members = model.input_shape.members if model.input_shape else {}
    shown = {
        key: "[secret]" if key in members and members[key].metadata.get("sensitive") else value
        for key, value in params.items()
    }
    service = model.service_model
    recorder.calls.append(Call(service.signing_name, model.name, shown, recorder.resource))
