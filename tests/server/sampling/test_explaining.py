"""How a prompt came to be: derived again from what its drawing kept, whatever became of it since."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from io import StringIO
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ema_server.sampling import person_edits, plan_edits
from ema_server.sampling.models import Prompt
from ema_server.sampling.person_edits import Schedule
from ema_server.sampling.replanning import Effect
from ema_server.sampling.services import withdraw_participant
from ema_server.sampling.timeline import timeline, timeline_of_person
from ema_server.studies.models import SamplingPlan
from ema_server.studies.services import publish_sampling_plan
from tests.world import FakePhone, live_study

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 4, 12, tzinfo=ZoneInfo("Europe/Amsterdam"))  # a Wednesday, the third day
EVERYTHING: dict[str, Any] = {
    "gap_minutes": 20,
    "waking": ["08:00", "22:00"],
    "rules": [
        {"key": "random", "questionnaire": "momentary", "open_minutes": 30, "windows": [["09:00", "11:00"], ["12:00", "15:00"]]},
        {"key": "fixed", "questionnaire": "momentary", "open_minutes": 60, "grace_minutes": 15, "times": ["18:00", "21:00"]},
        {"key": "welcome", "questionnaire": "momentary", "open_minutes": 600, "once": "enrolment"},
        {"key": "goodbye", "questionnaire": "momentary", "open_minutes": 600, "once": "withdrawal"},
        {"key": "later", "questionnaire": "momentary", "open_minutes": 30, "after": {"questionnaire": "momentary", "minutes": 30, "at_most": 3}},
    ],
}  # fmt: skip


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> FakePhone:
    clock = iter(NOON + timedelta(seconds=number) for number in range(10_000))
    monkeypatch.setattr("ema_server.common.clock.now", lambda: next(clock))
    study = live_study()
    publish_sampling_plan(study=study, document=EVERYTHING, based_on=1)
    return FakePhone(study).enrolled()


def told(prompt: Prompt) -> dict[str, Any]:
    out = StringIO()
    call_command("explain_prompt", str(prompt.pk), "--json", stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def words(prompt: Prompt) -> str:
    out = StringIO()
    call_command("explain_prompt", str(prompt.pk), stdout=out)
    return out.getvalue()


def prompt_of(rule: str, day: int = 5, slot: int = 1) -> Prompt:
    return Prompt.objects.get(rule=rule, day=day, slot=slot)


def test_a_random_prompt_is_drawn_again_from_its_seed_and_what_stood_before_it(phone: FakePhone) -> None:
    prompt = prompt_of("random", slot=2)
    found = told(prompt)
    assert found["verdict"] == "same"
    assert found["derived"]["at"] == prompt.scheduled_at.isoformat()
    assert found["derived"]["seed"] == {"person": "P1", "local_day": "2026-03-06", "rule": "random", "rule_version": 2}
    assert [(each["rule"], each["slot"]) for each in found["derived"]["placed_before"]] == [
        ("fixed", 1), ("fixed", 2), ("random", 1),
    ]  # fmt: skip
    assert found["derived"]["window"] == ["12:00", "14:59"]
    assert (found["drawing"]["plan_version"], found["drawing"]["waking_from"]) == (2, "the plan")
    assert (found["state"]["state"], found["state"]["delivered"]) == ("planned", "unknown")
    text = words(prompt)
    for part in ("Derived again: the same.", "'P1|2026-03-06|random|2'", "Europe/Amsterdam (UTC+01:00)", "planned"):
        assert part in text
    assert bytes(phone.study.secret).hex() not in text + json.dumps(found)


def test_every_prompt_of_a_plan_with_all_kinds_is_derived_again(phone: FakePhone) -> None:
    withdraw_participant(participant=Prompt.objects.all()[0].participant, now=NOON + timedelta(days=2), actor="user:1")
    hows = set()
    for prompt in Prompt.objects.all():
        found = told(prompt)
        assert found["verdict"] == "same", found["why"]
        hows.add(found["derived"]["how"])
    assert hows == {"random", "fixed", "enrolment", "withdrawal"}


def test_a_follow_up_names_the_answer_that_it_comes_after(phone: FakePhone) -> None:
    place = next(place for place, each in enumerate(phone.prompts) if each["slot"] == 2)
    phone.submit(phone.item(place, minutes=10))
    answered = Prompt.objects.get(pk=phone.prompts[place]["id"]).scheduled_at + timedelta(minutes=10)
    prompt = Prompt.objects.get(rule="later")
    opens = answered + timedelta(minutes=30)
    found = told(prompt)
    assert (found["verdict"], found["derived"]["answered"]) == ("same", answered.isoformat())
    Prompt.objects.filter(pk=prompt.pk).update(scheduled_at=opens + timedelta(minutes=7))
    assert told(prompt)["why"] == "No answer of this person comes at that distance before it."


def test_who_travels_has_prompts_that_say_when_and_why_they_moved(phone: FakePhone) -> None:
    before = prompt_of("random")
    phone.call("PUT", "device", {"zone": "Europe/Helsinki"})
    found = told(before)
    assert (found["verdict"], found["drawing"]["cause"], found["drawing"]["facts"]["zone"]) == (
        "same", "zone", "Europe/Helsinki",
    )  # fmt: skip
    planned, moved = found["timeline"]
    assert (planned["kind"], planned["code"]) == ("planned", "enrolment")
    assert (moved["kind"], moved["code"], moved["was_at"]) == (
        "rescheduled",
        "zone_changed",
        before.scheduled_at.isoformat(),
    )
    assert "Changed 2026-03-04 11:00 UTC [zone_changed]: from" in words(before)


def test_a_prompt_that_fell_away_and_came_back_tells_both(phone: FakePhone) -> None:
    prompt = prompt_of("fixed", slot=2)
    fewer = {**EVERYTHING, "rules": [each for each in EVERYTHING["rules"] if each["key"] != "fixed"]}
    for number, document in enumerate((fewer, EVERYTHING), start=2):
        change = plan_edits.publish_plan(
            study=phone.study, document=document, based_on=number, effect=Effect.NEXT_DAY, reason="too late", actor="user:1",
            now=NOON + timedelta(hours=number),
        )[1]  # fmt: skip
        assert change is not None
        plan_edits.roll_out(change)
        found = told(prompt)
        assert found["state"]["state"] == ("cancelled" if number == 2 else "planned")
    assert [each["kind"] for each in found["timeline"]] == ["planned", "cancelled", "restored"]
    assert (found["verdict"], found["drawing"]["plan_version"]) == ("same", 4)
    assert "enrolment" in found["timeline"][0]["code"]


def test_a_person_with_own_hours_is_explained_by_them(phone: FakePhone) -> None:
    person = Prompt.objects.all()[0].participant
    schedule = Schedule(person.first_day, person.last_day, {"waking": {"5": ["10:00", "23:00"]}})
    person_edits.change_schedule(
        participant=person, schedule=schedule, based_on=0, effect=Effect.NEXT_DAY, reason="night shifts", actor="user:1",
        now=NOON + timedelta(minutes=1),
    )  # fmt: skip
    found = told(prompt_of("random"))  # on a Friday
    assert (found["verdict"], found["drawing"]["waking"], found["drawing"]["waking_from"]) == (
        "same", ["10:00", "23:00"], "the person",
    )  # fmt: skip
    assert found["derived"]["window"] == ["10:00", "10:59"]
    assert found["timeline"][0]["code"] == "enrolment"


def test_what_differs_is_said_with_its_cause_where_one_is_known(phone: FakePhone) -> None:
    prompt = prompt_of("random")
    hour = timedelta(hours=1)
    # As if Amsterdam had been at UTC+02:00 by the tables of then.
    Prompt.objects.filter(pk=prompt.pk).update(scheduled_at=prompt.scheduled_at - hour, utc_offset_minutes=120)
    found = told(prompt)
    assert found["verdict"] == "differs"
    assert "Europe/Amsterdam was UTC+02:00 then by what was known, and is UTC+01:00" in found["why"]
    Prompt.objects.filter(pk=prompt.pk).update(utc_offset_minutes=60)
    assert "Nothing in the ledger says why" in told(prompt)["why"]
    SamplingPlan.objects.filter(pk=prompt.plan_id).update(document={**EVERYTHING, "rules": EVERYTHING["rules"][1:]})
    assert "makes no such prompt" in told(prompt)["why"]
    assert words(prompt)


def test_imported_prompts_were_not_drawn_here(phone: FakePhone) -> None:
    prompt = prompt_of("fixed")
    Prompt.objects.filter(pk=prompt.pk).update(planning=None)
    assert told(prompt)["why"].startswith("It was drawn before the ledger kept")
    SamplingPlan.objects.filter(pk=prompt.plan_id).update(document={**EVERYTHING, "imported": True})
    found = told(prompt)
    assert (found["verdict"], found["drawing"], found["timeline"]) == ("not_drawn", None, [])
    assert "Imported with a finished study: it was not drawn here." in words(prompt)


@pytest.mark.parametrize(
    ("given", "said"),
    [("17", "'17' is no prompt's id; one is like"), ("63a10d0e-387c-4dc0-8850-ec8fbcb5e04f", "there is no ")],
)
def test_an_id_that_is_none_says_so(given: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("explain_prompt", given)


def test_a_timeline_has_the_planning_the_events_and_the_answers_on_both_clocks(phone: FakePhone) -> None:
    at = datetime.fromisoformat(phone.prompts[-1]["scheduled_at"])
    phone.report(-1, "shown", at=(at + timedelta(minutes=1)).isoformat())
    phone.report(-1, "dismissed", at="1970-01-01T01:00:00+01:00", code="driving")
    phone.submit(phone.item(-1, minutes=5, started_at=(at + timedelta(minutes=3)).isoformat()))
    shown = timeline(Prompt.objects.get(pk=phone.prompts[-1]["id"]))
    assert [(each.kind, each.code, each.at is not None) for each in shown] == [
        ("planned", "enrolment", False), ("dismissed", "driving", False), ("shown", "", True), ("received", "", True),
    ]  # fmt: skip
    assert shown[-1].started_at == at + timedelta(minutes=3)
    assert all(each.told > NOON for each in shown[1:])


def test_a_persons_days_are_told_in_a_handful_of_queries(phone: FakePhone) -> None:
    for place in range(-4, 0):
        phone.report(place, "shown", at=(NOON + timedelta(hours=1)).isoformat())
    phone.call("PUT", "device", {"zone": "Europe/Helsinki"})
    person = Prompt.objects.all()[0].participant
    first = person.first_day
    assert first is not None
    with CaptureQueriesContext(connection) as queries:
        days = timeline_of_person(person, first=first, last=first + timedelta(days=6), now=NOON)
    assert len(queries) == 5
    assert len(days) == Prompt.objects.count()
    assert [each.prompt.scheduled_at for each in days] == sorted(each.prompt.scheduled_at for each in days)
    assert all(each.happenings[0].kind == "planned" for each in days if each.prompt.scheduled_at > NOON)
