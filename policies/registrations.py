"""What a stack's program registers, found out without a cloud: look-ups are answered from the stack's configuration.

The program runs as in the preview of a first deployment: what AWS would make up is unknown. Nothing is built, and
nothing is asked of the account, the Docker engine or Pulumi's CLI.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import json
import logging
import os
import runpy
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import pulumi
from botocore.exceptions import NoCredentialsError
from pulumi.output import Unknown
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.settings import Settings, configure
from pulumi.runtime.stack import run_in_stack
from pulumi.runtime.sync_await import _ensure_event_loop, _sync_await

from components import account, settings
from policies.evaluation import Findings, evaluate
from policies.rule import STACK, UNKNOWN

ROOT = Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Registration:
    """One resource as the engine would get it."""

    urn: str
    type: str
    name: str
    parent: str
    """The parent's URN."""
    inputs: Mapping[str, Any] = dataclasses.field(repr=False)
    """In clear, under Pulumi's names; `UNKNOWN` for what a preview does not know."""
    dependencies: tuple[str, ...]
    """URNs of the resources that it waits for."""


def check_stack(name: str) -> Findings:
    """The findings on what `Pulumi.<name>.yaml` makes the program register. Raises `SettingsError`, `ContextError`."""
    config = settings.read_stack_file(settings.stack_file(name))
    exceptions = settings.parse(config).policy_exceptions
    return evaluate(registrations(config, stack=name), exceptions)


LookUp = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Answers a look-up, given its token and arguments."""
Existing = Callable[[Registration], Mapping[str, Any] | None]
"""What exists of a resource already, `id` included, so that the program knows it; None: nothing."""


def registrations(
    config: Mapping[str, str],
    *,
    stack: str = "check",
    look_up: LookUp | None = None,
    existing: Existing = lambda _registration: None,
) -> list[Registration]:
    """What the program registers with this configuration (full key -> text, objects as JSON), in that order.

    stack: its name, which URNs have. look_up: answers from an account instead of the configuration. existing: asked for
    each resource, from several threads. The default is a first deployment. Raises what the program raises.
    """
    recorded: list[Registration] = []
    errors: list[BaseException] = []
    # A context of its own: Pulumi's settings, configuration and root stack are context variables.
    context, monitor = contextvars.Context(), _Monitor(_LookUps(config, look_up), recorded, existing)

    def run() -> None:
        try:
            context.run(_run, dict(config), stack, monitor)
        except BaseException as error:
            errors.append(error)

    # A thread of its own, since interrupts reach the main one: in the program Pulumi would catch them, and then wait
    # for what the program had begun, some of which never ends.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return recorded


def _run(config: dict[str, str], stack: str, monitor: _Monitor) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # What the program warns of is that there is no account to ask, which is the point here.
    silent = logging.Logger("registrations")
    silent.addHandler(logging.NullHandler())
    engine = mocks.MockEngine(silent)
    configure(Settings(project=settings.NAMESPACE, stack=stack, monitor=monitor, engine=engine, dry_run=True))
    pulumi.runtime.set_all_config(config)
    # Whether the listener has room for our rules is a question for the account.
    free = mock.patch.object(account, "client", _no_account)
    # Contexts are staged below the working directory, which for the engine is the project's.
    with free, _working_directory(ROOT):
        try:
            loop.run_until_complete(run_in_stack(_program))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            asyncio.set_event_loop(None)
            loop.close()


def _program() -> None:
    runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")


@contextlib.contextmanager
def _working_directory(directory: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


def _no_account(_service: str) -> NoReturn:
    """In place of a boto3 client: the program takes the listener's rules and certificates for undecided then."""
    raise NoCredentialsError


