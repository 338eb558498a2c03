"""What deploying takes, as data: rights for every stack, and for each type of resource that the program may declare.

A new type gets a row in the room that it belongs to. What the provider calls is not guessed: it is recorded, and held
against these tables by `./ops rights --calls FILE`.
"""

from components.delivery.right import Right
from components.delivery.rights import containers, monitoring, network, storage
from components.delivery.rights.look_ups import ALWAYS

RIGHTS: dict[str, tuple[Right, ...]] = {
    **containers.RIGHTS,
    **network.RIGHTS,
    **monitoring.RIGHTS,
    **storage.RIGHTS,
}
"""Pulumi's type -> what deploying resources of it takes; none: a resource of another type has its rights."""

__all__ = ["ALWAYS", "RIGHTS"]
