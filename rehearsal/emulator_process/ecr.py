"""ECR: the registry's address, and layers that were pushed before."""

import contextlib
import os
import re
import time
import uuid
from pathlib import Path
from typing import Any

from rehearsal.emulator_process.needs import need


def say_real_registry(ecr: Any, registry: str) -> None:
    """Make ECR name its repositories by `registry`, an address that Docker reaches.

    DescribeRepositories says ACCOUNT.dkr.ecr.REGION.amazonaws.com/name, and on AWS that resolves. MiniStack says the
    same, and here it leads nowhere, or to AWS; but the Docker provider pushes to whatever is said.

    Goes when MiniStack's address of a registry is one that Docker reaches.
    """
    need(ecr, "_repo_uri")
    ecr._repo_uri = lambda name: f"{registry}/{name}"


KEPT = 30 * 24 * 3600
"""Seconds that a layer is kept without use."""


def keep_layers(ecr: Any, folder: Path) -> None:
    """Let a push find the layers that an earlier rehearsal's registry was given: on AWS it does from the second on.

    Docker compresses and sends a layer only to a registry that has not got it, and each rehearsal begins with an empty
    one. Here `folder` has each layer under its digest, so that a push takes a second where it took a dozen.

    Goes when MiniStack keeps layers outside of its memory, apart from the accounts.
    """
    need(ecr, "_layer_blobs", "_ensure_repo_exists", "_v2_head_blob", "_v2_complete_blob_upload", "_query_first")
    folder.mkdir(parents=True, exist_ok=True)
    for layer in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # Another rehearsal's start took it away.
            if layer.stat().st_mtime < time.time() - KEPT:
                layer.unlink()
    head, complete = ecr._v2_head_blob, ecr._v2_complete_blob_upload

    def head_blob(name: str, digest: str) -> Any:
        layer = folder / digest
        known = digest in ecr._layer_blobs.get(name, {}) or ecr._ensure_repo_exists(name) is not None
        if not known and re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            with contextlib.suppress(FileNotFoundError):
                ecr._layer_blobs.setdefault(name, {})[digest] = layer.read_bytes()
                os.utime(layer)
        return head(name, digest)

    def complete_blob_upload(name: str, upload: str, query: Any, body: Any) -> Any:
        answer = complete(name, upload, query, body)
        digest = ecr._query_first(query, "digest")
        content = ecr._layer_blobs.get(name, {}).get(digest)
        if content is not None and not (folder / digest).exists():
            part = folder / f".{uuid.uuid4().hex}"
            part.write_bytes(content)
            part.rename(folder / digest)
        return answer

    ecr._v2_head_blob, ecr._v2_complete_blob_upload = head_blob, complete_blob_upload
