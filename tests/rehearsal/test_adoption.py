"""A deployment that was made by hand, with real containers, is taken over by the program while clients ask."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from operations import adopt
from operations.target import of_rehearsal
from rehearsal.docker import Engine
from rehearsal.run import Rehearsal
from tests.asking import outcomes
from tests.conftest import ROOT
from tests.handmade import make
from tests.rehearsal.test_rollout import asked_all_the_time
from tests.stacks import production

SERVER = """\
FROM python:3.12.13-slim-bookworm
ENTRYPOINT ["python3", "-c", "\\
import http.server\\n\\
class Handler(http.server.BaseHTTPRequestHandler):\\n\\
    def do_GET(self):\\n\\
        self.send_response(200)\\n\\
        self.send_header('Content-Length', '0')\\n\\
        self.end_headers()\\n\\
http.server.ThreadingHTTPServer(('', 8000), Handler).serve_forever()"]
"""
"""A server that knows the prefix, as it knows every path."""


def push(rehearsal: Rehearsal, folder: Path) -> str:
    """Build the handmade image and push it to a repository of its own; its reference."""
    assert rehearsal.engine
    (folder / "Dockerfile").write_text(SERVER)
    rehearsal.account.client("ecr").create_repository(repositoryName="handmade")
    reference = f"{rehearsal.account.registry}/handmade:latest"
    rehearsal.engine.ensure_base_images(folder / "Dockerfile", None, "linux/amd64")
    rehearsal.engine.client.build(folder, reference, dockerfile=None, platform="linux/amd64", args=None, target=None)
    rehearsal.engine.client.push(reference, reference, "AWS", "none")
    return reference


def wait_until_answering(rehearsal: Rehearsal) -> None:
    """Wait, for at most 60 s, until the handmade service answers through the load balancer."""
    deadline = time.monotonic() + 60
    while True:
        with asked_all_the_time(rehearsal) as asked:
            time.sleep(0.5)
        if outcomes(asked) == {200}:
            return
        assert time.monotonic() < deadline, outcomes(asked)


@pytest.mark.parametrize("by", ["embedded", pytest.param("pulumi", marks=pytest.mark.engine)])
def test_a_running_handmade_service_is_taken_over_and_passes_every_check(
    engine: Engine, tmp_path: Path, by: str, request: pytest.FixtureRequest
) -> None:
    stack = production("adoption")
    cli = request.getfixturevalue("pulumi_cli") if by == "pulumi" else None
    with Rehearsal(stack, cli=cli) as rehearsal:
        (service,) = stack.settings.services.values()
        make(rehearsal.account, stack.settings, service, push(rehearsal, tmp_path))
        wait_until_answering(rehearsal)

        target = of_rehearsal(stack.name, ROOT / "Pulumi.production.yaml", stack.settings, rehearsal.note())
        found = adopt.survey(target)
        assert not found.stops
        file = tmp_path / "adopt.json"
        adopt.write(found, file)
        rehearsal.take_in(file)
        with asked_all_the_time(rehearsal) as asked:
            done = rehearsal.deploy()
        assert {r.name for r in done.resources if r.action == "changed"} == {thing.name for thing in found.existing}
        assert not [r.name for r in done.resources if r.action in ("replaced", "deleted", "failed")]
        assert outcomes(asked) == {200}, "no request failed meanwhile"
        assert [check for check in rehearsal.check() if check.passed is False] == []
        assert {result.action for result in rehearsal.deploy().resources} == {"same"}
