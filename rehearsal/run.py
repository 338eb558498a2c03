"""The rehearsal itself: engine, emulated account, estate, deployment, edge, checks, a second pass, and nothing left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import checks
from checks import Check, deployment
from components import settings as configuration
from components.settings import Service, Settings
from rehearsal import estate, monitor
from rehearsal.docker import BuildFailed, Engine, NoBaseImage, NoEngine, PushFailed
from rehearsal.emulator import Account, Emulator, EmulatorError, ensure_installed, stop_kept
from rehearsal.report import Narrator, Row

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".rehearsal"
"""Caches that make the next rehearsal quick, and notes of kept ones."""

_HEALTH_FACTOR = 0.05
"""Target health is asked this much more often than configured, so that 2 x 30 s become 3 s; what it means is the same."""

_BEYOND = (
    "TLS: the edge speaks plain HTTP; the listener's certificate is not exercised",
    "IAM: the emulated account allows every call, also what the roles' policies would deny",
    "the network: security groups, subnets and private DNS carry no traffic here",
)


class RehearsalError(Exception):
    """The rehearsal cannot go on; the message says why and what to do."""


_KNOWN = (RehearsalError, EmulatorError, NoEngine, NoBaseImage, BuildFailed, PushFailed)
"""Errors whose message says all there is to say."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack's name, raw configuration, and settings."""

    name: str
    config: Mapping[str, str]
    settings: Settings

    @classmethod
    def read(cls, name: str) -> Stack:
        """From `Pulumi.<name>.yaml` of the project. Raises `SettingsError`."""
        config = configuration.read_stack_file(ROOT / f"Pulumi.{name}.yaml")
        return cls(name=name, config=config, settings=configuration.parse(config))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
    """A rehearsal that was left running, as noted in `.rehearsal/kept/<stack>.json`."""

    emulator: dict[str, Any]
    docker_host: str | None
    edge_pid: int
    edge_url: str | None
    health_url: str | None
    outputs: dict[str, Any]

    @staticmethod
    def file(stack: str) -> Path:
        """Where the note is."""
        return HOME / "kept" / f"{stack}.json"

    @staticmethod
    def state_file(stack: str) -> Path:
        """Where the monitor remembers what it registered."""
        return HOME / "kept" / f"{stack}.state.json"

    @classmethod
    def read(cls, stack: str) -> Kept | None:
        """The note, or None if no rehearsal of the stack is kept."""
        try:
            return cls(**json.loads(cls.file(stack).read_text()))
        except FileNotFoundError:
            return None

    def write(self, stack: str) -> None:
        """Note it."""
        self.file(stack).parent.mkdir(parents=True, exist_ok=True)
        self.file(stack).write_text(json.dumps(dataclasses.asdict(self), indent=2))

    def account(self) -> Account:
        """The emulated account, reached anew."""
        return Account(self.emulator["endpoint"], self.emulator["account"], self.emulator["region"])


def stop(stack: str) -> bool:
    """End a kept rehearsal and remove what it left; False if there was none."""
    kept = Kept.read(stack)
    if kept is None:
        return False
    if kept.edge_pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(kept.edge_pid, signal.SIGTERM)
    stop_kept(kept.emulator)
    Kept.file(stack).unlink()
    Kept.state_file(stack).unlink(missing_ok=True)
    if not list(Kept.file(stack).parent.glob("*.json")):
        Engine(HOME / "docker").stop()
    return True


def explain(error: Exception) -> str:
    """What went wrong, for a person: the program's own words, without a traceback where the cause is known."""
    if isinstance(error, monitor.DeploymentFailed):
        done = ", ".join(f"{result.name} {result.action}" for result in error.deployment.resources if result.action != "same")
        cause = error.__cause__ or error
        return f"{cause}\nUntil then: {done or 'nothing was changed'}."
    if isinstance(error, _KNOWN):
        return str(error)
    return "".join(traceback.format_exception(error))


