"""A code lets one phone in, once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections

from ema_server.participants.models import Consent, Device, EnrolmentCode, Participant
from ema_server.participants.services import InvalidPlace, digest_of_secret, invite, open_study_code
from ema_server.sampling.models import Prompt
from ema_server.studies.models import Study
from ema_server.studies.states import StudyClosed
from tests.world import MONDAY, NOW, FakePhone, live_study

pytestmark = pytest.mark.django_db


def test_enrolling_gives_a_credential_keeps_consent_and_plans_the_prompts() -> None:
    phone = FakePhone(live_study()).enrolled()
    assert Device.objects.get().token_digest == digest_of_secret(phone.token)
    assert phone.token not in str(list(Device.objects.values()))
    assert Consent.objects.get().version == "1"
    assert Prompt.objects.count() == 7 * 4
    assert Participant.objects.get().state == Participant.State.ACTIVE


def test_a_single_use_code_works_once() -> None:
    phone = FakePhone(live_study())
    _, code = invite(study=phone.study, pseudonym="P1", now=NOW, first_day=MONDAY, last_day=MONDAY)
    body = phone.enrolment(code)
    assert phone.call("POST", "enrolments", body).status_code == 201
    second = phone.call("POST", "enrolments", body)
    assert (second.status_code, second.json()["code"]) == (409, "code_not_valid")
    assert Device.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_phones_cannot_share_a_single_use() -> None:
    phone = FakePhone(live_study())
    _, code = invite(study=phone.study, pseudonym="P1", now=NOW, first_day=MONDAY, last_day=MONDAY)

    def enrol(_: int) -> int:
        try:
            status: int = phone.call("POST", "enrolments", phone.enrolment(code)).status_code
            return status
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(enrol, range(8))) == [201] + [409] * 7
    assert Prompt.objects.count() == 4


def test_a_study_code_makes_a_new_person_for_each_phone() -> None:
    phone = FakePhone(live_study())
    code = open_study_code(study=phone.study, max_uses=2, now=NOW)
    answers = [phone.call("POST", "enrolments", phone.enrolment(code)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 409]
    assert [answer.json()["participant"] for answer in answers[:2]] == ["P001", "P002"]


def test_an_expired_code_or_a_closed_study_lets_nobody_in() -> None:
    phone = FakePhone(live_study())
    _, code = invite(study=phone.study, pseudonym="P1", now=NOW)
    EnrolmentCode.objects.update(expires_at=NOW - timedelta(days=4000))
    assert phone.call("POST", "enrolments", phone.enrolment(code)).json()["code"] == "code_not_valid"
    _, code = invite(study=phone.study, pseudonym="P2", now=NOW)
    Study.objects.update(state=Study.State.PAUSED)
    assert phone.call("POST", "enrolments", phone.enrolment(code)).json()["code"] == "study_closed"
    assert EnrolmentCode.objects.get(participant__pseudonym="P2").uses == 0  # nothing half-done remains


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"zone": "Europe/Atlantis"}, "zone"),
        ({"zone": "../../etc/passwd"}, "zone"),
        ({"consent": {"version": "1", "given_at": "2026-03-01T09:00:00"}}, "consent.given_at"),
        ({"consent": {}}, "consent.version"),
        ({"code": ""}, "code"),
    ],
)
def test_a_malformed_enrolment_names_the_field(change: dict[str, object], field: str) -> None:
    phone = FakePhone(live_study())
    answer = phone.call("POST", "enrolments", phone.enrolment("ABCDEFGHJK", **change))
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"{field}: ")


def test_a_revoked_phone_is_told_so() -> None:
    phone = FakePhone(live_study()).enrolled()
    Device.objects.update(revoked_at=NOW)
    answer = phone.call("GET", "sync")
    assert (answer.status_code, answer.json()["code"]) == (401, "revoked")


@pytest.mark.parametrize("pseudonym", ["", " P1", "P1 ", "\u202eP1", "P1\u200d", "P\t1", "P" * 41])
def test_a_pseudonym_can_be_seen_and_told_from_others(pseudonym: str) -> None:
    with pytest.raises(InvalidPlace, match="characters that can be seen"):
        invite(study=live_study(), pseudonym=pseudonym, now=NOW)


def test_an_enrolment_asks_the_state_as_it_is_and_not_as_it_was_read() -> None:
    study = live_study()
    Study.objects.filter(pk=study.pk).update(state=Study.State.ENDED)
    assert study.state == Study.State.LIVE
    with pytest.raises(StudyClosed):
        open_study_code(study=study, max_uses=2, now=NOW)
