"""The account beside the provider: boto3 clients for the few questions that no Pulumi look-up answers, and for `./ops`.

They ask as the aws provider does, by what the stack's configuration says of it (`aws:...`), so that what is asked and
what is deployed are in one account. Where both come from: https://www.pulumi.com/registry/packages/aws/api-docs/provider/
and, for the order in which credentials are tried, hashicorp/aws-sdk-go-base. How the way to AWS is set (proxies,
certificates, retries) both take from the environment's own variables.
"""

from __future__ import annotations

import functools
import json
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pulumi
from pulumi.runtime import config as runtime_config
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    import boto3

NAMESPACE = "aws"
"""Of the provider's keys in a stack's file."""

_ENDPOINT_NAMES = {
    "ce": ("costexplorer",),
    "elbv2": ("elasticloadbalancingv2",),
    "events": ("cloudwatchevents", "eventbridge"),
    "logs": ("cloudwatchlogs", "cloudwatchlog"),
}
"""boto3's name of a service -> further names by which the provider's `endpoints` know it."""

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}


class AccountError(pulumi.RunError):
    """The provider's configuration cannot be read; the message has every mistake, each with its key."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(["The configuration of the aws provider is wrong:", *mistakes]))


def _seconds(text: object) -> object:
    """Go's notation of a span of time, such as 1h30m, in seconds."""
    if not isinstance(text, str):
        return text
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("is no span of time; write 15m, 1h or 1h30m")
    return int(sum(float(number) * _SECONDS[unit] for number, unit in parts))


class _Configured(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, extra="ignore", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )


class _Assumed(_Configured):
    """A role that is assumed; in a chain with the credentials of the one before."""

    role_arn: str
    """ARN of the role."""
    duration: Annotated[int | None, BeforeValidator(_seconds)] = None
    """Seconds; default: what STS gives, an hour."""
    policy: str | None = None
    """A session policy (JSON) that narrows the role. Default: none."""
    policy_arns: tuple[str, ...] = ()
    """Managed policies that narrow the role. Default: none."""
    session_name: str | None = None
    """Name of the session in CloudTrail. Default: made up by boto3."""

    def arguments(self) -> dict[str, Any]:
        """What STS is asked, beside the role."""
        asked = {
            "DurationSeconds": self.duration,
            "Policy": self.policy,
            "PolicyArns": [{"arn": arn} for arn in self.policy_arns],
            "RoleSessionName": self.session_name,
        }
        return {name: value for name, value in asked.items() if value}


class AssumedRole(_Assumed):
    """A member of `aws:assumeRoles`."""

    external_id: str | None = None
    """What the role's owner has agreed on with who assumes it. Default: none."""
    source_identity: str | None = None
    """Who is behind the session. Default: not said."""
    tags: Mapping[str, str] = Field(default_factory=dict)
    """Tags of the session. Default: none."""
    transitive_tag_keys: tuple[str, ...] = ()
    """Those of the tags that go on along the chain. Default: none."""

    def arguments(self) -> dict[str, Any]:
        """What STS is asked, beside the role."""
        asked = {
            "ExternalId": self.external_id,
            "SourceIdentity": self.source_identity,
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
            "TransitiveTagKeys": list(self.transitive_tag_keys),
        }
        return super().arguments() | {name: value for name, value in asked.items() if value}


class WebIdentity(_Assumed):
    """`aws:assumeRoleWithWebIdentity`."""

    web_identity_token: str | None = None
    """The token itself; a secret. Default: it is in the file."""
    web_identity_token_file: str | None = None
    """File of the token. Default: the token is given itself."""

    @model_validator(mode="after")
    def _has_a_token(self) -> WebIdentity:
        if not (self.web_identity_token or self.web_identity_token_file):
            raise ValueError("needs webIdentityToken or webIdentityTokenFile")
        return self

    def token(self) -> str:
        """The token, read anew each time from its file, because whoever writes the file renews it."""
        return self.web_identity_token or Path(str(self.web_identity_token_file)).expanduser().read_text()


class Provider(_Configured):
    """What the provider's configuration says of who asks, and whom. Everything else in it is the provider's alone."""

    region: str | None = None
    """Region. Default: the environment's."""
    profile: str | None = None
    """Profile of the shared files. Default: the environment's."""
    access_key: str | None = None
    """Id of an access key; with `secret_key`. Default: the environment's."""
    secret_key: str | None = None
    """The key itself; a secret."""
    token: str | None = None
    """Token of a session, where the key is of one; a secret."""
    shared_config_files: tuple[str, ...] = Field(default=(), max_length=1)
    """The shared configuration file, of which boto3 reads one. Default: the environment's."""
    shared_credentials_files: tuple[str, ...] = Field(default=(), max_length=1)
    """The shared credentials file, of which boto3 reads one. Default: the environment's."""
    assume_role_with_web_identity: WebIdentity | None = None
    """A role that is assumed by a token. Default: none."""
    assume_roles: tuple[AssumedRole, ...] = ()
    """Roles that are assumed one after the other. Default: none."""
    sts_region: str | None = None
    """Region whose STS is asked. Default: `region`."""
    endpoints: tuple[Mapping[str, str], ...] = ()
    """Service -> address, where it is not AWS's own."""
    use_fips_endpoint: bool | None = None
    """Whether FIPS endpoints are asked. Default: the environment's choice."""
    use_dualstack_endpoint: bool | None = None
    """Whether dual-stack endpoints are asked. Default: the environment's choice."""
    allowed_account_ids: tuple[str, ...] = ()
    """Accounts that may be worked in. Default: any."""
    forbidden_account_ids: tuple[str, ...] = ()
    """Accounts that may not be worked in. Default: none."""

    def endpoint(self, service: str) -> str | None:
        """The address that the configuration gives for a service, by boto3's name."""
        given = {name.lower(): url for group in self.endpoints for name, url in group.items()}
        names = (service.replace("-", ""), *_ENDPOINT_NAMES.get(service, ()))
        return next((given[name] for name in names if given.get(name)), None)

    def admits(self, account: str) -> bool:
        """Whether the provider works in this account."""
        wanted = not self.allowed_account_ids or account in self.allowed_account_ids
        return wanted and account not in self.forbidden_account_ids

    def admitted(self) -> str:
        """In words, which accounts those are."""
        words = [f"for {', '.join(self.allowed_account_ids)}"] if self.allowed_account_ids else []
        words += [f"never for {', '.join(self.forbidden_account_ids)}"] if self.forbidden_account_ids else []
        return " and ".join(words)


