"""The pack under pulumi-policy's own runner, started as the engine's language host does, against the in-process run.

The host runs `python -u -m pulumi.policy ADDRESS PACK` in the pack's directory, and reads the port from its output
(pulumi/pulumi, sdk/python/cmd/pulumi-language-python). The engine then asks over gRPC: `ConfigureStack` first, with the
stack's configuration, then about each resource (pkg/resource/plugin/analyzer_plugin.go).
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from components import settings
from components.settings import PolicyException
from policies import Findings, evaluate, rules
from policies.enforcement import enforced, levels
from policies.pack import EXCEPTIONS_IN_FORCE
from policies.registrations import ROOT, registrations
from policies.rule import STACK, Registered
from tests.policies.specs import SPECS, one

STACK_ITSELF = one(STACK)


class Runner:
    """The pack's process, asked as the engine asks it."""

    def __init__(self, stub: analyzer_pb2_grpc.AnalyzerStub) -> None:
        self.stub = stub

    def run(self, resources: Iterable[Registered]) -> list[analyzer_pb2.AnalyzeDiagnostic]:
        """What a preview would show: each resource analyzed as it is registered, then all together."""
        resources = list(resources)
        found: list[analyzer_pb2.AnalyzeDiagnostic] = []
        for r in resources:
            request = analyzer_pb2.AnalyzeRequest(urn=r.urn, type=r.type, name=r.name, properties=_struct(r.inputs))
            request.options.parent = r.parent
            found += self.stub.Analyze(request).diagnostics
        together = analyzer_pb2.AnalyzeStackRequest(
            resources=[
                analyzer_pb2.AnalyzerResource(
                    urn=r.urn,
                    type=r.type,
                    name=r.name,
                    properties=_struct(r.inputs),
                    parent=r.parent,
                    dependencies=r.dependencies,
                )
                for r in resources
            ]
        )
        return found + list(self.stub.AnalyzeStack(together).diagnostics)


def _struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update({name: value for name, value in values.items() if value is not None})
    return struct


