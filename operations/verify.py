"""`verify`: after a deployment, does the running service do what was wanted? Asked of the account and as a client."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

import checks
from checks import Check, deployment
from checks.check import Failed, NotRun, Probe, run_probes
from components import rollout, traffic_shift
from components.containers import log_group_name
from components.listener_rules import host_regex
from components.names import alarm_name, service_name, target_group_names
from components.observability import ERROR_LINE
from components.settings import DynamoDbState, Service, ValkeyState
from operations import probe, stores
from operations.target import Target

_ERROR = re.compile(rf"{ERROR_LINE}|\b(ERROR|CRITICAL|Traceback)\b")
_HEALTH_LIMIT = 90.0
"""Seconds that targets may take from registered to healthy."""
_REHEARSED_HEALTH_LIMIT = 20.0
"""The same where targets are asked twenty times as often."""
_LOOKED_BACK = datetime.timedelta(hours=1)
"""How far back the log is looked at, at most: a deployment of weeks ago says nothing of today. ECS remembers tasks that
stopped for as long."""


def verify(target: Target, service: Service, deployed: deployment.Deployment | None = None) -> list[Check]:
    """All checks, in parallel; the order of the results is fixed. `deployed`: default, what the stack's outputs say."""
    deployed = deployed or deployment.of_service(target.settings, service, target.outputs)
    results = asyncio.run(run_probes(_probes(target, service), timeout=max(_HEALTH_LIMIT, probe.TASK_LIMIT) + 60))
    results += deployment.run(deployed, target.client)
    if service.url:
        address = checks.address(service, service.url, target.connect_to)
        results += checks.run(address, checks.expectations(service))
    return results


def _probes(target: Target, service: Service) -> list[Probe]:
    def asked(name: str, remedy: str, ask: Callable[[Target, Service], str]) -> Probe:
        return Probe(name, remedy, lambda: asyncio.to_thread(ask, target, service))

    probes = [
        asked("its tasks are in every zone", "wait, or see the service's events: ./ops status", _zones),
        asked("it answers inside the VPC, by its private name", "see discovery and the security groups", _inside),
        asked("no errors in its log since the deployment, in the last hour", "read them: ./ops logs", _errors),
    ]
    if isinstance(service.oauth_state, DynamoDbState):
        probes.append(asked("OAuth state has its table", "pulumi up --refresh sets it right", _table))
    if isinstance(service.oauth_state, ValkeyState):
        remedy = (
            "pulumi up --refresh sets it right" if service.oauth_cache else "correct oauth.state, or change the cache"
        )
        probes.append(asked("OAuth state has its cache", remedy, _cache))
    if service.public:
        probes[:0] = [
            asked("every target is healthy", "compare health.path and port with what the server answers on", _targets),
            asked("the listener's rules are the wanted ones", "pulumi up --refresh puts them right", _rules),
        ]
    if service.deployment.shifts:
        probes.append(asked("ECS can shift its requests", "pulumi up --refresh sets it right", _shifting))
    if target.settings.rollback_alarms(service):
        probes.append(asked("an alarm takes a deployment back", "pulumi up --refresh sets it right", heeded_alarms))
    return probes


def _targets(target: Target, service: Service) -> str:
    deadline = time.monotonic() + (_REHEARSED_HEALTH_LIMIT if target.rehearsed else _HEALTH_LIMIT)
    wanted = target.described(service)["desiredCount"]
    while True:
        targets = target.target_health(service)
        states = ", ".join(f"{t['target']}:{t['port']} {t['state']}" for t in targets) or "no target is registered"
        live = [t for t in targets if t["state"] != "draining"]
        if live and all(t["state"] == "healthy" for t in live):
            return states
        if not wanted or time.monotonic() > deadline:
            raise Failed(states)
        time.sleep(0.3)


