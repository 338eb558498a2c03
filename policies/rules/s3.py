"""Buckets. A setting is held to its rule wherever it is made; a bucket made here has to have them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from policies.rule import Check, Resource, Severity, Stack, rule
from policies.rules import documents

BUCKET = "aws:s3/bucket:Bucket"
_POLICY = "aws:s3/bucketPolicy:BucketPolicy"


def _type(setting: str) -> str:
    return f"aws:s3/{setting[:1].lower()}{setting[1:]}:{setting}"


def _with(setting: str) -> frozenset[str]:
    return frozenset({BUCKET, _type(setting)})


def _setting(name: str) -> Callable[[Callable[[Resource], Iterator[str]]], Check]:
    """Makes a check on a bucket's setting one that a bucket of the stack has to have it, too."""

    def decorate(check: Callable[[Resource], Iterator[str]]) -> Check:
        def of_either(resource: Resource, stack: Stack) -> Iterator[str]:
            if resource.type == _type(name):
                yield from check(resource)
            elif not stack.dependents(resource, _type(name)):
                yield f"it has no {name}"

        return of_either

    return decorate


@rule(
    id="s3-bucket-block-public-access",
    controls=("S3.2", "S3.3", "S3.8", "CKV_AWS_53", "CKV_AWS_54", "CKV_AWS_55", "CKV_AWS_56", "CKV2_AWS_6"),
    severity=Severity.CRITICAL,
    description="Buckets block public access in all four ways.",
    why="one wrong policy or ACL would publish people's tokens.",
    remedy="an aws:s3:BucketPublicAccessBlock with all four set to true.",
    types=_with("BucketPublicAccessBlock"),
    whole_stack=True,
)
@_setting("BucketPublicAccessBlock")
def blocked(block: Resource) -> Iterator[str]:
    for name in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
        if block.get(name) is not True:
            yield f"{name} is not true"


@rule(
    id="s3-bucket-require-tls",
    controls=("S3.5", "CKV_AWS_379"),
    severity=Severity.HIGH,
    description="Buckets refuse requests without TLS.",
    why="tokens could be read on the way.",
    remedy="a Deny of s3:* for everybody where aws:SecureTransport is false, in the bucket's policy.",
    types=_with("BucketPolicy"),
    whole_stack=True,
)
@_setting("BucketPolicy")
def tls_only(policy: Resource) -> Iterator[str]:
    for statement in documents.statements(policy.document("policy"), "Deny"):
        values = [value.lower() for _, value in documents.conditions(statement).get("aws:securetransport", [])]
        if values == ["false"] and documents.anyone(statement):
            return
    yield "it does not deny requests without TLS"


@rule(
    id="s3-bucket-disallow-wildcard-principal",
    controls=("S3.6", "CKV_AWS_70", "CKV_AWS_93"),
    severity=Severity.CRITICAL,
    description="Bucket policies let no stranger in, and do not lock out their owner.",
    why="anybody could read the bucket; or only the account's root user could mend its policy.",
    remedy="name the Principal, or limit by condition.",
    types=frozenset({_POLICY}),
)
def no_stranger(policy: Resource, _: Stack) -> Iterator[str]:
    document = policy.document("policy")
    yield from documents.public(document)
    for statement in documents.statements(document, "Deny"):
        everything = any(map(documents.is_every_action, documents.actions(statement)))
        if everything and documents.anyone(statement) and not statement.get("Condition"):
            yield f"{documents.name(statement)} locks everybody out, you too"


@rule(
    id="s3-bucket-disable-acls",
    controls=("S3.12", "CKV2_AWS_65"),
    severity=Severity.HIGH,
    description="Buckets have access control lists switched off.",
    why="an object's ACL could publish it, whatever the policy says.",
    remedy="an aws:s3:BucketOwnershipControls with objectOwnership: BucketOwnerEnforced.",
    types=_with("BucketOwnershipControls"),
    whole_stack=True,
)
@_setting("BucketOwnershipControls")
def acls_off(controls: Resource) -> Iterator[str]:
    if controls.get("rule", "objectOwnership") != "BucketOwnerEnforced":
        yield "access control lists are still heeded"


@rule(
    id="s3-bucket-enable-versioning",
    controls=("S3.14", "CKV_AWS_21"),
    severity=Severity.MEDIUM,
    description="Buckets keep versions.",
    why="a token that is overwritten or deleted by mistake is gone.",
    remedy="an aws:s3:BucketVersioning with status: Enabled.",
    types=_with("BucketVersioning"),
    whole_stack=True,
)
@_setting("BucketVersioning")
def versioned(versioning: Resource) -> Iterator[str]:
    if versioning.get("versioningConfiguration", "status") != "Enabled":
        yield "versioning is not enabled"


@rule(
    id="s3-bucket-encrypt-with-kms",
    controls=("S3.17", "CKV_AWS_19", "CKV_AWS_145"),
    severity=Severity.MEDIUM,
    description="Buckets are encrypted with KMS.",
    why="who may decrypt is then decided and logged apart from who may read the bucket.",
    remedy="an aws:s3:BucketServerSideEncryptionConfiguration with sseAlgorithm: aws:kms.",
    types=_with("BucketServerSideEncryptionConfiguration"),
    whole_stack=True,
)
@_setting("BucketServerSideEncryptionConfiguration")
def kms(encryption: Resource) -> Iterator[str]:
    for index in range(len(encryption.items("rules")) or 1):
        algorithm = encryption.get("rules", index, "applyServerSideEncryptionByDefault", "sseAlgorithm")
        if not str(algorithm).startswith("aws:kms"):
            yield f"objects are encrypted with {algorithm or 'nothing said'}, not with KMS"


@rule(
    id="s3-bucket-expire-old-versions",
    controls=("S3.13", "CKV_AWS_300", "CKV2_AWS_61"),
    severity=Severity.MEDIUM,
    description="Old versions of objects expire.",
    why="tokens that were replaced stay readable for ever.",
    remedy="an aws:s3:BucketLifecycleConfiguration with noncurrentVersionExpiration and "
    "abortIncompleteMultipartUpload.",
    types=_with("BucketLifecycleConfiguration"),
    whole_stack=True,
)
@_setting("BucketLifecycleConfiguration")
def expiring(lifecycle: Resource) -> Iterator[str]:
    rules = [Resource("", "", "", rule) for rule in lifecycle.items("rules")]
    enabled = [rule for rule in rules if rule.get("status") == "Enabled"]
    if not any(rule.get("noncurrentVersionExpiration", "noncurrentDays") for rule in enabled):
        yield "old versions never expire"
    if not any(rule.get("abortIncompleteMultipartUpload", "daysAfterInitiation") for rule in enabled):
        yield "parts of uploads that were broken off stay for ever"
