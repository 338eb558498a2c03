# mypy: disable-error-code="import-not-found"
"""Cloud Map: services in namespaces."""

from typing import Any

from rehearsal.emulator_process.needs import need


def keep_services_with_instances(servicediscovery: Any) -> None:
    """Cloud Map: refuse to delete a service that has instances, as AWS does; MiniStack takes them along.

    Goes when MiniStack's DeleteService answers ResourceInUse.
    """
    from ministack.core.responses import error_response_json

    need(servicediscovery, "_delete_service", "_instances")
    delete = servicediscovery._delete_service

    def delete_empty(request: dict[str, Any]) -> Any:
        if servicediscovery._instances.get(request.get("Id")):
            return error_response_json("ResourceInUse", "Service contains registered instances; delete them first", 400)
        return delete(request)

    servicediscovery._delete_service = delete_empty


def take_namespace_of_dns(servicediscovery: Any) -> None:
    """Let CreateService take the namespace from DnsConfig alone, as AWS does and the provider sends it; MiniStack wants
    it beside DnsConfig.

    Goes when MiniStack's CreateService takes DnsConfig.NamespaceId.
    """
    need(servicediscovery, "_create_service")
    create = servicediscovery._create_service

    def create_in_namespace(request: Any) -> Any:
        return create({"NamespaceId": request.get("DnsConfig", {}).get("NamespaceId"), **request})

    servicediscovery._create_service = create_in_namespace