def rehearse(stack: Stack, narrator: Narrator, *, keep: bool) -> None:
    """Run all phases; the outcome is in the narrator's report. Whatever happens, nothing but a kept rehearsal stays."""
    report = narrator.report
    with contextlib.ExitStack() as cleanup:
        kept = Kept.read(stack.name)
        engine = _engine(cleanup, narrator, keep=keep or kept is not None)
        account = kept.account() if kept else _emulated_account(cleanup, narrator, stack, engine, keep=keep)
        if kept is None:
            with narrator.phase("Estate") as detail:
                estate.make(account, stack.settings)
                detail.append(f"account {account.account}, {account.region}; two neighbours on the load balancer")
        state = Kept.state_file(stack.name)
        if not (keep or kept):
            state = Path(cleanup.enter_context(_temporary())) / "state.json"
        deployed = _deploy(narrator, "Deployment", stack, account, engine, state)
        report.resources = [_row(resource) for resource in deployed.resources]
        report.outputs = dict(deployed.outputs)
        narrator.show_resources()
        narrator.show_outputs()
        _note_unproven(report.unproven, deployed, engine)
        if engine:
            edge = _Edge.attach(kept) if kept and kept.edge_url else _Edge.start(cleanup, account, stack.settings, keep=keep)
            with narrator.phase("Checks") as detail:
                report.checks = _check(stack, account, edge, deployed.outputs, narrator)
                detail.append(f"{len(report.checks)}, asked as a client and of the account")
            narrator.show_checks()
            if keep and kept is None:
                assert isinstance(account, Emulator)
                Kept(
                    emulator=account.kept,
                    docker_host=engine.host,
                    edge_pid=edge.pid if edge else 0,
                    edge_url=edge.url if edge else None,
                    health_url=edge.health_url if edge else None,
                    outputs=report.outputs,
                ).write(stack.name)
        again = _deploy(narrator, "Second pass", stack, account, engine, state)
        different = [resource for resource in again.resources if resource.action != "same"]
        report.phases[-1] = dataclasses.replace(
            report.phases[-1], detail=f"{len(different)} changes" if different else f"no change in {len(again.resources)} resources"
        )
        if different:
            names = "; ".join(f"{r.name} {r.action} {', '.join(r.changes)}" for r in different)
            raise RehearsalError(f"A second deployment of the same program must change nothing, but: {names}")
        cleaning = time.monotonic()
    report.phases.append(dataclasses.replace(report.phases[-1], name="Cleaning up", seconds=time.monotonic() - cleaning, detail=""))


@contextlib.contextmanager
def _temporary() -> Iterator[str]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        yield folder


def _engine(cleanup: contextlib.ExitStack, narrator: Narrator, *, keep: bool) -> Engine | None:
    with narrator.phase("Docker engine") as detail:
        try:
            engine = cleanup.enter_context(Engine(HOME / "docker", keep=keep))
        except NoEngine as error:
            if os.environ.get("CI") == "true":
                raise
            narrator.report.unproven.append(f"the image and the containers: simulated, because {error}")
            detail.append("none: containers are simulated")
            return None
        detail.append(engine.host)
        return engine


def _emulated_account(
    cleanup: contextlib.ExitStack, narrator: Narrator, stack: Stack, engine: Engine | None, *, keep: bool
) -> Emulator:
    with narrator.phase("Emulated AWS") as detail:
        account, region = estate.account_and_region(stack.config)
        emulator = Emulator(
            account,
            region,
            python=ensure_installed(ROOT),
            docker_host=engine.host if engine else None,
            bridge_address=engine.bridge_address() if engine else None,
            ids=estate.pinned_ids(stack.settings),
            outlive=keep,
        )
        cleanup.enter_context(emulator)  # From now on it is stopped again, unless it is kept.
        detail.append(emulator.endpoint)
        return emulator


