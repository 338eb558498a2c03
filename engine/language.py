"""Pulumi's language host for Python, for a CLI that comes without one, as the one that is built here does.

It runs programs by `engine.program` and policy packs by pulumi's own module, both with this interpreter.
https://github.com/pulumi/pulumi/blob/master/proto/pulumi/language.proto

Goes when nobody needs a CLI that is built: Pulumi's releases can be had wherever packages can.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, language_pb2, language_pb2_grpc, plugin_pb2

from engine import forks, program
from machine import loopback


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Answers the engine. `engine`: the engine's address; it may come with the handshake instead."""

    def __init__(self, engine: str = "") -> None:
        self._engine = engine
        self._started: list[BaseProcess] = []

    def Handshake(self, request: Any, context: Any) -> Any:
        self._engine = request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="0.0.0")

    def GetRequiredPackages(self, request: Any, context: Any) -> Any:
        # Each resource names the provider's version that it needs.
        return language_pb2.GetRequiredPackagesResponse()

    def RuntimeOptionsPrompts(self, request: Any, context: Any) -> Any:
        return language_pb2.RuntimeOptionsResponse()

    def InstallDependencies(self, request: Any, context: Any) -> Iterator[Any]:
        # They are there: this interpreter is the project's.
        return iter(())

    def About(self, request: Any, context: Any) -> Any:
        return language_pb2.AboutResponse(executable=sys.executable, version=sys.version.split()[0])

    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        return language_pb2.GetProgramDependenciesResponse()

    def Run(self, request: Any, context: Any) -> Any:
        with grpc.insecure_channel(self._engine, options=_GRPC_CHANNEL_OPTIONS) as channel:
            log = engine_pb2_grpc.EngineStub(channel)

            def said(line: str) -> None:
                log.Log(engine_pb2.LogRequest(severity=engine_pb2.INFO, message=line))

            status = program.run(
                program.Run(
                    program=str(Path(request.info.program_directory) / request.info.entry_point),
                    project=request.project,
                    stack=request.stack,
                    monitor=request.monitor_address,
                    engine=self._engine,
                    organization=request.organization or "organization",
                    dry_run=request.dryRun,
                    root=request.info.root_directory,
                    config=dict(request.config),
                    secret_keys=tuple(request.configSecretKeys),
                ),
                said,
                self._started.append,
            )
        if status == program.EXITED_AFTER_LOGGING:
            return language_pb2.RunResponse(bail=True)
        return language_pb2.RunResponse(error=f"the program ended with exit status {status}" if status else "")

    def RunPlugin(self, request: Any, context: Any) -> Iterator[Any]:
        folder = request.info.program_directory or request.program
        (output, output_end), (errors, errors_end) = (multiprocessing.Pipe(duplex=False) for _ in range(2))
        process = forks.start(
            forks.module,
            "pulumi.policy",
            argv=["pulumi.policy", *request.args, folder],
            directory=request.pwd,
            environment={**os.environ, **dict(entry.split("=", 1) for entry in request.env)},
            output=output_end,
            errors=errors_end,
        )
        self._started.append(process)
        context.add_callback(process.kill)
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(forks.lines(errors)), daemon=True)
        reader.start()
        for line in forks.lines(output):
            yield language_pb2.RunPluginResponse(stdout=line.encode())
        process.join()
        reader.join()
        if said:
            yield language_pb2.RunPluginResponse(stderr="".join(said).encode())
        yield language_pb2.RunPluginResponse(exitcode=process.exitcode or 0)

    def Cancel(self, request: Any, context: Any) -> Any:
        self.stop()
        return empty_pb2.Empty()

    def stop(self) -> None:
        """End what still runs."""
        for process in self._started:
            process.kill()


@contextlib.contextmanager
def serving(host: LanguageHost) -> Iterator[int]:
    """Serve on loopback inside the `with` block; the port. At its end, what still runs is ended."""
    add = functools.partial(language_pb2_grpc.add_LanguageRuntimeServicer_to_server, host)
    with loopback.serving(add) as port:
        try:
            yield port
        finally:
            host.stop()


def main() -> None:
    """As a plugin: the engine starts it with its address, and asks for its port."""
    address = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
    with serving(LanguageHost(address)) as port:
        print(port, flush=True)
        with contextlib.suppress(KeyboardInterrupt):  # So the engine ends it.
            threading.Event().wait()


if __name__ == "__main__":
    main()
