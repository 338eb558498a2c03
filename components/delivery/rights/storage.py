"""Parameters, and the settings of buckets."""

from components.delivery.right import Right, arn, nowhere

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
    **{
        type_: (
            Right(
                sid=setting,
                on=(nowhere("s3", "{its.bucket}"),),
                read=(f"s3:Get{setting}",),
                write=(f"s3:Put{setting}",),
            ),
        )
        for type_, setting in _BUCKET_SETTINGS.items()
    },
}
