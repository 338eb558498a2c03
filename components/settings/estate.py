"""What exists already, by name or id."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings.model import Model
from components.settings.patterns import Reference


class Estate(Model):
    """What exists already and is shared with other services. It is looked up, never created and never changed."""

    vpc: Reference
    """The VPC's id (vpc-...) or its Name tag."""
    task_subnets: Annotated[list[Reference], Field(min_length=1, max_length=16)]
    """Private subnets for the tasks, at most 16, each by id (subnet-...), CIDR block (10.0.10.0/24) or Name tag. Two
    zones or more survive the loss of one."""
    cluster: Reference
    """The ECS cluster's name."""
    load_balancer: Reference | None = None
    """The application load balancer's name. Needed when a service is reached from outside."""
    listener_port: Annotated[int, Field(ge=1, le=65535)] = 443
    """Port of the load balancer's HTTPS listener. Default 443."""
    namespace: Reference
    """The private DNS namespace (AWS Cloud Map) for discovery inside the VPC."""
