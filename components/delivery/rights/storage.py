"""Parameters, tables, caches, secrets that are made, and the settings of buckets."""

from components.delivery.right import Right, arn, bare_arn, global_arn

_BUCKET_SETTINGS = {
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "LifecycleConfiguration",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": "BucketOwnershipControls",
    "aws:s3/bucketPolicy:BucketPolicy": "BucketPolicy",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "BucketPublicAccessBlock",
    "aws:s3/bucketVersioning:BucketVersioning": "BucketVersioning",
}
"""Type -> the setting as the actions that read and write it name it. None is ever removed."""

RIGHTS: dict[str, tuple[Right, ...]] = {
    "aws:ssm/parameter:Parameter": (
        Right(
            sid="Parameters",
            on=(arn("ssm", "parameter{its.name}"),),
            read=("ssm:GetParameter", "ssm:ListTagsForResource"),
            write=("ssm:AddTagsToResource", "ssm:DeleteParameter", "ssm:PutParameter", "ssm:RemoveTagsFromResource"),
        ),
    ),
    "aws:dynamodb/table:Table": (
        Right(
            sid="Tables",
            on=(arn("dynamodb", "table/{its.name}"),),
            read=(
                "dynamodb:DescribeContinuousBackups",
                "dynamodb:DescribeTable",
                "dynamodb:DescribeTimeToLive",
                "dynamodb:ListTagsOfResource",
            ),
            write=(
                "dynamodb:CreateTable",
                "dynamodb:DeleteTable",
                "dynamodb:TagResource",
                "dynamodb:UntagResource",
                "dynamodb:UpdateContinuousBackups",
                "dynamodb:UpdateTable",
                "dynamodb:UpdateTimeToLive",
            ),
        ),
        Right(
            # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
            sid="TableKeys",
            on=("{table_key}",),
            write=(
                "kms:CreateGrant",
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:Encrypt",
                "kms:GenerateDataKey",
                "kms:ReEncryptFrom",
                "kms:ReEncryptTo",
            ),
            condition={"StringEquals": {"kms:ViaService": "dynamodb.{region}.amazonaws.com"}},
        ),
    ),
    "aws:elasticache/subnetGroup:SubnetGroup": (
        Right(
            sid="CacheSubnets",
            on=(arn("elasticache", "subnetgroup:{its.name}"),),
            read=("elasticache:DescribeCacheSubnetGroups", "elasticache:ListTagsForResource"),
            write=(
                "elasticache:AddTagsToResource",
                "elasticache:CreateCacheSubnetGroup",
                "elasticache:DeleteCacheSubnetGroup",
                "elasticache:ModifyCacheSubnetGroup",
                "elasticache:RemoveTagsFromResource",
            ),
        ),
    ),
    # To connect as a user is no right of theirs.
    "aws:elasticache/user:User": (
        Right(
            sid="CacheUsers",
            on=(arn("elasticache", "user:{its.user_id}"),),
            read=("elasticache:DescribeUsers", "elasticache:ListTagsForResource"),
            write=(
                "elasticache:AddTagsToResource",
                "elasticache:CreateUser",
                "elasticache:CreateUserGroup",
                "elasticache:DeleteUser",
                "elasticache:ModifyUser",
                "elasticache:ModifyUserGroup",
                "elasticache:RemoveTagsFromResource",
            ),
        ),
    ),
    "aws:elasticache/userGroup:UserGroup": (
        Right(
            sid="CacheUserGroups",
            on=(arn("elasticache", "usergroup:{its.user_group_id}"),),
            read=("elasticache:DescribeUserGroups", "elasticache:ListTagsForResource"),
            write=(
                "elasticache:AddTagsToResource",
                "elasticache:CreateUserGroup",
                "elasticache:DeleteUserGroup",
                "elasticache:ModifyUserGroup",
                "elasticache:RemoveTagsFromResource",
            ),
        ),
    ),
    "aws:elasticache/replicationGroup:ReplicationGroup": (
        Right(
            sid="Caches",
            on=(arn("elasticache", "replicationgroup:{its.replication_group_id}"),),
            read=("elasticache:DescribeReplicationGroups", "elasticache:ListTagsForResource"),
            write=(
                "elasticache:AddTagsToResource",
                "elasticache:CreateReplicationGroup",
                "elasticache:DecreaseReplicaCount",
                "elasticache:DeleteReplicationGroup",
                "elasticache:IncreaseReplicaCount",
                "elasticache:ModifyReplicationGroup",
                "elasticache:RemoveTagsFromResource",
            ),
        ),
        Right(
            # What a new one is made of. Their names are its own.
            sid="NewCaches",
            on=(
                arn("elasticache", "subnetgroup:{its.replication_group_id}"),
                arn("elasticache", "usergroup:{its.replication_group_id}"),
                arn("elasticache", "parametergroup:default.*"),
            ),
            write=("elasticache:CreateReplicationGroup",),
        ),
        Right(
            # AWS numbers the nodes.
            sid="CacheNodes",
            on=(arn("elasticache", "cluster:{its.replication_group_id}-*"),),
            read=("elasticache:DescribeCacheClusters",),
        ),
        Right(
            # The account's first cache has it made:
            # https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/using-service-linked-roles.html
            sid="CachesServiceRole",
            on=(global_arn("iam", "role/aws-service-role/elasticache.amazonaws.com/AWSServiceRoleForElastiCache"),),
            write=("iam:CreateServiceLinkedRole",),
            condition={"StringEquals": {"iam:AWSServiceName": "elasticache.amazonaws.com"}},
        ),
        Right(
            # https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/at-rest-encryption.html
            sid="CacheKeys",
            on=("{cache_key}",),
            write=("kms:CreateGrant", "kms:DescribeKey"),
            condition={"StringEquals": {"kms:ViaService": "elasticache.{region}.amazonaws.com"}},
        ),
    ),
    "aws:secretsmanager/secret:Secret": (
        Right(
            # Its value can be given and not read.
            sid="MadeSecrets",
            on=(arn("secretsmanager", "secret:{its.name}-??????"),),
            read=("secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy"),
            write=(
                "secretsmanager:CreateSecret",
                "secretsmanager:DeleteSecret",
                "secretsmanager:PutSecretValue",
                "secretsmanager:TagResource",
                "secretsmanager:UntagResource",
                "secretsmanager:UpdateSecret",
            ),
        ),
        Right(
            # What makes it may be asked for by the name alone, without the end that AWS makes up.
            sid="NewSecrets",
            on=(arn("secretsmanager", "secret:{its.name}"),),
            write=("secretsmanager:CreateSecret", "secretsmanager:TagResource"),
        ),
        Right(sid="RandomPasswords", write=("secretsmanager:GetRandomPassword",)),
    ),
    **{
        type_: (
            Right(
                sid=setting,
                on=(bare_arn("s3", "{its.bucket}"),),
                read=(f"s3:Get{setting}",),
                write=(f"s3:Put{setting}",),
            ),
        )
        for type_, setting in _BUCKET_SETTINGS.items()
    },
}
