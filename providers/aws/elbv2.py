"""Elastic Load Balancing: target groups, listener rules; look-ups of load balancers and listeners."""

from __future__ import annotations

from typing import Any

from providers.base import (
    Context,
    Handler,
    Properties,
    ProviderError,
    completing,
    function,
    given,
    gone_tags,
    resource,
    tag_list,
    tag_map,
    the_one,
)


def _tags(context: Context, arn: str) -> dict[str, str]:
    found = context.client("elbv2").describe_tags(ResourceArns=[arn])["TagDescriptions"]
    return tag_map(found[0]["Tags"]) if found else {}


def _retag(context: Context, arn: str, after: dict[str, str] | None) -> None:
    elbv2 = context.client("elbv2")
    if gone := gone_tags(_tags(context, arn), after):
        elbv2.remove_tags(ResourceArns=[arn], TagKeys=gone)
    if after:
        elbv2.add_tags(ResourceArns=[arn], Tags=tag_list(after))


@resource
class TargetGroup(Handler):
    type = "aws:lb/targetGroup:TargetGroup"
    properties = frozenset(
        {
            "name",
            "port",
            "protocol",
            "vpcId",
            "targetType",
            "healthCheck",
            "deregistrationDelay",
            "slowStart",
            "stickiness",
            "loadBalancingAlgorithmType",
            "tags",
        }
    )
    replacing = frozenset({"name", "port", "protocol", "vpcId", "targetType", "protocolVersion", "ipAddressType"})
    # The emulator does not store these two; a change still replaces the group, as the provider does.
    remembered = frozenset({"protocolVersion", "ipAddressType"})
    defaults = {
        "deregistrationDelay": 300,
        "slowStart": 0,
        "targetType": "instance",
        "protocolVersion": "HTTP1",
        "ipAddressType": "ipv4",
        "tags": {},
    }
    name_property = "name"

    def find(self, inputs: Properties) -> str | None:
        elbv2 = self.context.client("elbv2")
        try:
            found = elbv2.describe_target_groups(Names=[inputs["name"]])["TargetGroups"]
        except elbv2.exceptions.TargetGroupNotFoundException:
            return None
        return str(found[0]["TargetGroupArn"]) if found else None

    def create(self, inputs: Properties) -> str:
        check = inputs.get("healthCheck", {})
        found = self.context.client("elbv2").create_target_group(
            **given(
                Name=inputs["name"],
                Port=inputs.get("port"),
                Protocol=inputs.get("protocol"),
                VpcId=inputs.get("vpcId"),
                TargetType=inputs.get("targetType"),
                ProtocolVersion=inputs.get("protocolVersion"),
                IpAddressType=inputs.get("ipAddressType"),
                Tags=tag_list(inputs.get("tags")) or None,
                HealthCheckEnabled=check.get("enabled"),
                **_health_check(check),
            )
        )
        arn = str(found["TargetGroups"][0]["TargetGroupArn"])
        with completing(arn):
            self._put_attributes(arn, inputs)
        return arn

    def _put_attributes(self, arn: str, inputs: Properties) -> None:
        stickiness = inputs.get("stickiness")
        attributes = given(
            **{
                "deregistration_delay.timeout_seconds": inputs.get("deregistrationDelay"),
                "slow_start.duration_seconds": inputs.get("slowStart"),
                "load_balancing.algorithm.type": inputs.get("loadBalancingAlgorithmType"),
            }
        )
        if stickiness:
            attributes |= given(
                **{
                    "stickiness.enabled": str(stickiness.get("enabled", True)).lower(),
                    "stickiness.type": stickiness.get("type"),
                    f"stickiness.{stickiness.get('type', 'lb_cookie')}.duration_seconds": stickiness.get(
                        "cookieDuration"
                    ),
                    "stickiness.app_cookie.cookie_name": stickiness.get("cookieName"),
                }
            )
        if attributes:
            self.context.client("elbv2").modify_target_group_attributes(
                TargetGroupArn=arn, Attributes=[{"Key": key, "Value": str(value)} for key, value in attributes.items()]
            )

    def read(self, locator: str) -> Properties | None:
        elbv2 = self.context.client("elbv2")
        try:
            found = elbv2.describe_target_groups(TargetGroupArns=[locator])["TargetGroups"][0]
        except elbv2.exceptions.TargetGroupNotFoundException:
            return None
        attributes = tag_map(elbv2.describe_target_group_attributes(TargetGroupArn=locator)["Attributes"])
        tags = _tags(self.context, locator)
        kind = attributes.get("stickiness.type", "lb_cookie")
        return {
            "id": locator,
            "arn": locator,
            "arnSuffix": locator.rsplit(":", 1)[1],
            "name": found["TargetGroupName"],
            "port": found.get("Port"),
            "protocol": found.get("Protocol"),
            "vpcId": found.get("VpcId"),
            "targetType": found["TargetType"],
            "loadBalancerArns": found.get("LoadBalancerArns", []),
            "deregistrationDelay": int(attributes.get("deregistration_delay.timeout_seconds", 300)),
            "slowStart": int(attributes.get("slow_start.duration_seconds", 0)),
            "loadBalancingAlgorithmType": attributes.get("load_balancing.algorithm.type", "round_robin"),
            "stickiness": {
                "enabled": attributes.get("stickiness.enabled") == "true",
                "type": kind,
                "cookieDuration": int(attributes.get(f"stickiness.{kind}.duration_seconds", 86400)),
                "cookieName": attributes.get("stickiness.app_cookie.cookie_name", ""),
            },
            "healthCheck": {
                "enabled": found["HealthCheckEnabled"],
                "path": found.get("HealthCheckPath"),
                "port": found["HealthCheckPort"],
                "protocol": found["HealthCheckProtocol"],
                "interval": found["HealthCheckIntervalSeconds"],
                "timeout": found["HealthCheckTimeoutSeconds"],
                "healthyThreshold": found["HealthyThresholdCount"],
                "unhealthyThreshold": found["UnhealthyThresholdCount"],
                "matcher": found.get("Matcher", {}).get("HttpCode"),
            },
            "tags": tags,
            "tagsAll": tags,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        if "healthCheck" in changed:
            check = inputs.get("healthCheck", {})
            self.context.client("elbv2").modify_target_group(
                TargetGroupArn=locator, HealthCheckEnabled=check.get("enabled", True), **_health_check(check)
            )
        if changed & {"deregistrationDelay", "slowStart", "stickiness", "loadBalancingAlgorithmType"}:
            self._put_attributes(locator, self.defaults | inputs)
        if "tags" in changed:
            _retag(self.context, locator, inputs.get("tags"))

    def delete(self, locator: str, recorded: Properties) -> None:
        if self.read(locator) is None:
            return
        elbv2 = self.context.client("elbv2")
        # AWS refuses to delete a target group that a rule forwards to; the emulator would not. Goes when it does.
        for balancer in elbv2.describe_load_balancers()["LoadBalancers"]:
            for listener in elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]:
                for rule in elbv2.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]:
                    if any(locator in _groups(action) for action in rule["Actions"]):
                        raise ProviderError(
                            f"ResourceInUse: Target group '{locator}' is currently in use by a listener "
                            f"or a rule ({rule['RuleArn']})"
                        )
        elbv2.delete_target_group(TargetGroupArn=locator)


