"""Cloud Map: services; look-up of DNS namespaces."""

from __future__ import annotations

from typing import Any

from providers.base import (
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


@resource
class Service(Handler):
    type = "aws:servicediscovery/service:Service"
    properties = frozenset(
        {"name", "namespaceId", "description", "dnsConfig", "healthCheckConfig", "healthCheckCustomConfig", "tags"}
    )
    replacing = frozenset({"name", "namespaceId", "healthCheckCustomConfig"})
    steering = frozenset({"forceDestroy"})
    defaults = {"description": "", "healthCheckConfig": None, "tags": {}}
    name_property = "name"
    unordered = frozenset({"dnsConfig"})

    def find(self, inputs: Properties) -> str | None:
        namespace = inputs.get("namespaceId") or (inputs.get("dnsConfig") or {}).get("namespaceId")
        pages = (
            self.context.client("servicediscovery")
            .get_paginator("list_services")
            .paginate(Filters=[{"Name": "NAMESPACE_ID", "Values": [namespace]}])
        )
        services = (service for page in pages for service in page["Services"])
        # The emulator does not heed the filter, and does not say the namespace. Goes when it does both.
        return next(
            (
                str(service["Id"])
                for service in services
                if service["Name"] == inputs["name"] and (self.read(service["Id"]) or {})["namespaceId"] == namespace
            ),
            None,
        )

    def replaced_by(self, name: str, wanted: Any, actual: Any) -> bool:
        # Of the DNS records only the TTL can be changed.
        return super().replaced_by(name, wanted, actual) or (name == "dnsConfig" and _kind(wanted) != _kind(actual))

    def create(self, inputs: Properties) -> str:
        custom = inputs.get("healthCheckCustomConfig")
        check = inputs.get("healthCheckConfig")
        found = self.context.client("servicediscovery").create_service(
            **given(
                Name=inputs["name"],
                Description=inputs.get("description"),
                DnsConfig=_dns(inputs),
                HealthCheckCustomConfig={"FailureThreshold": custom.get("failureThreshold", 1)}
                if custom is not None
                else None,
                HealthCheckConfig=_check(check) if check else None,
                Tags=tag_list(inputs.get("tags")) or None,
            )
        )
        return str(found["Service"]["Id"])

    def read(self, locator: str) -> Properties | None:
        client = self.context.client("servicediscovery")
        try:
            found = client.get_service(Id=locator)["Service"]
        except client.exceptions.ServiceNotFound:
            return None
        tags = tag_map(client.list_tags_for_resource(ResourceARN=found["Arn"])["Tags"])
        dns = found.get("DnsConfig")
        custom = found.get("HealthCheckCustomConfig")
        check = found.get("HealthCheckConfig")
        return {
            "id": locator,
            "arn": found["Arn"],
            "name": found["Name"],
            "namespaceId": found.get("NamespaceId"),
            "description": found.get("Description") or "",
            "tags": tags,
            "tagsAll": tags,
            "dnsConfig": {
                "namespaceId": dns.get("NamespaceId") or found.get("NamespaceId"),
                "routingPolicy": dns.get("RoutingPolicy", "MULTIVALUE"),
                "dnsRecords": [{"type": record["Type"], "ttl": record["TTL"]} for record in dns["DnsRecords"]],
            }
            if dns
            else None,
            "healthCheckCustomConfig": {"failureThreshold": custom.get("FailureThreshold", 1)} if custom else None,
            "healthCheckConfig": {
                "type": check.get("Type"),
                "resourcePath": check.get("ResourcePath"),
                "failureThreshold": check.get("FailureThreshold"),
            }
            if check
            else None,
        }

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        client = self.context.client("servicediscovery")
        before = self.read(locator) or {}
        if changed - {"tags"}:
            check = inputs.get("healthCheckConfig")
            dns = _dns(inputs)
            client.update_service(
                Id=locator,
                Service=given(
                    Description=inputs.get("description", ""),
                    DnsConfig={"DnsRecords": dns["DnsRecords"]} if dns else None,
                    HealthCheckConfig=_check(check) if check else None,
                ),
            )
        if "tags" in changed:
            if gone := gone_tags(before["tags"], inputs.get("tags")):
                client.untag_resource(ResourceARN=before["arn"], TagKeys=gone)
            if inputs.get("tags"):
                client.tag_resource(ResourceARN=before["arn"], Tags=tag_list(inputs["tags"]))

    def delete(self, locator: str, recorded: Properties) -> None:
        client = self.context.client("servicediscovery")
        try:
            if recorded.get("forceDestroy"):
                for instance in client.list_instances(ServiceId=locator)["Instances"]:
                    client.deregister_instance(ServiceId=locator, InstanceId=instance["Id"])
            client.delete_service(Id=locator)
        except client.exceptions.ServiceNotFound:
            pass


def _kind(dns: Properties | None) -> tuple[Any, list[str]] | None:
    """Routing policy and record types."""
    return (dns.get("routingPolicy"), sorted(record["type"] for record in dns["dnsRecords"])) if dns else None


def _dns(inputs: Properties) -> dict[str, Any] | None:
    dns = inputs.get("dnsConfig")
    if not dns:
        return None
    return given(
        NamespaceId=dns.get("namespaceId"),
        RoutingPolicy=dns.get("routingPolicy"),
        DnsRecords=[{"Type": record["type"], "TTL": record["ttl"]} for record in dns["dnsRecords"]],
    )


def _check(check: Properties) -> dict[str, Any]:
    return given(
        Type=check.get("type"), ResourcePath=check.get("resourcePath"), FailureThreshold=check.get("failureThreshold")
    )


@function("aws:servicediscovery/getDnsNamespace:getDnsNamespace", "name", "type")
def get_dns_namespace(context: Context, args: Properties) -> Properties:
    client = context.client("servicediscovery")
    found = [
        space
        for page in client.get_paginator("list_namespaces").paginate()
        for space in page["Namespaces"]
        if space["Name"] == args["name"] and space["Type"] == args["type"]
    ]
    if not found:
        raise ProviderError(f"no matching Service Discovery DNS Namespace found ({args['name']}, {args['type']})")
    space = found[0]
    detail = client.get_namespace(Id=space["Id"])["Namespace"]
    return {
        "id": space["Id"],
        "arn": space["Arn"],
        "name": space["Name"],
        "type": space["Type"],
        "description": detail.get("Description") or "",
        "tags": {},
        "hostedZone": detail.get("Properties", {}).get("DnsProperties", {}).get("HostedZoneId", ""),
    }
