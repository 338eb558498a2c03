"""AWS Budgets: monthly budgets and whom they tell."""

from __future__ import annotations

import contextlib
from typing import Any

from providers.base import Handler, Properties, given, gone_tags, resource, tag_list, tag_map

_NOTIFICATION = {
    "notificationType": "NotificationType",
    "comparisonOperator": "ComparisonOperator",
    "threshold": "Threshold",
    "thresholdType": "ThresholdType",
}
"""Pulumi's name -> the API's."""


@resource
class Budget(Handler):
    """Its locator is its name; the provider's id is ACCOUNT:NAME."""

    type = "aws:budgets/budget:Budget"
    properties = frozenset(
        {"name", "budgetType", "limitAmount", "limitUnit", "timeUnit", "costFilters", "notifications", "tags"}
    )
    replacing = frozenset({"name"})
    name_property = "name"
    unordered = frozenset({"costFilters", "notifications"})

    def create(self, inputs: Properties) -> str:
        self.context.client("budgets").create_budget(
            AccountId=self.context.account.account,
            Budget=_budget(inputs),
            NotificationsWithSubscribers=[
                {"Notification": _api(entry), "Subscribers": _subscribers(entry)}
                for entry in inputs.get("notifications") or []
            ],
            **given(ResourceTags=tag_list(inputs.get("tags")) or None),
        )
        return str(inputs["name"])

    def read(self, locator: str) -> Properties | None:
        budgets, mine = self.context.client("budgets"), self._mine(locator)
        try:
            found = budgets.describe_budget(**mine)["Budget"]
        except budgets.exceptions.NotFoundException:
            return None
        arn = self._arn(locator)
        tags = tag_map(budgets.list_tags_for_resource(ResourceARN=arn)["ResourceTags"])
        return {
            "id": f"{self.context.account.account}:{locator}",
            "arn": arn,
            "name": locator,
            "budgetType": found["BudgetType"],
            "limitAmount": found["BudgetLimit"]["Amount"],
            "limitUnit": found["BudgetLimit"]["Unit"],
            "timeUnit": found["TimeUnit"],
            "costFilters": [{"name": name, "values": values} for name, values in found.get("CostFilters", {}).items()],
            "notifications": [
                {
                    **{name: entry[api] for name, api in _NOTIFICATION.items()},
                    "threshold": f"{entry['Threshold']:g}",
                    "subscriberSnsTopicArns": [
                        subscriber["Address"]
                        for subscriber in budgets.describe_subscribers_for_notification(**mine, Notification=entry)[
                            "Subscribers"
                        ]
                    ],
                }
                for entry in self._notifications(locator)
            ],
            "tags": tags,
            "tagsAll": tags,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        budgets, mine = self.context.client("budgets"), self._mine(locator)
        if changed - {"tags", "notifications"}:
            budgets.update_budget(AccountId=self.context.account.account, NewBudget=_budget(inputs))
        if "notifications" in changed:
            for entry in self._notifications(locator):
                budgets.delete_notification(**mine, Notification=entry)
            for entry in inputs.get("notifications") or []:
                budgets.create_notification(**mine, Notification=_api(entry), Subscribers=_subscribers(entry))
        if "tags" in changed:
            before = self.read(locator) or {}
            if gone := gone_tags(before["tags"], inputs.get("tags")):
                budgets.untag_resource(ResourceARN=before["arn"], ResourceTagKeys=gone)
            if inputs.get("tags"):
                budgets.tag_resource(ResourceARN=before["arn"], ResourceTags=tag_list(inputs["tags"]))

    def delete(self, locator: str, recorded: Properties) -> None:
        budgets = self.context.client("budgets")
        with contextlib.suppress(budgets.exceptions.NotFoundException):
            budgets.delete_budget(**self._mine(locator))

    def import_id(self, locator: str) -> str:
        return f"{self.context.account.account}:{locator}"

    def locate(self, import_id: str) -> str:
        """The provider imports a budget as ACCOUNT:NAME."""
        return import_id.partition(":")[2]

    def _mine(self, name: str) -> dict[str, str]:
        return {"AccountId": self.context.account.account, "BudgetName": name}

    def _arn(self, name: str) -> str:
        return f"arn:aws:budgets::{self.context.account.account}:budget/{name}"

    def _notifications(self, name: str) -> list[dict[str, Any]]:
        found = self.context.client("budgets").describe_notifications_for_budget(**self._mine(name))["Notifications"]
        return [{api: entry[api] for api in _NOTIFICATION.values()} for entry in found]


def _budget(inputs: Properties) -> dict[str, Any]:
    return {
        "BudgetName": inputs["name"],
        "BudgetType": inputs["budgetType"],
        "BudgetLimit": {"Amount": inputs["limitAmount"], "Unit": inputs["limitUnit"]},
        "TimeUnit": inputs["timeUnit"],
        "CostFilters": {entry["name"]: entry["values"] for entry in inputs.get("costFilters") or []},
    }


def _api(notification: dict[str, Any]) -> dict[str, Any]:
    return {api: notification[name] for name, api in _NOTIFICATION.items()}


def _subscribers(notification: dict[str, Any]) -> list[dict[str, str]]:
    topics = notification.get("subscriberSnsTopicArns") or []
    return [{"SubscriptionType": "SNS", "Address": topic} for topic in topics]
