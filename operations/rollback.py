"""`rollback`: back to a revision that was healthy, without building anything, and so that it stays."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from checks import Check, deployment
from components import rollout
from components.containers import log_group_name
from components.names import service_name
from components.settings import NAMESPACE, Service
from operations.errors import OperationError
from operations.revisions import healthy, history
from operations.rollback_decision import Decision, decide
from operations.target import Target, revision
from operations.verify import verify

_STEADY_LIMIT = 600.0
"""Seconds that the service may take until it runs the old revision."""


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """What was done, or with `dry_run` would be."""

    service: str
    left: str
    to: str
    image: str
    pinned: str
    """The configuration key that now holds the digest, with its file."""
    same_image: bool
    """Whether the revision that was left has the same image, so that only settings differ."""
    seconds: float
    """From the request until the service was steady on the old revision."""
    dry_run: bool
    checks: list[Check]


def rollback(
    target: Target,
    service: Service,
    wanted: str | None = None,
    *,
    dry_run: bool = False,
    even_if_never_healthy: bool = False,
    progress: Callable[[str], None] = lambda _text: None,
) -> Rollback:
    """Go back to `wanted` (number, family:number or ARN), or to the newest healthy revision before the running one.

    Pins the image in the stack's configuration, so that the next `pulumi up` keeps it, and remembers that the revision
    that was left is wrong; what fails of these two is among the checks. Where `wanted` runs already (ECS went back by
    itself), only that is done. Raises `OperationError` before anything is changed where it cannot be done.
    """
    started = time.monotonic()
    described = target.described(service)
    in_progress = rollout.under_way(described)
    decision = decide(
        history(target, service),
        family=service.name,
        running=revision(described["taskDefinition"]),
        in_progress=in_progress,
        wanted=wanted,
        even_if_never_healthy=even_if_never_healthy,
    )
    running, goal = decision.left, decision.goal
    key = f"{NAMESPACE}:services.{service.key}.image.digest"
    result = Rollback(
        service=service_name(service),
        left=running.name,
        to=goal.name,
        image=goal.image,
        pinned=f"{key} in {target.file.name}",
        same_image=decision.same_image,
        seconds=0.0,
        dry_run=dry_run,
        checks=[],
    )
    if dry_run:
        return result
    if decision.starts:
        if decision.ends_a_deployment:
            progress(f"The deployment of {running.name} is still in progress; this ends it.")
        progress(f"{running.name} -> {goal.name} ({goal.tag or goal.digest})")
        # An alarm that goes off only now does so for what the version that is left did: it would take this deployment
        # back, to the very version that is to go. Nor is what was healthy before tried on a few first.
        begun = target.client("ecs").update_service(
            cluster=target.settings.estate.cluster,
            service=service_name(service),
            taskDefinition=goal.arn,
            **_at_once(described, for_now=True),
        )["service"]
    else:
        begun = target.described(service)
    try:
        noted = [
            _noted(
                f"{target.file.name} keeps its image",
                f"set it by hand: pulumi config set --stack {target.stack} --path {key} {decision.pin}",
                lambda: pin(target.file, service, decision.pin),
            ),
            _noted(
                "the revision that was left is remembered as wrong",
                "name the revision in a further rollback: ./ops rollback REVISION",
                lambda: _reject(target, service, decision),
            ),
        ]
        wait_until_steady(target, service, goal.arn, begun, progress)
    except KeyboardInterrupt:
        raise OperationError(
            f"Interrupted. ECS goes on with {goal.name} by itself; watch it: ./ops status. {key} may not be set yet: "
            f"./ops rollback {goal.name} completes it. pulumi up --refresh has ECS watch the alarms again"
            + (" and shift requests as configured." if service.deployment.shifts else "."),
            130,
        ) from None
    if decision.starts and (as_it_was := _at_once(described, for_now=False)):
        noted.append(
            _noted(
                "alarms take the next deployment back, if it must be"
                + (", and it shifts requests as configured" if service.deployment.shifts else ""),
                "have it set right: pulumi up --refresh",
                lambda: target.client("ecs").update_service(
                    cluster=target.settings.estate.cluster, service=service_name(service), **as_it_was
                ),
            )
        )
    seconds = time.monotonic() - started
    deployed = deployment.Deployment(
        cluster=target.settings.estate.cluster,
        service=service_name(service),
        task_definition=goal.arn,
        image=goal.image,
        log_group=log_group_name(service),
        target_group=None,
        discovery_name=service.discovery_name,
        namespace=target.settings.estate.namespace,
        # Going back leaves the number as it is.
        task_range=service.task_range if service.autoscaling else (target.described(service)["desiredCount"],) * 2,
        secrets=service.secret_keys,
    )
    return dataclasses.replace(result, seconds=seconds, checks=[*noted, *verify(target, service, deployed)])


def _at_once(described: Mapping[str, Any], *, for_now: bool) -> dict[str, Any]:
    """Arguments of UpdateService by which the way back is taken at once: no alarm takes it back, and requests are not
    shifted in steps. Or, with `for_now` false, those that put back how it was before. Empty where nothing differs. Of
    the deployment's configuration, ECS leaves what is not named."""
    before = described.get("deploymentConfiguration", {})
    changed: dict[str, Any] = {}
    if (alarms := before.get("alarms") or {}).get("enable"):
        changed["alarms"] = {**alarms, "enable": False, "rollback": False} if for_now else alarms
    if before.get("strategy", "ROLLING") != "ROLLING":
        steps = ("strategy", "bakeTimeInMinutes", "canaryConfiguration", "linearConfiguration")
        as_it_was = {name: before[name] for name in steps if name in before}
        changed |= {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0} if for_now else as_it_was
    return {"deploymentConfiguration": changed} if changed else {}


