"""SNS: topics, their policies and subscriptions; AWS's chat service, which the emulator has not got."""

from __future__ import annotations

import contextlib

from providers.base import Handler, Properties, given, gone_tags, resource, tag_list, tag_map


@resource
class Topic(Handler):
    type = "aws:sns/topic:Topic"
    properties = frozenset({"name", "displayName", "kmsMasterKeyId", "tags"})
    replacing = frozenset({"name"})
    name_property = "name"
    defaults = {"displayName": "", "kmsMasterKeyId": "", "tags": {}}

    def find(self, inputs: Properties) -> str | None:
        account = self.context.account
        return self._if_there(f"arn:{self.context.partition}:sns:{account.region}:{account.account}:{inputs['name']}")

    def create(self, inputs: Properties) -> str:
        attributes = given(DisplayName=inputs.get("displayName"), KmsMasterKeyId=inputs.get("kmsMasterKeyId"))
        made = self.context.client("sns").create_topic(
            Name=inputs["name"], Attributes=attributes, Tags=tag_list(inputs.get("tags"))
        )
        return str(made["TopicArn"])

    def read(self, locator: str) -> Properties | None:
        sns = self.context.client("sns")
        try:
            found = sns.get_topic_attributes(TopicArn=locator)["Attributes"]
        except sns.exceptions.NotFoundException:
            return None
        tags = tag_map(sns.list_tags_for_resource(ResourceArn=locator)["Tags"])
        return {
            "id": locator,
            "arn": locator,
            "name": locator.rpartition(":")[2],
            "displayName": found.get("DisplayName", ""),
            "kmsMasterKeyId": found.get("KmsMasterKeyId", ""),
            "tags": tags,
            "tagsAll": tags,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        sns, before = self.context.client("sns"), self.read(locator) or {}
        for name, attribute in (("displayName", "DisplayName"), ("kmsMasterKeyId", "KmsMasterKeyId")):
            if name in changed:
                sns.set_topic_attributes(
                    TopicArn=locator, AttributeName=attribute, AttributeValue=inputs.get(name) or ""
                )
        if "tags" in changed:
            if gone := gone_tags(before["tags"], inputs.get("tags")):
                sns.untag_resource(ResourceArn=locator, TagKeys=gone)
            if inputs.get("tags"):
                sns.tag_resource(ResourceArn=locator, Tags=tag_list(inputs["tags"]))

    def delete(self, locator: str, recorded: Properties) -> None:
        self.context.client("sns").delete_topic(TopicArn=locator)


@resource
class TopicPolicy(Handler):
    type = "aws:sns/topicPolicy:TopicPolicy"
    properties = frozenset({"arn", "policy"})
    replacing = frozenset({"arn"})
    json_properties = frozenset({"policy"})

    def find(self, inputs: Properties) -> str | None:
        return self._if_there(inputs.get("arn"))

    def create(self, inputs: Properties) -> str:
        self.context.client("sns").set_topic_attributes(
            TopicArn=inputs["arn"], AttributeName="Policy", AttributeValue=inputs["policy"]
        )
        return str(inputs["arn"])

    def read(self, locator: str) -> Properties | None:
        sns = self.context.client("sns")
        try:
            found = sns.get_topic_attributes(TopicArn=locator)["Attributes"]
        except sns.exceptions.NotFoundException:
            return None
        return {"id": locator, "arn": locator, "policy": found.get("Policy"), "owner": found.get("Owner")}

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        self.create(inputs)

    def delete(self, locator: str, recorded: Properties) -> None:
        """The topic keeps it: the provider puts AWS's default there, and the topic goes next."""


@resource
class TopicSubscription(Handler):
    type = "aws:sns/topicSubscription:TopicSubscription"
    properties = frozenset({"topic", "protocol", "endpoint"})
    replacing = frozenset({"topic", "protocol", "endpoint"})

    def find(self, inputs: Properties) -> str | None:
        sns, topic = self.context.client("sns"), inputs.get("topic")
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic) if topic else ()
        wanted = (inputs.get("protocol"), inputs.get("endpoint"))
        listed = (entry for page in pages for entry in page["Subscriptions"])
        arns = (str(entry["SubscriptionArn"]) for entry in listed if (entry["Protocol"], entry["Endpoint"]) == wanted)
        return next((arn for arn in arns if arn.startswith("arn:")), None)  # Not one that waits for confirmation.

    def create(self, inputs: Properties) -> str:
        made = self.context.client("sns").subscribe(
            TopicArn=inputs["topic"],
            Protocol=inputs["protocol"],
            Endpoint=inputs["endpoint"],
            ReturnSubscriptionArn=True,
        )
        return str(made["SubscriptionArn"])

    def read(self, locator: str) -> Properties | None:
        sns = self.context.client("sns")
        try:
            found = sns.get_subscription_attributes(SubscriptionArn=locator)["Attributes"]
        except sns.exceptions.NotFoundException:
            return None
        return {
            "id": locator,
            "arn": locator,
            "topic": found["TopicArn"],
            "protocol": found["Protocol"],
            "endpoint": found["Endpoint"],
            "pendingConfirmation": found.get("PendingConfirmation") == "true",
        }

    def delete(self, locator: str, recorded: Properties) -> None:
        sns = self.context.client("sns")
        with contextlib.suppress(sns.exceptions.NotFoundException):
            sns.unsubscribe(SubscriptionArn=locator)


@resource
class SlackChannelConfiguration(Handler):
    type = "aws:chatbot/slackChannelConfiguration:SlackChannelConfiguration"
    properties = frozenset()
    recorded_only = dict.fromkeys(
        (
            "configurationName",
            "iamRoleArn",
            "slackTeamId",
            "slackChannelId",
            "snsTopicArns",
            "guardrailPolicyArns",
            "tags",
        ),
        "the emulator has no chat service; the channel is told nothing",
    )
    defaults = {}

    def create(self, inputs: Properties) -> str:
        return str(inputs["configurationName"])

    def read(self, locator: str) -> Properties | None:
        return {"id": locator, "configurationName": locator}

    def delete(self, locator: str, recorded: Properties) -> None:
        pass