def _rules(target: Target, service: Service) -> str:
    pages = target.client("elbv2").get_paginator("describe_rules").paginate(ListenerArn=target.listener())
    standing = {rule["Priority"]: rule for page in pages for rule in page["Rules"]}
    for wanted in service.listener_rules:
        rule = standing.get(str(wanted.priority))
        if rule is None:
            raise Failed(f"there is no rule {wanted.priority} ({wanted.part})")
        seen = _conditions(rule)
        host = host_regex(wanted.host) or wanted.host
        if seen.get("host-header") != [host] or sorted(seen.get("path-pattern", [])) != sorted(wanted.paths):
            raise Failed(f"rule {wanted.priority} is for {seen}, not for {wanted.host}{' '.join(wanted.paths)}")
        rewrites = [
            (rewrite["Regex"], rewrite["Replace"])
            for transform in rule.get("Transforms", [])
            for rewrite in transform.get("UrlRewriteConfig", {}).get("Rewrites", [])
        ]
        if rewrites != ([wanted.rewrite] if wanted.rewrite else []):
            raise Failed(f"rule {wanted.priority} rewrites {rewrites or 'nothing'}, not {wanted.rewrite or 'nothing'}")
    return ", ".join(f"{rule.priority} {rule.part}" for rule in service.listener_rules)


def _conditions(rule: dict[str, Any]) -> dict[str, list[str]]:
    return {
        c["Field"]: next(
            (c[member].get("Values") or c[member].get("RegexValues", []) for member in c if member.endswith("Config")),
            c.get("Values", []),
        )
        for c in rule["Conditions"]
    }


def _shifting(target: Target, service: Service) -> str:
    """How ECS shifts requests. It begins a deployment only where exactly one of the two target groups has them."""
    wanted = traffic_shift.strategy(service.deployment)
    found = target.described(service)["deploymentConfiguration"].get("strategy", "ROLLING")
    if found != wanted:
        raise Failed(f"the strategy is {found}, not {wanted}")
    weights = target.shares(service)
    words = ", ".join(f"{name} {weight}" for name, weight in weights.items())
    if weights.keys() != set(target_group_names(service)):
        raise Failed(
            f"its rule forwards to {words or 'no group of its own'}, not to {_and(target_group_names(service))}"
        )
    serving = [name for name, weight in weights.items() if weight]
    if len(serving) != 1 and not rollout.under_way(target.described(service)):
        raise Failed(f"no deployment is under way, and yet the weights are {words}")
    return f"{wanted}, {words}"


def _and(names: Iterable[str]) -> str:
    return " and ".join(names)


def heeded_alarms(target: Target, service: Service) -> str:
    """Which alarms take a deployment back. Raises `Failed` where ECS heeds others than those that are wanted, or one is
    not there, of which ECS says nothing."""
    wanted = {alarm_name(service, part): part for part in target.settings.rollback_alarms(service)}
    alarms = target.described(service)["deploymentConfiguration"].get("alarms", {})
    heeded = set(alarms["alarmNames"]) if alarms.get("enable") and alarms.get("rollback") else set()
    there = target.client("cloudwatch").describe_alarms(AlarmNames=list(wanted))["MetricAlarms"]
    if heeded != wanted.keys():
        raise Failed(f"ECS heeds {', '.join(sorted(heeded)) or 'none'}, not {', '.join(sorted(wanted))}")
    if missing := wanted.keys() - {alarm["AlarmName"] for alarm in there}:
        raise Failed(f"there is no alarm {', '.join(sorted(missing))}")
    return ", ".join(sorted(wanted.values()))


def _table(target: Target, service: Service) -> str:
    return stores.table(target.client, service, made=True)


def _cache(target: Target, service: Service) -> str:
    if service.oauth_cache:
        return stores.made_cache(target.client, service, made=True)
    return stores.cache(target.client, service)


def _tasks(target: Target, service: Service, *, stopped: bool = False) -> list[dict[str, Any]]:
    """The service's tasks that run; with `stopped` those too that stopped within the last hour or so."""
    ecs, cluster = target.client("ecs"), target.settings.estate.cluster
    arns = [
        arn
        for status in ("RUNNING", "STOPPED")[: 2 if stopped else 1]
        for page in ecs.get_paginator("list_tasks").paginate(
            cluster=cluster, serviceName=service_name(service), desiredStatus=status
        )
        for arn in page["taskArns"]
    ]
    # A hundred is what ECS describes at once.
    batches = [arns[start : start + 100] for start in range(0, len(arns), 100)]
    return [task for batch in batches for task in ecs.describe_tasks(cluster=cluster, tasks=batch)["tasks"]]


