"""The public address stays, so that people stay signed in: held before anything is registered."""

from __future__ import annotations

from typing import Any

import pytest

from components.estate import EstateError
from tests.components.program import Account, Deploy
from tests.stacks import INTERNAL

OLD, NEW = "https://mcp.busyb.ai", "https://api.busyb.ai/google-workspace"
EXCEPTION = {
    "rule": "mcp-issuer-keep",
    "resource": "google-workspace",
    "reason": "Everybody was told",
    "owner": "team",
    "expires": "2099-12-31",
}


@pytest.mark.parametrize("preview", [True, False])
def test_a_changed_address_stops_before_anything_is_made(
    deploy: Deploy, config: dict[str, Any], estate: Account, preview: bool
) -> None:
    estate.external_url = OLD
    recorded = deploy(config, preview=preview, fails=True)
    assert isinstance(recorded.error, EstateError) and not recorded.resources
    (found,) = recorded.error.findings
    assert found.what == "the issuer of google-workspace"
    assert found.where == "at busyb-google-workspace-mcp:1, which runs, and services.google-workspace.routing"
    assert found.why == (
        f"it changes from {OLD} to {NEW}: every client registers anew, every person signs in again, and the old "
        "address answers nobody"
    )
    assert "policyExceptions: rule mcp-issuer-keep, resource google-workspace" in found.remedy


@pytest.mark.parametrize("address", [NEW, None])
def test_the_same_address_and_a_server_that_is_told_none_are_no_change(
    deploy: Deploy, config: dict[str, Any], estate: Account, address: str | None
) -> None:
    estate.external_url = address
    assert deploy(config).resources


def test_a_change_that_an_exception_allows_is_a_warning(
    deploy: Deploy, config: dict[str, Any], estate: Account, caplog: pytest.LogCaptureFixture
) -> None:
    estate.external_url = OLD
    config["policyExceptions"] = [EXCEPTION]
    assert deploy(config).resources
    (warning,) = [text for text in caplog.messages if "issuer" in text]
    assert f"it changes from {OLD} to {NEW}: every client registers anew" in warning
    assert warning.endswith("allowed: Everybody was told (team, until 2099-12-31)")


@pytest.mark.parametrize("change", [{"expires": "2026-01-01"}, {"resource": "another"}, {"rule": "another-rule"}])
def test_an_exception_that_has_ended_or_is_about_something_else_allows_nothing(
    deploy: Deploy, config: dict[str, Any], estate: Account, change: dict[str, str]
) -> None:
    estate.external_url = OLD
    config["policyExceptions"] = [EXCEPTION | change]
    assert isinstance(deploy(config, fails=True).error, EstateError)


def test_a_service_inside_the_vpc_has_no_issuer(deploy: Deploy, config: dict[str, Any], estate: Account) -> None:
    estate.external_url = OLD
    config["services"]["google-workspace"] |= INTERNAL
    assert deploy(config).resources
