"""Parameters, tables, secrets that are made, and the settings of buckets."""

from components.delivery.right import Right, arn, bare_arn

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
