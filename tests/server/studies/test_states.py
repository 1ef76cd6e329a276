"""What each state allows, and how a study gets from one to the next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from django.test import Client
from django_scopes import scope

from ema_server.common import clock
from ema_server.ledger import outbox
from ema_server.ledger.models import AuditEvent, Job
from ema_server.participants.person_data import import_person_table
from ema_server.participants.services import add_test_person, invite, open_study_code
from ema_server.reports import dataset
from ema_server.reports.queries import studies_at_night
from ema_server.sampling.models import PromptEvent
from ema_server.studies import states
from ema_server.studies.models import Study
from ema_server.studies.services import (
    CALLING_OFF,
    InvalidSamplingPlan,
    change_dates,
    change_state,
    change_structure,
    create_study,
    lock_data,
    publish_consent_text,
    publish_crisis_card,
    publish_sampling_plan,
    publish_survey,
)
from tests.world import MONDAY, NOW, PLAN, SAMPLING, SURVEY, FakePhone, live_study, researcher

CARD = {"en": {"title": "You are not alone", "text": "Call.", "contacts": [{"label": "Help", "phone": "113"}]}}

pytestmark = pytest.mark.django_db
LEGAL = {("draft", "live"), ("live", "paused"), ("paused", "live"), ("live", "ended"), ("paused", "ended"),
         ("ended", "live"), ("ended", "locked")}  # fmt: skip


def put(study: Study, state: str) -> Study:
    Study.objects.filter(pk=study.pk).update(state=state)
    study.refresh_from_db()
    return study


@pytest.mark.parametrize(("state", "to"), sorted(product(states.STATES, states.STATES)))
def test_only_legal_transitions_are_made_and_the_others_name_what_is_possible(state: str, to: str) -> None:
    study = put(live_study(), state)
    if (state, to) in LEGAL:
        change_state(study=study, to=to, actor="user:1", now=NOW, reason="because")
        assert Study.objects.get(pk=study.pk).state == to
        return
    with pytest.raises(states.NoSuchTransition) as refused:
        change_state(study=study, to=to, actor="user:1", now=NOW, reason="because")
    possible = [legal for before, legal in LEGAL if before == state]
    assert all(each in refused.value.detail for each in possible or ["stays as it is"])
    assert Study.objects.get(pk=study.pk).state == state


def test_a_draft_starts_with_a_questionnaire_and_a_plan_alone() -> None:
    study = create_study(owner=researcher(), actor="user:1", slug="new", title="New", starts_on=MONDAY, ends_on=MONDAY)
    with scope(study=study):
        with pytest.raises(states.NoSuchTransition) as refused:
            change_state(study=study, to="live", actor="user:1", now=NOW)
        assert "questionnaires: publish" in refused.value.detail
        assert "sampling plan: publish" in refused.value.detail
        publish_survey(study=study, questionnaire="momentary", document=SURVEY)
        publish_sampling_plan(study=study, document=SAMPLING)
        change_state(study=study, to="live", actor="user:1", now=NOW)
    assert AuditEvent.objects.get(action="study.state_changed").changes == {"state": ["draft", "live"]}


def test_a_draft_whose_days_were_cut_below_its_plan_does_not_start() -> None:
    study = put(live_study(), "draft")
    publish_sampling_plan(study=study, document={"rules": [{**SAMPLING["rules"][0], "days": [1, 14]}]})
    change_dates(study=study, actor="user:1", ends_on=MONDAY + timedelta(days=6))
    with pytest.raises(states.NoSuchTransition, match="goes to day 14; the study lasts 7 days"):
        change_state(study=study, to="live", actor="user:1", now=NOW)


def test_an_ended_study_opens_again_with_a_reason_alone() -> None:
    study = put(live_study(), "ended")
    with pytest.raises(states.NoSuchTransition, match="reason: say why"):
        change_state(study=study, to="live", actor="user:1", now=NOW, reason=" ")


def test_every_service_asks_the_table() -> None:
    """Each action's service, tried in every state, does what the table says."""
    services = {
        "invite": lambda s: (invite(study=s, pseudonym="X", now=NOW), open_study_code(study=s, max_uses=1, now=NOW)),
        "enrol_test": lambda s: add_test_person(study=s, now=NOW, actor="user:1"),
        "questionnaires": lambda s: publish_survey(study=s, questionnaire="other", document=SURVEY),
        "sampling": lambda s: publish_sampling_plan(study=s, document=SAMPLING),
        "consent": lambda s: publish_consent_text(study=s, texts={"en": "I agree."}, actor="user:1"),
        "crisis_card": lambda s: publish_crisis_card(study=s, card=CARD, actor="user:1"),
        "dates": lambda s: change_dates(study=s, actor="user:1", zone="Europe/Paris"),
        "last_day": lambda s: change_dates(study=s, actor="user:1", ends_on=MONDAY + timedelta(days=20)),
        "structure": lambda s: change_structure(study=s, structure={"arms": [{"key": "a"}]}, actor="user:1"),
        "person_data": lambda s: import_person_table(study=s, rows={"P1": {"age": 40}}),
    }
    elsewhere = {"enrol", "prompt", "answers", "nights", "export", "leave"}  # the tests below
    assert set(services) | elsewhere == set(states.ACTIONS)
    for key, service in services.items():
        for state in states.STATES:
            study = live_study()
            with scope(study=study):
                invite(study=study, pseudonym="P1", now=NOW)
                put(study, state)
                if states.allows(state, key):
                    service(study)
                    continue
                with pytest.raises(states.StudyClosed) as refused:
                    service(study)
                assert refused.value.detail.startswith(f"The study {states.in_words(state)}; "), key


