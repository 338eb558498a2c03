"""How long a rollout takes by the settings' arithmetic, beside AWS's defaults."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.sheet import Sheet
from components.settings import read_stack_file
from policies.registrations import registrations
from rehearsal.kept import ROOT

_DEFAULTS = "AWS's defaults"
"""Every 30 s, healthy after 5 in a row; 300 s until a target is let go:
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html"""


def measure(_bench: Bench, sheet: Sheet) -> None:
    """From what the program registers."""
    found = registrations(read_stack_file(ROOT / "Pulumi.production.yaml"))
    (group,) = (each.inputs for each in found if each.type == "aws:lb/targetGroup:TargetGroup")
    check = group["healthCheck"]
    healthy = float(check["interval"]) * float(check["healthyThreshold"])
    drain = float(group["deregistrationDelay"])
    for name, own, default in (
        ("from a task that answers until it is healthy", healthy, 150.0),
        ("from the last new request until the old task is let go", drain, 300.0),
    ):
        sheet.rows[name] = sheet.row(name, values=[own], beside={_DEFAULTS: [default]})
    sheet.row(
        "both", values=[healthy + drain], beside={_DEFAULTS: [450.0]}, reach=90, note="without the start of the task"
    )
    sheet.without["ECS Express Mode"] = "it is to be had on AWS alone; its documentation says 6 minutes of baking"
