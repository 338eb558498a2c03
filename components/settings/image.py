"""The image: built here, or a finished one."""

from __future__ import annotations

from typing import Literal

from components.settings.model import Model
from components.settings.patterns import OwnOrOtherImage, Payload, Reference, RelativePath


class Image(Model):
    """How the image is made, or which finished one is used."""

    context: Reference = "image"
    """The build context: a directory, absolute or relative to the project. Default: `image`, which packages
    workspace-mcp."""
    dockerfile: RelativePath = "Dockerfile"
    """The Dockerfile's path within the context. Default Dockerfile."""
    target: Reference | None = None
    """The build stage to stop at. Default: the last."""
    args: dict[str, Payload] = {}
    """Build arguments. They end up in the image's history, so never a secret."""
    platform: Literal["linux/amd64", "linux/arm64"] = "linux/amd64"
    """What the image is built for; the task definition's CPU architecture follows from it. Default linux/amd64."""
    digest: OwnOrOtherImage | None = None
    """A finished image in place of a build: `sha256:...` in the service's own repository, or
    `registry/name@sha256:...`. While it is set nothing is built."""

    @property
    def architecture(self) -> Literal["X86_64", "ARM64"]:
        """The platform in ECS's words."""
        return "ARM64" if self.platform == "linux/arm64" else "X86_64"
