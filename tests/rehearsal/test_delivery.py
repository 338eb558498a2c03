"""The pipeline's roles as an account has them, tried on what the pipeline's operations ask of it.

What the provider asks is held against them in tests/components/test_rights.py.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from checks.check import NotRun
from components.settings import Service
from operations import probe
from operations.preflight import preflight
from operations.probe import Ended
from operations.rights import calls, coverage
from operations.rights.calls import Call
from operations.rights.coverage import Roles
from operations.rights.evaluation import Statement
from operations.rollback import rollback
from operations.target import Target, of_rehearsal
from operations.verify import verify
from policies.registrations import registrations
from rehearsal.emulator import Account
from rehearsal.kept import ROOT
from rehearsal.run import Rehearsal
from tests.components import roles as expected
from tests.stacks import SERVICE, changed


@dataclasses.dataclass(frozen=True)
class Seen:
    """What preflight, and verify, its one-off task and a rollback, asked; and the policies in force meanwhile."""

    before: list[Call]
    operated: list[Call]
    roles: Roles
    beside: Ended
    """What became of a one-off task whose task definition nobody may deregister."""
    left: set[str]
    """ARNs of the identity providers and of roles of ours after the stack was destroyed."""


def in_force(account: Account, part: str) -> tuple[Statement, ...]:
    """What the account says of the role's policies."""
    iam, role = account.client("iam"), f"busyb-production-mcp-{part}"
    assert iam.list_role_policies(RoleName=role)["PolicyNames"] == []
    statements = []
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        version = iam.get_policy(PolicyArn=attached["PolicyArn"])["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=attached["PolicyArn"], VersionId=version)["PolicyVersion"]
        statements += found["Document"]["Statement"]
    return tuple(statements)


def attentive(target: Target, asked: list[Call]) -> Target:
    """The target, whose clients append what they are asked to `asked`, in whatever thread."""

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        asked.append(calls.normal("operation", model.service_model.signing_name, model.name, params))

    def client(service: str) -> Any:
        found = target.client(service)
        found.meta.events.register("provide-client-params.*.*", note, unique_id="attentive")
        return found

    return dataclasses.replace(target, client=client)


def refusing(target: Target, operation: str) -> Target:
    """The target, whose ECS refuses `operation`."""

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not you"}}, operation)

    def client(service: str) -> Any:
        found = target.client(service)
        if service == "ecs":
            found.meta.events.register(f"provide-client-params.ecs.{operation}", refuse, unique_id="refusing")
        return found

    return dataclasses.replace(target, client=client)


def one_off(target: Target, service: Service, command: list[str]) -> Ended:
    """What `verify` asks from inside the VPC, which it does not on a rehearsal."""
    described = target.described(service)
    with pytest.raises(NotRun):  # The estate's group lets in the load balancer alone; what is asked to know it counts.
        probe.network(target, service, described)
    return probe.run(target, service, described, described["networkConfiguration"], command)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    # A rollback writes into the stack's file.
    file = tmp_path_factory.mktemp("stack") / "Pulumi.production.yaml"
    shutil.copy(ROOT / "Pulumi.production.yaml", file)
    stack = dataclasses.replace(expected.stack("production"), name="delivery")
    other = changed(stack, {f"{SERVICE}.memory": 2048})
    before: list[Call] = []
    operated: list[Call] = []
    with Rehearsal(stack) as rehearsal:
        rehearsal.deploy()
        statements = {part: in_force(rehearsal.account, part) for part in coverage.PARTS}

        def target(asked: list[Call]) -> Target:
            return attentive(of_rehearsal(stack.name, file, other.settings, rehearsal.note()), asked)

        service = stack.settings.services["google-workspace"]
        preflight(target(before))
        verify(target(operated), service)
        code = ["python3", "-c", "pass"]
        assert one_off(target(operated), service, code).notes == ()
        beside = one_off(refusing(target([]), "DeregisterTaskDefinition"), service, code)
        rehearsal.deploy(other)
        rollback(target(operated), service)
        rehearsal.destroy()
        iam = rehearsal.account.client("iam")
        left = {provider["Arn"] for provider in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]}
        left |= {role["Arn"] for role in iam.list_roles()["Roles"] if "-mcp" in role["RoleName"]}
    yield Seen(before, operated, coverage.roles_in(registrations(stack.config), statements), beside, left)


def test_all_that_the_pipelines_operations_ask_is_allowed_to_the_role_that_deploys(seen: Seen) -> None:
    assert {call.operation for call in seen.operated} >= {"RunTask", "UpdateService", "PutParameter"}
    assert list(coverage.refusals(seen.roles, seen.operated)) == []


def test_githubs_identity_provider_stays_when_the_stack_goes_and_its_roles_do_not(seen: Seen) -> None:
    assert seen.left == {expected.arn("iam", "oidc-provider/token.actions.githubusercontent.com", "")}


def test_a_clean_up_that_is_refused_is_a_note_and_takes_no_answer_away(seen: Seen) -> None:
    code, (note,) = seen.beside.code, seen.beside.notes
    assert code is not None, "the task has ended, and its answer counts"
    assert "AccessDeniedException" in note
    assert "do: aws ecs deregister-task-definition --task-definition arn:aws:ecs:" in note


def test_a_preflight_of_the_pipeline_is_denied_the_values_of_secrets_web_acls_and_no_more(seen: Seen) -> None:
    """It takes that for "not run", as it does the simulation of rights and the quota, which a rehearsal has not got."""
    assert len(seen.before) > 20
    refused = {refusal.action for refusal in coverage.refusals(seen.roles, seen.before)}
    assert refused == {"secretsmanager:GetSecretValue", "wafv2:GetWebACLForResource"}


@pytest.mark.parametrize("part", coverage.PARTS)
def test_an_account_has_the_statements_that_are_found_without_one(seen: Seen, part: str) -> None:
    def known(statements: tuple[Statement, ...]) -> dict[str, Any]:
        return {statement["Sid"]: (statement["Action"], statement.get("Condition")) for statement in statements}

    assert known(seen.roles.statements[part]) == known(expected.roles("production").statements[part])
