"""Student life: 79 real students in the first weeks of the pandemic, four prompts a day, with all that went odd."""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ema_server.demo.phone import Answer, Event, Happening, Move
from ema_server.demo.script import DemoStudy, Person, Prompts

SLUG = "student-life"
FILE = "fried2022.csv"
ZONE = "Europe/Amsterdam"
FIRST_DAY, LAST_DAY = date(2020, 3, 16), date(2020, 3, 29)  # the real days: the clocks changed on 29 March
TIMES = ("12:00", "15:00", "18:00", "21:00")
OPEN_MINUTES = 60
# The phones wrote CET, EET, MSK and +03; the file keeps the offsets. Two phones were at +03:00 before 29 March, one in
# each zone: which is which is not in the file and makes no difference to any time.
ZONES = {"+01:00": "Europe/Amsterdam", "+02:00": "Europe/Helsinki", "+03:00": "Europe/Moscow"}
SECOND_AT_THREE = "3"

ITEMS = {
    "difficulties_relaxing": "Difficulties relaxing",
    "irritable": "Irritable",
    "worry": "Worried",
    "nervous": "Nervous",
    "nothing_look_forward": "Nothing to look forward to",
    "anhedonia": "Anhedonia",
    "tired": "Tired",
    "hungry": "Hungry",
    "alone": "Feeling alone",
    "angry": "Angry",
    "social_offline": "Offline social contacts",
    "social_online": "Online social contacts",
    "time_music": "Time spent listening to music",
    "procrastinated": "Procrastination",
    "time_outdoors": "Time spent outdoors",
    "covid_occupied": "Occupied with COVID",
    "covid_worry": "Worried about COVID",
    "time_home": "Time spent at home",
}
SURVEY = {
    "title": "The last three hours",
    "items": [
        {"name": name, "type": "likert", "range": [1, 5], "text": text, "required": False}
        for name, text in ITEMS.items()
    ],
}
SAMPLING = {
    "schema": "ema-sampling/1",
    "rules": [{"key": "momentary", "questionnaire": "momentary", "open_minutes": OPEN_MINUTES, "times": list(TIMES)}],
}
PLAN = {
    "schema": "ema-plan/1",
    "mode": "final",
    "questionnaire": "momentary",
    "occasion": "moment",
    "prompts_per_day": 4,
    "late_cutoff_minutes": None,
    "columns": {},
    "notes": ["The source file holds no personal characteristics, so nothing between persons is adjusted for."],
    "models": [
        {
            "key": "main",
            "title": "Feeling alone on offline contact",
            "role": "primary",
            "formula": "alone ~ within(social_offline) + between(social_offline) + day + weekend + C(slot)"
            " + (1 + within(social_offline) | person)",
            "family": "gaussian",
            "reml": True,
            "df": "satterthwaite",
            "outcome": {
                "name": "alone",
                "label": "feeling alone",
                "unit": "points",
                "range": [1, 5],
                "axis": "feeling alone",
            },
            "predictor": {
                "name": "social_offline",
                "label": "offline contact",
                "unit": "points",
                "range": [1, 5],
                "axis": "offline contact",
                "ambient": False,
            },
        }
    ],
}


def study(path: Path) -> DemoStudy:
    by_person: dict[str, list[dict[str, str]]] = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            by_person[row["id"]].append(row)
    return DemoStudy(
        slug=SLUG,
        title="Student life, March 2020",
        description="79 students, four prompts a day for two weeks, each open for an hour.",
        source="Fried, Papanikolaou & Epskamp (2022), Clin. Psychol. Sci. 10(2), 340–354; openESM 0001, CC-BY 4.0.",
        zone=ZONE,
        questionnaire="momentary",
        survey=SURVEY,
        sampling=SAMPLING,
        plan=PLAN,
        people=[_person(identity, by_person[identity]) for identity in sorted(by_person, key=int)],
    )


def _person(identity: str, rows: list[dict[str, str]]) -> Person:
    home, move = _zones(identity, rows)

    def happenings(prompts: Prompts) -> list[Happening]:
        found: list[Happening] = [move] if move else []
        seen: set[tuple[int, int]] = set()
        for row in rows:
            found += _of_row(row, repeated=(int(row["day"]), int(row["beep"])) in seen)
            seen.add((int(row["day"]), int(row["beep"])))
        return found

    return Person(f"P{int(identity):02d}", FIRST_DAY, LAST_DAY, home, happenings)


def _zones(identity: str, rows: list[dict[str, str]]) -> tuple[str, Move | None]:
    """The zone in which the phone's prompts were planned, and the moment from which they followed the person abroad.

    Some phones abroad were first asked by Dutch time (at 13:00 for 12:00) and later by their own.
    """
    first_weeks = [row for row in rows if row["issued"] and row["day"] != "14" and not row["issued"].startswith("1970")]
    offset = first_weeks[0]["issued"][-6:] if first_weeks else "+01:00"
    abroad = "Europe/Istanbul" if identity == SECOND_AT_THREE else ZONES[offset]
    if all(_on_local_time(row) for row in rows):
        return abroad, None
    first_moved = next(row for row in rows if row["issued"] and _on_local_time(row))
    since = datetime.fromisoformat(first_moved["scheduled_local"]).replace(tzinfo=ZoneInfo(abroad))
    return ZONE, Move(abroad, since.isoformat())


def _on_local_time(row: dict[str, str]) -> bool:
    """Whether the prompt came at its hour on the clock of the phone's own wall."""
    return row["scheduled_local"][11:13] == TIMES[int(row["beep"]) - 1][:2]


def _of_row(row: dict[str, str], *, repeated: bool) -> list[Happening]:
    """What the phone reports of one row of the file."""
    day, slot, name = int(row["day"]), int(row["beep"]), row["seq"]
    answers: dict[str, Any] = {item: int(row[item]) for item in ITEMS if row[item]}
    ended = row["ended"] or _window_end(row)
    found: list[Happening] = []
    if row["issued"]:
        found.append(
            Event(day, slot, "delivered", row["issued"], name=name)
        )  # 13 of them by a clock that stood at 1970
    if repeated:
        found.append(Event(day, slot, "reissued", row["issued"] or ended, name=name))
    if row["status"] == "answered":
        found.append(Answer(day, slot, answers, ended, name=name))
        return found
    if answers:  # begun, then the prompt expired or was cancelled
        found.append(Answer(day, slot, answers, ended, complete=False, name=name))
    found.append(Event(day, slot, "cancelled" if row["status"] == "canceled" else "expired", ended, name=name))
    return found


def _window_end(row: dict[str, str]) -> str:
    """For prompts of which the phone kept no time: an hour after they were planned, by Dutch time."""
    planned = datetime.fromisoformat(row["scheduled_local"]).replace(tzinfo=ZoneInfo(ZONE))
    return (planned + timedelta(minutes=OPEN_MINUTES)).isoformat()
