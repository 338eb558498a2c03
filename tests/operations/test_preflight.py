"""What preflight asks of services that the emulator has not got, with answers held to AWS's own model."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from operations.preflight import _uncounted


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([{"TagKey": "Service", "Type": "UserDefined", "Status": "Active"}], []),
        ([], ["--cost-allocation-tags-status TagKey=Service,Status=Active"]),
    ],
)
def test_a_budget_that_counts_nothing_is_told(answer: list[dict[str, Any]], said: list[str]) -> None:
    explorer = boto3.client("ce", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(explorer) as stub:
        asked = {"TagKeys": ["Service"], "Status": "Active"}
        stub.add_response("list_cost_allocation_tags", {"CostAllocationTags": answer}, asked)
        found = _uncounted(explorer)
    assert len(found) == len(said)
    assert all(words in text for words, text in zip(said, found, strict=True))