def _zones(target: Target, service: Service) -> str:
    tasks = _tasks(target, service)
    if not tasks:
        raise Failed("no task runs")
    zones = sorted({task["availabilityZone"] for task in tasks if task.get("availabilityZone")})
    wanted = min(len(tasks), len(target.settings.estate.task_subnets))
    if len(zones) < wanted:
        # Tasks are not looked for in all zones in a rehearsal. Goes when the emulator has more than one zone.
        if target.rehearsed:
            raise NotRun(f"{len(tasks)} tasks in {', '.join(zones)}: the emulator has one zone")
        raise Failed(f"{len(tasks)} tasks, all in {', '.join(zones)}")
    return f"{len(tasks)} tasks in {', '.join(zones)}"


def _inside(target: Target, service: Service) -> str:
    """From a task of its own beside the service's: the private name does not resolve outside of the VPC."""
    # Discovery is not asked in a rehearsal. Goes when the emulator has private DNS.
    if target.rehearsed:
        raise NotRun("the emulator has no private DNS; the service was reached at its tasks' own addresses")
    described = target.described(service)
    address = f"http://{service.discovery_name}.{target.settings.estate.namespace}:{service.port}{service.health.path}"
    question = f"import sys,urllib.request as u;sys.exit(0 if u.urlopen('{address}',timeout=20).status==200 else 1)"
    network = probe.network(target, service, described)
    ended = probe.run(target, service, described, network, ["python3", "-c", question])
    groups = ", ".join(network["awsvpcConfiguration"]["securityGroups"])
    if ended.code != 0:
        outcome = f"ended with {ended.code}" if ended.code is not None else "did not ask"
        why = f" ({ended.why})" if ended.why else ""
        detail = f"task {ended.task} in the same subnets, in {groups}, asked {address} and {outcome}{why}"
        lines = f"its lines: ./ops logs --since 15m, task {ended.task[:8]}"
        raise Failed("; ".join([detail, *ended.notes]), remedy=lines)
    return "; ".join([f"{address} answers 200 from a task in the same subnets, in {groups}", *ended.notes])


def _errors(target: Target, service: Service) -> str:
    described = target.described(service)
    primary = next(d for d in described["deployments"] if d["status"] == "PRIMARY")
    since = max(primary["createdAt"], datetime.datetime.now(tz=datetime.UTC) - _LOOKED_BACK)
    # Tasks that the deployment replaces write their last lines after it began, and one-off tasks write here too.
    tasks = {
        task["taskArn"].rsplit("/", 1)[-1]
        for task in _tasks(target, service, stopped=True)
        if task["taskDefinitionArn"] == primary["taskDefinition"] and task["createdAt"] >= primary["createdAt"]
    }
    pages = (
        target.client("logs")
        .get_paginator("filter_log_events")
        .paginate(
            logGroupName=log_group_name(service),
            startTime=int(since.timestamp() * 1000),
            PaginationConfig={"MaxItems": 10_000},
        )
    )
    events = (event for page in pages for event in page["events"])
    lines = [event["message"].strip() for event in events if event["logStreamName"].rsplit("/", 1)[-1] in tasks]
    errors = [line for line in lines if _ERROR.search(line)]
    if errors:
        raise Failed(f"{len(errors)} of {len(lines)} lines, the last: {errors[-1][:200]}")
    return f"{len(lines)} lines since {since:%Y-%m-%d %H:%M}"


def named(service: Service, results: list[Check], *, several: bool) -> list[Check]:
    """Results with the service's key before each name where there are several services."""
    return [dataclasses.replace(r, name=f"{service.key}: {r.name}") for r in results] if several else results
