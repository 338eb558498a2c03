"""Pulumi providers for what the program registers and looks up, in Python: packages `aws` and `docker`.

They speak Pulumi's provider protocol (`providers.server`), and are called in this process too (`providers.provider`).
One file for each AWS service says what there is of it, and by which calls.

To add a resource type: a `Handler` with `@resource` in the file of its service, and that file in `providers/aws`.
To add a look-up: a function with `@function(token, argument...)`.
"""

from providers import aws, docker
from providers.base import Context, Docker, Handler, NotCarriedOut, ProviderError, functions, handlers
from providers.provider import Provider

__all__ = [
    "Context",
    "Docker",
    "Handler",
    "NotCarriedOut",
    "Provider",
    "ProviderError",
    "aws",
    "docker",
    "functions",
    "handlers",
]
