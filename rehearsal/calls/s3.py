"""S3: look-up of buckets."""

from __future__ import annotations

from botocore.exceptions import ClientError

from rehearsal.calls.base import Context, Properties, ProviderError, function


@function("aws:s3/getBucket:getBucket", "bucket")
def get_bucket(context: Context, args: Properties) -> Properties:
    name = args["bucket"]
    try:
        context.client("s3").head_bucket(Bucket=name)
    except ClientError as error:
        raise ProviderError(f"reading S3 Bucket ({name}): couldn't find resource ({error})") from error
    region = context.account.region
    return {
        "id": name,
        "bucket": name,
        "arn": f"arn:aws:s3:::{name}",
        "region": region,
        "bucketRegion": region,
        "bucketDomainName": f"{name}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
    }
