"""The account beside the provider: boto3 clients for the few questions that no Pulumi look-up answers.

Such are the list of a listener's rules, and the reasons for which ECS stopped tasks. All of them only read.
"""

from __future__ import annotations

import functools
from typing import Any

import boto3
import pulumi


@functools.cache
def client(service: str) -> Any:
    """A boto3 client for `service` with the credentials of the environment, or of the profile and region that the aws
    provider is configured with."""
    config = pulumi.Config("aws")
    return boto3.Session(profile_name=config.get("profile"), region_name=config.get("region")).client(service)
