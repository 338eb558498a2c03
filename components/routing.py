"""How a service is reached: listener rules and target group from outside, Cloud Map and a parameter inside the VPC."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from components import traffic_shift
from components.estate import Estate
from components.listener_rules import ListenerRule, host_regex
from components.names import other_port, target_group_name
from components.settings import HostRouting, PublicRouting, Service, ValkeyState


def internal_url(service: Service, estate: Estate) -> str:
    """The service's address inside the VPC, without a trailing slash."""
    return f"http://{service.discovery_name}.{estate.namespace_name}:{service.port}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoutingArgs:
    """What a service's routing is made of."""

    service: Service
    """The service's settings; strategy, port and health decide which resources there are."""
    estate: Estate
    """Where it is attached."""
    tags: dict[str, str]
    """Tags for every taggable resource."""
    parameter_prefix: str
    """Path under which the address for consumers is stored in Parameter Store, without a trailing slash."""


class Routing(pulumi.ComponentResource):
    """Target group, listener rules, discovery, and security group of a service."""

    target_group_arn: pulumi.Output[str] | None
    """That of the tasks' target group, or of the first of two. Known once a rule forwards to it (ECS refuses one
    without a load balancer); None for an internal service."""
    shift: traffic_shift.Shift | None
    """What ECS needs to shift requests to a second group; None where deployments are rolling."""
    discovery_arn: pulumi.Output[str]
    """The Cloud Map service's ARN."""
    security_groups: list[pulumi.Input[str]]
    """Ids of the tasks' security groups."""
    internal_url: str
    """The address in the VPC, `http://name.namespace:port`."""
    consumer_variable: str
    """Name of the environment variable that consumers take the MCP address from."""
    parameter_name: pulumi.Output[str]
    """Name of the parameter that holds the MCP address."""

    def __init__(self, name: str, args: RoutingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mcp-on-ecs:index:Routing", name, None, opts)
        self._name, self._args, self._child = name, args, pulumi.ResourceOptions(parent=self)
        service = args.service
        self.internal_url = internal_url(service, args.estate)
        self.consumer_variable = f"MCP_{service.key.replace('-', '_').upper()}_URL"
        self.shift = None
        self.target_group_arn = self._from_outside(service.public) if service.public else None
        self.discovery_arn = self._discovery()
        self.security_groups = list(self._security_groups())
        self.parameter_name = aws.ssm.Parameter(
            f"{name}-address",
            name=f"{args.parameter_prefix}/{self.consumer_variable}",
            type="String",
            value=f"{self.internal_url}/mcp",
            description=f"Where {service.key} answers inside the VPC",
            tags=args.tags,
            opts=self._child,
        ).name
        self.register_outputs(
            {
                "targetGroupArn": self.target_group_arn,
                "discoveryArn": self.discovery_arn,
                "internalUrl": self.internal_url,
            }
        )

    def _from_outside(self, routing: PublicRouting) -> pulumi.Output[str]:
        args, service = self._args, self._args.service
        found = args.estate.shares.get(service.key, {})
        groups = {name: self._target_group(name) for name in traffic_shift.group_names(service, found)}
        arns = {name: group.arn for name, group in groups.items()}
        assert args.estate.listener  # Settings refuse public routing without a load balancer.
        rules = [
            aws.lb.ListenerRule(
                # Named by place, not by part: with another strategy the rule is changed, where a new one would find its
                # priority taken by the old one.
                f"{self._name}-rule-{number}",
                listener_arn=args.estate.listener,
                priority=rule.priority,
                conditions=_conditions(rule),
                transforms=[_transform(*rule.rewrite)] if rule.rewrite else None,
                actions=[traffic_shift.forward(service, arns, found)],
                tags=args.tags,
                opts=pulumi.ResourceOptions(
                    parent=self,
                    ignore_changes=["actions"] if traffic_shift.weights_are_of_ecs(service, found) else None,
                ),
            )
            for number, rule in enumerate(service.listener_rules, 1)
        ]
        if isinstance(routing, HostRouting) and routing.hosted_zone:
            assert args.estate.load_balancer_dns_name and args.estate.load_balancer_zone
            for type_ in ("A", "AAAA") if args.estate.load_balancer_dual_stack else ("A",):
                aws.route53.Record(
                    f"{self._name}-record{'' if type_ == 'A' else '-ipv6'}",
                    zone_id=args.estate.hosted_zones[routing.hosted_zone],
                    name=routing.host,
                    type=type_,
                    aliases=[
                        {
                            "name": args.estate.load_balancer_dns_name,
                            "zone_id": args.estate.load_balancer_zone,
                            "evaluate_target_health": True,
                        }
                    ],
                    opts=self._child,
                )
        first, *others = [
            pulumi.Output.all(arn, *[rule.arn for rule in rules]).apply(lambda known: str(known[0]))
            for arn in arns.values()
        ]
        if others:
            (rule,) = rules  # Settings refuse to shift the requests of several.
            role, needed = traffic_shift.infrastructure_role(self._name, service, args.estate, args.tags, self)
            self.shift = traffic_shift.Shift(alternate_arn=others[0], rule_arn=rule.arn, role_arn=role, needed=needed)
        return first

    def _target_group(self, name: str) -> aws.lb.TargetGroup:
        args, service, health = self._args, self._args.service, self._args.service.health
        second = "" if name == target_group_name(service) else "second"
        return aws.lb.TargetGroup(
            # Another resource for another port, not a replacement of this one: where the change fails, both groups are
            # in the state, and to go back is to lead the rules to the old one. A replaced group would still be there,
            # waiting for its deletion, and its name would be taken.
            "-".join(filter(None, (self._name, second, "target-group", other_port(service)))),
            name=name,
            vpc_id=args.estate.vpc,
            port=service.port,
            protocol="HTTP",
            target_type="ip",
            deregistration_delay=service.longest_request,
            health_check={
                "path": health.path,
                "port": "traffic-port",
                "protocol": "HTTP",
                "matcher": "200",
                "interval": health.interval,
                "timeout": health.timeout,
                "healthy_threshold": health.healthy_threshold,
                "unhealthy_threshold": health.unhealthy_threshold,
            },
            tags=args.tags,
            opts=self._child,
        )

    def _discovery(self) -> pulumi.Output[str]:
        args, discovery = self._args, self._args.service.discovery
        return aws.servicediscovery.Service(
            f"{self._name}-discovery",
            name=args.service.discovery_name,
            dns_config={
                "namespace_id": args.estate.namespace,
                "routing_policy": "MULTIVALUE",
                "dns_records": [{"type": type_, "ttl": discovery.ttl} for type_ in ("A", "SRV")],
            },
            health_check_custom_config={"failure_threshold": 1},
            # ECS takes the last task's address back some time after its service is gone, and until then AWS refuses.
            force_destroy=True,
            tags=args.tags,
            opts=self._child,
        ).arn

    def _security_groups(self) -> Sequence[pulumi.Input[str]]:
        args, service = self._args, self._args.service
        if service.security_groups:
            return [args.estate.security_groups[name] for name in service.security_groups]
        group = aws.ec2.SecurityGroup(
            f"{self._name}-security-group",
            name=service.name,
            description=f"Tasks of {service.name}",
            vpc_id=args.estate.vpc,
            tags={**args.tags, "Name": service.name},
            opts=self._child,
        )
        balancers = args.estate.load_balancer_security_groups if service.public else ()
        # One rule for each group, by whatever names it is there: AWS refuses the same rule once more.
        callers = {id_: f"load-balancer-{number}" for number, id_ in enumerate(balancers, 1)}
        for name in service.consumers:
            callers.setdefault(args.estate.security_groups[name], name)
        for id_, caller in callers.items():
            aws.vpc.SecurityGroupIngressRule(
                f"{self._name}-from-{caller}",
                security_group_id=group.id,
                referenced_security_group_id=id_,
                ip_protocol="tcp",
                from_port=service.port,
                to_port=service.port,
                description=f"MCP from {caller}",
                tags=args.tags,
                opts=self._child,
            )
        outward = {"https": (443, "0.0.0.0/0")}  # Google, and AWS's own endpoints.
        state = service.oauth_state
        if isinstance(state, ValkeyState) and not state.made:
            for number, cidr in enumerate(args.estate.vpc_cidrs, 1):
                outward["oauth-state" if number == 1 else f"oauth-state-{number}"] = (state.port, cidr)
        for purpose, (port, cidr) in outward.items():
            aws.vpc.SecurityGroupEgressRule(
                f"{self._name}-to-{purpose}",
                security_group_id=group.id,
                cidr_ipv4=cidr,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                description=purpose,
                tags=args.tags,
                opts=self._child,
            )
        return [group.id]


def _conditions(rule: ListenerRule) -> list[aws.lb.ListenerRuleConditionArgsDict]:
    regex = host_regex(rule.host)
    host: aws.lb.ListenerRuleConditionArgsDict = {
        "host_header": {"regex_values": [regex]} if regex else {"values": [rule.host]}
    }
    return [host, {"path_pattern": {"values": list(rule.paths)}}] if rule.paths else [host]


def _transform(regex: str, replace: str) -> aws.lb.ListenerRuleTransformArgsDict:
    return {"type": "url-rewrite", "url_rewrite_config": {"rewrite": {"regex": regex, "replace": replace}}}
