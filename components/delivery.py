"""The pipeline's roles: one that only reads, for previews, and one that deploys, with nothing to spare.

Their rights follow from what the program declares: every resource that is registered is recorded, and a table says
for each type what the provider does with it. A type that the table does not know is an error, so that the two cannot
drift apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from components import rollout
from components.estate import Estate
from components.service import canonical_json
from components.settings import Delivery as DeliverySettings
from components.settings import Settings

GITHUB = "token.actions.githubusercontent.com"
"""GitHub's issuer of OIDC tokens, without the scheme."""
_AUDIENCE = "sts.amazonaws.com"

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_POLICY_LIMIT = 6_144
"""Characters of a managed policy."""
_POLICIES_LIMIT = 10
"""Managed policies of a role."""


class UnknownRights(pulumi.RunError):
    """The program declares a resource of a type for which no rights are written down."""


class OversizedPolicy(pulumi.RunError):
    """The deploy role's rights are more than IAM takes."""


@dataclasses.dataclass(frozen=True)
class Declared:
    """A resource that the program registered."""

    type: str
    """Pulumi's type, such as aws:sns/topic:Topic."""
    name: str
    """Logical name."""
    parent: pulumi.Resource | None
    """The resource that it is a child of."""
    inputs: Mapping[str, Any]
    """Under Python's names; physical names are plain texts."""


def recorded() -> list[Declared]:
    """A list that fills with every resource that the running program registers from now on, components included."""
    declared: list[Declared] = []

    def record(args: pulumi.ResourceTransformationArgs) -> None:
        inputs = args.props if isinstance(args.props, Mapping) else vars(args.props)
        declared.append(Declared(args.type_, args.name, args.opts.parent, dict(inputs)))

    pulumi.runtime.register_stack_transformation(record)
    return declared


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
                opts=self._child,
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
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": "sts:AssumeRoleWithWebIdentity",
                    "Principal": {"Federated": provider},
                    "Condition": {
                        "StringEquals": {
                            f"{GITHUB}:aud": _AUDIENCE,
                            f"{GITHUB}:sub": f"repo:{args.delivery.repository}:environment:{environment}",
                            **conditions,
                        }
                    },
                }
            ],
        }
        role = aws.iam.Role(
            f"{self._name}-{part}-role",
            name=role_name(args.settings, part),
            assume_role_policy=pulumi.Output.json_dumps(trust, sort_keys=True),
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


def role_name(settings: Settings, part: str) -> str:
    """The physical name of the role `part`, deploy or preview."""
    return f"{settings.name_prefix}-{settings.environment}-mcp-{part}"


def provider_arn(estate: Estate) -> str:
    """The ARN that GitHub's OIDC provider has in the account."""
    return f"arn:{estate.partition}:iam::{estate.account}:oidc-provider/{GITHUB}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grant:
    """Actions on resources: `read` for both roles, `write` for the one that deploys."""

    sid: str
    """Id of its statements, letters and digits."""
    resources: tuple[str, ...] = ("*",)
    """ARNs, or * where the actions know no resources."""
    read: tuple[str, ...] = ()
    """Actions that a preview needs as well."""
    write: tuple[str, ...] = ()
    """Actions that a deployment needs besides."""
    condition: Mapping[str, Mapping[str, str | list[str]]] = dataclasses.field(default_factory=dict)
    """An IAM condition on all of them. Default: none."""


def policies(rights: Sequence[Grant], *, write: bool) -> list[str]:
    """`rights` as policy documents, each as full as IAM takes it. Raises `OversizedPolicy`."""
    documents: list[str] = []
    statements: list[dict[str, Any]] = []
    for grant in rights:
        if not grant.resources or not (grant.read or (write and grant.write)):
            continue
        statement = {
            "Sid": grant.sid,
            "Effect": "Allow",
            "Action": _brief(*grant.read, *(grant.write if write else ())),
            "Resource": _brief(*grant.resources),
            "Condition": grant.condition,
        }
        if statements and len(_document([*statements, statement])) > _POLICY_LIMIT:
            documents.append(_document(statements))
            statements = []
        statements.append(statement)
    documents.append(_document(statements))
    longest = max(len(document) for document in documents)
    if len(documents) > _POLICIES_LIMIT or longest > _POLICY_LIMIT:
        raise OversizedPolicy(
            f"The pipeline's role needs {len(documents)} policies, the longest of {longest:,} characters; IAM takes "
            f"{_POLICIES_LIMIT} of {_POLICY_LIMIT:,}, and nothing was changed. Spread the services over several "
            "stacks, each with a delivery of its own."
        )
    return documents


def _document(statements: Sequence[Mapping[str, Any]]) -> str:
    return canonical_json({"Version": "2012-10-17", "Statement": statements})


def _brief(*values: str) -> str | list[str]:
    return values[0] if len(values) == 1 else sorted(values)


def grants(settings: Settings, estate: Estate, declared: Sequence[Declared]) -> Iterator[Grant]:
    """All rights that deploying `declared` takes, each with an Sid of its own. Raises `UnknownRights`."""
    place = _Place(settings, estate, tuple(declared))
    yield from _look_ups(place)
    for type_ in sorted({resource.type for resource in declared if resource.type.startswith(("aws:", "docker:"))}):
        if type_ not in _RIGHTS:
            raise UnknownRights(
                f"The pipeline's role has no rights for {type_} ({', '.join(r.name for r in place.of(type_))}); "
                "nothing was changed. Add to _RIGHTS in components/delivery.py what the provider does with it."
            )
        yield from _RIGHTS[type_](place)


@dataclasses.dataclass(frozen=True)
class _Place:
    settings: Settings
    estate: Estate
    declared: tuple[Declared, ...]

    @property
    def delivery(self) -> DeliverySettings:
        assert self.settings.delivery
        return self.settings.delivery

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.estate.partition}:{service}:{self.estate.region}:{self.estate.account}:{resource}"

    def iam(self, resource: str) -> str:
        return f"arn:{self.estate.partition}:iam::{self.estate.account}:{resource}"

    def buckets(self, names: Iterable[str]) -> list[str]:
        return [f"arn:{self.estate.partition}:s3:::{name}" for name in sorted(names)]

    def of(self, type_: str) -> list[Declared]:
        return [resource for resource in self.declared if resource.type == type_]

    def names(self, type_: str, key: str = "name") -> list[str]:
        return [str(resource.inputs[key]) for resource in self.of(type_)]

    def beside(self, type_: str, of: str, key: str = "name") -> list[str]:
        """Names of the `of` resources that have a resource of `type_` as a sibling: what that one is a part of."""
        parents = {id(resource.parent) for resource in self.of(type_)}
        return [str(resource.inputs[key]) for resource in self.of(of) if id(resource.parent) in parents]

    def ours(self, keys: str) -> dict[str, str | list[str]]:
        """Tags by which this stack's resources are known where their ARNs are made up by AWS. `keys`: aws:ResourceTag
        or aws:RequestTag."""
        services = [self.settings.tags_for(service)["Service"] for service in self.settings.services.values()]
        services += ["notifications"] if self.settings.monitoring else []
        return {
            f"{keys}/ManagedBy": "pulumi",
            f"{keys}/Environment": self.settings.environment,
            f"{keys}/Service": services,
        }