_KEYS = {f"{NAMESPACE}:{to_camel(name)}" for name in Provider.model_fields}
_IDENTITY = _KEYS - {f"{NAMESPACE}:{name}" for name in ("region", "allowedAccountIds", "forbiddenAccountIds")}


def without_identity(config: Mapping[str, str]) -> dict[str, str]:
    """`config` without what says who asks and by which way: for an account that takes anybody, as an emulated one."""
    return {key: value for key, value in config.items() if key not in _IDENTITY}


def encrypted(config: Mapping[str, str]) -> list[str]:
    """Keys of the provider, of those that are read here, which are encrypted in the stack's file, or have a part that
    is."""
    return sorted(key for key in _KEYS & config.keys() if re.search(r'\{\s*"secure"\s*:', config[key]))


def provider(config: Mapping[str, str]) -> Provider:
    """What `config` (full key -> text, objects as JSON) says of the provider. Raises `AccountError`."""
    values: dict[str, Any] = {}
    mistakes: list[str] = []
    for key in sorted(key for key in _KEYS & config.keys() if config[key]):
        name, text = key.partition(":")[2], config[key]
        try:
            values[name] = json.loads(text) if text[:1] in ("[", "{") else text
        except ValueError:
            mistakes.append(f"  {key} is not the JSON that it begins as")
    try:
        read = Provider.model_validate(values)
    except ValidationError as error:
        # Without the values, of which some are secret.
        mistakes += [
            f"  {NAMESPACE}:{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
    if mistakes:
        raise AccountError(mistakes)
    return read


def session(who: Provider) -> boto3.Session:
    """A boto3 session that is who the provider is. Roles are assumed at the first call, and anew when they expire.

    Raises botocore's `ProfileNotFound` and `NoCredentialsError`.
    """
    # Here, because a program that asks nothing beside the provider, as `./ops cost` runs it, does without.
    import boto3
    import botocore.session
    from botocore import credentials
    from botocore.exceptions import NoCredentialsError

    def fresh() -> botocore.session.Session:
        made = botocore.session.Session(profile=who.profile)
        for variable, files in (
            ("config_file", who.shared_config_files),
            ("credentials_file", who.shared_credentials_files),
        ):
            if files:
                made.set_config_variable(variable, files[0])
        return made

    # boto3 does not know AWS_REGION, which the provider asks first.
    region = who.region or os.environ.get("AWS_REGION") or fresh().get_config_variable("region")
    sts = functools.partial(
        fresh().create_client, region_name=who.sts_region or region, endpoint_url=who.endpoint("sts")
    )

    def assumed(fetcher: credentials.CachedCredentialFetcher) -> credentials.Credentials:
        return credentials.DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")

    if who.access_key or who.secret_key or who.token:
        source = credentials.Credentials(who.access_key, who.secret_key, who.token)
    elif web := who.assume_role_with_web_identity:
        source = assumed(
            credentials.AssumeRoleWithWebIdentityCredentialFetcher(
                sts, web.token, web.role_arn, extra_args=web.arguments()
            )
        )
    else:
        source = fresh().get_credentials()
    for role in who.assume_roles:
        if source is None:
            raise NoCredentialsError
        source = assumed(
            credentials.AssumeRoleCredentialFetcher(sts, source, role.role_arn, extra_args=role.arguments())
        )

    class Found(credentials.CredentialProvider):  # type: ignore[misc]
        METHOD = "provider"

        def load(self) -> credentials.Credentials | None:
            return source

    made = fresh()
    made.register_component("credential_provider", credentials.CredentialResolver([Found()]))
    return boto3.Session(botocore_session=made, region_name=region)


def clients(who: Provider, asking: boto3.Session | None = None) -> Callable[[str], Any]:
    """What gives the boto3 client of a service by its name; each is made once, and may be shared between threads."""
    from botocore.config import Config

    lock, made = threading.Lock(), dict[str, Any]()
    asking = asking or session(who)

    def client(service: str) -> Any:
        with lock:  # A session may not make two clients at once.
            if service not in made:
                made[service] = asking.client(
                    service,
                    endpoint_url=who.endpoint(service),
                    config=Config(
                        use_fips_endpoint=who.use_fips_endpoint, use_dualstack_endpoint=who.use_dualstack_endpoint
                    ),
                )
            return made[service]

    return client


@functools.cache
def _of_the_program() -> Callable[[str], Any]:
    return clients(provider({**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}))


def client(service: str) -> Any:
    """A boto3 client for `service` with which the running program asks as its aws provider does."""
    return _of_the_program()(service)
