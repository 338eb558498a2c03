"""gRPC services of this process, for others on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS


@contextlib.contextmanager
def serving(*services: Callable[[grpc.Server], None]) -> Iterator[int]:
    """Serve on loopback inside the `with` block; the port.

    Calls under way come to their end before the block does, or what they make would be known to nobody: who serves sees
    to it that none of them waits for long.

    Args:
        services: each adds itself to the server.
    """
    # Each waiting create or update holds a thread.
    with ThreadPoolExecutor(max_workers=64) as pool:
        server = grpc.server(pool, options=_GRPC_CHANNEL_OPTIONS)
        for add in services:
            add(server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield port
        finally:
            server.stop(None)
