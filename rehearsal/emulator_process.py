# mypy: disable-error-code="import-not-found"
"""Runs MiniStack inside its own virtual environment; started by `rehearsal.emulator`, never by hand.

    python emulator_process.py --bind 127.0.0.1:4566 [--bind ADDRESS:PORT]... [--id vpc-...]... --target-health FILE
        [--additions JSON] [--registry ADDRESS:PORT] [--follow-parent FOLDER]

Everything else is configured by MiniStack's own environment variables. Imports nothing of the project, because the
interpreter that runs it has MiniStack's pinned dependencies and no others.
"""

import argparse
import asyncio
import json
import shutil
import signal
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

HEALTH_LIMIT = 60.0
"""Seconds in which a task's targets must become healthy; the edge asks more often than configured, so this is ample."""

DRAINING = 1.2
"""Seconds between deregistration and stop, in which the edge learns of it; on AWS the group's deregistration delay."""

LATENESS = 0.5
"""Seconds for which DescribeServices shows the deployments of before UpdateService; on AWS there is no telling."""

# Function of ministack.services.ec2 that makes the id, by the id's prefix.
ID_MAKERS = {"vpc": "_new_vpc_id", "subnet": "_new_subnet_id", "sg": "_new_sg_id"}


def pin_ids(ec2: Any, ids: list[str]) -> None:
    """Make EC2 give `ids` to what is created, before it falls back to random ones.

    CreateVpc, CreateSubnet and CreateSecurityGroup take no id, but an estate is named by its ids, and the program
    under rehearsal must be given the same ones as in production. VPCs and subnets get theirs in the order of their
    creation; a security group gets the id that it was given as its name (AWS allows no name that begins with sg-).

    Raises:
        SystemExit: a prefix other than those, or this version of MiniStack has lost a function that is needed.
    """
    for prefix in dict.fromkeys(wanted.split("-")[0] for wanted in ids):
        wanted_ids = [wanted for wanted in ids if wanted.split("-")[0] == prefix]
        try:
            maker = getattr(ec2, ID_MAKERS[prefix])
            pinned = _by_name(ec2, wanted_ids, maker) if prefix == "sg" else _in_order(wanted_ids, maker)
        except (KeyError, AttributeError) as error:
            sys.exit(
                f"emulator: cannot give a new resource the id {prefix}-...: ministack.services.ec2 has not got "
                f"{error} (known prefixes: {', '.join(ID_MAKERS)}); adapt rehearsal/emulator_process.py to this "
                "version of MiniStack"
            )
        setattr(ec2, ID_MAKERS[prefix], pinned)


def _in_order(wanted: list[str], otherwise: Callable[[], str]) -> Callable[[], str]:
    return lambda: wanted.pop(0) if wanted else otherwise()


def _by_name(ec2: Any, wanted: list[str], otherwise: Callable[[], str]) -> Callable[[], str]:
    # The function that makes the id knows nothing of the request, and is also called for a VPC's default group.
    requested = threading.local()
    create, parameter = ec2._ACTION_MAP["CreateSecurityGroup"], ec2._p

    def create_security_group(parameters: Any) -> Any:
        requested.name = parameter(parameters, "GroupName")
        try:
            return create(parameters)
        finally:
            requested.name = None

    ec2._ACTION_MAP["CreateSecurityGroup"] = create_security_group
    return lambda: name if (name := getattr(requested, "name", None)) in wanted else otherwise()


