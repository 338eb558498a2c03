"""ElastiCache: subnet groups, users and their groups, and replication groups."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from typing import Any

from providers.base import (
    Handler,
    Properties,
    completing,
    given,
    gone_tags,
    resource,
    tag_list,
    tag_map,
)

_AVAILABLE = {"Delay": 15, "MaxAttempts": 240}


class _Part(Handler):
    """What all types of ElastiCache have in common: how they wait, and their tags."""

    @property
    def client(self) -> Any:
        return self.context.client("elasticache")

    @abstractmethod
    def _found(self, locator: str) -> dict[str, Any] | None:
        """What AWS says of it; None if there is none."""

    def _settled(self, locator: str) -> None:
        """Wait until it can be used, and changed again."""
        while (found := self._found(locator)) and found.get("Status", "active") in ("creating", "modifying"):
            self.context.pause(5)

    def _tags(self, arn: str) -> dict[str, str]:
        return tag_map(self.client.list_tags_for_resource(ResourceName=arn).get("TagList"))

    def _retag(self, locator: str, tags: dict[str, str] | None) -> None:
        before = self.read(locator) or {}
        if gone := gone_tags(before["tags"], tags):
            self.client.remove_tags_from_resource(ResourceName=before["arn"], TagKeys=gone)
        if tags:
            self.client.add_tags_to_resource(ResourceName=before["arn"], Tags=tag_list(tags))


@resource
class SubnetGroup(_Part):
    type = "aws:elasticache/subnetGroup:SubnetGroup"
    properties = frozenset({"name", "description", "subnetIds", "tags"})
    replacing = frozenset({"name"})
    defaults = {"description": "Managed by Pulumi", "tags": {}}
    name_property = "name"
    unordered = frozenset({"subnetIds"})

    def create(self, inputs: Properties) -> str:
        self.client.create_cache_subnet_group(
            **given(
                CacheSubnetGroupName=inputs["name"],
                CacheSubnetGroupDescription=inputs.get("description", "Managed by Pulumi"),
                SubnetIds=inputs["subnetIds"],
                Tags=tag_list(inputs.get("tags")) or None,
            )
        )
        return str(inputs["name"])

    def _found(self, locator: str) -> dict[str, Any] | None:
        try:
            return dict(self.client.describe_cache_subnet_groups(CacheSubnetGroupName=locator)["CacheSubnetGroups"][0])
        except self.client.exceptions.CacheSubnetGroupNotFoundFault:
            return None

    def read(self, locator: str) -> Properties | None:
        if (found := self._found(locator)) is None:
            return None
        tags = self._tags(found["ARN"])
        return {
            "id": locator,
            "arn": found["ARN"],
            "name": locator,
            "description": found["CacheSubnetGroupDescription"],
            "subnetIds": [subnet["SubnetIdentifier"] for subnet in found["Subnets"]],
            "vpcId": found["VpcId"],
            "tags": tags,
            "tagsAll": tags,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        if changed - {"tags"}:
            self.client.modify_cache_subnet_group(
                CacheSubnetGroupName=locator,
                CacheSubnetGroupDescription=inputs.get("description", "Managed by Pulumi"),
                SubnetIds=inputs["subnetIds"],
            )
        if "tags" in changed:
            self._retag(locator, inputs.get("tags"))

    def delete(self, locator: str, recorded: Properties) -> None:
        with contextlib.suppress(self.client.exceptions.CacheSubnetGroupNotFoundFault):
            self.client.delete_cache_subnet_group(CacheSubnetGroupName=locator)


@resource
class User(_Part):
    type = "aws:elasticache/user:User"
    properties = frozenset({"userId", "userName", "engine", "accessString", "authenticationMode", "tags"})
    replacing = frozenset({"userId", "userName"})
    name_property = "userId"

    def create(self, inputs: Properties) -> str:
        self.client.create_user(
            **given(
                UserId=inputs["userId"],
                UserName=inputs["userName"],
                Engine=inputs["engine"],
                AccessString=inputs["accessString"],
                AuthenticationMode={"Type": inputs["authenticationMode"]["type"]},
                Tags=tag_list(inputs.get("tags")) or None,
            )
        )
        with completing(inputs["userId"]):
            self._settled(inputs["userId"])
        return str(inputs["userId"])

    def _found(self, locator: str) -> dict[str, Any] | None:
        try:
            return dict(self.client.describe_users(UserId=locator)["Users"][0])
        except self.client.exceptions.UserNotFoundFault:
            return None

    def read(self, locator: str) -> Properties | None:
        if (found := self._found(locator)) is None:
            return None
        tags, authentication = self._tags(found["ARN"]), found["Authentication"]
        return {
            "id": locator,
            "arn": found["ARN"],
            "userId": locator,
            "userName": found["UserName"],
            "engine": found["Engine"],
            "accessString": found["AccessString"],
            "authenticationMode": {
                "type": authentication["Type"],
                "passwordCount": authentication.get("PasswordCount", 0),
            },
            "tags": tags,
            "tagsAll": tags,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        if changed - {"tags"}:
            mode = {"Type": inputs["authenticationMode"]["type"]} if "authenticationMode" in changed else None
            self.client.modify_user(
                **given(
                    UserId=locator,
                    Engine=inputs["engine"],
                    AccessString=inputs["accessString"],
                    AuthenticationMode=mode,
                )
            )
            self._settled(locator)
        if "tags" in changed:
            self._retag(locator, inputs.get("tags"))

    def delete(self, locator: str, recorded: Properties) -> None:
        with contextlib.suppress(self.client.exceptions.UserNotFoundFault):
            self.client.delete_user(UserId=locator)
        while self._found(locator):
            self.context.pause(2)


@resource
class UserGroup(_Part):
    type = "aws:elasticache/userGroup:UserGroup"
    properties = frozenset({"userGroupId", "engine", "userIds", "tags"})
    replacing = frozenset({"userGroupId"})
    name_property = "userGroupId"
    unordered = frozenset({"userIds"})

    def create(self, inputs: Properties) -> str:
        self.client.create_user_group(
            **given(
                UserGroupId=inputs["userGroupId"],
                Engine=inputs["engine"],
                UserIds=inputs.get("userIds"),
                Tags=tag_list(inputs.get("tags")) or None,
            )
        )
        with completing(inputs["userGroupId"]):
            self._settled(inputs["userGroupId"])
        return str(inputs["userGroupId"])

    def _found(self, locator: str) -> dict[str, Any] | None:
        try:
            return dict(self.client.describe_user_groups(UserGroupId=locator)["UserGroups"][0])
        except self.client.exceptions.UserGroupNotFoundFault:
            return None

    def read(self, locator: str) -> Properties | None:
        if (found := self._found(locator)) is None:
            return None
        tags = self._tags(found["ARN"])
        return {
            "id": locator,
            "arn": found["ARN"],
            "userGroupId": locator,
            "engine": found["Engine"],
            "userIds": found.get("UserIds", []),
            "tags": tags,
            "tagsAll": tags,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        if changed - {"tags"}:
            before, after = set((self.read(locator) or {})["userIds"]), set(inputs.get("userIds", []))
            self.client.modify_user_group(
                **given(
                    UserGroupId=locator,
                    Engine=inputs["engine"],
                    UserIdsToAdd=sorted(after - before) or None,
                    UserIdsToRemove=sorted(before - after) or None,
                )
            )
            self._settled(locator)
        if "tags" in changed:
            self._retag(locator, inputs.get("tags"))

    def delete(self, locator: str, recorded: Properties) -> None:
        with contextlib.suppress(self.client.exceptions.UserGroupNotFoundFault):
            self.client.delete_user_group(UserGroupId=locator)
        while self._found(locator):
            self.context.pause(2)


_MODIFIED = {
    "description": "ReplicationGroupDescription",
    "nodeType": "CacheNodeType",
    "engineVersion": "EngineVersion",
    "autoMinorVersionUpgrade": "AutoMinorVersionUpgrade",
    "automaticFailoverEnabled": "AutomaticFailoverEnabled",
    "multiAzEnabled": "MultiAZEnabled",
    "securityGroupIds": "SecurityGroupIds",
    "snapshotRetentionLimit": "SnapshotRetentionLimit",
    "transitEncryptionEnabled": "TransitEncryptionEnabled",
    "transitEncryptionMode": "TransitEncryptionMode",
}
"""Property -> as CreateReplicationGroup and ModifyReplicationGroup name it."""


@resource
class ReplicationGroup(_Part):
    """Without shards: a primary node, and copies of it."""

    type = "aws:elasticache/replicationGroup:ReplicationGroup"
    properties = frozenset(
        {
            *_MODIFIED,
            "replicationGroupId",
            "engine",
            "numCacheClusters",
            "port",
            "subnetGroupName",
            "userGroupIds",
            "atRestEncryptionEnabled",
            "tags",
        }
    )
    replacing = frozenset({"replicationGroupId", "port", "subnetGroupName", "atRestEncryptionEnabled", "kmsKeyId"})
    remembered = frozenset({"kmsKeyId"})
    steering = frozenset({"applyImmediately"})
    defaults = {
        "automaticFailoverEnabled": False,
        "multiAzEnabled": False,
        "snapshotRetentionLimit": 0,
        "kmsKeyId": None,
        "tags": {},
    }
    name_property = "replicationGroupId"
    unordered = frozenset({"securityGroupIds", "userGroupIds"})

    def create(self, inputs: Properties) -> str:
        name = str(inputs["replicationGroupId"])
        self.client.create_replication_group(
            **given(
                ReplicationGroupId=name,
                **{parameter: inputs.get(name) for name, parameter in _MODIFIED.items()},
                Engine=inputs["engine"],
                NumCacheClusters=inputs.get("numCacheClusters"),
                Port=inputs.get("port"),
                CacheSubnetGroupName=inputs.get("subnetGroupName"),
                UserGroupIds=inputs.get("userGroupIds"),
                AtRestEncryptionEnabled=inputs.get("atRestEncryptionEnabled"),
                KmsKeyId=inputs.get("kmsKeyId"),
                Tags=tag_list(inputs.get("tags")) or None,
            )
        )
        with completing(name):
            self._settled(name)
        return name

    def _settled(self, locator: str) -> None:
        self.client.get_waiter("replication_group_available").wait(ReplicationGroupId=locator, WaiterConfig=_AVAILABLE)

    def _found(self, locator: str) -> dict[str, Any] | None:
        try:
            return dict(self.client.describe_replication_groups(ReplicationGroupId=locator)["ReplicationGroups"][0])
        except self.client.exceptions.ReplicationGroupNotFoundFault:
            return None

    def read(self, locator: str) -> Properties | None:
        found = self._found(locator)
        if found is None or found["Status"] == "deleting":
            return None
        tags, (shard, *_) = self._tags(found["ARN"]), found["NodeGroups"]
        # The group itself does not tell where it is, and who reaches it.
        node = self.client.describe_cache_clusters(CacheClusterId=found["MemberClusters"][0])["CacheClusters"][0]
        return {
            "id": locator,
            "arn": found["ARN"],
            "replicationGroupId": locator,
            "description": found["Description"],
            "engine": found["Engine"],
            "engineVersion": ".".join(node["EngineVersion"].split(".")[:2]),
            "engineVersionActual": node["EngineVersion"],
            "nodeType": found["CacheNodeType"],
            "numCacheClusters": len(shard["NodeGroupMembers"]),
            "automaticFailoverEnabled": found["AutomaticFailover"] in ("enabled", "enabling"),
            "multiAzEnabled": found["MultiAZ"] == "enabled",
            "port": shard["PrimaryEndpoint"]["Port"],
            "primaryEndpointAddress": shard["PrimaryEndpoint"]["Address"],
            "subnetGroupName": node["CacheSubnetGroupName"],
            "securityGroupIds": [group["SecurityGroupId"] for group in node["SecurityGroups"]],
            "userGroupIds": found.get("UserGroupIds", []),
            "transitEncryptionEnabled": found["TransitEncryptionEnabled"],
            "transitEncryptionMode": found.get("TransitEncryptionMode"),
            "atRestEncryptionEnabled": found["AtRestEncryptionEnabled"],
            "autoMinorVersionUpgrade": found["AutoMinorVersionUpgrade"],
            "snapshotRetentionLimit": found["SnapshotRetentionLimit"],
            "tags": tags,
            "tagsAll": tags,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        before = self.read(locator) or {}
        count, had = inputs.get("numCacheClusters", 1), before["numCacheClusters"]
        if count > had:
            self._copies(self.client.increase_replica_count, locator, count)
        modified = {parameter: inputs.get(name) for name, parameter in _MODIFIED.items() if name in changed}
        if "userGroupIds" in changed:
            groups, now = set(inputs.get("userGroupIds", [])), set(before["userGroupIds"])
            modified |= {"UserGroupIdsToAdd": sorted(groups - now), "UserGroupIdsToRemove": sorted(now - groups)}
        if modified:
            self.client.modify_replication_group(
                ReplicationGroupId=locator,
                ApplyImmediately=bool(inputs.get("applyImmediately")),
                **given(**{name: value for name, value in modified.items() if value != []}),
            )
            self._settled(locator)
        # Last, because failover by itself wants a copy as long as it is on.
        if count < had:
            self._copies(self.client.decrease_replica_count, locator, count)
        if "tags" in changed:
            self._retag(locator, inputs.get("tags"))

    def _copies(self, change: Any, locator: str, nodes: int) -> None:
        change(ReplicationGroupId=locator, NewReplicaCount=nodes - 1, ApplyImmediately=True)
        self._settled(locator)

    def delete(self, locator: str, recorded: Properties) -> None:
        with contextlib.suppress(self.client.exceptions.ReplicationGroupNotFoundFault):
            self.client.delete_replication_group(ReplicationGroupId=locator)
        self.client.get_waiter("replication_group_deleted").wait(ReplicationGroupId=locator, WaiterConfig=_AVAILABLE)
