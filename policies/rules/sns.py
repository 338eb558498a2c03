"""SNS topics."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator

from policies.rule import Resource, Severity, Stack, rule
from policies.rules import documents
from policies.rules.alarms import ALARMS

_TOPIC = "aws:sns/topic:Topic"


@rule(
    id="sns-topic-encrypt",
    controls=("SNS.1", "CKV_AWS_26"),
    severity=Severity.MEDIUM,
    description="Topics are encrypted with a key that CloudWatch may use.",
    why="notifications are stored in clear; with the AWS managed key, which CloudWatch may not use, none come.",
    remedy="kmsMasterKeyId: a key of yours that cloudwatch.amazonaws.com may use, or record an exception.",
    types=frozenset({_TOPIC}),
)
def encrypted(topic: Resource, _: Stack) -> Iterator[str]:
    if topic.knows("kmsMasterKeyId"):
        key = topic.get("kmsMasterKeyId")
        if not key:
            yield "it is not encrypted"
        elif key == "alias/aws/sns":
            yield "its key is alias/aws/sns, with which alarms cannot publish to it"


@rule(
    id="sns-topic-admit-alarms",
    severity=Severity.HIGH,
    description="Topics of alarms are encrypted with a key that CloudWatch may use.",
    why="CloudWatch cannot publish to them, and says so in the alarm's history alone: nobody hears of an outage.",
    remedy="in the key's policy, allow cloudwatch.amazonaws.com kms:Decrypt and kms:GenerateDataKey*.",
    types=frozenset({_TOPIC}),
    whole_stack=True,
)
def readable_for_alarms(topic: Resource, stack: Stack) -> Iterator[str]:
    if not any(stack.dependents(topic, alarm) for alarm in ALARMS):
        return
    for key in stack.needs(topic, "aws:kms/key:Key"):
        actions = {
            action.lower()
            for statement in documents.statements(key.document("policy"))
            if ("Service", "cloudwatch.amazonaws.com") in documents.principals(statement)
            for action in documents.actions(statement)
        }
        for needed in ("kms:Decrypt", "kms:GenerateDataKey"):
            if not any(fnmatch.fnmatchcase(needed.lower(), action) for action in actions):
                yield f"the policy of its key {key.name} does not allow CloudWatch {needed}"


@rule(
    id="sns-topic-disallow-public-policy",
    controls=("SNS.4", "CKV_AWS_169", "CKV_AWS_385"),
    severity=Severity.CRITICAL,
    description="Topic policies let no stranger in.",
    why="anybody could read the notifications, or send false ones.",
    remedy="name the Principal, or limit by aws:SourceAccount.",
    types=frozenset({_TOPIC, "aws:sns/topicPolicy:TopicPolicy"}),
)
def private(resource: Resource, _: Stack) -> Iterator[str]:
    yield from documents.public(resource.document("policy"))
