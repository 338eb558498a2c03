"""Load balancing, discovery, security groups, DNS."""

from components.delivery.right import Right, arn, bare_arn, gets_own_tags, global_arn, has_own_tags, own_tags

_GROUPS, _GROUP_RULES = arn("ec2", "security-group/*"), arn("ec2", "security-group-rule/*")
_DISCOVERY = arn("servicediscovery", "service/*")

RIGHTS: dict[str, tuple[Right, ...]] = {
    "aws:lb/targetGroup:TargetGroup": (
        Right(
            sid="TargetGroups",
            on=(arn("elasticloadbalancing", "targetgroup/{its.name}/*"),),
            write=(
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:CreateTargetGroup",
                "elasticloadbalancing:DeleteTargetGroup",
                "elasticloadbalancing:ModifyTargetGroup",
                "elasticloadbalancing:ModifyTargetGroupAttributes",
                "elasticloadbalancing:RemoveTags",
            ),
        ),
    ),
    # The listener is shared, and its rules' ARNs are made up by AWS: ours are known by their tags.
    "aws:lb/listenerRule:ListenerRule": (
        Right(
            sid="NewRules",
            on=("{listener}",),
            write=("elasticloadbalancing:CreateRule",),
            condition=gets_own_tags(),
        ),
        Right(
            sid="NewRulesTags",
            on=("{listener_rule}/*",),
            write=("elasticloadbalancing:AddTags",),
            condition={"StringEquals": {"elasticloadbalancing:CreateAction": "CreateRule"}},
        ),
        Right(
            sid="Rules",
            on=("{listener_rule}/*",),
            write=(
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:DeleteRule",
                "elasticloadbalancing:ModifyRule",
                "elasticloadbalancing:RemoveTags",
                "elasticloadbalancing:SetRulePriorities",
            ),
            condition=has_own_tags(),
        ),
        Right(
            # Of a service whose requests ECS shifts, under a role of its own.
            sid="PassShiftingRoles",
            on=(global_arn("iam", "role/{its.name}"),),
            of="aws:iam/role:Role",
            sibling="aws:lb/listenerRule:ListenerRule",
            write=("iam:PassRole",),
            condition={"StringEquals": {"iam:PassedToService": "ecs.amazonaws.com"}},
        ),
    ),
    # Ids are made up by AWS, so here too tags say which are ours.
    "aws:servicediscovery/service:Service": (
        Right(
            # On the namespace as well, which is not ours and has tags of others.
            sid="NewDiscovery",
            on=(arn("servicediscovery", "namespace/{namespace}"), _DISCOVERY),
            write=("servicediscovery:CreateService",),
            condition=gets_own_tags(),
        ),
        Right(
            # The service authorization reference has no resources for these two, so it takes *. A new service has no
            # tags yet, and what has others is somebody else's.
            sid="DiscoveryTags",
            write=("servicediscovery:TagResource", "servicediscovery:UntagResource"),
            condition={"StringEqualsIfExists": own_tags("aws:ResourceTag")},
        ),
        Right(
            sid="Discovery",
            on=(_DISCOVERY,),
            read=("servicediscovery:GetService",),
            write=(
                "servicediscovery:DeleteService",
                # Before a service is deleted, what is registered still is taken back.
                "servicediscovery:DeregisterInstance",
                "servicediscovery:ListInstances",
                "servicediscovery:UpdateService",
            ),
            condition=has_own_tags(),
        ),
        Right(
            # A changed TTL is an operation of Cloud Map's, which the provider waits for.
            sid="DiscoveryWaits",
            on=(arn("servicediscovery", "namespace/{namespace}"), _DISCOVERY),
            write=("servicediscovery:GetOperation",),
        ),
    ),
    "aws:ec2/securityGroup:SecurityGroup": (
        Right(
            sid="NewSecurityGroups",
            on=(_GROUPS,),
            write=("ec2:CreateSecurityGroup",),
            condition=gets_own_tags(),
        ),
        Right(
            sid="SecurityGroupsVpc",
            on=(arn("ec2", "vpc/{vpc}"),),
            write=("ec2:CreateSecurityGroup",),
        ),
        Right(
            sid="NewSecurityGroupsTags",
            on=(_GROUPS, _GROUP_RULES),
            write=("ec2:CreateTags",),
            condition={
                "StringEquals": {
                    "ec2:CreateAction": (
                        "CreateSecurityGroup",
                        "AuthorizeSecurityGroupEgress",
                        "AuthorizeSecurityGroupIngress",
                    )
                }
            },
        ),
        Right(
            sid="SecurityGroups",
            on=(_GROUPS,),
            write=(
                "ec2:AuthorizeSecurityGroupEgress",
                "ec2:AuthorizeSecurityGroupIngress",
                "ec2:CreateTags",
                "ec2:DeleteSecurityGroup",
                "ec2:DeleteTags",
                "ec2:ModifySecurityGroupRules",
                "ec2:RevokeSecurityGroupEgress",
                "ec2:RevokeSecurityGroupIngress",
            ),
            condition=has_own_tags(),
        ),
        Right(
            sid="SecurityGroupRules",
            on=(_GROUP_RULES,),
            write=("ec2:CreateTags", "ec2:DeleteTags", "ec2:ModifySecurityGroupRules"),
            condition=has_own_tags(),
        ),
        Right(
            # The rule that is being made has no tags but those asked for.
            sid="NewSecurityGroupRules",
            on=(_GROUP_RULES,),
            write=("ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress"),
            condition=gets_own_tags(),
        ),
        # Before a group goes, the provider looks for what hangs on it.
        Right(sid="SecurityGroupsUsers", write=("ec2:DescribeNetworkInterfaces",)),
    ),
    # Those of their group.
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": (),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": (),
    "aws:route53/record:Record": (
        Right(
            sid="Records",
            on=(bare_arn("route53", "hostedzone/{its.zone_id}"),),
            write=("route53:ChangeResourceRecordSets",),
            condition={
                "ForAllValues:StringEquals": {
                    "route53:ChangeResourceRecordSetsNormalizedRecordNames": ("{its.name}",),
                }
            },
        ),
        Right(sid="RecordChanges", on=(bare_arn("route53", "change/*"),), write=("route53:GetChange",)),
    ),
}
