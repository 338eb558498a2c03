"""How ECS shifts a service's requests from old tasks to new ones: what is told to ECS, to the rule, and to IAM.

ECS registers the tasks of each new version in that one of two target groups that the last version is not in, and then
changes the groups' weights in the listener rule, under a role that it is given for that.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/alb-resources-for-blue-green.html
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from components.estate import Estate
from components.names import target_group_names
from components.roles import make_role, trust
from components.settings import Deployment, Service

_STRATEGIES = {"rolling": "ROLLING", "canary": "CANARY", "linear": "LINEAR", "blueGreen": "BLUE_GREEN"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shift:
    """What an ECS service needs to shift requests."""

    alternate_arn: pulumi.Output[str]
    """ARN of the second target group."""
    rule_arn: pulumi.Output[str]
    """ARN of the listener rule whose weights ECS changes."""
    role_arn: pulumi.Output[str]
    """ARN of the role under which it does."""
    needed: Sequence[pulumi.Resource]
    """What must be there before: the role's rights."""


def group_names(service: Service, found: Mapping[str, int]) -> tuple[str, ...]:
    """Names of the target groups that the service has, the first of them the one that ECS is told of as its own.

    found: those that its rule forwards to, with their weights. A service that shifts requests has both. Another one has
    the one that its tasks are in: where it shifted requests before, that may be the second.
    """
    main, other = target_group_names(service)
    if service.deployment.shifts:
        return main, other
    return (other,) if _serving(service, found) == other else (main,)


def forward(
    service: Service, groups: Mapping[str, pulumi.Output[str]], found: Mapping[str, int]
) -> aws.lb.ListenerRuleActionArgsDict:
    """The rule's action. groups: name -> ARN, those of `group_names`. Of two, the one that has the requests keeps them:
    ECS wants exactly one to have a weight when a deployment begins."""
    if len(groups) == 1:
        return {"type": "forward", "target_group_arn": next(iter(groups.values()))}
    serving = _serving(service, found)
    return {
        "type": "forward",
        "forward": {
            "target_groups": [{"arn": arn, "weight": 100 if name == serving else 0} for name, arn in groups.items()]
        },
    }


def weights_are_of_ecs(service: Service, found: Mapping[str, int]) -> bool:
    """Whether the rule's weights are ECS's by now, so that no deployment sets them back: it forwards to both groups
    already, or there is none yet, and from its making on they are."""
    return service.deployment.shifts and found.keys() in (set(), set(target_group_names(service)))


def _serving(service: Service, found: Mapping[str, int]) -> str:
    """Name of the target group that gets most requests."""
    main, other = target_group_names(service)
    return other if found.get(other, 0) > found.get(main, 0) else main


def strategy(deployment: Deployment) -> str:
    """ECS's name of the deployment's strategy."""
    return _STRATEGIES[deployment.strategy]


def configuration(deployment: Deployment) -> aws.ecs.ServiceDeploymentConfigurationArgsDict:
    """The input `deployment_configuration` of the ECS service. The provider takes minutes as texts."""
    told: aws.ecs.ServiceDeploymentConfigurationArgsDict = {"strategy": strategy(deployment)}
    if deployment.shifts:
        told["bake_time_in_minutes"] = str(deployment.bake_minutes)
    if deployment.strategy == "canary":
        told["canary_configuration"] = {
            "canary_percent": deployment.canary_percent,
            "canary_bake_time_in_minutes": str(deployment.canary_minutes),
        }
    if deployment.strategy == "linear":
        told["linear_configuration"] = {
            "step_percent": deployment.step_percent,
            "step_bake_time_in_minutes": str(deployment.step_minutes),
        }
    return told


def infrastructure_role(
    name: str, service: Service, estate: Estate, tags: Mapping[str, str], parent: pulumi.Resource
) -> tuple[pulumi.Output[str], list[pulumi.Resource]]:
    """ARN of the role under which ECS registers tasks in the service's target groups and changes its rule; and what
    must be there before it has its rights.

    AWS has a managed policy for it, AmazonECSInfrastructureRolePolicyForLoadBalancers, which lets ECS change every
    listener, rule and target group of the account. This one names the service's own: the rule by its tags, since AWS
    makes up its ARN, and policies are to be known at a preview. tags: of the rule, and of the role.
    """
    assert estate.listener  # Settings refuse public routing without a load balancer.
    place = f"arn:{estate.partition}:elasticloadbalancing:{estate.region}:{estate.account}"
    own = {f"aws:ResourceTag/{key}": tags[key] for key in ("Environment", "ManagedBy", "Service")}
    statements: list[dict[str, Any]] = [
        {
            # These know no resources.
            "Sid": "Describe",
            "Action": [
                f"elasticloadbalancing:Describe{what}"
                for what in ("Listeners", "Rules", "TargetGroups", "TargetHealth")
            ],
            "Resource": "*",
        },
        {
            "Sid": "Targets",
            "Action": ["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"],
            "Resource": [f"{place}:targetgroup/{group}/*" for group in target_group_names(service)],
        },
        {
            "Sid": "Weights",
            "Action": "elasticloadbalancing:ModifyRule",
            "Resource": f"{estate.listener.replace(':listener/', ':listener-rule/')}/*",
            "Condition": {"StringEquals": own},
        },
    ]
    return make_role(
        name,
        service,
        "infrastructure",
        trusted=trust("ecs.amazonaws.com", {}),
        statements=statements,
        tags=tags,
        opts=pulumi.ResourceOptions(parent=parent),
    )
