"""CloudWatch: alarms and dashboards; metric filters and saved queries on log groups; EventBridge rules and targets."""

from __future__ import annotations

import contextlib
from typing import Any

from providers.base import Handler, Properties, given, gone_tags, resource, tag_list, tag_map


class _Alarm(Handler):
    """What metric and composite alarms share: they are put whole, and their tags are apart."""

    kind: str
    """MetricAlarm or CompositeAlarm."""

    def _put(self, inputs: Properties) -> None:
        raise NotImplementedError

    def _found(self, name: str) -> dict[str, Any] | None:
        alarms = self.context.client("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=[self.kind])
        return next(iter(alarms[f"{self.kind}s"]), None)

    def _tags(self, arn: str) -> dict[str, str]:
        return tag_map(self.context.client("cloudwatch").list_tags_for_resource(ResourceARN=arn)["Tags"])

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        cloudwatch, before = self.context.client("cloudwatch"), self.read(locator) or {}
        if changed - {"tags"}:
            self._put(inputs)
        if "tags" in changed:
            if gone := gone_tags(before["tags"], inputs.get("tags")):
                cloudwatch.untag_resource(ResourceARN=before["arn"], TagKeys=gone)
            if inputs.get("tags"):
                cloudwatch.tag_resource(ResourceARN=before["arn"], Tags=tag_list(inputs["tags"]))

    def delete(self, locator: str, recorded: Properties) -> None:
        self.context.client("cloudwatch").delete_alarms(AlarmNames=[locator])


@resource
class MetricAlarm(_Alarm):
    type = "aws:cloudwatch/metricAlarm:MetricAlarm"
    kind = "MetricAlarm"
    # Pulumi's name -> the API's.
    _NAMES = {
        "name": "AlarmName",
        "alarmDescription": "AlarmDescription",
        "namespace": "Namespace",
        "metricName": "MetricName",
        "statistic": "Statistic",
        "extendedStatistic": "ExtendedStatistic",
        "comparisonOperator": "ComparisonOperator",
        "threshold": "Threshold",
        "period": "Period",
        "evaluationPeriods": "EvaluationPeriods",
        "datapointsToAlarm": "DatapointsToAlarm",
        "treatMissingData": "TreatMissingData",
        "alarmActions": "AlarmActions",
        "okActions": "OKActions",
        "actionsEnabled": "ActionsEnabled",
    }
    properties = frozenset({*_NAMES, "dimensions", "tags"})
    remembered = frozenset({"metricQueries", "thresholdMetricId"})
    recorded_only = {
        "evaluateLowSampleCountPercentiles": "the emulator does not store it",
        **dict.fromkeys(remembered, "the emulator takes no metric math; the alarm is there and never goes off"),
    }
    replacing = frozenset({"name"})
    defaults = {"alarmDescription": "", "actionsEnabled": True, "alarmActions": [], "okActions": [], "tags": {}}
    name_property = "name"
    unordered = frozenset({"alarmActions", "okActions"})

    def create(self, inputs: Properties) -> str:
        self._put(inputs)
        return str(inputs["name"])

    def _put(self, inputs: Properties) -> None:
        values = {api: inputs.get(name) for name, api in self._NAMES.items()}
        self.context.client("cloudwatch").put_metric_alarm(
            Dimensions=[{"Name": name, "Value": value} for name, value in (inputs.get("dimensions") or {}).items()],
            **given(
                **values,
                ThresholdMetricId=inputs.get("thresholdMetricId"),
                Metrics=[_metric_query(query) for query in inputs.get("metricQueries") or []] or None,
                Tags=tag_list(inputs.get("tags")) or None,
            ),
        )

    def read(self, locator: str) -> Properties | None:
        if not (found := self._found(locator)):
            return None
        tags = self._tags(found["AlarmArn"])
        return {
            "id": locator,
            "arn": found["AlarmArn"],
            **{name: found.get(api) for name, api in self._NAMES.items()},
            "dimensions": {entry["Name"]: entry["Value"] for entry in found.get("Dimensions", [])},
            "tags": tags,
            "tagsAll": tags,
        }

    def equal(self, name: str, wanted: Any, actual: Any, inputs: Properties) -> bool:
        if name == "threshold":  # The API has 80.0 where the program has 80.
            return actual is not None and float(wanted) == float(actual)
        return super().equal(name, wanted, actual, inputs)


def _metric_query(query: dict[str, Any]) -> dict[str, Any]:
    metric = query.get("metric")
    return given(
        Id=query["id"],
        Expression=query.get("expression"),
        Label=query.get("label"),
        ReturnData=query.get("returnData"),
        MetricStat={
            "Metric": {
                "Namespace": metric["namespace"],
                "MetricName": metric["metricName"],
                "Dimensions": [{"Name": name, "Value": value} for name, value in metric["dimensions"].items()],
            },
            "Period": metric["period"],
            "Stat": metric["stat"],
        }
        if metric
        else None,
    )


@resource
class CompositeAlarm(_Alarm):
    type = "aws:cloudwatch/compositeAlarm:CompositeAlarm"
    kind = "CompositeAlarm"
    properties = frozenset({"alarmName", "alarmDescription", "alarmRule", "alarmActions", "okActions", "tags"})
    replacing = frozenset({"alarmName"})
    defaults = {"alarmDescription": "", "alarmActions": [], "okActions": [], "tags": {}}
    name_property = "alarmName"
    unordered = frozenset({"alarmActions", "okActions"})

    def create(self, inputs: Properties) -> str:
        self._put(inputs)
        return str(inputs["alarmName"])

    def _put(self, inputs: Properties) -> None:
        self.context.client("cloudwatch").put_composite_alarm(
            AlarmName=inputs["alarmName"],
            AlarmRule=inputs["alarmRule"],
            **given(
                AlarmDescription=inputs.get("alarmDescription"),
                AlarmActions=inputs.get("alarmActions"),
                OKActions=inputs.get("okActions"),
                Tags=tag_list(inputs.get("tags")) or None,
            ),
        )

    def read(self, locator: str) -> Properties | None:
        if not (found := self._found(locator)):
            return None
        tags = self._tags(found["AlarmArn"])
        return {
            "id": locator,
            "arn": found["AlarmArn"],
            "alarmName": locator,
            "alarmDescription": found.get("AlarmDescription", ""),
            "alarmRule": found["AlarmRule"],
            "alarmActions": found.get("AlarmActions", []),
            "okActions": found.get("OKActions", []),
            "tags": tags,
            "tagsAll": tags,
        }


@resource
class Dashboard(Handler):
    type = "aws:cloudwatch/dashboard:Dashboard"
    properties = frozenset({"dashboardName", "dashboardBody"})
    replacing = frozenset({"dashboardName"})
    name_property = "dashboardName"
    json_properties = frozenset({"dashboardBody"})

    def create(self, inputs: Properties) -> str:
        self.context.client("cloudwatch").put_dashboard(
            DashboardName=inputs["dashboardName"], DashboardBody=inputs["dashboardBody"]
        )
        return str(inputs["dashboardName"])

    def read(self, locator: str) -> Properties | None:
        cloudwatch = self.context.client("cloudwatch")
        try:
            found = cloudwatch.get_dashboard(DashboardName=locator)
        except (cloudwatch.exceptions.DashboardNotFoundError, cloudwatch.exceptions.ResourceNotFound):
            return None
        return {
            "id": locator,
            "dashboardArn": found["DashboardArn"],
            "dashboardName": locator,
            "dashboardBody": found["DashboardBody"],
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        self.create(inputs)

    def delete(self, locator: str, recorded: Properties) -> None:
        cloudwatch = self.context.client("cloudwatch")
        with contextlib.suppress(cloudwatch.exceptions.DashboardNotFoundError):
            cloudwatch.delete_dashboards(DashboardNames=[locator])


@resource
class LogMetricFilter(Handler):
    """Its locator is LOG-GROUP:NAME, as the provider imports it."""

    type = "aws:cloudwatch/logMetricFilter:LogMetricFilter"
    properties = frozenset({"name", "logGroupName", "pattern", "metricTransformation"})
    replacing = frozenset({"name", "logGroupName"})
    name_property = "name"

    def find(self, inputs: Properties) -> str | None:
        group = inputs.get("logGroupName")
        return self._if_there(f"{group}:{inputs['name']}" if group else None)

    def create(self, inputs: Properties) -> str:
        metric = inputs["metricTransformation"]
        self.context.client("logs").put_metric_filter(
            logGroupName=inputs["logGroupName"],
            filterName=inputs["name"],
            filterPattern=inputs["pattern"],
            metricTransformations=[
                given(
                    metricName=metric["name"],
                    metricNamespace=metric["namespace"],
                    metricValue=metric["value"],
                    defaultValue=float(metric["defaultValue"]) if "defaultValue" in metric else None,
                )
            ],
        )
        return f"{inputs['logGroupName']}:{inputs['name']}"

    def read(self, locator: str) -> Properties | None:
        group, _, name = locator.rpartition(":")
        logs = self.context.client("logs")
        try:
            found = logs.describe_metric_filters(logGroupName=group, filterNamePrefix=name)["metricFilters"]
        except logs.exceptions.ResourceNotFoundException:
            return None
        entry = next((entry for entry in found if entry["filterName"] == name), None)
        if entry is None:
            return None
        (metric,) = entry["metricTransformations"]
        return {
            "id": name,
            "name": name,
            "logGroupName": group,
            "pattern": entry["filterPattern"],
            "metricTransformation": {
                "name": metric["metricName"],
                "namespace": metric["metricNamespace"],
                "value": metric["metricValue"],
                "defaultValue": f"{metric['defaultValue']:g}" if "defaultValue" in metric else None,
            },
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        self.create(inputs)

    def delete(self, locator: str, recorded: Properties) -> None:
        group, _, name = locator.rpartition(":")
        logs = self.context.client("logs")
        with contextlib.suppress(logs.exceptions.ResourceNotFoundException):
            logs.delete_metric_filter(logGroupName=group, filterName=name)


@resource
class QueryDefinition(Handler):
    """Its locator is its id, which AWS gives; its name is not unique, so none is found by it."""

    type = "aws:cloudwatch/queryDefinition:QueryDefinition"
    properties = frozenset({"name", "queryString", "logGroupNames"})

    def create(self, inputs: Properties) -> str:
        return self._put(inputs)

    def read(self, locator: str) -> Properties | None:
        found = self.context.client("logs").describe_query_definitions()["queryDefinitions"]
        entry = next((entry for entry in found if entry["queryDefinitionId"] == locator), None)
        if entry is None:
            return None
        return {
            "id": locator,
            "queryDefinitionId": locator,
            "name": entry["name"],
            "queryString": entry["queryString"],
            "logGroupNames": entry.get("logGroupNames", []),
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        self._put(inputs, queryDefinitionId=locator)

    def delete(self, locator: str, recorded: Properties) -> None:
        logs = self.context.client("logs")
        with contextlib.suppress(logs.exceptions.ResourceNotFoundException):
            logs.delete_query_definition(queryDefinitionId=locator)

    def _put(self, inputs: Properties, **of: str) -> str:
        answer = self.context.client("logs").put_query_definition(
            name=inputs["name"], queryString=inputs["queryString"], logGroupNames=inputs["logGroupNames"], **of
        )
        return str(answer["queryDefinitionId"])


@resource
class EventRule(Handler):
    type = "aws:cloudwatch/eventRule:EventRule"
    properties = frozenset({"name", "description", "eventPattern", "tags"})
    replacing = frozenset({"name"})
    name_property = "name"
    json_properties = frozenset({"eventPattern"})
    defaults = {"description": "", "tags": {}}

    def create(self, inputs: Properties) -> str:
        self._put(inputs, Tags=tag_list(inputs.get("tags")) or None)
        return str(inputs["name"])

    def _put(self, inputs: Properties, **more: Any) -> None:
        self.context.client("events").put_rule(
            **given(
                Name=inputs["name"],
                Description=inputs.get("description"),
                EventPattern=inputs["eventPattern"],
                **more,
            )
        )

    def read(self, locator: str) -> Properties | None:
        events = self.context.client("events")
        try:
            found = events.describe_rule(Name=locator)
        except events.exceptions.ResourceNotFoundException:
            return None
        tags = tag_map(events.list_tags_for_resource(ResourceARN=found["Arn"])["Tags"])
        return {
            "id": locator,
            "name": locator,
            "arn": found["Arn"],
            "description": found.get("Description", ""),
            "eventPattern": found["EventPattern"],
            "tags": tags,
            "tagsAll": tags,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        events, before = self.context.client("events"), self.read(locator) or {}
        if changed - {"tags"}:
            self._put(inputs)
        if "tags" in changed:
            if gone := gone_tags(before["tags"], inputs.get("tags")):
                events.untag_resource(ResourceARN=before["arn"], TagKeys=gone)
            if inputs.get("tags"):
                events.tag_resource(ResourceARN=before["arn"], Tags=tag_list(inputs["tags"]))

    def delete(self, locator: str, recorded: Properties) -> None:
        events = self.context.client("events")
        with contextlib.suppress(events.exceptions.ResourceNotFoundException):
            events.delete_rule(Name=locator)


@resource
class EventTarget(Handler):
    """Its locator is RULE/ID, as the provider imports it."""

    type = "aws:cloudwatch/eventTarget:EventTarget"
    properties = frozenset({"rule", "targetId", "arn", "inputTransformer"})
    replacing = frozenset({"rule", "targetId"})

    def find(self, inputs: Properties) -> str | None:
        return self._if_there(f"{inputs['rule']}/{inputs['targetId']}")

    def create(self, inputs: Properties) -> str:
        transformer = inputs.get("inputTransformer")
        target = given(
            Id=inputs["targetId"],
            Arn=inputs["arn"],
            InputTransformer={
                "InputPathsMap": transformer["inputPaths"],
                "InputTemplate": transformer["inputTemplate"],
            }
            if transformer
            else None,
        )
        self.context.client("events").put_targets(Rule=inputs["rule"], Targets=[target])
        return f"{inputs['rule']}/{inputs['targetId']}"

    def read(self, locator: str) -> Properties | None:
        rule, _, wanted = locator.rpartition("/")
        events = self.context.client("events")
        try:
            targets = events.list_targets_by_rule(Rule=rule)["Targets"]
        except events.exceptions.ResourceNotFoundException:
            return None
        found = next((target for target in targets if target["Id"] == wanted), None)
        if found is None:
            return None
        transformer = found.get("InputTransformer")
        return {
            "id": f"{rule}-{wanted}",
            "rule": rule,
            "targetId": wanted,
            "arn": found["Arn"],
            "inputTransformer": {
                "inputPaths": transformer["InputPathsMap"],
                "inputTemplate": transformer["InputTemplate"],
            }
            if transformer
            else None,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        self.create(inputs)

    def delete(self, locator: str, recorded: Properties) -> None:
        rule, _, wanted = locator.rpartition("/")
        events = self.context.client("events")
        with contextlib.suppress(events.exceptions.ResourceNotFoundException):
            events.remove_targets(Rule=rule, Ids=[wanted])
