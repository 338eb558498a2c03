"""The phases of a rehearsal: preview, deployment, checks, a second preview, a refresh; with `full` an update, and the
way out too. The same for Pulumi's engine and the embedded driver."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from components import settings as configuration
from engine.cli import Cli
from engine.deployment import Deployment, Result
from engine.stack import Providers
from providers.provider import Change
from rehearsal import gaps, inventory
from rehearsal.kept import HOME, ROOT, RehearsalError
from rehearsal.report import Narrator, Phase, Row
from rehearsal.run import Rehearsal, Stack, different

Comparison = Literal["engines", "providers"]
"""What is held against each other: the embedded driver and Pulumi's engine, or own and official providers."""


def rehearse(
    stack: Stack,
    narrator: Narrator,
    *,
    cli: Cli | None,
    providers: Providers = "own",
    keep: bool = False,
    full: bool = False,
    adopt: Path | None = None,
) -> None:
    """Run all phases; the outcome is in the narrator's report. Whatever happens, nothing but a kept rehearsal stays.

    cli: Pulumi's; None: the embedded driver deploys. full: update and destroy as well. adopt: an import file, taken in
    before the deployment.
    """
    cleaning = time.monotonic()
    try:
        with Rehearsal(stack, keep=keep, narrator=narrator, cli=cli, providers=providers) as rehearsal:
            try:
                before = inventory.read(rehearsal.account) if full else None
                _deploy(rehearsal, narrator, adopt)
                if before is not None:
                    _update(rehearsal, narrator)
                    if unprotected := without_protection(rehearsal.stack):
                        # AWS refuses to delete what is protected; a person does the same before.
                        rehearsal.deploy(unprotected, phase="Protection off")
                    rehearsal.destroy()
                    with narrator.phase("Nothing left") as detail:
                        detail.append(_look_for_remains(before, inventory.read(rehearsal.account)))
                    _note_calls(rehearsal, narrator)
            finally:
                cleaning = time.monotonic()
    finally:
        if not keep:
            narrator.report.phases.append(Phase(name="Cleaning up", seconds=time.monotonic() - cleaning, detail=""))


def _note_calls(rehearsal: Rehearsal, narrator: Narrator) -> None:
    """Keep what official providers asked of the account, so that the pipeline's roles can be held against it."""
    if rehearsal.calls:
        file = HOME / f"calls-{rehearsal.stack.name}.jsonl"
        file.write_text("".join(json.dumps(call, sort_keys=True) + "\n" for call in rehearsal.calls))
        command = f"./ops rights --stack {rehearsal.stack.name} --calls {file.relative_to(ROOT)}"
        narrator.print(f"{len(rehearsal.calls)} calls of the official providers were noted: {command}")


def _deploy(rehearsal: Rehearsal, narrator: Narrator, adopt: Path | None) -> None:
    report = narrator.report
    if adopt:
        rehearsal.take_in(adopt)
    report.policies = rehearsal.preview().policies
    # Held to the policies once more, now that all values are known.
    deployed = rehearsal.deploy(policies=True)
    report.policies = deployed.policies or report.policies
    _show(rehearsal, deployed, narrator)
    _check(rehearsal, narrator)
    if different(deployed):
        _refuse_changes(rehearsal.preview(phase="Second preview", policies=False), "A preview of what is deployed")
    _refuse_changes(rehearsal.refresh(), "A refresh right after the deployment")


def _update(rehearsal: Rehearsal, narrator: Narrator) -> None:
    with tempfile.TemporaryDirectory(prefix="rehearsal-context-") as folder:
        if not (changed := with_changed_image(rehearsal.stack, Path(folder))):
            narrator.report.unproven.append(gaps.FINISHED_IMAGES.what)
            return
        updated = rehearsal.deploy(changed, phase="Changed image", kind="update")
    if not any(result.type == "aws:ecs/service:Service" for result in different(updated)):
        raise RehearsalError("The image was changed and deployed, but no ECS service was updated")
    _check(rehearsal, narrator, "after the update: ")


def _show(rehearsal: Rehearsal, deployed: Deployment, narrator: Narrator) -> None:
    report = narrator.report
    report.resources = list(map(_row, deployed.resources))
    report.outputs = rehearsal.outputs
    narrator.show_resources()
    narrator.show_outputs()
    narrator.show_policies()
    if rehearsal.google:
        report.unproven.append(gaps.GOOGLE.what)
    _note_unproven(rehearsal, deployed, report.unproven)


def _check(rehearsal: Rehearsal, narrator: Narrator, when: str = "") -> None:
    with narrator.phase("Checks") as detail:
        found = [dataclasses.replace(check, name=f"{when}{check.name}") for check in rehearsal.check()]
        narrator.report.checks += found
        whom = "as a client and of the account" if rehearsal.engine else "of the account alone"
        detail.append(f"{len(found)}, asked {whom}")
    narrator.show_checks(found)


def _refuse_changes(deployed: Deployment, what: str) -> None:
    if found := different(deployed):
        names = "; ".join(f"{result.name} {result.action} {_words(result.changes)}" for result in found)
        raise RehearsalError(f"{what} must show no change, but shows: {names}")


