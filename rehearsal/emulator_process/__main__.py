# mypy: disable-error-code="import-not-found"
"""Runs MiniStack inside its own virtual environment; started by `rehearsal.emulator`, never by hand.

    python __main__.py --bind 127.0.0.1:4566 [--bind ADDRESS:PORT]... [--id vpc-...]... --target-health FILE
        --calls FILE --layers FOLDER [--additions JSON] [--registry ADDRESS:PORT] [--follow-parent FOLDER]

Everything else is configured by MiniStack's own environment variables.
"""

import argparse
import asyncio
import json
import shutil
import signal
import sys
import threading
from pathlib import Path

# The interpreter is isolated: MiniStack's packages are found first, and this one after them.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from rehearsal.emulator_calls import App, noting
from rehearsal.emulator_process.changes import look_at_containers_that_ended, tell_changed_load_balancers
from rehearsal.emulator_process.deployment_alarms import heed_deployment_alarms
from rehearsal.emulator_process.descriptions import read_heads_alone
from rehearsal.emulator_process.ec2 import ignore_ports_of_all_protocols, pin_ids
from rehearsal.emulator_process.ecr import keep_layers, say_real_registry
from rehearsal.emulator_process.ecs import (
    add_to_containers,
    begin_first_deployments,
    describe_services_late,
    give_credentials_to_tasks,
    one_step_at_a_time,
    roll_out_by_target_health,
    tell_milliseconds,
    tell_service_deployments,
    update_whole_service,
)
from rehearsal.emulator_process.elasticache import heed_authentication, name_caches
from rehearsal.emulator_process.elbv2 import describe_listener_certificates, forward_by_weights, hold_rules_to_quotas
from rehearsal.emulator_process.logs import save_queries
from rehearsal.emulator_process.secretsmanager import make_secrets_without_value
from rehearsal.emulator_process.servicediscovery import (
    keep_services_with_instances,
    resolve_private_names,
    take_namespace_of_dns,
)
from rehearsal.emulator_process.sns import keep_what_people_get, tell_pending_subscriptions
from rehearsal.emulator_process.traffic_shift import shift_requests


async def serve(app: App, bind: list[str], follow_parent: bool) -> None:
    """Serve until SIGTERM or SIGINT; with `follow_parent` also until standard input closes, as the parent is gone."""
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bind", action="append", required=True)
    parser.add_argument("--id", action="append", default=[], dest="ids")
    parser.add_argument("--follow-parent", metavar="FOLDER", help="end with the parent process, and remove this folder")
    parser.add_argument("--additions", type=json.loads, default={}, metavar="JSON", help="what containers are given")
    parser.add_argument("--hosts", type=Path, metavar="FILE", help="becomes /etc/hosts of all containers")
    parser.add_argument("--gateway", help="address of this machine for containers")
    parser.add_argument("--target-health", type=Path, required=True, metavar="FILE", help="holds the edge's address")
    parser.add_argument("--calls", type=Path, required=True, metavar="FILE", help="where official providers' are noted")
    parser.add_argument("--layers", type=Path, required=True, metavar="FOLDER", help="of images, kept from run to run")
    parser.add_argument("--cache", type=Path, required=True, metavar="FOLDER", help="of the rehearsal's cache")
    parser.add_argument("--registry", help="what ECR calls its registry, in place of AWS's name")
    arguments = parser.parse_args()

    from ministack.app import app
    from ministack.core import responses
    from ministack.services import (
        alb,
        cloudwatch,
        cloudwatch_logs,
        ec2,
        ecr,
        ecs,
        elasticache,
        secretsmanager,
        servicediscovery,
        sns,
    )

    read_heads_alone(responses)
    pin_ids(ec2, arguments.ids)
    ignore_ports_of_all_protocols(ec2)
    describe_listener_certificates(alb)
    forward_by_weights(alb)
    one_step_at_a_time(ecs)
    look_at_containers_that_ended(ecs)
    update_whole_service(ecs)
    groups_of = shift_requests(ecs, alb)
    begin_first_deployments(ecs)
    tell_milliseconds(ecs)
    give_credentials_to_tasks(ecs)
    add_to_containers(ecs, arguments.additions)
    make_secrets_without_value(secretsmanager)
    name_caches(elasticache)
    heed_authentication(elasticache, arguments.cache)
    tell_pending_subscriptions(sns)
    keep_what_people_get(sns)
    tell_service_deployments(ecs)
    describe_services_late(ecs)
    heed_deployment_alarms(ecs, cloudwatch)
    hold_rules_to_quotas(alb)
    keep_services_with_instances(servicediscovery)
    save_queries(cloudwatch_logs)
    take_namespace_of_dns(servicediscovery)
    if arguments.hosts:
        resolve_private_names(ecs, servicediscovery, arguments.hosts, arguments.gateway)
    keep_layers(ecr, arguments.layers)
    if arguments.registry:
        say_real_registry(ecr, arguments.registry)
    roll_out_by_target_health(ecs, alb, arguments.target_health, groups_of)
    told = tell_changed_load_balancers(noting(app, arguments.calls), alb)
    try:
        asyncio.run(serve(told, arguments.bind, arguments.follow_parent is not None))
    finally:
        if arguments.follow_parent:
            shutil.rmtree(arguments.follow_parent, ignore_errors=True)


if __name__ == "__main__":
    main()
