"""What watches a service, in the emulated account: it is all there, and what it says reaches people as they read it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import httpx2
import pytest

from components.observability import TERMS, filter_pattern
from rehearsal.docker import Engine
from rehearsal.run import Rehearsal
from tests.log_filters import counted
from tests.stacks import SERVICE, changed, production

NAME = "busyb-google-workspace-mcp"
ALARM_TEXT = "No task runs. Runbook: 503 from outside, no task runs."


@pytest.fixture(scope="module")
def watched(engine: Engine) -> Iterator[Rehearsal]:
    """The production stack with subscribers, and with all that is off by default."""
    stack = changed(
        production("watched"),
        {
            "monitoring.subscriptions": [
                {"topic": "critical", "protocol": "email", "endpoint": "team@example.com"},
                {"topic": "critical", "protocol": "sms", "endpoint": "+15550100"},
                {"topic": "deployments", "protocol": "https", "endpoint": "https://hooks.example.com/x"},
            ],
            "monitoring.slack": {"workspace": "T0123ABCD", "channel": "C0123ABCD"},
            # The options of later phases, all at once.
            "monitoring.budget": {"limit": 40},
            f"{SERVICE}.alarms.anomalyBand": 3,
            f"{SERVICE}.logs.format": "json",
            f"{SERVICE}.tracing": {"collector": f"public.ecr.aws/aws-otel-collector@sha256:{'ab' * 32}"},
        },
    )
    with Rehearsal(stack) as rehearsal:
        rehearsal.deploy()
        yield rehearsal


def topic(rehearsal: Rehearsal, name: str) -> str:
    arns = [t["TopicArn"] for t in rehearsal.account.client("sns").list_topics()["Topics"]]
    (found,) = (arn for arn in arns if arn.endswith(f":{name}"))
    return str(found)


@pytest.fixture
def inbox(watched: Rehearsal, unique: str) -> Iterator[Any]:
    """`inbox(topic)` subscribes a queue; `inbox.messages()` takes what came."""
    sqs, sns = watched.account.client("sqs"), watched.account.client("sns")
    url = sqs.create_queue(QueueName=unique)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    class Inbox:
        def __call__(self, name: str) -> None:
            sns.subscribe(TopicArn=topic(watched, name), Protocol="sqs", Endpoint=arn)

        def messages(self) -> list[dict[str, Any]]:
            found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5).get("Messages", [])
            return [json.loads(message["Body"]) for message in found]

    yield Inbox()
    sqs.delete_queue(QueueUrl=url)


def test_a_second_deployment_changes_nothing(watched: Rehearsal) -> None:
    again = watched.deploy()
    assert {(r.name, r.action) for r in again.resources if r.action != "same"} == set()


def test_all_alarms_are_there_and_tell_a_topic(watched: Rehearsal) -> None:
    cloudwatch, sns = watched.account.client("cloudwatch"), watched.account.client("sns")
    found = cloudwatch.describe_alarms(AlarmNamePrefix=NAME, AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    topics = {t["TopicArn"] for t in sns.list_topics()["Topics"]}
    alarms = found["MetricAlarms"] + found["CompositeAlarms"]
    assert len(alarms) == 17
    for alarm in alarms:
        assert set(alarm["AlarmActions"]) <= topics
        assert alarm["AlarmActions"] and alarm["AlarmDescription"]
    (composite,) = found["CompositeAlarms"]
    names = {alarm["AlarmName"] for alarm in found["MetricAlarms"]}
    assert all(name in names for name in composite["AlarmRule"].split('"')[1::2])


def test_every_alarm_of_the_dashboard_is_one_that_exists(watched: Rehearsal) -> None:
    cloudwatch = watched.account.client("cloudwatch")
    body = json.loads(cloudwatch.get_dashboard(DashboardName="GoogleWorkspaceMCP")["DashboardBody"])
    found = cloudwatch.describe_alarms(AlarmNamePrefix=NAME, AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    arns = {alarm["AlarmArn"] for alarm in found["MetricAlarms"] + found["CompositeAlarms"]}
    (widget,) = (w for w in body["widgets"] if w["type"] == "alarm")
    assert set(widget["properties"]["alarms"]) == arns
    balancer = watched.account.client("elbv2").describe_load_balancers(Names=["busyb-alb"])["LoadBalancers"][0]
    assert balancer["LoadBalancerArn"].partition("loadbalancer/")[2] in json.dumps(body)


def test_metric_filters_are_on_the_log_group(watched: Rehearsal) -> None:
    found = watched.account.client("logs").describe_metric_filters(logGroupName=f"/ecs/{NAME}")["metricFilters"]
    assert {f["filterName"] for f in found} == {
        f"{NAME}-{p}" for p in ("errors", "oauth-failures", "refusals", "store-failures")
    }


@pytest.fixture
def hook(watched: Rehearsal) -> Iterator[list[dict[str, Any]]]:
    """What a webhook got that is subscribed to the critical alerts, and has confirmed it."""
    got: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    Thread(target=server.serve_forever, daemon=True).start()
    sns, arn = watched.account.client("sns"), topic(watched, "critical-alerts")
    try:
        made = sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=f"http://127.0.0.1:{server.server_port}/")
        assert made["SubscriptionArn"] == "pending confirmation"
        assert until(lambda: got)["Type"] == "SubscriptionConfirmation"
        confirmed = sns.confirm_subscription(TopicArn=arn, Token=got.pop()["Token"])["SubscriptionArn"]
        yield got
        sns.unsubscribe(SubscriptionArn=confirmed)
    finally:
        server.shutdown()


def until(messages: Callable[[], list[dict[str, Any]]]) -> dict[str, Any]:
    """The first of `messages`, as soon as there is one."""
    deadline = time.monotonic() + 20
    while not messages() and time.monotonic() < deadline:
        time.sleep(0.05)
    return messages()[0]


def test_an_alarm_reaches_subscribers_of_each_kind_in_words_that_say_what_to_do(
    watched: Rehearsal, inbox: Any, hook: list[dict[str, Any]]
) -> None:
    def kept(address: str) -> list[dict[str, Any]]:
        with httpx2.Client(trust_env=False, base_url=watched.account.endpoint) as client:
            found = client.get("/_ministack/sns/sms-messages", params={"phoneNumber": address}).json()
        return [m for m in found["sms_messages"].get(address, []) if f"{NAME}-no-task" in m["Subject"]]

    inbox("critical-alerts")
    cloudwatch = watched.account.client("cloudwatch")
    cloudwatch.set_alarm_state(AlarmName=f"{NAME}-no-task", StateValue="ALARM", StateReason="Threshold Crossed")
    told = {
        "queue": next(m for m in inbox.messages() if f"{NAME}-no-task" in m["Subject"]),
        "webhook": until(lambda: [m for m in hook if f"{NAME}-no-task" in m["Subject"]]),
        "email": until(lambda: kept("team@example.com")),
        "sms": until(lambda: kept("+15550100")),
    }
    for kind, alarm in told.items():
        assert alarm["Subject"] == f'ALARM: "{NAME}-no-task" in us-east-1', kind
        assert json.loads(alarm["Message"])["AlarmDescription"] == ALARM_TEXT, kind
    state = cloudwatch.describe_alarms(AlarmNames=[f"{NAME}-users-affected"], AlarmTypes=["CompositeAlarm"])
    assert state["CompositeAlarms"][0]["StateValue"] == "ALARM", "users are affected"
    cloudwatch.set_alarm_state(AlarmName=f"{NAME}-no-task", StateValue="OK", StateReason="back")


def test_people_are_subscribed_by_each_protocol(watched: Rehearsal) -> None:
    sns = watched.account.client("sns")
    pages = sns.get_paginator("list_subscriptions").paginate()
    found = {(s["Protocol"], s["Endpoint"]) for page in pages for s in page["Subscriptions"]}
    assert {("email", "team@example.com"), ("sms", "+15550100"), ("https", "https://hooks.example.com/x")} <= found


def test_what_the_emulator_cannot_do_is_said(watched: Rehearsal) -> None:
    recorded = [reason for result in watched.deploy().resources for reason in result.recorded_only.values()]
    said = " ".join(recorded)
    assert "the emulator has no chat service" in said
    assert "metric math" in said
    assert "nothing would reach it at localhost" in said, "the collector is not started"


def test_the_filters_count_what_the_running_server_writes(watched: Rehearsal) -> None:
    assert watched.edge
    logs, group = watched.account.client("logs"), f"/ecs/{NAME}"
    with httpx2.Client(trust_env=False, headers={"Host": "api.busyb.ai"}, base_url=watched.edge.url) as client:
        assert client.post("/google-workspace/mcp", json={}).status_code == 401
        assert client.get("/google-workspace/oauth2callback?error=access_denied&state=x").status_code == 400
        origin = {"Origin": "https://evil.example"}
        assert client.post("/google-workspace/mcp", json={}, headers=origin).status_code == 403
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        lines = [event["message"].strip() for event in logs.filter_log_events(logGroupName=group)["events"]]
        if any("evil.example" in line for line in lines):
            break
        time.sleep(0.2)
    records = [json.loads(line) for line in lines]
    assert all(record.keys() >= {"time", "level", "logger", "message"} for record in records)
    hits = {record["message"]: parts for record, line in zip(records, lines, strict=True) if (parts := counted(line))}
    assert hits == {
        "IdP callback error: access_denied - None": {"errors", "oauth-failures"},
        "Rejected HTTP request from Origin: https://evil.example": {"refusals"},
    }, "and no 401"
    assert any(record["message"].startswith("OpenTelemetry tracing enabled") for record in records)
    filters = logs.describe_metric_filters(logGroupName=group)["metricFilters"]
    assert {f["filterPattern"] for f in filters} == {filter_pattern(part, "json") for part in TERMS}


def test_a_budget_tells_the_topic_of_warnings(watched: Rehearsal) -> None:
    mine = {"AccountId": watched.account.account, "BudgetName": "busyb-production-mcp"}
    budgets = watched.account.client("budgets")
    assert float(budgets.describe_budget(**mine)["Budget"]["BudgetLimit"]["Amount"]) == 40
    for entry in budgets.describe_notifications_for_budget(**mine)["Notifications"]:
        (told,) = budgets.describe_subscribers_for_notification(**mine, Notification=entry)["Subscribers"]
        assert told["Address"] == topic(watched, "warnings")


def event(detail_type: str, detail: dict[str, Any], resources: list[str]) -> dict[str, Any]:
    return {"DetailType": detail_type, "Detail": json.dumps(detail), "Resources": resources}


STOPPED = {
    "clusterArn": "arn:aws:ecs:us-east-1:758888582357:cluster/busyb-cluster",
    "group": f"service:{NAME}-service",
    "lastStatus": "STOPPED",
    "stopCode": "EssentialContainerExited",
    "stoppedReason": "Essential container in task exited",
    "taskArn": "arn:aws:ecs:us-east-1:758888582357:task/busyb-cluster/0a1b",
    "containers": [{"exitCode": 137, "name": "google-workspace"}],
}
SERVICE_ARN = f"arn:aws:ecs:us-east-1:758888582357:service/busyb-cluster/{NAME}-service"


@pytest.mark.parametrize(
    ("about", "told", "kind", "detail", "resources", "text"),
    [
        (
            "stopped",
            "ops-alerts",
            "ECS Task State Change",
            STOPPED,
            [],
            f"""\
