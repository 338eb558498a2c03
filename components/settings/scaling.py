"""How many tasks there are, and what they run on."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from components.settings.model import Model
from components.settings.patterns import Name

_EXAMPLES = "cron(0 8 ? * MON-FRI *) for 8:00 on working days, or at(2027-01-31T08:00:00) for once"
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
# Of each field: what it is called, its least and greatest value, the names of its values from the least on, and what
# else stands alone in it.
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based
_FIELDS: tuple[tuple[str, int, int, list[str], str], ...] = (
    ("minutes", 0, 59, [], ""),
    ("hours", 0, 23, [], ""),
    ("day of month", 1, 31, [], r"\?|L|LW|(3[01]|[12]?\d)W"),
    ("month", 1, 12, _MONTHS, ""),
    ("day of week", 1, 7, _DAYS, r"\?|L|([1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(L|#[1-5])"),
    ("year", 1970, 2199, [], ""),
)


def _schedule(value: str) -> str:
    if found := re.fullmatch(r"at\((.*)\)", value):
        try:
            moment = datetime.datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S")
        except ValueError:
            moment = None
        if moment is None or moment.isoformat() != found[1]:
            raise ValueError(f"at(yyyy-mm-ddThh:mm:ss), a day and time that exist, such as {_EXAMPLES}")
        return value
    found = re.fullmatch(r"cron\((.*)\)", value)
    if not found:
        raise ValueError(f"cron(...) or at(...), such as {_EXAMPLES}")
    fields = found[1].split()
    if len(fields) != len(_FIELDS):
        wanted = ", ".join(name for name, *_ in _FIELDS)
        raise ValueError(f"cron(...) with six fields ({wanted}; {len(fields)} are here), such as {_EXAMPLES}")
    for text, (name, least, most, names, alone) in zip(fields, _FIELDS, strict=True):
        if not _field(text.upper(), least, most, names, alone):
            raise ValueError(f"cron(...) with {least} to {most} for the {name}, which is {text}; such as {_EXAMPLES}")
    if (fields[2] == "?") == (fields[4] == "?"):
        raise ValueError(f"cron(...) with ? for the day of month or for the day of week, not both, such as {_EXAMPLES}")
    return value


def _field(text: str, least: int, most: int, names: list[str], alone: str) -> bool:
    """Whether AWS takes `text` for a field of a cron expression: `*`, values, ranges and steps between commas."""
    if alone and re.fullmatch(alone, text):
        return True

    def known(word: str) -> bool:
        return word in names or (word.isdecimal() and least <= int(word) <= most)

    for part in text.split(","):
        base, slash, step = part.partition("/")
        if slash and not (step.isdecimal() and int(step)):
            return False
        if base != "*" and not (base.count("-") <= 1 and all(map(known, base.split("-")))):
            return False
    return True


def _timezone(value: str) -> str:
    # A machine without a database of time zones leaves it to AWS.
    known = zoneinfo.available_timezones()
    if value not in known if known else not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", value):
        raise ValueError("the name of a time zone as IANA has it, such as Europe/Zurich or UTC")
    return value


class Schedule(Model):
    """Other limits from a moment on, until another schedule changes them. Scaling by metrics goes on within them."""

    schedule: Annotated[str, AfterValidator(_schedule)]
    """When: `cron(minutes hours day-of-month month day-of-week year)`, such as `cron(0 8 ? * MON-FRI *)`, or once:
    `at(2027-01-31T08:00:00)`."""
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    """The time zone of `schedule`, such as Europe/Zurich; summer time is heeded. Default UTC."""
    minimum: Annotated[int, Field(ge=1, le=100)] | None = None
    """The fewest tasks from then on. Default: it stays."""
    maximum: Annotated[int, Field(ge=1, le=100)] | None = None
    """The most tasks from then on. Default: it stays."""

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.minimum is None and self.maximum is None:
            yield ("minimum", "maximum"), "is not set, nor is maximum; set one of them, or remove the schedule"
        if self.minimum and self.maximum and self.minimum > self.maximum:
            yield ("minimum", "maximum"), f"is {self.minimum}; it must not be more than maximum, {self.maximum}"


class Autoscaling(Model):
    """The number of tasks follows what they do, the time, or both. `desiredCount` is where a new service begins; from
    then on the number is not the program's, and what was scaled by hand is not reset either. Of several metrics any
    adds tasks; tasks go, after five minutes each, when all agree."""

    minimum: Annotated[int, Field(ge=1, le=100)] = 1
    """The fewest tasks. Default 1."""
    maximum: Annotated[int, Field(ge=2, le=100)]
    """The most tasks. With more than one OAuth state is shared; see oauth.state."""
    cpu_percent: Annotated[int, Field(ge=10, le=90)] | None = None
    """CPU that tasks are kept at, on average, in percent. Default: 60 where nothing else here says when to scale;
    docs/capacity.md has how many people that is, and how soon they are answered."""
    memory_percent: Annotated[int, Field(ge=10, le=95)] | None = None
    """Memory that tasks are kept at, on average, in percent. Default: it is not looked at, because it does not grow
    with people (docs/capacity.md)."""
    requests_per_target: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Requests a minute that each task gets from the load balancer, on average (only with routing from outside).
    Default: they are not looked at, because what one takes depends on the tools that are called; docs/capacity.md has
    figures to begin with."""
    schedules: dict[Name, Schedule] = {}
    """Other limits at other times, by a name of yours. What a schedule sets (`minimum`, `maximum`) is here only where a
    new service begins. Default: none."""

    @property
    def tracked(self) -> dict[str, int]:
        """What the number of tasks follows: cpu, memory or requests -> what it is kept at, in percent or requests a
        minute."""
        asked = {"cpu": self.cpu_percent, "memory": self.memory_percent, "requests": self.requests_per_target}
        chosen = {name: value for name, value in asked.items() if value is not None}
        return chosen if chosen or self.schedules else {"cpu": 60}

    @property
    def task_range(self) -> tuple[int, int]:
        """The fewest and the most tasks at any time."""
        others = self.schedules.values()
        return (
            min([self.minimum, *(other.minimum for other in others if other.minimum)]),
            max([self.maximum, *(other.maximum for other in others if other.maximum)]),
        )

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.minimum > self.maximum:
            yield ("minimum", "maximum"), f"is {self.minimum}; it must not be more than maximum, {self.maximum}"
        # A schedule that sets one limit meets whichever other limit is set at that time.
        limits = list(self.schedules.values())
        least = min([self.maximum, *(other.maximum for other in limits if other.maximum)])
        greatest = max([self.minimum, *(other.minimum for other in limits if other.minimum)])
        for name, other in self.schedules.items():
            if other.minimum and other.maximum is None and other.minimum > least:
                yield (
                    ("schedules", "maximum", "minimum"),
                    f"{name}.minimum is {other.minimum}, but a maximum of {least} may hold then; "
                    f"set {name}.maximum as well",
                )
            if other.maximum and other.minimum is None and other.maximum < greatest:
                yield (
                    ("schedules", "maximum", "minimum"),
                    f"{name}.maximum is {other.maximum}, but a minimum of {greatest} may hold then; "
                    f"set {name}.minimum as well",
                )


