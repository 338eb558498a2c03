"""Where images are kept."""

from __future__ import annotations

from collections.abc import Iterator

from policies.rule import Resource, Severity, Stack, rule
from policies.rules import documents

REPOSITORY = frozenset({"aws:ecr/repository:Repository"})
_COMPONENT = "components/registry.py sets it; do not override it."


@rule(
    id="ecr-repository-scan-on-push",
    controls=("ECR.1", "CKV_AWS_163"),
    severity=Severity.HIGH,
    description="Repositories scan images on push.",
    why="a known vulnerability would go into production unseen.",
    remedy=f"imageScanningConfiguration.scanOnPush: true; {_COMPONENT}",
    types=REPOSITORY,
)
def scanned(repository: Resource, _: Stack) -> Iterator[str]:
    if repository.get("imageScanningConfiguration", "scanOnPush") is not True:
        yield "images are not scanned when they are pushed"


@rule(
    id="ecr-repository-disallow-mutable-tags",
    controls=("ECR.2", "CKV_AWS_51"),
    severity=Severity.HIGH,
    description="Tags in repositories cannot be overwritten.",
    why="a rollback to a tag that was pushed again starts the same broken image.",
    remedy=f"imageTagMutability: IMMUTABLE; {_COMPONENT}",
    types=REPOSITORY,
)
def immutable(repository: Resource, _: Stack) -> Iterator[str]:
    if repository.get("imageTagMutability") not in ("IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION"):
        yield "its tags can be overwritten"


@rule(
    id="ecr-repository-require-lifecycle-policy",
    controls=("ECR.3",),
    severity=Severity.MEDIUM,
    description="Repositories have a lifecycle policy.",
    why="images pile up and are paid for.",
    remedy="add an aws:ecr:LifecyclePolicy for the repository, as components/registry.py does.",
    types=REPOSITORY,
    whole_stack=True,
)
def lifecycle(repository: Resource, stack: Stack) -> Iterator[str]:
    if not stack.dependents(repository, "aws:ecr/lifecyclePolicy:LifecyclePolicy"):
        yield "no lifecycle policy removes its old images"


@rule(
    id="ecr-repository-encrypt-with-kms",
    controls=("ECR.5", "CKV_AWS_136"),
    severity=Severity.MEDIUM,
    description="Repositories are encrypted with KMS.",
    why="who may decrypt the images is then decided and logged apart from who may read the repository.",
    remedy="encryptionType: KMS for a new repository (it is fixed at creation), or record an exception.",
    types=REPOSITORY,
)
def kms(repository: Resource, _: Stack) -> Iterator[str]:
    if not str(repository.get("encryptionConfigurations", 0, "encryptionType") or "AES256").startswith("KMS"):
        yield "its images are encrypted with AES256, not with a KMS key"


@rule(
    id="ecr-repository-disallow-public-policy",
    controls=("CKV_AWS_32",),
    severity=Severity.CRITICAL,
    description="Repository policies let no stranger in.",
    why="anybody could pull the images, or push one that the service then runs.",
    remedy="name the accounts or roles as Principal, or limit by aws:PrincipalOrgID.",
    types=frozenset({"aws:ecr/repositoryPolicy:RepositoryPolicy"}),
)
def private(policy: Resource, _: Stack) -> Iterator[str]:
    yield from documents.public(policy.document("policy"))
