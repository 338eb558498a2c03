"""ECR: the registry's address."""

from typing import Any

from rehearsal.emulator_process.needs import need


def say_real_registry(ecr: Any, registry: str) -> None:
    """Make ECR name its repositories by `registry`, an address that Docker reaches.

    DescribeRepositories says ACCOUNT.dkr.ecr.REGION.amazonaws.com/name, and on AWS that resolves. MiniStack says the
    same, and here it leads nowhere, or to AWS; but the Docker provider pushes to whatever is said.

    Goes when MiniStack's address of a registry is one that Docker reaches.
    """
    need(ecr, "_repo_uri")
    ecr._repo_uri = lambda name: f"{registry}/{name}"