"A task of {NAME} stopped by itself: Essential container in task exited"
"{STOPPED["taskArn"]}"
"Exit code and last lines: ./ops status --service google-workspace\"""",
        ),
        *(
            (
                about,
                "google-workspace-mcp-deployments",
                "ECS Deployment State Change",
                {"eventName": event, "reason": reason, "deploymentId": "ecs-svc/0123"},
                [SERVICE_ARN],
                f'''\
"{NAME}: {words} {reason}"
"ecs-svc/0123"
"What runs now: ./ops status --service google-workspace"''',
            )
            for about, event, words, reason in (
                (
                    "deployment-begun",
                    "SERVICE_DEPLOYMENT_IN_PROGRESS",
                    "a deployment begins, or ECS goes back.",
                    "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/0122.",
                ),
                (
                    "deployment-completed",
                    "SERVICE_DEPLOYMENT_COMPLETED",
                    "a deployment is complete.",
                    "ECS deployment deploymentID completed.",
                ),
                (
                    "deployment-failed",
                    "SERVICE_DEPLOYMENT_FAILED",
                    "a deployment failed.",
                    "ECS deployment circuit breaker: tasks failed to start.",
                ),
            )
        ),
    ],
)
def test_ecs_events_are_messages_that_a_person_understands(
    watched: Rehearsal,
    inbox: Any,
    unique: str,
    about: str,
    told: str,
    kind: str,
    detail: dict[str, Any],
    resources: list[str],
    text: str,
) -> None:
    events = watched.account.client("events")
    inbox(told)
    # Nobody but AWS may send events as aws.ecs: a rule with the very pattern and target, for a source of ours.
    pattern = json.loads(events.describe_rule(Name=f"{NAME}-{about}")["EventPattern"])
    events.put_rule(Name=unique, EventPattern=json.dumps({**pattern, "source": [unique]}))
    events.put_targets(Rule=unique, Targets=events.list_targets_by_rule(Rule=f"{NAME}-{about}")["Targets"])
    sent = {"Source": unique, **event(kind, detail, resources)}
    other = {**sent, "Detail": json.dumps({**detail, "group": "service:other", "eventName": "OTHER"})}
    assert events.put_events(Entries=[other, sent])["FailedEntryCount"] == 0
    assert [message["Message"] for message in inbox.messages()] == [text], "and another service's tells nothing"
    events.remove_targets(Rule=unique, Ids=["topic"])
    events.delete_rule(Name=unique)