@contextlib.contextmanager
def started(config: Mapping[str, str], pack: Path = ROOT / "policies") -> Iterator[Runner]:
    environment = {
        **os.environ,
        "PULUMI_ORGANIZATION": "organization",
        "PULUMI_PROJECT": settings.NAMESPACE,
        "PULUMI_STACK": "production",
        "PULUMI_DRY_RUN": "true",
    }
    command = [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:0", str(pack)]
    with subprocess.Popen(command, cwd=pack, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            port = int(process.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
                stub = analyzer_pb2_grpc.AnalyzerStub(channel)
                stub.ConfigureStack(
                    analyzer_pb2.AnalyzerStackConfigureRequest(
                        stack="production",
                        project=settings.NAMESPACE,
                        organization="organization",
                        dry_run=True,
                        config=config,
                    )
                )
                yield Runner(stub)
        finally:
            process.terminate()


def exception(expires: datetime.date, rule: str = "ecr-repository-encrypt-with-kms") -> dict[str, str]:
    return {
        "rule": rule,
        "resource": "google-workspace-repository",
        "reason": "encryption is fixed when a repository is made",
        "owner": "platform-team",
        "expires": str(expires),
    }


TODAY = datetime.datetime.now(tz=datetime.UTC).date()
YESTERDAY, TOMORROW = TODAY - datetime.timedelta(days=1), TODAY + datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """Without exceptions, and without a configuration that could be read."""
    with started({"mcp-on-ecs:policyExceptions": "[{}]"}) as running:
        yield running


def same(diagnostics: Iterable[analyzer_pb2.AnalyzeDiagnostic], findings: Findings) -> None:
    """Both found the same: violations to the letter, and what is not decided by rule and resource."""
    mandatory = analyzer_pb2.MANDATORY
    shown = {
        (d.policyName, d.urn, d.message, d.enforcementLevel == mandatory)
        for d in diagnostics
        if d.policyName != EXCEPTIONS_IN_FORCE and "not decided at preview" not in d.message
    }
    expected = {
        (
            v.rule.id,
            v.resource.urn,
            f"{v.rule.description}\n{v.resource.name}: {v.rule.message(v.problem)}",
            v.rule.stops,
        )
        for v in findings.violations
    }
    assert shown == expected
    undecided = [d for d in diagnostics if "not decided at preview" in d.message]
    assert {d.policyName for d in undecided} == {u.rule.id for u in findings.undecided}
    assert all(d.enforcementLevel == analyzer_pb2.ADVISORY for d in undecided)
    for u in findings.undecided:
        assert any(d.policyName == u.rule.id and f"{u.resource.name} ({u.reason})" in d.message for d in undecided)


def test_the_pack_has_every_rule_with_its_severity_and_enforcement(runner: Runner) -> None:
    info = runner.stub.GetAnalyzerInfo(empty_pb2.Empty())
    listed = {policy.name: policy for policy in info.policies}

    assert info.name == "mcp-on-ecs"
    assert listed.keys() == {rule.id for rule in rules()} | {EXCEPTIONS_IN_FORCE}
    for rule in rules():
        policy = listed[rule.id]
        assert policy.enforcementLevel == (analyzer_pb2.MANDATORY if rule.stops else analyzer_pb2.ADVISORY)
        assert analyzer_pb2.PolicySeverity.Name(policy.severity) == f"POLICY_SEVERITY_{rule.severity.name}"
        assert list(policy.tags) == list(rule.controls)
        assert policy.remediation_steps == rule.remedy


def test_the_runner_finds_in_the_production_stack_what_the_in_process_run_finds(runner: Runner) -> None:
    resources: list[Registered] = [
        STACK_ITSELF,
        *registrations(settings.read_stack_file(ROOT / "Pulumi.production.yaml")),
    ]
    findings = evaluate(resources)

    assert findings.violations, "otherwise nothing is compared"
    same(runner.run(resources), findings)


@pytest.mark.parametrize("name", sorted(SPECS))
def test_the_runner_finds_the_same_in_the_cases_of_each_rule(runner: Runner, name: str) -> None:
    spec = SPECS[name]
    for resources in (spec.passes, *(fails for fails, _ in spec.fails), spec.unknown[0], spec.absent[0]):
        same(runner.run(resources), evaluate([STACK_ITSELF, *resources]))


def test_the_exceptions_come_with_the_stacks_configuration() -> None:
    resources: list[Registered] = [
        STACK_ITSELF,
        *registrations(settings.read_stack_file(ROOT / "Pulumi.production.yaml")),
    ]
    given = [exception(TOMORROW), exception(YESTERDAY, "logs-group-keep-a-year")]
    with started({"mcp-on-ecs:policyExceptions": json.dumps(given)}) as running:
        diagnostics = running.run(resources)
    findings = evaluate(resources, [PolicyException.model_validate(one_of_them) for one_of_them in given])

    same(diagnostics, findings)
    assert len(findings.excepted) == 1
    assert "policy-exception-renew" in {d.policyName for d in diagnostics}
    assert [d.message for d in diagnostics if d.policyName == EXCEPTIONS_IN_FORCE] == [
        "Exceptions in force are listed.\n"
        "ecr-repository-encrypt-with-kms on google-workspace-repository: "
        f"encryption is fixed when a repository is made (platform-team, until {TOMORROW})"
    ]


def test_the_packs_configuration_changes_how_a_rule_is_enforced() -> None:
    mutable = one("aws:ecr/repository:Repository", imageTagMutability="MUTABLE")
    request = analyzer_pb2.ConfigureAnalyzerRequest()
    request.policyConfig["ecr-repository-disallow-mutable-tags"].enforcementLevel = analyzer_pb2.ADVISORY
    request.policyConfig["ecr-repository-scan-on-push"].enforcementLevel = analyzer_pb2.DISABLED
    with started({}) as running:
        running.stub.Configure(request)
        levels = {d.policyName: d.enforcementLevel for d in running.run([mutable])}

    assert levels["ecr-repository-disallow-mutable-tags"] == analyzer_pb2.ADVISORY
    assert "ecr-repository-scan-on-push" not in levels


def test_the_packs_own_file_does_so_too(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    (tmp_path / "components").symlink_to(ROOT / "components")
    file = tmp_path / "policies" / "enforcement.json"
    file.write_text(
        json.dumps({"ecr-repository-disallow-mutable-tags": "advisory", "ecr-repository-scan-on-push": "disabled"})
    )
    resources = [STACK_ITSELF, one("aws:ecr/repository:Repository", imageTagMutability="MUTABLE")]
    with started({}, tmp_path / "policies") as running:
        diagnostics = running.run(resources)
    findings = evaluate(resources, hold_to=enforced(rules(), levels(file)))

    same(diagnostics, findings)
    assert "ecr-repository-disallow-mutable-tags" in {v.rule.id for v in findings.violations if not v.rule.stops}
