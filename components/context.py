"""The build context as the image sees it: what is in it, and a tag that changes exactly when the image would.

The Docker provider rebuilds when a file's mode changes, and a mode depends on the umask of the checkout. So the context
is staged with canonical modes into a directory named by its tag, and the provider builds from there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import pulumi
from docker.utils.build import exclude_paths

from components.settings import Image

STAGING = Path(".build")
"""Where contexts are staged, relative to the project: the provider keeps the path in its state, so it must not differ between checkouts."""


class ContextError(pulumi.RunError):
    """The build context cannot be used; the message says what is wrong with which file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagedContext:
    """A context on disk with canonical modes. Paths are relative to the project."""

    tag: str
    directory: Path
    dockerfile: Path


def stage(key: str, image: Image) -> StagedContext:
    """The service's context, staged. Unchanged content gives the same tag and leaves the directory alone.

    Follows .dockerignore (`<Dockerfile>.dockerignore` first) as Docker does. Raises `ContextError`.
    """
    source = Path(image.context)
    if not (source / image.dockerfile).is_file():
        raise ContextError(
            f"The image of {key} cannot be built: there is no {image.dockerfile} in {source}. "
            f"Correct mcp-on-ecs:services.{key}.image.context or .dockerfile."
        )
    files = _files(source, image.dockerfile, key)
    tag = _tag(source, files, image)
    target = STAGING / key / tag
    if not target.exists():
        _copy(source, files, target)
        for stale in target.parent.iterdir():
            if stale != target:
                shutil.rmtree(stale, ignore_errors=True)
    return StagedContext(tag=tag, directory=target, dockerfile=target / image.dockerfile)


def _files(source: Path, dockerfile: str, key: str) -> list[str]:
    """Relative paths of what Docker would send, sorted; the Dockerfile and its ignore file are always among them."""
    ignore = [f"{dockerfile}.dockerignore", ".dockerignore"]
    patterns: list[str] = []
    for name in ignore:
        if (source / name).is_file():
            lines = (line.strip() for line in (source / name).read_text().splitlines())
            patterns = [line for line in lines if line and not line.startswith("#")]
            break
    names = {
        *exclude_paths(str(source), patterns, dockerfile),
        dockerfile,
        *(n for n in ignore if (source / n).is_file()),
    }
    files = sorted(name for name in names if (source / name).is_symlink() or (source / name).is_file())
    for name in files:
        path = source / name
        if path.is_symlink() and not (path.exists() and path.resolve().is_relative_to(source.resolve())):
            raise ContextError(
                f"The image of {key} cannot be built: {path} links to {os.readlink(path)}, which is outside of the context or missing. "
                "Copy the file, or name the link in .dockerignore."
            )
    return files


def _mode(path: Path) -> int:
    return 0o755 if path.stat().st_mode & 0o100 else 0o644


def _tag(source: Path, files: list[str], image: Image) -> str:
    digest = hashlib.sha256()
    settings = [image.dockerfile, image.target, image.platform, sorted(image.args.items())]
    digest.update(json.dumps(settings).encode() + b"\0")
    for name in files:
        path = source / name
        if path.is_symlink():
            kind, content = "link", os.readlink(path).encode()
        else:
            kind, content = oct(_mode(path)), path.read_bytes()
        digest.update(f"{name}\0{kind}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _copy(source: Path, files: list[str], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Renamed into place when complete: a run that is killed leaves no half of a context behind under the tag's name.
    partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=".partial-"))
    partial.chmod(0o755)
    for name in files:
        copy = partial / name
        for directory in reversed(copy.relative_to(partial).parents[:-1]):
            (partial / directory).mkdir(exist_ok=True)
            (partial / directory).chmod(0o755)
        if (source / name).is_symlink():
            copy.symlink_to(os.readlink(source / name))
        else:
            shutil.copyfile(source / name, copy)
            copy.chmod(_mode(source / name))
    partial.rename(target)