class _Images:
    """The engine, with base images seen to before each build."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.push = engine.push

    def build(
        self,
        context: Path,
        tag: str,
        *,
        dockerfile: Path | None,
        platform: str | None,
        args: Mapping[str, str] | None,
        target: str | None,
    ) -> object:
        substituted = self._engine.ensure_base_images(dockerfile or context / "Dockerfile", args, platform)
        # A stand-in's build reaches the package index as this machine does, through whatever proxy that takes.
        network = "host" if substituted else None
        return self._engine.build(
            context, tag, dockerfile=dockerfile, platform=platform, args=args, target=target, network=network
        )


def _deploy(
    narrator: Narrator, name: str, stack: Stack, account: Account, engine: Engine | None, state: Path
) -> monitor.Deployment:
    with narrator.phase(name) as detail:
        deployed = monitor.deploy(
            ROOT,
            project=configuration.NAMESPACE,
            stack=stack.name,
            config=dict(stack.config),
            account=account,
            docker=_Images(engine) if engine else None,
            state=state,
            progress=lambda event: narrator.progress(f"{name}: {event.name} {event.action or '...'}"),
        )
        detail.append(f"{len(deployed.resources)} resources")
        return deployed


def _row(resource: monitor.Result) -> Row:
    return Row(
        name=resource.name,
        type=resource.type.split(":", 1)[0] + ":" + resource.type.rsplit(":", 1)[-1],
        action=resource.action,
        seconds=resource.seconds,
        changes={name: f"{change.before} -> {change.after}" for name, change in resource.changes.items()},
        recorded_only=resource.recorded_only,
    )


def _note_unproven(unproven: list[str], deployed: monitor.Deployment, engine: Engine | None) -> None:
    if engine:
        unproven += [f"base image {name}: could not be pulled, a Debian made here stood in for it" for name in engine.stand_ins]
    reasons: dict[str, set[str]] = {}
    for resource in deployed.resources:
        for name, reason in resource.recorded_only.items():
            reasons.setdefault(reason, set()).add(f"{resource.type.rsplit(':', 1)[-1]}.{name}")
    unproven += [f"{', '.join(sorted(names))}: recorded only, {reason}" for reason, names in reasons.items()]
    unproven += _BEYOND


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Edge:
    """The load balancer's data plane, as a process of its own."""

    url: str
    health_url: str
    pid: int

    @classmethod
    def start(cls, cleanup: contextlib.ExitStack, account: Account, settings: Settings, *, keep: bool) -> _Edge | None:
        listener = _listener(account, settings)
        if listener is None:
            return None
        command = [sys.executable, "-m", "rehearsal.edge", "--endpoint", account.endpoint, "--listener", listener]
        command += ["--health-interval-factor", str(_HEALTH_FACTOR)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        assert process.stdout
        if not keep:
            cleanup.callback(process.wait, 10)
            cleanup.callback(process.terminate)
        line = process.stdout.readline()
        if not line:
            raise RehearsalError(f"The edge did not start. Try it by hand: {' '.join(command)}")
        return cls(pid=process.pid, **json.loads(line))

    @classmethod
    def attach(cls, kept: Kept) -> _Edge:
        assert kept.edge_url and kept.health_url
        return cls(url=kept.edge_url, health_url=kept.health_url, pid=kept.edge_pid)

    def health(self) -> dict[str, list[dict[str, Any]]]:
        """Target group name -> targets, in AWS's words."""
        import httpx2

        with httpx2.Client(trust_env=False) as client:
            found: dict[str, list[dict[str, Any]]] = client.get(self.health_url, timeout=5).json()
            return found


def _listener(account: Account, settings: Settings) -> str | None:
    if settings.estate.load_balancer is None or not any(service.public for service in settings.services.values()):
        return None
    elb = account.client("elbv2")
    balancer = elb.describe_load_balancers(Names=[settings.estate.load_balancer])["LoadBalancers"][0]["LoadBalancerArn"]
    listeners = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
    return next(listener["ListenerArn"] for listener in listeners if listener["Port"] == settings.estate.listener_port)


def _check(
    stack: Stack, account: Account, edge: _Edge | None, outputs: Mapping[str, Any], narrator: Narrator
) -> list[Check]:
    results: list[Check] = []
    several = len(stack.settings.services) > 1
    with ThreadPoolExecutor() as pool:
        work = [
            pool.submit(_check_service, service, stack.settings, account, edge, outputs)
            for service in stack.settings.services.values()
        ]
        for service, future in zip(stack.settings.services.values(), work, strict=True):
            prefix = f"{service.key}: " if several else ""
            results += [dataclasses.replace(check, name=prefix + check.name) for check in future.result()]
    return results


def _check_service(
    service: Service, settings: Settings, account: Account, edge: _Edge | None, outputs: Mapping[str, Any]
) -> list[Check]:
    of = outputs["services"][service.key]
    results = [_wait_for_target_health(service, edge)] if service.public and edge else []
    expectations = checks.Expectations(
        oauth=service.server == "workspace-mcp" and service.oauth.enabled,
        client_redirect_uris=tuple(service.oauth.client_redirect_uris),
        ready_path="/health/ready" if service.server == "workspace-mcp" else None,
    )
    if service.url and edge:
        results += checks.run(checks.PublicAddress(url=service.url, connect_to=edge.url), expectations)
    deployed = deployment.Deployment(
        cluster=outputs["cluster"],
        service=of["service"],
        task_definition=of["taskDefinition"],
        image=of["image"],
        log_group=of["logGroup"],
        target_group=of.get("targetGroup"),
        discovery_name=service.discovery_name,
        namespace=settings.estate.namespace,
        secrets={name: wanted.key for name, wanted in service.secrets.items()},
    )
    return results + deployment.run(deployed, account.client)


def _wait_for_target_health(service: Service, edge: _Edge | None) -> Check:
    """Target health as the load balancer asks for it: the group's own path, port, matcher and thresholds."""
    from components.routing import target_group_name

    assert edge
    started, limit = time.monotonic(), 60.0
    while True:
        targets = edge.health().get(target_group_name(service), [])
        states = [target["state"] for target in targets]
        waiting = not targets or any(state in ("initial", "unhealthy") for state in states)
        if not waiting or time.monotonic() - started > limit:
            break
        time.sleep(0.1)
    told = [f"{t['target']}:{t['port']} {t['state']}{' (' + t['description'] + ')' if t.get('description') else ''}" for t in targets]
    return Check(
        name="the load balancer finds its targets healthy",
        passed=bool(targets) and not waiting,
        detail=", ".join(told) or "no target is registered",
        remedy="compare health.path and port with what the server answers on; see its log",
        seconds=time.monotonic() - started,
    )