@pytest.mark.parametrize("state", states.STATES)
def test_people_enrol_in_a_live_study_and_test_people_before_and_while_it_runs(state: str) -> None:
    study = live_study()
    _, code = invite(study=study, pseudonym="P1", now=NOW)
    _, test_code = invite(study=study, pseudonym="T1", now=NOW, test_person=True)
    put(study, state)
    phone = FakePhone(study)
    answers = [phone.call("POST", "enrolments", phone.enrolment(each)) for each in (code, test_code)]
    assert (answers[0].status_code == 201) == (state == "live")
    assert (answers[1].status_code == 201) == (state in {"draft", "live", "paused"})
    for answer in answers:
        assert answer.status_code == 201 or answer.json()["code"] == "study_closed"


@pytest.mark.parametrize("state", ["paused", "ended"])
def test_a_quiet_study_gives_nothing_new_and_takes_answers(state: str) -> None:
    study = live_study()
    study.starts_on, study.ends_on = NOW.date(), NOW.date() + timedelta(days=6)
    study.save()
    phone = FakePhone(study, first_day=None, last_day=None).enrolled()
    ahead = [each for each in phone.prompts if datetime.fromisoformat(each["scheduled_at"]) > NOW]
    assert ahead
    change_state(study=study, to=state, actor="user:1", now=NOW)
    told = {each["id"] for each in phone.call("GET", "sync").json()["prompts"]}
    assert told == {each["id"] for each in phone.prompts} - {each["id"] for each in ahead}
    (receipt,) = phone.submit(phone.item(len(phone.prompts) - 1))
    assert receipt["status"] == "stored"


def test_what_fell_into_a_pause_is_called_off_and_no_miss() -> None:
    study = live_study()
    phone = FakePhone(study).enrolled()  # 7 days of 4 prompts from 2 March 2026
    begun = datetime(2026, 3, 3, 0, tzinfo=UTC)
    change_state(study=study, to="paused", actor="user:1", now=begun)
    phone.submit(phone.item(5))  # answered in the pause all the same
    assert len(dataset.load(study, clock.now(), PLAN)) == 4 + 1  # while it lasts
    change_state(study=study, to="live", actor="user:1", now=begun + timedelta(days=2))
    assert outbox.run_next(kind=CALLING_OFF) is not None
    called_off = PromptEvent.objects.filter(kind="cancelled")
    assert called_off.count() == 2 * 4 - 1
    assert {event.reason for event in called_off} == {"the study was paused"}
    frame = dataset.load(study, clock.now(), PLAN)
    assert len(frame) == 7 * 4 - 7
    assert list(frame["status"]).count("answered") == 1
    assert study.quiet_since is None
    assert len(phone.call("GET", "sync").json()["prompts"]) == 28 - 8


