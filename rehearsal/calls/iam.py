"""IAM: roles and their inline policies; look-up of roles."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import unquote

from rehearsal.calls.base import (
    Context,
    Handler,
    Properties,
    ProviderError,
    function,
    given,
    gone_tags,
    resource,
    tag_list,
    tag_map,
)


def _document(policy: Any) -> str:
    # boto3 decodes the URL-encoded documents that IAM returns into dictionaries, where they are JSON.
    return json.dumps(policy) if isinstance(policy, dict) else unquote(policy)


@resource
class Role(Handler):
    type = "aws:iam/role:Role"
    properties = frozenset(
        {
            "name",
            "assumeRolePolicy",
            "description",
            "managedPolicyArns",
            "maxSessionDuration",
            "path",
            "permissionsBoundary",
            "tags",
        }
    )
    replacing = frozenset({"name", "path"})
    steering = frozenset({"forceDetachPolicies"})
    defaults = {"description": "", "maxSessionDuration": 3600, "path": "/", "permissionsBoundary": None, "tags": {}}
    name_property = "name"
    json_properties = frozenset({"assumeRolePolicy"})
    unordered = frozenset({"managedPolicyArns"})

    def create(self, inputs: Properties) -> str:
        iam = self.context.client("iam")
        iam.create_role(
            **given(
                RoleName=inputs["name"],
                AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
                Path=inputs.get("path"),
                Description=inputs.get("description"),
                MaxSessionDuration=inputs.get("maxSessionDuration"),
                PermissionsBoundary=inputs.get("permissionsBoundary"),
                Tags=tag_list(inputs.get("tags")) or None,
            )
        )
        for arn in inputs.get("managedPolicyArns", []):
            iam.attach_role_policy(RoleName=inputs["name"], PolicyArn=arn)
        return str(inputs["name"])

    def read(self, locator: str) -> Properties | None:
        found = find_role(self.context, locator)
        if found is None:
            return None
        attached = self.context.client("iam").list_attached_role_policies(RoleName=locator)["AttachedPolicies"]
        return role_properties(found) | {"managedPolicyArns": [policy["PolicyArn"] for policy in attached]}

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        iam = self.context.client("iam")
        before = self.read(locator) or {}
        if "assumeRolePolicy" in changed:
            iam.update_assume_role_policy(RoleName=locator, PolicyDocument=inputs["assumeRolePolicy"])
        if changed & {"description", "maxSessionDuration"}:
            iam.update_role(
                RoleName=locator,
                Description=inputs.get("description", ""),
                MaxSessionDuration=inputs.get("maxSessionDuration", 3600),
            )
        if "permissionsBoundary" in changed:
            if inputs.get("permissionsBoundary"):
                iam.put_role_permissions_boundary(RoleName=locator, PermissionsBoundary=inputs["permissionsBoundary"])
            else:
                iam.delete_role_permissions_boundary(RoleName=locator)
        if "managedPolicyArns" in changed:
            wanted = inputs.get("managedPolicyArns", [])
            for arn in set(before["managedPolicyArns"]) - set(wanted):
                iam.detach_role_policy(RoleName=locator, PolicyArn=arn)
            for arn in set(wanted) - set(before["managedPolicyArns"]):
                iam.attach_role_policy(RoleName=locator, PolicyArn=arn)
        if "tags" in changed:
            if gone := gone_tags(before["tags"], inputs.get("tags")):
                iam.untag_role(RoleName=locator, TagKeys=gone)
            if inputs.get("tags"):
                iam.tag_role(RoleName=locator, Tags=tag_list(inputs["tags"]))

    def delete(self, locator: str, recorded: Properties) -> None:
        iam = self.context.client("iam")
        found = self.read(locator)
        if found is None:
            return
        # The provider detaches what is attached; inline policies it removes only by force.
        for arn in found["managedPolicyArns"]:
            iam.detach_role_policy(RoleName=locator, PolicyArn=arn)
        if recorded.get("forceDetachPolicies"):
            for name in iam.list_role_policies(RoleName=locator)["PolicyNames"]:
                iam.delete_role_policy(RoleName=locator, PolicyName=name)
        iam.delete_role(RoleName=locator)


def find_role(context: Context, name: str) -> dict[str, Any] | None:
    """The role as IAM describes it, or None."""
    iam = context.client("iam")
    try:
        return dict(iam.get_role(RoleName=name)["Role"])
    except iam.exceptions.NoSuchEntityException:
        return None


def role_properties(found: dict[str, Any]) -> Properties:
    """IAM's description in Pulumi's terms."""
    tags = tag_map(found.get("Tags"))
    return {
        "id": found["RoleName"],
        "name": found["RoleName"],
        "arn": found["Arn"],
        "uniqueId": found["RoleId"],
        "assumeRolePolicy": _document(found["AssumeRolePolicyDocument"]),
        "description": found.get("Description", ""),
        "maxSessionDuration": found.get("MaxSessionDuration", 3600),
        "path": found["Path"],
        "permissionsBoundary": found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", ""),
        "createDate": found["CreateDate"].isoformat(),
        "tags": tags,
        "tagsAll": tags,
    }


@resource
class RolePolicy(Handler):
    type = "aws:iam/rolePolicy:RolePolicy"
    properties = frozenset({"name", "role", "policy"})
    replacing = frozenset({"name", "role"})
    defaults = {}
    name_property = "name"
    json_properties = frozenset({"policy"})

    def create(self, inputs: Properties) -> str:
        self.context.client("iam").put_role_policy(
            RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=inputs["policy"]
        )
        return f"{inputs['role']}:{inputs['name']}"

    def read(self, locator: str) -> Properties | None:
        role, _, name = locator.partition(":")
        iam = self.context.client("iam")
        try:
            found = iam.get_role_policy(RoleName=role, PolicyName=name)
        except iam.exceptions.NoSuchEntityException:
            return None
        return {"id": locator, "role": role, "name": name, "policy": _document(found["PolicyDocument"])}

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        role, _, name = locator.partition(":")
        self.context.client("iam").put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=inputs["policy"])

    def delete(self, locator: str, recorded: Properties) -> None:
        role, _, name = locator.partition(":")
        iam = self.context.client("iam")
        with contextlib.suppress(iam.exceptions.NoSuchEntityException):
            iam.delete_role_policy(RoleName=role, PolicyName=name)


@function("aws:iam/getRole:getRole", "name")
def get_role(context: Context, args: Properties) -> Properties:
    found = find_role(context, args["name"])
    if found is None:
        raise ProviderError(f"reading IAM Role ({args['name']}): couldn't find resource: no role with this name")
    return role_properties(found)
