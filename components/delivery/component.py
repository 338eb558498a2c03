"""The component: the two roles, their trust in GitHub's tokens, and their policies."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pulumi
import pulumi_aws as aws

from components.delivery.declared import Declared
from components.delivery.documents import policies
from components.delivery.names import GITHUB, provider_arn, role_name
from components.delivery.statements import grants
from components.documents import policy_document
from components.estate import Estate
from components.settings import Delivery as DeliverySettings
from components.settings import Settings

_AUDIENCE = "sts.amazonaws.com"


def roles(settings: Settings, estate: Estate, declared: Sequence[Declared]) -> dict[str, pulumi.Output[str]]:
    """The ARNs of the pipeline's roles, as stack outputs; none if the stack has no `delivery`. To be called last.

    Raises `UnknownRights`, `OversizedPolicy`.
    """
    if settings.delivery is None:
        return {}
    made = Delivery(
        "delivery", DeliveryArgs(settings=settings, delivery=settings.delivery, estate=estate, declared=tuple(declared))
    )
    return {"deployRole": made.deploy_role_arn, "previewRole": made.preview_role_arn}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeliveryArgs:
    """What the pipeline's roles are made of."""

    settings: Settings
    """The stack's settings."""
    delivery: DeliverySettings
    """Those of the pipeline."""
    estate: Estate
    """Where it deploys to."""
    declared: tuple[Declared, ...]
    """What it deploys."""


class Delivery(pulumi.ComponentResource):
    """A role for previews and a role for deployments, both for GitHub Actions of one repository.

    Neither may change itself: an administrator deploys what changes here.
    """

    deploy_role_arn: pulumi.Output[str]
    """For the branch, in the environment of deployments."""
    preview_role_arn: pulumi.Output[str]
    """For the environment of previews; reads."""

    def __init__(self, name: str, args: DeliveryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mcp-on-ecs:index:Delivery", name, None, opts)
        self._name, self._args, self._child = name, args, pulumi.ResourceOptions(parent=self)
        delivery, estate, stack = args.delivery, args.estate, args.settings
        self._tags = stack.own_tags("delivery")
        provider: pulumi.Input[str] = provider_arn(estate)
        if delivery.create_provider:
            provider = aws.iam.OpenIdConnectProvider(
                f"{name}-github",
                url=f"https://{GITHUB}",
                client_id_lists=[_AUDIENCE],
                tags=self._tags,
                # One for the account: other stacks' pipelines sign in by it as well, and go on when this one leaves.
                opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True),
            ).arn
        rights = list(grants(stack, estate, args.declared))
        self.deploy_role_arn = self._role(
            "deploy",
            provider,
            delivery.environment,
            # The subject names the environment in place of the branch, and STS knows the claim by itself:
            # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
            {f"{GITHUB}:ref": f"refs/heads/{delivery.branch}"},
            policies(rights, write=True),
        )
        # A pull request's branch is not known before; who may merge is not who may open one, so it only reads.
        self.preview_role_arn = self._role(
            "preview", provider, delivery.preview_environment, {}, policies(rights, write=False)
        )
        self.register_outputs({"deployRoleArn": self.deploy_role_arn, "previewRoleArn": self.preview_role_arn})

    def _role(
        self,
        part: str,
        provider: pulumi.Input[str],
        environment: str,
        conditions: Mapping[str, str],
        documents: Sequence[str],
    ) -> pulumi.Output[str]:
        args = self._args
        trust = {
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {
                    f"{GITHUB}:aud": _AUDIENCE,
                    f"{GITHUB}:sub": f"repo:{args.delivery.repository}:environment:{environment}",
                    **conditions,
                }
            },
        }
        role = aws.iam.Role(
            f"{self._name}-{part}-role",
            name=role_name(args.settings, part),
            assume_role_policy=pulumi.Output.from_input(provider).apply(
                lambda provider: policy_document([{**trust, "Principal": {"Federated": provider}}])
            ),
            # An update waits for ECS, at most as long as the provider does.
            max_session_duration=3600,
            tags=self._tags,
            opts=self._child,
        )
        for number, document in enumerate(documents, 1):
            # Managed, because a role's inline policies have room for one service only.
            managed = aws.iam.Policy(
                f"{self._name}-{part}-policy-{number}",
                name=f"{role_name(args.settings, part)}-{number}",
                policy=document,
                tags=self._tags,
                opts=self._child,
            )
            aws.iam.RolePolicyAttachment(
                f"{self._name}-{part}-attachment-{number}", role=role.name, policy_arn=managed.arn, opts=self._child
            )
        return role.arn
