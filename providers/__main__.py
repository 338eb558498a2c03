"""`python -m providers aws|docker`: one package as a plugin of Pulumi's engine, which starts it and asks for its port.

Its account and Docker engine are those of the environment: AWS_ENDPOINT_URL and what else the AWS clients know,
DOCKER_HOST, and DOCKER_BUILD_NETWORK for the network of builds.
"""

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from providers.base import Context
from providers.docker_client import Client, find_client
from providers.provider import Provider
from providers.server import Servicer, serving


class _Account:
    def __init__(self) -> None:
        self._session, self._lock = boto3.Session(), threading.Lock()
        self._clients: dict[str, Any] = {}
        self.region = self._session.region_name
        self.account = self.client("sts").get_caller_identity()["Account"]

    def client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                config = Config(inject_host_prefix=False, s3={"addressing_style": "path"})
                self._clients[service] = self._session.client(service, config=config)
            return self._clients[service]


def main() -> None:
    """Serve until the engine closes standard output's other end, or ends this process."""
    package = sys.argv[1]
    host = os.environ.get("DOCKER_HOST")
    docker = Client(host=host, command=find_client(), network=os.environ.get("DOCKER_BUILD_NETWORK")) if host else None
    context = Context(account=_Account(), docker=docker, directory=Path.cwd())
    with serving(Servicer(Provider(context), package, [])) as port:
        print(port, flush=True)
        with contextlib.suppress(KeyboardInterrupt):  # So the engine ends it.
            threading.Event().wait()


main()
