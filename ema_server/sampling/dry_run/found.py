"""What a dry run found, as plain data: `asdict` of it is JSON, and stays the same for pages, commands and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RuleFound:
    """One rule over everybody. Days are of the person, times are local; shares are of its prompts, by fate."""

    key: str
    title: str
    questionnaire: str
    when: str
    practice: bool
    people: int
    prompts: int
    first_day: int | None
    last_day: int | None
    earliest: str
    latest: str
    minutes: float | None
    open_minutes: int | None
    reminders: list[int]
    options: dict[str, float]
    left_out: int
    in_time: float | None = None
    reminded: float | None = None
    closed: float | None = None
    unnoticed: float | None = None


@dataclass(frozen=True, slots=True)
class QuestionnaireFound:
    """A questionnaire over all rules that ask it, without practice. Prompts and days with prompts are means over the people who
    are asked it."""

    questionnaire: str
    people: int
    prompts: float
    days: float
    first_day: int
    last_day: int
    answered: float


@dataclass(frozen=True, slots=True)
class Example:
    """One person with the exact moments of their prompts: day, minute of that day by the clock, rule, and the time in full."""

    who: str
    prompts: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Picture:
    """How many prompts fall where: of each rule a row for each day, with a count for each half hour of local time from
    `first_half_hour` on (0 begins at midnight; 49 is half past midnight of the night after)."""

    days: int
    first_half_hour: int
    half_hours: int
    counts: dict[str, list[list[int]]]
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class Gaps:
    """Minutes between a prompt and the next of the same day; `shortest_night` between the last and the first of the next."""

    asked: int
    pairs: int
    least: float | None
    low: float | None
    median: float | None
    high: float | None
    most: float | None
    shortest_night: float | None
    below: int
    below_named: list[str]


@dataclass(frozen=True, slots=True)
class Burden:
    """Without practice. Means are over the days on which somebody is asked; minutes are those of all prompts, answered or not."""

    per_day: float | None
    most_in_a_day: int
    busiest_day: int | None
    busiest_prompts: float | None
    minutes_per_day: float | None
    busiest_minutes: float | None
    days_asked: float | None
    per_person_least: int
    per_person_median: float
    per_person_most: int
    minutes_per_person: float | None


@dataclass(frozen=True, slots=True)
class Phones:
    """How far an iPhone's 64 waiting notifications reach at the busiest time of each person: prompts and all their reminders.
    None: for all of their days."""

    limit: int
    most_notifications: int
    people_beyond: int
    reach_least: float | None
    reach_median: float | None
    says: str


@dataclass(frozen=True, slots=True)
class ClockChanges:
    """Nights on which somebody's clocks changed, and what happened to the prompts of that day."""

    people: int
    nights: int
    prompts: int
    in_the_night: int
    moved: int
    repeated: int
    below_gap: int


@dataclass(frozen=True, slots=True)
class Button:
    """An event button: no prompts, so only on how many days it is offered."""

    key: str
    questionnaire: str
    people: int
    days: float


@dataclass(frozen=True, slots=True)
class DryRun:
    people: int
    asked: int
    study_days: int
    seed: int
    zones: list[str]
    starts: list[str]
    hours: dict[str, int]
    arms: dict[str, int]
    warnings: list[str]
    notes: list[str]
    refused: list[str]
    prompts: int
    practice_prompts: int
    follow_ups: int
    rules: list[RuleFound]
    questionnaires: list[QuestionnaireFound]
    buttons: list[Button]
    picture: Picture
    gaps: Gaps
    burden: Burden
    phones: Phones
    clock_changes: ClockChanges
    fates: dict[str, float]
    assumptions: list[str]

    @property
    def as_json(self) -> dict[str, Any]:
        return asdict(self)


Run = Mapping[str, Any]  # a DryRun `as_json`, as it may come out of a file
