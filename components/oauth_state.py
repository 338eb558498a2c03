"""OAuth state that all tasks of a service share: the key that the server signs and encrypts with, and the store.

The key is made in Secrets Manager: the program makes the secret, and gives it a random password of Secrets Manager's
own where it has no value yet. As a property of a resource it would be in the state, and so in every backup of it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws
from botocore.exceptions import BotoCoreError, ClientError

from components import account
from components.estate import Estate
from components.oauth_cache import OAuthCache, OAuthCacheArgs
from components.settings import DynamoDbState, Service
from components.settings.server import PASSWORD, SIGNING_KEY

_LENGTH = 64
"""Letters and digits of the key: more than the 256 bits of what is derived from it."""


class NoSigningKey(pulumi.RunError):
    """A secret was made and got no value; the message says why and what to do."""


def with_value(secret: pulumi.Output[str], key: str) -> pulumi.Output[str]:
    """The ARN of a secret, once it has a value: `{key: random text}`. One that has a value keeps it.

    Nothing is asked at a preview. Fails with `NoSigningKey`.
    """
    if pulumi.runtime.is_dry_run():
        return secret
    return secret.apply(lambda arn: asyncio.to_thread(give_value, account.client, arn, key))


def give_value(client: Callable[[str], Any], arn: str, key: str) -> str:
    """`arn`, after the secret has been given a value if it had none. The value is told to nobody else.

    client: gives a boto3 client. Raises `NoSigningKey`.
    """
    try:
        manager = client("secretsmanager")
        stages = manager.describe_secret(SecretId=arn).get("VersionIdsToStages") or {}
        if not any("AWSCURRENT" in labels for labels in stages.values()):
            made = manager.get_random_password(PasswordLength=_LENGTH, ExcludePunctuation=True)["RandomPassword"]
            manager.put_secret_value(SecretId=arn, SecretString=json.dumps({key: made}))
    except (BotoCoreError, ClientError) as error:
        raise NoSigningKey(
            f"The secret {arn} has no value, and could not be given one: {error}\n"
            "  do       allow secretsmanager:DescribeSecret and PutSecretValue on it, and GetRandomPassword; "
            "then run pulumi up again"
        ) from None
    return arn


def made_arns(service: Service, estate: Estate, end: str) -> dict[str, str]:
    """Environment variable -> ARN of the secret that is made for it. `end`: the six characters that Secrets Manager
    adds, or what stands for them."""
    place = f"arn:{estate.partition}:secretsmanager:{estate.region}:{estate.account}:secret"
    return {variable: f"{place}:{name}-{end}" for variable, name in service.made_secrets.items()}


def task_statements(service: Service, estate: Estate) -> list[dict[str, Any]]:
    """What the running server may do with its state: three actions on one table, and its key."""
    state = service.oauth_state
    if not isinstance(state, DynamoDbState):
        return []
    table = f"arn:{estate.partition}:dynamodb:{estate.region}:{estate.account}:table/{service.oauth_store}"
    statements: list[dict[str, Any]] = [
        {
            "Sid": "OAuthState",
            "Action": ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"],
            "Resource": table,
        }
    ]
    if state.kms_key:
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
        statements.append(
            {
                "Sid": "OAuthStateKey",
                "Action": "kms:Decrypt",
                "Resource": state.kms_key,
                "Condition": {"StringEquals": {"kms:ViaService": f"dynamodb.{estate.region}.amazonaws.com"}},
            }
        )
    return statements


@dataclasses.dataclass(frozen=True, kw_only=True)
class OAuthStateArgs:
    """What shared state is made of."""

    service: Service
    """The service's settings, with a store that is shared."""
    estate: Estate
    """Where it runs."""
    security_groups: Sequence[pulumi.Input[str]]
    """Ids of the tasks' security groups: a cache that is made lets in no others."""
    tags: Mapping[str, str]
    """Tags for every taggable resource."""


class OAuthState(pulumi.ComponentResource):
    """The signing key of a service, and its table or cache."""

    secrets: dict[str, pulumi.Output[str]]
    """Environment variable -> ARN of the secret that is made for it, once that has a value."""
    host: pulumi.Output[str] | None = None
    """Host name of the cache; None: none is made."""
    needed: list[pulumi.Resource]
    """What must be there before a task starts."""

    def __init__(self, name: str, args: OAuthStateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mcp-on-ecs:index:OAuthState", name, None, opts)
        service, tags, self.needed, self.secrets = args.service, dict(args.tags), [], {}
        if service.signing_key_name:
            secret = aws.secretsmanager.Secret(
                f"{name}-signing-key",
                name=service.signing_key_name,
                description=f"What {service.name} signs its tokens and encrypts its OAuth state with; made once",
                # Without the table, which goes first, it is worth nothing; and its name must be free at once.
                recovery_window_in_days=0,
                tags=tags,
                opts=pulumi.ResourceOptions(parent=self),
            )
            self.secrets[SIGNING_KEY] = with_value(secret.arn, SIGNING_KEY)
            self.needed.append(secret)
        if isinstance(service.oauth_state, DynamoDbState):
            key = service.oauth_state.kms_key
            table = aws.dynamodb.Table(
                f"{name}-oauth-state",
                name=service.oauth_store,
                billing_mode="PAY_PER_REQUEST",
                # As the server's library has it; image/oauth_store.py reads and writes it.
                hash_key="collection",
                range_key="key",
                attributes=[{"name": "collection", "type": "S"}, {"name": "key", "type": "S"}],
                ttl={"attribute_name": "ttl", "enabled": True},
                point_in_time_recovery={"enabled": True},
                server_side_encryption={"enabled": True, "kms_key_arn": key} if key else {"enabled": True},
                deletion_protection_enabled=service.oauth_state.deletion_protection,
                tags=tags,
                # Deleted before the key, without which nobody can read it; while it is protected, neither goes.
                opts=pulumi.ResourceOptions(parent=self, depends_on=self.needed),
            )
            self.needed = [*self.needed, table]
        if service.oauth_cache:
            cache = OAuthCache(
                name,
                OAuthCacheArgs(service=service, estate=args.estate, security_groups=args.security_groups, tags=tags),
                pulumi.ResourceOptions(parent=self, depends_on=self.needed),
            )
            self.secrets[PASSWORD], self.host = cache.password, cache.host
            self.needed = [*self.needed, *cache.needed]
        self.register_outputs({"secrets": self.secrets, "host": self.host})
