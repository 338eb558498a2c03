"""Roles and policies: who may do what."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from typing import Any

from policies.rule import Resource, Severity, Stack, rule
from policies.rules import documents

_ROLE = "aws:iam/role:Role"
_POLICIES = frozenset(
    {
        _ROLE,
        "aws:iam/policy:Policy",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:iam/userPolicy:UserPolicy",
        "aws:iam/groupPolicy:GroupPolicy",
    }
)
_ATTACHMENTS = frozenset(
    {
        _ROLE,
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "aws:iam/userPolicyAttachment:UserPolicyAttachment",
        "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
        "aws:iam/policyAttachment:PolicyAttachment",
    }
)
_GITHUB = "token.actions.githubusercontent.com"
_AUDIENCE = "sts.amazonaws.com"

# Actions that know no resources, or only list names (of buckets; those of their objects say whose tokens they are):
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
_WITHOUT_RESOURCE = (
    "*:Describe*",
    "*:List*",
    "cloudwatch:GetMetric*",
    "cloudwatch:PutMetricData",
    "ecr:GetAuthorizationToken",
    "ecs:DeregisterTaskDefinition",
    "ecs:RegisterTaskDefinition",
    "logs:DeleteQueryDefinition",
    "logs:PutQueryDefinition",
    "route53:GetChange",
    "secretsmanager:GetRandomPassword",
    "servicediscovery:DiscoverInstances",
    "servicediscovery:GetOperation",
    "servicediscovery:TagResource",
    "servicediscovery:UntagResource",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
    "sts:GetCallerIdentity",
    "xray:Put*",
)


def _allowed(resource: Resource) -> Iterator[Mapping[str, Any]]:
    """Statements that allow something, of a policy or of those inside of a role."""
    if resource.type == _ROLE:
        for policy in resource.items("inlinePolicies"):
            yield from documents.statements(Resource("", "", "", policy).document("policy"))
    else:
        yield from documents.statements(resource.document("policy"))


@rule(
    id="iam-policy-disallow-wildcard-actions",
    controls=(
        "IAM.1",
        "IAM.21",
        "CKV_AWS_62",
        "CKV_AWS_63",
        "CKV_AWS_286",
        "CKV_AWS_287",
        "CKV_AWS_289",
        "CKV2_AWS_40",
    ),
    severity=Severity.CRITICAL,
    description="Policies name actions; none allows all of a service.",
    why="who gets hold of the server gets all of that, iam:PassRole and deletion included.",
    remedy="list the actions that are used.",
    types=_POLICIES,
)
def no_wild_actions(resource: Resource, _: Stack) -> Iterator[str]:
    for statement in _allowed(resource):
        if "NotAction" in statement:
            yield f"{documents.name(statement)} allows all actions but some (NotAction)"
        for action in documents.actions(statement):
            if documents.is_every_action(action):
                yield f"{documents.name(statement)} allows {action}"


@rule(
    id="iam-policy-disallow-wildcard-resources",
    controls=("CKV_AWS_288", "CKV_AWS_290", "CKV_AWS_355"),
    severity=Severity.HIGH,
    description="Policies name resources, for every action that knows resources.",
    why="who gets hold of the server reaches what other services have in the account.",
    remedy="write the ARN, with the resource's own name; services.<service>.permissions does.",
    types=_POLICIES,
)
def no_wild_resources(resource: Resource, _: Stack) -> Iterator[str]:
    for statement in _allowed(resource):
        if "NotResource" in statement:
            yield f"{documents.name(statement)} covers all resources but some (NotResource)"
        wild = [text for text in documents.texts(statement.get("Resource")) if _is_wild(text)]
        if any(_says_whose(key, tests) for key, tests in documents.conditions(statement).items()):
            continue
        restrictable = [action for action in documents.actions(statement) if not _knows_no_resource(action.lower())]
        if wild and restrictable:
            yield f"{documents.name(statement)} allows {', '.join(restrictable)} on {', '.join(wild)}"


def _knows_no_resource(action: str) -> bool:
    return not fnmatch.fnmatchcase(action, "s3:list[bm*?]*") and any(
        fnmatch.fnmatchcase(action, known.lower()) for known in _WITHOUT_RESOURCE
    )


def _says_whose(key: str, tests: list[tuple[str, str]]) -> bool:
    """Whether a condition limits a statement to resources with certain tags, or to tagging what is being made: the one
    way where AWS makes up the names."""
    return re.fullmatch(
        r"aws:(resource|request)tag/.+|(ec2|elasticloadbalancing):createaction", key
    ) is not None and all(operator == "StringEquals" for operator, _ in tests)


# After a resource's type: nothing but wildcards, and the fixed words before a part of it.
_NO_NAME = re.compile(r"[*?:/-]*([:/](index|stream|log-stream)[*?:/-]*)*")


def _is_wild(resource: str) -> bool:
    """Whether nothing of the resource's own name is said: `*`, `arn:aws:s3:::*`, `arn:aws:iam::1:role/?*`."""
    if not re.search(r"[*?]", resource):
        return False
    if resource.count(":") < 5:
        return True
    _, _, service, _, _, own = resource.split(":", 5)
    # An object's ARN begins with its bucket, a topic's or queue's is its name; other resources' begin with their type.
    if service in ("s3", "sns", "sqs"):
        return own.startswith(("*", "?"))
    return _NO_NAME.fullmatch(re.sub(r"^[^:/]*[:/]?", "", own)) is not None


