"""What every stack takes: finding the estate, the pipeline's operations, the state, and the pipeline itself."""

from components.delivery.right import Right, arn, bare_arn, global_arn

ALWAYS = (
    Right(
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
            "elasticloadbalancing:DescribeListenerCertificates",
            "elasticloadbalancing:DescribeListeners",
            "elasticloadbalancing:DescribeLoadBalancerAttributes",
            "elasticloadbalancing:DescribeLoadBalancers",
            "elasticloadbalancing:DescribeRules",
            "elasticloadbalancing:DescribeTags",
            "elasticloadbalancing:DescribeTargetGroupAttributes",
            "elasticloadbalancing:DescribeTargetGroups",
            "iam:ListOpenIDConnectProviders",
            "logs:DescribeLogGroups",
            "route53:ListHostedZones",
            "servicediscovery:ListNamespaces",
            "servicediscovery:ListServices",
            # Of the namespace, and of the stack's own services.
            "servicediscovery:ListTagsForResource",
            "ssm:DescribeParameters",
        ),
    ),
    Right(
        # What `./ops verify` and `./ops rollback` ask besides, and the program when a deployment failed.
        sid="Operations",
        write=(
            "ecs:ListTaskDefinitions",
            "ecs:ListTasks",
            "elasticloadbalancing:DescribeTargetHealth",
            "servicediscovery:DiscoverInstances",
        ),
    ),
    Right(sid="Cluster", on=("{cluster}",), read=("ecs:DescribeClusters",)),
    Right(sid="Tasks", on=(arn("ecs", "task/{cluster_name}/*"),), write=("ecs:DescribeTasks",)),
    Right(
        sid="Namespace",
        on=(arn("servicediscovery", "namespace/{namespace}"),),
        read=("servicediscovery:GetNamespace",),
    ),
    Right(
        sid="Secrets",
        on=("{secret}",),
        read=("secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy"),
    ),
    Right(
        sid="Buckets",
        on=(bare_arn("s3", "{bucket}"),),
        read=("s3:GetBucketLocation", "s3:GetBucketWebsite", "s3:GetEncryptionConfiguration", "s3:ListBucket"),
    ),
    # Which keys encrypt the secrets that the tasks may read by their names.
    Right(sid="PermittedSecrets", on=("{if_secrets_permitted}",), read=("secretsmanager:ListSecrets",)),
    Right(sid="CustomersKeys", on=("{customers_key}",), read=("kms:DescribeKey",)),
    Right(sid="GivenRoles", on=("{execution_role}",), read=("iam:GetRole",)),
    Right(
        sid="Zones",
        on=(bare_arn("route53", "hostedzone/{zone}"),),
        read=("route53:GetHostedZone", "route53:ListResourceRecordSets", "route53:ListTagsForResource"),
    ),
    Right(
        sid="Healthy",
        on=(arn("ssm", "parameter{healthy}"), arn("ssm", "parameter{healthy}/*")),
        read=("ssm:GetParametersByPath",),
    ),
    # To refresh what it is itself; the right to change that would be the right to everything.
    Right(
        sid="Pipeline",
        on=(global_arn("iam", "role/{pipeline_role}"),),
        read=("iam:GetRole", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"),
    ),
    Right(
        sid="PipelinePolicies",
        on=(global_arn("iam", "policy/{pipeline_role}-*"),),
        # The versions are asked for before a policy changes: so that what is refused is the change, by its name.
        read=("iam:GetPolicy", "iam:GetPolicyVersion", "iam:ListPolicyVersions"),
    ),
    Right(sid="PipelineIssuer", on=("{github}",), read=("iam:GetOpenIDConnectProvider",)),
    Right(
        sid="State",
        on=(bare_arn("s3", "{state_bucket}"),),
        read=("s3:GetEncryptionConfiguration", "s3:ListBucket"),
    ),
    Right(
        sid="StateFiles",
        on=(bare_arn("s3", "{state_bucket}/.pulumi/*"),),
        read=("s3:GetObject",),
        write=("s3:DeleteObject", "s3:PutObject"),
    ),
    # A new data key is encrypted once, by whoever makes the stack: `pulumi stack init`.
    Right(sid="StateKey", on=("{state_key}",), read=("kms:Decrypt",)),
    Right(
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
        sid="StateBucketKey",
        on=("{state_bucket_key}",),
        read=("kms:Decrypt", "kms:DescribeKey"),
        write=("kms:GenerateDataKey",),
    ),
    Right(sid="Notify", on=(arn("sns", "{topic}"),), write=("sns:Publish",)),
)
"""For every stack with a pipeline."""