def _look_ups(place: _Place) -> Iterator[Grant]:
    """What the program finds out before it declares anything, what `./ops verify` asks, and the stack's state."""
    settings, estate, delivery = place.settings, place.estate, place.delivery
    services = list(settings.services.values())
    yield Grant(
        # None of these knows resources, but for names that are asked for because they are not known.
        sid="LookUps",
        read=(
            "acm:DescribeCertificate",
            "ec2:DescribeRouteTables",
            "ec2:DescribeSecurityGroupRules",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcAttribute",
            "ec2:DescribeVpcs",
            "ecr:GetAuthorizationToken",
            "ecs:DescribeTaskDefinition",
            "ecs:ListTaskDefinitions",
            "ecs:ListTasks",
            "elasticloadbalancing:DescribeCapacityReservation",
            "elasticloadbalancing:DescribeListenerAttributes",
            "elasticloadbalancing:DescribeListenerCertificates",
            "elasticloadbalancing:DescribeListeners",
            "elasticloadbalancing:DescribeLoadBalancerAttributes",
            "elasticloadbalancing:DescribeLoadBalancers",
            "elasticloadbalancing:DescribeRules",
            "elasticloadbalancing:DescribeTags",
            "elasticloadbalancing:DescribeTargetGroupAttributes",
            "elasticloadbalancing:DescribeTargetGroups",
            "elasticloadbalancing:DescribeTargetHealth",
            "iam:ListOpenIDConnectProviders",
            "logs:DescribeLogGroups",
            "route53:ListHostedZones",
            "servicediscovery:DiscoverInstances",
            "servicediscovery:ListNamespaces",
            "servicediscovery:ListServices",
            "secretsmanager:ListSecrets",
            "ssm:DescribeParameters",
        ),
    )
    yield Grant(sid="Cluster", resources=(estate.cluster,), read=("ecs:DescribeClusters",))
    yield Grant(
        sid="Tasks", resources=(place.arn("ecs", f"task/{estate.cluster_name}/*"),), read=("ecs:DescribeTasks",)
    )
    yield Grant(
        sid="Namespace",
        resources=(place.arn("servicediscovery", f"namespace/{estate.namespace}"),),
        read=("servicediscovery:GetNamespace",),
    )
    yield Grant(
        sid="Secrets",
        resources=tuple({secret.arn for secret in estate.secrets.values()}),
        read=("secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy"),
    )
    yield Grant(
        sid="Buckets",
        resources=tuple(place.buckets({name for service in services for name in service.buckets})),
        read=("s3:GetBucketLocation", "s3:GetEncryptionConfiguration", "s3:ListBucket"),
    )
    keys = {*estate.bucket_keys.values(), *(key for keys in estate.permitted_keys.values() for key in keys)}
    keys |= {secret.kms_key for secret in estate.secrets.values() if secret.kms_key}
    yield Grant(sid="BucketsKeys", resources=tuple(keys), read=("kms:DescribeKey",))
    yield Grant(sid="GivenRoles", resources=tuple(estate.execution_roles.values()), read=("iam:GetRole",))
    yield Grant(
        sid="Zones",
        resources=tuple(f"arn:{estate.partition}:route53:::hostedzone/{zone}" for zone in estate.hosted_zones.values()),
        read=("route53:GetHostedZone", "route53:ListResourceRecordSets", "route53:ListTagsForResource"),
    )
    healthy = place.arn("ssm", f"parameter{rollout.healthy_parameter(settings.parameter_prefix, '').rstrip('/')}")
    yield Grant(sid="Healthy", resources=(healthy, f"{healthy}/*"), read=("ssm:GetParametersByPath",))
    yield Grant(
        # To refresh what it is itself; the right to change that would be the right to everything.
        sid="Pipeline",
        resources=(
            *(place.iam(f"role/{role_name(settings, part)}") for part in ("deploy", "preview")),
            *(place.iam(f"policy/{role_name(settings, part)}-*") for part in ("deploy", "preview")),
            provider_arn(estate),
        ),
        read=(
            "iam:GetOpenIDConnectProvider",
            "iam:GetPolicy",
            "iam:GetPolicyVersion",
            "iam:GetRole",
            "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies",
        ),
    )
    bucket = f"arn:{estate.partition}:s3:::{delivery.state_bucket}"
    yield Grant(sid="State", resources=(bucket,), read=("s3:GetBucketLocation", "s3:ListBucket"))
    yield Grant(
        sid="StateFiles",
        resources=(f"{bucket}/.pulumi/*",),
        read=("s3:GetObject",),
        write=("s3:DeleteObject", "s3:PutObject"),
    )
    yield Grant(sid="StateKey", resources=(delivery.state_key,), read=("kms:Decrypt",), write=("kms:Encrypt",))
    topic = delivery.topic or (settings.monitoring.topics.deployments if settings.monitoring else None)
    yield Grant(sid="Notify", resources=(place.arn("sns", topic),) if topic else (), write=("sns:Publish",))
    if settings.monitoring:
        yield Grant(
            sid="NotifyEncrypted",
            resources=(place.arn("kms", "key/*"),),
            write=("kms:Decrypt", "kms:GenerateDataKey"),
            condition={
                "StringEquals": {
                    **place.ours("aws:ResourceTag"),
                    "kms:ViaService": f"sns.{estate.region}.amazonaws.com",
                }
            },
        )


