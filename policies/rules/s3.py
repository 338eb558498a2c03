"""Buckets. A setting is held to its rule wherever it is made; a bucket made here has to have them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from policies.rule import Resource, Rule, Severity, Stack
from policies.rules import documents

BUCKET = "aws:s3/bucket:Bucket"
_POLICY = "aws:s3/bucketPolicy:BucketPolicy"


def _setting(type_: str, check: Callable[[Resource], Iterator[str]]) -> Callable[[Resource, Stack], Iterator[str]]:
    """A check on a bucket's setting, and that a bucket of the stack has it."""

    def of_either(resource: Resource, stack: Stack) -> Iterator[str]:
        if resource.type == type_:
            yield from check(resource)
        elif not stack.dependents(resource, type_):
            yield f"it has no {type_.rpartition(':')[2]}"

    return of_either


def _blocked(block: Resource) -> Iterator[str]:
    for name in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
        if block.get(name) is not True:
            yield f"{name} is not true"


def _tls_only(policy: Resource) -> Iterator[str]:
    for statement in documents.statements(policy.document("policy"), "Deny"):
        values = [value.lower() for _, value in documents.conditions(statement).get("aws:securetransport", [])]
        if values == ["false"] and documents.anyone(statement):
            return
    yield "it does not deny requests without TLS"


def _no_stranger(policy: Resource, _: Stack) -> Iterator[str]:
    document = policy.document("policy")
    yield from documents.public(document)
    for statement in documents.statements(document, "Deny"):
        everything = {"*", "s3:*"} & set(documents.actions(statement))
        if everything and documents.anyone(statement) and not statement.get("Condition"):
            yield f"{documents.name(statement)} locks everybody out, you too"


def _acls_off(controls: Resource) -> Iterator[str]:
    if controls.get("rule", "objectOwnership") != "BucketOwnerEnforced":
        yield "access control lists are still heeded"


def _versioned(versioning: Resource) -> Iterator[str]:
    if versioning.get("versioningConfiguration", "status") != "Enabled":
        yield "versioning is not enabled"


def _kms(encryption: Resource) -> Iterator[str]:
    for index in range(len(encryption.items("rules")) or 1):
        algorithm = encryption.get("rules", index, "applyServerSideEncryptionByDefault", "sseAlgorithm")
        if not str(algorithm).startswith("aws:kms"):
            yield f"objects are encrypted with {algorithm or 'nothing said'}, not with KMS"


def _expiring(lifecycle: Resource) -> Iterator[str]:
    rules = [Resource("", "", "", rule) for rule in lifecycle.items("rules")]
    enabled = [rule for rule in rules if rule.get("status") == "Enabled"]
    if not any(rule.get("noncurrentVersionExpiration", "noncurrentDays") for rule in enabled):
        yield "old versions never expire"
    if not any(rule.get("abortIncompleteMultipartUpload", "daysAfterInitiation") for rule in enabled):
        yield "parts of uploads that were broken off stay for ever"


def _rule(
    name: str, ids: tuple[str, ...], severity: Severity, description: str, why: str, remedy: str, setting: str,
    check: Callable[[Resource], Iterator[str]],
) -> Rule:  # fmt: skip
    type_ = f"aws:s3/{setting[:1].lower()}{setting[1:]}:{setting}"
    return Rule(
        name=name,
        ids=ids,
        severity=severity,
        description=description,
        why=why,
        remedy=remedy,
        types=frozenset({BUCKET, type_}),
        check=_setting(type_, check),
        whole_stack=True,
    )


RULES = (
    _rule(
        "s3-bucket-block-public-access",
        ("S3.2", "S3.3", "S3.8", "CKV_AWS_53", "CKV_AWS_54", "CKV_AWS_55", "CKV_AWS_56", "CKV2_AWS_6"),
        Severity.CRITICAL,
        "Buckets block public access in all four ways.",
        "one wrong policy or ACL would publish people's tokens.",
        "an aws:s3:BucketPublicAccessBlock with all four set to true.",
        "BucketPublicAccessBlock",
        _blocked,
    ),
    _rule(
        "s3-bucket-require-tls",
        ("S3.5", "CKV_AWS_379"),
        Severity.HIGH,
        "Buckets refuse requests without TLS.",
        "tokens could be read on the way.",
        "a Deny of s3:* for everybody where aws:SecureTransport is false, in the bucket's policy.",
        "BucketPolicy",
        _tls_only,
    ),
    Rule(
        name="s3-bucket-disallow-wildcard-principal",
        ids=("S3.6", "CKV_AWS_70", "CKV_AWS_93"),
        severity=Severity.CRITICAL,
        description="Bucket policies let no stranger in, and do not lock out their owner.",
        why="anybody could read the bucket; or only the account's root user could mend its policy.",
        remedy="name the Principal, or limit by condition.",
        types=frozenset({_POLICY}),
        check=_no_stranger,
    ),
    _rule(
        "s3-bucket-disable-acls",
        ("S3.12", "CKV2_AWS_65"),
        Severity.HIGH,
        "Buckets have access control lists switched off.",
        "an object's ACL could publish it, whatever the policy says.",
        "an aws:s3:BucketOwnershipControls with objectOwnership: BucketOwnerEnforced.",
        "BucketOwnershipControls",
        _acls_off,
    ),
    _rule(
        "s3-bucket-enable-versioning",
        ("S3.14", "CKV_AWS_21"),
        Severity.MEDIUM,
        "Buckets keep versions.",
        "a token that is overwritten or deleted by mistake is gone.",
        "an aws:s3:BucketVersioning with status: Enabled.",
        "BucketVersioning",
        _versioned,
    ),
    _rule(
        "s3-bucket-encrypt-with-kms",
        ("S3.17", "CKV_AWS_19", "CKV_AWS_145"),
        Severity.MEDIUM,
        "Buckets are encrypted with KMS.",
        "who may decrypt is then decided and logged apart from who may read the bucket.",
        "an aws:s3:BucketServerSideEncryptionConfiguration with sseAlgorithm: aws:kms.",
        "BucketServerSideEncryptionConfiguration",
        _kms,
    ),
    _rule(
        "s3-bucket-expire-old-versions",
        ("S3.13", "CKV_AWS_300", "CKV2_AWS_61"),
        Severity.MEDIUM,
        "Old versions of objects expire.",
        "tokens that were replaced stay readable for ever.",
        "an aws:s3:BucketLifecycleConfiguration with noncurrentVersionExpiration and abortIncompleteMultipartUpload.",
        "BucketLifecycleConfiguration",
        _expiring,
    ),
)
