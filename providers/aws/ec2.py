"""EC2: security groups and their rules; look-ups of VPCs, subnets and security groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from providers.base import (
    Context,
    Handler,
    NotCarriedOut,
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

# The emulated EC2 ignores filters that it does not know, and would find too much. Goes when it refuses them.
FILTERS = {
    "vpc": {"vpc-id", "cidr", "cidr-block-association.cidr-block", "state", "owner-id", "is-default"},
    "subnet": {"vpc-id", "availability-zone", "subnet-id", "cidr-block", "cidr", "default-for-az"},
    "security group": {"vpc-id", "group-name"},
}


def _retag(context: Context, resource_id: str, before: dict[str, str], after: dict[str, str] | None) -> None:
    ec2 = context.client("ec2")
    if gone := gone_tags(before, after):
        ec2.delete_tags(Resources=[resource_id], Tags=[{"Key": key} for key in gone])
    if after:
        ec2.create_tags(Resources=[resource_id], Tags=tag_list(after))


def _arn_prefix(context: Context) -> str:
    return f"arn:aws:ec2:{context.account.region}:{context.account.account}"


def _tags_for(kind: str, tags: dict[str, str] | None) -> list[dict[str, Any]] | None:
    return [{"ResourceType": kind, "Tags": tag_list(tags)}] if tags else None


@resource
class SecurityGroup(Handler):
    type = "aws:ec2/securityGroup:SecurityGroup"
    properties = frozenset({"name", "description", "vpcId", "tags"})
    replacing = frozenset({"name", "description", "vpcId"})
    steering = frozenset({"revokeRulesOnDelete"})
    defaults = {"description": "Managed by Pulumi", "tags": {}}
    name_property = "name"

    def find(self, inputs: Properties) -> str | None:
        by = {"group-name": inputs["name"], "vpc-id": inputs["vpcId"]}
        filters = [{"Name": name, "Values": [value]} for name, value in by.items()]
        found = self.context.client("ec2").describe_security_groups(Filters=filters)["SecurityGroups"]
        return str(found[0]["GroupId"]) if found else None

    def create(self, inputs: Properties) -> str:
        ec2 = self.context.client("ec2")
        group = str(
            ec2.create_security_group(
                **given(
                    GroupName=inputs["name"],
                    Description=inputs.get("description", "Managed by Pulumi"),
                    VpcId=inputs.get("vpcId"),
                    TagSpecifications=_tags_for("security-group", inputs.get("tags")),
                )
            )["GroupId"]
        )
        # AWS gives every new group a rule that lets everything out; the provider takes it away at once.
        with completing(group):
            rules = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissionsEgress"]
            if rules:
                ec2.revoke_security_group_egress(GroupId=group, IpPermissions=rules)
        return group

    def read(self, locator: str) -> Properties | None:
        try:
            found = self.context.client("ec2").describe_security_groups(GroupIds=[locator])["SecurityGroups"][0]
        except ClientError as error:
            if error.response["Error"]["Code"] == "InvalidGroup.NotFound":
                return None
            raise
        return _group_properties(self.context, found)

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        _retag(self.context, locator, (self.read(locator) or {})["tags"], inputs.get("tags"))

    def delete(self, locator: str, recorded: Properties) -> None:
        if self.read(locator) is not None:
            self.context.client("ec2").delete_security_group(GroupId=locator)


def _group_properties(context: Context, found: dict[str, Any]) -> Properties:
    tags = tag_map(found.get("Tags"))
    return {
        "id": found["GroupId"],
        "name": found["GroupName"],
        "description": found["Description"],
        "vpcId": found["VpcId"],
        "ownerId": found["OwnerId"],
        "tags": tags,
        "tagsAll": tags,
        "arn": f"{_arn_prefix(context)}:security-group/{found['GroupId']}",
    }


class SecurityGroupRule(Handler):
    egress: ClassVar[bool]
    properties = frozenset(
        {
            "securityGroupId",
            "ipProtocol",
            "fromPort",
            "toPort",
            "cidrIpv4",
            "cidrIpv6",
            "prefixListId",
            "referencedSecurityGroupId",
            "description",
            "tags",
        }
    )
    replacing = frozenset({"securityGroupId"})
    defaults = {
        "fromPort": None,
        "toPort": None,
        "cidrIpv4": None,
        "cidrIpv6": None,
        "prefixListId": None,
        "referencedSecurityGroupId": None,
        "description": "",
        "tags": {},
    }

    def find(self, inputs: Properties) -> str | None:
        # AWS takes two rules of one group for the same if these agree, and refuses the second.
        same = ("ipProtocol", "fromPort", "toPort", "cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")
        if not (group := inputs.get("securityGroupId")):
            return None
        filters = [{"Name": "group-id", "Values": [group]}]
        pages = self.context.client("ec2").get_paginator("describe_security_group_rules").paginate(Filters=filters)
        rules = (rule for page in pages for rule in page["SecurityGroupRules"])
        ids = (str(rule["SecurityGroupRuleId"]) for rule in rules if rule["IsEgress"] == self.egress)
        return next((id_ for id_ in ids if self._same(id_, inputs, same)), None)

    def _same(self, locator: str, inputs: Properties, names: Iterable[str]) -> bool:
        found = self.read(locator) or {}
        return all(self.equal(name, inputs.get(name), found.get(name), inputs) for name in names)

    def create(self, inputs: Properties) -> str:
        described = given(Description=inputs.get("description") or None)
        permission = given(
            IpProtocol=inputs["ipProtocol"],
            FromPort=inputs.get("fromPort"),
            ToPort=inputs.get("toPort"),
            IpRanges=[{"CidrIp": inputs["cidrIpv4"], **described}] if "cidrIpv4" in inputs else None,
            Ipv6Ranges=[{"CidrIpv6": inputs["cidrIpv6"], **described}] if "cidrIpv6" in inputs else None,
            PrefixListIds=[{"PrefixListId": inputs["prefixListId"], **described}] if "prefixListId" in inputs else None,
            UserIdGroupPairs=[{"GroupId": inputs["referencedSecurityGroupId"], **described}]
            if "referencedSecurityGroupId" in inputs
            else None,
        )
        ec2 = self.context.client("ec2")
        authorize = ec2.authorize_security_group_egress if self.egress else ec2.authorize_security_group_ingress
        found = authorize(
            **given(
                GroupId=inputs["securityGroupId"],
                IpPermissions=[permission],
                TagSpecifications=_tags_for("security-group-rule", inputs.get("tags")),
            )
        )
        return str(found["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def _find(self, locator: str) -> dict[str, Any] | None:
        try:
            rules = self.context.client("ec2").describe_security_group_rules(SecurityGroupRuleIds=[locator])
        except ClientError as error:
            if error.response["Error"]["Code"] == "InvalidSecurityGroupRuleId.NotFound":
                return None
            raise
        return next(iter(rules["SecurityGroupRules"]), None)

    def read(self, locator: str) -> Properties | None:
        found = self._find(locator)
        if found is None:
            return None
        tags = tag_map(found.get("Tags"))
        every_port = found["IpProtocol"] == "-1"
        return {
            "id": locator,
            "securityGroupRuleId": locator,
            "securityGroupId": found["GroupId"],
            "arn": f"{_arn_prefix(self.context)}:security-group-rule/{locator}",
            "ipProtocol": found["IpProtocol"],
            "description": found.get("Description", ""),
            "fromPort": None if every_port else found.get("FromPort"),
            "toPort": None if every_port else found.get("ToPort"),
            "cidrIpv4": found.get("CidrIpv4"),
            "cidrIpv6": found.get("CidrIpv6"),
            "prefixListId": found.get("PrefixListId"),
            "referencedSecurityGroupId": found.get("ReferencedGroupInfo", {}).get("GroupId"),
            "tags": tags,
            "tagsAll": tags,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        if changed - {"tags"}:
            self.context.client("ec2").modify_security_group_rules(
                GroupId=inputs["securityGroupId"],
                SecurityGroupRules=[
                    {
                        "SecurityGroupRuleId": locator,
                        "SecurityGroupRule": given(
                            IpProtocol=inputs["ipProtocol"],
                            FromPort=inputs.get("fromPort"),
                            ToPort=inputs.get("toPort"),
                            CidrIpv4=inputs.get("cidrIpv4"),
                            CidrIpv6=inputs.get("cidrIpv6"),
                            PrefixListId=inputs.get("prefixListId"),
                            ReferencedGroupId=inputs.get("referencedSecurityGroupId"),
                            Description=inputs.get("description", ""),
                        ),
                    }
                ],
            )
        if "tags" in changed:
            _retag(self.context, locator, (self.read(locator) or {})["tags"], inputs.get("tags"))

    def delete(self, locator: str, recorded: Properties) -> None:
        found = self._find(locator)
        if found is not None:
            ec2 = self.context.client("ec2")
            revoke = ec2.revoke_security_group_egress if self.egress else ec2.revoke_security_group_ingress
            revoke(GroupId=found["GroupId"], SecurityGroupRuleIds=[locator])


@resource
class SecurityGroupIngressRule(SecurityGroupRule):
    type = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    egress = False


@resource
class SecurityGroupEgressRule(SecurityGroupRule):
    type = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    egress = True


def _filters(noun: str, args: Properties, **named: Any) -> list[dict[str, Any]]:
    filters = [
        {"Name": name.replace("_", "-"), "Values": [str(value)]} for name, value in named.items() if value is not None
    ]
    for entry in args.get("filters", []):
        if entry["name"] not in FILTERS[noun] and not entry["name"].startswith("tag"):
            raise NotCarriedOut(f"the filter {entry['name']} of a look-up of {noun}s", "ec2")
        filters.append({"Name": entry["name"], "Values": entry["values"]})
    filters += [{"Name": f"tag:{key}", "Values": [value]} for key, value in args.get("tags", {}).items()]
    return filters


@function("aws:ec2/getVpc:getVpc", "id", "tags", "filters", "cidrBlock", "default", "state")
def get_vpc(context: Context, args: Properties) -> Properties:
    default = args.get("default")
    filters = _filters(
        "vpc",
        args,
        vpc_id=args.get("id"),
        cidr=args.get("cidrBlock"),
        state=args.get("state"),
        is_default=None if default is None else str(default).lower(),
    )
    found = the_one(context.client("ec2").describe_vpcs(Filters=filters)["Vpcs"], "EC2 VPC", args)
    return {
        "id": found["VpcId"],
        "cidrBlock": found["CidrBlock"],
        "cidrBlockAssociations": [
            {
                "associationId": association["AssociationId"],
                "cidrBlock": association["CidrBlock"],
                "state": association["CidrBlockState"]["State"],
            }
            for association in found.get("CidrBlockAssociationSet", [])
        ],
        "state": found["State"],
        "default": found["IsDefault"],
        "instanceTenancy": found["InstanceTenancy"],
        "ownerId": found["OwnerId"],
        "tags": tag_map(found.get("Tags")),
        "dhcpOptionsId": found["DhcpOptionsId"],
        "arn": f"{_arn_prefix(context)}:vpc/{found['VpcId']}",
    }


def _subnet_properties(context: Context, found: dict[str, Any]) -> Properties:
    return {
        "id": found["SubnetId"],
        "vpcId": found["VpcId"],
        "cidrBlock": found["CidrBlock"],
        "state": found["State"],
        "availabilityZone": found["AvailabilityZone"],
        "availabilityZoneId": found.get("AvailabilityZoneId"),
        "availableIpAddressCount": found["AvailableIpAddressCount"],
        "defaultForAz": found["DefaultForAz"],
        "mapPublicIpOnLaunch": found["MapPublicIpOnLaunch"],
        "ownerId": found.get("OwnerId"),
        "tags": tag_map(found.get("Tags")),
        "arn": f"{_arn_prefix(context)}:subnet/{found['SubnetId']}",
    }


@function("aws:ec2/getSubnet:getSubnet", "id", "cidrBlock", "vpcId", "availabilityZone", "tags", "filters")
def get_subnet(context: Context, args: Properties) -> Properties:
    filters = _filters(
        "subnet",
        args,
        subnet_id=args.get("id"),
        cidr_block=args.get("cidrBlock"),
        vpc_id=args.get("vpcId"),
        availability_zone=args.get("availabilityZone"),
    )
    found = context.client("ec2").describe_subnets(Filters=filters)["Subnets"]
    return _subnet_properties(context, the_one(found, "EC2 Subnet", args))


@function("aws:ec2/getSubnets:getSubnets", "filters", "tags")
def get_subnets(context: Context, args: Properties) -> Properties:
    found = context.client("ec2").describe_subnets(Filters=_filters("subnet", args))["Subnets"]
    return {
        "id": context.account.region,
        "ids": [subnet["SubnetId"] for subnet in found],
        "filters": args.get("filters", []),
        "tags": args.get("tags", {}),
    }


@function("aws:ec2/getSecurityGroup:getSecurityGroup", "id", "name", "vpcId", "tags", "filters")
def get_security_group(context: Context, args: Properties) -> Properties:
    filters = _filters("security group", args, group_name=args.get("name"), vpc_id=args.get("vpcId"))
    ids = [args["id"]] if "id" in args else []
    try:
        found = context.client("ec2").describe_security_groups(Filters=filters, GroupIds=ids)["SecurityGroups"]
    except ClientError as error:
        raise ProviderError(f"reading EC2 Security Group: {error}") from error
    return _group_properties(context, the_one(found, "EC2 Security Group", args))


@function("aws:ec2/getSecurityGroups:getSecurityGroups", "filters", "tags")
def get_security_groups(context: Context, args: Properties) -> Properties:
    found = context.client("ec2").describe_security_groups(Filters=_filters("security group", args))["SecurityGroups"]
    groups = [_group_properties(context, group) for group in found]
    return {
        "id": context.account.region,
        "ids": [group["id"] for group in groups],
        "arns": [group["arn"] for group in groups],
        "vpcIds": [group["vpcId"] for group in groups],
        "filters": args.get("filters", []),
        "tags": args.get("tags", {}),
    }
