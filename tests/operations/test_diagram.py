"""`./ops diagram`: the picture says what the program registers, and README's is the one it draws."""

from __future__ import annotations

import functools
import html
import json
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from machine import debian
from operations import diagram
from operations.diagram import Edge, Node, Picture, mermaid, picture, svg
from operations.errors import OperationError
from policies.registrations import Registration, registrations
from rehearsal.run import Stack
from tests import commands
from tests.conftest import ROOT
from tests.stacks import INTERNAL, SERVICE, changed, production

SECOND = {
    "services.research": {
        "server": "other",
        "image": {"context": "image"},
        "port": 9000,
        "routing": {"host": "api.busyb.ai", "path": "/research", "priority": 60},
    }
}


@functools.cache
def program(changes: str = "{}") -> tuple[Stack, list[Registration]]:
    stack = changed(production("drawn"), json.loads(changes))
    return stack, registrations(stack.config)


def drawn(changes: dict[str, Any] | None = None, extra: Sequence[Registration] = ()) -> Picture:
    stack, registered = program(json.dumps(changes or {}))
    return picture("drawn", stack.settings, [*registered, *extra])


def nodes(found: Picture) -> dict[str, Node]:
    return {node.id: node for node in found.nodes}


def said(text: str) -> Counter[str]:
    """What an SVG by Graphviz says: names of nodes and arrows, and texts; not where, which depends on its version."""
    found = re.findall(r"<(title|text)\b[^>]*>(.*?)</\1>", text, re.DOTALL)
    return Counter(html.unescape(content).strip().replace("\xa0", " ") for _, content in found)


def test_the_picture_in_readme_is_what_the_production_stack_registers_now() -> None:
    assert "](docs/stack.svg)" in (ROOT / "README.md").read_text()
    now = said(svg(diagram.of_stack(ROOT / "Pulumi.production.yaml")))
    assert said((ROOT / "docs" / "stack.svg").read_text()) == now, "run: ./ops diagram > docs/stack.svg"
    assert now["ECS service on Fargate"] == 1


def test_it_is_drawn_alike_each_time() -> None:
    stack = program()[0]
    assert picture("drawn", stack.settings, registrations(stack.config)) == drawn()


def test_nothing_that_is_registered_is_left_out() -> None:
    stack, registered = program(json.dumps(SECOND))
    for kind in {r.type for r in registered if not r.type.startswith("mcp-on-ecs:")} - diagram._PART_OF.keys():
        alike = [r for r in registered if r.type == kind]
        without = picture("drawn", stack.settings, [r for r in registered if r.type != kind])
        whole = picture("drawn", stack.settings, registered)
        assert lines(whole) - lines(without), f"{kind} is not drawn, as {alike[0].name} shows"


def lines(found: Picture) -> set[tuple[str, str]]:
    return {(node.id, line) for node in found.nodes for line in node.lines}


def test_a_resource_of_a_type_that_it_does_not_know_is_drawn_by_its_name() -> None:
    some = next(r for r in program()[1] if r.type == diagram._REPOSITORY)
    new = Registration(
        urn=f"{some.urn}-2", type="aws:sqs/queue:Queue", name="letters", parent=some.parent, inputs={}, dependencies=()
    )
    node = nodes(drawn(extra=[new]))["google-workspace/sqs/queue"]
    assert (node.title, node.lines, node.frame, node.own) == ("Queue", ("letters",), "google-workspace", True)


def test_what_is_set_on_an_existing_bucket_is_one_node_behind_it() -> None:
    bucket = "busyb-oauth-tokens-758888582357"
    found = drawn()
    (node,) = (node for node in found.nodes if node.title == "Settings of the bucket")
    assert set(node.lines) == set(diagram._BUCKET_SETTINGS.values())
    assert Edge(f"bucket/{bucket}", node.id) in found.edges


def test_it_follows_the_configuration() -> None:
    node = nodes(drawn({f"{SERVICE}.routing.priority": 70, f"{SERVICE}.memory": 2048}))
    assert node["google-workspace/lb/listenerRule"].lines[0] == "70: /google-workspace(/*), rewritten"
    assert "2048 MiB" in node["google-workspace/ecs/taskDefinition"].lines[0]
    assert not node["balancer"].own
    internal = nodes(drawn({f"{SERVICE}.{section}": value for section, value in INTERNAL.items()}))
    assert "balancer" not in internal
    assert "google-workspace/lb/targetGroup" not in internal
    assert not any("Alarm" in n.title for n in drawn({"monitoring": None}).nodes)


