"""Who hears of what: a topic per severity and one for deployments, encrypted, and those who are subscribed.

The key is the stack's own: alarms and events cannot publish to a topic that is encrypted with the AWS managed key,
whose policy names neither.
https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws

from components.documents import policy_document
from components.estate import Estate
from components.roles import trust
from components.settings import TOPICS, Budget, Monitoring, Settings, Topic


@dataclasses.dataclass(frozen=True, kw_only=True)
class NotificationsArgs:
    """What the notifications are made of."""

    settings: Settings
    """The stack's settings."""
    monitoring: Monitoring
    """Those of topics and subscriptions."""
    estate: Estate
    """Where it is."""


class Notifications(pulumi.ComponentResource):
    """Topics, their key, and subscriptions."""

    topics: Mapping[Topic, pulumi.Output[str]]
    """Severity, or `deployments` -> the topic's ARN."""

    def __init__(self, name: str, args: NotificationsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mcp-on-ecs:index:Notifications", name, None, opts)
        stack, monitoring = args.settings, args.monitoring
        child = pulumi.ResourceOptions(parent=self)
        tags = stack.own_tags("notifications")
        key = aws.kms.Key(
            f"{name}-key",
            description="Encrypts the topics of alarms and deployments",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            policy=policy_document(_key_statements(args.estate, budgets=monitoring.budget is not None)),
            tags=tags,
            opts=child,
        )
        aws.kms.Alias(
            f"{name}-alias",
            name=f"alias/{stack.name_prefix}-{stack.environment}-mcp-notifications",
            target_key_id=key.id,
            opts=child,
        )
        self.topics = {}
        for topic in TOPICS:
            made_name = monitoring.topics.name(topic)
            made = aws.sns.Topic(
                f"{name}-{topic}",
                name=made_name,
                kms_master_key_id=key.arn,
                tags=tags,
                opts=child,
            )
            arn = f"arn:{args.estate.partition}:sns:{args.estate.region}:{args.estate.account}:{made_name}"
            aws.sns.TopicPolicy(
                f"{name}-{topic}-policy",
                arn=made.arn,
                policy=policy_document(  # known at preview
                    _topic_statements(args.estate, arn, budgets=bool(monitoring.budget) and topic == "warning")
                ),
                opts=child,
            )
            self.topics = {**self.topics, topic: made.arn}
        for number, subscription in enumerate(monitoring.subscriptions, 1):
            aws.sns.TopicSubscription(
                f"{name}-subscription-{number}",
                topic=self.topics[subscription.topic],
                protocol=subscription.protocol,
                # A webhook's address is all that it takes to send to it, and a person's is nobody else's business.
                endpoint=pulumi.Output.secret(subscription.endpoint),
                opts=child,
            )
        if monitoring.slack:
            role = aws.iam.Role(
                f"{name}-slack-role",
                name=f"{stack.name_prefix}-{stack.environment}-mcp-slack",
                # Without any right: the channel is told of things, and can ask for nothing.
                assume_role_policy=trust(
                    "chatbot.amazonaws.com", {"StringEquals": {"aws:SourceAccount": args.estate.account}}
                ),
                tags=tags,
                opts=child,
            )
            aws.chatbot.SlackChannelConfiguration(
                f"{name}-slack",
                configuration_name=f"{stack.name_prefix}-{stack.environment}-mcp",
                iam_role_arn=role.arn,
                slack_team_id=monitoring.slack.workspace,
                slack_channel_id=monitoring.slack.channel,
                sns_topic_arns=list(self.topics.values()),
                guardrail_policy_arns=[f"arn:{args.estate.partition}:iam::aws:policy/ReadOnlyAccess"],
                tags=tags,
                opts=child,
            )
        if monitoring.budget:
            _budget(f"{name}-budget", stack, monitoring.budget, self.topics["warning"], child)
        self.register_outputs({"topics": dict(self.topics)})


def _budget(
    name: str, stack: Settings, budget: Budget, topic: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> aws.budgets.Budget:
    def alert(kind: str, percent: int) -> aws.budgets.BudgetNotificationArgs:
        return aws.budgets.BudgetNotificationArgs(
            notification_type=kind,
            comparison_operator="GREATER_THAN",
            threshold=percent,
            threshold_type="PERCENTAGE",
            subscriber_sns_topic_arns=[topic],
        )

    parts = [stack.tags_for(service)["Service"] for service in stack.services.values()]
    return aws.budgets.Budget(
        name,
        name=f"{stack.name_prefix}-{stack.environment}-mcp",
        budget_type="COST",
        limit_amount=f"{budget.limit:.2f}".removesuffix("0"),  # As AWS writes it: 50.0 and 12.34.
        limit_unit="USD",
        time_unit="MONTHLY",
        cost_filters=[
            {"name": "TagKeyValue", "values": [f"user:Service${part}" for part in [*parts, "notifications"]]}
        ],
        notifications=[alert("ACTUAL", budget.alert_percent), alert("FORECASTED", 100)],
        tags=stack.own_tags("notifications"),
        opts=opts,
    )


def _of_budgets(estate: Estate) -> dict[str, Any]:
    """What AWS Budgets says for whom it publishes.

    https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-sns-policy.html
    """
    return {
        "StringEquals": {"aws:SourceAccount": estate.account},
        "ArnLike": {"aws:SourceArn": f"arn:{estate.partition}:budgets::{estate.account}:*"},
    }


def _key_statements(estate: Estate, *, budgets: bool) -> list[dict[str, Any]]:
    def use(sid: str, service: str, condition: dict[str, Any]) -> dict[str, Any]:
        return {
            "Sid": sid,
            "Principal": {"Service": service},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
            "Resource": "*",
            "Condition": condition,
        }

    return [
        {
            # Without it nobody could change the key any more; rights are given by IAM.
            "Sid": "Account",
            "Principal": {"AWS": f"arn:{estate.partition}:iam::{estate.account}:root"},
            "Action": "kms:*",
            "Resource": "*",
        },
        use("Alarms", "cloudwatch.amazonaws.com", {"StringEquals": {"aws:SourceAccount": estate.account}}),
        # EventBridge does not say for whom it publishes to an encrypted topic: with aws:SourceAccount or
        # aws:SourceArn asked for, no event would ever arrive.
        use("Events", "events.amazonaws.com", {}),
        *([use("Budgets", "budgets.amazonaws.com", _of_budgets(estate))] if budgets else []),
    ]


def _topic_statements(estate: Estate, topic: str, *, budgets: bool) -> list[dict[str, Any]]:
    def publish(sid: str, service: str, condition: dict[str, Any]) -> dict[str, Any]:
        return {
            "Sid": sid,
            "Principal": {"Service": service},
            "Action": "sns:Publish",
            "Resource": topic,
            "Condition": condition,
        }

    same_account = {"StringEquals": {"aws:SourceAccount": estate.account}}
    alarms = f"arn:{estate.partition}:cloudwatch:{estate.region}:{estate.account}:alarm:*"
    return [
        publish("Alarms", "cloudwatch.amazonaws.com", {**same_account, "ArnLike": {"aws:SourceArn": alarms}}),
        # As AWS documents it, without a condition: EventBridge does not take one on a topic.
        publish("Events", "events.amazonaws.com", {}),
        *([publish("Budgets", "budgets.amazonaws.com", _of_budgets(estate))] if budgets else []),
        # The pipeline has its right from IAM; nobody of another account has one.
    ]


def message(*lines: str) -> str:
    """A template of an EventBridge input transformer: text lines with <names> in them.

    Each must be a text in quotation marks, which stay in the message.
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
    """
    return "\n".join(map(json.dumps, lines))