def _noted(name: str, remedy: str, note: Callable[[], object]) -> Check:
    """`note` carried out. The service is going back already, so its failure is told at the end and stops nothing."""
    started = time.monotonic()
    try:
        note()
    except (OSError, YAMLError, LookupError, TypeError, AttributeError, BotoCoreError, ClientError) as error:
        passed, detail = False, f"{type(error).__name__}: {error}"
    else:
        passed, detail = True, ""
    seconds = time.monotonic() - started
    return Check(name=name, passed=passed, detail=detail, remedy="" if passed else remedy, seconds=seconds)


def pin(file: Path, service: Service, image: str) -> None:
    """Set the service's image.digest in the stack's file; comments and order stay. Written whole or not at all."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(file.read_text())
    settings = document["config"][f"{NAMESPACE}:services"][service.key]
    settings.setdefault("image", {})["digest"] = image
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w") as stream:
            yaml.dump(document, stream)
        Path(name).chmod(file.stat().st_mode & 0o777)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _reject(target: Target, service: Service, decision: Decision) -> None:
    """Remember that the revision that was left is wrong, so that the next rollback does not lead to it."""
    known = healthy(target, service)
    if not decision.rejects or not known:
        return
    left = decision.left.name
    entries = [dataclasses.replace(entry, rejected=entry.rejected or entry.revision == left) for entry in known]
    target.client("ssm").put_parameter(
        Name=rollout.healthy_parameter(target.settings.parameter_prefix, service.key),
        Value=json.dumps([dataclasses.asdict(entry) for entry in entries]),
        Overwrite=True,
    )


def wait_until_steady(
    target: Target, service: Service, definition: str, begun: Mapping[str, Any], progress: Callable[[str], None]
) -> None:
    """Wait until only healthy tasks of a task definition (its ARN) run. Raises `OperationError` where ECS gave up.

    begun: the service as UpdateService answered.
    """
    cluster, name, deadline = target.settings.estate.cluster, revision(definition), time.monotonic() + _STEADY_LIMIT
    ecs = target.client("ecs")
    seen = asyncio.run(
        rollout.follow(ecs, cluster, service_name(service), definition, begun, progress=progress, limit=_STEADY_LIMIT)
    )
    if seen.task_definition != definition or seen.state in ("FAILED", "GONE"):
        reasons = "\n".join(
            rollout.why(target.client, cluster, service_name(service), definition, log_group_name(service))
        )
        raise OperationError(f"ECS did not keep {name}: {seen.instead or seen.reason or seen}\n{reasons}")
    last = ""
    while True:
        targets = target.target_health(service)
        waiting = [entry for entry in targets if entry["state"] not in ("healthy", "draining")]
        if seen.healthy and not waiting:
            return
        now = ", ".join([str(seen), *(f"{entry['target']} {entry['state']}" for entry in waiting)])
        if time.monotonic() > deadline:
            raise OperationError(
                f"After {_STEADY_LIMIT:.0f} s {name} is not steady: {now}. ECS goes on; watch it: ./ops status"
            )
        if now != last:
            progress(now)
        last = now
        time.sleep(0.2)