class _LookUps(mocks.Mocks):
    """Finds whatever the configuration names."""

    def __init__(self, config: Mapping[str, str], look_up: LookUp | None) -> None:
        self._look_up = look_up
        aws = account.provider(config)
        self._account = next(iter(aws.allowed_account_ids), "123456789012")
        self._region = aws.region or "us-east-1"
        vpc = settings.parse(config).estate.vpc
        self._vpc = vpc if vpc.startswith("vpc-") else "vpc-0"

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        raise AssertionError(args.typ)  # _Monitor answers by itself.

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        function = args.token.rpartition(":")[2]
        # Nothing is pushed, so there is no need for the registry's password.
        if self._look_up and function != "getAuthorizationToken":
            return self._look_up(args.token, args.args), []
        return {**args.args, **self._answer(function, args.args)}, []

    def _arn(self, service: str, rest: str) -> str:
        return f"arn:aws:{service}:{self._region}:{self._account}:{rest}"

    def _answer(self, function: str, args: dict[str, Any]) -> dict[str, Any]:
        match function:
            case "getCallerIdentity":
                return {"accountId": self._account}
            case "getRegion":
                return {"region": self._region, "name": self._region}
            case "getPartition":
                return {"partition": "aws"}
            case "getVpc":
                return {"id": self._vpc, "cidrBlock": "10.0.0.0/16"}
            case "getSubnet":
                return {"id": args.get("id") or _id("subnet", args), "vpcId": self._vpc}
            case "getSecurityGroup":
                return {"id": args.get("id") or _id("sg", args)}
            case "getCluster":
                return {"arn": self._arn("ecs", f"cluster/{args['clusterName']}"), "status": "ACTIVE"}
            case "getDnsNamespace":
                return {"id": _id("ns", args)}
            case "getLoadBalancer":
                return {
                    "arn": self._arn("elasticloadbalancing", f"loadbalancer/app/{args['name']}/0"),
                    "dnsName": f"{args['name']}.{self._region}.elb.amazonaws.com",
                    "zoneId": "Z0",
                    "vpcId": self._vpc,
                    "loadBalancerType": "application",
                    "securityGroups": ["sg-0"],
                }
            case "getListener":
                arn = args["loadBalancerArn"].replace(":loadbalancer/", ":listener/")
                return {"arn": f"{arn}/0", "protocol": "HTTPS"}
            case "getSecret":
                return {"arn": args.get("arn") or self._arn("secretsmanager", f"secret:{args['name']}-AbCdEf")}
            case "getRole":
                return {"arn": f"arn:aws:iam::{self._account}:role/{args['name']}"}
            case "getOpenIdConnectProvider":
                return {"arn": f"arn:aws:iam::{self._account}:oidc-provider/{args['url'].removeprefix('https://')}"}
            case "getBucket":
                return {"arn": f"arn:aws:s3:::{args['bucket']}"}
            case "getZone":
                return {"zoneId": _id("Z", args)}
            case "getAuthorizationToken":
                return {"userName": "AWS", "password": "none"}
            case "getParametersByPath":
                return {"names": [], "values": []}
        raise LookupError(
            f"The program looks up {function}, which nobody answers. Add it to _LookUps in policies/registrations.py."
        )


def _id(kind: str, args: Mapping[str, Any]) -> str:
    return f"{kind}-{zlib.crc32(json.dumps(args, sort_keys=True).encode()):08x}"


class _Monitor(mocks.MockMonitor):
    """Records registrations. Answers with their inputs and what exists, so that all else is unknown to the program."""

    def __init__(self, look_ups: _LookUps, recorded: list[Registration], existing: Existing) -> None:
        super().__init__(look_ups)
        self._recorded, self._existing = recorded, existing

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """As the engine does: the parent's whole type is kept, and the stack is no part of it."""
        qualified = parent.split("::")[2] if parent else STACK
        type_ = type_ if qualified == STACK else f"{qualified}${type_}"
        return f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::{type_}::{name}"

    def RegisterResource(self, request: Any) -> Any:
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        registration = Registration(
            urn=urn,
            type=request.type,
            name=request.name,
            parent=request.parent,
            inputs=_plain(rpc.deserialize_properties(request.object, keep_unknowns=True)),
            dependencies=tuple(sorted(request.dependencies)),
        )
        self._recorded.append(registration)
        if not (request.custom and (found := self._existing(registration))):
            return resource_pb2.RegisterResourceResponse(urn=urn, object=request.object)
        _ensure_event_loop()  # type: ignore[no-untyped-call]
        outputs = _sync_await(rpc.serialize_properties(dict(found), {}))
        outputs.MergeFrom(request.object)
        return resource_pb2.RegisterResourceResponse(urn=urn, id=str(found["id"]), object=outputs)


def _plain(value: Any) -> Any:
    """Without the wire's wrappings: secrets in clear, whole numbers as int, and one word for what is unknown."""
    if rpc.is_rpc_secret(value):
        return _plain(rpc.unwrap_rpc_secret(value))
    if isinstance(value, Unknown):
        return UNKNOWN
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
