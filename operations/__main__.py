"""Operate a deployed stack, on its account or, with --rehearsal, on a kept rehearsal of it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from checks import Check
from components.account import AccountError
from components.context import ContextError
from components.estate import EstateError
from components.settings import SettingsError
from operations.target import UNREACHABLE, OperationError, Target, kept, real, service_name

EXIT = (
    "exit status: 0 all is well; 1 something is wrong; 2 wrong command line or configuration; "
    "3 the account cannot be reached; 130 interrupted"
)

Verb = Callable[[Target, argparse.Namespace, "Output"], int]


class Output:
    """Tells the outcome to people, or with `machines` as one JSON document."""

    def __init__(self, *, machines: bool) -> None:
        # What is told is data: no :name: in it is an emoji.
        self.machines, self._console = machines, Console(emoji=False)
        self._document: dict[str, Any] = {}

    def say(self, text: str) -> None:
        """A line for people."""
        if not self.machines:
            self._console.print(escape(text), highlight=False, soft_wrap=True)

    def record(self, name: str, value: Any) -> None:
        """A part of the document for machines."""
        self._document[name] = value

    def checks(self, checks: list[Check]) -> int:
        """A table of checks; the exit status that follows from them."""
        self.record("checks", [dataclasses.asdict(check) for check in checks])
        marks = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]-[/]"}
        for check in checks:
            if not self.machines:
                line = f"{marks[check.passed]} {escape(check.name)} [dim]{escape(check.detail)}[/]"
                self._console.print(line, highlight=False, soft_wrap=True)
            if check.passed is False and check.remedy:
                self.say(f"    do: {check.remedy}")
        failed = sum(check.passed is False for check in checks)
        self.say(f"{len(checks)} checks: {failed} failed, {sum(check.passed is None for check in checks)} not run")
        return 1 if failed else 0

    def table(self, rows: list[dict[str, Any]]) -> None:
        """Rows of the same columns."""
        if self.machines or not rows:
            return
        table = Table(*rows[0])
        for row in rows:
            table.add_row(*(escape("" if value is None else str(value)) for value in row.values()))
        self._console.print(table)

    def fail(self, message: str, status: int) -> int:
        """Why there is no outcome; `status`, the exit status."""
        print(message, file=sys.stderr)
        self.record("error", message)
        self.close()
        return status

    def close(self) -> None:
        """Print the document, for machines."""
        if self.machines:
            print(json.dumps(self._document, indent=2, default=str, ensure_ascii=False))


def _preflight(target: Target, _options: argparse.Namespace, output: Output) -> int:
    from operations.preflight import preflight

    return output.checks(preflight(target))


def _verify(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.verify import named, verify

    services = target.services(options.service)
    return output.checks([c for s in services for c in named(s, verify(target, s), several=len(services) > 1)])


def _accept(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.accept import accept

    report = accept(target, target.service(options.service), token_file=options.token_file)
    if options.report:
        options.report.write_text(report.to_markdown())
    return output.checks(report.checks) or (0 if report.passed else 1)


def _load(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.load import load

    done = load(
        target,
        target.service(options.service),
        profile=options.profile,
        users=options.users,
        seconds=options.seconds,
        token_file=options.token_file,
    )
    output.record("steps", [dataclasses.asdict(step) for step in done.steps])
    output.table(
        [
            {"users": step.users, "request": f.name, "asked": f.count, "failed": f.failures}
            | {
                "a second": f"{f.rate:.1f}",
                "p50 ms": f.p50,
                "p95 ms": f.p95,
                "p99 ms": f.p99,
                "most ms": f"{f.most:.0f}",
            }
            for step in done.steps
            for f in step.figures
        ]
    )
    return output.checks(done.checks)


def _status(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.revisions import status

    found = [status(target, service) for service in target.services(options.service)]
    output.record("services", found)
    for service in found:
        for name, value in service.items():
            lines = value if isinstance(value, list) else [value]
            for line in lines or ["none"]:
                text = ", ".join(f"{part}" for part in line.values() if part) if isinstance(line, dict) else line
                output.say(f"  {name:<12} {text}")
    return 0


def _history(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.revisions import history

    for service in target.services(options.service):
        revisions = history(target, service)
        output.record(service.key, [dataclasses.asdict(entry) for entry in revisions])
        output.table(
            [
                {
                    "revision": entry.name.rpartition(":")[2],
                    "registered": f"{entry.registered:%Y-%m-%d %H:%M}" if entry.registered else "",
                    "image": entry.tag or entry.digest[:19],
                    "source": entry.source,
                    "was healthy": "went back from it" if entry.rejected else "yes" if entry.healthy else "never",
                    "": "runs" if entry.running else "image is gone" if entry.available is False else "",
                }
                for entry in revisions
            ]
        )
    return 0


def _rollback(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.rollback import rollback

    done = rollback(
        target,
        target.service(options.service),
        options.revision,
        dry_run=options.dry_run,
        even_if_never_healthy=options.even_if_never_healthy,
        say=output.say,
    )
    output.record("rollback", dataclasses.asdict(done))
    if done.dry_run:
        output.say(f"Would go back from {done.left} to {done.to}, {done.image}, and set {done.pinned}.")
        return 0
    status = output.checks(done.checks)
    output.say(f"{done.service} is back on {done.to} (from {done.left}) after {done.seconds:.1f} s.")
    output.say(f"{done.pinned} keeps it at the next pulumi up. Remove the key when the mended version is to be built.")
    if done.same_image:
        output.say(
            f"The image is that of {done.left}: a setting differs. Put it back too, or pulumi up brings it again."
        )
    return status


def _restart(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.restart import restart

    service = target.service(options.service)
    seconds = restart(target, service, output.say)
    output.record("restart", {"service": service_name(service), "seconds": seconds})
    output.say(f"{service_name(service)} runs new tasks after {seconds:.1f} s.")
    return 0


def _logs(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations.console import logs

    if options.follow and output.machines:
        raise OperationError("--json prints one document, and --follow never ends: leave out one of them.", 2)
    lines: list[str] = []
    say = lines.append if output.machines else output.say
    logs(target, target.service(options.service), say, since=options.since, follow=options.follow)
    output.record("lines", lines)
    return 0


def _exec(target: Target, options: argparse.Namespace, _output: Output) -> int:
    from operations.console import execute

    return execute(target, target.service(options.service), options.command)


def _review(target: Target, _options: argparse.Namespace, output: Output) -> int:
    from operations.review import markdown, review

    parts = review(target)
    output.record("parts", [dataclasses.asdict(part) for part in parts])
    output.say(markdown(target, parts).rstrip())
    return 1 if any(check.passed is False for part in parts for check in part.checks) else 0


def _policies(options: argparse.Namespace, output: Output) -> int:
    import policies

    if options.list:
        listed = [
            {
                "rule": rule.name,
                "severity": rule.severity.value,
                "ids": " ".join(rule.ids),
                "description": rule.description,
            }
            for rule in policies.rules()
        ]
        output.record("rules", listed)
        output.table(listed)
        return 0
    findings = policies.check_stack(options.stack)
    output.record("findings", list(findings.lines()))
    for line in findings.lines():
        output.say(line)
    return 1 if findings.stops else 0


def _cost(options: argparse.Namespace, output: Output) -> int:
    from operations import cost
    from policies.registrations import ROOT

    after = cost.of_stack(
        ROOT / f"Pulumi.{options.stack}.yaml", cost.read_prices(options.prices) if options.prices else None
    )
    prices = after.prices
    before = cost.read(options.against, prices) if options.against else None
    output.record("cost", cost.document(after))
    if before:
        output.record("against", cost.document(before))
    if options.markdown:
        output.say(cost.markdown(before, after))
        return 0
    output.table(cost.difference(before, after) if before else cost.table(after))
    output.say(
        f"{after.month:.2f} {prices.currency} a month" + (f", {after.month - before.month:+.2f}" if before else "")
    )
    for resource in after.unpriced:
        output.say(f"not priced: {resource}; add its type to operations/cost.py")
    output.say(
        f"Prices of {prices.region}, {prices.date}, without free tiers; traffic, log lines and images as assumed in"
        f" {(options.prices or cost.table_of(after.region)).name}."
    )
    if after.elsewhere:
        output.say(after.elsewhere)
    return 0


def _diagram(options: argparse.Namespace, output: Output) -> int:
    from operations import diagram
    from policies.registrations import ROOT

    drawn = diagram.of_stack(ROOT / f"Pulumi.{options.stack}.yaml", options.service)
    text = diagram.mermaid(drawn) if options.mermaid else diagram.svg(drawn)
    output.record("mermaid" if options.mermaid else "svg", text)
    output.say(text.rstrip())
    return 0


def _rights(options: argparse.Namespace, output: Output) -> int:
    from components import settings
    from operations.rights import calls, held
    from operations.rights.judge import texts
    from policies.registrations import ROOT

    recorded = calls.read(options.calls) if options.calls else []
    roles = held.roles_of(settings.read_stack_file(ROOT / f"Pulumi.{options.stack}.yaml"))
    if not options.calls:
        output.record("roles", roles.statements)
        for role, statements in roles.statements.items():
            for statement in statements:
                output.say(f"{role}: {statement['Sid']}")
                output.say(f"    may  {' '.join(texts(statement['Action']))}")
                output.say(f"    on   {' '.join(texts(statement['Resource']))}")
                if "Condition" in statement:
                    output.say(f"    if   {json.dumps(statement['Condition'])}")
        return 0
    found = list(held.refusals(roles, recorded))
    output.record("refused", [dataclasses.asdict(refusal) for refusal in found])
    for refusal in found:
        output.say(f"the {refusal.role} role is refused {refusal.action} on {refusal.resource}")
        output.say(f"    call: {refusal.call}, {refusal.phase}")
        output.say(f"    do: {refusal.remedy}")
    output.say(f"{len(recorded)} different calls: {len(found)} requests refused")
    return 1 if found else 0


def _adopt(target: Target, options: argparse.Namespace, output: Output) -> int:
    from operations import adopt

    found = adopt.survey(target)
    for name, value in adopt.document(found).items():
        output.record(name, value)
    output.table(adopt.table(found))
    for thing in found.adoptable:
        lines = list(adopt.changes(thing))
        if lines:
            output.say("\n    ".join([f"{thing.name}: {thing.fate}", *lines]))
    for revision in found.continued:
        output.say(f"{revision} stays to go back to; the stack's revisions begin behind it, without an import.")
    for thing in found.existing:
        if thing.obstacle:
            output.say(f"in the way: {thing.noun} {thing.id}: {thing.obstacle}\n    do: {thing.remedy}")
    for what, where, why, remedy in found.conflicts:
        output.say(f"in the way: {what} {where}: {why}\n    do: {remedy}")
    for leftover in found.leftovers:
        output.say(f"stays: {leftover.what}: {leftover.why}\n    remove it after the up: {leftover.remedy}")
    if not found.existing:
        output.say("Nothing of the stack exists beside its state: there is nothing to adopt.")
    else:
        output.say(f"{len(found.existing)} exist, {found.managed} are in the state, {found.new} will be made.")
    if found.adoptable:
        if options.out:
            adopt.write(found, options.out)
            output.say(f"{options.out} has what can be adopted: {len(found.adoptable)} resources. Next:")
        for command in adopt.commands(target.stack, options.out, rehearsed=target.rehearsed):
            output.say(f"  {command}")
    return 1 if found.stops else 0


VERBS: dict[str, tuple[Verb, str]] = {
    "preflight": (_preflight, "check, before a deployment, everything that it needs"),
    "adopt": (_adopt, "what of the stack exists already, what the first up changes on it, and an import file for it"),
    "verify": (_verify, "check, after a deployment, that the service does what was wanted"),
    "accept": (_accept, "test sign-in, endpoints and tools as clients and their users use them"),
    "load": (_load, "let many users ask at once, and hold the answers' times to their limits"),
    "status": (_status, "what runs, since when, from which image; deployments, alarms, the last events"),
    "history": (_history, "revisions, and whether each ever became healthy"),
    "rollback": (_rollback, "go back to a revision that was healthy"),
    "restart": (_restart, "new tasks of the same revision, for example after a secret was changed"),
    "logs": (_logs, "log lines"),
    "exec": (_exec, "run a command in a running task"),
    "review": (_review, "is it ready for production? all of the above that asks, on one page of Markdown"),
}


_WITHOUT_ACCOUNT: dict[str, Callable[[argparse.Namespace, Output], int]] = {
    "policies": _policies,
    "cost": _cost,
    "diagram": _diagram,
    "rights": _rights,
}
"""Verbs that need the stack's configuration alone."""


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of them: write 1 or more")
    return int(text)


