"""EC2: ids as the estate has them, and rules of security groups."""

import sys
import threading
from collections.abc import Callable
from typing import Any

from rehearsal.emulator_process.needs import need

# Function of ministack.services.ec2 that makes the id, by the id's prefix.
ID_MAKERS = {"vpc": "_new_vpc_id", "subnet": "_new_subnet_id", "sg": "_new_sg_id"}


def pin_ids(ec2: Any, ids: list[str]) -> None:
    """Make EC2 give `ids` to what is created, before it falls back to random ones.

    CreateVpc, CreateSubnet and CreateSecurityGroup take no id, but an estate is named by its ids, and the program
    under rehearsal must be given the same ones as in production. VPCs and subnets get theirs in the order of their
    creation; a security group gets the id that it was given as its name (AWS allows no name that begins with sg-).

    Raises:
        SystemExit: a prefix other than those, or this version of MiniStack has lost a function that is needed.

    Goes when MiniStack takes a wanted id for what it makes, by a tag or a parameter.
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


def ignore_ports_of_all_protocols(ec2: Any) -> None:
    """Keep no ports of a rule for all protocols (-1), which AWS ignores; MiniStack tells them again.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html

    Goes when MiniStack's AuthorizeSecurityGroupIngress drops the ports of protocol -1.
    """
    need(ec2, "_parse_ip_permissions")
    parse = ec2._parse_ip_permissions

    def parse_without(parameters: Any, prefix: str) -> Any:
        rules = parse(parameters, prefix)
        for rule in rules:
            if rule["IpProtocol"] == "-1":
                rule.pop("FromPort", None)
                rule.pop("ToPort", None)
        return rules

    ec2._parse_ip_permissions = parse_without