def roll_out_by_target_health(ecs: Any, alb: Any, note: Path) -> None:
    """Make ECS wait for target health, and let a target drain before its task is stopped, as AWS does.

    MiniStack counts a task as healthy one second after its container has started, and takes the container of a task
    that it replaces away at once. AWS counts it once its targets are healthy (a deployment's tasks that become
    unhealthy are failures), and deregisters a target, and waits, before it stops the task.

    ecs, alb: the modules of MiniStack. note: file with the address at which the edge says the health of its targets;
    while there is none (no load balancer), MiniStack's own way stands.
    """
    for name in (
        "_record_service_task_healthy",
        "_stop_task",
        "_fail_task_start",
        "_sync_service_targets",
        "_task_ip",
        "_ACTION_MAP",
    ):
        if not hasattr(ecs, name):
            sys.exit(f"emulator: ministack.services.ecs has no {name} any more; adapt rehearsal/emulator_process.py")
    count_as_healthy, stop = ecs._record_service_task_healthy, ecs._stop_task

    def unhealthy(groups: list[str], ip: str) -> str:
        """What the edge says of the task's targets that are not healthy; empty when all are."""
        health = json.load(urllib.request.urlopen(note.read_text(), timeout=5))  # noqa: S310
        names = [alb._tgs[arn]["TargetGroupName"] for arn in groups if arn in alb._tgs]
        states = [
            next((target for target in health.get(name, []) if target["target"] == ip), {"state": "unused"})
            for name in names
        ]
        return ", ".join(
            f"{state['state']}: {state.get('description') or 'not yet asked'}"
            for state in states
            if state["state"] != "healthy"
        )

    def record_when_healthy(service_key: str, task: dict[str, Any]) -> None:
        service = ecs._services.get(service_key) or {}
        groups = [
            entry["targetGroupArn"] for entry in service.get("loadBalancers") or [] if entry.get("targetGroupArn")
        ]
        deadline = time.monotonic() + HEALTH_LIMIT
        while groups and note.exists():
            if not ecs._task_is_active(task["taskArn"], task):
                return
            seen = unhealthy(groups, ecs._task_ip(task))
            if not seen:
                break
            if time.monotonic() > deadline:
                reason = f"Task failed ELB health checks ({seen})"
                ecs._fail_task_start(task, ecs._get_docker(), reason)
                return
            time.sleep(0.1)
        count_as_healthy(service_key, task)

    def stop_after_draining(request: dict[str, Any]) -> Any:
        cluster = ecs._resolve_cluster_name(request.get("cluster", "default"))
        task = ecs._resolve_task(request.get("task", ""), cluster) if cluster else None
        service = ecs._services.get(f"{cluster}/{(task or {}).get('group', '').removeprefix('service:')}")
        if note.exists() and task and service and service.get("loadBalancers") and task.get("lastStatus") == "RUNNING":
            # A task without an address is no target.
            task["attachments"] = []
            task["_container_ip"] = None
            ecs._sync_service_targets(cluster, service)
            time.sleep(DRAINING)
        return stop(request)

    ecs._record_service_task_healthy = record_when_healthy
    ecs._stop_task = stop_after_draining
    ecs._ACTION_MAP["StopTask"] = stop_after_draining


def ignore_ports_of_all_protocols(ec2: Any) -> None:
    """Keep no ports of a rule for all protocols (-1), which AWS ignores; MiniStack tells them again.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html
    """
    if not hasattr(ec2, "_parse_ip_permissions"):
        sys.exit("emulator: ministack.services.ec2 has no _parse_ip_permissions any more; adapt emulator_process.py")
    parse = ec2._parse_ip_permissions

    def parse_without(parameters: Any, prefix: str) -> Any:
        rules = parse(parameters, prefix)
        for rule in rules:
            if rule["IpProtocol"] == "-1":
                rule.pop("FromPort", None)
                rule.pop("ToPort", None)
        return rules

    ec2._parse_ip_permissions = parse_without


def describe_listener_certificates(alb: Any) -> None:
    """Answer DescribeListenerCertificates, which MiniStack lacks, from the listener's default certificate."""

    def describe(parameters: dict[str, Any]) -> Any:
        listener = alb._listeners.get(alb._p(parameters, "ListenerArn")) or {}
        members = "".join(
            f"<member><CertificateArn>{arn}</CertificateArn><IsDefault>true</IsDefault></member>"
            for arn in listener.get("Certificates", [])
        )
        return alb._xml(200, "DescribeListenerCertificates", f"<Certificates>{members}</Certificates>")

    alb._ACTION_MAP["DescribeListenerCertificates"] = describe


def add_to_containers(ecs: Any, additions: dict[str, Any]) -> None:
    """Give the containers of a family variables and volumes that its task definitions know nothing of.

    additions: family -> {"environment": {name: value}, "volumes": ["SOURCE:TARGET:ro"]}.
    """
    if not hasattr(ecs, "_build_run_kwargs"):
        sys.exit(
            "emulator: ministack.services.ecs has no _build_run_kwargs any more; adapt rehearsal/emulator_process.py"
        )
    build = ecs._build_run_kwargs

    def build_with_additions(container: Any, task_definition: Any, environment: Any, *others: Any) -> Any:
        added = additions.get(task_definition.get("family"), {"environment": {}, "volumes": []})
        arguments = build(container, task_definition, {**environment, **added["environment"]}, *others)
        volumes = [*arguments.get("volumes", ()), *added["volumes"]]
        return arguments | ({"volumes": volumes} if volumes else {})

    ecs._build_run_kwargs = build_with_additions


