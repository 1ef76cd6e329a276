"""Pausing and going on: nothing is asked meanwhile, nobody missed it, and what lies behind it is asked as planned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from ema_server.erasure.services import ask_for_erasure
from ema_server.ledger import audit, outbox
from ema_server.ledger.models import AuditEvent, Job
from ema_server.participants.models import EnrolmentCode, Participant, Pause
from ema_server.participants.services import digest_of_code
from ema_server.reports.dataset import due as due_rows
from ema_server.responses.compliance import compliance
from ema_server.sampling import decisions
from ema_server.sampling.due import due
from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.sampling.pausing import PAUSE_ENDS, pause_participant, resume_participant
from ema_server.sampling.queries import asked_of
from ema_server.sampling.services import withdraw_participant
from ema_server.sampling.timeline import state_of, timeline
from ema_server.studies.models import Study
from ema_server.studies.services import change_state, publish_sampling_plan
from tests.world import FakePhone, live_study, researcher

pytestmark = pytest.mark.django_db

MONDAY = datetime(2026, 3, 2, 5, tzinfo=UTC)  # before the first prompt, which comes at 9
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOON = MONDAY + DAY + timedelta(hours=6)  # on Tuesday, after one of its four prompts
BACK = NOON + DAY


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    def at(moment: datetime) -> datetime:
        monkeypatch.setattr("ema_server.common.clock.now", lambda: moment)
        return moment

    at(MONDAY)
    return at


@pytest.fixture
def phone(at: Any) -> FakePhone:
    return FakePhone(live_study()).enrolled()


def person() -> Participant:
    return Participant.objects.get(pseudonym="P1")


def pause(phone: FakePhone, **body: Any) -> dict[str, Any]:
    answer = phone.call("POST", "pause", body)
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def resume(phone: FakePhone) -> dict[str, Any]:
    answer = phone.call("POST", "resume")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def told(phone: FakePhone) -> list[datetime]:
    return [datetime.fromisoformat(each["scheduled_at"]) for each in phone.call("GET", "sync").json()["prompts"]]


def called_off() -> list[tuple[datetime, str]]:
    events = PromptEvent.objects.filter(kind="cancelled").order_by("prompt__scheduled_at")
    return list(events.values_list("prompt__scheduled_at", "code"))


def test_paused_twice_is_one_pause_and_gone_on_twice_one_end(phone: FakePhone, at: Any) -> None:
    at(NOON)
    first = pause(phone)
    at(NOON + HOUR)
    assert pause(phone) == first == {"state": "paused", "since": NOON.isoformat(), "until": None}
    assert person().state == "paused"
    at(BACK)
    gone_on = resume(phone)
    at(BACK + HOUR)
    assert resume(phone) == gone_on == {"state": "active", "since": NOON.isoformat(), "until": BACK.isoformat()}
    assert person().state == "active"
    trail = AuditEvent.objects.filter(action__in=("participant.paused", "participant.resumed")).order_by("number")
    device = person().devices.get().audit_name
    assert [(each.action, each.actor) for each in trail] == [
        ("participant.paused", device), ("participant.resumed", device),
    ]  # fmt: skip
    assert audit.verify(audit.chain_name(phone.study.pk)) == []


def test_who_never_paused_may_go_on_all_the_same(phone: FakePhone) -> None:
    assert resume(phone) == {"state": "active", "since": None, "until": None}
    assert not AuditEvent.objects.filter(action="participant.resumed").exists()


def test_while_paused_nothing_is_asked_and_afterwards_what_lies_ahead(phone: FakePhone, at: Any) -> None:
    planned = told(phone)
    at(NOON)
    before = phone.call("GET", "sync")
    pause(phone)
    sync = phone.call("GET", "sync")
    assert sync["ETag"] != before["ETag"]
    assert told(phone) == [each for each in planned if each < NOON]  # the phone may hold answers to these
    assert sync.json()["events"] == []
    assert due(at(NOON + 75 * MINUTE)) == []  # a quarter of an hour after a prompt
    assert called_off() == []
    at(BACK)
    resume(phone)
    fell = [each for each in planned if NOON <= each < BACK]
    assert called_off() == [(each, "paused") for each in fell]
    assert len(fell) == 4
    assert told(phone) == [each for each in planned if not NOON <= each < BACK]
    assert len(due(at(BACK + 75 * MINUTE))) == 1


def test_what_was_open_when_the_pause_began_was_asked(phone: FakePhone, at: Any) -> None:
    at(MONDAY + DAY + timedelta(hours=4, minutes=20))  # twenty minutes into an hour
    pause(phone)
    at(BACK)
    resume(phone)
    assert called_off()[0][0] > MONDAY + DAY + timedelta(hours=4)


@pytest.mark.parametrize("ended", [False, True])
def test_a_pause_of_tuesday_does_not_change_monday_and_never_counts_as_missed(
    phone: FakePhone, at: Any, ended: bool
) -> None:
    study, later = phone.study, BACK + 4 * DAY
    asked_before = compliance(study, cutoff=NOON).overall.scheduled
    at(NOON)
    pause(phone)
    if ended:
        at(BACK)
        resume(phone)
        at(later)
    for cutoff, asked in ((NOON, 5), (NOON + 3 * HOUR, 5), (BACK - MINUTE, 5), (later, 21 if ended else 5)):
        found = compliance(study, cutoff=cutoff)
        assert found.overall.scheduled == asked == due_rows(study, cutoff).count(), cutoff
        assert found.day[1].scheduled == 4
    assert asked_before == 5


def test_the_same_cutoff_counts_the_same_before_and_after_the_pause_ended(phone: FakePhone, at: Any) -> None:
    at(NOON)
    pause(phone, until=(BACK + DAY).isoformat())
    cutoffs = [NOON + hours * HOUR for hours in (0, 2, 9, 23)]
    before = [(compliance(phone.study, cutoff=each), due_rows(phone.study, each).count()) for each in cutoffs]
    at(BACK)
    resume(phone)
    after = [(compliance(phone.study, cutoff=each), due_rows(phone.study, each).count()) for each in cutoffs]
    assert before == after


def test_an_answer_of_somebody_who_paused_is_stored_as_ever_and_counts(phone: FakePhone, at: Any) -> None:
    at(NOON)
    pause(phone)
    at(NOON + 2 * HOUR)
    place = next(n for n, each in enumerate(phone.prompts) if each["scheduled_at"] > NOON.isoformat())
    (receipt,) = phone.submit(phone.item(place))
    assert receipt["status"] == "stored"
    counts = compliance(phone.study, cutoff=NOON + 3 * HOUR).overall
    assert (counts.scheduled, counts.completed, counts.in_time) == (6, 1, 1)
    at(BACK)
    resume(phone)
    assert phone.prompts[place]["scheduled_at"] not in {each.isoformat() for each, _ in called_off()}
    assert compliance(phone.study, cutoff=NOON + 3 * HOUR).overall == counts


def test_a_pause_with_an_end_ends_by_itself_to_the_second(phone: FakePhone, at: Any) -> None:
    planned = told(phone)
    at(NOON)
    assert pause(phone, until=BACK.isoformat())["until"] == BACK.isoformat()
    assert told(phone) == [each for each in planned if not NOON <= each < BACK]  # it may be offline when it ends
    job = Job.objects.get(kind=PAUSE_ENDS)
    assert job.due_at == BACK
    at(BACK + 40 * MINUTE)  # the server was away for a while
    assert [each.scheduled_at for each in Prompt.objects.filter(pk__in=[d.prompt for d in due(BACK)])] == []
    assert outbox.run_next(kind=PAUSE_ENDS, now=BACK + 40 * MINUTE) is not None
    assert person().state == "active"
    assert Pause.objects.get().until == BACK
    assert called_off() == [(each, "paused") for each in planned if NOON <= each < BACK]
    assert AuditEvent.objects.get(action="participant.resumed").actor == "server"


def test_who_goes_on_earlier_or_changes_the_end_is_not_disturbed_by_the_first_one(phone: FakePhone, at: Any) -> None:
    at(NOON)
    pause(phone, until=BACK.isoformat())
    longer = pause(phone, until=(BACK + DAY).isoformat())
    assert longer["since"] == NOON.isoformat()
    assert pause(phone) == longer  # whoever says nothing of the end changes nothing
    at(BACK + MINUTE)
    assert outbox.run_next(kind=PAUSE_ENDS, now=BACK + MINUTE) is not None
    assert person().state == "paused"
    assert pause(phone, until=None)["until"] is None
    at(BACK + DAY + MINUTE)
    assert outbox.run_next(kind=PAUSE_ENDS, now=BACK + DAY + MINUTE) is not None
    assert person().state == "paused"
    at(BACK + 2 * DAY)
    resume(phone)
    assert Pause.objects.get().until == BACK + 2 * DAY


def test_a_pause_that_should_be_over_does_not_swallow_a_new_one(phone: FakePhone, at: Any) -> None:
    at(NOON)
    pause(phone, until=BACK.isoformat())
    at(BACK + HOUR)  # and the outbox has not come yet
    assert pause(phone) == {"state": "paused", "since": (BACK + HOUR).isoformat(), "until": None}
    assert [(each.since, each.until) for each in Pause.objects.order_by("since")] == [
        (NOON, BACK), (BACK + HOUR, None),
    ]  # fmt: skip
    assert len(called_off()) == 4
    outbox.run_next(kind=PAUSE_ENDS, now=BACK + HOUR)
    assert person().state == "paused"


@pytest.mark.parametrize(
    ("until", "code"),
    [
        ("2026-03-10T09:00:00", "invalid_body"), ("soon", "invalid_body"), (7, "invalid_body"),
        ("0001-01-01T00:00:00+14:00", "invalid_body"), ("2026-03-03T11:00:00+00:00", "invalid_until"),
        ("2028-01-01T00:00:00Z", "invalid_until"),
    ],
)  # fmt: skip
def test_an_end_that_is_none_is_refused_with_what_would_do(phone: FakePhone, at: Any, until: Any, code: str) -> None:
    at(NOON)
    answer = phone.call("POST", "pause", {"until": until})
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert "until" in answer.json()["detail"]
    assert person().state == "active"


def test_the_database_holds_one_open_pause_of_a_person(phone: FakePhone, at: Any) -> None:
    pause(phone)
    with pytest.raises(IntegrityError), transaction.atomic():
        Pause.objects.create(participant=person(), since=NOON)


def test_whoever_has_withdrawn_or_was_erased_does_not_pause(phone: FakePhone, at: Any) -> None:
    at(NOON)
    withdraw_participant(participant=person(), now=NOON, actor="server")
    for call in ("pause", "resume"):
        answer = phone.call("POST", call)
        assert (answer.status_code, answer.json()["code"]) == (409, "withdrawn")
    ask_for_erasure(participant=person(), actor="server", now=NOON)
    assert phone.call("POST", "pause").status_code == 401


def test_withdrawing_ends_the_pause(phone: FakePhone, at: Any) -> None:
    at(NOON)
    pause(phone)
    at(BACK)
    withdraw_participant(participant=person(), now=BACK, actor="server")
    assert Pause.objects.get().until == BACK
    assert [code for _, code in called_off()].count("paused") == 4
    assert [code for _, code in called_off()].count("withdrew") == len(called_off()) - 4 > 0


def test_of_a_study_whose_data_are_locked_nothing_changes(phone: FakePhone, at: Any) -> None:
    at(NOON)
    pause(phone)
    Study.objects.update(state="locked")
    at(BACK)
    resume(phone)
    assert called_off() == []
    answer = phone.call("POST", "pause")
    assert (answer.status_code, answer.json()["code"]) == (409, "study_closed")


def test_a_pause_of_the_study_and_one_of_a_person_may_overlap(phone: FakePhone, at: Any) -> None:
    at(NOON)
    pause(phone)
    change_state(study=phone.study, to="paused", actor="user:1", now=at(NOON + 4 * HOUR))
    resume(phone)
    assert called_off() == [(NOON + HOUR, "paused")]
    change_state(study=Study.objects.get(), to="live", actor="user:1", now=at(BACK))
    outbox.run_due(queue="celery")
    assert [code for _, code in called_off()] == ["paused", "study_silent", "study_silent", "study_silent"]


def test_a_prompt_is_told_as_called_off_while_it_lies_in_an_open_pause(phone: FakePhone, at: Any) -> None:
    inside = Prompt.objects.filter(scheduled_at__gt=NOON).order_by("scheduled_at")[0]
    ahead = Prompt.objects.get(scheduled_at=BACK + HOUR)
    at(NOON)
    pause(phone)

    def state(prompt: Prompt, now: datetime) -> str:
        return state_of(prompt, timeline(prompt), now=now).state

    assert state(inside, BACK) == state(ahead, BACK) == "cancelled"
    assert timeline(inside)[-1].words == "the person has paused"
    assert [each.became for each in asked_of(person(), now=BACK)].count("called off") == 23
    at(BACK)
    resume(phone)
    assert (state(inside, BACK), state(ahead, BACK)) == ("cancelled", "planned")
    assert [each.became for each in asked_of(person(), now=BACK)].count("called off") == 4


def test_another_phone_of_the_same_person_ends_no_pause(phone: FakePhone, at: Any) -> None:
    at(NOON)
    pause(phone)
    EnrolmentCode.objects.create(
        study=phone.study, participant=person(), digest=digest_of_code("ABCDEFGHJK"), expires_at=BACK
    )
    other = FakePhone(phone.study)
    answer = other.call("POST", "enrolments", other.enrolment("ABCDEFGHJK"))
    assert answer.status_code == 201, answer.content
    assert person().state == "paused"


def test_a_decision_point_in_a_pause_is_one_at_which_nobody_was_available(phone: FakePhone, at: Any) -> None:
    rule = {
        "key": "nudge", "questionnaire": "momentary", "open_minutes": 60, "times": ["10:00", "13:00"],
        "decide": {"options": {"message": 0.5, "none": 0.5}},
    }  # fmt: skip
    study = live_study()
    publish_sampling_plan(study=study, document={"rules": [rule]})
    FakePhone(study).enrolled()
    who = Participant.objects.get(study=study)
    nine, noon = MONDAY + 4 * HOUR, MONDAY + 7 * HOUR
    pause_participant(participant=who, now=noon - HOUR, actor="server")
    resume_participant(participant=who, now=noon + MINUTE, actor="server")
    pause_participant(participant=who, now=noon + 2 * MINUTE, actor="server")
    decisions.judge_decisions(now=noon + 3 * MINUTE)  # by how things stood at the moment of each, not by how they stand
    judged = PromptEvent.objects.filter(kind__in=("available", "unavailable"), prompt__participant=who)
    assert dict(judged.values_list("prompt__scheduled_at", "code")) == {nine: "", noon: "paused"}
    assert due_rows(study, noon + HOUR).filter(decision__isnull=False).count() == 2


def test_researchers_pause_people_and_go_on_with_a_reason_that_is_sealed(at: Any) -> None:
    owner = researcher()
    FakePhone(live_study(owner)).enrolled()
    client = Client()
    client.force_login(owner)
    page = f"/studies/{person().study.slug}/participants/{person().pk}/"
    assert b"Pause" in client.get(page).content
    assert b"are asked nothing until they go on" in client.get(f"{page}pause/").content
    answer = client.post(f"{page}pause/", {"reason": "is in hospital"}, follow=True)
    assert b"is asked nothing" in answer.content
    assert b"paused" in answer.content
    event = AuditEvent.objects.get(action="participant.paused")
    assert (event.actor, event.reason) == (owner.audit_name, "is in hospital")
    assert b"has paused" in client.get(f"{page}pause/").content
    client.post(f"{page}pause/", {"do": "resume"})
    assert person().state == "active"
    withdraw_participant(participant=person(), now=NOON, actor="server")
    assert client.post(f"{page}pause/", {}).status_code == 409
    assert b"cannot be paused" in client.get(f"{page}pause/").content
    assert b"pause/" not in client.get(page).content
