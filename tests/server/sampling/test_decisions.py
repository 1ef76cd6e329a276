"""Micro-randomised decision points: drawn by their probabilities, logged before anything is done, and never changed."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import DatabaseError, transaction

from ema_server.erasure.purging import purge
from ema_server.participants.models import Device, Participant
from ema_server.sampling import decisions, plan_edits
from ema_server.sampling.models import Decision, Prompt, PromptEvent
from ema_server.sampling.plan import Person
from ema_server.sampling.planning import person_of
from ema_server.sampling.queries import versions_of
from ema_server.sampling.replanning import Effect
from ema_server.sampling.tasks import judge_decisions
from ema_server.studies.sampling_days import Calendar
from ema_server.studies.services import InvalidSamplingPlan, publish_sampling_plan
from tests.world import MONDAY, FakePhone, live_study

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
TEN = datetime(2026, 3, 2, 10, tzinfo=AMSTERDAM)
OPTIONS = {"message": 0.6, "none": 0.4}
RULE = {
    "key": "nudge", "questionnaire": "momentary", "open_minutes": 60, "times": ["10:00", "13:00", "16:00"],
    "decide": {"options": OPTIONS, "rest_minutes": 60},
}  # fmt: skip
PLAN = {"rules": [RULE]}
database = pytest.mark.django_db


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> FakePhone:
    monkeypatch.setattr("ema_server.common.clock.now", lambda: TEN - timedelta(hours=3))
    study = live_study()
    publish_sampling_plan(study=study, document=PLAN)
    return FakePhone(study).enrolled()


def at(monkeypatch: pytest.MonkeyPatch, now: datetime) -> datetime:
    monkeypatch.setattr("ema_server.common.clock.now", lambda: now)
    return now


def judged() -> list[tuple[str, str]]:
    return list(PromptEvent.objects.filter(kind__in=decisions.AVAILABILITY).order_by("pk").values_list("kind", "code"))


# What chance chose -----------------------------------------------------------------------------------------------------


def test_a_draw_falls_on_the_option_within_whose_share_it_lies() -> None:
    assert decisions.chosen(OPTIONS, 0.0) == decisions.chosen(OPTIONS, 0.59) == "message"
    assert decisions.chosen(OPTIONS, 0.61) == decisions.chosen(dict(reversed(OPTIONS.items())), 0.99) == "none"
    thirds = {"a": 0.333, "b": 0.333, "c": 0.333}
    assert decisions.chosen(thirds, 1 - 2**-53) == "c"
    assert decisions.probability(thirds, "b") == pytest.approx(1 / 3)


def test_over_many_people_and_days_each_option_comes_as_often_as_it_should() -> None:
    """20,000 draws: the share of 0.6 has a standard error of 0.0035, and neighbours know nothing of each other."""
    options = {"a": 0.1, "b": 0.3, "c": 0.6}
    drawn: list[str] = []
    for number in range(200):
        person = Person(f"P{number}", Calendar(MONDAY, MONDAY + timedelta(days=19)), AMSTERDAM)
        for day in range(1, 21):
            for slot in range(1, 6):
                draw = decisions.uniform(b"secret", person, {"key": "nudge"}, versions={}, day=day, slot=slot)
                drawn.append(decisions.chosen(options, draw))
    shares = {option: count / len(drawn) for option, count in Counter(drawn).items()}
    assert shares == pytest.approx(options, abs=4 * 0.0035)
    # Availability is known to nobody who draws: of the points at which somebody is available as many fall on each.
    available = [option for number, option in enumerate(drawn) if number % 7 not in (0, 3)]
    assert available.count("c") / len(available) == pytest.approx(0.6, abs=4 * 0.0041)
    after_c = [later for before, later in itertools.pairwise(drawn) if before == "c"]
    assert after_c.count("c") / len(after_c) == pytest.approx(0.6, abs=4 * 0.0045)


@database
def test_every_prompt_of_a_rule_that_decides_has_a_decision_and_each_can_be_derived_again(phone: FakePhone) -> None:
    assert Decision.objects.count() == Prompt.objects.count() == 21
    for decision in Decision.objects.select_related("prompt__planning__plan", "prompt__participant"):
        prompt = decision.prompt
        assert prompt.planning is not None
        person = person_of("P1", prompt.planning.facts)
        versions = versions_of(prompt.planning.plan)
        draw = decisions.uniform(
            bytes(phone.study.secret), person, RULE, versions=versions, day=prompt.day, slot=prompt.slot
        )
        assert (decision.draw, decision.option) == (draw, decisions.chosen(OPTIONS, draw))
        assert decision.options == OPTIONS
        assert decision.made_at <= prompt.scheduled_at


@database
def test_what_a_plan_without_decisions_plans_has_none() -> None:
    FakePhone(live_study()).enrolled()
    assert Prompt.objects.exists()
    assert not Decision.objects.exists()


@database
def test_the_database_refuses_to_change_a_decision_and_erasure_takes_it(phone: FakePhone) -> None:
    with pytest.raises(DatabaseError, match="never edited"), transaction.atomic():
        Decision.objects.update(option="none")
    assert purge(Participant.objects.get())["decisions"] == 21
    assert not Decision.objects.exists()


@database
def test_a_phone_knows_its_decisions_before_it_goes_offline(phone: FakePhone) -> None:
    for prompt in phone.prompts:
        told = Decision.objects.get(prompt=prompt["id"])
        assert prompt["decision"] == {
            "option": told.option, "probability": OPTIONS[told.option], "options": OPTIONS, "rest_minutes": 60,
        }  # fmt: skip


# Other plans ------------------------------------------------------------------------------------------------------------


def publish(phone: FakePhone, document: dict[str, Any]) -> None:
    _, change = plan_edits.publish_plan(
        study=phone.study, document=document, based_on=2, effect=Effect.AT_ONCE, reason="r", actor="user:1", now=TEN
    )
    assert change is not None
    plan_edits.roll_out(change)


@database
def test_what_moves_or_falls_away_keeps_its_decision_and_what_is_added_gets_one(phone: FakePhone) -> None:
    before = dict(Decision.objects.values_list("prompt", "draw"))
    publish(
        phone,
        {
            "rules": [
                {**RULE, "times": ["10:30", "14:00"], "open_minutes": 30},
                {**RULE, "key": "b", "times": ["18:00"]},
            ]
        },
    )
    after = dict(Decision.objects.values_list("prompt", "draw"))
    assert before.items() <= after.items()
    added = Prompt.objects.filter(rule="b")
    assert added.count() == 7
    assert set(after) - set(before) == set(added.values_list("pk", flat=True))
    assert PromptEvent.objects.filter(kind="cancelled", prompt__decision__isnull=False).count() == 7


@database
@pytest.mark.parametrize("decide", [{"options": {"message": 0.5, "none": 0.5}}, None])
def test_a_new_version_cannot_contradict_what_was_drawn(phone: FakePhone, decide: Any) -> None:
    other = {"rules": [{**RULE, "decide": decide} if decide else {k: v for k, v in RULE.items() if k != "decide"}]}
    with pytest.raises(InvalidSamplingPlan, match=r"rules\[0\] \(nudge\)\.decide: .*version 2.*another key"):
        publish(phone, other)
    with pytest.raises(InvalidSamplingPlan, match="another key"):
        plan_edits.preview_plan(study=phone.study, document=other, effect=Effect.AT_ONCE, now=TEN)
    publish(phone, {"rules": [{**other["rules"][0], "key": "fresh"}]})


@database
def test_another_rest_moves_no_moment_and_draws_nothing_anew(phone: FakePhone) -> None:
    before = set(Prompt.objects.values_list("pk", "scheduled_at", "decision__draw"))
    publish(phone, {"rules": [{**RULE, "decide": {**RULE["decide"], "rest_minutes": 90}}]})
    plans = phone.study.sampling_plans.order_by("-number")
    assert versions_of(plans[0]) == versions_of(plans[1]), "what is drawn from now on is what would have been"
    assert set(Prompt.objects.values_list("pk", "scheduled_at", "decision__draw")) == before


# Whether the person was available ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("standing", "code"),
    [
        ({}, ""),
        ({"active": False}, "paused"),
        ({"asked": False}, "study_silent"),
        ({"device": False}, "no_device"),
        ({"answers": [TEN - timedelta(minutes=59)]}, "recent_answer"),
        ({"answers": [TEN - timedelta(minutes=60), TEN + timedelta(minutes=1)]}, ""),
    ],
)
def test_availability_names_the_first_reason_against_it(standing: dict[str, Any], code: str) -> None:
    everything = decisions.Standing(**{"active": True, "asked": True, "device": True, **standing})
    assert decisions.unavailable_because(everything, TEN, rest_minutes=60) == code


@database
def test_availability_is_judged_once_when_the_decision_point_comes_due(phone: FakePhone) -> None:
    assert decisions.judge_decisions(now=TEN - timedelta(seconds=1)) == 0
    assert [decisions.judge_decisions(now=TEN + timedelta(seconds=30)) for _ in range(2)] == [1, 0]
    event = PromptEvent.objects.get()
    assert (event.kind, event.code, str(event.prompt_id)) == ("available", "", phone.prompts[0]["id"])


@database
def test_beat_rings_every_minute(phone: FakePhone, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    at(monkeypatch, TEN + timedelta(seconds=40))
    assert settings.CELERY_BEAT_SCHEDULE["decisions"]["task"] == judge_decisions.name
    assert judge_decisions() == 1


@database
def test_who_has_just_answered_or_has_no_phone_is_not_available(
    phone: FakePhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = at(monkeypatch, TEN + timedelta(hours=3, seconds=20))
    phone.submit(phone.item(0, answered_at=(TEN + timedelta(hours=2, minutes=10)).isoformat()))
    decisions.judge_decisions(now=now)
    Device.objects.update(revoked_at=now)
    decisions.judge_decisions(now=TEN + timedelta(hours=6))
    assert judged() == [("available", ""), ("unavailable", "recent_answer"), ("unavailable", "no_device")]


@database
def test_where_the_phone_has_spoken_the_server_is_silent_and_what_was_called_off_is_no_decision_point(
    phone: FakePhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, TEN)
    phone.report(0, "unavailable", reason="driving")
    PromptEvent.objects.create(
        study=phone.study, prompt_id=phone.prompts[1]["id"], kind="cancelled", code="plan_changed", received_at=TEN
    )
    assert decisions.judge_decisions(now=TEN + timedelta(hours=4)) == 0
    assert judged() == [("unavailable", "")]


@database
def test_what_came_due_while_the_server_was_away_for_long_stays_unknown(phone: FakePhone) -> None:
    assert decisions.judge_decisions(now=TEN + timedelta(hours=30)) == 3


@database
def test_a_page_of_the_questionnaire_can_be_the_action(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ema_server.common.clock.now", lambda: TEN)
    asked = {"type": "yesno", "text": "Read it?"}
    study = live_study(survey={"title": "T", "items": [
        {"name": "support", "type": "slider", "range": [0, 100], "text": "S?"},
        {"name": "read", "show_if": '@option == "message"', **asked},
    ]})  # fmt: skip
    publish_sampling_plan(study=study, document=PLAN)
    phone = FakePhone(study).enrolled()
    told = next(n for n, each in enumerate(phone.prompts) if each["decision"]["option"] == "message")
    not_told = next(n for n, each in enumerate(phone.prompts) if each["decision"]["option"] == "none")
    bare: dict[str, Any] = {"answers": {"support": 1}}
    full: dict[str, Any] = {"answers": {"support": 1, "read": True}}
    given = [phone.item(told, **full), phone.item(told, **bare), phone.item(not_told, **bare)]
    assert [each["status"] for each in phone.submit(*given)] == ["stored"] * 3
