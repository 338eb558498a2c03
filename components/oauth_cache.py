"""The cache that is made for OAuth state: a Valkey in ElastiCache, which its service's tasks alone reach.

Its user is made without a password, for IAM, which no task has a right to use. Then the program has Secrets Manager
make a password, puts it into the secret, and gives it to the user, all before there is a cache that knows the user. As
a property of a resource it would be in the state, and so in every backup of it.

https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Clusters.RBAC.html: each user of a Valkey has a password or IAM,
a user group of Valkey needs no user called default, and a cache that has the group lets nobody else in.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws
from botocore.exceptions import BotoCoreError, ClientError

from components import account
from components.estate import Estate
from components.settings import Service, ValkeyState
from components.settings.server import PASSWORD

ENGINE_VERSION = "8.0"
"""Of a new cache. ElastiCache raises the last part of it by itself, and the program leaves it so: to go back would
replace the cache."""

ACCESS = "on ~* -@all +@read +@write +@connection -@dangerous +info"
"""What the user may do: read and write, and no command that is for administrators or of the kind of FLUSHALL and KEYS.
The server's client asks INFO whether it speaks with the primary."""

_LENGTH = 64
"""Letters and digits of the password. ElastiCache takes 16 to 128 characters."""

_LIMIT = 300.0
"""Seconds that a user may take to be changed."""


class NoCachePassword(pulumi.RunError):
    """The cache's user got no password; the message says why and what to do."""


def with_password(user: pulumi.Output[str], secret: pulumi.Output[str]) -> pulumi.Output[str]:
    """The user's id, once it has a password, which the secret (an ARN) has too. One that has a password keeps it.

    Nothing is asked at a preview. Fails with `NoCachePassword`.
    """
    if pulumi.runtime.is_dry_run():
        return user
    return pulumi.Output.all(user, secret).apply(lambda known: asyncio.to_thread(give_password, account.client, *known))


def give_password(client: Callable[[str], Any], user: str, secret: str, pause: float = 2) -> str:
    """`user`, after it has been given a password that stands in the secret too, if it had none. The password is told to
    nobody else.

    client: gives a boto3 client. pause: seconds between two questions. Raises `NoCachePassword`.
    """
    try:
        manager, elasticache = client("secretsmanager"), client("elasticache")
        stages = manager.describe_secret(SecretId=secret).get("VersionIdsToStages") or {}
        filled = any("AWSCURRENT" in labels for labels in stages.values())
        if filled and _active(elasticache, user, pause)["Authentication"]["Type"] == "password":
            return user
        # An earlier run may have ended between the two. What it put there nobody has used, and nobody need read it.
        made = manager.get_random_password(PasswordLength=_LENGTH, ExcludePunctuation=True)["RandomPassword"]
        manager.put_secret_value(SecretId=secret, SecretString=json.dumps({PASSWORD: made}))
        _active(elasticache, user, pause)
        elasticache.modify_user(UserId=user, AuthenticationMode={"Type": "password", "Passwords": [made]})
        _active(elasticache, user, pause)
    except (BotoCoreError, ClientError) as error:
        raise NoCachePassword(
            f"The user {user} of the cache has no password, and could not be given one: {error}\n"
            f"  do       allow elasticache:DescribeUsers and ModifyUser on it, secretsmanager:DescribeSecret and "
            f"PutSecretValue on {secret}, and GetRandomPassword; then run pulumi up again"
        ) from None
    return user


def _active(elasticache: Any, user: str, pause: float) -> dict[str, Any]:
    """The user, once it can be changed. Raises `NoCachePassword`."""
    deadline = time.monotonic() + _LIMIT
    while True:
        found: dict[str, Any] = elasticache.describe_users(UserId=user)["Users"][0]
        if found["Status"] == "active":
            return found
        if time.monotonic() > deadline:
            raise NoCachePassword(
                f"The user {user} of the cache is {found['Status']} after {_LIMIT:.0f} s.\n"
                f"  do       run pulumi up again, once it is active: aws elasticache describe-users --user-id {user}"
            )
        time.sleep(pause)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OAuthCacheArgs:
    """What a cache is made of."""

    service: Service
    """The service's settings, with a cache that is made."""
    estate: Estate
    """Where it runs."""
    security_groups: Sequence[pulumi.Input[str]]
    """Ids of the tasks' security groups."""
    tags: Mapping[str, str]
    """Tags for every taggable resource."""


