"""The build context as the image sees it: what is in it, and a tag that changes exactly when the image would.

The Docker provider rebuilds when a file's mode changes, and a mode depends on the umask of the checkout. So the context
is staged with canonical modes into a directory named by its tag, and the provider builds from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pulumi
from docker.utils.build import exclude_paths

from components.settings import Image

STAGING = Path(".build")
"""Where contexts are staged, relative to the project.

The provider keeps the path in its state, so it must not differ between checkouts.
"""

_KEPT_SECONDS = 24 * 60 * 60
"""How long a staged context that nobody asked for again is left alone: another run may be building from it."""


class ContextError(pulumi.RunError):
    """The build context cannot be used; the message says what is wrong with which file."""

    def __init__(self, key: str, problem: str, remedy: str) -> None:
        super().__init__(f"The image of {key} cannot be built: {problem}. {remedy}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagedContext:
    """A context on disk with canonical modes. Paths are relative to the project."""

    tag: str
    """Tag that follows from the content: same bytes, same tag."""
    directory: Path
    """Where the build's files are, relative to the project."""
    dockerfile: Path
    """The Dockerfile, below `directory`."""


def stage(key: str, image: Image) -> StagedContext:
    """The service's context, staged. Unchanged content gives the same tag and leaves the directory alone.

    Follows .dockerignore (`<Dockerfile>.dockerignore` first) as Docker does. Empty directories are left out, as Git
    leaves them out. Raises `ContextError`.
    """
    source = Path(image.context)
    if not (source / image.dockerfile).is_file():
        raise ContextError(
            key,
            f"there is no {image.dockerfile} in {source}",
            f"Correct mcp-on-ecs:services.{key}.image.context or .dockerfile.",
        )
    try:
        files = _files(source, image.dockerfile)
        tag = _tag(source, files, image)
        target = STAGING / key / tag
        if not target.exists():
            _copy(key, source, files, target)
    except (OSError, UnicodeError) as error:
        raise ContextError(key, f"{source} cannot be read or staged in {STAGING}: {error}", "Mend that file.") from None
    os.utime(target)
    _remove_stale(target)
    return StagedContext(tag=tag, directory=target, dockerfile=target / image.dockerfile)


def source_revision(image: Image) -> str | None:
    """The Git commit that last changed the context, with `-dirty` if it differs since; None outside of Git.

    Not the newest commit: that would change with every commit, and with it the deployment.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments, "--", "."], cwd=image.context, capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    try:
        commit = git("log", "-1", "--format=%h", "--abbrev=12")
        return f"{commit}-dirty" if commit and git("status", "--porcelain") else commit or None
    except (OSError, subprocess.SubprocessError):
        return None


def _files(source: Path, dockerfile: str) -> list[str]:
    """Relative paths of what Docker would send, sorted; the Dockerfile and its ignore file are always among them."""
    ignore = [f"{dockerfile}.dockerignore", ".dockerignore"]
    patterns: list[str] = []
    for name in ignore:
        if (source / name).is_file():
            lines = (source / name).read_text(encoding="utf-8-sig").splitlines()
            patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
            break
    names = {
        *exclude_paths(str(source), patterns, dockerfile),
        dockerfile,
        *(n for n in ignore if (source / n).is_file()),
    }
    return sorted(
        name
        for name in names
        if (source / name).is_symlink() or (source / name).is_file()
        # A context that contains the project contains what was staged from it before.
        if not (source / name).absolute().is_relative_to(STAGING.absolute())
    )


def _mode(path: Path) -> int:
    return 0o755 if path.stat().st_mode & 0o100 else 0o644


def _tag(source: Path, files: list[str], image: Image) -> str:
    digest = hashlib.sha256()
    settings = [image.dockerfile, image.target, image.platform, sorted(image.args.items())]
    digest.update(json.dumps(settings).encode() + b"\0")
    for name in files:
        path = source / name
        if path.is_symlink():
            kind, content = "link", os.fsencode(path.readlink())
        else:
            kind, content = oct(_mode(path)), path.read_bytes()
        digest.update(os.fsencode(name) + f"\0{kind}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _copy(key: str, source: Path, files: list[str], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Renamed into place when complete: a run that is killed leaves no half of a context behind under the tag's name.
    partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=".partial-"))
    try:
        partial.chmod(0o755)
        for name in files:
            copy = partial / name
            for directory in reversed(copy.relative_to(partial).parents[:-1]):
                (partial / directory).mkdir(exist_ok=True)
                (partial / directory).chmod(0o755)
            if (source / name).is_symlink():
                copy.symlink_to((source / name).readlink())
            else:
                shutil.copyfile(source / name, copy)
                copy.chmod(_mode(source / name))
        _refuse_broken_links(key, partial, files)
        try:
            partial.rename(target)
        except OSError:
            if not target.exists():  # Else another run has staged the very same content meanwhile.
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_broken_links(key: str, staged: Path, files: list[str]) -> None:
    # The provider follows every link, and the image gets it as it is written: both must find something in the context.
    for name in files:
        link = staged / name
        if link.is_symlink() and not (link.exists() and link.resolve().is_relative_to(staged.resolve())):
            raise ContextError(
                key,
                f"{name} links to {link.readlink()}, which is not in the build context "
                "(outside of it, missing, or ignored)",
                "Copy the file there, or name the link in .dockerignore.",
            )


def _remove_stale(target: Path) -> None:
    for other in target.parent.iterdir():
        with contextlib.suppress(FileNotFoundError):  # Another run may have finished or removed it meanwhile.
            if other != target and other.lstat().st_mtime < time.time() - _KEPT_SECONDS:
                shutil.rmtree(other, ignore_errors=True)
