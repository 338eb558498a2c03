"""Docker: building and pushing an image, as the provider `docker` does."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

from providers.base import Handler, NotCarriedOut, Properties, contains_unknown, resource

BUILD = frozenset({"context", "dockerfile", "platform", "args", "target", "contextDigest"})


@resource
class Image(Handler):
    type = "docker:index/image:Image"
    properties = frozenset({"imageName"})
    # The provider builds anew when the build's arguments or the content of its context change, and for nothing else.
    remembered = frozenset({"build"})
    # A new registry password is no difference, and there is no preview to build on.
    steering = frozenset({"registry", "skipPush", "buildOnPreview"})
    defaults = {}
    renewed = frozenset({"repoDigest"})

    def check(self, inputs: Properties) -> Properties:
        build = inputs.get("build") or {}
        if contains_unknown(build):
            return inputs
        if unknown := build.keys() - BUILD:
            raise NotCarriedOut(f"{self.type}.build.{sorted(unknown)[0]}", self.type)
        if inputs.get("skipPush"):
            raise NotCarriedOut(f"{self.type}.skipPush", self.type)
        context, dockerfile = self._paths(build)
        return inputs | {"build": build | {"contextDigest": context_digest(context, dockerfile)}}

    def _paths(self, build: Properties) -> tuple[Path, Path]:
        context = self.context.directory / build.get("context", ".")
        named = build.get("dockerfile")
        # As in the provider: relative to the program, or else beside the context's files.
        return context, self.context.directory / named if named else context / "Dockerfile"

    def create(self, inputs: Properties) -> str:
        name = str(inputs["imageName"])
        build = inputs["build"]
        if self.context.docker is None:
            self._simulate(name, build["contextDigest"])
        else:
            context, dockerfile = self._paths(build)
            self.context.docker.build(
                context,
                name,
                dockerfile=dockerfile,
                platform=build.get("platform"),
                args=build.get("args"),
                target=build.get("target"),
            )
            registry = inputs.get("registry", {})
            self.context.docker.push(name, name, registry.get("username", ""), registry.get("password", ""))
        return name

    def _simulate(self, name: str, content: str) -> None:
        repository, tag = _parts(name)
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": 0,
                "digest": f"sha256:{hashlib.sha256(f'{tag} {content}'.encode()).hexdigest()}",
            },
            "layers": [],
        }
        document = json.dumps(manifest)
        present = self.read(name)
        # Pushing once more what is there is no error for Docker, even where tags are immutable; for PutImage it is.
        if present is None or present["id"] != f"sha256:{hashlib.sha256(document.encode()).hexdigest()}":
            self.context.client("ecr").put_image(repositoryName=repository, imageTag=tag, imageManifest=document)

    def read(self, locator: str) -> Properties | None:
        repository, tag = _parts(locator)
        ecr = self.context.client("ecr")
        try:
            found = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])["imageDetails"]
        except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
            return None
        if not found:
            return None
        digest = found[0]["imageDigest"]
        return {
            "id": digest,
            "imageName": locator,
            "baseImageName": locator,
            "repoDigest": f"{locator.rsplit(':', 1)[0]}@{digest}",
            "registryServer": locator.split("/", 1)[0],
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> str:
        return self.create(inputs)

    def delete(self, locator: str, recorded: Properties) -> None:
        """The provider leaves pushed images in the registry."""


def _parts(name: str) -> tuple[str, str]:
    repository, _, tag = name.split("/", 1)[1].partition(":")
    return repository, tag or "latest"


def context_digest(context: Path, dockerfile: Path) -> str:
    """Hash over names, modes and contents of what a build would see: .dockerignore applies, times do not count."""
    from docker.utils.build import exclude_paths

    ignore = context / ".dockerignore"
    patterns = [line.strip() for line in ignore.read_text().splitlines()] if ignore.is_file() else []
    patterns = [line for line in patterns if line and not line.startswith("#")]
    digest = hashlib.sha256()
    inside: list[Any] = sorted(exclude_paths(str(context), patterns))
    for path in [dockerfile, *(context / name for name in inside)]:
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            continue
        name = path.relative_to(context) if path.is_relative_to(context) else path.name
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        digest.update(f"{name}\0{stat.S_IMODE(status.st_mode):o}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
