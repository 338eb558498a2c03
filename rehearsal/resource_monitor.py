"""The resource monitor and the engine's log that a program's SDK talks to, over gRPC.

https://github.com/pulumi/pulumi/blob/master/proto/pulumi/resource.proto
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, Protocol

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, resource_pb2, resource_pb2_grpc

from engine.deployment import MARK, STACK
from engine.stack import Project
from machine import loopback
from providers import NotCarriedOut
from providers.base import Properties, Stopped
from providers.server import plain, wired
from rehearsal.state import KIND


class Command(Protocol):
    """What carries out the program's requests; called from several threads."""

    @property
    def failed(self) -> bool:
        """Whether something has gone wrong, after which nothing is begun."""

    def register(self, request: Any) -> tuple[str, str, Properties, frozenset[str]]:
        """Carry out one registration: URN, id, what the program gets to know, and what of it is secret."""

    def register_outputs(self, urn: str, outputs: Properties) -> None:
        """Take the outputs of a component, or of the stack."""

    def look_up(self, token: str, arguments: Properties) -> Properties:
        """Answer a look-up."""

    def fail(self, error: Exception) -> None:
        """Take what has gone wrong."""


class Monitor(resource_pb2_grpc.ResourceMonitorServicer):
    """What the program's SDK talks to."""

    def __init__(self, command: Command) -> None:
        self._command = command

    def GetDeploymentInfo(self, _request: Any, _context: Any) -> Any:
        features = [
            resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
            resource_pb2.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
        ]
        return resource_pb2.DeploymentInfo(supportedFeatures=features)

    def Invoke(self, request: Any, context: Any) -> Any:
        try:
            found = self._command.look_up(request.tok, plain(request.args))
        except NotCarriedOut as error:
            self._command.fail(error)
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except Exception as error:  # The program may catch it.
            context.abort(grpc.StatusCode.UNKNOWN, f"invocation of {request.tok} returned an error: {error}")
        # `return` is a Python keyword.
        answer: dict[str, Any] = {"return": wired(found)}
        return resource_pb2.ResourceInvokeResponse(**answer)

    def RegisterResource(self, request: Any, context: Any) -> Any:
        with self._carried_out(context):
            if request.remote:
                raise NotCarriedOut(f"the remote component {request.type} ({request.name})", request.type)
            urn, id_, state, secret = self._command.register(request)
        shown = {name: {MARK: KIND, "value": value} if name in secret else value for name, value in state.items()}
        return resource_pb2.RegisterResourceResponse(urn=urn, id=id_, object=wired(shown))

    def RegisterResourceOutputs(self, request: Any, context: Any) -> Any:
        with self._carried_out(context):
            self._command.register_outputs(request.urn, plain(request.outputs))
        return empty_pb2.Empty()

    def SignalAndWaitForShutdown(self, _request: Any, _context: Any) -> Any:
        return empty_pb2.Empty()

    @contextlib.contextmanager
    def _carried_out(self, context: Any) -> Iterator[None]:
        try:
            if self._command.failed:
                raise Stopped("nothing is begun after a failure")
            yield
        except Exception as error:
            self._command.fail(error)
            # As the engine's monitor does, which is gone then: the program ends.
            context.abort(grpc.StatusCode.UNAVAILABLE, str(error))


class Log(engine_pb2_grpc.EngineServicer):
    def __init__(self, messages: list[tuple[str, str]]) -> None:
        self._messages, self._root = messages, ""

    def Log(self, request: Any, _context: Any) -> Any:
        names = {engine_pb2.INFO: "info", engine_pb2.WARNING: "warning", engine_pb2.ERROR: "error"}
        if request.severity in names:
            self._messages.append((names[request.severity], request.message))
        return empty_pb2.Empty()

    def SetRootResource(self, request: Any, _context: Any) -> Any:
        self._root = request.urn
        return engine_pb2.SetRootResourceResponse()

    def GetRootResource(self, _request: Any, _context: Any) -> Any:
        return engine_pb2.GetRootResourceResponse(urn=self._root)

    def RequirePulumiVersion(self, _request: Any, _context: Any) -> Any:
        return engine_pb2.RequirePulumiVersionResponse()


@contextlib.contextmanager
def serving(command: Command, messages: list[tuple[str, str]]) -> Iterator[str]:
    """Serve monitor and log on loopback inside the `with` block; their address."""
    monitor = functools.partial(resource_pb2_grpc.add_ResourceMonitorServicer_to_server, Monitor(command))
    log = functools.partial(engine_pb2_grpc.add_EngineServicer_to_server, Log(messages))
    with loopback.serving(monitor, log) as port:
        yield f"127.0.0.1:{port}"


def urn_of(project: Project, parent: str, type_: str, name: str) -> str:
    """As the engine makes it: the parent's whole type is kept, and the stack is no part of it."""
    parent_type = parent.split("::")[2] if parent else STACK
    qualified = type_ if parent_type == STACK else f"{parent_type}${type_}"
    return f"urn:pulumi:{project.stack}::{project.name}::{qualified}::{name}"


def alias_urn(project: Project, alias: Any, request: Any) -> str:
    if alias.urn:
        return str(alias.urn)
    spec = alias.spec
    named = Project(directory=project.directory, name=spec.project or project.name, stack=spec.stack or project.stack)
    parent = "" if spec.noParent else spec.parentUrn or request.parent
    return urn_of(named, parent, spec.type or request.type, spec.name or request.name)
