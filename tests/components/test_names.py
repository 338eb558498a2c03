"""The names that a stack's resources get: which service has which, and that no two have the same."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

import pytest

from components.settings.stack import INNER_WORDS
from policies.registrations import registrations
from tests.components.mistakes import mistakes
from tests.components.roles import CACHED, EVERYTHING
from tests.stacks import SERVICE, changed, production

KEY, NAME = "google-workspace", "busyb-google-workspace-mcp"


def test_all_words_between_a_service_and_the_end_of_a_name_are_known() -> None:
    ends: dict[tuple[str, str], set[str]] = defaultdict(set)
    more = {f"{SERVICE}.alarms": {"anomalyBand": 3}, f"{SERVICE}.dashboard": None}
    for base in (EVERYTHING, CACHED):
        for registered in registrations(changed(production("names"), base | more).config):
            texts = {"key": registered.name, **{k: v for k, v in registered.inputs.items() if isinstance(v, str)}}
            for kind, text in texts.items():
                own = KEY if kind == "key" else NAME
                if text == own or text.startswith(f"{own}-"):
                    ends[registered.type, kind].add(text.removeprefix(own))
    between: dict[str, set[str]] = {"key": set(), "name": set()}
    for (_, kind), found in ends.items():
        for longer, shorter in itertools.permutations(found, 2):
            inner = longer.removesuffix(shorter)
            if longer.endswith(shorter) and inner.startswith("-"):
                between["key" if kind == "key" else "name"].add(inner.strip("-"))
    assert {kind: tuple(sorted(words)) for kind, words in between.items()} == INNER_WORDS


@pytest.mark.parametrize(
    ("keys", "names"), [(("mail", "mail-second"), ("a", "b")), (("one", "two"), ("mail-server", "mail"))]
)
def test_services_whose_names_would_run_into_each_other_are_refused(
    config: dict[str, Any], keys: tuple[str, str], names: tuple[str, str]
) -> None:
    (shipped,) = config["services"].values()
    config["services"] = {key: {**shipped, "name": name} for key, name in zip(keys, names, strict=True)}
    kind = "key" if "mail" in keys else "name"
    longer = "mail-second" if kind == "key" else "mail-server"
    refused = "\n".join(mistakes(config))
    assert f"{keys[0]} and {keys[1]} both have" in refused
    assert f"names that begin with {longer}- (by their {kind}s)" in refused
