"""Where a command writes: standard output and error, and files that are named on the command line."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

INTERRUPTED = 130
"""Exit status, as shells have it for what Ctrl-C ended."""


class NotWritten(Exception):
    """A file cannot be written; the message says which, why, and what to do."""


class _Lost(Exception):
    """A standard stream cannot be written. No `OSError`: argparse passes over these, and others are not of a stream."""

    def __init__(self, stream: str, error: OSError) -> None:
        super().__init__(f"{stream} cannot be written: {error.strerror}. Write it elsewhere, and run this again.")
        self.enough = isinstance(error, BrokenPipeError)
        """Whoever reads has had enough, as head has."""


class _Descriptor(io.FileIO):
    """A standard stream's end; says which it is when it cannot be written."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__(number, "w", closefd=False)
        self._stream = name

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise _Lost(self._stream, error) from None


def run(main: Callable[[], int]) -> int:
    """Run a whole command; its exit status. Output that cannot be written is told in a line, Ctrl-C ends it quietly."""
    sys.stdout = _stream(sys.stdout, "Standard output")
    sys.stderr = _stream(sys.stderr, "Standard error")
    try:
        try:
            return main()
        finally:  # Also where argparse ends the process after its help.
            sys.stdout.flush()
            sys.stderr.flush()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except _Lost as lost:
        if not lost.enough:
            with contextlib.suppress(_Lost):
                print(lost, file=sys.stderr)  # noqa: T201
        # What is left goes nowhere when Python ends.
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except _Lost:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 1


def _stream(stream: Any, name: str) -> TextIO:
    """Stands for a standard stream; a closed one leads nowhere. Instead of a character that it cannot show is its
    number."""
    if stream is None:
        return Path(os.devnull).open("w")
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(stream.fileno(), name)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
    )


def only_ascii() -> bool:
    """Whether JSON on standard output has to do with ASCII: another escape than JSON's own would break it."""
    return not (sys.stdout.encoding or "").lower().startswith("utf")


def writable(text: str) -> Path:
    """An argument: a file that can be written, as far as it is known before. What is in it stays."""
    file = Path(text)
    try:
        _try(file)
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"{text} cannot be written: {error.strerror}; name a file in a folder that exists and takes files"
        ) from None
    return file


def _try(file: Path) -> None:
    there = file.exists()
    if there and not file.is_file() and not file.is_dir():
        return  # Whoever reads a pipe would take a first opening for all.
    file.open("a").close()
    if not there:
        file.unlink(missing_ok=True)


def write(file: Path, text: str) -> None:
    """Write a file that was named on the command line. Raises `NotWritten`."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotWritten(f"{file} cannot be written: {error.strerror}. Name another, and run this again.") from None
