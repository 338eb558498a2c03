"""`./ops cost`: what a month costs, from a table, for what the program registers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from operations import cost, prices, review
from operations.cost import Estimate, difference, estimate, markdown, of_stack
from operations.errors import OperationError
from operations.prices import TABLE, read_prices
from policies.registrations import registrations
from tests import commands
from tests.conftest import ROOT
from tests.stacks import SERVICE, changed, production

PRICES = read_prices()


def priced(**changes: object) -> Estimate:
    stack = changed(production("priced"), dict(changes))
    return estimate(registrations(stack.config), PRICES, region="us-east-1")


def position(found: Estimate, what: str) -> float:
    return sum(line.month for line in found.lines if line.what.startswith(what))


TWO: dict[str, object] = {f"{SERVICE}.desiredCount": 2}
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def test_the_first_users_stack_costs_less_than_was_reckoned_by_hand_with_what_it_uses_of_others() -> None:
    # By hand: 28 to 35 with one task, 50 to 60 with two. What is not the stack's own stands in docs/operations.md.
    table = OPERATIONS.split("| USD a month |")[1].split("\n\n")[0]
    rows = [[cell.strip(" *") for cell in row.split("|")[2:4]] for row in table.splitlines()[2:]]
    one, two = ([float(cell or 0) for cell in column] for column in zip(*rows, strict=True))
    assert (one[0], two[0]) == (round(priced().month, 2), round(priced(**TWO).month, 2)), "it is no longer true"
    assert sum(one[:-1]) == pytest.approx(one[-1]) and sum(two[:-1]) == pytest.approx(two[-1])
    assert one[-1] < 28 and two[-1] < 50


def test_everything_that_the_production_stack_declares_has_a_price_or_costs_nothing() -> None:
    assert priced().unpriced == ()


def test_cpu_and_memory_are_those_of_the_task_definition_for_all_tasks() -> None:
    rates, hours = PRICES.prices, PRICES.hours
    assert position(priced(), "Fargate CPU") == pytest.approx(0.5 * hours * rates.fargate_vcpu_hour["X86_64"])
    assert position(priced(), "Fargate memory") == pytest.approx(1 * hours * rates.fargate_gb_hour["X86_64"])
    assert position(priced(**{f"{SERVICE}.memory": 2048}), "Fargate memory") == 2 * position(priced(), "Fargate memory")
    assert position(priced(**{f"{SERVICE}.desiredCount": 0}), "Fargate") == 0


def test_graviton_is_cheaper() -> None:
    arm = priced(**{f"{SERVICE}.image.platform": "linux/arm64"})
    assert position(arm, "Fargate CPU (Graviton)") < position(priced(), "Fargate CPU (x86)")


GRAVITON: dict[str, object] = {f"{SERVICE}.image.platform": "linux/arm64"}
SPOT: dict[str, object] = {f"{SERVICE}.capacity": {}}


def test_tasks_above_the_base_cost_what_spot_costs() -> None:
    rates, hours = PRICES.prices, PRICES.hours
    found = priced(**TWO, **SPOT)
    assert position(found, "Fargate CPU (x86)") == pytest.approx(0.5 * hours * rates.fargate_vcpu_hour["X86_64"])
    spot = 0.5 * hours * rates.fargate_spot_vcpu_hour["X86_64"]
    assert position(found, "Fargate CPU (x86, Spot)") == pytest.approx(spot)
    assert position(priced(**SPOT), "Fargate CPU (x86, Spot)") == 0, "the only task is the base"
    assert position(priced(**TWO, **SPOT, **GRAVITON), "Fargate memory (Graviton, Spot)") == pytest.approx(
        hours * rates.fargate_spot_gb_hour["ARM64"]
    )


def test_spot_is_reckoned_by_the_weights_above_the_base() -> None:
    half: dict[str, object] = {f"{SERVICE}.capacity": {"onDemandBase": 1, "spotWeight": 1, "onDemandWeight": 1}}
    five: dict[str, object] = {f"{SERVICE}.desiredCount": 5}
    found = {line.what: line.amount for line in priced(**five, **half).lines if "CPU" in line.what}
    assert found == {
        "Fargate CPU (x86)": pytest.approx(3 * 0.5 * PRICES.hours),
        "Fargate CPU (x86, Spot)": pytest.approx(2 * 0.5 * PRICES.hours),
    }
    all_of_them: dict[str, object] = {f"{SERVICE}.capacity": {"onDemandBase": 0}}
    assert [line.what for line in priced(**five, **all_of_them).lines if "CPU" in line.what] == [
        "Fargate CPU (x86, Spot)"
    ]


def test_the_page_says_what_the_usual_forms_cost_all_in() -> None:
    table = OPERATIONS.split("| USD a month, all in |")[1].split("\n\n")[0]
    told = {
        cells[1].strip(): tuple(float(cell) for cell in cells[2:4] if cell.strip())
        for cells in (row.split("|") for row in table.splitlines()[2:])
    }

    def whole(tasks: int, **changes: object) -> float:
        # The estate's two secrets, and a share of the load balancer for each task.
        return round(priced(**changes).month + 0.80 + tasks * 1.17, 2)

    assert told == {
        "as they are": (whole(1), whole(2, **TWO)),
        "on Graviton": (whole(1, **GRAVITON), whole(2, **TWO, **GRAVITON)),
        "one on demand, the other on Spot": (whole(2, **TWO, **SPOT),),
        "both": (whole(2, **TWO, **GRAVITON, **SPOT),),
    }


def test_a_cache_that_is_made_costs_by_its_nodes_and_its_secrets() -> None:
    def cached(**cache: object) -> cost.Estimate:
        return priced(**TWO, **{f"{SERVICE}.oauth.state": {"backend": "valkey", "cache": cache}})

    hour = PRICES.prices.cache_node_hour["cache.t4g.micro"]
    assert position(cached(), "cache.t4g.micro, OAuth state") == pytest.approx(PRICES.hours * hour)
    assert position(cached(replicas=1), "cache.t4g.micro, OAuth state") == pytest.approx(2 * PRICES.hours * hour)
    assert position(cached(), "secret") == pytest.approx(2 * PRICES.prices.secret_month)
    unknown = "aws:elasticache/replicationGroup:ReplicationGroup google-workspace-cache, a cache.x9.large"
    assert cached(nodeType="cache.x9.large").unpriced == (unknown,)


def test_the_usual_forms_of_a_stack_are_reckoned_out_of_its_settings() -> None:
    months = cost.variants(ROOT / "Pulumi.production.yaml", PRICES)
    shared: dict[str, object] = {f"{SERVICE}.oauth.state": {"backend": "valkey", "host": "cache.internal"}}
    made: dict[str, object] = {f"{SERVICE}.oauth.state": "valkey"}
    assert months == {
        "one task": pytest.approx(priced().month),
        "two, sharing a DynamoDB table": pytest.approx(priced(**TWO).month),
        "two, sharing a Valkey that is made": pytest.approx(priced(**TWO, **made).month),
        "two, sharing a Valkey of yours, without its price": pytest.approx(priced(**TWO, **shared).month),
        "two, on Graviton": pytest.approx(priced(**TWO, **GRAVITON).month),
        "two, one of them on Spot": pytest.approx(priced(**TWO, **SPOT).month),
        "two, on Graviton, one of them on Spot": pytest.approx(priced(**TWO, **GRAVITON, **SPOT).month),
    }


def test_a_form_that_other_settings_do_not_allow_has_no_price(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.production.yaml"
    text = (ROOT / "Pulumi.production.yaml").read_text()
    document = yaml.safe_load(text)
    (service,) = document["config"]["mcp-on-ecs:services"].values()
    # Without OAuth 2.1 sessions are in each task's memory.
    service |= {"routing": {"strategy": "internal"}, "oauth": {"enabled": False}, "tokens": {"bucket": "busyb-tokens"}}
    document["config"].pop("mcp-on-ecs:policyExceptions", None)
    file.write_text(yaml.safe_dump(document))
    months = cost.variants(file, PRICES)
    assert months.pop("one task") and set(months.values()) == {None}


def test_logs_that_are_kept_longer_cost_more() -> None:
    assert position(priced(**{f"{SERVICE}.logs.retentionDays": 365}), "log, kept") > position(priced(), "log, kept")


def of_state(users: float, requests: float) -> float:
    """A month of OAuth state in DynamoDB."""
    rates, usage = PRICES.prices, PRICES.usage
    written = users * usage.state_writes_per_user / 1e6 * rates.dynamodb_writes_million
    read = requests * usage.state_reads_per_request / 1e6 * rates.dynamodb_reads_million
    stored = users * usage.state_kb_per_user / 1e6
    return written + read + stored * (rates.dynamodb_gb_month + rates.dynamodb_recovery_gb_month)


def test_what_shared_state_costs_is_reckoned_as_the_page_about_it_says() -> None:
    page = (ROOT / "docs" / "several-tasks.md").read_text()
    (row,) = [line.split("|") for line in page.splitlines() if line.startswith("| `dynamodb`")]
    for users, told in zip((10, 1_000, 100_000), row[3:6], strict=True):
        cost_ = PRICES.prices.secret_month + of_state(users, users * 6_000)
        assert told.strip() == (f"{cost_:.2f}" if cost_ < 100 else f"{cost_:.0f}")
    for assumed in ("5,000 write units", "6,000 requests of 5 read units", "30 KB"):
        assert assumed in " ".join(page.split())
    usage = PRICES.usage
    assert (usage.state_writes_per_user, usage.state_reads_per_request, usage.state_kb_per_user) == (5_000, 5, 30)


def test_each_option_of_later_phases_has_its_cost() -> None:
    collector = "public.ecr.aws/aws-observability/aws-otel-collector@sha256:" + "ab" * 32
    rates, usage = PRICES.prices, PRICES.usage
    # As soon as there may be two tasks, they share OAuth state in a table, with a signing key.
    shared = rates.secret_month + of_state(usage.users_per_task, usage.requests_per_task)
    added: dict[str, tuple[dict[str, object], float]] = {
        "alarms": ({f"{SERVICE}.alarms.anomalyBand": 3}, 3 * 3 * rates.alarm_month),
        "log": (
            {f"{SERVICE}.logs.format": "json"},
            (usage.json_log_growth - 1) * usage.log_gb_per_task * (rates.log_gb + rates.log_gb_month),
        ),
        "traces": (
            {f"{SERVICE}.tracing": {"collector": collector, "samplePercent": 20}},
            0.2 * usage.requests_per_task / 1e6 * rates.traces_million,
        ),
        "budget": ({"monitoring.budget": {"limit": 40}}, 0.0),
        "scaling": ({f"{SERVICE}.autoscaling": {"maximum": 4}}, 2 * rates.alarm_month + shared),
    }
    documented = {
        "alarms": "services.<key>.alarms.anomalyBand`",
        "log": "services.<key>.logs.format: json`",
        "traces": "services.<key>.tracing`",
        "budget": "monitoring.budget`",
        "scaling": "services.<key>.autoscaling`",
    }
    for option, (change, cost_) in added.items():
        found = priced(**change)
        assert found.unpriced == (), option
        assert found.month - priced().month == pytest.approx(cost_), option
        told = next(row for row in OPERATIONS.splitlines() if f"`{documented[option]}" in row)
        asked = 0.1 / 0.2 * cost_ if option == "traces" else cost_  # The default is half of what is asked for here.
        assert told.split("|")[3].strip().startswith(f"{asked:.2f}" if asked else "nothing"), told
    assert [line.what for line in priced(**added["budget"][0]).lines if line.what == "budget"], "told, though free"


def test_without_monitoring_it_costs_neither_alarms_nor_a_key() -> None:
    less = priced(monitoring=None)
    assert {line.what for line in priced().lines} - {line.what for line in less.lines} == {
        "alarm",
        "composite alarm",
        "dashboard",
        "key",
        "metric of log lines",
    }


def test_a_type_without_a_price_is_named_and_not_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_FREE", cost._FREE - {"aws:ssm/parameter:Parameter"})
    assert priced().unpriced == (
        "aws:ssm/parameter:Parameter google-workspace-address",
        "aws:ssm/parameter:Parameter google-workspace-healthy",
    )


def test_the_difference_names_what_changed_and_nothing_else() -> None:
    before, after = priced(), priced(**{f"{SERVICE}.cpu": 1024, f"{SERVICE}.memory": 2048})
    rows = difference(before, after)
    assert [row["what"] for row in rows] == ["Fargate CPU (x86)", "Fargate memory (x86)"]
    assert rows[0]["difference"].startswith("+14.7")
    text = markdown(before, after)
    assert f"{after.month - before.month:+.2f}" in text
    assert markdown(before, before).endswith("+0.00.")


def test_another_table_is_taken_and_its_mistakes_are_all_told(tmp_path: Path) -> None:
    document = yaml.safe_load(TABLE.read_text())
    document["prices"]["dashboard_month"] = 0
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(document))
    file = ROOT / "Pulumi.production.yaml"
    assert of_stack(file, read_prices(own)).month == pytest.approx(of_stack(file, PRICES).month - 3)
    del document["prices"]["alarm_month"]
    document["usage"]["images"] = -1
    own.write_text(yaml.safe_dump(document))
    with pytest.raises(OperationError) as told:
        read_prices(own)
    assert "prices.alarm_month" in str(told.value) and "usage.images" in str(told.value)
    with pytest.raises(OperationError, match=r"none\.yaml: No such file"):
        read_prices(tmp_path / "none.yaml")


def test_prices_of_another_region_are_told_as_such_to_everybody(tmp_path: Path) -> None:
    text = (ROOT / "Pulumi.production.yaml").read_text()
    assert "aws:region: us-east-1" in text
    file = tmp_path / "Pulumi.europe.yaml"
    file.write_text(text.replace("aws:region: us-east-1", "aws:region: eu-central-1"))
    found = of_stack(file)
    words = "The stack is in eu-central-1, and these are prices of us-east-1, which differ."
    assert found.elsewhere.startswith(words)
    assert markdown(found, found).partition("\n\n")[2] == markdown(None, found).partition("\n\n")[2] == found.elsewhere
    assert (cost.document(found)["pricesOf"], cost.document(found)["region"]) == ("us-east-1", "eu-central-1")
    assert priced().elsewhere == "" == of_stack(ROOT / "Pulumi.production.yaml").elsewhere
    assert "while the stack is in eu-central-1: see ./ops cost" in review._cost([], "eu-central-1").detail
    assert "us-east-1" not in review._cost([], "us-east-1").detail


def test_a_regions_own_table_is_taken_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "TABLE", tmp_path / "prices.yaml")
    assert prices.table_of("eu-central-1") == prices.table_of(None) == tmp_path / "prices.yaml"
    own = tmp_path / "prices.eu-central-1.yaml"
    own.write_text(TABLE.read_text().replace("region: us-east-1", "region: eu-central-1"))
    assert prices.table_of("eu-central-1") == own
    assert prices.table_of("../eu-central-1") == tmp_path / "prices.yaml"
    assert estimate([], read_prices(own), region="eu-central-1").elsewhere == ""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.ops("cost", *arguments)


def test_the_command_speaks_to_people_to_machines_and_to_a_pull_request(tmp_path: Path) -> None:
    people = run("--variants")
    assert "two, one of them on Spot" in people.stdout
    assert people.returncode == 0, people.stderr
    assert "USD a month" in people.stdout and "Prices of us-east-1" in people.stdout
    machines = tmp_path / "before.json"
    machines.write_text(run("--json").stdout)
    assert json.loads(machines.read_text())["cost"]["unpriced"] == []
    elsewhere = tmp_path / "europe.yaml"
    elsewhere.write_text(TABLE.read_text().replace("region: us-east-1", "region: eu-central-1"))
    assert "these are prices of eu-central-1, which differ" in run("--prices", str(elsewhere)).stdout
    assert "which differ" not in people.stdout
    other = tmp_path / "Pulumi.before.yaml"
    other.write_text((ROOT / "Pulumi.production.yaml").read_text().replace("memory: 1024", "memory: 2048"))
    shown = run("--against", str(other), "--markdown")
    assert shown.returncode == 0, shown.stderr
    assert "Fargate memory (x86)" in shown.stdout and "-3.24" in shown.stdout
    # What another version of the program declares.
    assert run("--against", str(machines), "--markdown").stdout.endswith("; +0.00.\n")


def test_a_mistake_is_told_without_a_traceback(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"cost": {"lines": [{}], "unpriced": []}}')
    for arguments, says in (
        (["--stack", "nowhere"], "Pulumi.nowhere.yaml"),
        (["--prices", str(tmp_path)], str(tmp_path)),
        (["--against", "Pulumi.nowhere.yaml"], "Pulumi.nowhere.yaml"),
        (["--against", "nowhere.json"], "nowhere.json: No such file"),
        (["--against", str(other)], "is not what ./ops cost --json prints: cost.lines.0.resource"),
    ):
        done = run(*arguments)
        assert done.returncode == 2, done.stderr
        assert says in done.stderr and "Traceback" not in done.stderr
