"""What pages draw of a plan and of one person's prompts: values in, places on the picture out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Any

from ema_server.studies.sampling_arithmetic import waking_on
from ema_server.studies.sampling_slots import DAY, clock, slots_of

LONGEST = 120  # days of one person in a picture


@dataclass(frozen=True, slots=True)
class Band:
    """When one prompt of a rule may come, in hundredths of the axis."""

    x: float
    width: float
    words: str


@dataclass(frozen=True, slots=True)
class RuleRow:
    key: str
    title: str
    questionnaire: str
    bands: list[Band]
    practice: bool


@dataclass(frozen=True, slots=True)
class DayPicture:
    """A day by a plan: from the earliest to the latest hour at which anything is asked, a row for each rule that asks by day."""

    rows: list[RuleRow]
    hours: list[tuple[float, str]]
    awake: tuple[float, float] | None  # the plan's waking hours: x and width

    @property
    def in_words(self) -> str:
        return "; ".join(f"{row.title}: {', '.join(band.words for band in row.bands)}" for row in self.rows)


def day_picture(document: Mapping[str, Any]) -> DayPicture:
    waking, bounded = waking_on(document, {}, 1)
    rows = [(rule, slots_of(rule, waking, bounded=bounded)) for rule in document["rules"]]
    every = [slot for _, slots in rows for slot in slots] or []
    first = min([slot.earliest for slot in every] + [waking[0]]) // 60 * 60
    end = -(-(max([slot.latest for slot in every] + [waking[1]]) + 1) // 60) * 60

    def place(minute: int) -> float:
        return round(100 * (minute - first) / (end - first), 2)

    def band(earliest: int, latest: int) -> Band:
        words = clock(earliest) if earliest == latest else f"{clock(earliest)}–{clock(latest + 1)}"
        return Band(place(earliest), place(latest + 1) - place(earliest), words)

    return DayPicture(
        [
            RuleRow(
                rule["key"],
                rule.get("title") or rule["key"],
                rule["questionnaire"],
                [band(slot.earliest, slot.latest) for slot in slots],
                bool(rule.get("practice")),
            )
            for rule, slots in rows
            if slots
        ],
        [(place(hour * 60), f"{hour:02d}") for hour in range(first // 60, end // 60 + 1) if hour % 3 == 0],
        (place(waking[0]), place(waking[1]) - place(waking[0])) if bounded else None,
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt of a person, as far as the picture needs it."""

    day: int
    local_date: date
    local_time: time
    questionnaire: str
    became: str  # answered, unanswered, ahead, called off


@dataclass(frozen=True, slots=True)
class Mark:
    x: float
    y: float
    became: str
    words: str


@dataclass(frozen=True, slots=True)
class PersonPicture:
    """Days along, clock time down."""

    marks: list[Mark]
    days: list[tuple[float, str]]
    hours: list[tuple[float, str]]
    today: float | None
    width: float
    height: float


WIDE, TALL, CLOSEST, FURTHEST = 760, 190, 9, 26


def person_picture(asked: Sequence[Asked], *, first_day: date, days: int, today: date) -> PersonPicture:
    """Where each prompt stands. The day is the person's own: what is asked after midnight of a night worker stays in it."""
    days = min(days, LONGEST)
    step = max(CLOSEST, min(FURTHEST, WIDE // days))
    minutes = [(each, _minute(each, first_day)) for each in asked if 1 <= each.day <= days]
    first = min((minute for _, minute in minutes), default=8 * 60) // 60 * 60
    end = -(-max((minute for _, minute in minutes), default=22 * 60) // 60) * 60 + 60

    def down(minute: int) -> float:
        return round(TALL * (minute - first) / (end - first), 1)

    def along(day: int) -> float:
        return (day - 0.5) * step

    number = (today - first_day).days + 1
    every = 7 if days > 10 else 1
    return PersonPicture(
        [
            Mark(
                along(each.day),
                down(minute),
                each.became,
                f"day {each.day}, {each.local_date:%-d %b} {each.local_time:%H:%M}: {each.questionnaire}, {each.became}",
            )
            for each, minute in minutes
        ],
        [(along(day), f"{first_day + timedelta(days=day - 1):%-d %b}") for day in range(1, days + 1, every)],
        [(down(hour * 60), f"{hour % 24:02d}:00") for hour in range(first // 60, end // 60 + 1) if hour % 3 == 0],
        along(number) if 1 <= number <= days else None,
        days * step,
        TALL,
    )


def _minute(each: Asked, first_day: date) -> int:
    of_day = first_day + timedelta(days=each.day - 1)
    return each.local_time.hour * 60 + each.local_time.minute + DAY * (each.local_date - of_day).days


def counted(asked: Iterable[Asked]) -> dict[str, int]:
    """How many became what, for the words beside the picture."""
    found: dict[str, int] = {}
    for each in asked:
        found[each.became] = found.get(each.became, 0) + 1
    return found
