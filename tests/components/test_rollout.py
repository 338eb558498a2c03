"""What is said of a revision that ECS did not keep, where no container can show it."""

from __future__ import annotations

from components.rollout import why
from rehearsal.emulator import Emulator


def test_where_no_task_was_ever_started_the_services_events_are_told(emulator: Emulator, unique: str) -> None:
    ecs = emulator.client("ecs")
    ecs.create_cluster(clusterName=unique)
    container = {"name": "server", "image": "server", "memory": 64}
    definition = ecs.register_task_definition(family=unique, containerDefinitions=[container])["taskDefinition"]
    ecs.create_service(cluster=unique, serviceName=unique, taskDefinition=unique, desiredCount=1)
    ecs.update_service(cluster=unique, service=unique, taskDefinition=definition["taskDefinitionArn"], desiredCount=2)
    never = definition["taskDefinitionArn"].replace(":1", ":2")
    lines = list(why(emulator.client, unique, unique, never, f"/ecs/{unique}"))
    assert "ECS lists no stopped task of it" in lines[0]
    (service,) = ecs.describe_services(cluster=unique, services=[unique])["services"]
    assert service["events"]
    assert lines[1:] == [f"  event    {event['message']}" for event in service["events"][:3]]


def test_an_account_that_refuses_is_told_and_raises_nothing(emulator: Emulator, unique: str) -> None:
    (line,) = why(emulator.client, unique, unique, f"arn:aws:ecs:us-east-1:1:task-definition/{unique}:1", "/ecs/none")
    assert line.startswith("  stopped  could not be asked: ")