def update_whole_service(ecs: Any) -> None:
    """Let UpdateService change a service's registries and tagging too, and leave what a deploymentConfiguration does
    not name, as AWS does; MiniStack ignores the first and forgets the second."""
    update = ecs._update_service

    def update_all(request: dict[str, Any]) -> Any:
        cluster = ecs._resolve_cluster_name(request.get("cluster", "default"))
        service = ecs._services.get(f"{cluster}/{request['service'].rsplit('/', 1)[-1]}")
        if service and "deploymentConfiguration" in request:
            kept = service["deploymentConfiguration"]
            request = request | {"deploymentConfiguration": kept | request["deploymentConfiguration"]}
        answer = update(request)
        for name in ("serviceRegistries", "enableECSManagedTags", "propagateTags"):
            if service and name in request:
                service[name] = request[name]
        return answer

    ecs._ACTION_MAP["UpdateService"] = update_all


def describe_services_late(ecs: Any) -> None:
    """Let DescribeServices show, for a moment after UpdateService began a deployment, the deployments of before it, as
    AWS may: who looks for the end of one must not take the one before for it."""
    from ministack.core.responses import json_response

    update, describe = ecs._ACTION_MAP["UpdateService"], ecs._ACTION_MAP["DescribeServices"]
    before: dict[str, tuple[float, list[dict[str, Any]]]] = {}

    def described(request: dict[str, Any]) -> list[dict[str, Any]]:
        services: list[dict[str, Any]] = json.loads(describe(request)[2]).get("services", [])
        return services

    def update_and_note(request: dict[str, Any]) -> Any:
        place = {"cluster": request.get("cluster", "default"), "services": [request["service"]]}
        known = described(place)
        answer = update(request)
        for old, new in zip(known, described(place), strict=False):
            if {entry["id"] for entry in old["deployments"]} != {entry["id"] for entry in new["deployments"]}:
                before[old["serviceArn"]] = time.monotonic() + LATENESS, old["deployments"]
        return answer

    def describe_late(request: dict[str, Any]) -> Any:
        answer = describe(request)
        document = json.loads(answer[2])
        for service in document.get("services", []):
            until, deployments = before.get(service["serviceArn"], (0.0, []))
            if time.monotonic() < until:
                service["deployments"] = deployments
        return json_response(document, answer[0])

    ecs._ACTION_MAP |= {"UpdateService": update_and_note, "DescribeServices": describe_late}


