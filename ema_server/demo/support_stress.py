"""Support and stress: a simulated study, so that the truth can stand beside the estimates."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from analysis.simulate import SupportStress, answer_prompts, draw_people
from ema_client import Prompt
from ema_server.demo.phone import Answer, Event, Happening
from ema_server.demo.script import DemoStudy, Person, Prompts

SLUG = "support-stress"
ZONE = "Europe/Amsterdam"
FIRST_DAY, LAST_DAY = (
    date(2025, 3, 3),
    date(2025, 3, 16),
)  # two whole weeks; fixed, so that everybody sees the same figures
PEOPLE = 60
SEED = 20250303
TRUTH = SupportStress()

LOST_PHONE, LOST_AFTER_DAY = "P23", 9
FAULTY_APP, FAULTY_DAY = "P07", 3  # one day's answers are out of range, then sent again by the mended app
EDITING_APP, EDITED_DAY = "P12", 5  # one answer is sent again under the same id with another content

SURVEY = {
    "title": "Right now",
    "items": [
        {"name": "support", "type": "slider", "range": [0, 100], "text": "How supported do you feel right now?"},
        {"name": "stress", "type": "slider", "range": [0, 100], "text": "How stressed do you feel right now?"},
    ],
}
SAMPLING = {
    "schema": "ema-sampling/1",
    "rules": [
        {
            "key": "momentary",
            "questionnaire": "momentary",
            "open_minutes": int(TRUTH.window_minutes),
            "windows": [
                ["09:00", "10:30"],
                ["11:00", "12:30"],
                ["13:00", "14:30"],
                ["15:00", "16:30"],
                ["17:00", "18:30"],
                ["19:00", "20:30"],
            ],
        }
    ],
}
PLAN = {
    "schema": "ema-plan/1",
    "mode": "final",
    "questionnaire": "momentary",
    "occasion": "moment",
    "prompts_per_day": 6,
    "late_cutoff_minutes": 30,
    "columns": {},
    "notes": [],
    "models": [
        {
            "key": "main",
            "title": "Stress on support",
            "role": "primary",
            "formula": "stress ~ within(support) + between(support) + day + weekend + sin24 + cos24"
            " + (1 + within(support) | person)",
            "family": "gaussian",
            "reml": True,
            "df": "satterthwaite",
            "outcome": {"name": "stress", "label": "stress", "unit": "points", "range": [0, 100], "axis": "stress"},
            "predictor": {
                "name": "support",
                "label": "support",
                "unit": "points",
                "range": [0, 100],
                "axis": "support",
                "ambient": False,
            },
        }
    ],
}


def study() -> DemoStudy:
    people = draw_people(TRUTH, PEOPLE, np.random.default_rng(SEED))
    return DemoStudy(
        slug=SLUG,
        title="Support and stress",
        description="SIMULATED: 60 people, two weeks, six prompts a day, answered by a program from a stated truth.",
        source="Simulated by analysis.simulate from a stated truth; nobody took part.",
        zone=ZONE,
        questionnaire="momentary",
        survey=SURVEY,
        sampling=SAMPLING,
        plan=PLAN,
        people=[_person(number, row.to_dict()) for number, (_, row) in enumerate(people.iterrows(), start=1)],
        simulated_truth=_truth(),
        secret=hashlib.sha256(SLUG.encode()).digest(),
    )


def _truth() -> dict[str, float]:
    """What the estimates should find. The intercept is left out: the model's stands at these people's own mean support."""
    effects = {term: value for term, value in TRUTH.fixed_effects().items() if term != "Intercept"}
    return {**effects, **TRUTH.standard_deviations()}


def _person(number: int, traits: Mapping[Any, Any]) -> Person:
    pseudonym = f"P{number:02d}"

    def happenings(prompts: Prompts) -> list[Happening]:
        return _happenings(pseudonym, traits, prompts, np.random.default_rng([SEED, number]))

    return Person(pseudonym, FIRST_DAY, LAST_DAY, ZONE, happenings)


def _happenings(
    pseudonym: str, traits: Mapping[Any, Any], prompts: Prompts, rng: np.random.Generator
) -> list[Happening]:
    """What the person does at each prompt, and what their app does with it."""
    local = pd.to_datetime([prompt.local for prompt in prompts])
    schedule = pd.DataFrame(
        {
            "day": [prompt.day for prompt in prompts],
            "slot": [prompt.slot for prompt in prompts],
            "hour": local.hour + local.minute / 60 + local.second / 3600,
            "weekend": (local.day_of_week >= 5).astype(int),
        }
    )
    said = answer_prompts(TRUTH, traits, schedule, rng)
    found: list[Happening] = []
    for prompt, answer in zip(prompts, said.to_dict("records"), strict=True):
        day, slot = prompt.day, prompt.slot
        if pseudonym == LOST_PHONE and day > LOST_AFTER_DAY:
            continue
        if not answer["answered"]:
            found.append(Event(day, slot, "expired", prompt.expires_at))
            continue
        at = _after(prompt, answer["latency_minutes"])
        values = {"support": int(answer["support"]), "stress": int(answer["stress"])}
        if pseudonym == FAULTY_APP and day == FAULTY_DAY:
            found.append(Answer(day, slot, {**values, "support": values["support"] + 101}, at, name="faulty"))
        found.append(Answer(day, slot, values, at))
        if pseudonym == EDITING_APP and day == EDITED_DAY:
            found.append(Answer(day, slot, {**values, "stress": 100 - values["stress"]}, at, same_id_as=""))
    return found


def _after(prompt: Prompt, minutes: float) -> str:
    moment = datetime.fromisoformat(prompt.scheduled_at) + timedelta(seconds=int(minutes * 60))
    return moment.astimezone(ZoneInfo(prompt.zone)).isoformat()
