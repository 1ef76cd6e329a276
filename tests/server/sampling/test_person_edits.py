"""Another schedule for one person: shift work, an extension, a day they quit, a burst that begins again."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ema_server.common.errors import DomainError
from ema_server.ledger.models import AuditEvent
from ema_server.participants.models import Participant
from ema_server.participants.services import invite
from ema_server.sampling.models import Prompt, PromptEvent, ScheduleChange
from ema_server.sampling.person_edits import Schedule, change_schedule, preview_schedule
from ema_server.sampling.services import withdraw_participant
from ema_server.sampling.undoing import undo
from ema_server.studies.services import publish_sampling_plan
from tests.world import MONDAY, FakePhone, live_study

pytestmark = pytest.mark.django_db
ZONE = ZoneInfo("Europe/Amsterdam")
NOON = datetime(2026, 3, 4, 12, tzinfo=ZONE)  # Wednesday, the third day
PLAN: dict[str, Any] = {
    "gap_minutes": 30,
    "waking": ["08:00", "22:00"],
    "own_events": [{"key": "quit"}],
    "waves": [{"key": "w1", "days": [1, 2]}, {"key": "w2", "days": [6, 7]}],
    "rules": [
        {"key": "day", "questionnaire": "momentary", "open_minutes": 60, "random": {"count": 4}, "waves": ["w1", "w2"]},
        {"key": "after", "questionnaire": "momentary", "open_minutes": 60, "times": ["wake+5"], "from_event": "quit", "days": [0, 1]},
    ],
}  # fmt: skip


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Participant:
    monkeypatch.setattr("ema_server.common.clock.now", lambda: NOON)
    study = live_study()
    publish_sampling_plan(study=study, document=PLAN)
    FakePhone(study, last_day=MONDAY + timedelta(days=8)).enrolled()
    return Participant.objects.select_related("study").get()


def with_own(person: Participant, **own: Any) -> Schedule:
    return replace(Schedule.of(person), own={**person.schedule, **own})


def change(person: Participant, schedule: Schedule, based_on: int = 0, **more: Any) -> ScheduleChange:
    facts: dict[str, Any] = {"effect": "next_day", "reason": "asked for it", "actor": "user:1", "now": NOON, **more}
    made, changes = change_schedule(participant=person, schedule=schedule, based_on=based_on, **facts)
    assert made.counts == changes.counts
    return made


def asked(person: Participant) -> list[datetime]:
    off = PromptEvent.objects.filter(kind="cancelled").values("prompt")
    moments = person.prompts.filter(day__gt=3).exclude(pk__in=off).values_list("scheduled_at", flat=True)
    return sorted(each.astimezone(ZONE) for each in moments)


def test_who_works_nights_is_asked_when_they_are_awake_and_by_day_again_when_it_is_taken_back(
    person: Participant,
) -> None:
    before = asked(person)
    nights = with_own(person, waking={"every": ["14:00", "04:00"]})
    diff = preview_schedule(participant=person, schedule=nights, effect="next_day", now=NOON)
    made = change(person, nights)
    assert made.counts == diff.counts
    assert len(asked(person)) == 8
    assert all(each.hour >= 14 or each.hour < 4 for each in asked(person))
    assert any(each.hour < 4 for each in asked(person))
    undo(change=made, reason="", actor="user:1", now=NOON)
    assert Prompt.objects.filter(day__gt=3).count() == 8
    moments = {at.astimezone(ZONE) for at in person.prompts.filter(day__gt=3).values_list("scheduled_at", flat=True)}
    assert sorted(moments) == before


def test_a_burst_begins_again_on_another_day(person: Participant) -> None:
    change(person, with_own(person, waves={"w2": "2026-03-09"}))
    assert {each.date() for each in asked(person)} == {date(2026, 3, 9), date(2026, 3, 10)}


def test_the_day_that_somebody_quits_brings_what_the_plan_asks_around_it(person: Participant) -> None:
    change(person, with_own(person, events={"quit": "2026-03-05"}))
    quit_days = Prompt.objects.filter(rule="after").values_list("local_date", "local_time")
    assert sorted((str(day), f"{at:%H:%M}") for day, at in quit_days) == [
        ("2026-03-05", "08:05"),
        ("2026-03-06", "08:05"),
    ]


def test_an_extension_adds_days_up_to_the_end_of_the_study(person: Participant) -> None:
    wave = with_own(person, waves={"w2": "2026-03-12"})
    with pytest.raises(
        DomainError, match=r"waves\.w2: would run from 2026-03-12 to 2026-03-13; this person's days are"
    ):
        change(person, wave)
    change(person, replace(wave, last_day=date(2026, 3, 13)))
    assert {each.date() for each in asked(person)} == {date(2026, 3, 12), date(2026, 3, 13)}
    with pytest.raises(DomainError) as refused:
        change(person, replace(Schedule.of(person), last_day=date(2026, 4, 1)), based_on=1)
    assert refused.value.detail == (
        "last_day: 2026-04-01 is after the study's last day, 2026-03-15. Change that first (page Study), then this."
    )


@pytest.mark.parametrize(
    ("own", "fault"),
    [
        ({"sleep": {}}, "sleep: is unknown; there are waking, events, waves."),
        ({"waking": {"8": ["08:00", "22:00"]}}, "waking.8: is no day; there are every and 1 (Monday) to 7."),
        ({"waking": {"every": ["08:00", "08:00"]}}, "waking.every: begins and ends at 08:00"),
        ({"waking": {"every": ["08:00", "09:30"]}}, "P1: rules[0] (day): prompt "),
        ({"events": {"move": "2026-03-05"}}, "events.move: the plan has no own event of this key; there are: quit."),
        (
            {"events": {"quit": "5 March"}},
            "events.quit: '5 March' is no date from 1900 to 2200; write one like 2026-03-02.",
        ),
        ({"events": {"quit": "9999-12-31"}}, "events.quit: '9999-12-31' is no date from 1900 to 2200"),
        ({"waves": {"w2": "0001-01-01"}}, "waves.w2: '0001-01-01' is no date from 1900 to 2200"),
        ({"waves": {"w3": "2026-03-05"}}, "waves.w3: the plan has no wave of this key; there are: w1, w2."),
        ({"waves": {"w2": "2026-03-03"}}, "waves.w2: w1 would run from 2026-03-02 to 2026-03-03 and w2 from"),
        ({"waves": ["w2"]}, 'waves: must be like {"w1": "2026-03-02"}.'),
    ],
)
def test_what_cannot_be_somebodys_schedule_is_refused_whole(person: Participant, own: Any, fault: str) -> None:
    for attempt in (
        lambda: change(person, with_own(person, **own)),
        lambda: preview_schedule(participant=person, schedule=with_own(person, **own), effect="next_day", now=NOON),
    ):
        with pytest.raises(DomainError) as refused:
            attempt()
        assert refused.value.detail.startswith(fault)
    assert Participant.objects.get().schedule == {}
    assert not ScheduleChange.objects.exists()


def test_days_that_have_begun_keep_their_numbers(person: Participant) -> None:
    with pytest.raises(DomainError, match="first_day: P1 is in since 2026-03-02"):
        change(person, replace(Schedule.of(person), first_day=date(2026, 3, 3)))
    with pytest.raises(DomainError, match="last_day: 2026-03-01 is before the first day"):
        change(person, replace(Schedule.of(person), last_day=date(2026, 3, 1)))


def test_of_two_editors_of_one_person_the_second_is_refused_and_a_reason_is_needed(person: Participant) -> None:
    nights = with_own(person, waking={"every": ["14:00", "04:00"]})
    with pytest.raises(DomainError, match="reason: say why this person's schedule changes"):
        change(person, nights, reason="")
    change(person, nights)
    with pytest.raises(DomainError, match="Somebody else changed this person's schedule meanwhile"):
        change(person, with_own(person))
    with pytest.raises(DomainError, match="has this schedule already; nothing was changed"):
        change(person, nights, based_on=1)


def test_who_is_expected_may_have_a_schedule_before_they_come_and_who_left_may_not(person: Participant) -> None:
    expected, _ = invite(study=person.study, pseudonym="P2", now=NOON)
    change(expected, Schedule(None, date(2026, 3, 12), {"waking": {"every": ["14:00", "04:00"]}}))
    with pytest.raises(DomainError, match=r"P2: rules\[0\] \(day\): prompt "):
        change(expected, Schedule(None, None, {"waking": {"every": ["08:00", "09:00"]}}), based_on=1)
    withdraw_participant(participant=person, now=NOON, actor="user:1")
    person.refresh_from_db()
    with pytest.raises(DomainError, match="P1 has left the study; nothing is asked of them"):
        change(person, with_own(person, events={"quit": "2026-03-05"}))


def test_the_trail_names_what_changed_of_a_person_and_not_to_what(person: Participant) -> None:
    change(person, with_own(person, events={"quit": "2026-03-05"}))
    event = AuditEvent.objects.get(action="schedule.changed")
    assert event.changes == {"change": 1, "from": "next_day", "fields": ["schedule"]}
    assert event.reason == "asked for it"