def _groups(action: dict[str, Any]) -> set[str]:
    """ARNs of the target groups that an action forwards to."""
    groups = [action, *action.get("ForwardConfig", {}).get("TargetGroups", [])]
    return {group["TargetGroupArn"] for group in groups if "TargetGroupArn" in group}


def _health_check(check: Properties) -> dict[str, Any]:
    return given(
        HealthCheckPath=check.get("path"),
        HealthCheckPort=check.get("port"),
        HealthCheckProtocol=check.get("protocol"),
        HealthCheckIntervalSeconds=check.get("interval"),
        HealthCheckTimeoutSeconds=check.get("timeout"),
        HealthyThresholdCount=check.get("healthyThreshold"),
        UnhealthyThresholdCount=check.get("unhealthyThreshold"),
        Matcher={"HttpCode": check["matcher"]} if check.get("matcher") else None,
    )


# Pulumi's name of a condition, AWS's field, AWS's member.
CONDITIONS = (
    ("hostHeader", "host-header", "HostHeaderConfig"),
    ("pathPattern", "path-pattern", "PathPatternConfig"),
    ("httpRequestMethod", "http-request-method", "HttpRequestMethodConfig"),
    ("sourceIp", "source-ip", "SourceIpConfig"),
    ("httpHeader", "http-header", "HttpHeaderConfig"),
)


