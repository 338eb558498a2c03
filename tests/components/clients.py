"""boto3's clients, as they answer of a test's account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from tests.components.program import Account, arn


class Named:
    """Stands for boto3's clients where the program asks whose the names are that it would use."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def get_role(self, *, RoleName: str) -> dict[str, Any]:
        return {"Role": {"RoleName": RoleName, "Tags": self._tags(RoleName, "NoSuchEntity")}}

    def list_tags_for_resource(self, *, ResourceArn: str = "", ResourceARN: str = "") -> dict[str, Any]:
        return {"Tags": self._tags((ResourceArn or ResourceARN).split(":")[-1], "ResourceNotFound")}

    def get_dashboard(self, *, DashboardName: str) -> dict[str, Any]:
        return {"DashboardBody": self._named(DashboardName, "ResourceNotFound")}

    def describe_secret(self, *, SecretId: str) -> dict[str, Any]:
        if self.account.named.get(SecretId) == "refused":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "DescribeSecret")
        return {"VersionIdsToStages": {"1": ["AWSCURRENT"]}} if SecretId in self.account.filled else {}

    def get_random_password(self, *, PasswordLength: int, ExcludePunctuation: bool) -> dict[str, Any]:
        assert PasswordLength >= 32 and ExcludePunctuation
        return {"RandomPassword": "planted-password".ljust(PasswordLength, "0")}

    def put_secret_value(self, *, SecretId: str, SecretString: str) -> None:
        self.account.filled[SecretId] = SecretString

    def describe_users(self, *, UserId: str) -> dict[str, Any]:
        if self.account.named.get(UserId) == "refused":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "DescribeUsers")
        kind = "password" if UserId in self.account.cache_users else "iam"
        return {"Users": [{"Status": "active", "Authentication": {"Type": kind}}]}

    def modify_user(self, *, UserId: str, AuthenticationMode: dict[str, Any]) -> None:
        assert AuthenticationMode["Type"] == "password"
        (self.account.cache_users[UserId],) = AuthenticationMode["Passwords"]

    def get_paginator(self, operation: str) -> Named:
        assert operation in ("list_services", "list_secrets")
        return self

    def paginate(self, *, Filters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        if Filters[0]["Key" if "Key" in Filters[0] else "Name"] == "name":
            (beginning,) = Filters[0]["Values"]
            for name, key in self.account.secrets.items():
                if name.startswith(beginning):
                    yield {"SecretList": [{"Name": name, **({"KmsKeyId": key} if key else {})}]}
            return
        assert Filters == [{"Name": "NAMESPACE_ID", "Values": ["ns-1"], "Condition": "EQ"}]
        for name in self.account.named:  # A page each.
            yield {"Services": [{"Name": name, "Arn": f"arn:aws:servicediscovery:::{name}"}]}

    def _tags(self, name: str, missing: str) -> list[dict[str, str]]:
        return [{"Key": key, "Value": value} for key, value in self._named(name, missing).items()]

    def _named(self, name: str, missing: str) -> Any:
        found = self.account.named.get(name)
        if found is None or found == "refused":
            code = missing if found is None else "AccessDenied"
            raise ClientError({"Error": {"Code": code, "Message": "not you"}}, "Get")
        return found


class S3:
    """Stands for boto3's clients where the program asks for a bucket's policy, rules and key."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def get_bucket_policy(self, *, Bucket: str) -> dict[str, Any]:
        return {"Policy": json.dumps(self._set(Bucket, "policy", "NoSuchBucketPolicy"))}

    def get_bucket_lifecycle_configuration(self, *, Bucket: str) -> dict[str, Any]:
        return {"Rules": self._set(Bucket, "rules", "NoSuchLifecycleConfiguration")}

    def get_bucket_encryption(self, *, Bucket: str) -> dict[str, Any]:
        found = self.account.bucket_settings.get(Bucket, {})
        if refusal := found.get("refusal"):
            raise ClientError({"Error": {"Code": refusal, "Message": "not you"}}, "Get")
        key = found.get("key")
        default = {"SSEAlgorithm": "aws:kms", **({"KMSMasterKeyID": key} if key else {})}
        return {"ServerSideEncryptionConfiguration": {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}}

    def describe_key(self, *, KeyId: str) -> dict[str, Any]:
        manager = "AWS" if KeyId.startswith("alias/aws/") else "CUSTOMER"
        if KeyId == "gone":
            raise ClientError({"Error": {"Code": "NotFoundException", "Message": "no such key"}}, "DescribeKey")
        return {"KeyMetadata": {"Arn": arn("kms", f"key/{KeyId.rpartition('/')[2]}"), "KeyManager": manager}}

    def _set(self, bucket: str, name: str, missing: str) -> Any:
        found = self.account.bucket_settings.get(bucket, {})
        if refusal := found.get("refusal"):
            raise ClientError({"Error": {"Code": refusal, "Message": "not you"}}, "Get")
        if name not in found:
            raise ClientError({"Error": {"Code": missing, "Message": "there is none"}}, "Get")
        return found[name]


class Elbv2:
    """Stands for boto3's clients where the program asks for a listener's rules and certificates."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def get_paginator(self, operation: str) -> Elbv2:
        assert operation in ("describe_rules", "describe_listener_certificates")
        return self

    def paginate(self, *, ListenerArn: str) -> Iterator[dict[str, Any]]:
        assert ListenerArn.startswith(arn("elasticloadbalancing", "listener/"))
        for rule in self.account.rules:  # A page each: that pages are put together is part of what is tested.
            yield {"Rules": [rule], "Certificates": []}
        for certificate in self.account.certificates:
            yield {"Rules": [], "Certificates": [{"CertificateArn": certificate}]}

    def describe_certificate(self, *, CertificateArn: str) -> dict[str, Any]:
        first, *others = self.account.certificates[CertificateArn]
        return {"Certificate": {"DomainName": first, "SubjectAlternativeNames": [first, *others]}}


class Ecs:
    """Stands for boto3's client where the program asks what a service runs."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def update_service(self, *, service: str, taskDefinition: str = "", **_: Any) -> dict[str, Any]:
        family = service.removesuffix("-service")
        strategy = [{"capacityProvider": name} for name in self.account.runs_on]
        running = self.account.running or taskDefinition or arn("ecs", f"task-definition/{family}:1")
        return {"service": {**_service(running), "serviceName": service, "capacityProviderStrategy": strategy}}

    def describe_clusters(self, *, clusters: list[str]) -> dict[str, Any]:
        names = [name for name in clusters if name in self.account.clusters]
        return {"clusters": [{"clusterName": name, **self.account.capacity} for name in names]}

    def describe_services(self, *, services: list[str], **_: Any) -> dict[str, Any]:
        return {"services": [self.update_service(service=name)["service"] for name in services]}

    def describe_task_definition(self, *, taskDefinition: str) -> dict[str, Any]:
        url = self.account.external_url
        variables = [{"name": "WORKSPACE_EXTERNAL_URL", "value": url}] if url else []
        return {"taskDefinition": {"containerDefinitions": [{"environment": variables}, {}]}}

    def list_tasks(self, **_: Any) -> dict[str, Any]:
        return {"taskArns": []}


def _service(task_definition: str) -> dict[str, Any]:
    counts = {"runningCount": 1, "desiredCount": 1, "rolloutState": "COMPLETED"}
    deployment = {"id": "ecs-svc/1", "status": "PRIMARY", "taskDefinition": task_definition, "createdAt": 1, **counts}
    return {"status": "ACTIVE", "taskDefinition": task_definition, "deployments": [deployment], "events": []}


class Ecr:
    """Stands for boto3's client where the program asks for images by tag or digest, and tags them."""

    class exceptions:  # boto3's name.
        class ImageAlreadyExistsException(Exception):
            pass

    def __init__(self, account: Account) -> None:
        self.account = account

    def batch_get_image(self, *, imageIds: list[dict[str, str]], **_: Any) -> dict[str, Any]:
        found, missing = [], []
        for wanted in imageIds:
            digest = wanted.get("imageDigest") or self.account.images.get(wanted["imageTag"])
            if digest in self.account.images.values():
                found.append({"imageId": {"imageDigest": digest}, "imageManifest": "{}", "imageManifestMediaType": ""})
            else:
                missing.append({"imageId": wanted})
        return {"images": found, "failures": missing}

    def put_image(self, *, imageDigest: str, imageTag: str, **_: Any) -> None:
        self.account.images[imageTag] = imageDigest

    def describe_repositories(self, *, repositoryNames: list[str]) -> dict[str, Any]:
        return {"repositories": [{"repositoryArn": arn("ecr", f"repository/{repositoryNames[0]}")}]}

    def list_tags_for_resource(self, *, resourceArn: str) -> dict[str, Any]:
        return {"tags": [{"Key": key, "Value": value} for key, value in self.account.repository_tags.items()]}
