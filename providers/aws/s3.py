"""S3: look-up of buckets, and settings of buckets that exist."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from providers.base import Context, Handler, Properties, ProviderError, function, resource


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


class _Setting(Handler):
    """A setting of a bucket's, which a bucket has at most once."""

    replacing = frozenset({"bucket"})
    defaults = {}
    missing = ""
    """What S3 answers where it is not set."""

    @abstractmethod
    def get(self, bucket: str) -> Properties:
        """What is set, in Pulumi's terms. Raises `ClientError`."""

    @abstractmethod
    def put(self, bucket: str, inputs: Properties) -> None: ...

    @abstractmethod
    def remove(self, bucket: str) -> None: ...

    def create(self, inputs: Properties) -> str:
        self.put(inputs["bucket"], inputs)
        return str(inputs["bucket"])

    def read(self, locator: str) -> Properties | None:
        try:
            return {"id": locator, "bucket": locator, **self.get(locator)}
        except ClientError as error:
            if error.response["Error"]["Code"] in (self.missing, "NoSuchBucket"):
                return None
            raise

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        self.put(locator, inputs)

    def delete(self, locator: str, recorded: Properties) -> None:
        self.remove(locator)

    @property
    def s3(self) -> Any:
        return self.context.client("s3")


@resource
class BucketPublicAccessBlock(_Setting):
    type = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    properties = frozenset(
        {"bucket", "blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"}
    )
    missing = "NoSuchPublicAccessBlockConfiguration"

    def get(self, bucket: str) -> Properties:
        found = self.s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        return {name[0].lower() + name[1:]: value for name, value in found.items()}

    def put(self, bucket: str, inputs: Properties) -> None:
        wanted = {name[0].upper() + name[1:]: inputs.get(name, False) for name in self.properties - {"bucket"}}
        self.s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=wanted)

    def remove(self, bucket: str) -> None:
        self.s3.delete_public_access_block(Bucket=bucket)


@resource
class BucketOwnershipControls(_Setting):
    type = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    properties = frozenset({"bucket", "rule"})
    missing = "OwnershipControlsNotFoundError"

    def get(self, bucket: str) -> Properties:
        (rule,) = self.s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
        return {"rule": {"objectOwnership": rule["ObjectOwnership"]}}

    def put(self, bucket: str, inputs: Properties) -> None:
        rules = [{"ObjectOwnership": inputs["rule"]["objectOwnership"]}]
        self.s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": rules})

    def remove(self, bucket: str) -> None:
        self.s3.delete_bucket_ownership_controls(Bucket=bucket)


@resource
class BucketPolicy(_Setting):
    type = "aws:s3/bucketPolicy:BucketPolicy"
    properties = frozenset({"bucket", "policy"})
    json_properties = frozenset({"policy"})
    missing = "NoSuchBucketPolicy"

    def get(self, bucket: str) -> Properties:
        return {"policy": self.s3.get_bucket_policy(Bucket=bucket)["Policy"]}

    def put(self, bucket: str, inputs: Properties) -> None:
        self.s3.put_bucket_policy(Bucket=bucket, Policy=inputs["policy"])

    def remove(self, bucket: str) -> None:
        self.s3.delete_bucket_policy(Bucket=bucket)


@resource
class BucketVersioning(_Setting):
    type = "aws:s3/bucketVersioning:BucketVersioning"
    properties = frozenset({"bucket", "versioningConfiguration"})

    def get(self, bucket: str) -> Properties:
        status = self.s3.get_bucket_versioning(Bucket=bucket).get("Status", "Disabled")
        return {"versioningConfiguration": {"status": status}}

    def put(self, bucket: str, inputs: Properties) -> None:
        status = inputs["versioningConfiguration"]["status"]
        self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})

    def remove(self, bucket: str) -> None:
        # As the provider does: versioning that was on once can be suspended, and not taken away.
        self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


@resource
class BucketLifecycleConfiguration(_Setting):
    type = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    properties = frozenset({"bucket", "rules"})
    missing = "NoSuchLifecycleConfiguration"

    def get(self, bucket: str) -> Properties:
        rules = self.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        return {"rules": _renamed(rules, lambda name: "id" if name == "ID" else name[0].lower() + name[1:])}

    def put(self, bucket: str, inputs: Properties) -> None:
        rules = _renamed(inputs["rules"], lambda name: "ID" if name == "id" else name[0].upper() + name[1:])
        self.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})

    def remove(self, bucket: str) -> None:
        self.s3.delete_bucket_lifecycle(Bucket=bucket)


def _renamed(value: Any, name: Callable[[str], str]) -> Any:
    """`value` with the names of all its members changed."""
    if isinstance(value, dict):
        return {name(key): _renamed(entry, name) for key, entry in value.items()}
    if isinstance(value, list):
        return [_renamed(entry, name) for entry in value]
    # The wire has no whole numbers.
    return int(value) if isinstance(value, float) else value
