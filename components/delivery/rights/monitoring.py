"""Alarms, dashboards, saved queries, events, topics with their key, Slack, budgets."""

from components.delivery.right import Right, arn, gets_own_tags, global_arn, has_own_tags, own_tags, tags_new_or_own

_ROLE, _TOPIC = "aws:iam/role:Role", "aws:sns/topic:Topic"
_SLACK = "aws:chatbot/slackChannelConfiguration:SlackChannelConfiguration"
_CHATBOT = (global_arn("chatbot", "chat-configuration/slack-channel/{its.configuration_name}"),)
_NOTIFICATIONS = "notifications"
"""Value of the tag Service on the topics' key, and on the channel in Slack."""
_KEYS = (arn("kms", "key/*"),)

RIGHTS: dict[str, tuple[Right, ...]] = {
    "aws:cloudwatch/metricAlarm:MetricAlarm": (
        Right(
            # Alarms of one service have its name before theirs; one by one they would fill a policy.
            sid="Alarms",
            on=(arn("cloudwatch", "alarm:{service}-*"),),
            read=("cloudwatch:DescribeAlarms", "cloudwatch:ListTagsForResource"),
            write=(
                "cloudwatch:DeleteAlarms",
                "cloudwatch:PutCompositeAlarm",
                "cloudwatch:PutMetricAlarm",
                "cloudwatch:TagResource",
                "cloudwatch:UntagResource",
            ),
        ),
        Right(
            # A composite alarm is only put by one who may describe all alarms.
            # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html
            sid="AlarmsOfOthers",
            on=(arn("cloudwatch", "alarm:*"),),
            read=("cloudwatch:DescribeAlarms",),
        ),
    ),
    # Those of the metric alarms.
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": (),
    "aws:cloudwatch/dashboard:Dashboard": (
        Right(
            sid="Dashboards",
            on=(global_arn("cloudwatch", "dashboard/{its.dashboard_name}"),),
            read=("cloudwatch:GetDashboard",),
            write=("cloudwatch:DeleteDashboards", "cloudwatch:PutDashboard"),
        ),
    ),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": (
        Right(
            sid="MetricFilters",
            on=(arn("logs", "log-group:{its.name}:*"),),
            of="aws:cloudwatch/logGroup:LogGroup",
            read=("logs:DescribeMetricFilters",),
            write=("logs:DeleteMetricFilter", "logs:PutMetricFilter"),
        ),
    ),
    "aws:cloudwatch/queryDefinition:QueryDefinition": (
        Right(
            # These know no resources.
            sid="Queries",
            read=("logs:DescribeQueryDefinitions",),
            write=("logs:DeleteQueryDefinition", "logs:PutQueryDefinition"),
        ),
    ),
    "aws:cloudwatch/eventRule:EventRule": (
        Right(
            sid="Events",
            on=(arn("events", "rule/{its.name}"),),
            read=("events:DescribeRule", "events:ListTagsForResource", "events:ListTargetsByRule"),
            write=(
                "events:DeleteRule",
                "events:PutRule",
                "events:PutTargets",
                "events:RemoveTargets",
                "events:TagResource",
                "events:UntagResource",
            ),
        ),
    ),
    # Those of its rule.
    "aws:cloudwatch/eventTarget:EventTarget": (),
    _TOPIC: (
        Right(
            sid="Topics",
            on=(arn("sns", "{its.name}"),),
            read=("sns:GetTopicAttributes", "sns:ListTagsForResource"),
            write=(
                "sns:CreateTopic",
                "sns:DeleteTopic",
                "sns:SetTopicAttributes",
                "sns:TagResource",
                "sns:UntagResource",
            ),
        ),
    ),
    # Those of its topic.
    "aws:sns/topicPolicy:TopicPolicy": (),
    "aws:sns/topicSubscription:TopicSubscription": (
        Right(
            # IAM asks for the topic, although the calls name the subscription, whose ARN begins with it.
            sid="Subscriptions",
            on=(arn("sns", "{its.name}"),),
            of=_TOPIC,
            read=("sns:GetSubscriptionAttributes",),
            write=("sns:SetSubscriptionAttributes", "sns:Subscribe", "sns:Unsubscribe"),
        ),
    ),
    # The id is made up by AWS: tags say which is ours.
    "aws:kms/key:Key": (
        Right(
            # Tagging a key that is being made takes a right that is not limited to keys.
            # https://docs.aws.amazon.com/kms/latest/developerguide/tag-permissions.html
            sid="NewKeys",
            write=("kms:CreateKey", "kms:TagResource"),
            condition=tags_new_or_own(_NOTIFICATIONS),
        ),
        Right(
            sid="Keys",
            on=_KEYS,
            read=("kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListResourceTags"),
            write=(
                "kms:CreateAlias",
                "kms:DeleteAlias",
                "kms:EnableKeyRotation",
                "kms:PutKeyPolicy",
                "kms:ScheduleKeyDeletion",
                "kms:TagResource",
                "kms:UntagResource",
                "kms:UpdateAlias",
                "kms:UpdateKeyDescription",
            ),
            condition=has_own_tags(_NOTIFICATIONS),
        ),
        Right(
            # Whoever publishes to an encrypted topic needs its key.
            sid="NotifyEncrypted",
            on=_KEYS,
            write=("kms:Decrypt", "kms:GenerateDataKey"),
            condition={
                "StringEquals": {
                    **own_tags("aws:ResourceTag", _NOTIFICATIONS),
                    "kms:ViaService": "sns.{region}.amazonaws.com",
                },
            },
        ),
    ),
    "aws:kms/alias:Alias": (
        Right(sid="AliasesList", read=("kms:ListAliases",)),
        Right(
            sid="Aliases",
            on=(arn("kms", "{its.name}"),),
            write=("kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias"),
        ),
    ),
    _SLACK: (
        Right(
            sid="Slack",
            on=_CHATBOT,
            write=(
                "chatbot:DeleteSlackChannelConfiguration",
                "chatbot:TagResource",
                "chatbot:UntagResource",
                "chatbot:UpdateSlackChannelConfiguration",
            ),
        ),
        # These know no resources.
        Right(sid="SlackLookUp", read=("chatbot:DescribeSlackChannelConfigurations",)),
        Right(
            sid="NewSlack",
            write=("chatbot:CreateSlackChannelConfiguration",),
            condition=gets_own_tags(_NOTIFICATIONS),
        ),
        Right(
            sid="PassSlackRole",
            on=(global_arn("iam", "role/{its.name}"),),
            of=_ROLE,
            sibling=_SLACK,
            write=("iam:PassRole",),
            condition={"StringEquals": {"iam:PassedToService": "chatbot.amazonaws.com"}},
        ),
    ),
    "aws:budgets/budget:Budget": (
        Right(
            sid="Budgets",
            on=(global_arn("budgets", "budget/{its.name}"),),
            read=("budgets:ListTagsForResource", "budgets:ViewBudget"),
            write=("budgets:ModifyBudget", "budgets:TagResource", "budgets:UntagResource"),
        ),
        # `./ops preflight` says whether the budget counts anything; this knows no resources.
        Right(sid="BudgetsTag", write=("ce:ListCostAllocationTags",)),
    ),
}
