"""The rows that a night reads, told once more from the bare tables, row by row and by the documentation's words alone."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from ema_server.participants.models import Device, Participant, Pause
from ema_server.reports import dataset
from ema_server.responses.models import Submission
from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.studies.models import SamplingPlan, Study, SurveyVersion
from tests.world import MONDAY, PLAN, live_study

pytestmark = pytest.mark.django_db

CUTOFF = datetime(2026, 3, 12, 3, tzinfo=UTC)
ZONES = ("Europe/Amsterdam", "America/New_York", "Asia/Kolkata")
LATE = 30


def odd_study(seed: int) -> Study:
    """People in every state, prompts of every kind, and whatever confused phones could send."""
    rng = random.Random(seed)
    study = live_study()
    version, plan = SurveyVersion.objects.get(study=study), SamplingPlan.objects.get(study=study)
    for number in range(14):
        state = Participant.State.ERASED if number == 3 else Participant.State.WITHDRAWN if number == 4 else "active"
        enrolled = None if number == 5 else CUTOFF + timedelta(days=1 if number == 6 else -9)
        person = Participant.objects.create(
            study=study, pseudonym=f"{rng.choice('PpÄ=')}{number:02d}", state=state, enrolled_at=enrolled,
            test_person=number == 7, arm=rng.choice(["a", "b"]), site="s" if number % 2 else "",
        )  # fmt: skip
        device = Device.objects.create(
            participant=person, token_digest=f"{seed}-{number}", platform="android", created_at=CUTOFF
        )
        if number % 3 == 1:
            Pause.objects.create(
                participant=person,
                since=CUTOFF - timedelta(days=number, hours=7),
                until=CUTOFF - timedelta(days=number - 1),
            )
        if number == 8:
            Pause.objects.create(participant=person, since=CUTOFF - timedelta(days=2))
        zone = ZoneInfo(rng.choice(ZONES))
        for day in range(12):
            for slot, hour in enumerate((0, 9, 14, 20), start=1):
                date = MONDAY + timedelta(days=day)
                local = datetime(date.year, date.month, date.day, hour, rng.randrange(60), tzinfo=zone)
                prompt = Prompt.objects.create(
                    study=study, participant=person, plan=plan, rule=rng.choice(["momentary", "extra"]), day=day + 1, slot=slot,
                    questionnaire=rng.choice(["momentary"] * 4 + ["weekly"]), scheduled_at=local,
                    expires_at=local + timedelta(minutes=60), local_date=local.date(), local_time=local.time(), zone=zone.key,
                    utc_offset_minutes=(local.utcoffset() or timedelta()).total_seconds() // 60, practice=rng.random() < 0.05,
                    wave=rng.choice(["", "w1"]),
                )  # fmt: skip
                for _ in range(rng.choice([0, 0, 1, 1, 1, 2, 3])):
                    answered = local + timedelta(minutes=rng.choice([-5, 1, 59, 60, 61, 90, 90.5, 600]))
                    Submission.objects.create(
                        study=study, participant=person, device=device, client_id=UUID(int=rng.getrandbits(128)), digest="",
                        survey_version=version, prompt=prompt, complete=rng.random() < 0.8,
                        payload={"answers": {"support": rng.choice([None, 1, 50.5]), "stress": rng.randrange(101),
                                             "alone": rng.choice([None, True, False])}},
                        answered_at=None if rng.random() < 0.1 else answered,
                        received_at=answered + timedelta(minutes=rng.choice([1, 1, 1, 5000])),
                    )  # fmt: skip
                for _ in range(rng.choice([0, 0, 0, 1, 2])):
                    PromptEvent.objects.create(
                        study=study, prompt=prompt, device=device, client_id=UUID(int=rng.getrandbits(128)),
                        kind=rng.choice(["expired", "cancelled", "reissued", "delivered"]),
                        phone_text=rng.choice(["", "2026-03-02T10:00:00+01:00"]),
                        received_at=local + timedelta(minutes=rng.choice([1, 5000])),
                    )  # fmt: skip
    return study


def told_once_more(study: Study) -> pd.DataFrame:
    """One row for each prompt, by plain loops."""
    rows: list[dict[str, Any]] = []
    people = {each.pk: each for each in Participant.objects.filter(study=study)}
    for prompt in Prompt.objects.filter(study=study):
        person = people[prompt.participant_id]
        if prompt.scheduled_at > CUTOFF or person.state == "erased":
            continue
        if person.enrolled_at is None or person.enrolled_at > CUTOFF:
            continue
        sent = [each for each in Submission.objects.filter(prompt=prompt) if each.received_at <= CUTOFF]
        events = [each for each in PromptEvent.objects.filter(prompt=prompt) if each.received_at <= CUTOFF]
        by_server = any(each.kind == "cancelled" and each.phone_text == "" for each in events)
        quiet = study.quiet_since is not None and prompt.scheduled_at >= study.quiet_since
        early = prompt.scheduled_at < person.enrolled_at.replace(microsecond=0)
        paused = any(
            each.since <= prompt.scheduled_at and (each.until is None or prompt.scheduled_at < each.until)
            for each in Pause.objects.filter(participant=person)
        )
        if (by_server or quiet or early or paused) and not sent:
            continue  # nobody was asked
        sent.sort(key=lambda each: (each.answered_at is None, each.answered_at or each.received_at, each.pk))
        finished = [each for each in sent if each.complete]
        kinds = [each.kind for each in events]
        first = finished[0] if finished else None
        if first is not None:
            over = (first.answered_at - prompt.expires_at).total_seconds() / 60 if first.answered_at else -1
            status = "answered" if over <= 0 else "late" if over <= LATE else "too_late"
        elif "cancelled" in kinds and "expired" not in kinds:
            status = "cancelled_with_answers" if sent else "cancelled"
        elif "expired" in kinds or sent:
            status = "expired_with_answers" if sent else "expired"
        else:
            status = "no_record"
        used = status in ("answered", "late")
        answers = first.payload["answers"] if first is not None and used else {}
        value = {
            name: np.nan if answers.get(name) is None else float(answers[name])
            for name in ("support", "stress", "alone")
        }
        held = 0 if used else sum(v is not None for each in sent for v in each.payload["answers"].values())
        rows.append({
            "person": person.pseudonym, "questionnaire": prompt.questionnaire, "day": prompt.day, "slot": prompt.slot,
            "scheduled_at": prompt.scheduled_at,
            "scheduled_local": prompt.scheduled_at.astimezone(ZoneInfo(prompt.zone)).replace(tzinfo=None),
            "status": status, "used": used, "held_items": held, "reissues": kinds.count("reissued"),
            "repeats": max(len(finished) - 1, 0), "practice": prompt.practice, "test_person": person.test_person,
            "answered_at": first.answered_at if first else None, "wave": prompt.wave, "arm": person.arm, "site": person.site,
            "latency_minutes": (first.answered_at - prompt.scheduled_at).total_seconds() / 60 if first and first.answered_at else np.nan,
            **value, "rule": prompt.rule,
        })  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("paused", [False, True])
def test_the_night_reads_what_plain_loops_over_the_tables_tell(seed: int, paused: bool) -> None:
    study = odd_study(seed)
    if paused:
        study.quiet_since = datetime(2026, 3, 9, tzinfo=UTC)
        study.save()
    plan = {**PLAN, "late_cutoff_minutes": LATE}
    ours = pd.concat(dataset.chunks(study, CUTOFF, plan, rows=100), ignore_index=True)
    theirs = told_once_more(study)
    order = {pseudonym: place for place, pseudonym in enumerate(dict.fromkeys(ours["person"]))}
    assert list(order) == [each for each in order if each in set(theirs["person"])]
    theirs["place"] = theirs["person"].map(order)
    theirs = (
        theirs.sort_values(["place", "scheduled_at", "rule"]).reset_index(drop=True).drop(columns=["place", "rule"])
    )
    assert len(ours) == len(theirs) > 300
    assert set(theirs["status"]) >= {
        "answered",
        "late",
        "too_late",
        "expired",
        "expired_with_answers",
        "cancelled",
        "no_record",
    }
    pd.testing.assert_frame_equal(ours[theirs.columns], theirs, check_dtype=False)
    assert (theirs["person"].nunique(), json.dumps(sorted(theirs["wave"].unique()))) == (11, '["", "w1"]')
