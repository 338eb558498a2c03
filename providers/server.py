"""The provider protocol of Pulumi's engine over gRPC, for `Provider`.

https://github.com/pulumi/pulumi/blob/master/proto/pulumi/provider.proto
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, NoReturn

import grpc
from botocore.exceptions import BotoCoreError, ClientError
from google.protobuf import any_pb2, empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from machine import loopback
from providers.base import NotCarriedOut, Properties, ProviderError
from providers.provider import Change, Partial, Provider, Refused, paths
from providers.recording import Call, recording

_EXPECTED = (ProviderError, NotCarriedOut, Refused, ClientError, BotoCoreError)
"""Errors whose message says all there is to say."""


def plain(struct: struct_pb2.Struct) -> Properties:
    """The wire's properties as plain values: whole numbers are `int`."""
    return {name: _plain(value) for name, value in json_format.MessageToDict(struct).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def wired(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """The reverse of `plain`; absent and null are one."""
    return json_format.ParseDict(
        {name: value for name, value in properties.items() if value is not None}, struct_pb2.Struct()
    )


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """Answers the engine. It keeps secrets by itself: this provider gets them in clear, and what is made of a secret
    input is secret again.

    Args:
        provider: what is asked.
        package: aws or docker; the engine gets to know the version of that package's SDK, which it asks for.
        calls: is filled with the AWS calls that are made.
    """

    def __init__(self, provider: Provider, package: str, calls: list[Call]) -> None:
        self._provider, self._calls = provider, calls
        self._version = metadata.version(f"pulumi-{package}")

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse()

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=self._version)

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        # Whatever it was configured with before: the account is the same.
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request: Any, context: Any) -> Any:
        with self._answering(context):
            try:
                inputs = self._provider.check(
                    request.type, request.name, plain(request.news), plain(request.olds), bytes(request.randomSeed)
                )
            except Refused as refused:
                failures = [
                    provider_pb2.CheckFailure(property=name, reason=why) for name, why in refused.reasons.items()
                ]
                return provider_pb2.CheckResponse(failures=failures)
            return provider_pb2.CheckResponse(inputs=wired(inputs))

    def Diff(self, request: Any, context: Any) -> Any:
        with self._answering(context):
            old, new = plain(request.old_inputs), plain(request.news)
            # An `up` brings them as they were; a refresh, which the engine asks the other way round, does not.
            new |= {name: old[name] for name in request.ignoreChanges if name in old}
            found = self._provider.diff(request.type, plain(request.olds), old, new)
            detailed = {
                path: _property_diff(inner)
                for name, change in found.changes.items()
                for path, inner in paths(name, change)
            }
            return provider_pb2.DiffResponse(
                changes=provider_pb2.DiffResponse.DIFF_SOME if found.changes else provider_pb2.DiffResponse.DIFF_NONE,
                diffs=list(found.changes),
                replaces=found.replaces,
                deleteBeforeReplace=found.delete_first,
                detailedDiff=detailed,
                hasDetailedDiff=True,
            )

    def Create(self, request: Any, context: Any) -> Any:
        with self._answering(context, request.urn):
            made = self._provider.create(request.type, plain(request.properties), preview=request.preview)
            return provider_pb2.CreateResponse(id=made.id, properties=wired(made.state))

    def Read(self, request: Any, context: Any) -> Any:
        with self._answering(context, request.urn):
            found = self._provider.read(request.type, request.id, plain(request.properties), plain(request.inputs))
            if found is None:
                return provider_pb2.ReadResponse()
            return provider_pb2.ReadResponse(id=found.id, properties=wired(found.state), inputs=wired(found.inputs))

    def Update(self, request: Any, context: Any) -> Any:
        with self._answering(context, request.urn):
            state = self._provider.update(
                request.type,
                request.id,
                plain(request.olds),
                plain(request.old_inputs),
                plain(request.news),
                preview=request.preview,
            )
            return provider_pb2.UpdateResponse(properties=wired(state))

    def Delete(self, request: Any, context: Any) -> Any:
        with self._answering(context, request.urn):
            self._provider.delete(request.type, request.id, plain(request.properties), plain(request.old_inputs))
            return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        with self._answering(context):
            found = self._provider.invoke(request.tok, plain(request.args))
            # `return` is a Python keyword.
            answer: dict[str, Any] = {"return": wired(found)}
            return provider_pb2.InvokeResponse(**answer)

    def Cancel(self, request: Any, context: Any) -> Any:
        self.cancel()
        return empty_pb2.Empty()

    def cancel(self) -> None:
        """Give up what waits."""
        self._provider.cancel()

    @contextlib.contextmanager
    def _answering(self, context: Any, urn: str = "") -> Iterator[None]:
        """Meanwhile calls are recorded for `urn`, and an error is told in its own words."""
        try:
            with recording(self._calls, urn):
                yield
        except Partial as error:
            _abort_partial(context, error)
        except Exception as error:
            words = str(error) if isinstance(error, _EXPECTED) else f"{type(error).__name__}: {error}"
            context.abort(grpc.StatusCode.UNKNOWN, words)


def _property_diff(change: Change) -> Any:
    kind = "ADD" if change.before is None else "DELETE" if change.after is None else "UPDATE"
    return provider_pb2.PropertyDiff(
        kind=provider_pb2.PropertyDiff.Kind.Value(f"{kind}_REPLACE" if change.replaces else kind)
    )


def _abort_partial(context: Any, error: Partial) -> NoReturn:
    """The engine takes what there is into the state, and goes on from it the next time."""
    failed = provider_pb2.ErrorResourceInitFailed(
        id=error.existing.id,
        properties=wired(error.existing.state),
        inputs=wired(error.existing.inputs),
        reasons=[str(error)],
    )
    details = any_pb2.Any()
    details.Pack(failed)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error), details=[details])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, str(error))
    raise AssertionError  # `abort` raises.


@contextlib.contextmanager
def serving(servicer: Servicer) -> Iterator[int]:
    """Serve on loopback inside the `with` block; the port. At its end, what waits for the account gives up."""
    with loopback.serving(
        functools.partial(provider_pb2_grpc.add_ResourceProviderServicer_to_server, servicer)
    ) as port:
        try:
            yield port
        finally:
            servicer.cancel()
