"""What is due now, among all studies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from ema_server.participants.models import Participant
from ema_server.sampling.due import due
from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.sampling.services import withdraw_participant
from ema_server.studies.models import SamplingPlan, Study
from tests.world import SAMPLING, FakePhone, live_study

pytestmark = pytest.mark.django_db

TEN = datetime(2026, 3, 2, 9, tzinfo=UTC)  # 10:00 in Amsterdam: the first prompt of the first day
MINUTE = timedelta(minutes=1)


def remind(study: Study, *minutes: int) -> None:
    document = {**SAMPLING, "rules": [{**SAMPLING["rules"][0], "reminders": list(minutes)}]}
    SamplingPlan.objects.filter(study=study).update(document=document)


@pytest.fixture
def phone() -> FakePhone:
    return FakePhone(live_study()).enrolled()


def first(phone: FakePhone) -> Prompt:
    return Prompt.objects.get(pk=phone.prompts[0]["id"])


def queue(prompt: Prompt, at: datetime) -> None:
    PromptEvent.objects.create(study=prompt.study, prompt=prompt, kind="queued", received_at=at)


def moments(now: datetime, **more: Any) -> list[tuple[datetime, bool]]:
    return [(each.at, each.again) for each in due(now, **more)]


def test_a_prompt_is_due_from_its_time_until_it_expires(phone: FakePhone) -> None:
    assert due(TEN - MINUTE) == []
    found = due(TEN)
    assert [str(each.prompt) for each in found] == [phone.prompts[0]["id"]]
    assert (found[0].study, found[0].at, found[0].again) == (phone.study.pk, TEN, False)
    assert len(due(TEN + 59 * MINUTE)) == 1
    assert due(TEN + 60 * MINUTE) == []


def test_what_was_queued_is_due_again_with_its_next_reminder_alone(phone: FakePhone) -> None:
    remind(phone.study, 15, 30)
    queue(first(phone), TEN)
    assert due(TEN + 14 * MINUTE) == []
    assert moments(TEN + 15 * MINUTE) == [(TEN + 15 * MINUTE, True)]
    queue(first(phone), TEN + 15 * MINUTE)
    assert due(TEN + 29 * MINUTE) == []
    assert moments(TEN + 30 * MINUTE) == [(TEN + 30 * MINUTE, True)]


def test_a_server_that_was_away_asks_once_and_not_for_every_moment_that_it_missed(phone: FakePhone) -> None:
    remind(phone.study, 15, 30)
    assert moments(TEN + 31 * MINUTE) == [(TEN + 30 * MINUTE, True)]
    queue(first(phone), TEN + 31 * MINUTE)
    assert due(TEN + 32 * MINUTE) == []


@pytest.mark.parametrize("outcome", ["completed", "expired", "cancelled"])
def test_an_outcome_ends_it(phone: FakePhone, outcome: str) -> None:
    phone.report(0, outcome)
    assert due(TEN) == []


def test_an_answer_ends_it_also_an_unfinished_one(phone: FakePhone) -> None:
    phone.submit(phone.item(0, complete=False))
    assert due(TEN + 10 * MINUTE) == []


def test_what_was_called_off_is_not_due_until_it_is_asked_for_again(phone: FakePhone) -> None:
    prompt = first(phone)
    PromptEvent.objects.create(study=phone.study, prompt=prompt, kind="cancelled", received_at=TEN)
    assert due(TEN) == []
    PromptEvent.objects.create(study=phone.study, prompt=prompt, kind="restored", received_at=TEN)
    assert len(due(TEN)) == 1


@pytest.mark.parametrize("state", ["paused", "ended", "locked"])
def test_a_study_that_asks_nothing_has_nothing_due(phone: FakePhone, state: str) -> None:
    Study.objects.update(state=state)
    assert due(TEN) == []


def test_nobody_is_asked_who_is_paused_or_erased_and_who_withdrew_only_what_is_asked_then(phone: FakePhone) -> None:
    for state in ("paused", "erased"):
        Participant.objects.update(state=state)
        assert due(TEN) == []
    Participant.objects.update(state="active")
    bye = {"key": "bye", "questionnaire": "momentary", "open_minutes": 60, "once": "withdrawal"}
    SamplingPlan.objects.update(document={**SAMPLING, "rules": [*SAMPLING["rules"], bye]})
    withdraw_participant(participant=Participant.objects.get(), now=TEN + MINUTE, actor="server")
    found = due(TEN + MINUTE)
    assert [Prompt.objects.get(pk=each.prompt).rule for each in found] == ["bye"]
    Study.objects.update(state="paused")
    assert len(due(TEN + MINUTE)) == 1


def test_all_studies_are_looked_at_in_the_order_of_time(phone: FakePhone) -> None:
    other = FakePhone(live_study(), zone="Europe/Helsinki").enrolled()
    found = due(TEN)
    assert [each.study for each in found] == [phone.study.pk]
    assert [each.study for each in due(TEN - 30 * MINUTE)] == [other.study.pk]


def test_a_look_back_may_be_short(phone: FakePhone) -> None:
    remind(phone.study, 15)
    assert moments(TEN + MINUTE, since=TEN) == [(TEN, False)]
    assert due(TEN + MINUTE, since=TEN + MINUTE) == []
    queue(first(phone), TEN)
    assert moments(TEN + 16 * MINUTE, since=TEN + 14 * MINUTE) == [(TEN + 15 * MINUTE, True)]


def test_the_indexes_that_it_needs_are_there() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE indexname IN ('prompts_by_time', 'prompts_queued_lately')"
        )
        assert len(cursor.fetchall()) == 2
