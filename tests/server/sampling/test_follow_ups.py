"""What follows an answer: when, whether, once, and the same prompt on the phone and on the server."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import pytest

from ema_server.participants.models import Participant
from ema_server.responses.models import Submission
from ema_server.sampling import plan_edits
from ema_server.sampling.explaining import as_data, explain
from ema_server.sampling.follow_ups import Answered, day_of, draw_follow_up
from ema_server.sampling.models import Decision, Planning, Prompt, PromptEvent
from ema_server.sampling.plan import Person
from ema_server.sampling.replanning import Effect
from ema_server.studies.models import Study
from ema_server.studies.sampling_days import Calendar
from ema_server.studies.services import publish_sampling_plan
from tests.world import MONDAY, FakePhone, live_study

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
NOON = datetime(2026, 3, 2, 12, tzinfo=AMSTERDAM)
AFTER = {"questionnaire": "momentary", "minutes": 30}
DAILY = {"key": "momentary", "questionnaire": "momentary", "open_minutes": 60, "times": ["10:00", "13:00", "16:00"]}
FOLLOW = {"key": "follow", "questionnaire": "momentary", "open_minutes": 60, "after": AFTER}
database = pytest.mark.django_db


def following(**more: Any) -> dict[str, Any]:
    """A plan whose follow-ups follow the prompts of the day rule alone: `if` tells them apart by an answer."""
    after = {**AFTER, "if": "stress > 50", **more.pop("after", {})}
    plan = more.pop("plan", {})
    return {"rules": [DAILY, {**FOLLOW, "after": after, **more}], **plan}


@pytest.fixture(autouse=True)
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, NOON)


def at(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    monkeypatch.setattr("ema_server.common.clock.now", lambda: now)


def enrolled(document: dict[str, Any], **more: Any) -> FakePhone:
    study = live_study()
    publish_sampling_plan(study=study, document=document)
    return FakePhone(study, **more).enrolled()


def stressed(
    phone: FakePhone, place: int | None = 0, /, *, when: datetime = NOON, stress: int = 80, **more: Any
) -> dict[str, Any]:
    item = phone.item(place, answered_at=when.isoformat())
    return {**item, "answers": {"support": 1, "stress": stress}, **more}


def follow_ups() -> list[Prompt]:
    return list(Prompt.objects.filter(rule="follow").order_by("scheduled_at"))


def called_off() -> list[str]:
    return list(PromptEvent.objects.filter(kind="cancelled").order_by("pk").values_list("code", flat=True))


# Values in, values out -------------------------------------------------------------------------------------------------

PERSON = Person("P1", Calendar(MONDAY, MONDAY + timedelta(days=6), "b"), AMSTERDAM)


def drawn(document: dict[str, Any], *, when: datetime, person: Person = PERSON, **answers: Any) -> Any:
    answered = Answered(UUID(int=1), "momentary", when, None, answers)
    rule = document["rules"][1]
    return draw_follow_up(document, rule, person=person, answered=answered, known=[])


@pytest.mark.parametrize(
    ("rule", "asks"),
    [
        ({}, True),
        ({"weekdays": [1]}, True),
        ({"weekdays": [2, 3]}, False),
        ({"days": [2, 3]}, False),
        ({"arms": ["a"]}, False),
        ({"arms": ["b"]}, True),
        ({"waves": ["later"]}, False),
        ({"after": {"minutes": 12 * 60}, "days": [2, 2]}, True),
    ],
)
def test_it_is_asked_only_on_the_days_on_which_its_rule_holds(rule: dict[str, Any], asks: bool) -> None:
    plan = following(**rule, plan={"waves": [{"key": "later", "days": [3, 4]}]})
    found = drawn(plan, when=NOON, stress=80)
    assert (found is not None) == asks
    assert drawn(plan, when=NOON, stress=50) is None


@pytest.mark.parametrize(
    ("when", "day"),
    [
        (datetime(2026, 3, 3, 9, 59, tzinfo=AMSTERDAM), None),
        (datetime(2026, 3, 3, 10, 0, tzinfo=AMSTERDAM), 2),
        (datetime(2026, 3, 4, 1, 59, tzinfo=AMSTERDAM), 2),
        (datetime(2026, 3, 4, 2, 0, tzinfo=AMSTERDAM), None),
        (datetime(2026, 3, 2, 1, 0, tzinfo=AMSTERDAM), None),
        (datetime(2026, 3, 9, 1, 0, tzinfo=AMSTERDAM), 7),
        (datetime(2026, 3, 9, 12, 0, tzinfo=AMSTERDAM), None),
    ],
)
def test_whoever_is_awake_past_midnight_is_still_in_the_day_on_which_they_got_up(
    when: datetime, day: int | None
) -> None:
    owl = Person("P1", PERSON.calendar, AMSTERDAM, {"every": ["10:00", "02:00"]})
    assert day_of(following(), FOLLOW, owl, when) == day


def test_where_nobody_gave_waking_hours_it_is_asked_at_any_hour_and_the_clock_change_keeps_its_minutes() -> None:
    spring = Person("P1", Calendar(date(2026, 3, 29), date(2026, 3, 30)), AMSTERDAM)
    found = drawn(following(), when=datetime(2026, 3, 29, 0, 45, tzinfo=UTC), person=spring, stress=80)
    assert found.opens == datetime(2026, 3, 29, 1, 15, tzinfo=UTC)
    assert found.opens.astimezone(AMSTERDAM).hour == 3


# What is written -------------------------------------------------------------------------------------------------------


@database
def test_a_finished_answer_brings_its_follow_up_about_and_it_can_be_explained() -> None:
    phone = enrolled(following(grace_minutes=10))
    item = stressed(phone)
    phone.submit(item)
    (prompt,) = follow_ups()
    assert prompt.pk == uuid5(UUID(item["client_id"]), "follow")
    assert prompt.scheduled_at == NOON + timedelta(minutes=30)
    assert prompt.expires_at == NOON + timedelta(minutes=90)
    assert (prompt.day, prompt.slot, prompt.grace_minutes, str(prompt.local_time)) == (1, 1, 10, "12:30:00")
    planning = prompt.planning
    assert planning is not None
    assert planning.cause == "follow_up"
    assert planning.facts["submission"] == item["client_id"]
    assert datetime.fromisoformat(planning.facts["answered_at"]) == NOON
    assert str(prompt.pk) in [each["id"] for each in phone.call("GET", "sync").json()["prompts"]]


@database
def test_what_does_not_call_for_one_brings_none_about() -> None:
    phone = enrolled(following())
    phone.submit(
        stressed(phone, stress=50),
        stressed(phone, complete=False),
        stressed(phone, answers={"support": "many", "stress": 80}),
    )
    assert not Planning.objects.filter(cause="follow_up").exists()
    assert not follow_ups()


@database
def test_sent_again_or_changed_it_is_planned_once() -> None:
    phone = enrolled(following())
    item = stressed(phone, stress=50)
    for sent in ([item], [{**item, "answers": {"support": 1, "stress": 90}}], [item]):
        phone.submit(*sent)
    assert not follow_ups()
    item = stressed(phone, 1)
    for sent in ([item, item], [item], [{**item, "answers": {"support": 2, "stress": 90}}]):
        phone.submit(*sent)
    assert len(follow_ups()) == 1


@database
def test_at_most_so_many_a_day() -> None:
    phone = enrolled(following(after={"at_most": 2}))
    for minutes in (-90, -60, -30):
        phone.submit(stressed(phone, when=NOON + timedelta(minutes=minutes)))
    assert [prompt.slot for prompt in follow_ups()] == [1, 2]
    assert Planning.objects.filter(cause="follow_up").count() == 2


@database
def test_what_is_closer_than_the_gap_to_another_prompt_is_written_and_called_off() -> None:
    phone = enrolled(following(open_minutes=120, plan={"gap_minutes": 45}))
    phone.submit(
        stressed(
            phone, 0, when=NOON - timedelta(minutes=105)
        ),  # 10:45: the prompt of 10:00, which it follows, is no other
        stressed(phone, 0, when=NOON - timedelta(minutes=15)),  # 12:15: 13:00 is not closer than the gap
        stressed(phone, 0, when=NOON - timedelta(minutes=14)),  # 12:16: both are
    )
    assert called_off() == ["too_close"]
    assert [str(prompt.local_time) for prompt in follow_ups()] == ["10:45:00", "12:15:00", "12:16:00"]
    told = [each["local"] for each in phone.call("GET", "sync").json()["prompts"]]
    assert "2026-03-02T12:15:00" in told
    assert "2026-03-02T12:16:00" not in told


@database
def test_an_answer_that_comes_after_its_follow_ups_time_calls_it_off_unless_the_phone_asked_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    phone = enrolled(following())
    at(monkeypatch, NOON + timedelta(days=1))
    first, second = stressed(phone, 0), stressed(phone, 1, when=NOON + timedelta(hours=3))
    phone.submit(first, second)
    assert called_off() == ["too_late", "too_late"]
    made = str(uuid5(UUID(second["client_id"]), "follow"))
    phone.prompts.append({"id": made})
    phone.report(-1, "expired")
    phone.report(-1, "expired")
    assert list(PromptEvent.objects.filter(kind="restored").values_list("prompt_id", flat=True)) == [UUID(made)]


@database
def test_a_clock_that_runs_ahead_or_cannot_be_believed_does_not_move_it() -> None:
    phone = enrolled(following())
    phone.submit(
        stressed(phone, 0, when=NOON + timedelta(hours=5)), stressed(phone, 1, answered_at="1970-01-01T00:00:00Z")
    )
    assert [prompt.scheduled_at for prompt in follow_ups()] == [NOON + timedelta(minutes=30)] * 2
    assert {as_data(explain(prompt, now=NOON))["verdict"] for prompt in follow_ups()} == {"same"}


@database
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_what_the_phone_asked_offline_and_was_answered_is_bound_in_whatever_order_a_batch_has_it(
    order: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A follow-up of a follow-up, answered while the phone was offline for a day."""
    phone = enrolled(following())
    at(monkeypatch, NOON + timedelta(days=1))
    first = stressed(phone, 0)
    made = str(uuid5(UUID(first["client_id"]), "follow"))
    second = stressed(phone, 0, prompt=made, when=NOON + timedelta(minutes=40))
    third = stressed(
        phone, 0, prompt=str(uuid5(UUID(second["client_id"]), "follow")), when=NOON + timedelta(minutes=75), stress=1
    )
    items = [first, second, third]
    phone.submit(*[items[place] for place in order])
    bound = {str(each.client_id): str(each.prompt_id) for each in Submission.objects.all()}
    assert bound == {each["client_id"]: each["prompt"] for each in items}
    assert len(follow_ups()) == 2
    assert [prompt.slot for prompt in follow_ups()] == [1, 2]


