"""The emulated account: what it answers with, where it listens, and that nothing of it stays."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import botocore.session
import pytest
import requests

from providers.recording import Call, recording
from rehearsal.docker import Engine
from rehearsal.emulator import Emulator, EmulatorError, stop_kept
from rehearsal.emulator_process.descriptions import read_heads_alone
from rehearsal.emulator_process.ecs import one_step_at_a_time

ACCOUNT, REGION = "758888582357", "us-east-1"
ROOT = Path(__file__).parents[2]


def answers(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def other_address() -> str | None:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def test_it_answers_with_the_account_that_it_was_given(emulator: Emulator) -> None:
    assert emulator.client("sts").get_caller_identity()["Account"] == ACCOUNT


def test_of_a_description_the_head_is_read_and_says_what_the_whole_does() -> None:
    responses, known = SimpleNamespace(_service_model=None, _BOTOCORE_NAME={}), botocore.session.get_session()
    read_heads_alone(responses)
    for service in ("ec2", "ecs", "elbv2", "ecr", "iam", "logs", "ssm", "cloudwatch", "route53", "s3", "events", "sns"):
        assert responses._service_model(service).metadata == known.get_service_model(service).metadata
    assert responses._service_model("no-service-of-this-name") is None


def test_the_users_own_credentials_and_endpoints_do_not_reach_its_clients(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "does-not-exist")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert emulator.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_the_estates_ids_are_given_out(emulator_python: Path) -> None:
    ids = ["vpc-0aaaaaaaaaaaaaaaa", "subnet-0bbbbbbbbbbbbbbbb", "subnet-0cccccccccccccccc", "sg-0dddddddddddddddd"]
    with Emulator(ACCOUNT, REGION, python=emulator_python, ids=ids) as running:
        ec2 = running.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        made = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24")["Subnet"]["SubnetId"] for n in range(3)]
        groups = [
            ec2.create_security_group(GroupName=name, Description="x", VpcId=vpc)["GroupId"]
            for name in ("other", ids[3])
        ]
    assert vpc == ids[0]
    assert made[:2] == ids[1:3]
    assert made[2] not in ids, "when the ids are used up, it makes its own again"
    assert groups[0] not in ids
    assert groups[1] == ids[3]


def test_an_id_that_cannot_be_given_out_is_refused_at_the_start(emulator_python: Path) -> None:
    with (
        pytest.raises(EmulatorError, match=r"cannot give a new resource the id rtb-"),
        Emulator(ACCOUNT, REGION, python=emulator_python, ids=["rtb-0123456789abcdef0"]),
    ):
        pass


def test_two_run_at_once_and_know_nothing_of_each_other(emulator: Emulator, emulator_python: Path) -> None:
    emulator.client("ecs").create_cluster(clusterName="mine")
    with Emulator("111122223333", "eu-west-1", python=emulator_python) as other:
        assert other.client("sts").get_caller_identity()["Account"] == "111122223333"
        assert other.client("ecs").list_clusters()["clusterArns"] == []
        assert other.port != emulator.port


def test_it_listens_on_loopback_only(emulator: Emulator) -> None:
    address = other_address()
    if address is None:
        pytest.skip("this machine has no other address")
    assert answers(emulator.port)
    assert not answers(emulator.port, address)


def test_nothing_stays_when_it_is_stopped(emulator_python: Path) -> None:
    with Emulator(ACCOUNT, REGION, python=emulator_python) as running:
        running.client("s3").create_bucket(Bucket="some-bucket")
        home, port = running.home, running.port
        assert home.exists()
    assert not home.exists()
    assert not answers(port)
    running.stop()  # A second time is no error.


def test_it_ends_when_its_parent_is_killed(emulator_python: Path) -> None:
    program = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from rehearsal.emulator import Emulator
        with Emulator({ACCOUNT!r}, {REGION!r}, python=Path({str(emulator_python)!r})) as running:
            print(running.port, running.home, flush=True)
            time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port, home = parent.stdout.readline().split()
        assert answers(int(port))
        parent.kill()
    deadline = time.monotonic() + 10
    while (answers(int(port)) or Path(home).exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not answers(int(port))
    assert not Path(home).exists()


def test_a_kept_one_outlives_its_process_until_it_is_stopped(emulator_python: Path) -> None:
    program = textwrap.dedent(f"""
        import json
        from pathlib import Path
        from rehearsal.emulator import Emulator
        with Emulator({ACCOUNT!r}, {REGION!r}, python=Path({str(emulator_python)!r}), outlive=True) as running:
            print(json.dumps(running.kept))
    """)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    kept = json.loads(done.stdout)
    port = int(kept["endpoint"].rsplit(":", 1)[1])
    assert answers(port)
    stop_kept(kept)
    assert not answers(port)
    assert not Path(kept["home"]).exists()
    stop_kept(kept)  # Gone already: no error.


def test_stopping_a_kept_one_that_is_gone_ends_no_other_process() -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        stop_kept(
            {
                "pid": bystander.pid,
                "name": "rehearsal-gone",
                "endpoint": "http://127.0.0.1:1",
                "home": "/nonexistent",
                "docker_host": None,
            }
        )
        assert bystander.poll() is None
        bystander.send_signal(signal.SIGTERM)


def test_calls_are_recorded_with_their_parameters_but_without_secret_values(emulator: Emulator, unique: str) -> None:
    calls: list[Call] = []
    with recording(calls, "urn:x"):
        emulator.client("ssm").put_parameter(Name=unique, Value="hush", Type="SecureString")
    emulator.client("ssm").delete_parameter(Name=unique)
    assert [(call.service, call.action, call.resource) for call in calls] == [("ssm", "PutParameter", "urn:x")]
    assert calls[0].parameters["Name"] == unique
    assert "hush" not in str(calls[0].parameters)


def test_a_layer_that_any_registry_was_given_counts_as_pushed_to_every_repository_that_there_is(
    emulator: Emulator, unique: str, emulator_python: Path
) -> None:
    content = unique.encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    for name in ("one", "two"):
        emulator.client("ecr").create_repository(repositoryName=f"{unique}-{name}")
    registry = f"{emulator.endpoint}/v2/{unique}"

    def asked(name: str) -> int:
        return requests.head(f"{registry}-{name}/blobs/{digest}", timeout=10).status_code

    assert asked("two") == 404
    upload = requests.post(f"{registry}-one/blobs/uploads/", timeout=10).headers["Location"]
    requests.put(f"{emulator.endpoint}{upload}?digest={digest}", data=content, timeout=10).raise_for_status()
    assert (asked("one"), asked("two"), asked("none")) == (200, 200, 404)
    assert requests.get(f"{registry}-two/blobs/{digest}", timeout=10).content == content
    (emulator_python.parents[2] / "layers" / digest).unlink()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_no_container_stays_behind(engine: Engine, emulator_python: Path, tmp_path: Path, end: str) -> None:
    (tmp_path / "Dockerfile").write_text('FROM python:3.12-slim\nCMD ["sleep", "600"]\n')
    engine.ensure_base_images(tmp_path / "Dockerfile")
    running = Emulator(
        ACCOUNT, REGION, python=emulator_python, docker_host=engine.host, bridge_address=engine.bridge_address()
    )
    running.start()
    try:
        image = f"{running.registry}/sleep:latest"
        running.client("ecr").create_repository(repositoryName="sleep")
        engine.client.build(tmp_path, image)
        engine.client.push(image, image, "AWS", "any")
        ecs = running.client("ecs")
        ecs.create_cluster(clusterName="c")
        ecs.register_task_definition(family="f", containerDefinitions=[{"name": "sleep", "image": image, "memory": 64}])
        ecs.create_service(cluster="c", serviceName="s", taskDefinition="f", desiredCount=1)
        mine = {"label": f"ministack.instance={running.name}:{running.port}"}
        deadline = time.monotonic() + 20
        while not engine.api.containers.list(filters=mine) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert engine.api.containers.list(filters=mine), "the task's container should be running"
        if end == "kill":
            os.kill(running.kept["pid"], signal.SIGKILL)
    finally:
        running.stop()
    assert not engine.api.containers.list(all=True, filters=mine)
    assert not [tag for found in engine.api.images.list() for tag in found.tags if tag.startswith(running.registry)]


def test_an_update_keeps_what_its_deployment_configuration_does_not_name(emulator: Emulator, unique: str) -> None:
    ecs = emulator.client("ecs")
    ecs.create_cluster(clusterName=unique)
    breaker = {"enable": True, "rollback": True}
    ecs.register_task_definition(family=unique, containerDefinitions=[{"name": "a", "image": "a", "memory": 128}])
    ecs.create_service(
        cluster=unique,
        serviceName=unique,
        taskDefinition=unique,
        desiredCount=0,
        deploymentConfiguration={"maximumPercent": 200, "deploymentCircuitBreaker": breaker},
    )
    ecs.update_service(cluster=unique, service=unique, deploymentConfiguration={"maximumPercent": 150})
    (found,) = ecs.describe_services(cluster=unique, services=[unique])["services"]
    assert found["deploymentConfiguration"]["maximumPercent"] == 150
    assert found["deploymentConfiguration"]["deploymentCircuitBreaker"].items() >= breaker.items()


def test_a_time_of_ecs_has_milliseconds(emulator: Emulator, unique: str) -> None:
    ecs = emulator.client("ecs")
    ecs.create_cluster(clusterName=unique)
    ecs.register_task_definition(family=unique, containerDefinitions=[{"name": "a", "image": "a", "memory": 128}])
    times = [
        ecs.create_service(cluster=unique, serviceName=f"{unique}-{number}", taskDefinition=unique, desiredCount=0)[
            "service"
        ]["deployments"][0]["createdAt"]
        for number in range(3)
    ]
    assert any(time.microsecond for time in times)


def test_a_rule_for_all_protocols_has_no_ports(emulator: Emulator, unique: str) -> None:
    ec2 = emulator.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName=unique, Description="x", VpcId=vpc)["GroupId"]
    everywhere = {"IpProtocol": "-1", "FromPort": 0, "ToPort": 0, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[everywhere])
    (found,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    rules = [rule for rule in found["IpPermissionsEgress"] if rule["IpProtocol"] == "-1"]
    assert rules
    assert not any(rule.keys() & {"FromPort", "ToPort"} for rule in rules)


def test_the_steps_of_the_scheduler_follow_each_other() -> None:
    inside: list[str] = []
    met: list[list[str]] = []

    def step(name: str, then: str = "") -> Callable[[], None]:
        def run() -> None:
            inside.append(name)
            met.append(list(inside))
            time.sleep(0.05)
            if then:
                getattr(ecs, then)()
            inside.remove(name)

        return run

    ecs = SimpleNamespace(
        _update_service=step("update", "_reconcile_service_tasks"),
        _reconcile_service_tasks=step("reconcile"),
        _record_service_task_failure=step("fail", "_reconcile_service_tasks"),
        _complete_service_deployment=step("complete"),
    )
    one_step_at_a_time(ecs)
    threads = [threading.Thread(target=each) for each in vars(ecs).values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    together = [names for names in met if len(names) > 1]
    assert sorted(together) == [["fail", "reconcile"], ["update", "reconcile"]], "only those that a step takes itself"


def test_a_secret_that_is_made_without_a_value_has_none(emulator: Emulator, unique: str) -> None:
    manager = emulator.client("secretsmanager")
    manager.create_secret(Name=unique)
    assert not manager.describe_secret(SecretId=unique).get("VersionIdsToStages")
    with pytest.raises(manager.exceptions.ResourceNotFoundException):
        manager.get_secret_value(SecretId=unique)
    manager.put_secret_value(SecretId=unique, SecretString="its first")
    assert manager.get_secret_value(SecretId=unique)["SecretString"] == "its first"
