"""`verify`: after a deployment, does the running service do what was wanted? Asked of the account and as a client."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import re
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

import checks
from checks import Check, deployment
from checks.check import Failed, NotRun, Probe, run_probes
from components.listener_rules import host_regex
from components.names import target_group_name
from components.observability import ERROR_LINE
from components.service import log_group_name
from components.settings import Service
from operations.target import Target, service_name

_ERROR = re.compile(rf"{ERROR_LINE}|\b(ERROR|CRITICAL|Traceback)\b")
_HEALTH_LIMIT = 90.0
"""Seconds that targets may take from registered to healthy."""
_REHEARSED_HEALTH_LIMIT = 20.0
"""The same where targets are asked twenty times as often."""


def verify(target: Target, service: Service, deployed: deployment.Deployment | None = None) -> list[Check]:
    """All checks, in parallel; the order of the results is fixed. `deployed`: default, what the stack's outputs say."""
    deployed = deployed or deployment.of_service(target.settings, service, target.outputs)
    results = asyncio.run(run_probes(_probes(target, service), timeout=_HEALTH_LIMIT + 90))
    results += deployment.run(deployed, target.client)
    if service.url:
        address = checks.address(service, service.url, target.connect_to)
        results += checks.run(address, checks.expectations(service))
    return results


def _probes(target: Target, service: Service) -> list[Probe]:
    def probe(name: str, remedy: str, ask: Callable[[Target, Service], str]) -> Probe:
        return Probe(name, remedy, lambda: asyncio.to_thread(ask, target, service))

    probes = [
        probe("its tasks are in every zone", "wait, or see the service's events: ./ops status", _zones),
        probe("it answers inside the VPC, by its private name", "see discovery and the security groups", _inside),
        probe("no errors in its log since the deployment", "read them: ./ops logs", _errors),
    ]
    if service.public:
        probes[:0] = [
            probe("every target is healthy", "compare health.path and port with what the server answers on", _targets),
            probe("the listener's rules are the wanted ones", "pulumi up --refresh puts them right", _rules),
        ]
    return probes


def _targets(target: Target, service: Service) -> str:
    deadline = time.monotonic() + (_REHEARSED_HEALTH_LIMIT if target.rehearsed else _HEALTH_LIMIT)
    wanted = target.described(service)["desiredCount"]
    while True:
        targets = target.target_health(target_group_name(service))
        told = ", ".join(f"{t['target']}:{t['port']} {t['state']}" for t in targets) or "no target is registered"
        live = [t for t in targets if t["state"] != "draining"]
        if live and all(t["state"] == "healthy" for t in live):
            return told
        if not wanted or time.monotonic() > deadline:
            raise Failed(told)
        time.sleep(0.3)


def _rules(target: Target, service: Service) -> str:
    elb, estate = target.client("elbv2"), target.settings.estate
    balancer = elb.describe_load_balancers(Names=[estate.load_balancer])["LoadBalancers"][0]["LoadBalancerArn"]
    listeners = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
    listener = next(entry["ListenerArn"] for entry in listeners if entry["Port"] == estate.listener_port)
    pages = elb.get_paginator("describe_rules").paginate(ListenerArn=listener)
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


