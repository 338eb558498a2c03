"""What a Debian or Ubuntu machine is given where it lacks something, by whoever may: root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class AptFailed(RuntimeError):
    """Packages could not be installed; the message has apt's last lines."""


def may_install() -> bool:
    """Whether this is such a machine, and we are root on it."""
    return os.geteuid() == 0 and Path("/etc/debian_version").exists()


def environment() -> dict[str, str]:
    """Our environment with the administrator's commands on the PATH, which `su` leaves out."""
    return os.environ | {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}


def install(*packages: str) -> None:
    """Install those of the packages this machine's apt knows; raises `AptFailed` when apt cannot."""
    quietly = environment() | {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"]
    subprocess.run(["apt-get", "update", "--quiet"], env=quietly, capture_output=True, check=False)
    known = [
        package
        for package in packages
        if subprocess.run(["apt-cache", "show", package], capture_output=True, check=False).returncode == 0
    ]
    done = subprocess.run(
        [*command, *known],
        env=quietly,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if not known or done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-5:])
        raise AptFailed(f"apt-get could not install {' '.join(known or packages)}:\n{tail}")
