"""The rules that a preview is held to, for `pulumi preview --policy-pack policies` and in-process alike.

`rules()` lists them. `evaluate()` holds registered resources to them, and `check_stack()` those that a stack's
program registers, without a cloud.
"""

from policies.evaluation import Findings, evaluate
from policies.registrations import check_stack
from policies.rules import rules

__all__ = ["Findings", "check_stack", "evaluate", "rules"]