@rule(
    id="iam-policy-limit-decrypt",
    controls=("KMS.1", "KMS.2"),
    severity=Severity.HIGH,
    description="Policies allow decryption with named keys only.",
    why="every secret and object of the account could be decrypted.",
    remedy="write the key's ARN, or limit by kms:ViaService.",
    types=_POLICIES,
)
def no_wild_decrypt(resource: Resource, _: Stack) -> Iterator[str]:
    for statement in _allowed(resource):
        decrypts = [
            action
            for action in documents.actions(statement)
            if any(fnmatch.fnmatchcase(known, action.lower()) for known in ("kms:decrypt", "kms:reencryptfrom"))
        ]
        keys = [text for text in documents.texts(statement.get("Resource")) if _is_wild(text)]
        services = documents.conditions(statement).get("kms:viaservice", [])
        if decrypts and keys and not _name_services(services):
            yield f"{documents.name(statement)} allows {', '.join(decrypts)} with {', '.join(keys)}"


def _name_services(tests: list[tuple[str, str]]) -> bool:
    """Whether tests of `kms:ViaService` name services, in whichever region: `s3.*.amazonaws.com`."""
    return bool(tests) and all(
        operator in ("StringEquals", "StringLike") and re.match(r"[\w-]+\.", service) for operator, service in tests
    )


@rule(
    id="iam-role-narrow-trust",
    controls=("CKV_AWS_60", "CKV_AWS_61"),
    severity=Severity.CRITICAL,
    description="Roles say who may take them.",
    why="anybody, or everybody in an account, could act as the service.",
    remedy="name the service or the role as Principal, and limit by aws:SourceAccount.",
    types=frozenset({_ROLE}),
)
def narrow_trust(role: Resource, _: Stack) -> Iterator[str]:
    for statement in documents.statements(role.document("assumeRolePolicy")):
        for kind, principal in documents.principals(statement):
            if principal == "*" and kind in ("*", "AWS") and not documents.limited(statement):
                yield "everybody, in any account, may take it"
            elif principal == "*":
                yield f"every {kind.lower()} may take it"
            elif kind == "AWS" and re.fullmatch(r"\d{12}|arn:[^:]+:iam::\d{12}:root", principal):
                yield f"everybody in account {re.sub('[^0-9]', '', principal)} may take it"
        if "NotPrincipal" in statement:
            yield "all but some may take it (NotPrincipal)"


@rule(
    id="iam-role-disallow-administrator",
    controls=("CKV_AWS_274", "CKV2_AWS_56"),
    severity=Severity.CRITICAL,
    description="Nothing gets an administrator's policy.",
    why="who gets hold of the server or of the pipeline gets the account.",
    remedy="a policy with the actions that are used.",
    types=_ATTACHMENTS,
)
def no_administrator(resource: Resource, _: Stack) -> Iterator[str]:
    named = resource.items("managedPolicyArns") if resource.type == _ROLE else [resource.get("policyArn")]
    for arn in named:
        policy = str(arn or "").rpartition("/")[2]
        if policy in ("AdministratorAccess", "IAMFullAccess", "PowerUserAccess"):
            yield f"it has {policy}"


@rule(
    id="iam-role-limit-github-subject",
    controls=("CKV_AWS_358", "CKV_AWS_393"),
    severity=Severity.CRITICAL,
    description="A role for GitHub Actions is for one repository, and a branch or environment of it.",
    why="a fork, a pull request, or anybody's repository could deploy.",
    remedy=f"StringEquals on {_GITHUB}:sub (repo:OWNER/NAME:environment:NAME) and :aud ({_AUDIENCE}).",
    types=frozenset({_ROLE}),
)
def github_limited(role: Resource, _: Stack) -> Iterator[str]:
    for statement in documents.statements(role.document("assumeRolePolicy")):
        if not any(kind == "Federated" and _GITHUB in one for kind, one in documents.principals(statement)):
            continue
        conditions = documents.conditions(statement)
        subjects = conditions.get(f"{_GITHUB}:sub", [])
        if not subjects:
            yield "any repository on GitHub may take it: there is no condition on the subject"
        for operator, subject in subjects:
            if operator not in ("StringEquals", "StringLike") or not re.fullmatch(
                r"repo:[^/*?:]+/[^/*?:]+:[^*?]+", subject
            ):
                yield f"its condition on the subject ({operator} {subject}) does not name one repository and its branch"
            elif subject.endswith(":pull_request"):
                yield f"pull requests may take it ({subject})"
        audiences = conditions.get(f"{_GITHUB}:aud", [])
        if not audiences:
            yield "tokens meant for others are taken: there is no condition on the audience"
        for operator, audience in audiences:
            if operator not in ("StringEquals", "StringLike") or audience != _AUDIENCE:
                yield f"tokens meant for others are taken: its condition on the audience is {operator} {audience}"
