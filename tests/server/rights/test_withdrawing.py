"""Leaving by one's own phone: what was given is kept or erased, once, and certainly."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django_scopes import scopes_disabled

from ema_server.common import clock
from ema_server.erasure.models import Certificate
from ema_server.ledger import audit, outbox
from ema_server.ledger.models import AuditEvent
from ema_server.participants.models import Device, Participant
from ema_server.responses.models import Submission
from ema_server.sampling.models import PromptEvent
from ema_server.studies.models import Study
from tests.planted import WITH_TEXT, everything, holds, plant_in
from tests.world import FakePhone, live_study, researcher

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_register(settings: Any, tmp_path: Path) -> None:
    settings.VAR = tmp_path


@pytest.fixture
def phone() -> FakePhone:
    today = clock.now().date()
    study = live_study()
    Study.objects.filter(pk=study.pk).update(starts_on=today, ends_on=today + timedelta(days=6))
    return FakePhone(Study.objects.get(), first_day=today, last_day=None).enrolled()


def withdraw(phone: FakePhone, **body: Any) -> Any:
    return phone.call("POST", "withdraw", body)


def test_who_keeps_their_data_withdraws_once(phone: FakePhone) -> None:
    phone.submit(phone.item())
    first = withdraw(phone, data="keep", reason="moved away")
    assert first.status_code == 200
    said = first.json()
    assert (said["state"], said["data"], said["status"], said["credential"]) == (
        "withdrawn", "kept", "stored", "open",
    )  # fmt: skip
    assert said["prompts_called_off"] == PromptEvent.objects.filter(code="withdrew").count() > 0
    again = withdraw(phone, data="keep").json()
    assert (again["status"], again["prompts_called_off"]) == ("duplicate", 0)
    event = AuditEvent.objects.get(action="participant.withdrawn")
    assert (event.actor, event.reason) == (Device.objects.get().audit_name, "moved away")
    assert Submission.objects.count() == 1
    assert phone.call("GET", "sync").json()["prompts"] == []
    assert phone.call("GET", "me/export").status_code == 200


def test_who_kept_them_at_first_may_have_them_erased(phone: FakePhone) -> None:
    withdraw(phone, data="keep")
    erased = withdraw(phone, data="erase")
    assert erased.status_code == 202
    assert (erased.json()["status"], erased.json()["credential"]) == ("duplicate", "closed")
    assert AuditEvent.objects.filter(action="participant.withdrawn").count() == 1
    assert Participant.objects.get().state == "erased"


def test_erasing_is_asked_for_by_the_phone_carried_out_by_the_outbox_and_certified() -> None:
    phone, planted = plant_in(live_study(researcher(), survey=WITH_TEXT))
    other = FakePhone(phone.study).enrolled()
    other.submit(other.item())
    device = Device.objects.get(participant__pseudonym="P77").audit_name
    answer = withdraw(phone, data="erase", reason=planted.texts[0])
    assert answer.status_code == 202
    said = answer.json()
    assert (said["state"], said["data"], said["status"]) == ("erased", "erased", "stored")
    asked = AuditEvent.objects.get(action="participant.erasure_asked")
    assert (asked.actor, asked.reason) == (device, planted.texts[0])
    for call in (("GET", "sync"), ("GET", "me/export"), ("POST", "withdraw")):  # at once, and so for a retry
        assert phone.call(*call, {"data": "erase"} if call[0] == "POST" else None).status_code == 401
    outbox.run_due(queue="celery")
    certificate = Certificate.objects.get()
    assert certificate.pseudonym == "P77"
    assert certificate.removed["answers"] == 16
    rows = everything()
    assert [text for text in planted.texts if holds(rows, text)] == []
    assert phone.call("GET", "sync").json()["code"] == "unknown_credential"
    assert Submission.objects.get().participant.pseudonym == "P1"
    assert other.call("GET", "sync").status_code == 200
    assert audit.verify(audit.chain_name(phone.study.pk)) == []


def test_a_reason_may_be_left_out_and_the_trail_says_who_asked(phone: FakePhone) -> None:
    withdraw(phone, data="erase")
    assert AuditEvent.objects.get(action="participant.erasure_asked").reason == "the person asked for it on their phone"


def test_of_a_study_whose_data_are_locked_one_may_leave(phone: FakePhone) -> None:
    Study.objects.update(state="locked")
    assert withdraw(phone, data="keep").status_code == 200
    assert withdraw(phone, data="erase").status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        {}, {"data": "all"}, {"data": None}, {"data": ["keep"]}, {"data": "keep", "reason": 5 * [1]}, [], None, "keep",
        {"data": "keep", "reason": "x" * 2001}, {"data": "erase", "reason": "a\u0000b"}, {"data": "erase", "reason": "\ud800"},
    ],
)  # fmt: skip
def test_what_does_not_say_what_becomes_of_the_data_changes_nothing(phone: FakePhone, body: Any) -> None:
    answer = phone.call("POST", "withdraw", body)
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert Participant.objects.get().state == "active"


def test_nobody_is_withdrawn_by_the_phone_of_another(phone: FakePhone) -> None:
    other = FakePhone(phone.study, pseudonym="P2", first_day=phone.first_day).enrolled()
    with scopes_disabled():
        assert withdraw(other, data="erase", participant="P1").status_code == 202
        assert Participant.objects.get(pseudonym="P1").state == "active"
