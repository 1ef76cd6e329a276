"""One-off surveys, waves, weekly diaries, event buttons, practice; and what happens when somebody leaves."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from ema_server.common import clock
from ema_server.participants.models import Participant
from ema_server.participants.services import invite
from ema_server.reports import dataset
from ema_server.responses.queries import event_reports, orphans, upload_counts
from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.sampling.plan import Person, draw_once, draw_prompts
from ema_server.sampling.queries import facts_of
from ema_server.sampling.services import NotToWithdraw, withdraw_participant
from ema_server.studies.models import Study
from ema_server.studies.sampling_days import Calendar
from ema_server.studies.services import publish_sampling_plan, publish_survey
from tests.world import MONDAY, NOW, PLAN, SURVEY, FakePhone, live_study, researcher

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
ONCE = {"key": "m", "questionnaire": "momentary", "open_minutes": 60}
RULE = {**ONCE, "times": ["10:00"]}


def somebody(last: date = MONDAY) -> Person:
    return Person("P1", Calendar(MONDAY, last), AMSTERDAM)


def days_of(rule: dict[str, Any], *, days: int = 14, waves: list[Any] | None = None) -> list[int]:
    plan = {"rules": [{**(RULE if "once" not in rule else ONCE), **rule}], "waves": waves or []}
    person = somebody(MONDAY + timedelta(days=days - 1))
    return [draw.day for draw in draw_prompts(plan, secret=b"s", person=person, versions={})]


def test_rules_hold_on_their_days() -> None:
    assert days_of({}) == list(range(1, 15))
    assert days_of({"weekdays": [7]}) == [7, 14]  # 2 March 2026 is a Monday
    assert days_of({"days": [3, 5]}) == [3, 4, 5]
    assert days_of({"weekdays": [1], "days": [2, 14]}) == [8]
    waves = [{"key": "a", "days": [1, 2]}, {"key": "b", "days": [10, 12]}]
    assert days_of({"waves": ["b"]}, waves=waves) == [10, 11, 12]
    assert days_of({"once": "end"}) == [14]
    assert days_of({"once": {"day": 4}}) == [4]
    assert days_of({"once": {"day": 40}}) == []
    assert days_of({"once": "enrolment"}) == days_of({"event": True, "times": []}) == []


def test_a_new_kind_of_rule_leaves_the_draws_of_the_others_as_they_were() -> None:
    windows = {"key": "w", "questionnaire": "q", "open_minutes": 60, "windows": [["09:00", "10:30"]]}
    rules = [{**ONCE, "once": "end"}, windows]
    alone = list(draw_prompts({"rules": [windows]}, secret=b"s", person=somebody(), versions={}))
    among = list(draw_prompts({"rules": rules}, secret=b"s", person=somebody(), versions={}))
    assert alone == among[-1:]


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        (None, "2026-03-03T12:00:00+00:00"),
        ("18:00", "2026-03-03T17:00:00+00:00"),
        ("09:00", "2026-03-04T08:00:00+00:00"),
    ],
)
def test_what_is_asked_at_enrolment_comes_at_once_or_at_its_next_hour(at: str | None, opens: str) -> None:
    rule = {"key": "base", "questionnaire": "q", "open_minutes": 30, "once": "enrolment", **({"at": at} if at else {})}
    noon = datetime(2026, 3, 3, 12, tzinfo=UTC)
    (draw,) = draw_once({"rules": [rule]}, "enrolment", now=noon, calendar=somebody().calendar, zone=AMSTERDAM)
    assert draw.opens.isoformat() == opens
    assert draw.day == (2 if at != "09:00" else 3)
    assert draw.closes - draw.opens == timedelta(minutes=30)
    assert not list(draw_once({"rules": [rule]}, "withdrawal", now=noon, calendar=somebody().calendar, zone=AMSTERDAM))


FULL = {
    "waves": [{"key": "w1", "title": "Spring", "days": [1, 2]}, {"key": "w2", "days": [5, 7]}],
    "rules": [
        {**RULE, "key": "try", "days": [1, 1], "times": ["08:00"], "practice": True},
        {**RULE, "waves": ["w1", "w2"]},
        {**ONCE, "key": "base", "questionnaire": "base", "once": "enrolment"},
        {**ONCE, "key": "bye", "questionnaire": "base", "once": "withdrawal", "open_minutes": 600},
        {"key": "button", "questionnaire": "event", "event": True, "waves": ["w1", "w2"]},
    ],
}


def full_study() -> Study:
    study = live_study(researcher())
    for name in ("base", "event"):
        publish_survey(study=study, questionnaire=name, document=SURVEY)
    publish_sampling_plan(study=study, document=FULL)
    return study


@pytest.mark.django_db
def test_a_phone_is_given_waves_practice_one_offs_and_buttons() -> None:
    phone = FakePhone(full_study()).enrolled()
    told = phone.call("GET", "sync").json()
    shown = {(each["questionnaire"], each["day"], each["wave"], each["practice"]) for each in told["prompts"]}
    assert {each for each in shown if each[0] == "momentary"} == {
        ("momentary", 1, "w1", True), ("momentary", 1, "w1", False), ("momentary", 2, "w1", False),
        ("momentary", 5, "w2", False), ("momentary", 6, "w2", False), ("momentary", 7, "w2", False),
    }  # fmt: skip
    assert [each[0] for each in shown].count("base") == 1
    assert [(each["first_day"], each["last_day"]) for each in told["events"]] == [
        ("2026-03-02", "2026-03-03"), ("2026-03-06", "2026-03-08"),
    ]  # fmt: skip
    assert {(each["questionnaire"], each["survey_version"], each["rule"]) for each in told["events"]} == {
        ("event", 1, "button")
    }


@pytest.mark.django_db
def test_a_report_of_an_event_is_no_orphan() -> None:
    phone = FakePhone(full_study()).enrolled()
    event = phone.item(None, questionnaire="event")
    wrong_prompt = {**phone.item(questionnaire="event"), "prompt": str(UUID(int=7))}
    without = phone.item(None)
    assert {receipt["status"] for receipt in phone.submit(event, wrong_prompt, without)} == {"stored"}
    named = [{str(each.client_id) for each in found(phone.study)} for found in (event_reports, orphans)]
    assert named == [{event["client_id"]}, {wrong_prompt["client_id"], without["client_id"]}]


@pytest.mark.django_db
def test_practice_and_test_people_are_marked_and_never_counted() -> None:
    study = full_study()
    FakePhone(study).enrolled()
    _, code = invite(study=study, pseudonym="T1", now=NOW, first_day=MONDAY, last_day=MONDAY, test_person=True)
    tester = FakePhone(study, pseudonym="T1")
    tester.token = tester.call("POST", "enrolments", tester.enrolment(code)).json()["token"]
    tester.prompts = tester.call("GET", "sync").json()["prompts"]
    tester.submit(tester.item())
    assert upload_counts(study)["batches"] == 0
    frame = dataset.load(study, clock.now(), PLAN)
    assert set(frame.loc[frame["practice"], "slot"]) == {1}
    assert set(frame.loc[frame["test_person"], "person"]) == {"T1"}
    momentary = frame[frame["questionnaire"] == "momentary"]
    assert list(momentary[~momentary["practice"] & ~momentary["test_person"]]["wave"]) == ["w1"] * 2 + ["w2"] * 3


@pytest.mark.django_db
def test_facts_for_expressions() -> None:
    study = full_study()
    study.structure = {"arms": [{"key": "a"}], "sites": [], "roles": [{"key": "parent"}]}
    study.save()
    _, code = invite(
        study=study, pseudonym="P1", now=NOW, site="Leiden", arm="a", dyad="D1", role="parent", first_day=MONDAY
    )
    phone = FakePhone(study)
    assert phone.call("POST", "enrolments", phone.enrolment(code)).status_code == 201
    prompt = Prompt.objects.select_related("participant").get(rule="m", day=5)
    assert facts_of([prompt]) == {
        prompt.pk: {"day": 5, "prompt": 1, "wave": "w2", "weekday": 5, "hour": 10.0, "arm": "a", "site": "Leiden",
                    "role": "parent", "practice": False, "option": ""}
    }  # fmt: skip


@pytest.mark.django_db
def test_who_leaves_is_asked_nothing_more_but_the_survey_on_withdrawal() -> None:
    owner = researcher()
    study = full_study()
    study.starts_on, study.ends_on = NOW.date() - timedelta(days=1), NOW.date() + timedelta(days=12)
    study.save()
    day = NOW.astimezone(AMSTERDAM).date() - timedelta(days=1)
    phone = FakePhone(study, first_day=day, last_day=day + timedelta(days=6)).enrolled()
    person = Participant.objects.get()
    called_off = withdraw_participant(participant=person, now=NOW, actor=owner.audit_name, reason="moved away")
    cancelled = PromptEvent.objects.filter(kind="cancelled").select_related("prompt")
    assert called_off == len(cancelled) > 0
    assert {(event.reason, event.prompt.expires_at > NOW) for event in cancelled} == {("the person withdrew", True)}
    told = phone.call("GET", "sync").json()
    assert [each for each in told["prompts"] if datetime.fromisoformat(each["expires_at"]) > NOW] == [
        each for each in told["prompts"] if each["questionnaire"] == "base"
    ]
    assert told["events"] == []
    phone.prompts = [each for each in told["prompts"] if each["questionnaire"] == "base"]
    assert len(phone.prompts) == 1
    assert phone.submit(phone.item(questionnaire="base"))[0]["status"] == "stored"
    assert Participant.objects.get().state == "withdrawn"
    with pytest.raises(NotToWithdraw):
        withdraw_participant(participant=person, now=NOW, actor=owner.audit_name)
    frame = dataset.load(study, NOW + timedelta(days=30), PLAN)
    assert "cancelled" not in set(frame["status"])


@pytest.mark.django_db
def test_withdrawing_on_the_page_asks_for_a_tick() -> None:
    owner = researcher()
    study = live_study(owner)
    FakePhone(study).enrolled()
    person = Participant.objects.get()
    client = Client()
    client.force_login(owner)
    page = f"/studies/{study.slug}/participants/{person.pk}/"
    assert b"Withdraw" in client.get(page).content
    assert client.post(f"{page}withdraw/", {"reason": "x"}).status_code == 400
    assert Participant.objects.get().state == "active"
    assert client.post(f"{page}withdraw/", {"reason": "x", "sure": "on"}, follow=True).status_code == 200
    assert Participant.objects.get().state == "withdrawn"
    assert b"Withdraw" not in client.get(page).content
    assert client.post(f"{page}withdraw/", {"sure": "on"}).status_code == 409


def test_the_last_day_is_the_persons_own() -> None:
    plan = {"rules": [{**ONCE, "once": "end", "at": "18:00"}]}
    (draw,) = draw_prompts(plan, secret=b"s", person=somebody(date(2026, 3, 5)), versions={})
    assert (draw.day, draw.opens) == (4, datetime(2026, 3, 5, 17, tzinfo=UTC))
