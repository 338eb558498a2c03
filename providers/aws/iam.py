"""IAM: roles and their inline policies; look-up of roles."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import unquote

from providers.base import (
    Context,
    Handler,
    Properties,
    ProviderError,
    completing,
    function,
    given,
    gone_tags,
    resource,
    tag_list,
    tag_map,
)


def _arn_prefix(context: Context) -> str:
    return f"arn:{context.partition}:iam::{context.account.account}"


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
        with completing(inputs["name"]):
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

    def find(self, inputs: Properties) -> str | None:
        role, name = inputs.get("role"), inputs.get("name")
        return self._if_there(f"{role}:{name}" if role and name else None)

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


@resource
class Policy(Handler):
    type = "aws:iam/policy:Policy"
    properties = frozenset({"name", "policy", "description", "path", "tags"})
    replacing = frozenset({"name", "description", "path"})
    defaults = {"tags": {}}
    name_property = "name"
    json_properties = frozenset({"policy"})

    def find(self, inputs: Properties) -> str | None:
        path = inputs.get("path", "/")
        return self._if_there(f"{_arn_prefix(self.context)}:policy{path}{inputs['name']}")

    def create(self, inputs: Properties) -> str:
        created = self.context.client("iam").create_policy(
            **given(
                PolicyName=inputs["name"],
                PolicyDocument=inputs["policy"],
                Description=inputs.get("description"),
                Path=inputs.get("path"),
                Tags=tag_list(inputs.get("tags")) or None,
            )
        )
        return str(created["Policy"]["Arn"])

    def read(self, locator: str) -> Properties | None:
        iam = self.context.client("iam")
        try:
            found = iam.get_policy(PolicyArn=locator)["Policy"]
        except iam.exceptions.NoSuchEntityException:
            return None
        version = iam.get_policy_version(PolicyArn=locator, VersionId=found["DefaultVersionId"])["PolicyVersion"]
        return {
            "id": locator,
            "arn": locator,
            "name": found["PolicyName"],
            "path": found["Path"],
            "description": found.get("Description", ""),
            "policy": _document(version["Document"]),
            "tags": tag_map(found.get("Tags")),
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        iam = self.context.client("iam")
        before = self.read(locator) or {}
        if "policy" in changed:
            # There can be five versions, so the old ones go.
            iam.create_policy_version(PolicyArn=locator, PolicyDocument=inputs["policy"], SetAsDefault=True)
            self._delete_old_versions(locator)
        if "tags" in changed:
            if gone := gone_tags(before["tags"], inputs.get("tags")):
                iam.untag_policy(PolicyArn=locator, TagKeys=gone)
            if inputs.get("tags"):
                iam.tag_policy(PolicyArn=locator, Tags=tag_list(inputs["tags"]))

    def _delete_old_versions(self, locator: str) -> None:
        iam = self.context.client("iam")
        for version in iam.list_policy_versions(PolicyArn=locator)["Versions"]:
            if not version["IsDefaultVersion"]:
                iam.delete_policy_version(PolicyArn=locator, VersionId=version["VersionId"])

    def delete(self, locator: str, recorded: Properties) -> None:
        iam = self.context.client("iam")
        with contextlib.suppress(iam.exceptions.NoSuchEntityException):
            self._delete_old_versions(locator)
            iam.delete_policy(PolicyArn=locator)


@resource
class RolePolicyAttachment(Handler):
    type = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    properties = frozenset({"role", "policyArn"})
    replacing = properties
    defaults = {}

    def find(self, inputs: Properties) -> str | None:
        role, arn = inputs.get("role"), inputs.get("policyArn")
        return self._if_there(f"{role}/{arn}" if role and arn else None)

    def create(self, inputs: Properties) -> str:
        self.context.client("iam").attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
        return f"{inputs['role']}/{inputs['policyArn']}"

    def read(self, locator: str) -> Properties | None:
        role, _, arn = locator.partition("/")
        iam = self.context.client("iam")
        try:
            attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        except iam.exceptions.NoSuchEntityException:
            return None
        known = any(policy["PolicyArn"] == arn for policy in attached)
        return {"id": locator, "role": role, "policyArn": arn} if known else None

    def delete(self, locator: str, recorded: Properties) -> None:
        role, _, arn = locator.partition("/")
        iam = self.context.client("iam")
        with contextlib.suppress(iam.exceptions.NoSuchEntityException):
            iam.detach_role_policy(RoleName=role, PolicyArn=arn)


@resource
class OpenIdConnectProvider(Handler):
    type = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    properties = frozenset({"url", "clientIdLists"})
    replacing = frozenset({"url", "clientIdLists"})  # Of the client ids the emulator cannot change any.
    recorded_only = {"tags": "the emulator cannot change the tags of an OIDC provider"}
    defaults = {}
    unordered = frozenset({"clientIdLists"})
    # There can be one of a URL.
    delete_before_replace = True

    def find(self, inputs: Properties) -> str | None:
        host = str(inputs["url"]).removeprefix("https://")
        return self._if_there(f"{_arn_prefix(self.context)}:oidc-provider/{host}")

    def create(self, inputs: Properties) -> str:
        created = self.context.client("iam").create_open_id_connect_provider(
            Url=inputs["url"], ClientIDList=inputs["clientIdLists"], Tags=tag_list(inputs.get("tags"))
        )
        return str(created["OpenIDConnectProviderArn"])

    def read(self, locator: str) -> Properties | None:
        iam = self.context.client("iam")
        try:
            found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=locator)
        except iam.exceptions.NoSuchEntityException:
            return None
        url = found["Url"] if found["Url"].startswith("https://") else f"https://{found['Url']}"
        return {"id": locator, "arn": locator, "url": url, "clientIdLists": found["ClientIDList"]}

    def delete(self, locator: str, recorded: Properties) -> None:
        iam = self.context.client("iam")
        with contextlib.suppress(iam.exceptions.NoSuchEntityException):
            iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=locator)


@function("aws:iam/getOpenIdConnectProvider:getOpenIdConnectProvider", "url")
def get_open_id_connect_provider(context: Context, args: Properties) -> Properties:
    host = args["url"].removeprefix("https://")
    listed = context.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]
    arns = [entry["Arn"] for entry in listed if entry["Arn"].endswith(f":oidc-provider/{host}")]
    if not arns:
        raise ProviderError(f"finding IAM OIDC Provider by url ({args['url']}): not found")
    return {"id": arns[0], "arn": arns[0], "url": args["url"]}
