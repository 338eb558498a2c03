"""Tags by which cost, owner and origin of a resource are found."""

from __future__ import annotations

from collections.abc import Iterator

from policies.rule import Resource, Severity, Stack, rule

REQUIRED = ("Environment", "Service", "ManagedBy")
TAGGABLE = frozenset(
    {
        "aws:appautoscaling/target:Target",
        "aws:budgets/budget:Budget",
        "aws:chatbot/slackChannelConfiguration:SlackChannelConfiguration",
        "aws:cloudwatch/compositeAlarm:CompositeAlarm",
        "aws:cloudwatch/eventRule:EventRule",
        "aws:cloudwatch/logGroup:LogGroup",
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:dynamodb/table:Table",
        "aws:ecr/repository:Repository",
        "aws:ecs/service:Service",
        "aws:ecs/taskDefinition:TaskDefinition",
        "aws:elasticache/replicationGroup:ReplicationGroup",
        "aws:elasticache/subnetGroup:SubnetGroup",
        "aws:elasticache/user:User",
        "aws:elasticache/userGroup:UserGroup",
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        "aws:iam/policy:Policy",
        "aws:iam/role:Role",
        "aws:kms/key:Key",
        "aws:lb/listenerRule:ListenerRule",
        "aws:lb/targetGroup:TargetGroup",
        "aws:s3/bucket:Bucket",
        "aws:secretsmanager/secret:Secret",
        "aws:servicediscovery/service:Service",
        "aws:sns/topic:Topic",
        "aws:ssm/parameter:Parameter",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    }
)


@rule(
    id="aws-resource-require-tags",
    severity=Severity.HIGH,
    description=f"Resources have the tags {', '.join(REQUIRED)}.",
    why="cost and owner cannot be found, and what this program made cannot be told from what was made by hand.",
    remedy="pass the tags that Settings.tags_for gives to the resource.",
    types=TAGGABLE,
)
def tagged(resource: Resource, _: Stack) -> Iterator[str]:
    missing = [name for name in REQUIRED if not resource.get("tags", name)]
    if missing:
        yield f"tags are missing: {', '.join(missing)}"
