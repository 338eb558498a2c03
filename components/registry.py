"""Where a service's image is kept, and the image itself: built and pushed inside the same `pulumi up`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker

from components.context import source_revision, stage
from components.rollout import HealthyRevision
from components.settings import Image

KEPT_IMAGES = 10
"""Images that the repository keeps; older ones expire."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Login:
    """A registry login, which ECR gives out for twelve hours. One serves every build and push of an `up`."""

    username: pulumi.Input[str]
    """AWS, for every registry of ECR."""
    password: pulumi.Input[str]
    """Good for twelve hours; a secret."""


def ecr_login() -> Login:
    """The login of the account's own registry."""
    token = aws.ecr.get_authorization_token_output()
    return Login(username=token.user_name, password=pulumi.Output.secret(token.password))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """What a service's registry is made of."""

    repository: str
    """The repository's name."""
    image: Image
    """How the image is made, or which finished one is used."""
    login: Login
    """Login for the push."""
    healthy: Sequence[HealthyRevision] = ()
    """Revisions that there is to go back to; their images never expire. Default: none yet."""
    tags: dict[str, str]
    """Tags for every taggable resource."""


class Registry(pulumi.ComponentResource):
    """An ECR repository, and an image in it."""

    repository_url: pulumi.Output[str]
    """`ACCOUNT.dkr.ecr.REGION.amazonaws.com/name`."""
    image: pulumi.Output[str]
    """The image as `repository@sha256:...`, never a tag."""
    tag: str | None
    """The tag of the image built here, or None for a finished one."""
    source_revision: str | None
    """The Git revision that the image's source is from, or None for a finished image or outside of Git."""

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mcp-on-ecs:index:Registry", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        context = None if args.image.digest else stage(name, args.image)
        self.tag = context.tag if context else None
        self.source_revision = source_revision(args.image) if context else None
        repository = aws.ecr.Repository(
            f"{name}-repository",
            name=args.repository,
            # A tag that can be overwritten would make a rollback start the same broken image.
            image_tag_mutability="IMMUTABLE",
            # A service that is taken out of the stack takes its images along; its removal would stop halfway otherwise.
            force_delete=True,
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[{"encryption_type": "AES256"}],
            tags=args.tags,
            opts=child,
        )
        aws.ecr.LifecyclePolicy(
            f"{name}-lifecycle",
            repository=repository.name,
            policy=lifecycle_policy(tag for tag in (self.tag, *(revision.tag for revision in args.healthy)) if tag),
            opts=child,
        )
        self.repository_url = repository.repository_url
        if context is None:
            self.image = _finished(repository.repository_url, args.image.digest or "")
        else:
            self.image = docker.Image(
                f"{name}-image",
                image_name=pulumi.Output.concat(repository.repository_url, ":", context.tag),
                build={
                    "context": str(context.directory),
                    "dockerfile": str(context.dockerfile),
                    "platform": args.image.platform,
                    "target": args.image.target,
                    "args": args.image.args,
                },
                registry={
                    "server": repository.repository_url.apply(lambda url: url.split("/")[0]),
                    "username": args.login.username,
                    "password": args.login.password,
                },
                opts=child,
            ).repo_digest
        self.register_outputs({"repositoryUrl": self.repository_url, "image": self.image, "tag": self.tag})


def lifecycle_policy(protected: Iterable[str]) -> str:
    """Keep the last images, and besides those that `protected` tags name, however many are pushed after them.

    A tag of its own rule, first: what matches a rule is out of reach of the rules behind it, and a single image never
    exceeds a count of one. https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
    """
    rules: list[tuple[str, dict[str, Any]]] = [
        (
            f"keep {tag}, which a healthy revision uses",
            {"tagStatus": "tagged", "tagPatternList": [tag], "countNumber": 1},
        )
        for tag in dict.fromkeys(protected)
    ]
    rules.append((f"keep the last {KEPT_IMAGES}", {"tagStatus": "any", "countNumber": KEPT_IMAGES}))
    return json.dumps(
        {
            "rules": [
                {
                    "rulePriority": priority,
                    "description": description,
                    "selection": {"countType": "imageCountMoreThan", **selection},
                    "action": {"type": "expire"},
                }
                for priority, (description, selection) in enumerate(rules, 1)
            ]
        },
        sort_keys=True,
    )


def _finished(repository_url: pulumi.Output[str], digest: str) -> pulumi.Output[str]:
    if "@" in digest:
        return pulumi.Output.from_input(digest)
    return pulumi.Output.concat(repository_url, "@", digest)
