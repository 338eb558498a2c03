"""The staged build context and its tag, on real files.

What makes the Docker provider build again is in its `hashContext` and `Diff`: the names, modes (as Go writes them) and
contents of files that .dockerignore leaves, the resolved paths of links, the Dockerfile's content, and every build
input. `provider_hash` says the same in Python; a change of it must be a change of the tag.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths

from components.context import STAGING, ContextError, StagedContext, stage
from components.settings import Image


@pytest.fixture(autouse=True)
def in_workspace(workspace: Path) -> Path:
    return workspace


@pytest.fixture
def context(workspace: Path) -> Path:
    """A context with an executable, a directory, a link and an ignored file."""
    source = workspace / "image"
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "package").mkdir()
    (source / "package" / "module.py").write_text("x = 1\n")
    (source / "link.py").symlink_to("package/module.py")
    (source / "notes.txt").write_text("ignored\n")
    (source / ".dockerignore").write_text("# what the image does not need\nnotes.txt\n**/*.pyc\n")
    return source


def staged(**image: object) -> StagedContext:
    return stage("mine", Image.model_validate(image))


def provider_hash(context: StagedContext) -> str:
    """What the Docker provider would hash of a staged context."""
    found = hashlib.sha256(context.dockerfile.read_bytes())
    ignore = context.directory / f"{context.dockerfile.name}.dockerignore"
    ignore = ignore if ignore.exists() else context.directory / ".dockerignore"
    patterns = [line for line in ignore.read_text().splitlines() if line and line[0] != "#"] if ignore.exists() else []
    for name in sorted(exclude_paths(str(context.directory), patterns)):
        path = context.directory / name
        if path.is_symlink():
            content = os.fsencode(path.resolve().relative_to(context.directory.resolve()))
        elif path.is_file():
            content = path.read_bytes()
        else:
            continue
        found.update(f"{name} {stat.filemode(path.lstat().st_mode)} ".encode() + content)
    return found.hexdigest()


def test_the_staged_tree_has_what_docker_would_send_with_canonical_modes(context: Path) -> None:
    context.chmod(0o700)
    (context / "package" / "module.py").chmod(0o600)
    result = staged()
    assert result.directory == STAGING / "mine" / result.tag
    assert result.dockerfile == result.directory / "Dockerfile"
    modes = {
        str(path.relative_to(result.directory)): stat.filemode(path.lstat().st_mode)
        for path in [result.directory, *result.directory.rglob("*")]
    }
    assert modes == {
        ".": "drwxr-xr-x",
        ".dockerignore": "-rw-r--r--",
        "Dockerfile": "-rw-r--r--",
        "link.py": "lrwxrwxrwx",
        "package": "drwxr-xr-x",
        "package/module.py": "-rw-r--r--",
        "requirements.txt": "-rw-r--r--",
        "run.sh": "-rwxr-xr-x",
    }
    assert (result.directory / "link.py").readlink() == Path("package/module.py")
    assert re.fullmatch(r"[0-9a-f]{16}", result.tag)


def test_a_second_staging_leaves_the_directory_alone() -> None:
    first = staged()
    before = {path: path.lstat().st_ino for path in first.directory.rglob("*")}
    assert staged() == first
    assert {path: path.lstat().st_ino for path in first.directory.rglob("*")} == before


def checkout(context: Path, umask: int) -> None:
    """Modes as another umask would have made them."""
    for path in [context, *context.rglob("*")]:
        if not path.is_symlink():
            path.chmod((0o777 if path.is_dir() or path.stat().st_mode & 0o100 else 0o666) & ~umask)


def replace(context: Path, name: str, *, link: str | None = None, content: str = "") -> None:
    (context / name).unlink()
    if link:
        (context / name).symlink_to(link)
    else:
        (context / name).write_text(content)


def move_a_line(context: Path) -> None:
    (context / "requirements.txt").write_text("")
    (context / "package" / "module.py").write_text("x = 1\nworkspace-mcp==2.2.1\n")


SAME: dict[str, Callable[[Path], object]] = {
    "touch": lambda c: os.utime(c / "Dockerfile", (1, 1)),
    "a checkout with umask 077": lambda c: checkout(c, 0o077),
    "a checkout with umask 002": lambda c: checkout(c, 0o002),
    "a change of an ignored file": lambda c: (c / "notes.txt").write_text("other\n"),
    "a new ignored file": lambda c: (c / "package" / "module.pyc").write_text("compiled"),
    "a new empty directory": lambda c: (c / "empty").mkdir(),
    "a socket or pipe": lambda c: os.mkfifo(c / "pipe"),
}


@pytest.mark.parametrize("what", SAME)
def test_what_does_not_change_the_image_does_not_change_the_tag(context: Path, what: str) -> None:
    first = staged()
    hashed = provider_hash(first)
    SAME[what](context)
    assert staged() == first
    shutil.rmtree(STAGING)  # As in another checkout.
    assert provider_hash(staged()) == hashed, "the provider would build again under a tag that exists"


OTHER: dict[str, Callable[[Path], object]] = {
    "content": lambda c: (c / "package" / "module.py").write_text("x = 2\n"),
    "the Dockerfile": lambda c: (c / "Dockerfile").write_text("FROM scratch\n"),
    "the executable bit": lambda c: (c / "run.sh").chmod(0o644),
    "a new file": lambda c: (c / "new.txt").touch(),
    "a removed file": lambda c: (c / "requirements.txt").unlink(),
    "a renamed file": lambda c: (c / "requirements.txt").rename(c / "locked.txt"),
    "a link's target": lambda c: replace(c, "link.py", link="run.sh"),
    "a file in place of a link": lambda c: replace(c, "link.py", content="x = 1\n"),
    "what is ignored": lambda c: (c / ".dockerignore").write_text("run.sh\n"),
    "content that moves between files": move_a_line,
}


@pytest.mark.parametrize("what", OTHER)
def test_what_makes_the_provider_build_again_changes_the_tag(context: Path, what: str) -> None:
    first = staged()
    hashed = provider_hash(first)
    OTHER[what](context)
    second = staged()
    assert provider_hash(second) != hashed, "this change is no example of what it says"
    assert second.tag != first.tag


@pytest.mark.parametrize(
    "image", [{"args": {"BASE": "x"}}, {"target": "smoke"}, {"platform": "linux/arm64"}, {"args": {"BASE": "y"}}]
)
@pytest.mark.usefixtures("context")
def test_every_build_input_changes_the_tag(image: dict[str, object]) -> None:
    others = [staged(), staged(args={"BASE": ""}), staged(args={"OTHER": "x"})]
    assert staged(**image).tag not in {other.tag for other in others}


def test_another_dockerfile_changes_the_tag_and_is_staged_even_if_ignored(context: Path) -> None:
    (context / "Other.Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (context / ".dockerignore").write_text("*Dockerfile\n.dockerignore\n")
    first, second = staged(), staged(dockerfile="./Other.Dockerfile")
    assert first.tag != second.tag
    assert second.dockerfile.name == "Other.Dockerfile"
    assert second.dockerfile.is_file()
    assert (first.directory / ".dockerignore").is_file(), "the provider reads it from the staged context"


def test_an_ignore_file_of_the_dockerfiles_own_beats_the_common_one(context: Path) -> None:
    (context / "Dockerfile.dockerignore").write_text("run.sh\n")
    directory = staged().directory
    assert not (directory / "run.sh").exists()
    assert (directory / "notes.txt").exists()
    assert (directory / "Dockerfile.dockerignore").exists()


def test_a_comment_in_an_ignore_file_ignores_nothing(context: Path) -> None:
    (context / ".dockerignore").write_text("#draft\n")
    (context / "#draft").touch()
    assert (staged().directory / "#draft").exists()


def test_exceptions_in_an_ignore_file_are_kept(context: Path) -> None:
    (context / ".dockerignore").write_text("package\n!package/module.py\n")
    (context / "package" / "other.py").touch()
    files = {path.name for path in (staged().directory / "package").iterdir()}
    assert files == {"module.py"}


def test_the_same_content_in_another_checkout_gets_the_same_tag(
    context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = staged()
    old = os.umask(0o077)
    try:
        elsewhere = tmp_path / "elsewhere"
        shutil.copytree(context, elsewhere / "image", symlinks=True)
        monkeypatch.chdir(elsewhere)
        assert staged() == first
        assert stat.filemode(staged().directory.stat().st_mode) == "drwxr-xr-x"
    finally:
        os.umask(old)


def test_a_context_may_lie_anywhere(context: Path, tmp_path: Path) -> None:
    moved = tmp_path / "fork"
    relative = staged()
    context.rename(moved)
    assert staged(context=str(moved)) == relative


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("../outside.txt", "outside of it"),
        ("/etc/hostname", "outside of it"),
        ("missing.txt", "missing"),
        ("notes.txt", "ignored"),
        ("../image/run.sh", "outside of it"),  # It is there, but not where the image is built from.
    ],
)
def test_a_link_to_what_is_not_in_the_context_is_refused_by_name(context: Path, target: str, why: str) -> None:
    (context.parent / "outside.txt").touch()
    (context / "bad.txt").symlink_to(target)
    with pytest.raises(ContextError) as refused:
        staged()
    assert str(refused.value) == (
        f"The image of mine cannot be built: bad.txt links to {target}, which is not in the build context "
        "(outside of it, missing, or ignored). Copy the file there, or name the link in .dockerignore."
    )
    assert why in str(refused.value)
    assert not any((STAGING / "mine").iterdir()), "half a context was left behind"


def test_an_ignored_link_to_the_outside_is_no_matter(context: Path) -> None:
    (context / "bad.txt").symlink_to("/nowhere")
    (context / ".dockerignore").write_text("bad.txt\n")
    assert not (staged().directory / "bad.txt").is_symlink()


def test_a_link_to_a_directory_is_kept_as_a_link(context: Path) -> None:
    (context / "alias").symlink_to("package")
    assert (staged().directory / "alias").readlink() == Path("package")
    assert (staged().directory / "alias" / "module.py").is_file()


def test_a_missing_dockerfile_is_named_with_the_keys_to_correct() -> None:
    with pytest.raises(ContextError) as refused:
        staged(context="not-there")
    assert str(refused.value) == (
        "The image of mine cannot be built: there is no Dockerfile in not-there. "
        "Correct mcp-on-ecs:services.mine.image.context or .dockerfile."
    )


def test_an_ignore_file_that_is_not_text_is_an_error_and_no_traceback(context: Path) -> None:
    (context / ".dockerignore").write_bytes(b"\xff\xfe")
    with pytest.raises(ContextError, match="The image of mine cannot be built: image cannot be read"):
        staged()


def test_a_name_that_is_not_unicode_is_staged(context: Path) -> None:
    (context / os.fsdecode(b"\xff.bin")).write_text("x")
    assert (staged().directory / os.fsdecode(b"\xff.bin")).is_file()


def test_a_context_that_contains_the_project_does_not_contain_what_was_staged(context: Path) -> None:
    shutil.copy(context / "Dockerfile", context.parent)
    assert staged(context=".").tag == staged(context=".").tag


def test_runs_at_the_same_time_stage_one_whole_context(context: Path) -> None:
    for number in range(50):
        (context / f"file-{number}").write_text("x" * 1000)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: staged(), range(16)))
    assert len(set(results)) == 1
    assert [path.name for path in (STAGING / "mine").iterdir()] == [results[0].tag]
    assert len(list(results[0].directory.glob("file-*"))) == 50


@pytest.mark.usefixtures("context")
def test_a_context_in_use_by_another_run_is_kept_and_one_of_yesterday_is_removed() -> None:
    first = staged(args={"A": "1"})
    second = staged(args={"A": "2"})
    assert first.directory.is_dir()
    yesterday = time.time() - 25 * 60 * 60
    os.utime(first.directory, (yesterday, yesterday))
    third = staged(args={"A": "3"})
    assert {path.name for path in (STAGING / "mine").iterdir()} == {second.tag, third.tag}