def hold_rules_to_quotas(alb: Any) -> None:
    """Refuse a listener rule with more than five condition values, or six wildcards in them, as AWS does.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
    """
    for name in ("_parse_conditions", "_error", "_ACTION_MAP"):
        if not hasattr(alb, name):
            sys.exit(f"emulator: ministack.services.alb has no {name} any more; adapt rehearsal/emulator_process.py")

    def held(action: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        def act(parameters: dict[str, Any]) -> Any:
            values = [value for each in alb._parse_conditions(parameters) for value in each["Values"]]
            if len(values) > 5:
                return alb._error("TooManyConditionValues", "A rule can have at most 5 condition values")
            if sum(value.count("*") + value.count("?") for value in values) > 6:
                return alb._error("TooManyWildcards", "A rule can have at most 6 wildcards")
            return action(parameters)

        return act

    alb._ACTION_MAP |= {name: held(alb._ACTION_MAP[name]) for name in ("CreateRule", "ModifyRule")}


def keep_services_with_instances(servicediscovery: Any) -> None:
    """Cloud Map: refuse to delete a service that has instances, as AWS does; MiniStack takes them along."""
    from ministack.core.responses import error_response_json

    for name in ("_delete_service", "_instances"):
        if not hasattr(servicediscovery, name):
            sys.exit(f"emulator: ministack.services.servicediscovery has no {name}; adapt emulator_process.py")
    delete = servicediscovery._delete_service

    def delete_empty(request: dict[str, Any]) -> Any:
        if servicediscovery._instances.get(request.get("Id")):
            return error_response_json("ResourceInUse", "Service contains registered instances; delete them first", 400)
        return delete(request)

    servicediscovery._delete_service = delete_empty


def one_step_at_a_time(ecs: Any) -> None:
    """Let the steps of ECS's scheduler follow each other, which are threads in MiniStack: one that starts and stops
    tasks by what the deployment was before another one failed it stops those that are gone back to, for good."""
    lock = threading.RLock()  # Steps take others.

    def locked(step: Callable[..., Any]) -> Callable[..., Any]:
        def take(*arguments: Any, **named: Any) -> Any:
            with lock:
                return step(*arguments, **named)

        return take

    for name in (
        "_update_service",
        "_reconcile_service_tasks",
        "_record_service_task_failure",
        "_complete_service_deployment",
    ):
        if not hasattr(ecs, name):
            sys.exit(f"emulator: ministack.services.ecs has no {name} any more; adapt rehearsal/emulator_process.py")
        setattr(ecs, name, locked(getattr(ecs, name)))


def begin_first_deployments(ecs: Any) -> None:
    """Let a service's first deployment be IN_PROGRESS until its tasks are healthy, and fail by the circuit breaker, as
    every later one and on AWS; MiniStack calls it COMPLETED from the start.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
    """
    if not hasattr(ecs, "_make_deployment"):
        sys.exit("emulator: ministack.services.ecs has no _make_deployment any more; adapt emulator_process.py")
    make = ecs._make_deployment

    def make_begun(*arguments: Any, **named: Any) -> Any:
        return make(*arguments, **named) | {"rolloutState": "IN_PROGRESS", "rolloutStateReason": ""}

    ecs._make_deployment = make_begun


def tell_milliseconds(ecs: Any) -> None:
    """Tell ECS's times with milliseconds, as AWS does; MiniStack cuts them to seconds. The provider takes a deployment
    that began before its own call for an older one, and so could call a first deployment stable that is not."""
    if not hasattr(ecs, "_ts_to_epoch"):
        sys.exit("emulator: ministack.services.ecs has no _ts_to_epoch any more; adapt emulator_process.py")
    ecs._ts_to_epoch = lambda value: datetime.fromisoformat(value).timestamp() if isinstance(value, str) else value


def give_credentials_to_tasks(ecs: Any) -> None:
    """Give tasks credentials and a region in their environment. MiniStack names an address for credentials that AWS's
    libraries refuse, as it is neither loopback nor link-local, and no region, which Fargate does."""
    for name in ("_register_metadata", "get_account_id", "get_region"):
        if not hasattr(ecs, name):
            sys.exit(f"emulator: ministack.services.ecs has no {name} any more; adapt rehearsal/emulator_process.py")
    register = ecs._register_metadata

    def with_credentials(task_arn: str, cluster: str, td: Any, cdef: Any, launch: str, env: Any, *place: Any) -> Any:
        token = register(task_arn, cluster, td, cdef, launch, env, *place)
        for name in ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"):
            env.pop(name, None)
        env |= {
            "AWS_ACCESS_KEY_ID": ecs.get_account_id(),
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_REGION": ecs.get_region(),
        }
        return token

    ecs._register_metadata = with_credentials


def tell_service_deployments(ecs: Any) -> None:
    """Answer ListServiceDeployments and DescribeServiceDeployments from the services' own deployments, as AWS does and
    the provider waits for; MiniStack always says there are none."""
    for name in ("_services", "_ACTION_MAP"):
        if not hasattr(ecs, name):
            sys.exit(f"emulator: ministack.services.ecs has no {name} any more; adapt rehearsal/emulator_process.py")
    from ministack.core.responses import json_response

    states = {"COMPLETED": "SUCCESSFUL", "IN_PROGRESS": "IN_PROGRESS", "FAILED": "ROLLBACK_SUCCESSFUL"}

    def known() -> list[dict[str, Any]]:
        found = []
        for service in ecs._services.values():
            for deployment in service.get("deployments", []):
                place = f"{service['serviceArn'].partition(':service/')[2]}/{deployment['id'].rpartition('/')[2]}"
                start = service["serviceArn"].partition(":service/")[0]
                found.append(
                    {
                        "serviceDeploymentArn": f"{start}:service-deployment/{place}",
                        "targetServiceRevisionArn": f"{start}:service-revision/{place}",
                        "serviceArn": service["serviceArn"],
                        "clusterArn": service["clusterArn"],
                        "status": states[deployment["rolloutState"]],
                        "statusReason": deployment.get("rolloutStateReason") or "",
                    }
                )
        return found

    def listed(request: Any) -> Any:
        name = request["service"].rpartition("/")[2]
        return json_response(
            {"serviceDeployments": [one for one in known() if one["serviceArn"].rpartition("/")[2] == name]}
        )

    def described(request: Any) -> Any:
        wanted = request["serviceDeploymentArns"]
        return json_response({"serviceDeployments": [one for one in known() if one["serviceDeploymentArn"] in wanted]})

    ecs._ACTION_MAP |= {"ListServiceDeployments": listed, "DescribeServiceDeployments": described}


def save_queries(logs: Any) -> None:
    """Add saved queries: PutQueryDefinition, DescribeQueryDefinitions and DeleteQueryDefinition, which MiniStack does
    not have. One account, so one list."""
    from ministack.core.responses import error_response_json, json_response

    saved: dict[str, dict[str, Any]] = {}
    others = logs.handle_request

    def put(request: Any) -> Any:
        id_ = request.get("queryDefinitionId") or str(uuid.uuid4())
        saved[id_] = {
            "queryDefinitionId": id_,
            "name": request["name"],
            "queryString": request["queryString"],
            "logGroupNames": request.get("logGroupNames", []),
            "lastModified": int(time.time() * 1000),
        }
        return json_response({"queryDefinitionId": id_})

    def describe(request: Any) -> Any:
        prefix = request.get("queryDefinitionNamePrefix", "")
        return json_response({"queryDefinitions": [one for one in saved.values() if one["name"].startswith(prefix)]})

    def delete(request: Any) -> Any:
        if saved.pop(request.get("queryDefinitionId"), None) is None:
            return error_response_json("ResourceNotFoundException", "The query definition does not exist.", 400)
        return json_response({"success": True})

    actions = {"PutQueryDefinition": put, "DescribeQueryDefinitions": describe, "DeleteQueryDefinition": delete}

    async def handle(method: str, path: str, headers: Any, body: Any, query: Any) -> Any:
        action = actions.get(headers.get("x-amz-target", "").rpartition(".")[2])
        return action(json.loads(body)) if action else await others(method, path, headers, body, query)

    logs.handle_request = handle


def take_namespace_of_dns(servicediscovery: Any) -> None:
    """Let CreateService take the namespace from DnsConfig alone, as AWS does and the provider sends it; MiniStack wants
    it beside DnsConfig."""
    if not hasattr(servicediscovery, "_create_service"):
        sys.exit("emulator: ministack.services.servicediscovery has no _create_service; adapt emulator_process.py")
    create = servicediscovery._create_service

    def create_in_namespace(request: Any) -> Any:
        return create({"NamespaceId": request.get("DnsConfig", {}).get("NamespaceId"), **request})

    servicediscovery._create_service = create_in_namespace


def say_real_registry(ecr: Any, registry: str) -> None:
    """Make ECR name its repositories by `registry`, an address that Docker reaches.

    DescribeRepositories says ACCOUNT.dkr.ecr.REGION.amazonaws.com/name, and on AWS that resolves. MiniStack says the
    same, and here it leads nowhere, or to AWS; but the Docker provider pushes to whatever is said.
    """
    if not hasattr(ecr, "_repo_uri"):
        sys.exit("emulator: ministack.services.ecr has no _repo_uri any more; adapt rehearsal/emulator_process.py")
    ecr._repo_uri = lambda name: f"{registry}/{name}"


async def serve(bind: list[str], follow_parent: bool) -> None:
    """Serve until SIGTERM or SIGINT; with `follow_parent` also until standard input closes, as the parent is gone."""
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config
    from ministack.app import app

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if follow_parent:

        def watch() -> None:
            sys.stdin.buffer.read()
            loop.call_soon_threadsafe(stop.set)

        threading.Thread(target=watch, daemon=True).start()

    config = Config()
    config.bind = bind
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    # Hypercorn's shutdown runs MiniStack's, which removes the containers that it started.
    config.graceful_timeout = 1
    await hypercorn_serve(app, config, shutdown_trigger=stop.wait)


def tell_pending_subscriptions(sns: Any) -> None:
    """SNS: a subscription that nobody has confirmed is listed as PendingConfirmation, and Subscribe gives its ARN to
    who asks with ReturnSubscriptionArn. MiniStack does it the other way round."""
    for name in ("_subscribe", "_list_subscriptions_by_topic", "_topics", "_p"):
        if not hasattr(sns, name):
            sys.exit(f"emulator: ministack.services.sns has no {name} any more; adapt rehearsal/emulator_process.py")
    subscribe, listed = sns._subscribe, sns._list_subscriptions_by_topic

    def pending(params: Any) -> list[str]:
        topic = sns._topics.get(sns._p(params, "TopicArn")) or {}
        return [str(entry["arn"]) for entry in topic.get("subscriptions", []) if not entry.get("confirmed")]

    def replaced(answer: Any, before: str, after: str) -> Any:
        status, headers, body = answer
        return status, headers, body.replace(before.encode(), after.encode())

    def subscribe_as_asked(params: Any) -> Any:
        answer = subscribe(params)
        if sns._p(params, "ReturnSubscriptionArn") == "true" and (arns := pending(params)):
            return replaced(answer, "pending confirmation", arns[-1])
        return answer

    def list_pending(params: Any) -> Any:
        answer = listed(params)
        for arn in pending(params):
            answer = replaced(answer, arn, "PendingConfirmation")
        return answer

    sns._subscribe, sns._list_subscriptions_by_topic = subscribe_as_asked, list_pending


def keep_what_people_get(sns: Any) -> None:
    """SNS: what a topic sends by e-mail or SMS is kept, to be read at /_ministack/sns/sms-messages?phoneNumber=ADDRESS.
    MiniStack keeps there what is sent to a number without a topic, and drops the rest."""
    for name in ("_fanout", "_topic_by_arn_any_scope", "_sms_log_for"):
        if not hasattr(sns, name):
            sys.exit(f"emulator: ministack.services.sns has no {name} any more; adapt rehearsal/emulator_process.py")
    fan_out = sns._fanout

    def fan_out_and_keep(topic: str, id_: str, message: str, subject: str, *more: Any, **named: Any) -> None:
        fan_out(topic, id_, message, subject, *more, **named)
        for entry in (sns._topic_by_arn_any_scope(topic) or {}).get("subscriptions", []):
            if entry.get("confirmed") and entry["protocol"] in ("email", "sms"):
                sns._sms_log_for(entry["endpoint"]).append(
                    {"PhoneNumber": entry["endpoint"], "TopicArn": topic, "Subject": subject, "Message": message}
                )

    sns._fanout = fan_out_and_keep


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bind", action="append", required=True)
    parser.add_argument("--id", action="append", default=[], dest="ids")
    parser.add_argument("--follow-parent", metavar="FOLDER", help="end with the parent process, and remove this folder")
    parser.add_argument("--additions", type=json.loads, default={}, metavar="JSON", help="what containers are given")
    parser.add_argument("--target-health", type=Path, required=True, metavar="FILE", help="holds the edge's address")
    parser.add_argument("--registry", help="what ECR calls its registry, in place of AWS's name")
    arguments = parser.parse_args()

    from ministack.services import alb, cloudwatch_logs, ec2, ecr, ecs, servicediscovery, sns

    pin_ids(ec2, arguments.ids)
    ignore_ports_of_all_protocols(ec2)
    describe_listener_certificates(alb)
    one_step_at_a_time(ecs)
    update_whole_service(ecs)
    begin_first_deployments(ecs)
    tell_milliseconds(ecs)
    give_credentials_to_tasks(ecs)
    add_to_containers(ecs, arguments.additions)
    tell_pending_subscriptions(sns)
    keep_what_people_get(sns)
    tell_service_deployments(ecs)
    describe_services_late(ecs)
    hold_rules_to_quotas(alb)
    keep_services_with_instances(servicediscovery)
    save_queries(cloudwatch_logs)
    take_namespace_of_dns(servicediscovery)
    if arguments.registry:
        say_real_registry(ecr, arguments.registry)
    roll_out_by_target_health(ecs, alb, arguments.target_health)
    try:
        asyncio.run(serve(arguments.bind, arguments.follow_parent is not None))
    finally:
        if arguments.follow_parent:
            shutil.rmtree(arguments.follow_parent, ignore_errors=True)


if __name__ == "__main__":
    main()
