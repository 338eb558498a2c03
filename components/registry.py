"""Where a service's image is kept, and the image itself: built and pushed inside the same `pulumi up`."""

from __future__ import annotations

import dataclasses
import json

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker

from components.context import stage
from components.settings import Image

KEPT_IMAGES = 10
"""Images that the repository keeps; older ones expire."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Login:
    """A registry login, which ECR gives out for twelve hours. One serves every build and push of an `up`."""

    username: pulumi.Input[str]
    password: pulumi.Input[str]


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
    tags: dict[str, str]
    """Tags for every taggable resource."""


class Registry(pulumi.ComponentResource):
    """An ECR repository, and an image in it."""

    repository_url: pulumi.Output[str]
    """`ACCOUNT.dkr.ecr.REGION.amazonaws.com/name`."""
    repository_arn: pulumi.Output[str]
    """The repository's ARN, which the execution role may pull from."""
    image: pulumi.Output[str]
    """The image as `repository@sha256:...`, never a tag."""
    tag: str | None
    """The tag of the image built here, or None for a finished one."""

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mcp-on-ecs:index:Registry", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        repository = aws.ecr.Repository(
            f"{name}-repository",
            name=args.repository,
            # A tag that can be overwritten would make a rollback start the same broken image.
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[{"encryption_type": "AES256"}],
            tags=args.tags,
            opts=child,
        )
        aws.ecr.LifecyclePolicy(
            f"{name}-lifecycle",
            repository=repository.name,
            policy=json.dumps(
                {
                    "rules": [
                        {
                            "rulePriority": 1,
                            "description": f"keep the last {KEPT_IMAGES}",
                            "selection": {
                                "tagStatus": "any",
                                "countType": "imageCountMoreThan",
                                "countNumber": KEPT_IMAGES,
                            },
                            "action": {"type": "expire"},
                        }
                    ]
                },
                sort_keys=True,
            ),
            opts=child,
        )
        self.repository_url = repository.repository_url
        self.repository_arn = repository.arn
        if args.image.digest:
            self.tag = None
            self.image = _finished(repository.repository_url, args.image.digest)
        else:
            context = stage(name, args.image)
            self.tag = context.tag
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


def _finished(repository_url: pulumi.Output[str], digest: str) -> pulumi.Output[str]:
    if "@" in digest:
        return pulumi.Output.from_input(digest)
    return pulumi.Output.concat(repository_url, "@", digest)
