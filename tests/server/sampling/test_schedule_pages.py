"""The pages of the schedule: an edit is shown before it is done, says why it cannot be, and can be taken back."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from ema_server.accounts.models import User
from ema_server.ledger.outbox import run_next
from ema_server.participants.models import Participant
from ema_server.sampling.models import Prompt, ScheduleChange
from ema_server.studies.models import Membership, Study
from ema_server.studies.services import add_member
from tests.world import MONDAY, SAMPLING, FakePhone, live_study, researcher

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 4, 12, tzinfo=ZoneInfo("Europe/Amsterdam"))
LATER = {"rules": [{**SAMPLING["rules"][0], "times": ["10:00", "13:00", "17:00"]}]}
EVENING = {"waves": [{"key": "w2", "days": [5, 6]}], "rules": [{**SAMPLING["rules"][0], "waves": ["w2"]}]}


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> User:
    monkeypatch.setattr("ema_server.common.clock.now", lambda: NOON)
    return researcher()


@pytest.fixture
def phone(owner: User) -> FakePhone:
    return FakePhone(live_study(owner)).enrolled()


@pytest.fixture
def web(owner: User, client: Client) -> Client:
    client.force_login(owner)
    return client


def post(web: Client, study: Study, do: str, document: Any, **more: Any) -> Any:
    text = document if isinstance(document, str) else json.dumps(document)
    facts = {"do": do, "plan": text, "effect": "next_day", "based_on": 1, **more}
    return web.post(f"/studies/{study.slug}/schedule/", facts)


def test_a_study_without_a_plan_is_shown_how_to_begin(web: Client, owner: User) -> None:
    study = live_study(owner)
    study.sampling_plans.all().delete()
    page = web.get(f"/studies/{study.slug}/schedule/").content.decode()
    assert "No sampling plan yet" in page
    assert "&quot;questionnaire&quot;: &quot;momentary&quot;" in page


def test_a_study_without_a_questionnaire_is_sent_to_publish_one(web: Client, owner: User) -> None:
    study = Study.objects.create(slug="new", title="New", zone="Europe/Amsterdam", starts_on=MONDAY, ends_on=MONDAY)
    add_member(study=study, user=owner, role=Membership.Role.OWNER)
    page = web.get("/studies/new/schedule/").content.decode()
    assert "Publish a questionnaire first" in page
    assert 'href="/studies/new/questionnaires/"' in page


def test_each_fault_of_a_plan_is_a_line_of_its_own_and_what_was_typed_stays(web: Client, phone: FakePhone) -> None:
    faulty = {"rules": [{**SAMPLING["rules"][0], "questionnaire": "evning", "open_minuts": 5}]}
    answer = post(web, phone.study, "publish", faulty, reason="x")
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "2 things are wrong; nothing was changed" in page
    assert page.count("<li>rules[0] (momentary)") == 2
    assert "&quot;open_minuts&quot;: 5" in page


def test_the_example_can_be_published_as_it_stands(web: Client, owner: User) -> None:
    study = live_study(owner)
    study.sampling_plans.all().delete()
    text = web.get(f"/studies/{study.slug}/schedule/").context["text"]
    assert max(map(len, text.splitlines())) < 110
    assert post(web, study, "publish", text, based_on=0).status_code == 302


def test_looking_changes_nothing_publishing_does_and_taking_back_undoes_it(web: Client, phone: FakePhone) -> None:
    before = dict(Prompt.objects.values_list("id", "scheduled_at"))
    page = post(web, phone.study, "look", LATER).content.decode()
    assert "4 future prompts of 1 participant move, 4 fall away; 0 past or answered prompts are touched" in page
    assert "Thu 5 Mar, 16:00" in page
    assert dict(Prompt.objects.values_list("id", "scheduled_at")) == before
    assert post(web, phone.study, "publish", LATER).status_code == 400  # without a reason
    assert post(web, phone.study, "publish", LATER, reason="too early").status_code == 302
    run_next(kind="schedule_roll_out")
    assert dict(Prompt.objects.values_list("id", "scheduled_at")) != before
    change = ScheduleChange.objects.get()
    page = web.get(f"/studies/{phone.study.slug}/schedule/").content.decode()
    assert "4 move, 4 fall away" in page
    assert "too early" in page
    web.post(f"/studies/{phone.study.slug}/schedule/", {"do": "undo", "change": change.number})
    run_next(kind="schedule_roll_out")
    assert dict(Prompt.objects.values_list("id", "scheduled_at")) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "plan: is no JSON (line 1, column 2: "),
        ("[]", "plan: must be an object"),
        ('{"rules": []}', "rules: a sampling plan needs a list"),
        ("[" * 100_000, "plan: is no JSON"),
        (" " * 200_001, "at most 200,000 are read"),
    ],
)
def test_what_cannot_be_a_plan_is_told_and_stays_typed(web: Client, phone: FakePhone, text: str, said: str) -> None:
    answer = post(web, phone.study, "look", text)
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert phone.study.sampling_plans.count() == 1


def test_the_second_of_two_editors_is_told(web: Client, phone: FakePhone) -> None:
    post(web, phone.study, "publish", LATER, reason="first")
    answer = post(web, phone.study, "publish", EVENING, reason="second")
    assert answer.status_code == 409
    assert "Somebody else published version 2" in answer.content.decode()
    assert phone.study.sampling_plans.count() == 2
    page = post(web, phone.study, "look", EVENING).content.decode()
    assert "Somebody else’s change came in" in page
    assert 'name="based_on" value="2"' in page
    assert post(web, phone.study, "publish", EVENING, reason="seen", based_on=2).status_code == 302


def test_one_persons_hours_are_looked_at_changed_and_taken_back(web: Client, phone: FakePhone) -> None:
    person = Participant.objects.get()
    address = f"/studies/{phone.study.slug}/participants/{person.pk}/schedule/"
    before = dict(Prompt.objects.values_list("id", "scheduled_at"))
    facts = {"wake": "12:00", "sleep": "23:00", "effect": "next_day", "based_on": 0, "last_day": str(person.last_day)}
    page = web.post(address, {"do": "look", **facts}).content.decode()
    assert "4 future prompts of 1 participant fall away" in page
    assert web.post(address, {"do": "change", **facts}).status_code == 400
    assert web.post(address, {"do": "change", "reason": "shift work", **facts}).status_code == 302
    person.refresh_from_db()
    assert person.schedule == {"waking": {"every": ["12:00", "23:00"]}}
    page = web.get(address).content.decode()
    assert "shift work" in page
    assert "4 called off" in page
    assert web.post(address, {"do": "change", "reason": "again", **facts}).status_code == 409
    web.post(address, {"do": "undo", "change": ScheduleChange.objects.get().number})
    person.refresh_from_db()
    assert person.schedule == {}
    assert dict(Prompt.objects.values_list("id", "scheduled_at")) == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"wake": "12:00"}, "wake, sleep: give both or neither."),
        ({"wake": "25:00", "sleep": "26:00"}, "waking.every: [&#x27;25:00&#x27;, &#x27;26:00&#x27;] must be like"),
        ({"wake": "03:00", "sleep": "05:00"}, "leave no time for any prompt of momentary; widen them."),
        ({"last_day": "2027-01-01"}, "last_day: 2027-01-01 is after the study"),
        ({"event:quit": "2026-03-05"}, "events.quit: the plan has no own event of this key"),
    ],
)
def test_what_cannot_be_somebodys_schedule_is_told(
    web: Client, phone: FakePhone, given: dict[str, str], said: str
) -> None:
    person = Participant.objects.get()
    address = f"/studies/{phone.study.slug}/participants/{person.pk}/schedule/"
    answer = web.post(address, {"do": "change", "effect": "next_day", "based_on": 0, "reason": "r", **given})
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert not ScheduleChange.objects.exists()
