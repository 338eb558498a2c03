"""The policy pack, as the Pulumi engine starts it: pulumi preview --policy-pack policies."""

import datetime
import sys
from pathlib import Path
from typing import Any

from pulumi_policy import EnforcementLevel, PolicyPack, policy

# The engine starts this directory, not the project's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from components.settings import PolicyException, policy_exceptions
from policies.pack import pulumi_policies

exceptions: list[PolicyException] = []
configure_stack = policy._PolicyAnalyzerServicer.ConfigureStack


def configure(servicer: Any, request: Any, context: Any) -> Any:
    """The engine gives a pack the stack's configuration by this call; pulumi-policy takes only the tags from it.

    Goes when test_the_exceptions_come_with_the_stacks_configuration passes without it.
    """
    exceptions[:] = policy_exceptions(request.config)
    return configure_stack(servicer, request, context)


policy._PolicyAnalyzerServicer.ConfigureStack = configure  # type: ignore[assignment, method-assign]

PolicyPack(
    name="mcp-on-ecs",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=pulumi_policies(exceptions, datetime.datetime.now(tz=datetime.UTC).date()),
)
