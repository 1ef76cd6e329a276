"""Whoever else is at work while a plan is on its way: nobody waits for another for ever, and all end up with one plan."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.db import connections
from django_scopes import scopes_disabled

from ema_server.common.errors import DomainError
from ema_server.erasure.services import ask_for_erasure, erase
from ema_server.participants.models import Participant
from ema_server.participants.services import open_study_code
from ema_server.sampling import plan_edits
from ema_server.sampling.decisions import judge_decisions
from ema_server.sampling.models import Planning, Prompt, PromptEvent, ScheduleChange
from ema_server.sampling.person_edits import Schedule, change_schedule
from ema_server.sampling.queries import plan_of
from ema_server.sampling.services import withdraw_participant
from ema_server.sampling.undoing import undo
from ema_server.studies.queries import current_sampling_plan
from ema_server.studies.services import publish_sampling_plan
from tests.world import MONDAY, SAMPLING, FakePhone, live_study

NOW = datetime(2026, 3, 4, 12, 5, tzinfo=ZoneInfo("Europe/Amsterdam"))
DECIDING = {**SAMPLING["rules"][0], "decide": {"options": {"m": 0.6, "n": 0.4}}}
FOLLOW = {
    "key": "f", "questionnaire": "momentary", "open_minutes": 9, "after": {"questionnaire": "momentary", "minutes": 5, "at_most": 9}
}  # fmt: skip


def plan(*times: str) -> dict[str, Any]:
    return {"gap_minutes": 2, "rules": [{**DECIDING, "times": list(times)}, FOLLOW]}


PLANS = [plan("10:00", "12:00", "16:00"), plan("10:30", "12:00"), plan("09:00", "12:00", "18:00", "20:00")]


@pytest.mark.django_db(transaction=True)
def test_edits_phones_and_departures_at_once_end_with_everybody_on_the_newest_plan(
    monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any
) -> None:
    settings.VAR = tmp_path
    monkeypatch.setattr("ema_server.common.clock.now", lambda: NOW)
    monkeypatch.setattr(plan_edits, "BATCH", 3)
    study = live_study()
    publish_sampling_plan(study=study, document=PLANS[0])
    code = open_study_code(study=study, max_uses=100, now=NOW)
    phones = [FakePhone(study, pseudonym=f"P{place}").enrolled() for place in range(10)]
    people = {person.pseudonym: person for person in Participant.objects.filter(study=study)}
    raised: list[BaseException] = []

    def edit(rng: random.Random) -> None:
        there = current_sampling_plan(study)
        assert there is not None
        _, change = plan_edits.publish_plan(
            study=study, document=rng.choice(PLANS), based_on=there.number, effect=rng.choice(["at_once", "next_day"]),
            reason="x", actor="user:1", now=NOW,
        )  # fmt: skip
        if change is not None:
            plan_edits.roll_out(change)

    def roll(rng: random.Random) -> None:
        for change in ScheduleChange.objects.filter(study=study, participant=None):
            plan_edits.roll_out(change)

    def take_back(rng: random.Random) -> None:
        change = ScheduleChange.objects.filter(study=study, participant=None).order_by("-number").first()
        if change is not None:
            plan_edits.roll_out(undo(change=change, reason="", actor="user:1", now=NOW))

    def extend(rng: random.Random) -> None:
        person = Participant.objects.get(pk=people[rng.choice(phones).pseudonym].pk)
        last = ScheduleChange.objects.filter(participant=person).order_by("-number").first()
        schedule = Schedule(person.first_day, MONDAY + timedelta(days=rng.randint(4, 13)), person.schedule)
        change_schedule(
            participant=person, schedule=schedule, based_on=last.number if last else 0, effect="at_once", reason="x",
            actor="user:1", now=NOW,
        )  # fmt: skip

    def travel(rng: random.Random) -> None:
        zone = rng.choice(["Europe/Amsterdam", "America/New_York", "Pacific/Apia"])
        answer = rng.choice(phones[2:]).call("PUT", "device", {"platform": "android", "zone": zone})
        assert answer.status_code == 200, answer.content

    same = [phones[2].item(None, client_id=str(uuid4()), answered_at=NOW.isoformat()) for _ in range(3)]

    def answer(rng: random.Random) -> None:
        phone = rng.choice(phones[2:])
        items = [*rng.sample(same, 3)] if phone is phones[2] else [phone.item(None, answered_at=NOW.isoformat())]
        assert phone.call("POST", "submissions", {"items": items}).status_code == 200

    def enrol(rng: random.Random) -> None:
        phone = FakePhone(study)
        assert phone.call("POST", "enrolments", phone.enrolment(code)).status_code == 201

    def judge(rng: random.Random) -> None:
        judge_decisions(now=NOW)

    def leave(rng: random.Random) -> None:
        withdraw_participant(participant=people["P0"], now=NOW, actor="user:1")

    def forget(rng: random.Random) -> None:
        ask_for_erasure(participant=people["P1"], actor="user:1", now=NOW)
        erase(participant=people["P1"], now=NOW)

    def work(deeds: list[Callable[[random.Random], None]], seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(6):
                for deed in deeds:
                    try:
                        with scopes_disabled():
                            deed(rng)
                    except DomainError:
                        pass  # refused: somebody else was quicker
        except BaseException as error:
            raised.append(error)
        finally:
            connections.close_all()

    jobs = [
        [edit],
        [edit, take_back],
        [roll],
        [extend, travel],
        [travel, answer],
        [answer, judge],
        [answer, enrol],
        [judge, leave, forget],
    ]
    threads = [threading.Thread(target=work, args=(deeds, seed)) for seed, deeds in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == []
    roll(random.Random(0))
    newest = current_sampling_plan(study)
    for person in Participant.objects.filter(study=study, state=Participant.State.ACTIVE):
        assert plan_of(person) == newest
        assert person.first_day
        assert Planning.objects.filter(participant=person, cause="enrolment").count() == 1
    assert not Prompt.objects.filter(participant=people["P1"].pk).exists()
    assert not Planning.objects.filter(participant=people["P1"].pk).exists()
    assert not ScheduleChange.objects.filter(participant=people["P1"].pk).exists()
    ahead = Prompt.objects.filter(participant=people["P0"].pk, scheduled_at__gt=NOW)
    calls = {pk: list(PromptEvent.objects.filter(prompt=pk, kind__in=("cancelled", "restored")).order_by("pk").values_list("kind", flat=True))
             for pk in ahead.values_list("pk", flat=True)}  # fmt: skip
    assert {kinds[-1] for kinds in calls.values()} <= {"cancelled"}
    judged = PromptEvent.objects.filter(kind__in=("available", "unavailable")).values_list("prompt", flat=True)
    assert len(judged) == len(set(judged))
    assert not ScheduleChange.objects.filter(participant=None, counts=None).exists()