def test_a_task_that_a_deployment_stops_tells_nobody(watched: Rehearsal, inbox: Any, unique: str) -> None:
    events = watched.account.client("events")
    pattern = events.describe_rule(Name=f"{NAME}-stopped")["EventPattern"]
    scaled = {**STOPPED, "stopCode": "ServiceSchedulerInitiated", "stoppedReason": "Scaling activity initiated by (d)"}
    unfit = {**scaled, "stoppedReason": "Task failed ELB health checks in (target-group t)"}

    def matches(detail: dict[str, Any]) -> bool:
        sent = {
            "id": unique,
            "account": "758888582357",
            "source": "aws.ecs",
            "time": "2026-11-23T00:00:00Z",
            "region": "us-east-1",
            "resources": [],
            "detail-type": "ECS Task State Change",
            "detail": detail,
        }
        return bool(events.test_event_pattern(EventPattern=pattern, Event=json.dumps(sent))["Result"])

    assert [matches(STOPPED), matches(scaled), matches(unfit)] == [True, False, True]


def test_destroying_leaves_nothing_of_it(watched: Rehearsal) -> None:
    gone = watched.deployer.destroy()
    assert {r.action for r in gone.resources} == {"deleted"}
    client = watched.account.client
    assert not client("cloudwatch").describe_alarms(AlarmNamePrefix=NAME)["MetricAlarms"]
    assert not client("sns").list_topics()["Topics"]
    assert not client("budgets").describe_budgets(AccountId=watched.account.account).get("Budgets")
    assert not client("events").list_rules(NamePrefix=NAME)["Rules"]
    assert not client("cloudwatch").list_dashboards(DashboardNamePrefix="GoogleWorkspace")["DashboardEntries"]
    assert not [a for a in client("kms").list_aliases()["Aliases"] if "busyb" in a["AliasName"]]