@database
def test_batches_in_any_order_make_the_same_follow_ups() -> None:
    """Without a gap or a bound what one answer brings about depends on no other; only the numbers follow the arrival."""
    made = []
    for seed in (1, 2):
        phone = enrolled(following(), pseudonym="P1")
        moments = [NOON - timedelta(minutes=minutes) for minutes in (5, 25, 70, 90)]
        items = [
            stressed(phone, 0, when=when, client_id=str(UUID(int=seed * 100 + n))) for n, when in enumerate(moments)
        ]
        random.Random(seed).shuffle(items)
        for item in items:
            phone.submit(item)
        made.append({(prompt.scheduled_at, prompt.day) for prompt in follow_ups() if prompt.study == phone.study})
    assert made[0] == made[1]
    assert len(made[0]) == 4


@database
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_an_answer_that_comes_before_what_it_follows_is_bound_once_that_has_come(
    order: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same follow-up of a follow-up, in three batches."""
    phone = enrolled(following())
    at(monkeypatch, NOON + timedelta(days=1))
    first = stressed(phone, 0)
    second = stressed(
        phone, 0, prompt=str(uuid5(UUID(first["client_id"]), "follow")), when=NOON + timedelta(minutes=40)
    )
    third = stressed(
        phone, 0, prompt=str(uuid5(UUID(second["client_id"]), "follow")), when=NOON + timedelta(minutes=75), stress=1
    )
    items = [first, second, third]
    if order[0] == 2:
        phone.submit(third)
        assert Submission.objects.get().prompt is None
    for place in order:
        phone.submit(items[place])
    bound = {str(each.client_id): str(each.prompt_id) for each in Submission.objects.all()}
    assert bound == {each["client_id"]: each["prompt"] for each in items}
    assert len(follow_ups()) == 2


@database
def test_what_follows_practice_is_practice() -> None:
    plan = following()
    plan["rules"][0] = {**DAILY, "practice": True}
    phone = enrolled(plan)
    phone.submit(stressed(phone))
    assert [prompt.practice for prompt in follow_ups()] == [True]


@database
def test_who_left_or_whose_study_is_silent_is_asked_nothing_more() -> None:
    phone = enrolled(following())
    Participant.objects.update(state=Participant.State.WITHDRAWN)
    assert phone.submit(stressed(phone, 0))[0]["code"] == "withdrawn"
    Participant.objects.update(state=Participant.State.ACTIVE)
    Study.objects.update(state=Study.State.PAUSED, quiet_since=NOON)
    phone.submit(stressed(phone, 1))
    assert called_off() == ["study_silent"]


@database
def test_an_id_that_another_study_uses_already_stops_no_batch() -> None:
    one, other = enrolled(following()), enrolled(following(), pseudonym="P2")
    item = stressed(one)
    assert one.submit(item)[0]["status"] == "stored"
    theirs = {**stressed(other), "client_id": item["client_id"]}
    assert other.submit(theirs)[0]["status"] == "stored"
    assert len(follow_ups()) == 1


@database
def test_a_follow_up_may_decide_and_only_the_server_draws() -> None:
    phone = enrolled(following(decide={"options": {"message": 0.5, "none": 0.5}}))
    assert phone.call("GET", "sync").json()["follow_ups"] == []
    phone.submit(stressed(phone))
    assert Decision.objects.get().prompt_id == follow_ups()[0].pk


@database
def test_a_new_plan_moves_day_rules_and_leaves_follow_ups_where_they_are() -> None:
    phone = enrolled(following())
    phone.submit(stressed(phone))
    before = follow_ups()
    plan = {"rules": [{**DAILY, "times": ["14:30"]}]}
    _, change = plan_edits.publish_plan(
        study=phone.study, document=plan, based_on=2, effect=Effect.AT_ONCE, reason="r", actor="user:1", now=NOON
    )
    assert change is not None
    plan_edits.roll_out(change)
    assert [(each.pk, each.scheduled_at) for each in follow_ups()] == [(each.pk, each.scheduled_at) for each in before]
    assert not PromptEvent.objects.filter(prompt__rule="follow").exists()


@database
def test_a_phone_is_told_the_rules_by_which_it_follows_answers_offline() -> None:
    plan = following(
        weekdays=[1, 2], reminders=[10], after={"at_most": 3}, plan={"gap_minutes": 20, "waking": ["08:00", "22:00"]}
    )
    phone = enrolled(plan)
    assert phone.call("GET", "sync").json()["follow_ups"] == [
        {
            "rule": "follow", "questionnaire": "momentary", "survey_version": 1, "after": "momentary", "minutes": 30,
            "condition": "stress > 50", "at_most": 3, "open_minutes": 60, "grace_minutes": 0, "reminders": [10],
            "gap_minutes": 20, "first_day": "2026-03-02", "last_day": "2026-03-08", "weekdays": [1, 2],
            "waking": {str(day): ["08:00", "22:00"] for day in range(1, 8)}, "practice": False,
        }
    ]  # fmt: skip


@database
def test_a_phone_that_has_gone_wrong_cannot_ask_for_follow_ups_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ema_server.sampling.follow_ups.MOST_A_DAY", 3)
    phone = enrolled(following())
    receipts = phone.submit(*(stressed(phone, None, when=NOON + timedelta(seconds=each)) for each in range(9)))
    assert {each["status"] for each in receipts} <= {"stored", "orphaned", "accepted"}
    assert [each.slot for each in follow_ups()] == [1, 2, 3]
