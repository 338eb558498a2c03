"""ECR: repositories, lifecycle policies, the registry's password."""

from __future__ import annotations

import base64
import contextlib

from providers.base import (
    Context,
    Handler,
    Properties,
    function,
    given,
    gone_tags,
    resource,
    tag_list,
    tag_map,
)


@resource
class Repository(Handler):
    type = "aws:ecr/repository:Repository"
    properties = frozenset(
        {"name", "imageTagMutability", "imageScanningConfiguration", "encryptionConfigurations", "tags"}
    )
    replacing = frozenset({"name", "encryptionConfigurations"})
    steering = frozenset({"forceDelete"})
    defaults = {"imageTagMutability": "MUTABLE", "tags": {}}
    name_property = "name"

    def create(self, inputs: Properties) -> str:
        scanning = inputs.get("imageScanningConfiguration")
        encryption = inputs.get("encryptionConfigurations")
        self.context.client("ecr").create_repository(
            **given(
                repositoryName=inputs["name"],
                imageTagMutability=inputs.get("imageTagMutability"),
                imageScanningConfiguration=scanning,
                encryptionConfiguration=given(
                    encryptionType=encryption[0].get("encryptionType"), kmsKey=encryption[0].get("kmsKey")
                )
                if encryption
                else None,
                tags=tag_list(inputs.get("tags")),
            )
        )
        return str(inputs["name"])

    def read(self, locator: str) -> Properties | None:
        ecr = self.context.client("ecr")
        try:
            found = ecr.describe_repositories(repositoryNames=[locator])["repositories"][0]
        except ecr.exceptions.RepositoryNotFoundException:
            return None
        tags = tag_map(ecr.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"])
        return {
            "id": locator,
            "name": locator,
            "arn": found["repositoryArn"],
            "registryId": found["registryId"],
            "repositoryUrl": found["repositoryUri"],
            "imageTagMutability": found["imageTagMutability"],
            "imageScanningConfiguration": found["imageScanningConfiguration"],
            "encryptionConfigurations": [found["encryptionConfiguration"]],
            "tags": tags,
            "tagsAll": tags,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        ecr = self.context.client("ecr")
        if "imageTagMutability" in changed:
            ecr.put_image_tag_mutability(
                repositoryName=locator, imageTagMutability=inputs.get("imageTagMutability", "MUTABLE")
            )
        if "imageScanningConfiguration" in changed:
            ecr.put_image_scanning_configuration(
                repositoryName=locator, imageScanningConfiguration=inputs["imageScanningConfiguration"]
            )
        if "tags" in changed:
            arn = ecr.describe_repositories(repositoryNames=[locator])["repositories"][0]["repositoryArn"]
            before = tag_map(ecr.list_tags_for_resource(resourceArn=arn)["tags"])
            if gone := gone_tags(before, inputs.get("tags")):
                ecr.untag_resource(resourceArn=arn, tagKeys=gone)
            if inputs.get("tags"):
                ecr.tag_resource(resourceArn=arn, tags=tag_list(inputs["tags"]))

    def delete(self, locator: str, recorded: Properties) -> None:
        ecr = self.context.client("ecr")
        with contextlib.suppress(ecr.exceptions.RepositoryNotFoundException):
            ecr.delete_repository(repositoryName=locator, force=bool(recorded.get("forceDelete", False)))


@resource
class LifecyclePolicy(Handler):
    type = "aws:ecr/lifecyclePolicy:LifecyclePolicy"
    properties = frozenset({"repository", "policy"})
    # The real provider replaces it for either; the policy of a repository is one document without an update call.
    replacing = frozenset({"repository", "policy"})
    delete_before_replace = True
    defaults = {}
    json_properties = frozenset({"policy"})

    def find(self, inputs: Properties) -> str | None:
        return self._if_there(inputs.get("repository"))

    def create(self, inputs: Properties) -> str:
        self.context.client("ecr").put_lifecycle_policy(
            repositoryName=inputs["repository"], lifecyclePolicyText=inputs["policy"]
        )
        return str(inputs["repository"])

    def read(self, locator: str) -> Properties | None:
        ecr = self.context.client("ecr")
        try:
            found = ecr.get_lifecycle_policy(repositoryName=locator)
        except (ecr.exceptions.LifecyclePolicyNotFoundException, ecr.exceptions.RepositoryNotFoundException):
            return None
        return {
            "id": locator,
            "repository": locator,
            "policy": found["lifecyclePolicyText"],
            "registryId": found["registryId"],
        }

    def delete(self, locator: str, recorded: Properties) -> None:
        ecr = self.context.client("ecr")
        with contextlib.suppress(
            ecr.exceptions.LifecyclePolicyNotFoundException, ecr.exceptions.RepositoryNotFoundException
        ):
            ecr.delete_lifecycle_policy(repositoryName=locator)


@function("aws:ecr/getAuthorizationToken:getAuthorizationToken", "registryId")
def authorization_token(context: Context, args: Properties) -> Properties:
    found = context.client("ecr").get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(found["authorizationToken"]).decode().partition(":")
    return {
        "id": context.account.region,
        "authorizationToken": found["authorizationToken"],
        "userName": user,
        "password": password,
        "expiresAt": found["expiresAt"].isoformat(),
        "proxyEndpoint": found["proxyEndpoint"],
        "region": context.account.region,
    }
