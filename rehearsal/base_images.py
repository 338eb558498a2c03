"""Which base images a Dockerfile names, and what a Debian takes that stands in for one."""

from __future__ import annotations

import os
import platform
import re
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path

from machine import debian
from providers.docker_client import NoEngine

CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
INDEXES = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX",
    "UV_EXTRA_INDEX_URL",
)  # fmt: skip


class NoBaseImage(RuntimeError):
    """A base image is in no reachable registry and cannot be stood in for; the message names it."""


def external_images(dockerfile: str, build_args: Mapping[str, str]) -> list[str]:
    """The images a Dockerfile's text takes from outside, in order, each once: FROM lines and `COPY --from`.

    Variables are those of ARG lines before the first FROM, `build_args` first. Raises NoBaseImage for one
    without a value.
    """
    lines = re.sub(r"\\[ \t]*\n", " ", re.sub(r"(?m)^\s*#.*\n?", "", dockerfile)).splitlines()
    variables: dict[str, str] = {}
    stages: set[str] = set()
    images: dict[str, None] = {}

    def value(match: re.Match[str]) -> str:
        name, default = match["braced"] or match["plain"], match["default"]
        if not (found := variables.get(name) or default):
            raise NoBaseImage(f"FROM uses ${name}, which has no value. Give it as a build argument.")
        return found

    for line in lines:
        instruction, _, rest = line.strip().partition(" ")
        words = [word for word in rest.split() if not word.startswith("--")]
        if instruction.upper() == "ARG" and not stages and not images:
            for word in words:
                name, _, default = word.partition("=")
                variables[name] = build_args.get(name, default.strip("\"'"))
        elif instruction.upper() == "FROM":
            image = re.sub(r"\$(?:\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\}|(?P<plain>\w+))", value, words[0])
            if image.lower() not in stages and image != "scratch":
                images[image] = None
            stages.add(words[2].lower() if len(words) > 2 else f"#{len(stages)}")
        elif instruction.upper() == "COPY":
            # A number is an earlier stage's.
            sources = re.findall(r"--from=(\D\S*)", rest)
            images.update((source, None) for source in sources if source.lower() not in stages)
    return list(images)


def apt_source() -> tuple[str, str]:
    """This machine's Debian (or Ubuntu) suite and the mirror it installs from, for example `bookworm` and a URL."""
    if debian.may_install():
        suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
        targets = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Identifier: Packages"],
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        for line in targets.splitlines():
            release, component, uri = line.split(" ", 2)
            if (release, component) == (suite, "main"):
                return suite, uri
    raise NoBaseImage(
        "No registry is reachable, and a base image can be made on Debian or Ubuntu as root with apt sources only."
        " Load the base images into the engine (docker load), then run this again."
    )


def apt_install(*packages: str) -> None:
    """As `debian.install`; raises NoEngine when apt cannot."""
    try:
        debian.install(*packages)
    except debian.AptFailed as error:
        raise NoEngine(str(error)) from None


def trim(root: Path) -> None:
    """Drop what a base image does not need, and have `python` and `pip install` work as in python:slim."""
    waste = (
        "var/lib/apt/lists",
        "var/cache/apt",
        "var/log",
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
    )
    for folder in waste:
        for entry in (root / folder).iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    (root / "usr/bin/python").symlink_to("python3")


def trust_machine_authorities(root: Path) -> None:
    """Give the image this machine's certificate authorities, so that builds reach what this machine reaches."""
    bundle = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or CA_BUNDLE
    if Path(bundle).is_file():
        shutil.copyfile(bundle, root / CA_BUNDLE.lstrip("/"))
    # Also where update-ca-certificates looks, which makes the bundle anew when its package is upgraded.
    for authority in Path("/usr/local/share/ca-certificates").glob("**/*.crt"):
        shutil.copyfile(authority, root / "usr/local/share/ca-certificates" / authority.name)
    if Path("/etc/pip.conf").is_file():
        shutil.copyfile("/etc/pip.conf", root / "etc/pip.conf")
