"""AWS's descriptions of its services, of which MiniStack takes a few words each."""

import functools
import gzip
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import UnknownServiceError
from botocore.loaders import JSONFileLoader, Loader

from rehearsal.emulator_process.needs import need


class _Heads(JSONFileLoader):  # type: ignore[misc]
    """Loads no more of a description than its `metadata`, which stands at its head."""

    def load_file(self, file_path: str) -> dict[str, Any] | None:
        try:
            with gzip.open(f"{file_path}.json.gz", "rt", encoding="utf-8") as description:
                head = description.read(10_000)
        except OSError:
            return None
        return {"metadata": json.JSONDecoder().raw_decode(head, head.index("{", head.index('"metadata"')))[0]}


@functools.cache
def _loader() -> Loader:
    return Loader(file_loader=_Heads(), include_default_extras=False)


@functools.cache
def _metadata(service: str) -> Mapping[str, Any] | None:
    """What AWS's description of a service, by botocore's name, says of it as a whole: protocol, version, names.

    None: there is no such service.
    """
    try:
        return dict(_loader().load_service_model(service, "service-2")["metadata"])
    except UnknownServiceError:
        return None


def read_heads_alone(responses: Any) -> None:
    """MiniStack reads whole descriptions to know which content type a service's answers have: a fifth of what an
    emulated account takes of the processor in a rehearsal.

    Goes when MiniStack reads no more of them than that.
    """
    need(responses, "_service_model", "_BOTOCORE_NAME")

    def described(service: str) -> SimpleNamespace | None:
        found = _metadata(responses._BOTOCORE_NAME.get(service, service))
        return None if found is None else SimpleNamespace(metadata=found)

    responses._service_model = described
