"""This project's Pulumi providers: what holds of every resource type."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from providers import Context, handlers
from tests.conftest import ACCOUNT, REGION

LOCATORS = {"aws:ecs/service:Service": f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/cluster/name"}


@pytest.mark.parametrize("type_", handlers)
def test_what_a_resource_is_imported_by_finds_it_again(type_: str) -> None:
    account = cast("Any", SimpleNamespace(account=ACCOUNT, region=REGION))
    handler = handlers[type_](Context(account=account, docker=None, directory=Path()))
    locator = LOCATORS.get(type_, "some-name")
    assert handler.locate(handler.import_id(locator)) == locator
