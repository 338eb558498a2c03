"""The policy pack, as the Pulumi engine starts it: pulumi preview --policy-pack policies."""

import datetime
import sys
from pathlib import Path

from pulumi_policy import EnforcementLevel, PolicyPack

# The engine starts this directory, not the project's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from components.settings import load_policy_exceptions
from policies.pack import pulumi_policies

PolicyPack(
    name="mcp-on-ecs",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=pulumi_policies(load_policy_exceptions(), datetime.datetime.now(tz=datetime.UTC).date()),
)