@resource
class ListenerRule(Handler):
    type = "aws:lb/listenerRule:ListenerRule"
    properties = frozenset({"listenerArn", "priority", "actions", "conditions", "transforms", "tags"})
    replacing = frozenset({"listenerArn"})
    defaults = {"transforms": [], "tags": {}}
    unordered = frozenset({"conditions"})

    def find(self, inputs: Properties) -> str | None:
        pages = self.context.client("elbv2").get_paginator("describe_rules").paginate(ListenerArn=inputs["listenerArn"])
        wanted = str(inputs.get("priority"))
        return next((str(r["RuleArn"]) for page in pages for r in page["Rules"] if r["Priority"] == wanted), None)

    def create(self, inputs: Properties) -> str:
        elbv2 = self.context.client("elbv2")
        rules = elbv2.describe_rules(ListenerArn=inputs["listenerArn"])["Rules"]
        taken = {int(rule["Priority"]) for rule in rules if not rule["IsDefault"]}
        # Without a priority the provider takes the first free one after the highest.
        priority = inputs.get("priority") or max(taken, default=0) + 1
        self._check_priority(priority, taken)
        found = elbv2.create_rule(
            ListenerArn=inputs["listenerArn"],
            Priority=priority,
            Conditions=_conditions(inputs["conditions"]),
            Actions=_actions(inputs["actions"]),
            Transforms=_transforms(inputs.get("transforms", [])),
            **given(Tags=tag_list(inputs.get("tags")) or None),
        )
        return str(found["Rules"][0]["RuleArn"])

    def _check_priority(self, priority: int, taken: set[int]) -> None:
        # The emulator would make a second rule with this priority. Goes when it answers PriorityInUse.
        if priority in taken:
            raise ProviderError(
                f"creating ELBv2 Listener Rule: PriorityInUse: Priority '{priority}' is currently in use"
            )

    def read(self, locator: str) -> Properties | None:
        elbv2 = self.context.client("elbv2")
        found = next(iter(elbv2.describe_rules(RuleArns=[locator])["Rules"]), None)
        if found is None:
            return None
        tags = _tags(self.context, locator)
        return {
            "id": locator,
            "arn": locator,
            "priority": int(found["Priority"]),
            "listenerArn": locator.rsplit("/", 1)[0].replace(":listener-rule/", ":listener/"),
            "conditions": [_read_condition(condition) for condition in found["Conditions"]],
            "actions": [_read_action(action) for action in found["Actions"]],
            "transforms": [_read_transform(transform) for transform in found.get("Transforms", [])],
            "tags": tags,
            "tagsAll": tags,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        elbv2 = self.context.client("elbv2")
        if "priority" in changed:
            rules = elbv2.describe_rules(ListenerArn=inputs["listenerArn"])["Rules"]
            self._check_priority(inputs["priority"], {int(r["Priority"]) for r in rules if not r["IsDefault"]})
            elbv2.set_rule_priorities(RulePriorities=[{"RuleArn": locator, "Priority": inputs["priority"]}])
        if changed & {"actions", "conditions", "transforms"}:
            transforms = _transforms(inputs.get("transforms", []))
            elbv2.modify_rule(
                RuleArn=locator,
                Conditions=_conditions(inputs["conditions"]),
                Actions=_actions(inputs["actions"]),
                **({"Transforms": transforms} if transforms else {"ResetTransforms": True}),
            )
        if "tags" in changed:
            _retag(self.context, locator, inputs.get("tags"))

    def delete(self, locator: str, recorded: Properties) -> None:
        self.context.client("elbv2").delete_rule(RuleArn=locator)


def _conditions(conditions: list[Properties]) -> list[dict[str, Any]]:
    wanted: list[dict[str, Any]] = []
    for condition in conditions:
        for name, kind, member in CONDITIONS:
            if value := condition.get(name):
                wanted.append(
                    {
                        "Field": kind,
                        member: given(
                            Values=value.get("values"),
                            RegexValues=value.get("regexValues"),
                            HttpHeaderName=value.get("httpHeaderName"),
                        ),
                    }
                )
        if queries := condition.get("queryStrings"):
            wanted.append(
                {
                    "Field": "query-string",
                    "QueryStringConfig": {
                        "Values": [given(Key=query.get("key"), Value=query["value"]) for query in queries]
                    },
                }
            )
    return wanted


def _read_condition(condition: dict[str, Any]) -> Properties:
    for name, kind, member in CONDITIONS:
        if condition["Field"] == kind:
            config = condition.get(member, {})
            return {
                name: given(
                    values=config.get("Values") or condition.get("Values") or [],
                    regexValues=config.get("RegexValues"),
                    httpHeaderName=config.get("HttpHeaderName"),
                )
            }
    values = condition.get("QueryStringConfig", {}).get("Values", [])
    return {"queryStrings": [given(key=value.get("Key"), value=value.get("Value")) for value in values]}


def _actions(actions: list[Properties]) -> list[dict[str, Any]]:
    wanted = []
    for action in actions:
        redirect, fixed, forward = action.get("redirect"), action.get("fixedResponse"), action.get("forward")
        wanted.append(
            given(
                Type=action["type"],
                Order=action.get("order"),
                TargetGroupArn=action.get("targetGroupArn"),
                RedirectConfig=given(
                    **{
                        member: redirect.get(member.lower()) for member in ("Protocol", "Port", "Host", "Path", "Query")
                    },
                    StatusCode=redirect["statusCode"],
                )
                if redirect
                else None,
                FixedResponseConfig=given(
                    ContentType=fixed["contentType"],
                    MessageBody=fixed.get("messageBody"),
                    StatusCode=str(fixed["statusCode"]),
                )
                if fixed
                else None,
                ForwardConfig={
                    "TargetGroups": [
                        given(TargetGroupArn=group["arn"], Weight=group.get("weight"))
                        for group in forward["targetGroups"]
                    ]
                }
                if forward
                else None,
            )
        )
    return wanted


def _read_action(action: dict[str, Any]) -> Properties:
    redirect, fixed, forward = (action.get(name) for name in ("RedirectConfig", "FixedResponseConfig", "ForwardConfig"))
    return given(
        type=action["Type"],
        order=action.get("Order"),
        targetGroupArn=action.get("TargetGroupArn"),
        redirect={name[0].lower() + name[1:]: value for name, value in redirect.items()} if redirect else None,
        fixedResponse={name[0].lower() + name[1:]: value for name, value in fixed.items()} if fixed else None,
        forward={
            "targetGroups": [
                {"arn": group["TargetGroupArn"], "weight": group.get("Weight")} for group in forward["TargetGroups"]
            ]
        }
        if forward
        else None,
    )


TRANSFORMS = (("urlRewriteConfig", "UrlRewriteConfig"), ("hostHeaderRewriteConfig", "HostHeaderRewriteConfig"))


def _transforms(transforms: list[Properties]) -> list[dict[str, Any]]:
    return [
        {"Type": transform["type"]}
        | {
            member: {
                "Rewrites": [
                    {"Regex": transform[name]["rewrite"]["regex"], "Replace": transform[name]["rewrite"]["replace"]}
                ]
            }
            for name, member in TRANSFORMS
            if transform.get(name)
        }
        for transform in transforms
    ]


def _read_transform(transform: dict[str, Any]) -> Properties:
    return {"type": transform["Type"]} | {
        name: {"rewrite": {key.lower(): value for key, value in transform[member]["Rewrites"][0].items()}}
        for name, member in TRANSFORMS
        if transform.get(member)
    }


@function("aws:lb/getLoadBalancer:getLoadBalancer", "name", "arn", "tags")
def get_load_balancer(context: Context, args: Properties) -> Properties:
    pages = context.client("elbv2").get_paginator("describe_load_balancers").paginate()
    found = the_one(
        [
            balancer
            for page in pages
            for balancer in page["LoadBalancers"]
            if balancer["LoadBalancerName"] == args.get("name", balancer["LoadBalancerName"])
            and balancer["LoadBalancerArn"] == args.get("arn", balancer["LoadBalancerArn"])
            and args.get("tags", {}).items() <= _tags(context, balancer["LoadBalancerArn"]).items()
        ],
        "ELBv2 Load Balancer",
        args,
    )
    arn = found["LoadBalancerArn"]
    return {
        "id": arn,
        "arn": arn,
        "arnSuffix": arn.split(":loadbalancer/", 1)[1],
        "name": found["LoadBalancerName"],
        "dnsName": found["DNSName"],
        "zoneId": found.get("CanonicalHostedZoneId", ""),
        "vpcId": found["VpcId"],
        "internal": found["Scheme"] == "internal",
        "loadBalancerType": found["Type"],
        "securityGroups": found.get("SecurityGroups", []),
        "ipAddressType": found.get("IpAddressType", "ipv4"),
        "subnets": [zone["SubnetId"] for zone in found.get("AvailabilityZones", []) if zone.get("SubnetId")],
        "tags": _tags(context, arn),
    }


@function("aws:lb/getListener:getListener", "arn", "loadBalancerArn", "port")
def get_listener(context: Context, args: Properties) -> Properties:
    elbv2 = context.client("elbv2")
    if "arn" in args:
        found = elbv2.describe_listeners(ListenerArns=[args["arn"]])["Listeners"]
    else:
        found = [
            listener
            for listener in elbv2.describe_listeners(LoadBalancerArn=args["loadBalancerArn"])["Listeners"]
            if listener["Port"] == args.get("port", listener["Port"])
        ]
    listener = the_one(found, "ELBv2 Listener", args)
    certificates = listener.get("Certificates", [])
    return {
        "id": listener["ListenerArn"],
        "arn": listener["ListenerArn"],
        "port": listener["Port"],
        "protocol": listener["Protocol"],
        "loadBalancerArn": listener["LoadBalancerArn"],
        "sslPolicy": listener.get("SslPolicy", ""),
        "tags": _tags(context, listener["ListenerArn"]),
        "certificateArn": certificates[0]["CertificateArn"] if certificates else "",
        "defaultActions": [_read_action(action) for action in listener["DefaultActions"]],
    }
