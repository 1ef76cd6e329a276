"""Acceptance, attrition and retention: each of its own people."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from ema_server.participants.models import Participant
from ema_server.participants.services import invite
from ema_server.responses.participation import Course, attrition, participation, retention
from ema_server.sampling.services import withdraw_participant
from ema_server.studies.models import Study
from tests.server.responses.test_compliance import NINE, answer_to, person_in, prompt_for
from tests.world import live_study

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
OVER = NINE + 9 * DAY


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr("ema_server.common.clock.now", lambda: NINE - DAY)
    return live_study()


def withdraw(person: Participant, at: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ema_server.common.clock.now", lambda: at)
    withdraw_participant(participant=person, now=at, actor="server")


def asked_daily(person: Participant, *answered: int, days: int = 7, **more: Any) -> Participant:
    for day in range(1, days + 1):
        prompt = prompt_for(person, NINE + (day - 1) * DAY, **more)
        if day in answered:
            answer_to(prompt, prompt.scheduled_at)
    return person


def test_acceptance_is_of_those_who_were_invited(study: Study) -> None:
    for pseudonym, site in (("A1", "north"), ("A2", "north"), ("A3", "south")):
        invite(study=study, pseudonym=pseudonym, now=NINE, site=site)
    invite(study=study, pseudonym="TEST1", now=NINE, test_person=True)
    Participant.objects.update(created_at=NINE)
    Participant.objects.filter(pseudonym="A1").update(enrolled_at=NINE, state="active")
    person_in(study, "P001", since=NINE)  # by the code on a poster
    Participant.objects.filter(pseudonym="P001").update(created_at=NINE)
    found = participation(study, cutoff=NINE).acceptance
    assert found.overall.words == "enrolled: 1 of 3 invited"
    assert {site: (each.count, each.of) for site, each in found.site.items()} == {"north": (1, 2), "south": (0, 1)}
    assert found.by_open_code == 1
    assert participation(study, cutoff=NINE - DAY).acceptance.overall.value is None  # nobody yet: no share
    assert participation(study, cutoff=NINE, site="south").acceptance.overall.of == 1


def test_who_withdrew_and_who_stopped_answering_are_told_apart(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    left = asked_daily(person_in(study, "left"), 1, 2, wave="w1")
    withdraw(left, NINE + 2 * DAY + timedelta(hours=1), monkeypatch)
    asked_daily(person_in(study, "stopped"), 1, 4, wave="w1")
    asked_daily(person_in(study, "never"), wave="w1")
    asked_daily(person_in(study, "stayed"), 7)
    asked_daily(person_in(study, "test", test_person=True), 1)
    Participant.objects.update(created_at=NINE)
    found = participation(study, cutoff=OVER)
    assert found.attrition.stopped.words == (
        "stopped answering before their last day: 2 of 3 who did not withdraw and whose last day is over"
    )
    assert found.attrition.withdrew.words == "withdrew: 1 of 4 enrolled"
    assert found.attrition.day == {0: (0, 1), 3: (1, 0), 4: (0, 1)}
    assert {day: (each.count, each.of) for day, each in found.retention.items()} == {
        1: (3, 4), 2: (3, 4), 3: (2, 4), 4: (2, 4), 5: (1, 4), 6: (1, 4), 7: (1, 4),
    }  # fmt: skip
    early = participation(study, cutoff=NINE + 2 * DAY)  # nobody has withdrawn yet, nobody's last day is over
    assert (early.attrition.withdrew.count, early.attrition.stopped.value, max(early.retention)) == (0, None, 3)


def test_courses_become_attrition_by_day_and_wave() -> None:
    found = attrition(
        [
            Course(days=7, over=True, withdrew=(3, "w1"), answered=(2, "w1"), asked=3),
            Course(days=7, over=True, answered=(4, "w1"), asked=7),
            Course(days=7, over=True, asked=7),
            Course(days=7, over=True, answered=(7, "w2"), asked=7),
            Course(days=3, over=False, answered=(1, "w1"), asked=3),  # may answer yet
        ]
    )
    assert (found.withdrew.count, found.withdrew.of, found.stopped.count, found.stopped.of) == (1, 5, 2, 3)
    assert found.day == {0: (0, 1), 3: (1, 0), 4: (0, 1)}
    assert found.wave == {"": (0, 1), "w1": (1, 1)}


def test_retention_keeps_those_who_left_among_those_whose_day_it_has_been() -> None:
    courses = [Course(3, True, withdrew=(2, ""), answered=(1, "")), Course(3, True, answered=(3, "")), Course(1, False)]
    shares = {day: (each.count, each.of) for day, each in retention(courses).items()}
    assert shares == {1: (2, 3), 2: (1, 2), 3: (1, 2)}
    assert retention([]) == {}


def test_a_withdrawal_is_of_the_day_on_their_own_wall_and_of_the_wave_that_was_asked(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = asked_daily(person_in(study), 1, wave="w1")
    Participant.objects.update(zone="Pacific/Auckland", created_at=NINE)
    withdraw(person, NINE + 2 * DAY + timedelta(hours=5), monkeypatch)  # 14:00 UTC of day 3 is day 4 in Auckland
    found = participation(study, cutoff=OVER).attrition
    assert (found.day, found.wave) == ({4: (1, 0)}, {"w1": (1, 0)})
