"""Stacks for tests: the shipped production stack under another name, and changed configurations of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.settings import ISSUER_KEPT, NAMESPACE, parse
from engine.stack import Project
from providers import Context
from rehearsal.embedded import EmbeddedStack
from rehearsal.emulator import Account
from rehearsal.kept import Kept
from rehearsal.run import Rehearsal, Stack
from tests.conftest import ROOT

SERVICE = "services.google-workspace"

INTERNAL: dict[str, Any] = {
    "oauth": {"enabled": False},
    "tokens": {"bucket": "busyb-oauth-tokens-758888582357"},
    "routing": {"strategy": "internal"},
}
"""A service that is reached from inside the VPC only."""


def production(name: str) -> Stack:
    """The production stack's configuration; `name` keeps it apart from a rehearsal that somebody keeps."""
    return dataclasses.replace(Stack.read("production"), name=name)


def beside(stack: Stack) -> dict[str, Any]:
    """The shipped service again, for inside the VPC only: without OAuth 2.1, keeping people's tokens in the bucket."""
    shipped = json.loads(stack.config[f"{NAMESPACE}:services"])["google-workspace"]
    return {name: value for name, value in {**shipped, **INTERNAL}.items() if name != "dashboard"}


def changed(stack: Stack, values: dict[str, Any]) -> Stack:
    """`stack` with `values`: dotted path below the namespace -> value; None removes the key."""
    config = dict(stack.config)
    for path, value in values.items():
        top, *rest = path.split(".")
        key = f"{NAMESPACE}:{top}"
        document = {top: json.loads(config[key])} if rest or key in config else {}
        place = document
        for part in [top, *rest][:-1]:
            place = place.setdefault(part, {})
        if value is None:
            del place[[top, *rest][-1]]
        else:
            place[[top, *rest][-1]] = value
        if top not in document:
            del config[key]
            continue
        config[key] = document[top] if isinstance(document[top], str) else json.dumps(document[top])
    return dataclasses.replace(stack, config=config, settings=parse(config))


def moving(stack: Stack) -> Stack:
    """The stack, whose services may change their public addresses."""
    exception = {"rule": ISSUER_KEPT, "resource": "*", "owner": "tests", "expires": "2099-12-31"}
    written = json.loads(stack.config.get(f"{NAMESPACE}:policyExceptions", "[]"))
    return changed(stack, {"policyExceptions": [*written, {**exception, "reason": "Nobody is signed in"}]})


def embedded(stack: Stack, account: Account, folder: Path) -> EmbeddedStack:
    """The stack without containers: deployed to `account` by the embedded driver, with its state in `folder`."""
    made = EmbeddedStack(
        Project(directory=ROOT, name=NAMESPACE, stack=stack.name),
        folder=folder,
        environment=account.whole_environment,
        context=Context(account=account, docker=None, directory=ROOT),
    )
    made.configure(stack.config)
    return made


@contextlib.contextmanager
def in_a_file(stack: Stack) -> Iterator[str]:
    """The name of a file of its own for the stack, by which commands find it."""
    name = f"{stack.name}-{os.getpid()}"
    file = ROOT / f"Pulumi.{name}.yaml"
    file.write_text("\n".join(["config:", *(f"  {key}: {json.dumps(value)}" for key, value in stack.config.items())]))
    try:
        yield name
    finally:
        file.unlink()


@contextlib.contextmanager
def noted(purpose: str) -> Iterator[tuple[Rehearsal, str]]:
    """The production stack, deployed, under a name of its own that commands find: `--stack NAME --rehearsal`.

    It has a stack file of its own too, which commands may change.
    """
    name = f"{purpose}-{os.getpid()}"
    file = ROOT / f"Pulumi.{name}.yaml"
    file.write_text((ROOT / "Pulumi.production.yaml").read_text())
    try:
        with Rehearsal(Stack.read(name)) as rehearsal:
            rehearsal.deploy()
            rehearsal.note().write(name)
            yield rehearsal, name
    finally:
        file.unlink()
        shutil.rmtree(Kept.folder(name), ignore_errors=True)
