"""Alarms, filters, dashboard, topics: exact inputs, and that each points at something that exists."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from components import settings
from components.names import METRICS
from components.observability import ERROR_LINE, QUERIES, TERMS, filter_pattern
from tests import picture
from tests.components.program import ACCOUNT, Account, Deploy, Recorded, Secret, arn
from tests.conftest import ROOT
from tests.log_filters import counted

NAME = "busyb-google-workspace-mcp"
LINES = (Path(__file__).parent / "log_lines.txt").read_text().replace("^[", "\x1b").splitlines()
"""Lines that the real server wrote, as text and as JSON, each after the names of the filters that must count it (`-`:
none). `^[` stands for the escape character."""


@pytest.fixture
def production(deploy: Deploy, config: dict[str, Any]) -> Recorded:
    return deploy(config)


def alarms(recorded: Recorded) -> dict[str, dict[str, Any]]:
    found = recorded.of("aws:cloudwatch/metricAlarm:MetricAlarm").values()
    return {inputs["name"].removeprefix(f"{NAME}-"): inputs for inputs in found}


def topic(name: str) -> str:
    return arn("sns", name)


# What the estate's people asked for: threshold, periods, and who is told.
@pytest.mark.parametrize(
    ("part", "metric", "statistic", "threshold", "periods", "missing", "told"),
    [
        ("cpu", "AWS/ECS CPUUtilization", "Average", 80, 5, "notBreaching", "warnings"),
        ("memory", "AWS/ECS MemoryUtilization", "Average", 80, 5, "notBreaching", "warnings"),
        ("no-task", "AWS/ECS CPUUtilization", "SampleCount", 1, 2, "breaching", "critical-alerts"),
        ("unhealthy-targets", "AWS/ApplicationELB UnHealthyHostCount", "Maximum", 1, 2, "notBreaching", "ops-alerts"),
        ("no-healthy-target", "AWS/ApplicationELB HealthyHostCount", "Minimum", 1, 2, "breaching", "critical-alerts"),
        ("errors", f"{METRICS} {NAME}-errors", "Sum", 10, 2, "notBreaching", "ops-alerts"),
        ("oauth-failures", f"{METRICS} {NAME}-oauth-failures", "Sum", 5, 2, "notBreaching", "warnings"),
        ("refusals", f"{METRICS} {NAME}-refusals", "Sum", 5, 2, "notBreaching", "warnings"),
        ("store-failures", f"{METRICS} {NAME}-store-failures", "Sum", 0, 1, "notBreaching", "ops-alerts"),
        ("server-errors", "AWS/ApplicationELB HTTPCode_Target_5XX_Count", "Sum", 5, 2, "notBreaching", "ops-alerts"),
        ("unreachable", "AWS/ApplicationELB TargetConnectionErrorCount", "Sum", 5, 2, "notBreaching", "ops-alerts"),
        ("slow", "AWS/ApplicationELB TargetResponseTime", "p95", 2.0, 5, "notBreaching", "warnings"),
        ("crash-loop", "AWS/Events TriggeredRules", "Sum", 3, 1, "notBreaching", "ops-alerts"),
    ],
)
def test_an_alarm_has_its_limit_and_tells_whom_it_concerns(
    production: Recorded,
    part: str,
    metric: str,
    statistic: str,
    threshold: float,
    periods: int,
    missing: str,
    told: str,
) -> None:
    inputs = alarms(production)[part]
    assert f"{inputs['namespace']} {inputs['metricName']}" == metric
    assert inputs.get("statistic", inputs.get("extendedStatistic")) == statistic
    assert (inputs["threshold"], inputs["evaluationPeriods"]) == (threshold, periods)
    assert inputs["treatMissingData"] == missing
    assert inputs["alarmActions"] == inputs["okActions"] == [topic(told)]
    assert inputs["period"] == (600 if part == "crash-loop" else 60)


def test_the_table_in_docs_says_what_the_alarms_say(production: Recorded) -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert all(about in " ".join(text.split()) for about in QUERIES)
    table = text.split("| alarm | goes off when |")[1].split("\n\n")[0]
    rows = {row.split("`")[1]: [cell.strip() for cell in row.split("|")] for row in table.splitlines()[2:]}
    assert rows.keys() == {*alarms(production), "users-affected"}
    topics = {"critical": "critical-alerts", "operations": "ops-alerts", "warning": "warnings"}
    for part, inputs in alarms(production).items():
        _, name, when, metric, missing, told, _ = rows[part]
        assert metric.startswith(inputs["namespace"])
        assert inputs["namespace"] == METRICS or inputs["metricName"] in metric
        assert missing.partition(":")[0] == {"breaching": "bad", "notBreaching": "good"}[inputs["treatMissingData"]]
        assert inputs["alarmActions"] == [topic(topics[told])]
        if inputs["threshold"] > 1:
            assert re.search(rf"\b{inputs['threshold']:g}\b", when)
        assert ("**" in name) == (part in {"no-task", "no-healthy-target", "server-errors", "unreachable"})


def test_each_limit_is_configuration(deploy: Deploy, config: dict[str, Any]) -> None:
    limits = {
        "cpuPercent": 61,
        "memoryPercent": 62,
        "errorsPerMinute": 63,
        "oauthFailuresPerMinute": 64,
        "serverErrorsPerMinute": 65,
        "responseSeconds": 66,
        "stoppedTasks": 67,
        "refusalsPerMinute": 68,
    }
    assert limits.keys() == {field.alias for field in settings.Alarms.model_fields.values()} - {"anomalyBand"}
    config["services"]["google-workspace"]["alarms"] = limits
    thresholds = {part: inputs["threshold"] for part, inputs in alarms(deploy(config)).items()}
    assert {61, 62, 63, 64, 65, 66, 67, 68} <= set(thresholds.values())


def test_alarms_name_the_service_and_its_target_group(production: Recorded) -> None:
    tasks = {"ClusterName": "busyb-cluster", "ServiceName": f"{NAME}-service"}
    target_group = production.outputs["services"]["google-workspace"]["targetGroup"].rpartition(":")[2]
    group = {"LoadBalancer": "app/busyb-alb/1", "TargetGroup": target_group}
    for part, inputs in alarms(production).items():
        wanted = {"AWS/ECS": tasks, "AWS/ApplicationELB": group, METRICS: {}}.get(inputs["namespace"])
        assert inputs.get("dimensions", {}) == (wanted if wanted is not None else {"RuleName": f"{NAME}-stopped"}), part


def test_users_are_affected_by_what_they_would_notice(production: Recorded) -> None:
    (inputs,) = production.of("aws:cloudwatch/compositeAlarm:CompositeAlarm").values()
    parts = re.findall(rf'ALARM\("{NAME}-([a-z-]+)"\)', inputs["alarmRule"])
    assert parts == ["no-task", "no-healthy-target", "server-errors", "unreachable"]
    assert set(parts) <= alarms(production).keys()
    assert inputs["alarmActions"] == [topic("critical-alerts")]
    assert "https://api.busyb.ai/google-workspace" in inputs["alarmDescription"]


def test_no_alarm_is_made_before_its_service_is_healthy(production: Recorded) -> None:
    """A service that is not there yet has no data, which some alarms take for the worst."""
    made = [r for r in production.resources if r.type == "aws:cloudwatch/metricAlarm:MetricAlarm"]
    assert len(made) == len(alarms(production))
    for alarm in made:
        assert "google-workspace-healthy" in {urn.split("::")[-1] for urn in alarm.request.dependencies}, alarm.name
    order = [r.name for r in production.resources]
    assert order.index("google-workspace-healthy") < min(order.index(alarm.name) for alarm in made)


def test_a_service_that_is_to_run_no_task_is_not_missed(deploy: Deploy, config: dict[str, Any]) -> None:
    config["services"]["google-workspace"]["desiredCount"] = 0
    assert {inputs["treatMissingData"] for inputs in alarms(deploy(config)).values()} == {"notBreaching"}


def test_every_command_that_an_alarm_names_exists(production: Recorded) -> None:
    from operations.verbs import NAMES

    texts = [inputs["alarmDescription"] for inputs in alarms(production).values()]
    texts += [i["alarmDescription"] for i in production.of("aws:cloudwatch/compositeAlarm:CompositeAlarm").values()]
    verbs = {verb for text in texts for verb in re.findall(r"\./ops ([a-z]+)", text)}
    assert verbs and verbs <= set(NAMES)
    runbook = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text()
    titles = {title for text in texts for title in re.findall(r"Runbook: ([^.]+)\.", text)}
    assert titles and all(f"\n## {title}\n" in runbook for title in titles), titles


@pytest.mark.parametrize("line", [line for line in LINES if line])
def test_the_filters_count_what_the_real_server_wrote(line: str) -> None:
    wanted, _, text = line.partition("|")
    parts = set() if wanted == "-" else set(wanted.split(","))
    assert counted(text) == parts
    assert bool(re.search(ERROR_LINE, text)) == ("errors" in parts), "queries and verify see the same errors"


def test_a_request_without_a_token_is_counted_nowhere() -> None:
    # It writes no line at all; should a server write one, it would be uvicorn's.
    assert counted('INFO:     10.0.1.7:0 - "POST /mcp HTTP/1.1" 401 Unauthorized') == set()


def test_the_filters_are_on_the_services_own_log(production: Recorded) -> None:
    found = production.of("aws:cloudwatch/logMetricFilter:LogMetricFilter").values()
    assert {inputs["logGroupName"] for inputs in found} == {f"/ecs/{NAME}"}
    made = {inputs["metricTransformation"]["name"] for inputs in found}
    assert made == {f"{NAME}-{part}" for part in TERMS}
    assert {inputs["metricTransformation"]["namespace"] for inputs in found} == {METRICS}


def test_every_widget_shows_an_alarm_that_exists_or_a_metric_that_is_emitted(production: Recorded) -> None:
    (inputs,) = production.of("aws:cloudwatch/dashboard:Dashboard").values()
    widgets = json.loads(inputs["dashboardBody"])["widgets"]
    assert [w["type"] for w in widgets] == ["text", "alarm", *["metric"] * 6, "log"]
    (alarm,) = (w["properties"] for w in widgets if w["type"] == "alarm")
    assert len(alarm["alarms"]) == len(alarms(production)) + 1
    emitted = {f"{i['namespace']} {i['metricName']}" for i in alarms(production).values()}
    emitted |= {f"AWS/ApplicationELB {name}" for name in ("RequestCount", "HTTPCode_Target_4XX_Count")}
    for widget in widgets:
        for metric in widget["properties"].get("metrics", []):
            assert f"{metric[0]} {metric[1]}" in emitted
            assert "stat" in metric[-1]
    log = widgets[-1]["properties"]["query"]
    assert log.startswith(f"SOURCE '/ecs/{NAME}' | ")


def test_widgets_fill_rows_and_do_not_overlap(production: Recorded) -> None:
    (inputs,) = production.of("aws:cloudwatch/dashboard:Dashboard").values()
    cells = [
        (x, y)
        for w in json.loads(inputs["dashboardBody"])["widgets"]
        for x in range(w["x"], w["x"] + w["width"])
        for y in range(w["y"], w["y"] + w["height"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len(cells) == 24 * (max(y for _, y in cells) + 1)


def test_the_picture_in_docs_is_drawn_from_the_dashboard(production: Recorded) -> None:
    """`UPDATE_SNAPSHOTS=1 ./test tests/components/test_observability.py` draws it anew."""
    (inputs,) = production.of("aws:cloudwatch/dashboard:Dashboard").values()
    drawn = picture.svg(inputs["dashboardBody"])
    file = ROOT / "docs" / "dashboard.svg"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        file.write_text(drawn)
    assert drawn == file.read_text(), (
        "UPDATE_SNAPSHOTS=1 ./test tests/components/test_observability.py, then look at it"
    )


def test_queries_are_saved_under_the_services_name(production: Recorded) -> None:
    found = production.of("aws:cloudwatch/queryDefinition:QueryDefinition").values()
    assert {inputs["name"] for inputs in found} == {f"{NAME}/{about}" for about in QUERIES}
    for inputs in found:
        for line in inputs["queryString"].splitlines()[1:]:
            assert line.startswith("| "), "each step of a query begins with a bar"


def test_only_alarms_and_events_may_publish_to_a_topic(production: Recorded) -> None:
    for inputs in production.of("aws:sns/topicPolicy:TopicPolicy").values():
        statements = json.loads(inputs["policy"])["Statement"]
        assert [s["Principal"] for s in statements] == [
            {"Service": "cloudwatch.amazonaws.com"},
            {"Service": "events.amazonaws.com"},
        ]
        assert {s["Action"] for s in statements} == {"sns:Publish"}
        assert {s["Resource"] for s in statements} == {inputs["arn"]}
        assert statements[0]["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}


def test_topics_are_encrypted_with_a_key_that_their_publishers_may_use(production: Recorded) -> None:
    (key,) = production.of("aws:kms/key:Key").values()
    assert key["enableKeyRotation"]
    users = {s["Sid"]: s for s in json.loads(key["policy"])["Statement"]}
    assert users["Alarms"]["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert users["Alarms"]["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html: aws:SourceAccount and aws:SourceArn in the
    # key's policy are "not supported for EventBridge-to-encrypted topics", and every event would be lost.
    assert users["Events"]["Principal"] == {"Service": "events.amazonaws.com"}
    assert "Condition" not in users["Events"]
    for inputs in production.of("aws:sns/topic:Topic").values():
        assert "alias/aws/sns" not in str(inputs["kmsMasterKeyId"])
        assert inputs["kmsMasterKeyId"]


def test_people_are_subscribed_and_a_channel_is_told(deploy: Deploy, config: dict[str, Any]) -> None:
    config["monitoring"] |= {
        "subscriptions": [
            {"topic": "critical", "protocol": "sms", "endpoint": "+15550100"},
            {"topic": "deployments", "protocol": "email", "endpoint": "team@example.com"},
        ],
        "slack": {"workspace": "T0123ABCD", "channel": "C0123ABCD"},
    }
    recorded = deploy(config)
    found = recorded.of("aws:sns/topicSubscription:TopicSubscription").values()
    assert {(i["topic"], i["protocol"], i["endpoint"]) for i in found} == {
        (topic("critical-alerts"), "sms", Secret("+15550100")),
        (topic("google-workspace-mcp-deployments"), "email", Secret("team@example.com")),
    }
    (slack,) = recorded.of("aws:chatbot/slackChannelConfiguration:SlackChannelConfiguration").values()
    assert len(slack["snsTopicArns"]) == 4
    assert "notifications-slack-role" in {r.name for r in recorded.resources}
    assert "notifications-slack-policy" not in {r.name for r in recorded.resources}, "a channel may do nothing"


def test_without_monitoring_nothing_of_it_is_made(deploy: Deploy, config: dict[str, Any]) -> None:
    del config["monitoring"]
    types = {r.type for r in deploy(config).resources}
    assert not {t for t in types if t.startswith(("aws:sns", "aws:kms")) or "Alarm" in t or "Dashboard" in t}


def test_an_internal_service_has_no_alarms_on_a_load_balancer(deploy: Deploy, config: dict[str, Any]) -> None:
    del config["buckets"]
    config["services"] = {"inside": {"server": "other", "securityGroups": ["busyb-ecs-sg"]}}
    recorded = deploy(config)
    found = {
        i["name"].removeprefix("busyb-inside-mcp-")
        for i in recorded.of("aws:cloudwatch/metricAlarm:MetricAlarm").values()
    }
    assert found == {"cpu", "memory", "no-task", "crash-loop", "errors", "oauth-failures", "refusals", "store-failures"}
    (composite,) = recorded.of("aws:cloudwatch/compositeAlarm:CompositeAlarm").values()
    assert composite["alarmRule"] == 'ALARM("busyb-inside-mcp-no-task")'
    (dashboard,) = recorded.of("aws:cloudwatch/dashboard:Dashboard").values()
    assert "ApplicationELB" not in dashboard["dashboardBody"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"topics": {"critical": "same", "warning": "same"}}, "two of them have the same name"),
        ({"subscriptions": [{"topic": "critical", "protocol": "sms", "endpoint": "0170"}]}, "a telephone number"),
        ({"subscriptions": [{"topic": "critical", "protocol": "email", "endpoint": "team"}]}, "an e-mail address"),
        (
            {"subscriptions": [{"topic": "nobody", "protocol": "email", "endpoint": "a@b.c"}]},
            "'critical', 'operations'",
        ),
        ({"slack": {"workspace": "busyb", "channel": "C0123ABCD"}}, "a workspace's id"),
    ],
)
def test_mistakes_are_told(deploy: Deploy, config: dict[str, Any], change: dict[str, Any], said: str) -> None:
    config["monitoring"] = change
    assert said in str(deploy(config, fails=True).error)


def test_two_services_cannot_have_one_dashboard(deploy: Deploy, config: dict[str, Any], estate: Account) -> None:
    config["services"]["google-workspace"]["dashboard"] = "GoogleWorkspaceMCP"
    config["services"]["second"] = {
        "server": "other",
        "securityGroups": ["busyb-ecs-sg"],
        "dashboard": "GoogleWorkspaceMCP",
    }
    assert "both have the dashboard GoogleWorkspaceMCP" in str(deploy(config, fails=True).error)


COLLECTOR = "public.ecr.aws/aws-observability/aws-otel-collector@sha256:" + "ab" * 32
LATER = {"alarms": {"anomalyBand": 3}, "logs": {"format": "json"}, "tracing": {"collector": COLLECTOR}}
"""The options that are off by default, of a service."""


@pytest.fixture
def later(deploy: Deploy, config: dict[str, Any]) -> Recorded:
    config["services"]["google-workspace"] |= LATER
    config["monitoring"]["budget"] = {"limit": 40, "alertPercent": 70}
    return deploy(config)


def test_what_is_unusual_is_compared_with_a_band_that_cloudwatch_learns(later: Recorded) -> None:
    unusual = {part: inputs for part, inputs in alarms(later).items() if part.startswith("unusual-")}
    assert unusual.keys() == {"unusual-memory", "unusual-requests", "unusual-response-time"}
    for inputs in unusual.values():
        seen, usual = inputs["metricQueries"]
        assert usual["expression"] == "ANOMALY_DETECTION_BAND(seen, 3)"
        assert inputs["thresholdMetricId"] == usual["id"]
        assert seen["metric"]["dimensions"]
        assert not {"threshold", "metricName", "statistic", "period"} & inputs.keys(), "AWS takes either, not both"
        assert inputs["alarmActions"] == [topic("warnings")]
    either = {part for part, i in unusual.items() if i["comparisonOperator"].startswith("LessThanLowerOr")}
    assert either == {"unusual-requests"}, "less memory, or a faster answer, is nobody's worry"


def test_json_is_read_by_field(later: Recorded) -> None:
    patterns = {i["pattern"] for i in later.of("aws:cloudwatch/logMetricFilter:LogMetricFilter").values()}
    assert patterns == {filter_pattern(part, "json") for part in TERMS}
    server, _ = containers(later)
    assert {"name": "LOG_FORMAT", "value": "json"} in server["environment"]


def containers(recorded: Recorded) -> list[dict[str, Any]]:
    (definition,) = recorded.of("aws:ecs/taskDefinition:TaskDefinition").values()
    return list(json.loads(definition["containerDefinitions"]))


def test_traces_go_through_a_collector_beside_the_server(later: Recorded) -> None:
    server, collector = containers(later)
    variables = {entry["name"]: entry["value"] for entry in server["environment"]}
    assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://localhost:4318"
    assert variables["OTEL_TRACES_SAMPLER_ARG"] == "0.1"
    assert collector["image"] == COLLECTOR
    assert collector["essential"] is False, "without traces the server serves all the same"
    told = json.loads(collector["environment"][0]["value"])
    assert told["receivers"]["otlp"]["protocols"]["http"]["endpoint"] == "localhost:4318", "from inside the task only"
    assert told["service"]["pipelines"].keys() == {"traces"}, "no metrics, which would cost"
    assert "portMappings" not in collector


def test_the_task_may_send_traces_where_it_makes_them(later: Recorded, deploy: Deploy, config: dict[str, Any]) -> None:
    def actions(recorded: Recorded) -> set[str]:
        policy = json.loads(recorded.inputs("google-workspace-task-policy")["policy"])
        return {
            a for s in policy["Statement"] for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])
        }

    assert {"xray:PutTelemetryRecords", "xray:PutTraceSegments"} <= actions(later)
    del config["services"]["google-workspace"]["tracing"]
    assert not {action for action in actions(deploy(config)) if action.startswith("xray:")}


def test_a_collector_in_ecr_may_be_pulled(deploy: Deploy, config: dict[str, Any]) -> None:
    image = "210987654321.dkr.ecr.us-east-1.amazonaws.com/mirror/collector@sha256:" + "ab" * 32
    config["services"]["google-workspace"]["tracing"] = {"collector": image}
    policy = json.loads(deploy(config).inputs("google-workspace-execution-policy")["policy"])
    (statement,) = (s for s in policy["Statement"] if s["Sid"] == "Image")
    assert statement["Resource"] == [
        "arn:aws:ecr:us-east-1:758888582357:repository/busyb-google-workspace-mcp",
        "arn:aws:ecr:us-east-1:210987654321:repository/mirror/collector",
    ]


@pytest.mark.parametrize(("limit", "amount"), [(12.34, "12.34"), ("12.3", "12.3"), (50, "50.0"), (0.01, "0.01")])
def test_a_budget_is_kept_to_the_cent(deploy: Deploy, config: dict[str, Any], limit: Any, amount: str) -> None:
    config["monitoring"]["budget"] = {"limit": limit}
    (budget,) = deploy(config).of("aws:budgets/budget:Budget").values()
    assert budget["limitAmount"] == amount


@pytest.mark.parametrize("limit", [12.345, 0, -1, "nan", 1e12])
def test_a_budget_that_is_no_amount_of_money_is_refused(deploy: Deploy, config: dict[str, Any], limit: Any) -> None:
    config["monitoring"]["budget"] = {"limit": limit}
    assert "monitoring.budget.limit" in str(deploy(config, fails=True).error)


def test_a_budget_counts_the_stacks_own_resources_and_tells_of_what_is_spent_and_expected(later: Recorded) -> None:
    (budget,) = later.of("aws:budgets/budget:Budget").values()
    assert (budget["limitAmount"], budget["limitUnit"], budget["timeUnit"]) == ("40.0", "USD", "MONTHLY")
    (counted,) = budget["costFilters"]
    assert counted["name"] == "TagKeyValue"
    tags = {r.inputs["tags"]["Service"] for r in later.resources if isinstance(r.inputs.get("tags"), dict)}
    assert {value.removeprefix("user:Service$") for value in counted["values"]} == tags
    told = [(n["notificationType"], n["threshold"], n["subscriberSnsTopicArns"]) for n in budget["notifications"]]
    assert told == [("ACTUAL", 70, [topic("warnings")]), ("FORECASTED", 100, [topic("warnings")])]
    (key,) = later.of("aws:kms/key:Key").values()
    policies = later.of("aws:sns/topicPolicy:TopicPolicy").values()
    (warnings,) = (i["policy"] for i in policies if "budgets.amazonaws.com" in i["policy"])
    assert topic("warnings") in warnings, "the other topics are not for budgets"
    for policy in (key["policy"], warnings):
        (statement,) = (s for s in json.loads(policy)["Statement"] if s["Sid"] == "Budgets")
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}


def test_by_default_there_is_none_of_it(production: Recorded) -> None:
    assert not [part for part in alarms(production) if part.startswith("unusual")]
    assert len(containers(production)) == 1
    assert not {e["name"] for e in containers(production)[0]["environment"]} & {"LOG_FORMAT", "OTEL_SERVICE_NAME"}
    assert not production.of("aws:budgets/budget:Budget")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tracing": {"collector": "public.ecr.aws/aws-observability/aws-otel-collector:latest"}}, "a tag could be"),
        ({"tracing": {"collector": COLLECTOR, "samplePercent": 0}}, "greater than 0"),
        ({"alarms": {"anomalyBand": 0.5}}, "greater than or equal to 1"),
        ({"logs": {"format": "xml"}}, "'text' or 'json'"),
        ({"server": "other", "secrets": {}, "logs": {"format": "json"}}, "workspace-mcp alone is told"),
    ],
)
def test_mistakes_in_options_are_told(
    deploy: Deploy, config: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    config["services"]["google-workspace"] |= change
    assert said in str(deploy(config, fails=True).error)