class OAuthCache(pulumi.ComponentResource):
    """A cache for the OAuth state of a service."""

    host: pulumi.Output[str]
    """Host name of its primary node, which stays the same when another node becomes that."""
    password: pulumi.Output[str]
    """ARN of the secret with the password."""
    needed: list[pulumi.Resource]
    """What must be there before a task starts."""

    def __init__(self, name: str, args: OAuthCacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mcp-on-ecs:index:OAuthCache", name, None, opts)
        service, estate, tags = args.service, args.estate, dict(args.tags)
        state, wanted, label = service.oauth_state, service.oauth_cache, service.oauth_store
        assert wanted and isinstance(state, ValkeyState)
        child = pulumi.ResourceOptions(parent=self)
        subnets = aws.elasticache.SubnetGroup(
            f"{name}-cache-subnets",
            name=label,
            description=f"Where the tasks of {service.name} run",
            subnet_ids=list(estate.subnets),
            tags=tags,
            opts=child,
        )
        group = aws.ec2.SecurityGroup(
            f"{name}-cache-security-group",
            name=label,
            description=f"OAuth state of {service.name}",
            vpc_id=estate.vpc,
            tags={**tags, "Name": label},
            opts=child,
        )
        secret = aws.secretsmanager.Secret(
            f"{name}-cache-password",
            name=service.made_secrets[PASSWORD],
            description=f"Password of the cache of {service.name}; made once",
            # Without the cache it opens nothing; and its name must be free at once.
            recovery_window_in_days=0,
            tags=tags,
            opts=child,
        )
        user = aws.elasticache.User(
            f"{name}-cache-user",
            user_id=label,
            user_name=label,  # IAM takes no other.
            engine="valkey",
            access_string=ACCESS,
            authentication_mode={"type": "iam"},
            tags=tags,
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["authenticationMode"]),
        )
        users = aws.elasticache.UserGroup(
            f"{name}-cache-users",
            user_group_id=label,
            engine="valkey",
            user_ids=[with_password(user.user_id, secret.arn)],
            tags=tags,
            opts=child,
        )
        cache = aws.elasticache.ReplicationGroup(
            f"{name}-cache",
            replication_group_id=label,
            description=f"OAuth state of {service.name}",
            engine="valkey",
            engine_version=ENGINE_VERSION,
            node_type=wanted.node_type,
            num_cache_clusters=1 + wanted.replicas,
            automatic_failover_enabled=wanted.replicas > 0,
            multi_az_enabled=wanted.replicas > 0,
            port=state.port,
            subnet_group_name=subnets.name,
            security_group_ids=[group.id],
            user_group_ids=[users.user_group_id],
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            at_rest_encryption_enabled=True,
            kms_key_id=wanted.kms_key,
            auto_minor_version_upgrade=True,
            # Without one, everybody signs in once more; with one, their tokens lie in one more place.
            snapshot_retention_limit=0,
            # Or what is changed would wait for the maintenance window, and `pulumi up` would say that it is done.
            apply_immediately=True,
            tags=tags,
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["engineVersion"]),
        )
        self.needed = [cache, *self._ways(name, args, group.id, state.port)]
        self.host, self.password = cache.primary_endpoint_address, secret.arn
        self.register_outputs({"host": self.host, "password": self.password})

    def _ways(self, name: str, args: OAuthCacheArgs, cache: pulumi.Output[str], port: int) -> Sequence[pulumi.Resource]:
        """The tasks' ways to the cache, and no others. Existing groups of tasks are left as they are."""
        ways: list[pulumi.Resource] = []
        for number, tasks in enumerate(args.security_groups, 1):
            ways.append(
                aws.vpc.SecurityGroupIngressRule(
                    "-".join([f"{name}-cache-from-tasks", *([str(number)] if number > 1 else [])]),
                    security_group_id=cache,
                    referenced_security_group_id=tasks,
                    ip_protocol="tcp",
                    from_port=port,
                    to_port=port,
                    description="OAuth state from tasks",
                    tags=dict(args.tags),
                    opts=pulumi.ResourceOptions(parent=self),
                )
            )
        if not args.service.security_groups:
            ways.append(
                aws.vpc.SecurityGroupEgressRule(
                    f"{name}-to-cache",
                    security_group_id=args.security_groups[0],
                    referenced_security_group_id=cache,
                    ip_protocol="tcp",
                    from_port=port,
                    to_port=port,
                    description="oauth-state",
                    tags=dict(args.tags),
                    opts=pulumi.ResourceOptions(parent=self),
                )
            )
        return ways