def test_a_pause_that_ends_the_study_counts_from_its_beginning() -> None:
    study = live_study()
    FakePhone(study).enrolled()
    begun = datetime(2026, 3, 3, 0, tzinfo=UTC)
    change_state(study=study, to="paused", actor="user:1", now=begun)
    change_state(study=study, to="ended", actor="user:1", now=begun + timedelta(days=1))
    assert study.quiet_since == begun
    change_state(study=study, to="locked", actor="user:1", now=begun + timedelta(days=9))
    outbox.run_next(kind=CALLING_OFF)
    assert PromptEvent.objects.filter(kind="cancelled").count() == 6 * 4
    assert Job.objects.get(kind=CALLING_OFF).done_at is not None


def test_locking_a_study_that_runs_is_one_event_and_final() -> None:
    study = live_study()
    lock_data(study=study, now=NOW, reason="complete")
    assert (study.state, study.locked_at) == ("locked", NOW)
    assert AuditEvent.objects.get(action="data.locked").changes == {"state": ["live", "locked"]}
    with pytest.raises(states.NoSuchTransition):
        lock_data(study=study, now=NOW)


@pytest.mark.parametrize("state", states.STATES)
def test_nights_run_while_the_study_runs(state: str) -> None:
    put(live_study(), state)
    assert studies_at_night().exists() == (state in {"live", "paused"})


def test_the_page_says_what_the_state_allows_and_makes_the_transitions() -> None:
    owner = researcher()
    study = live_study(owner)
    client = Client()
    client.force_login(owner)
    address = f"/studies/{study.slug}/setup/"
    page = client.get(address).content.decode()
    assert "No. The study is live; its prompts are planned by them already." in page
    assert "Pause the study" in page
    assert client.post(address, {"do": "state", "to": "ended"}).status_code == 302
    page = client.get(address).content.decode()
    assert "No. The study has ended; it takes no new phones." in page
    without_reason = client.post(address, {"do": "state", "to": "live"})
    assert (without_reason.status_code, b"reason: say why" in without_reason.content) == (409, True)
    unsure = client.post(address, {"do": "state", "to": "locked"})
    assert unsure.status_code == 400
    assert client.post(address, {"do": "state", "to": "locked", "sure": "on"}).status_code == 302
    assert Study.objects.get(pk=study.pk).state == "locked"
    assert b"This study is locked and stays so." in client.get(address).content
    assert client.post(address, {"do": "nonsense"}).status_code == 404


def test_days_and_retention_are_changed_on_the_page_and_bad_ones_named() -> None:
    owner = researcher()
    study = live_study(owner)
    client = Client()
    client.force_login(owner)
    address = f"/studies/{study.slug}/setup/"
    for facts, fault in (
        ({"ends_on": "soon"}, "ends_on: &#x27;soon&#x27; is no date"),
        ({"ends_on": "2026-03-01"}, "ends_on: 2026-03-01 is before the first day, 2026-03-02."),
        ({"keep_until": "2026-03-15"}, "keep_until: 2026-03-15 is not after the last day, 2026-03-15."),
        ({"zone": "Europe/Paris"}, "The study is live; its prompts are planned by them already."),
    ):
        answer = client.post(address, {"do": "dates", **facts})
        assert fault in answer.content.decode(), facts
        assert answer.status_code in {400, 409}
    assert client.post(address, {"do": "dates", "keep_until": "2036-03-15"}).status_code == 302
    study.refresh_from_db()
    assert str(study.keep_until) == "2036-03-15"
    assert AuditEvent.objects.get(action="study.dates_changed").changes == {"keep_until": ["", "2036-03-15"]}


def test_a_plan_that_cannot_be_done_is_not_published() -> None:
    study = live_study()
    with pytest.raises(
        InvalidSamplingPlan, match=r"rules\[0\] \(m\).questionnaire: 'nothing' was never published here"
    ):
        publish_sampling_plan(
            study=study,
            document={"rules": [{"key": "m", "questionnaire": "nothing", "open_minutes": 1, "times": ["10:00"]}]},
        )
    assert study.sampling_plans.count() == 1