def _repository(place: _Place) -> Iterator[Grant]:
    yield Grant(
        sid="Repository",
        resources=tuple(place.arn("ecr", f"repository/{name}") for name in place.names(_REPOSITORY)),
        read=("ecr:BatchGetImage", "ecr:DescribeImages", "ecr:DescribeRepositories", "ecr:ListTagsForResource"),
        write=(
            "ecr:CreateRepository",
            "ecr:DeleteRepository",
            "ecr:PutImageScanningConfiguration",
            "ecr:PutImageTagMutability",
            "ecr:TagResource",
            "ecr:UntagResource",
        ),
    )
    yield from _push(place)


def _lifecycle(place: _Place) -> Iterator[Grant]:
    yield Grant(
        sid="Lifecycle",
        resources=tuple(place.arn("ecr", f"repository/{n}") for n in place.beside(_LIFECYCLE, _REPOSITORY)),
        read=("ecr:GetLifecyclePolicy",),
        write=("ecr:DeleteLifecyclePolicy", "ecr:PutLifecyclePolicy"),
    )


def _push(place: _Place) -> Iterator[Grant]:
    yield Grant(
        # Also where an image is not built this time: a role that changed with the content of an image, or with a
        # rollback, would need an administrator for it. PutImage also keeps what became healthy from expiry.
        # https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
        sid="Push",
        resources=tuple(place.arn("ecr", f"repository/{name}") for name in place.names(_REPOSITORY)),
        read=("ecr:GetDownloadUrlForLayer",),
        write=(
            "ecr:BatchCheckLayerAvailability",
            "ecr:CompleteLayerUpload",
            "ecr:InitiateLayerUpload",
            "ecr:PutImage",
            "ecr:UploadLayerPart",
        ),
    )