class Capacity(Model):
    """What tasks run on: first some on demand, and those above in shares on Spot and on demand. Spot is about a third
    of the price; AWS takes a Spot task away at two minutes' notice, and starts none while it has no capacity to spare.
    Needs FARGATE and FARGATE_SPOT associated with the cluster."""

    on_demand_base: Annotated[int, Field(ge=0, le=100)] = 1
    """Tasks that run on demand before any other is started. Default 1."""
    spot_weight: Annotated[int, Field(ge=0, le=1000)] = 1
    """Share on Spot of the tasks above the base. Default 1; 0 for none."""
    on_demand_weight: Annotated[int, Field(ge=0, le=1000)] = 0
    """Share on demand of the tasks above the base. Default 0: all of them are on Spot."""

    @property
    def strategy(self) -> list[tuple[str, int, int]]:
        """Capacity provider, base and weight of each that is used. A base is kept with a weight of 0 too: AWS's own
        Copilot makes it so (`spot_from`)."""
        on_demand = ("FARGATE", self.on_demand_base, self.on_demand_weight)
        used = [on_demand] if self.on_demand_base or self.on_demand_weight else []
        return [*used, ("FARGATE_SPOT", 0, self.spot_weight)] if self.spot_weight else used

    def disagreements(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if not self.spot_weight and not self.on_demand_weight:
            # AWS refuses a strategy in which no weight is above 0.
            yield (
                ("spot_weight", "on_demand_weight"),
                "is 0, and so is onDemandWeight: tasks above the base would have nowhere to run; "
                "set onDemandWeight: 1 to have all on demand",
            )
