"""Processes of this machine."""

from __future__ import annotations

from pathlib import Path


def running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended: one that nobody has asked for its status does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