def _log_group(place: _Place) -> Iterator[Grant]:
    groups = [place.arn("logs", f"log-group:{name}") for name in place.names("aws:cloudwatch/logGroup:LogGroup")]
    yield Grant(
        # Some actions take the ARN as it is, some with :* behind it.
        sid="Logs",
        resources=(*groups, *(f"{group}:*" for group in groups)),
        read=("logs:FilterLogEvents", "logs:GetLogEvents", "logs:ListTagsForResource"),
        write=(
            "logs:CreateLogGroup",
            "logs:DeleteLogGroup",
            "logs:DeleteRetentionPolicy",
            "logs:PutRetentionPolicy",
            "logs:TagResource",
            "logs:UntagResource",
        ),
    )


def _role(place: _Place) -> Iterator[Grant]:
    yield Grant(
        sid="Roles",
        resources=tuple(place.iam(f"role/{name}") for name in place.names(_ROLE)),
        read=(
            "iam:GetRole",
            "iam:ListAttachedRolePolicies",
            "iam:ListInstanceProfilesForRole",
            "iam:ListRolePolicies",
        ),
        write=(
            "iam:CreateRole",
            "iam:DeleteRole",
            "iam:TagRole",
            "iam:UntagRole",
            "iam:UpdateAssumeRolePolicy",
            "iam:UpdateRole",
        ),
    )


def _role_policy(place: _Place) -> Iterator[Grant]:
    yield Grant(
        sid="RolePolicies",
        resources=tuple(place.iam(f"role/{name}") for name in place.beside("aws:iam/rolePolicy:RolePolicy", _ROLE)),
        read=("iam:GetRolePolicy",),
        write=("iam:DeleteRolePolicy", "iam:PutRolePolicy"),
    )