def _words(changes: Mapping[str, Change]) -> str:
    return ", ".join(f"{path} ({change.before!r} -> {change.after!r})" for path, change in changes.items())


def with_changed_image(stack: Stack, folder: Path) -> Stack | None:
    """The stack with another image for each service that builds one: the same Dockerfile with one more label.

    The changed contexts are put into `folder`. None if every service uses a finished image.
    """
    config = dict(stack.config)
    key = f"{configuration.NAMESPACE}:services"
    services = json.loads(config[key])
    built = [service for service in stack.settings.services.values() if service.image.digest is None]
    for service in built:
        context = folder / service.key
        shutil.copytree(ROOT / service.image.context, context, symlinks=True)
        with (context / service.image.dockerfile).open("a") as dockerfile:
            dockerfile.write("\nLABEL rehearsal.update=true\n")
        services[service.key].setdefault("image", {})["context"] = str(context)
    config[key] = json.dumps(services)
    return dataclasses.replace(stack, config=config, settings=configuration.parse(config)) if built else None


def without_protection(stack: Stack) -> Stack | None:
    """The stack with no table protected from deletion; None if it has none that is."""
    config = dict(stack.config)
    key = f"{configuration.NAMESPACE}:services"
    services = json.loads(config[key])
    protected = [
        service
        for service in stack.settings.services.values()
        if isinstance(service.oauth_state, configuration.DynamoDbState) and service.oauth_state.deletion_protection
    ]
    for service in protected:
        state = services[service.key].setdefault("oauth", {}).get("state")
        state = state if isinstance(state, dict) else {"backend": "dynamodb"}
        services[service.key]["oauth"]["state"] = {**state, "deletionProtection": False}
    config[key] = json.dumps(services)
    return dataclasses.replace(stack, config=config, settings=configuration.parse(config)) if protected else None


def _look_for_remains(before: inventory.Inventory, now: inventory.Inventory) -> str:
    """Hold the account against what it was before the first deployment; what is left on purpose.

    Raises `RehearsalError` for anything else of ours, and where the estate was touched.
    """
    left = inventory.added(before, now)
    # Revisions are kept, so that there is one to go back to (skipDestroy); what protects a bucket, and what all the
    # account's pipelines sign in by, are retained (retainOnDelete).
    stays = ("task definition ", inventory.BUCKET_SETTING, inventory.IDENTITY_PROVIDER)
    kept = [key for key in left if key.startswith(stays)]
    wrong = [f"{key} is left" for key in left if key not in kept] + inventory.changed(before, now)
    if wrong:
        raise RehearsalError("After the destroy the account must be as it was before, but:\n" + "\n".join(wrong))
    return f"all {len(before)} things of the estate are as before; kept on purpose: {', '.join(kept)}"


def compare(stack: Stack, narrator: Narrator, what: Comparison, cli: Cli) -> None:
    """Deploy in two ways, each into an account of its own, and hold what is there then against each other.

    Raises `RehearsalError` where the accounts differ in more than identifiers.
    """
    with (
        Rehearsal(stack, narrator=narrator, cli=cli if what == "providers" else None) as first,
        Rehearsal(stack, narrator=narrator, cli=cli, providers="official" if what == "providers" else "own") as second,
    ):
        ways = {"engines": ("embedded", "Pulumi"), "providers": ("own", "official")}[what]
        first.deploy(phase=f"Deployment ({ways[0]})")
        _show(second, second.deploy(phase=f"Deployment ({ways[1]})"), narrator)
        with narrator.phase("Comparison") as detail:
            if found := inventory.compare(first.account, second.account):
                raise RehearsalError(
                    f"The two (first: {ways[0]}, second: {ways[1]}) left different accounts:\n" + "\n".join(found)
                )
            detail.append(f"{len(inventory.read(first.account))} things, equal but for what {gaps.PAGE} has")


def _row(resource: Result) -> Row:
    return Row(
        name=resource.name,
        type=resource.type.split(":", 1)[0] + ":" + resource.type.rsplit(":", 1)[-1],
        action=resource.action,
        seconds=resource.seconds,
        changes={name: f"{change.before} -> {change.after}" for name, change in resource.changes.items()},
        recorded_only=resource.recorded_only,
    )


def _note_unproven(rehearsal: Rehearsal, deployed: Deployment, unproven: list[str]) -> None:
    if rehearsal.engine:
        unproven += [gaps.BASE_IMAGE.what.format(name=name) for name in rehearsal.engine.stand_ins]
    reasons: dict[str, set[str]] = {}
    for resource in deployed.resources:
        for name, reason in resource.recorded_only.items():
            reasons.setdefault(reason, set()).add(f"{resource.type.rsplit(':', 1)[-1]}.{name}")
    unproven += [f"{', '.join(sorted(names))}: recorded only, {reason}" for reason, names in reasons.items()]
    unproven += [gap.what for gap in gaps.ALWAYS_UNPROVEN]
    unproven.append((gaps.OFFICIAL_PROVIDERS if rehearsal.providers == "official" else gaps.OWN_PROVIDERS).what)
    if rehearsal.cli is None:
        unproven.append(gaps.WITHOUT_ENGINE.what)