def _arguments() -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--stack", default="production", help="the stack (default: production)")
    common.add_argument("--service", metavar="KEY", help="the service, where the stack has several")
    common.add_argument("--rehearsal", action="store_true", help="work on the kept rehearsal of the stack")
    common.add_argument("--json", action="store_true", help="print one JSON document")
    parser = argparse.ArgumentParser(prog="./ops", description=__doc__, epilog=EXIT)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    parsers = {
        name: verbs.add_parser(name, parents=[common], help=text, epilog=EXIT) for name, (_, text) in VERBS.items()
    }
    parsers["adopt"].add_argument("--out", type=Path, metavar="FILE", help="write what pulumi import --file takes")
    parsers["rollback"].add_argument(
        "revision", nargs="?", help="number or family:number (default: the last healthy one)"
    )
    parsers["rollback"].add_argument("--dry-run", action="store_true", help="say what would be done")
    parsers["rollback"].add_argument(
        "--even-if-never-healthy", action="store_true", help="go to a revision that never was"
    )
    for verb in ("accept", "load"):
        parsers[verb].add_argument(
            "--token-file", type=Path, metavar="FILE", help="holds a signed-in user's token (default: ACCEPTANCE_TOKEN)"
        )
    parsers["accept"].add_argument("--report", type=Path, metavar="FILE.md", help="write the report as Markdown")
    parsers["load"].add_argument(
        "profile",
        nargs="?",
        default="mixed",
        choices=("health", "tools", "search", "mixed", "stress"),
        help="what is asked (default: mixed); stress: mixed, by twice as many users until something breaks",
    )
    parsers["load"].add_argument(
        "--users", type=_positive, default=10, help="at once, each about once a second; stress begins with them (10)"
    )
    parsers["load"].add_argument("--seconds", type=_positive, default=30, help="for each number of users (default: 30)")
    parsers["logs"].add_argument("--since", default="1h", help="how far back: 90s, 15m, 2h, 7d (default: 1h)")
    parsers["logs"].add_argument("--follow", action="store_true", help="go on until interrupted")
    parsers["exec"].add_argument(
        "command", nargs="*", help="the command (default: a shell); after -- if it has options"
    )
    rules = verbs.add_parser(
        "policies", parents=[common], help="hold what the program registers to the policies", epilog=EXIT
    )
    rules.add_argument("--list", action="store_true", help="list the rules")
    cost = verbs.add_parser("cost", parents=[common], help="what a month of the stack costs, estimated", epilog=EXIT)
    cost.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="another stack file, or what cost --json printed (*.json), to show the difference",
    )
    cost.add_argument("--prices", type=Path, metavar="FILE", help="a table like operations/prices.yaml")
    cost.add_argument("--markdown", action="store_true", help="for a pull request")
    diagram = verbs.add_parser(
        "diagram", parents=[common], help="the stack as a picture, drawn from what the program registers", epilog=EXIT
    )
    diagram.add_argument("--mermaid", action="store_true", help="as Mermaid, for Markdown (default: SVG)")
    rights = verbs.add_parser(
        "rights", parents=[common], help="what the pipeline's roles may do, and whether it is enough", epilog=EXIT
    )
    rights.add_argument(
        "--calls", type=Path, metavar="FILE", help="hold the roles against calls that a provider was seen to make"
    )
    return parser.parse_args()


def main() -> int:
    """Run the verb; the exit status."""
    options = _arguments()
    output = Output(machines=options.json)
    try:
        if options.verb in _WITHOUT_ACCOUNT:
            status = _WITHOUT_ACCOUNT[options.verb](options, output)
        else:
            target = kept(options.stack) if options.rehearsal else real(options.stack)
            status = VERBS[options.verb][0](target, options, output)
    except (SettingsError, ContextError, AccountError) as error:
        return output.fail(str(error), 2)
    except EstateError as error:
        return output.fail(f"{error}\nMore: ./ops preflight --stack {options.stack}", 1)
    except OperationError as error:
        return output.fail(str(error), error.status)
    except (BotoCoreError, ClientError) as error:
        again = " Log in again, for example: aws sso login; what ECS has begun goes on by itself."
        expired = again if "Expired" in str(error) else ""
        return output.fail(f"The account refused or did not answer: {error}{expired}", UNREACHABLE)
    except KeyboardInterrupt:
        return output.fail("Interrupted.", 130)
    output.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
