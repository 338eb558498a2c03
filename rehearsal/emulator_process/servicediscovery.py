# mypy: disable-error-code="import-not-found"
"""Cloud Map: services in namespaces."""

import os
import threading
from pathlib import Path
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


def resolve_private_names(ecs: Any, servicediscovery: Any, file: Path, gateway: str) -> None:
    """Let containers find services by their private names, as the VPC's resolver does: they all have one /etc/hosts,
    which names the tasks that run.

    file: what becomes their /etc/hosts. gateway: address of this machine for them.

    Goes when MiniStack registers tasks in Cloud Map, and containers ask it for names.
    """
    need(servicediscovery, "_services", "_namespaces")
    need(ecs, "_build_run_kwargs", "_refresh_service_state", "_services", "_tasks", "_task_ip")
    build, refresh = ecs._build_run_kwargs, ecs._refresh_service_state
    known = {"localhost": "127.0.0.1"}
    lock = threading.Lock()

    def found() -> list[tuple[str, str]]:
        """Name and address of each task that runs."""
        pairs = []
        for service in list(ecs._services.values()):
            names = []
            for registry in service.get("serviceRegistries") or []:
                entry = servicediscovery._services.get(registry.get("registryArn", "").rsplit("/", 1)[-1]) or {}
                namespace = servicediscovery._namespaces.get(entry.get("NamespaceId")) or {}
                names += [f"{entry['Name']}.{namespace['Name']}"] if entry and namespace else []
            group, cluster = f"service:{service['serviceName']}", service.get("clusterArn")
            for task in list(ecs._tasks.values()):
                mine = task.get("group") == group and task.get("clusterArn") == cluster
                if mine and task.get("lastStatus") == "RUNNING" and (address := ecs._task_ip(task)):
                    pairs += [(name, address) for name in names]
        return pairs

    def write() -> None:
        with lock:
            lines = [f"{address}\t{name}\n" for name, address in [*known.items(), *found()]]
            text = "".join(lines).encode()
            # In its place, as containers have this very file, and at once: nobody reads half of it.
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
            os.pwrite(descriptor, text.ljust(os.fstat(descriptor).st_size, b"\n"), 0)
            os.close(descriptor)

    def build_with_hosts(*arguments: Any) -> Any:
        built = build(*arguments)
        for name, address in (built.pop("extra_hosts", None) or {}).items():
            known[name] = gateway if address == "host-gateway" else address
        write()
        return built | {"volumes": [*built.get("volumes", ()), f"{file}:/etc/hosts:ro"]}

    def refresh_and_write(*arguments: Any) -> None:
        refresh(*arguments)
        write()

    ecs._build_run_kwargs, ecs._refresh_service_state = build_with_hosts, refresh_and_write
