# mypy: disable-error-code="import-not-found"
"""Runs MiniStack inside its own virtual environment; started by `rehearsal.emulator`, never by hand.

    python emulator_process.py --bind 127.0.0.1:4566 [--bind ADDRESS:PORT]... [--id vpc-...]... [--follow-parent FOLDER]

Everything else is configured by MiniStack's own environment variables. Imports nothing of the project, because the
interpreter that runs it has MiniStack's pinned dependencies and no others.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bind", action="append", required=True)
    parser.add_argument("--id", action="append", default=[], dest="ids")
    parser.add_argument("--follow-parent", metavar="FOLDER", help="end with the parent process, and remove this folder")
    arguments = parser.parse_args()

    from ministack.services import ec2

    pin_ids(ec2, arguments.ids)
    try:
        asyncio.run(serve(arguments.bind, arguments.follow_parent is not None))
    finally:
        if arguments.follow_parent:
            shutil.rmtree(arguments.follow_parent, ignore_errors=True)


if __name__ == "__main__":
    main()