def _tasks(target: Target, service: Service) -> list[dict[str, Any]]:
    ecs, cluster = target.client("ecs"), target.settings.estate.cluster
    arns = ecs.list_tasks(cluster=cluster, serviceName=service_name(service))["taskArns"]
    return list(ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"]) if arns else []


def _zones(target: Target, service: Service) -> str:
    tasks = _tasks(target, service)
    if not tasks:
        raise Failed("no task runs")
    zones = sorted({task["availabilityZone"] for task in tasks if task.get("availabilityZone")})
    wanted = min(len(tasks), len(target.settings.estate.task_subnets))
    if len(zones) < wanted:
        if target.rehearsed:
            raise NotRun(f"{len(tasks)} tasks in {', '.join(zones)}: the emulator has one zone")
        raise Failed(f"{len(tasks)} tasks, all in {', '.join(zones)}")
    return f"{len(tasks)} tasks in {', '.join(zones)}"


def _inside(target: Target, service: Service) -> str:
    """From a task of its own beside the service's: the private name does not resolve outside of the VPC."""
    if target.rehearsed:
        raise NotRun("the emulator has no private DNS; the service was reached at its tasks' own addresses")
    name = f"{service.discovery_name}.{target.settings.estate.namespace}"
    question = (
        "import sys,urllib.request as u;"
        f"sys.exit(0 if u.urlopen('http://{name}:{service.port}{service.health.path}',timeout=20).status==200 else 1)"
    )
    code, left = run_beside(target, service, ["python3", "-c", question])
    address, notes = f"http://{name}:{service.port}{service.health.path}", "".join(f"; {note}" for note in left)
    if code != 0:
        raise Failed(f"a task in the same subnets asked {address} and ended with {code}{notes}")
    return f"{address} answers 200 from a task in the same subnets{notes}"


def run_beside(target: Target, service: Service, command: list[str]) -> tuple[int | None, list[str]]:
    """The exit code of `command` in a one-off task with the service's image, network and roles, None if it did not
    start; and notes on what could not be cleaned up.

    The image's entry point is the server, and ECS cannot override that when it runs a task: so a task definition of
    its own is registered for it, and deregistered again.
    """
    ecs, cluster = target.client("ecs"), target.settings.estate.cluster
    described = target.described(service)
    running = ecs.describe_task_definition(taskDefinition=described["taskDefinition"])["taskDefinition"]
    container = {
        **{name: running["containerDefinitions"][0][name] for name in ("name", "image", "logConfiguration")},
        "essential": True,
        "entryPoint": command[:1],
        "command": command[1:],
    }
    same = (
        "taskRoleArn",
        "executionRoleArn",
        "networkMode",
        "requiresCompatibilities",
        "cpu",
        "memory",
        "runtimePlatform",
    )
    probe = ecs.register_task_definition(
        family=f"{service.name}-verify",
        containerDefinitions=[container],
        **{name: running[name] for name in same if running.get(name)},
    )["taskDefinition"]["taskDefinitionArn"]
    # By its tags the pipeline's role knows which of the cluster's tasks it may stop.
    left: list[str] = []
    tags = [{"key": key, "value": value} for key, value in target.settings.tags_for(service).items()]
    try:
        task = ecs.run_task(
            cluster=cluster,
            taskDefinition=probe,
            launchType="FARGATE",
            networkConfiguration=described["networkConfiguration"],
            tags=tags,
        )["tasks"][0]["taskArn"]
        deadline = time.monotonic() + _HEALTH_LIMIT
        while time.monotonic() < deadline:
            (seen,) = ecs.describe_tasks(cluster=cluster, tasks=[task])["tasks"]
            if seen["lastStatus"] == "STOPPED":
                return next((c["exitCode"] for c in seen["containers"] if "exitCode" in c), None), left
            time.sleep(1)
        stop = functools.partial(ecs.stop_task, cluster=cluster, task=task, reason="verify took too long")
        left += _tidied(stop, f"aws ecs stop-task --cluster {cluster} --task {task}")
        return None, left
    finally:
        deregister = functools.partial(ecs.deregister_task_definition, taskDefinition=probe)
        left += _tidied(deregister, f"aws ecs deregister-task-definition --task-definition {probe}")


def _tidied(tidy: Callable[[], Any], command: str) -> list[str]:
    """A note with `command` where `tidy` failed: what was asked has its answer all the same."""
    try:
        tidy()
    except (BotoCoreError, ClientError) as error:
        return [f"not cleaned up ({error}); do: {command}"]
    return []


def _errors(target: Target, service: Service) -> str:
    described = target.described(service)
    since = min(d["createdAt"] for d in described["deployments"] if d["status"] == "PRIMARY")
    pages = (
        target.client("logs")
        .get_paginator("filter_log_events")
        .paginate(
            logGroupName=log_group_name(service),
            startTime=int(since.timestamp() * 1000),
            PaginationConfig={"MaxItems": 10_000},
        )
    )
    lines = [event["message"].strip() for page in pages for event in page["events"]]
    errors = [line for line in lines if _ERROR.search(line)]
    if errors:
        raise Failed(f"{len(errors)} of {len(lines)} lines, the last: {errors[-1][:200]}")
    return f"{len(lines)} lines since {since:%Y-%m-%d %H:%M}"


def named(service: Service, results: list[Check], *, several: bool) -> list[Check]:
    """Results with the service's key before each name where there are several services."""
    return [dataclasses.replace(r, name=f"{service.key}: {r.name}") for r in results] if several else results