def test_what_can_be_switched_on_is_drawn_by_its_name() -> None:
    found = drawn(
        {
            f"{SERVICE}.oauth.state": {"backend": "valkey", "host": "cache.busyb.local"},
            f"{SERVICE}.autoscaling": {"minimum": 1, "maximum": 4},
            "monitoring.budget": {"limit": 50},
        }
    )
    titles = {node.title: node for node in found.nodes}
    assert titles["Autoscaling"].lines == ("1 to 4 tasks",)
    assert titles["Budget"].lines == ("50.0 USD a month",)
    assert Edge(titles["Autoscaling"].id, titles["ECS service on Fargate"].id) in found.edges
    assert titles["Valkey, for OAuth state"].lines == ("cache.busyb.local",)


def test_alarms_lead_to_the_topic_that_hears_of_them() -> None:
    found = drawn()
    critical = "notifications/sns/topic/notifications-critical"
    alarms = nodes(found)["google-workspace/cloudwatch/metricAlarm/notifications-critical"]
    assert set(alarms.lines) == {"no-healthy-target", "no-task", "users-affected"}
    assert Edge(alarms.id, critical) in found.edges


def test_each_service_has_a_frame_and_one_can_be_drawn_alone() -> None:
    assert {"google-workspace", "research"} <= drawn(SECOND).frames.keys()
    stack, registered = program(json.dumps(SECOND))
    of_one = [r for r in registered if not r.parent.endswith("::google-workspace")]
    alone = picture("drawn", stack.settings, of_one, without=["google-workspace"])
    assert "research" in alone.frames
    assert not any(node.id.startswith("google-workspace") for node in alone.nodes)


def test_arrows_end_at_nodes() -> None:
    found = drawn(SECOND)
    assert found.edges
    assert {end for edge in found.edges for end in edge} <= nodes(found).keys()


def test_addresses_of_people_are_not_shown() -> None:
    told = {"topic": "critical", "protocol": "email", "endpoint": "on-call@example.com"}
    found = drawn({"monitoring.subscriptions": [told]})
    assert nodes(found)["notifications/sns/topicSubscription/notifications-critical"].lines == ("by email",)
    assert "on-call" not in mermaid(found)


def test_text_is_data_to_both() -> None:
    hostile = Node(id="a", title='<b>&"', lines=('"]; click', "%%{init}%%"))
    found = Picture(title="t", nodes=(hostile,), edges=())
    assert said(svg(found))['<b>&"'] == 1
    node = mermaid(found).splitlines()[1]
    assert re.fullmatch(r'    n0\["<b>[^"<>%{}\]\[]*</b><br/>[^"<>%{}\]\[]*<br/>[^"<>%{}\]\[]*"\]', node)


def test_mermaid_has_the_same_nodes_and_arrows() -> None:
    found = drawn()
    text = mermaid(found)
    assert text.startswith("flowchart TB\n")
    assert len(re.findall(r"^    n\d+\[", text, re.MULTILINE)) == len(found.nodes)
    assert len(re.findall(r"^  n\d+ --> n\d+$", text, re.MULTILINE)) == len(found.edges)
    assert text.count("subgraph") == text.count("\n  end\n") == len(found.frames.keys() - {""})


def test_where_graphviz_is_missing_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(debian, "may_install", lambda: False)
    with pytest.raises(OperationError, match=r"apt-get install graphviz.*ops diagram --mermaid"):
        svg(drawn())


def test_on_debian_as_root_it_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(debian, "may_install", lambda: True)
    asked: list[str] = []
    monkeypatch.setattr(debian, "install", lambda *packages: asked.extend(packages))
    with pytest.raises(OperationError):
        svg(drawn())
    assert "graphviz" in asked


def ops(*arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.ops("diagram", *arguments)


def test_the_command_prints_nothing_but_the_picture() -> None:
    assert ops("--mermaid").stdout == mermaid(diagram.of_stack(ROOT / "Pulumi.production.yaml"))
    assert json.loads(ops("--json").stdout)["svg"].startswith("<?xml")
    unknown = ops("--service", "nowhere")
    assert unknown.returncode == 2
    assert "it has google-workspace" in unknown.stderr