def _task_definition(place: _Place) -> Iterator[Grant]:
    families = place.names("aws:ecs/taskDefinition:TaskDefinition", "family")
    revisions = [place.arn("ecs", f"task-definition/{family}:*") for family in families]
    yield Grant(
        # It knows no resources. What a revision may do is decided by the roles that it names, below. None is ever
        # deregistered: a rollback goes to it.
        sid="Register",
        write=("ecs:RegisterTaskDefinition",),
    )
    yield Grant(
        sid="Revisions",
        resources=tuple(revisions),
        read=("ecs:ListTagsForResource",),
        write=("ecs:TagResource", "ecs:UntagResource"),
    )
    roles = [place.iam(f"role/{n}") for n in place.beside("aws:ecs/taskDefinition:TaskDefinition", _ROLE)]
    yield Grant(
        sid="PassRoles",
        resources=(*roles, *place.estate.execution_roles.values()),
        write=("iam:PassRole",),
        condition={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
    )
    yield Grant(
        # `./ops verify` asks from inside the VPC, by a task of its own.
        sid="VerifyInside",
        resources=tuple(place.arn("ecs", f"task-definition/{family}-verify:*") for family in families),
        write=("ecs:RunTask",),
        condition={"ArnEquals": {"ecs:cluster": place.estate.cluster}},
    )


def _service(place: _Place) -> Iterator[Grant]:
    names = [f"{place.estate.cluster_name}/{name}" for name in place.names("aws:ecs/service:Service")]
    yield Grant(
        sid="Services",
        resources=tuple(place.arn("ecs", f"service/{name}") for name in names),
        read=("ecs:DescribeServices", "ecs:ListServiceDeployments", "ecs:ListTagsForResource"),
        write=("ecs:CreateService", "ecs:DeleteService", "ecs:TagResource", "ecs:UntagResource", "ecs:UpdateService"),
    )


def _scaling(place: _Place) -> Iterator[Grant]:
    # https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_id-based-policy-examples.html
    targets = (place.arn("application-autoscaling", "scalable-target/*"),)
    yield Grant(
        # These know no resources.
        sid="ScalingList",
        read=("application-autoscaling:DescribeScalableTargets", "application-autoscaling:DescribeScalingPolicies"),
    )
    yield Grant(
        sid="NewScaling",
        resources=targets,
        write=("application-autoscaling:RegisterScalableTarget",),
        condition={"StringEquals": place.ours("aws:RequestTag")},
    )
    yield Grant(
        sid="Scaling",
        resources=targets,
        read=("application-autoscaling:ListTagsForResource",),
        write=(
            "application-autoscaling:DeleteScalingPolicy",
            "application-autoscaling:DeregisterScalableTarget",
            "application-autoscaling:PutScalingPolicy",
            "application-autoscaling:RegisterScalableTarget",
            "application-autoscaling:TagResource",
            "application-autoscaling:UntagResource",
        ),
        condition={"StringEquals": place.ours("aws:ResourceTag")},
    )
    services = place.names("aws:ecs/service:Service")
    yield Grant(
        # It makes alarms of its own, with the rights of who asks.
        sid="ScalingAlarms",
        resources=tuple(
            place.arn("cloudwatch", f"alarm:TargetTracking-service/{place.estate.cluster_name}/{name}-*")
            for name in services
        ),
        write=("cloudwatch:DeleteAlarms", "cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm"),
    )
    role = "ecs.application-autoscaling.amazonaws.com"
    yield Grant(
        # The account's first one makes the role by which AWS scales.
        sid="ScalingRole",
        resources=(place.iam(f"role/aws-service-role/{role}/AWSServiceRoleForApplicationAutoScaling_ECSService"),),
        write=("iam:CreateServiceLinkedRole",),
        condition={"StringEquals": {"iam:AWSServiceName": role}},
    )


def _target_group(place: _Place) -> Iterator[Grant]:
    names = place.names("aws:lb/targetGroup:TargetGroup")
    yield Grant(
        sid="TargetGroups",
        resources=tuple(place.arn("elasticloadbalancing", f"targetgroup/{name}/*") for name in names),
        write=(
            "elasticloadbalancing:AddTags",
            "elasticloadbalancing:CreateTargetGroup",
            "elasticloadbalancing:DeleteTargetGroup",
            "elasticloadbalancing:ModifyTargetGroup",
            "elasticloadbalancing:ModifyTargetGroupAttributes",
            "elasticloadbalancing:RemoveTags",
        ),
    )


def _listener_rule(place: _Place) -> Iterator[Grant]:
    assert place.estate.listener  # Without one there are no rules.
    rules = (f"{place.estate.listener.replace(':listener/', ':listener-rule/')}/*",)
    # The listener is shared, and its rules' ARNs are made up by AWS: ours are known by their tags.
    yield Grant(
        sid="NewRules",
        resources=(place.estate.listener,),
        write=("elasticloadbalancing:CreateRule",),
        condition={"StringEquals": place.ours("aws:RequestTag")},
    )
    yield Grant(
        sid="NewRulesTags",
        resources=rules,
        write=("elasticloadbalancing:AddTags",),
        condition={"StringEquals": {"elasticloadbalancing:CreateAction": "CreateRule"}},
    )
    yield Grant(
        sid="Rules",
        resources=rules,
        write=(
            "elasticloadbalancing:AddTags",
            "elasticloadbalancing:DeleteRule",
            "elasticloadbalancing:ModifyRule",
            "elasticloadbalancing:RemoveTags",
            "elasticloadbalancing:SetRulePriorities",
        ),
        condition={"StringEquals": place.ours("aws:ResourceTag")},
    )


def _discovery(place: _Place) -> Iterator[Grant]:
    # Ids are made up by AWS, so here too tags say which are ours.
    services = (place.arn("servicediscovery", "service/*"),)
    yield Grant(
        sid="NewDiscovery",
        resources=(place.arn("servicediscovery", f"namespace/{place.estate.namespace}"), *services),
        write=("servicediscovery:CreateService", "servicediscovery:TagResource"),
        condition={
            "StringEquals": place.ours("aws:RequestTag"),
            # Not to make somebody else's ours: a new one has no tags yet.
            "StringEqualsIfExists": place.ours("aws:ResourceTag"),
        },
    )
    yield Grant(
        sid="Discovery",
        resources=services,
        read=("servicediscovery:GetService", "servicediscovery:ListTagsForResource"),
        write=(
            "servicediscovery:DeleteService",
            # Before a service is deleted, what is registered still is taken back.
            "servicediscovery:DeregisterInstance",
            "servicediscovery:ListInstances",
            "servicediscovery:UntagResource",
            "servicediscovery:UpdateService",
        ),
        condition={"StringEquals": place.ours("aws:ResourceTag")},
    )


def _parameter(place: _Place) -> Iterator[Grant]:
    yield Grant(
        sid="Parameters",
        resources=tuple(place.arn("ssm", f"parameter{name}") for name in place.names("aws:ssm/parameter:Parameter")),
        read=("ssm:GetParameter", "ssm:GetParameters", "ssm:ListTagsForResource"),
        write=(
            "ssm:AddTagsToResource",
            "ssm:DeleteParameter",
            "ssm:PutParameter",
            "ssm:RemoveTagsFromResource",
        ),
    )


def _security_group(place: _Place) -> Iterator[Grant]:
    groups, rules = place.arn("ec2", "security-group/*"), place.arn("ec2", "security-group-rule/*")
    yield Grant(
        sid="NewSecurityGroups",
        resources=(groups,),
        write=("ec2:CreateSecurityGroup",),
        condition={"StringEquals": place.ours("aws:RequestTag")},
    )
    yield Grant(
        sid="SecurityGroupsVpc",
        resources=(place.arn("ec2", f"vpc/{place.estate.vpc}"),),
        write=("ec2:CreateSecurityGroup",),
    )
    yield Grant(
        sid="NewSecurityGroupsTags",
        resources=(groups, rules),
        write=("ec2:CreateTags",),
        condition={
            "StringEquals": {
                "ec2:CreateAction": [
                    "CreateSecurityGroup",
                    "AuthorizeSecurityGroupEgress",
                    "AuthorizeSecurityGroupIngress",
                ]
            }
        },
    )
    yield Grant(
        sid="SecurityGroups",
        resources=(groups, rules),
        write=(
            "ec2:AuthorizeSecurityGroupEgress",
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:CreateTags",
            "ec2:DeleteSecurityGroup",
            "ec2:DeleteTags",
            "ec2:ModifySecurityGroupRules",
            "ec2:RevokeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress",
        ),
        condition={"StringEquals": place.ours("aws:ResourceTag")},
    )
    yield Grant(
        # The rule that is being made has no tags but those asked for.
        sid="NewSecurityGroupRules",
        resources=(rules,),
        write=("ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress"),
        condition={"StringEquals": place.ours("aws:RequestTag")},
    )


def _record(place: _Place) -> Iterator[Grant]:
    records = place.of("aws:route53/record:Record")
    zones = {str(record.inputs["zone_id"]) for record in records}
    yield Grant(
        sid="Records",
        resources=tuple(f"arn:{place.estate.partition}:route53:::hostedzone/{zone}" for zone in zones),
        write=("route53:ChangeResourceRecordSets",),
        condition={
            "ForAllValues:StringEquals": {
                "route53:ChangeResourceRecordSetsNormalizedRecordNames": [str(r.inputs["name"]) for r in records]
            }
        },
    )
    yield Grant(
        sid="RecordChanges",
        resources=(f"arn:{place.estate.partition}:route53:::change/*",),
        write=("route53:GetChange",),
    )


def _alarms(place: _Place) -> Iterator[Grant]:
    names = place.names("aws:cloudwatch/metricAlarm:MetricAlarm")
    names += place.names("aws:cloudwatch/compositeAlarm:CompositeAlarm", "alarm_name")
    # Alarms of one service have its name before theirs; one by one they would fill a policy.
    services = sorted({service.name for service in place.settings.services.values()})
    assert all(name.startswith(tuple(f"{service}-" for service in services)) for name in names)
    yield Grant(
        sid="Alarms",
        resources=tuple(place.arn("cloudwatch", f"alarm:{service}-*") for service in services),
        read=("cloudwatch:DescribeAlarms", "cloudwatch:ListTagsForResource"),
        write=(
            "cloudwatch:DeleteAlarms",
            "cloudwatch:PutCompositeAlarm",
            "cloudwatch:PutMetricAlarm",
            "cloudwatch:TagResource",
            "cloudwatch:UntagResource",
        ),
    )
    # A composite alarm is only put by one who may describe all alarms.
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html
    yield Grant(
        sid="AlarmsOfOthers", resources=(place.arn("cloudwatch", "alarm:*"),), read=("cloudwatch:DescribeAlarms",)
    )


def _dashboard(place: _Place) -> Iterator[Grant]:
    names = place.names("aws:cloudwatch/dashboard:Dashboard", "dashboard_name")
    yield Grant(
        sid="Dashboards",
        # Dashboards have no region.
        resources=tuple(
            f"arn:{place.estate.partition}:cloudwatch::{place.estate.account}:dashboard/{name}" for name in names
        ),
        read=("cloudwatch:GetDashboard",),
        write=("cloudwatch:DeleteDashboards", "cloudwatch:PutDashboard"),
    )


def _metric_filter(place: _Place) -> Iterator[Grant]:
    groups = place.names("aws:cloudwatch/logGroup:LogGroup")
    yield Grant(
        sid="MetricFilters",
        resources=tuple(place.arn("logs", f"log-group:{name}:*") for name in groups),
        read=("logs:DescribeMetricFilters",),
        write=("logs:DeleteMetricFilter", "logs:PutMetricFilter"),
    )


def _query(_: _Place) -> Iterator[Grant]:
    yield Grant(
        # These know no resources.
        sid="Queries",
        read=("logs:DescribeQueryDefinitions",),
        write=("logs:DeleteQueryDefinition", "logs:PutQueryDefinition"),
    )


def _events(place: _Place) -> Iterator[Grant]:
    yield Grant(
        sid="Events",
        resources=tuple(
            place.arn("events", f"rule/{name}") for name in place.names("aws:cloudwatch/eventRule:EventRule")
        ),
        read=("events:DescribeRule", "events:ListTagsForResource", "events:ListTargetsByRule"),
        write=(
            "events:DeleteRule",
            "events:PutRule",
            "events:PutTargets",
            "events:RemoveTargets",
            "events:TagResource",
            "events:UntagResource",
        ),
    )


def _topic(place: _Place) -> Iterator[Grant]:
    topics = tuple(place.arn("sns", name) for name in place.names("aws:sns/topic:Topic"))
    yield Grant(
        sid="Topics",
        resources=topics,
        read=(
            "sns:GetTopicAttributes",
            "sns:ListSubscriptionsByTopic",
            "sns:ListTagsForResource",
        ),
        write=(
            "sns:CreateTopic",
            "sns:DeleteTopic",
            "sns:SetTopicAttributes",
            "sns:TagResource",
            "sns:UntagResource",
        ),
    )


def _subscription(place: _Place) -> Iterator[Grant]:
    topics = place.names("aws:sns/topic:Topic")
    yield Grant(sid="Subscribe", resources=tuple(place.arn("sns", name) for name in topics), write=("sns:Subscribe",))
    yield Grant(
        sid="Subscriptions",
        resources=tuple(place.arn("sns", f"{name}:*") for name in topics),
        read=("sns:GetSubscriptionAttributes",),
        write=("sns:SetSubscriptionAttributes", "sns:Unsubscribe"),
    )


def _key(place: _Place) -> Iterator[Grant]:
    keys = (place.arn("kms", "key/*"),)
    # The id is made up by AWS: tags say which is ours.
    yield Grant(
        sid="NewKeys",
        write=("kms:CreateKey",),
        condition={"StringEquals": place.ours("aws:RequestTag")},
    )
    yield Grant(
        sid="Keys",
        resources=keys,
        read=("kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListResourceTags"),
        write=(
            "kms:CreateAlias",
            "kms:DeleteAlias",
            "kms:EnableKeyRotation",
            "kms:PutKeyPolicy",
            "kms:ScheduleKeyDeletion",
            "kms:TagResource",
            "kms:UntagResource",
            "kms:UpdateAlias",
            "kms:UpdateKeyDescription",
        ),
        condition={"StringEquals": place.ours("aws:ResourceTag")},
    )


def _alias(place: _Place) -> Iterator[Grant]:
    yield Grant(sid="AliasesList", read=("kms:ListAliases",))
    yield Grant(
        sid="Aliases",
        resources=tuple(place.arn("kms", name) for name in place.names("aws:kms/alias:Alias")),
        write=("kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias"),
    )


def _bucket_setting(type_: str, setting: str) -> Callable[[_Place], Iterator[Grant]]:
    """A setting of a bucket's, which is never removed."""

    def rights(place: _Place) -> Iterator[Grant]:
        yield Grant(
            sid=setting,
            resources=tuple(place.buckets(place.names(type_, "bucket"))),
            read=(f"s3:Get{setting}",),
            write=(f"s3:Put{setting}",),
        )

    return rights


def _slack(place: _Place) -> Iterator[Grant]:
    configurations = place.names(
        "aws:chatbot/slackChannelConfiguration:SlackChannelConfiguration", "configuration_name"
    )
    yield Grant(
        sid="Slack",
        resources=tuple(
            f"arn:{place.estate.partition}:chatbot::{place.estate.account}:chat-configuration/slack-channel/{name}"
            for name in configurations
        ),
        read=("chatbot:ListTagsForResource",),
        write=(
            "chatbot:CreateSlackChannelConfiguration",
            "chatbot:DeleteSlackChannelConfiguration",
            "chatbot:TagResource",
            "chatbot:UntagResource",
            "chatbot:UpdateSlackChannelConfiguration",
        ),
    )
    yield Grant(sid="SlackLookUp", read=("chatbot:DescribeSlackChannelConfigurations",))
    slack = place.beside("aws:chatbot/slackChannelConfiguration:SlackChannelConfiguration", _ROLE)
    yield Grant(
        sid="PassSlackRole",
        resources=tuple(place.iam(f"role/{name}") for name in slack),
        write=("iam:PassRole",),
        condition={"StringEquals": {"iam:PassedToService": "chatbot.amazonaws.com"}},
    )


def _budget(place: _Place) -> Iterator[Grant]:
    yield Grant(
        sid="Budgets",
        # Budgets have no region.
        resources=tuple(
            f"arn:{place.estate.partition}:budgets::{place.estate.account}:budget/{name}"
            for name in place.names("aws:budgets/budget:Budget")
        ),
        read=("budgets:ListTagsForResource", "budgets:ViewBudget"),
        write=("budgets:ModifyBudget", "budgets:TagResource", "budgets:UntagResource"),
    )
    # `./ops preflight` says whether the budget counts anything; this knows no resources.
    yield Grant(sid="BudgetsTag", read=("ce:ListCostAllocationTags",))


def _with_its_sibling(_: _Place) -> Iterator[Grant]:
    """Covered with the resource that it is a part of."""
    return iter(())


_REPOSITORY, _LIFECYCLE = "aws:ecr/repository:Repository", "aws:ecr/lifecyclePolicy:LifecyclePolicy"
_IMAGE, _ROLE = "docker:index/image:Image", "aws:iam/role:Role"

_BUCKET_SETTINGS = {
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "LifecycleConfiguration",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": "BucketOwnershipControls",
    "aws:s3/bucketPolicy:BucketPolicy": "BucketPolicy",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "BucketPublicAccessBlock",
    "aws:s3/bucketVersioning:BucketVersioning": "BucketVersioning",
}
"""Type -> the setting as the actions that read and write it name it."""

_RIGHTS: dict[str, Callable[[_Place], Iterator[Grant]]] = {
    _REPOSITORY: _repository,
    _LIFECYCLE: _lifecycle,
    _IMAGE: _with_its_sibling,
    "aws:cloudwatch/logGroup:LogGroup": _log_group,
    _ROLE: _role,
    "aws:iam/rolePolicy:RolePolicy": _role_policy,
    "aws:ecs/taskDefinition:TaskDefinition": _task_definition,
    "aws:ecs/service:Service": _service,
    "aws:appautoscaling/target:Target": _scaling,
    "aws:appautoscaling/policy:Policy": _with_its_sibling,
    "aws:lb/targetGroup:TargetGroup": _target_group,
    "aws:lb/listenerRule:ListenerRule": _listener_rule,
    "aws:servicediscovery/service:Service": _discovery,
    "aws:ssm/parameter:Parameter": _parameter,
    "aws:ec2/securityGroup:SecurityGroup": _security_group,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _with_its_sibling,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _with_its_sibling,
    "aws:route53/record:Record": _record,
    "aws:cloudwatch/metricAlarm:MetricAlarm": _alarms,
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": _with_its_sibling,
    "aws:cloudwatch/dashboard:Dashboard": _dashboard,
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": _metric_filter,
    "aws:cloudwatch/queryDefinition:QueryDefinition": _query,
    "aws:cloudwatch/eventRule:EventRule": _events,
    "aws:cloudwatch/eventTarget:EventTarget": _with_its_sibling,
    "aws:budgets/budget:Budget": _budget,
    "aws:sns/topic:Topic": _topic,
    "aws:sns/topicPolicy:TopicPolicy": _with_its_sibling,
    "aws:sns/topicSubscription:TopicSubscription": _subscription,
    "aws:kms/key:Key": _key,
    "aws:kms/alias:Alias": _alias,
    "aws:chatbot/slackChannelConfiguration:SlackChannelConfiguration": _slack,
    **{type_: _bucket_setting(type_, setting) for type_, setting in _BUCKET_SETTINGS.items()},
}
"""What deploying a resource type takes."""
