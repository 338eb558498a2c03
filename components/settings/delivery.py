"""The pipeline's access to the account."""

from __future__ import annotations

from collections.abc import Iterator

from components.settings.model import Model
from components.settings.patterns import Branch, BucketName, GithubEnvironment, KmsKeyArn, Repository, TopicName


class Delivery(Model):
    """The pipeline's access to the account: a role for previews and one for deployments, both for GitHub Actions."""

    repository: Repository
    """The GitHub repository that the workflows run in: owner/name, or owner@id/name@id if it was made or renamed since
    2026-07-15, or takes part in GitHub's immutable subjects otherwise."""
    branch: Branch = "main"
    """The only branch that deploys. Default main."""
    environment: GithubEnvironment = "production"
    """The GitHub environment of deployments and rollbacks. Default production."""
    preview_environment: GithubEnvironment = "preview"
    """The GitHub environment of previews and of the search for drift. Default preview."""
    create_provider: bool = False
    """Make GitHub's OIDC provider, of which an account can have one. Default false: it exists."""
    state_bucket: BucketName
    """The bucket that holds the stack's state."""
    state_key: KmsKeyArn
    """The key of the stack's secrets provider, as an ARN: an alias says nothing to IAM."""
    topic: TopicName | None = None
    """An SNS topic that the pipeline tells of deployments. Default: that of `monitoring`, if there is one."""

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.environment == self.preview_environment:
            yield (
                ("preview_environment", "environment"),
                "is the same as environment: pull requests could take the role that deploys; name another",
            )
