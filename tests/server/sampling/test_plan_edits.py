"""Another plan for people who are in: told first, done once, taken back; whoever else is at work meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest

from ema_server.common.errors import DomainError
from ema_server.erasure.services import ask_for_erasure, erase
from ema_server.ledger import outbox
from ema_server.ledger.models import Job
from ema_server.participants.models import Participant
from ema_server.participants.services import ARMS_CHANGED, invite, place_participants
from ema_server.sampling import plan_edits
from ema_server.sampling.models import Planning, Prompt, PromptEvent, ScheduleChange
from ema_server.sampling.plan_edits import preview_plan, publish_plan, roll_out
from ema_server.sampling.services import withdraw_participant
from ema_server.sampling.undoing import undo
from ema_server.studies.models import Study
from ema_server.studies.services import change_state, change_structure
from tests.world import SAMPLING, FakePhone, live_study

pytestmark = pytest.mark.django_db
WEDNESDAY_NOON = datetime(2026, 3, 4, 12, tzinfo=ZoneInfo("Europe/Amsterdam"))
LATER = {"rules": [{**SAMPLING["rules"][0], "times": ["10:00", "13:00", "17:00"]}]}
EVENINGS = {"rules": [{**SAMPLING["rules"][0], "times": ["20:00"]}]}


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> FakePhone:
    monkeypatch.setattr("ema_server.common.clock.now", lambda: WEDNESDAY_NOON)
    return FakePhone(live_study()).enrolled()


def times(**which: Any) -> dict[str, datetime]:
    return {str(pk): at for pk, at in Prompt.objects.filter(**which).values_list("pk", "scheduled_at")}


def publish(
    study: Study, document: dict[str, Any], based_on: int = 1, *, effect: str = "next_day", reason: str = "too early"
) -> ScheduleChange:
    _, change = publish_plan(
        study=study, document=document, based_on=based_on, effect=effect, reason=reason, actor="user:1", now=WEDNESDAY_NOON
    )  # fmt: skip
    assert change is not None
    return change


def asked(pseudonym: str) -> set[str]:
    """The local times at which somebody is asked from tomorrow on."""
    ahead = Prompt.objects.filter(participant__pseudonym=pseudonym, day__gt=3)
    off = PromptEvent.objects.filter(kind="cancelled").values("prompt")
    return {f"{at:%H:%M}" for at in ahead.exclude(pk__in=off).values_list("local_time", flat=True)}


def test_a_new_plan_moves_what_lies_ahead_and_nothing_else_and_can_be_taken_back(phone: FakePhone) -> None:
    before = times()
    diff = preview_plan(study=phone.study, document=LATER, effect="next_day", now=WEDNESDAY_NOON)
    assert diff.in_words() == (
        "4 future prompts of 1 participant move, 4 fall away; 0 past or answered prompts are touched (12 stay as they are)."
    )
    assert times() == before
    change = publish(phone.study, LATER)
    roll_out(change)
    change.refresh_from_db()
    assert change.counts == {**diff.counts, "people": 1}
    after = times()
    for pk, at in before.items():
        ahead = at.date() > WEDNESDAY_NOON.date()
        assert after[pk] - at == timedelta(hours=1 if ahead and at.hour == 15 else 0)
    assert PromptEvent.objects.filter(kind="cancelled", code="plan_changed").count() == 4
    roll_out(undo(change=change, reason="", actor="user:1", now=WEDNESDAY_NOON))
    assert times() == before
    assert PromptEvent.objects.filter(kind="restored").count() == 4


def test_what_a_phone_has_taken_down_as_it_was_told_is_asked_again_when_the_change_is_taken_back(
    phone: FakePhone,
) -> None:
    change = publish(phone.study, LATER)
    roll_out(change)
    off = {str(each) for each in PromptEvent.objects.filter(kind="cancelled").values_list("prompt", flat=True)}
    for place, prompt in enumerate(phone.prompts):
        if prompt["id"] in off:
            assert phone.report(place, "cancelled")[0]["status"] == "stored"
    roll_out(undo(change=change, reason="", actor="user:1", now=WEDNESDAY_NOON))
    assert {str(each) for each in PromptEvent.objects.filter(kind="restored").values_list("prompt", flat=True)} == off


def test_at_once_changes_the_rest_of_today(phone: FakePhone) -> None:
    diff = preview_plan(study=phone.study, document=LATER, effect="at_once", now=WEDNESDAY_NOON)
    assert diff.in_words().startswith("5 future prompts of 1 participant move, 5 fall away;")


def test_what_would_come_too_close_to_a_prompt_that_was_asked_is_not_asked(phone: FakePhone) -> None:
    at_ten_past_one = WEDNESDAY_NOON + timedelta(minutes=70)
    close = {"gap_minutes": 30, "rules": [{**SAMPLING["rules"][0], "key": "other", "times": ["13:20"]}]}
    diff = preview_plan(study=phone.study, document=close, effect="at_once", now=at_ten_past_one)
    assert (diff.counts["too_close"], diff.counts["added"]) == (1, 4)
    _, change = publish_plan(
        study=phone.study, document=close, based_on=1, effect="at_once", reason="once a day", actor="user:1",
        now=at_ten_past_one,
    )  # fmt: skip
    assert change is not None
    with patch("ema_server.common.clock.now", lambda: at_ten_past_one):
        roll_out(change)
    (refused,) = PromptEvent.objects.filter(code="too_close")
    assert (refused.prompt.day, refused.reason) == (3, "closer than 30 minutes to a prompt that stays")


def test_a_late_roll_out_leaves_alone_what_was_asked_until_then(
    phone: FakePhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = publish(phone.study, EVENINGS)
    friday = WEDNESDAY_NOON + timedelta(days=2)
    monkeypatch.setattr("ema_server.common.clock.now", lambda: friday)
    before = times(scheduled_at__lt=friday)
    roll_out(change)
    assert before.items() <= times().items()
    assert not PromptEvent.objects.filter(prompt__in=before).exists()
    assert PromptEvent.objects.filter(kind="cancelled", prompt__day=5).count() == 3
    assert not Prompt.objects.filter(day=5, local_time="20:00").exists(), "the day's first was asked at ten"
    assert Prompt.objects.filter(day=6, local_time="20:00").exists()


def test_of_two_editors_the_second_is_refused_and_nothing_is_lost(phone: FakePhone) -> None:
    first = publish(phone.study, LATER)
    with pytest.raises(DomainError, match="Somebody else published version 2 of the plan meanwhile"):
        publish(phone.study, EVENINGS)
    assert [*ScheduleChange.objects.all()] == [first]
    assert phone.study.sampling_plans.count() == 2


def test_a_plan_needs_a_reason_where_people_are_in_and_the_same_again_is_no_change(phone: FakePhone) -> None:
    with pytest.raises(DomainError, match="reason: say why the plan changes"):
        publish(phone.study, LATER, reason=" ")
    assert phone.study.sampling_plans.count() == 1
    same = publish_plan(
        study=phone.study, document=SAMPLING, based_on=1, effect="next_day", reason="", actor="user:1", now=WEDNESDAY_NOON
    )  # fmt: skip
    assert same == (phone.study.sampling_plans.get(), None)


def test_a_plan_that_somebodys_own_hours_leave_no_time_for_is_refused_whole_and_names_them(phone: FakePhone) -> None:
    invited, _ = invite(study=phone.study, pseudonym="NIGHT", now=WEDNESDAY_NOON)
    Participant.objects.filter(pk=invited.pk).update(schedule={"waking": {"every": ["22:00", "06:00"]}})
    diff = preview_plan(study=phone.study, document=EVENINGS, effect="next_day", now=WEDNESDAY_NOON)
    told = "NIGHT: waking: 22:00–06:00 leave no time for any prompt of momentary; widen them."
    assert diff.refused == [told]
    with pytest.raises(DomainError) as refused:
        publish(phone.study, EVENINGS)
    assert refused.value.detail == told
    assert phone.study.sampling_plans.count() == 1


def test_an_interrupted_roll_out_goes_on_where_it_was_and_tells_how_far_it_is(
    phone: FakePhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("P2", "P3"):
        FakePhone(phone.study, pseudonym=name).enrolled()
    monkeypatch.setattr(plan_edits, "BATCH", 1)
    change = publish(phone.study, EVENINGS)

    def stop(done: int, people: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        roll_out(change, stop)
    assert [asked(name) for name in ("P2", "P3")] == [{"20:00"}, {"10:00", "13:00", "16:00", "19:00"}]
    told: list[tuple[int, int]] = []
    roll_out(change, lambda done, people: told.append((done, people)))
    assert told == [(0, 1), (1, 1)]
    assert asked("P3") == {"20:00"}
    assert Planning.objects.filter(change=change).count() == 3


def test_the_outbox_takes_a_plan_to_everybody_and_finds_nothing_left_after_a_command(phone: FakePhone) -> None:
    change = publish(phone.study, EVENINGS)
    assert Job.objects.filter(kind=plan_edits.ROLL_OUT, done_at=None).count() == 1
    roll_out(change)
    events = PromptEvent.objects.count()
    assert outbox.run_next(kind=plan_edits.ROLL_OUT) is not None
    assert PromptEvent.objects.count() == events
    change.refresh_from_db()
    assert change.counts is not None
    assert change.counts["people"] == 1


def test_who_enrols_leaves_or_is_erased_while_a_plan_is_on_its_way(phone: FakePhone) -> None:
    for name in ("P2", "P3"):
        FakePhone(phone.study, pseudonym=name).enrolled()
    change = publish(phone.study, EVENINGS)
    FakePhone(phone.study, pseudonym="P4").enrolled()
    leaving, erased = (Participant.objects.get(pseudonym=name) for name in ("P2", "P3"))
    withdraw_participant(participant=leaving, now=WEDNESDAY_NOON, actor="user:1")
    ask_for_erasure(participant=erased, actor="user:1", now=WEDNESDAY_NOON)
    roll_out(change)
    assert {name: asked(name) for name in ("P1", "P4")} == {"P1": {"20:00"}, "P4": {"20:00"}}
    assert {each.participant.pseudonym for each in Planning.objects.filter(change=change)} == {"P1"}
    erase(participant=erased, now=WEDNESDAY_NOON)
    assert not Planning.objects.filter(participant=erased).exists()


def test_a_later_plan_takes_over_from_one_that_is_on_its_way(phone: FakePhone, monkeypatch: pytest.MonkeyPatch) -> None:
    FakePhone(phone.study, pseudonym="P2").enrolled()
    monkeypatch.setattr(plan_edits, "BATCH", 1)
    first = publish(phone.study, LATER)
    published = []

    def another(done: int, people: int) -> None:
        if done == 1:
            published.append(publish(phone.study, EVENINGS, based_on=2))

    roll_out(first, another)
    assert asked("P1") == {"10:00", "13:00", "17:00"}
    assert asked("P2") == {"10:00", "13:00", "16:00", "19:00"}
    roll_out(published[0])
    assert [asked(name) for name in ("P1", "P2")] == [{"20:00"}, {"20:00"}]
    counts = dict(ScheduleChange.objects.values_list("number", "counts"))
    assert [counts[1]["people"], counts[2]["people"]] == [1, 2]


def test_only_the_last_edit_is_taken_back_and_only_once(phone: FakePhone) -> None:
    first = publish(phone.study, LATER)
    second = publish(phone.study, EVENINGS, based_on=2)
    with pytest.raises(DomainError, match="Change 2 rests on change 1; take that back first"):
        undo(change=first, reason="", actor="user:1", now=WEDNESDAY_NOON)
    third = undo(change=second, reason="", actor="user:1", now=WEDNESDAY_NOON)
    with pytest.raises(DomainError, match="was taken back already"):
        undo(change=second, reason="", actor="user:1", now=WEDNESDAY_NOON)
    roll_out(third)
    assert asked("P1") == {"10:00", "13:00", "17:00"}


@pytest.mark.parametrize("state", ["paused", "ended"])
def test_of_a_paused_or_ended_study_the_plan_may_change_and_of_a_locked_one_nothing_moves(
    phone: FakePhone, state: str
) -> None:
    change_state(study=phone.study, to=state, actor="user:1", now=WEDNESDAY_NOON)
    change = publish(phone.study, EVENINGS)
    Study.objects.filter(pk=phone.study.pk).update(state="locked")
    roll_out(change)
    assert asked("P1") == {"10:00", "13:00", "16:00", "19:00"}
    phone.study.refresh_from_db()
    for edit in (
        lambda: publish(phone.study, LATER, based_on=2),
        lambda: preview_plan(study=phone.study, document=LATER, effect="next_day", now=WEDNESDAY_NOON),
    ):
        with pytest.raises(DomainError, match="its sampling plan stays as it is"):
            edit()


def test_who_is_paused_follows_too(phone: FakePhone) -> None:
    Participant.objects.update(state="paused")
    roll_out(publish(phone.study, EVENINGS))
    assert asked("P1") == {"20:00"}


def test_a_prompt_that_the_phone_has_shown_stays_however_much_ahead_it_seems(phone: FakePhone) -> None:
    place = next(n for n, each in enumerate(phone.prompts) if each["scheduled_at"].startswith("2026-03-05T18:00"))
    phone.report(place, "shown")
    roll_out(publish(phone.study, EVENINGS))
    assert times(pk=phone.prompts[place]["id"])[phone.prompts[place]["id"]] == datetime.fromisoformat(
        phone.prompts[place]["scheduled_at"]
    )
    assert not PromptEvent.objects.filter(prompt=phone.prompts[place]["id"]).exclude(kind="shown").exists()


def test_who_changes_their_arm_is_asked_by_it_from_the_next_day(phone: FakePhone) -> None:
    change_structure(study=phone.study, structure={"arms": [{"key": "a"}, {"key": "b"}]}, actor="user:1")
    rule = SAMPLING["rules"][0]
    arms = {"rules": [{**rule, "arms": ["a"]}, {**rule, "key": "b", "times": ["20:00"], "arms": ["b"]}]}
    roll_out(publish(phone.study, arms))
    assert asked("P1") == set()
    for arm, expected in (("b", {"20:00"}), ("b", {"20:00"}), ("a", {"10:00", "13:00", "16:00", "19:00"})):
        place_participants(study=phone.study, rows={"P1": {"arm": arm}}, actor="user:1")
        outbox.run_next(kind=ARMS_CHANGED)
        held = Prompt.objects.filter(day__gt=3, rule="b" if arm == "b" else "momentary")
        assert {f"{prompt.local_time:%H:%M}" for prompt in held} == expected
    assert Job.objects.filter(kind=ARMS_CHANGED).count() == 2
    assert PromptEvent.objects.filter(kind="restored").count() == 16


def test_an_edit_of_reminders_alone_reaches_what_lies_ahead_and_moves_nothing(phone: FakePhone) -> None:
    before = times()
    reminding = {"rules": [{**SAMPLING["rules"][0], "reminders": [20]}]}
    assert "16 future prompts of 1 participant keep their time and change otherwise" in preview_plan(
        study=phone.study, document=reminding, effect="next_day", now=WEDNESDAY_NOON
    ).in_words()  # fmt: skip
    roll_out(publish(phone.study, reminding))
    assert times() == before
    told = phone.call("GET", "sync").json()["prompts"]
    assert {len(prompt["remind_at"]) for prompt in told if prompt["day"] > 3} == {1}
    assert {len(prompt["remind_at"]) for prompt in told if prompt["day"] <= 3} == {0}
