"""Where a service's image is kept, and the image itself: built and pushed inside the same `pulumi up`.

An image is built once for each content of its context. Content that was pushed before, such as a `git revert` brings
back, is used as it is: another build of it would be other bytes, under a tag that the registry does not give twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from components import account
from components.context import source_revision, stage
from components.rollout import HealthyRevision
from components.settings import Image

KEPT_IMAGES = 10
"""Images that the repository keeps, whatever became of them; older ones expire."""
KEPT_HEALTHY = 100
"""Images that became healthy that it keeps. The last ten of these are gone back to, and the one that runs is among
them; the order in which they were pushed may be another one."""
HEALTHY = "healthy-"
"""Beginning of the tag that an image gets when it becomes healthy; the rest is of its digest, as an image needs one."""
BUILT = "BuiltTag"
"""Key of the repository's own (AWS) tag that says which image is the one in Pulumi's state, by its content's tag."""

# ECR hands out an image as it is only to who takes its type.
_MANIFESTS = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
]


class NotKept(pulumi.RunError):
    """Images that became healthy could not be kept from expiry."""


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
    """The tag of the image built here, now or earlier, or None for a finished one."""
    source_revision: str | None
    """The Git revision that the image's source is from, or None for a finished image or outside of Git."""

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mcp-on-ecs:index:Registry", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        context = None if args.image.digest else stage(name, args.image)
        self.tag = context.tag if context else None
        self.source_revision = source_revision(args.image) if context else None
        finished = args.image.digest or (_built_before(args.repository, context.tag) if context else None)
        repository = aws.ecr.Repository(
            f"{name}-repository",
            name=args.repository,
            # A tag that can be overwritten would make a rollback start the same broken image.
            image_tag_mutability="IMMUTABLE",
            # A service that is taken out of the stack takes its images along; its removal would stop halfway otherwise.
            force_delete=True,
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[{"encryption_type": "AES256"}],
            # Changed before the image is, so that it never names one that is not in the state.
            tags={**args.tags, **({BUILT: self.tag} if self.tag and not finished else {})},
            opts=child,
        )
        self.repository_url = repository.repository_url
        self._name = args.repository
        aws.ecr.LifecyclePolicy(
            f"{name}-lifecycle",
            # What there is to go back to is protected first.
            repository=repository.name.apply(
                lambda repository: keep(repository, [revision.digest for revision in args.healthy])
            ),
            policy=lifecycle_policy(),
            opts=child,
        )
        if finished:
            self.image = _finished(repository.repository_url, finished)
        else:
            assert context
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

    def kept(self, healthy: pulumi.Output[str]) -> pulumi.Output[str]:
        """The image, once `healthy` is known and the image is therefore kept from expiry."""

        def keep_own(facts: list[str]) -> str:
            image, repository_url, _ = facts
            if image.startswith(f"{repository_url}@"):
                keep(self._name, [image.partition("@")[2]])
            return image

        return pulumi.Output.all(self.image, self.repository_url, healthy).apply(keep_own)


def _built_before(repository: str, tag: str) -> str | None:
    """The digest of what the repository has under the content's tag, if that is not the image in Pulumi's state.

    That one goes on being declared, and is the same there. Where nobody can be asked, it is built.
    """
    try:
        ecr = account.client("ecr")
        found = ecr.batch_get_image(
            repositoryName=repository, imageIds=[{"imageTag": tag}], acceptedMediaTypes=_MANIFESTS
        )["images"]
        if not found:
            return None
        (described,) = ecr.describe_repositories(repositoryNames=[repository])["repositories"]
        tags = ecr.list_tags_for_resource(resourceArn=described["repositoryArn"])["tags"]
    except NoCredentialsError:
        return None
    except (BotoCoreError, ClientError) as error:
        missing = isinstance(error, ClientError) and error.response["Error"]["Code"] == "RepositoryNotFoundException"
        if not missing:
            pulumi.log.warn(f"Whether {repository} has {tag} already could not be asked, so it is built: {error}")
        return None
    return None if {"Key": BUILT, "Value": tag} in tags else str(found[0]["imageId"]["imageDigest"])


def keep(repository: str, digests: Sequence[str]) -> str:
    """Tag those of the images that the repository has, so that they do not expire. The repository's name.

    Nothing at a preview. Raises `NotKept`.
    """
    if digests and not pulumi.runtime.is_dry_run():
        try:
            _tag_healthy(account.client("ecr"), repository, digests)
        except (BotoCoreError, ClientError) as error:
            raise NotKept(
                f"The images in {repository} that there is to go back to could not be kept from expiry: {error}\n"
                "  do       allow ecr:BatchGetImage and ecr:PutImage on it, and run pulumi up again"
            ) from None
    return repository


def _tag_healthy(ecr: Any, repository: str, digests: Iterable[str]) -> None:
    def images(by: str, values: Iterable[str]) -> dict[str, Any]:
        wanted = [{by: value} for value in values]
        found: dict[str, Any] = ecr.batch_get_image(
            repositoryName=repository, imageIds=wanted, acceptedMediaTypes=_MANIFESTS
        )
        return found

    tags = {healthy_tag(digest): digest for digest in digests}
    untagged = [failure["imageId"]["imageTag"] for failure in images("imageTag", tags)["failures"]]
    for image in images("imageDigest", map(tags.__getitem__, untagged))["images"] if untagged else ():
        digest = image["imageId"]["imageDigest"]
        # Somebody else may be faster.
        with contextlib.suppress(ecr.exceptions.ImageAlreadyExistsException):
            ecr.put_image(
                repositoryName=repository,
                imageManifest=image["imageManifest"],
                imageManifestMediaType=image["imageManifestMediaType"],
                imageDigest=digest,
                imageTag=healthy_tag(digest),
            )


def healthy_tag(digest: str) -> str:
    """The tag that keeps the image `sha256:...` from expiry."""
    return HEALTHY + digest.partition(":")[2][:16]


def lifecycle_policy() -> str:
    """Keep the last images, and besides those that became healthy, however many are pushed after them.

    What matches a rule is out of reach of the rules behind it. The policy is the same for every deployment: one that
    named images would be changed by the deployment that makes them healthy, and so leave a change behind.
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
    """
    rules: list[tuple[str, dict[str, Any]]] = [
        (
            f"keep what became healthy, the last {KEPT_HEALTHY}",
            {"tagStatus": "tagged", "tagPatternList": [f"{HEALTHY}*"], "countNumber": KEPT_HEALTHY},
        ),
        (f"keep the last {KEPT_IMAGES}", {"tagStatus": "any", "countNumber": KEPT_IMAGES}),
    ]
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
