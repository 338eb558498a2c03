"""What the engine's events become in a report."""

from __future__ import annotations

from typing import Any

from pulumi.automation.events import EngineEvent

from engine.events import Events

URN = "urn:pulumi:production::mcp-on-ecs::mcp-on-ecs:index:McpService$aws:ecs/service:Service::api-service"

OLD = {"desiredCount": 1, "tags": {"a": "b"}}


def event(kind: str, op: str, *, urn: str = URN, type_: str = "aws:ecs/service:Service", **more: Any) -> EngineEvent:
    """An event as the engine's log has it."""
    state = {"type": type_, "urn": urn, "id": "", "parent": "", "provider": "", "custom": True}
    step = {
        "op": op,
        "urn": urn,
        "type": type_,
        "provider": "",
        "old": state | {"inputs": OLD, "outputs": OLD},
        "new": state | {"inputs": {"desiredCount": 2, "tags": {"a": "b"}, "availabilityZoneRebalancing": "ENABLED"}},
        "detailedDiff": {"desiredCount": {"diffKind": "update", "inputDiff": False}},
    }
    return EngineEvent.from_json({"sequence": 1, "timestamp": 1, kind: {"metadata": step | more}})


def test_an_update_is_told_with_what_differs_and_what_the_emulator_ignores() -> None:
    told = Events()
    told(event("resourcePreEvent", "update"))
    told(event("resOutputsEvent", "update"))
    (result,) = told.deployment.resources
    assert (result.name, result.type, result.action) == ("api-service", "aws:ecs/service:Service", "changed")
    assert {path: (change.before, change.after) for path, change in result.changes.items()} == {"desiredCount": (1, 2)}


def test_a_replacement_is_one_result_and_components_and_providers_are_none() -> None:
    told = Events()
    for op in ("create-replacement", "replace", "delete-replaced"):
        told(event("resourcePreEvent", op))
        told(event("resOutputsEvent", op))
    provider = "pulumi:providers:aws"
    told(event("resOutputsEvent", "create", urn=f"urn:pulumi:production::x::{provider}::default", type_=provider))
    assert [result.action for result in told.deployment.resources] == ["replaced"]


def test_a_failure_is_told_in_the_providers_words_by_the_resources_name() -> None:
    told = Events()
    diagnostic = {
        "urn": URN,
        "message": "<{%reset%}>creating ECS Service: AccessDenied<{%reset%}>\n",
        "severity": "error",
    }
    told(EngineEvent.from_json({"sequence": 1, "timestamp": 1, "diagnosticEvent": diagnostic}))
    told(event("resOpFailedEvent", "create"))
    assert told.errors == ["api-service: creating ECS Service: AccessDenied"]
    assert [result.action for result in told.deployment.resources] == ["failed"]


def test_a_mandatory_policy_is_an_error_and_an_advisory_one_is_not() -> None:
    told = Events()
    for level in ("mandatory", "advisory"):
        policy = {"policyName": "ecs-rule", "enforcementLevel": level, "message": f"{level}  words", "resourceUrn": URN}
        told(EngineEvent.from_json({"sequence": 1, "timestamp": 1, "policyEvent": policy}))
    assert told.deployment.policies == ["mandatory: ecs-rule: mandatory words", "advisory: ecs-rule: advisory words"]
    assert told.errors == ["mandatory: ecs-rule: mandatory words"]


def test_a_secret_is_told_as_one() -> None:
    told = Events()
    secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": "null"}
    changed = event("resOutputsEvent", "update", detailedDiff={"value": {"diffKind": "update", "inputDiff": True}})
    assert changed.res_outputs_event
    step = changed.res_outputs_event.metadata
    assert step.old and step.new
    step.old.inputs, step.new.inputs = {"value": secret}, {"value": secret}
    told(changed)
    (result,) = told.deployment.resources
    assert [(change.before, change.after) for change in result.changes.values()] == [("[secret]", "[secret]")]


def test_what_cannot_be_changed_in_place_is_told_as_such() -> None:
    told = Events()
    replaced = {"family": {"diffKind": "update-replace"}, "desiredCount": {"diffKind": "update"}}
    told(event("resOutputsEvent", "replace", detailedDiff=replaced))
    (result,) = told.deployment.resources
    assert {path: change.replaces for path, change in result.changes.items()} == {"family": True, "desiredCount": False}
