"""Grants: the tables of rights, filled in with the stack's facts and with what the program declares."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pulumi

from components import rollout
from components.delivery.declared import Declared
from components.delivery.names import PARTS, provider_arn, role_name
from components.delivery.right import Right
from components.delivery.rights import ALWAYS, RIGHTS
from components.estate import Estate
from components.settings import Settings

Facts = Mapping[str, Iterable[str]]
"""Name -> values; a template with a fact that has no value names nothing."""


class UnknownRights(pulumi.RunError):
    """The program declares a resource of a type for which no rights are written down."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grant:
    """A `Right` of this stack: its texts are filled in."""

    sid: str
    """Id of its statement, letters and digits."""
    resources: tuple[str, ...]
    """ARNs, or * where the actions know no resources; none: there is nothing to grant."""
    read: tuple[str, ...] = ()
    """Actions that a preview needs as well."""
    write: tuple[str, ...] = ()
    """Actions that a deployment needs besides."""
    condition: Mapping[str, Mapping[str, str | list[str]]] = dataclasses.field(default_factory=dict)
    """An IAM condition on all of them. Default: none."""


def grants(settings: Settings, estate: Estate, declared: Sequence[Declared]) -> Iterator[Grant]:
    """All rights that deploying `declared` takes, each with an Sid of its own. Raises `UnknownRights`."""
    known = facts(settings, estate)
    for right in ALWAYS:
        yield _granted(right, "", known, declared)
    for type_ in sorted({resource.type for resource in declared if resource.type.startswith(("aws:", "docker:"))}):
        if type_ not in RIGHTS:
            names = ", ".join(resource.name for resource in declared if resource.type == type_)
            raise UnknownRights(
                f"The pipeline's role has no rights for {type_} ({names}); nothing was changed. Add to RIGHTS in "
                "components/delivery/rights what the provider does with it."
            )
        for right in RIGHTS[type_]:
            yield _granted(right, type_, known, declared)


def facts(settings: Settings, estate: Estate) -> Facts:
    """What templates may name beside a resource's inputs."""
    services, delivery = list(settings.services.values()), settings.delivery
    assert delivery
    topic = delivery.topic or (settings.monitoring.topics.deployments if settings.monitoring else None)
    keys = [*estate.bucket_keys.values(), *(key for keys in estate.permitted_keys.values() for key in keys)]
    keys += [secret.kms_key for secret in estate.secrets.values() if secret.kms_key]
    return {
        "partition": [estate.partition],
        "region": [estate.region],
        "account": [estate.account],
        "environment": [settings.environment],
        "service_tag": [settings.tags_for(service)["Service"] for service in services],
        "service": sorted({service.name for service in services}),
        "vpc": [estate.vpc],
        "cluster": [estate.cluster],
        "cluster_name": [estate.cluster_name],
        "namespace": [estate.namespace],
        "listener": [estate.listener] if estate.listener else [],
        "listener_rule": [estate.listener.replace(":listener/", ":listener-rule/")] if estate.listener else [],
        "secret": [secret.arn for secret in estate.secrets.values()],
        "bucket": [name for service in services for name in service.buckets],
        "customers_key": keys,
        "table_key": [
            key for service in services if (key := getattr(service.oauth_state, "kms_key", None)) is not None
        ],
        "cache_key": [cache.kms_key for s in services if (cache := s.oauth_cache) and cache.kms_key],
        # Listing knows no resources.
        "if_secrets_permitted": ["*"] if any(service.permissions.secrets for service in services) else [],
        "execution_role": estate.execution_roles.values(),
        "zone": estate.hosted_zones.values(),
        "healthy": [rollout.healthy_parameter(settings.parameter_prefix, "").rstrip("/")],
        "pipeline_role": [role_name(settings, part) for part in PARTS],
        "github": [provider_arn(estate)],
        "state_bucket": [delivery.state_bucket],
        "state_bucket_key": [estate.state_bucket_key] if estate.state_bucket_key else [],
        "state_key": [delivery.state_key],
        "topic": [topic] if topic else [],
    }


def _granted(right: Right, type_: str, known: Facts, declared: Sequence[Declared]) -> Grant:
    about = [resource for resource in declared if resource.type == (right.of or type_)]
    if right.sibling:
        parents = {id(resource.parent) for resource in declared if resource.type == right.sibling}
        about = [resource for resource in about if id(resource.parent) in parents]
    inputs = [resource.inputs for resource in about]
    return Grant(
        sid=right.sid,
        resources=tuple(_filled(right.on, known, inputs)),
        read=right.read,
        write=right.write,
        condition={
            operator: {
                key: _brief(_filled((values,) if isinstance(values, str) else values, known, inputs))
                for key, values in keys.items()
            }
            for operator, keys in right.condition.items()
        },
    )


def _brief(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _filled(templates: Iterable[str], known: Facts, inputs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every text that a template becomes, each once."""
    texts: dict[str, None] = {}
    for template in templates:
        for its in inputs if "{its." in template else ({},):
            texts |= dict.fromkeys(_texts(template, known, its))
    return list(texts)


def _texts(template: str, known: Facts, its: Mapping[str, Any]) -> Iterator[str]:
    names = re.findall(r"\{([a-z_.]+)\}", template)
    choices = [[str(its[name[4:]])] if name.startswith("its.") else known[name] for name in names]
    for chosen in itertools.product(*choices):
        text = template
        for name, value in zip(names, chosen, strict=True):
            text = text.replace(f"{{{name}}}", value)
        yield text
