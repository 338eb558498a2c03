# mypy: disable-error-code="import-not-found"
"""ECS: deployments that are taken back when an alarm goes off."""

from typing import Any

from rehearsal.emulator_process.needs import need

REASON = "ECS deployment failed: alarm detected."
"""Why a deployment failed, in ECS's words."""


def heed_deployment_alarms(ecs: Any, cloudwatch: Any) -> None:
    """Let an alarm that a service names take its deployment back, if it goes off while that is in progress, as AWS
    does; MiniStack keeps the names and heeds none. Unlike on AWS, a deployment is complete once its tasks are healthy,
    and not watched for some minutes more.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html

    Goes when MiniStack heeds deploymentConfiguration.alarms.
    """
    need(ecs, "_services", "_primary_deployment", "_reconcile_service_tasks", "_schedule_service_deployment_completion")
    need(ecs, "resource_lock", "get_account_id", "get_region", "new_uuid", "_iso")
    need(cloudwatch, "_record_history")
    record = cloudwatch._record_history

    def record_and_heed(alarm_name: str, old_state: str, new_state: str, *others: Any, **named: Any) -> None:
        record(alarm_name, old_state, new_state, *others, **named)
        if new_state == "ALARM":
            for key, service in list(ecs._services.items()):
                alarms = (service.get("deploymentConfiguration") or {}).get("alarms") or {}
                if alarms.get("enable") and alarm_name in alarms.get("alarmNames", []):
                    take_back(key, service, alarm_name, rollback=bool(alarms.get("rollback")))

    def take_back(key: str, service: dict[str, Any], alarm: str, *, rollback: bool) -> None:
        with ecs.resource_lock("ecs-service", key):
            deployment = ecs._primary_deployment(service)
            if not deployment or deployment.get("rolloutState") != "IN_PROGRESS":
                return
            before = next((one for one in service["deployments"] if one.get("rolloutState") == "COMPLETED"), None)
            deployment |= {
                "rolloutState": "FAILED",
                "rolloutStateReason": REASON,
                "desiredCount": 0,
                "triggeredAlarmNames": [alarm],
            }
            words = (
                f"(service {service['serviceName']}) (deployment {deployment['id']}) deployment failed: alarm detected."
            )
            service["events"].insert(0, {"id": ecs.new_uuid(), "createdAt": ecs._iso(), "message": words})
            if rollback and before:
                deployment["status"] = "ACTIVE"
                before |= {
                    "status": "PRIMARY",
                    "desiredCount": service.get("desiredCount", 0),
                    "rolloutState": "IN_PROGRESS",
                    "rolloutStateReason": "ECS deployment rollback in progress.",
                }
                service["taskDefinition"] = before["taskDefinition"]
        cluster = key.partition("/")[0]
        ecs._reconcile_service_tasks(cluster, key)
        if rollback and before:
            ecs._schedule_service_deployment_completion(cluster, key, ecs.get_account_id(), ecs.get_region())

    cloudwatch._record_history = record_and_heed
