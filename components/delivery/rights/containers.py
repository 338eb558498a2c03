"""Images, roles, logs, task definitions, services and their scaling."""

from components.delivery.right import Right, arn, gets_own_tags, global_arn, has_own_tags, tags_new_or_own

_REPOSITORY, _LIFECYCLE = "aws:ecr/repository:Repository", "aws:ecr/lifecyclePolicy:LifecyclePolicy"
_IMAGE, _ROLE, _ROLE_POLICY = "docker:index/image:Image", "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"
_TASK_DEFINITION, _SERVICE = "aws:ecs/taskDefinition:TaskDefinition", "aws:ecs/service:Service"
_LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"

_SCALABLE = (arn("application-autoscaling", "scalable-target/*"),)
_SCALING_SERVICE = "ecs.application-autoscaling.amazonaws.com"

RIGHTS: dict[str, tuple[Right, ...]] = {
    _REPOSITORY: (
        Right(
            sid="Repository",
            on=(arn("ecr", "repository/{its.name}"),),
            read=("ecr:BatchGetImage", "ecr:DescribeRepositories", "ecr:ListTagsForResource"),
            write=(
                "ecr:CreateRepository",
                "ecr:DeleteRepository",
                "ecr:PutImageScanningConfiguration",
                "ecr:PutImageTagMutability",
                "ecr:TagResource",
                "ecr:UntagResource",
            ),
        ),
        Right(
            # Also where an image is not built this time: a role that changed with the content of an image, or with a
            # rollback, would need an administrator for it. PutImage also keeps what became healthy from expiry.
            # https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
            sid="Push",
            on=(arn("ecr", "repository/{its.name}"),),
            write=(
                "ecr:BatchCheckLayerAvailability",
                "ecr:CompleteLayerUpload",
                "ecr:InitiateLayerUpload",
                "ecr:PutImage",
                "ecr:UploadLayerPart",
            ),
        ),
    ),
    _LIFECYCLE: (
        Right(
            sid="Lifecycle",
            on=(arn("ecr", "repository/{its.name}"),),
            of=_REPOSITORY,
            sibling=_LIFECYCLE,
            read=("ecr:GetLifecyclePolicy",),
            write=("ecr:DeleteLifecyclePolicy", "ecr:PutLifecyclePolicy"),
        ),
    ),
    # Its repository has what it takes.
    _IMAGE: (),
    _LOG_GROUP: (
        # With :* behind it for all actions but those on tags:
        # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_LogGroup.html
        Right(
            sid="Logs",
            on=(arn("logs", "log-group:{its.name}:*"),),
            write=(
                "logs:CreateLogGroup",
                "logs:DeleteLogGroup",
                "logs:DeleteRetentionPolicy",
                "logs:FilterLogEvents",
                "logs:GetLogEvents",
                "logs:PutRetentionPolicy",
            ),
        ),
        Right(
            sid="LogsTags",
            on=(arn("logs", "log-group:{its.name}"),),
            read=("logs:ListTagsForResource",),
            write=("logs:TagResource", "logs:UntagResource"),
        ),
    ),
    _ROLE: (
        Right(
            sid="Roles",
            on=(global_arn("iam", "role/{its.name}"),),
            read=("iam:GetRole", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"),
            write=(
                "iam:CreateRole",
                "iam:DeleteRole",
                "iam:ListInstanceProfilesForRole",
                "iam:TagRole",
                "iam:UntagRole",
                "iam:UpdateAssumeRolePolicy",
                "iam:UpdateRole",
                "iam:UpdateRoleDescription",
            ),
        ),
    ),
    _ROLE_POLICY: (
        Right(
            sid="RolePolicies",
            on=(global_arn("iam", "role/{its.name}"),),
            of=_ROLE,
            sibling=_ROLE_POLICY,
            read=("iam:GetRolePolicy",),
            write=("iam:DeleteRolePolicy", "iam:PutRolePolicy"),
        ),
    ),
    _TASK_DEFINITION: (
        Right(
            # What a revision may do is decided by the roles that it names, below. Deregistering knows no resources;
            # `./ops verify` does it to its own one-off task definition, and nothing else does: a rollback goes to the
            # others.
            sid="Register",
            write=("ecs:DeregisterTaskDefinition", "ecs:RegisterTaskDefinition"),
        ),
        Right(
            sid="Revisions",
            on=(arn("ecs", "task-definition/{its.family}:*"),),
            write=("ecs:TagResource", "ecs:UntagResource"),
        ),
        Right(
            sid="PassRoles",
            on=(global_arn("iam", "role/{its.name}"), "{execution_role}"),
            of=_ROLE,
            sibling=_TASK_DEFINITION,
            write=("iam:PassRole",),
            condition={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        ),
        Right(
            # `./ops verify` asks from inside the VPC, by a task of its own.
            sid="VerifyInside",
            on=(arn("ecs", "task-definition/{its.family}-verify:*"),),
            write=("ecs:RunTask",),
            condition={"ArnEquals": {"ecs:cluster": "{cluster}"}},
        ),
        Right(
            sid="VerifyTasksTags",
            on=(arn("ecs", "task/{cluster_name}/*"),),
            write=("ecs:TagResource",),
            condition={"StringEquals": {"ecs:CreateAction": "RunTask"}},
        ),
        Right(
            # The cluster has other people's tasks as well.
            sid="VerifyTasks",
            on=(arn("ecs", "task/{cluster_name}/*"),),
            write=("ecs:StopTask",),
            condition=has_own_tags(),
        ),
    ),
    _SERVICE: (
        Right(
            sid="Services",
            on=(arn("ecs", "service/{cluster_name}/{its.name}"),),
            read=("ecs:DescribeServices",),
            write=(
                "ecs:CreateService",
                "ecs:DeleteService",
                # Waiting for a steady state: IAM asks for the service, and for its deployment below.
                "ecs:DescribeServiceDeployments",
                "ecs:ListServiceDeployments",
                "ecs:TagResource",
                "ecs:UntagResource",
                "ecs:UpdateService",
            ),
        ),
        Right(
            sid="ServicesDeployments",
            on=(arn("ecs", "service-deployment/{cluster_name}/{its.name}/*"),),
            write=("ecs:DescribeServiceDeployments",),
        ),
    ),
    # https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_id-based-policy-examples.html
    "aws:appautoscaling/target:Target": (
        Right(
            # These know no resources.
            sid="ScalingList",
            read=(
                "application-autoscaling:DescribeScalableTargets",
                "application-autoscaling:DescribeScalingPolicies",
                "application-autoscaling:DescribeScheduledActions",
            ),
        ),
        Right(
            sid="NewScaling",
            on=_SCALABLE,
            write=("application-autoscaling:RegisterScalableTarget",),
            condition=gets_own_tags(),
        ),
        Right(
            sid="NewScalingTags",
            on=_SCALABLE,
            write=("application-autoscaling:TagResource",),
            condition=tags_new_or_own(),
        ),
        Right(
            sid="Scaling",
            on=_SCALABLE,
            read=("application-autoscaling:ListTagsForResource",),
            write=(
                "application-autoscaling:DeleteScalingPolicy",
                "application-autoscaling:DeleteScheduledAction",
                "application-autoscaling:DeregisterScalableTarget",
                "application-autoscaling:PutScalingPolicy",
                "application-autoscaling:PutScheduledAction",
                "application-autoscaling:RegisterScalableTarget",
                "application-autoscaling:TagResource",
                "application-autoscaling:UntagResource",
            ),
            condition=has_own_tags(),
        ),
        Right(
            # It makes alarms of its own, with the rights of who asks.
            sid="ScalingAlarms",
            on=(arn("cloudwatch", "alarm:TargetTracking-service/{cluster_name}/{its.name}-*"),),
            of=_SERVICE,
            write=("cloudwatch:DeleteAlarms", "cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm"),
        ),
        Right(
            # The account's first one makes the role by which AWS scales.
            sid="ScalingRole",
            on=(
                global_arn(
                    "iam",
                    f"role/aws-service-role/{_SCALING_SERVICE}/AWSServiceRoleForApplicationAutoScaling_ECSService",
                ),
            ),
            write=("iam:CreateServiceLinkedRole",),
            condition={"StringEquals": {"iam:AWSServiceName": _SCALING_SERVICE}},
        ),
    ),
    # Those of its target.
    "aws:appautoscaling/policy:Policy": (),
    "aws:appautoscaling/scheduledAction:ScheduledAction": (),
}
