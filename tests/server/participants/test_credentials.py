"""A phone's credential is changed, closed and handed on, and no lost answer locks its person out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django_scopes import scopes_disabled

from ema_server.common import clock
from ema_server.participants.authentication import OVERLAP, device_with
from ema_server.participants.codes import SUCCESSOR_LIFETIME, code_for_new_phone
from ema_server.participants.models import Device, EnrolmentCode, Participant
from ema_server.participants.services import digest_of_secret, invite, open_study_code, revoke_device
from ema_server.sampling.models import Prompt
from ema_server.sampling.services import withdraw_participant
from ema_server.studies.models import Study
from ema_server.studies.states import StudyClosed
from tests.world import MONDAY, NOW, FakePhone, live_study

pytestmark = pytest.mark.django_db


def with_token(phone: FakePhone, token: str) -> FakePhone:
    return replace(phone, token=token)


def rotated(phone: FakePhone) -> FakePhone:
    answer = phone.call("POST", "device/credential")
    assert answer.status_code == 200, answer.content
    assert answer.json()["overlap_seconds"] == 24 * 3600
    return with_token(phone, answer.json()["token"])


def said(phone: FakePhone, method: str = "GET", path: str = "sync") -> tuple[int, str]:
    answer = phone.call(method, path)
    return answer.status_code, answer.json().get("code", "")


def successor_of(phone: FakePhone) -> str:
    answer = phone.call("POST", "device/successor-code")
    assert answer.status_code == 200, answer.content
    code: str = answer.json()["code"]
    return code


def enrolled_with(phone: FakePhone, code: str, **more: Any) -> FakePhone:
    new = replace(phone, token="")
    answer = new.call("POST", "enrolments", new.enrolment(code, **more))
    assert answer.status_code == 201, answer.content
    return with_token(new, answer.json()["token"])


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    def set_clock(moment: datetime) -> None:
        monkeypatch.setattr(clock, "now", lambda: moment)

    return set_clock


# Rotation


def test_after_a_rotation_both_credentials_are_good_until_a_day_after_the_new_one_was_used(
    at: Callable[[datetime], None],
) -> None:
    old = FakePhone(live_study()).enrolled()
    new = rotated(old)
    assert new.token not in str(list(Device.objects.values()))
    at(NOW + timedelta(days=40))  # the answer may have been lost, and the phone away for long
    assert said(old) == (200, "")
    assert said(new) == (200, "")
    assert said(old) == (200, "")
    at(NOW + timedelta(days=40) + OVERLAP - timedelta(minutes=1))
    assert said(old) == (200, "")
    at(NOW + timedelta(days=40) + OVERLAP)
    assert said(old) == (401, "unknown_credential")
    assert said(new) == (200, "")


def test_a_rotation_whose_answer_was_lost_is_asked_for_again_with_the_old_credential() -> None:
    old = FakePhone(live_study()).enrolled()
    lost = rotated(old)
    again = rotated(old)
    assert said(again) == (200, "")
    assert said(old) == (200, "")
    assert said(lost) == (401, "unknown_credential")
    assert Device.objects.count() == 1


def test_a_delayed_rotation_by_the_old_credential_does_not_lock_the_new_one_out() -> None:
    old = FakePhone(live_study()).enrolled()
    new = rotated(old)
    assert said(new) == (200, "")
    unread = rotated(old)  # the same request arrives a second time, and nobody reads its answer
    assert said(new) == (200, "")
    assert said(rotated(new)) == (200, "")
    assert said(unread) == (401, "unknown_credential")


def test_a_phone_rotates_as_often_as_it_likes() -> None:
    phone = FakePhone(live_study()).enrolled()
    for _ in range(5):
        phone = rotated(phone)
        assert said(phone) == (200, "")


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    def ended(call: Callable[[], Any]) -> Any:
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(ended, calls))


@pytest.mark.django_db(transaction=True)
def test_of_many_rotations_at_once_the_last_answer_and_the_old_credential_are_good() -> None:
    phone = FakePhone(live_study()).enrolled()
    answers = at_once([lambda: phone.call("POST", "device/credential")] * 6)
    assert {answer.status_code for answer in answers} == {200}
    tokens = [answer.json()["token"] for answer in answers]
    good = [token for token in tokens if said(with_token(phone, token)) == (200, "")]
    assert len(set(tokens)) == 6
    assert len(good) == 1
    assert said(phone) == (200, "")


@pytest.mark.django_db(transaction=True)
def test_a_revocation_during_rotations_closes_whatever_they_gave() -> None:
    phone = FakePhone(live_study()).enrolled()
    device = Device.objects.get()

    def revoke() -> None:
        with scopes_disabled():  # a thread of its own begins without
            revoke_device(device=device, actor="server", reason="lost", now=NOW)

    rotate = [lambda: phone.call("POST", "device/credential")] * 4
    answers = at_once([*rotate[:2], revoke, *rotate[2:]])
    given = [phone.token]
    for answer in answers:
        if answer is not None and answer.status_code == 200:
            given.append(answer.json()["token"])
        elif answer is not None:
            assert (answer.status_code, answer.json()["code"]) == (401, "revoked")
    for token in given:
        assert said(with_token(phone, token))[0] == 401
    found = device_with(given[0])
    assert found is None or found.revoked_at is not None
    assert said(phone) == (401, "revoked")  # what was good when it was revoked is known as revoked


# Revocation


def test_a_revocation_closes_both_credentials_at_once_and_keeps_its_first_reason() -> None:
    old = FakePhone(live_study()).enrolled()
    new = rotated(old)
    device = Device.objects.get()
    revoke_device(device=device, actor="server", reason="lost", now=NOW)
    assert said(old) == said(new) == (401, "revoked")
    assert said(new, "POST", "device/credential") == (401, "revoked")
    found = device_with(new.token)
    assert found is not None
    assert (found.closed_because, found.revoked_at) == ("revoked", NOW)
    assert device_with("nobody's") is None


def test_a_header_that_is_no_credential_is_told_apart() -> None:
    phone = FakePhone(live_study())
    for header, code in [
        ("Bearer", "malformed_credential"),
        ("Bearer a b", "malformed_credential"),
        ("Bearer nobody", "unknown_credential"),
        ("Basic abc", "not_authenticated"),
    ]:
        answer = phone.call("GET", "sync", Authorization=header)
        assert (answer.status_code, answer.json()["code"]) == (401, code), header
        assert answer["WWW-Authenticate"] == 'Bearer realm="phone"'


# A new phone


def test_a_new_phone_keeps_the_person_and_closes_the_old_one() -> None:
    old = FakePhone(live_study()).enrolled()
    code = successor_of(old)
    assert said(old) == (200, "")  # nothing is closed before the new phone is in
    new = enrolled_with(old, code)
    assert said(old) == (401, "replaced")
    assert said(new) == (200, "")
    first, second = Device.objects.order_by("pk")
    assert (first.closed_because, second.closed_because, second.revoked_at) == ("replaced", "", None)
    assert first.revoked_at == second.created_at
    assert first.participant == second.participant
    assert {prompt["id"] for prompt in new.call("GET", "sync").json()["prompts"]} == {p["id"] for p in old.prompts}
    assert Prompt.objects.count() == 7 * 4
    answer = replace(new, token="").call("POST", "enrolments", new.enrolment(code))
    assert answer.json()["code"] == "code_not_valid"


def test_a_successor_code_runs_out_after_ten_minutes_and_gives_way_to_the_next(at: Callable[[datetime], None]) -> None:
    old = FakePhone(live_study()).enrolled()
    first, second = successor_of(old), successor_of(old)
    assert EnrolmentCode.objects.filter(new_phone=True).count() == 1
    bare = replace(old, token="")
    assert bare.call("POST", "enrolments", old.enrolment(first)).json()["code"] == "code_not_valid"
    answer = old.call("POST", "device/successor-code").json()
    assert answer["link"].endswith(f"/join#{answer['code']}")
    assert answer["app_link"].startswith("ema://join?server=http")
    assert bare.call("POST", "enrolments", old.enrolment(second)).json()["code"] == "code_not_valid"
    at(clock.now() + SUCCESSOR_LIFETIME)
    assert bare.call("POST", "enrolments", old.enrolment(answer["code"])).json()["code"] == "code_not_valid"


def test_what_a_stolen_phone_made_is_worth_nothing_once_it_is_revoked() -> None:
    old = FakePhone(live_study()).enrolled()
    code = successor_of(old)
    revoke_device(device=Device.objects.get(), actor="server", reason="stolen", now=NOW)
    bare = replace(old, token="")
    for path, body in [("enrolments", old.enrolment(code)), ("enrolments/preview", {"code": code})]:
        assert bare.call("POST", path, body).json()["code"] == "code_not_valid"
    assert said(old, "POST", "device/successor-code") == (401, "revoked")


def test_a_researchers_code_for_a_new_phone_closes_the_sheet_that_was_lost() -> None:
    study = live_study()
    person, lost = invite(study=study, pseudonym="P1", now=NOW, first_day=MONDAY, last_day=MONDAY)
    code = code_for_new_phone(participant=person, actor="user:1", now=NOW)
    bare = FakePhone(study)
    assert bare.call("POST", "enrolments", bare.enrolment(lost)).json()["code"] == "code_not_valid"
    phone = enrolled_with(bare, code)
    person.refresh_from_db()
    again = code_for_new_phone(participant=person, actor="user:1", now=NOW)
    assert said(phone) == (200, "")
    preview = bare.call("POST", "enrolments/preview", {"code": again}).json()
    assert preview["replaces_phone"] is True
    new = enrolled_with(bare, again)
    assert (said(phone), said(new)) == ((401, "replaced"), (200, ""))
    assert Participant.objects.count() == 1
    assert list(EnrolmentCode.objects.order_by("pk").values_list("new_phone", flat=True)) == [False, False, True]


def test_a_test_person_changes_phones_like_anybody_in_a_draft_too() -> None:
    study = live_study()
    Study.objects.filter(pk=study.pk).update(state=Study.State.DRAFT)
    _, code = invite(study=study, pseudonym="TEST1", now=NOW, test_person=True)
    old = enrolled_with(FakePhone(study), code)
    new = enrolled_with(old, successor_of(old))
    assert (said(old), said(new)) == ((401, "replaced"), (200, ""))


def test_a_new_phone_ends_nobodys_pause_and_who_has_left_gets_none() -> None:
    old = FakePhone(live_study()).enrolled()
    Participant.objects.update(state=Participant.State.PAUSED)
    new = enrolled_with(old, successor_of(old))
    person = Participant.objects.get()
    assert person.state == Participant.State.PAUSED
    withdraw_participant(participant=person, now=NOW, actor="server")
    assert said(new, "POST", "device/successor-code") == (409, "study_closed")
    with pytest.raises(StudyClosed, match="has left"):
        code_for_new_phone(participant=person, actor="server", now=NOW)


@pytest.mark.django_db(transaction=True)
def test_two_new_phones_with_one_code_at_once_leave_one_phone() -> None:
    old = FakePhone(live_study()).enrolled()
    code = successor_of(old)
    bare = replace(old, token="")
    answers = at_once([lambda: bare.call("POST", "enrolments", bare.enrolment(code))] * 5)
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 4
    assert Device.objects.filter(revoked_at__isnull=True).count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_codes_of_one_person_at_once_leave_one_open_phone() -> None:
    old = FakePhone(live_study()).enrolled()
    person = Participant.objects.get()
    codes = [code_for_new_phone(participant=person, actor="server", now=NOW), successor_of(old)]
    bare = replace(old, token="")
    answers = at_once([lambda code=code: bare.call("POST", "enrolments", bare.enrolment(code)) for code in codes])
    assert 201 in {answer.status_code for answer in answers}
    assert {answer.status_code for answer in answers} <= {201, 409}  # the second may find that its maker is closed
    assert Device.objects.filter(revoked_at__isnull=True).count() == 1


# An enrolment whose answer was lost


def test_the_same_enrolment_sent_again_spends_nothing_and_gets_the_same_phone_a_credential() -> None:
    study = live_study()
    _, code = invite(study=study, pseudonym="P1", now=NOW, first_day=MONDAY, last_day=MONDAY)
    phone, request_id = FakePhone(study), str(uuid4())
    lost = enrolled_with(phone, code, request_id=request_id)
    again = enrolled_with(phone, code, request_id=request_id)
    third = enrolled_with(phone, code, request_id=request_id)
    assert Device.objects.count() == EnrolmentCode.objects.get().uses == 1
    assert said(third) == (200, "")
    assert said(lost) == (200, "")  # should the first answer have arrived after all
    assert said(again) == (401, "unknown_credential")
    other = phone.call("POST", "enrolments", phone.enrolment(code, request_id=str(uuid4())))
    assert other.json()["code"] == "code_not_valid"


def test_an_enrolment_is_not_repeated_later_nor_by_a_closed_phone(at: Callable[[datetime], None]) -> None:
    study = live_study()
    code = open_study_code(study=study, max_uses=5, now=NOW)
    phone, request_id = FakePhone(study), str(uuid4())
    enrolled_with(phone, code, request_id=request_id)
    revoke_device(device=Device.objects.get(), actor="server", reason="lost", now=NOW)
    answer = phone.call("POST", "enrolments", phone.enrolment(code, request_id=request_id))
    assert (answer.status_code, answer.json()["code"]) == (409, "code_not_valid")
    assert Participant.objects.count() == 1
    other = str(uuid4())
    enrolled_with(phone, code, request_id=other)
    at(clock.now() + timedelta(hours=24))
    answer = phone.call("POST", "enrolments", phone.enrolment(code, request_id=other))
    assert (answer.status_code, answer.json()["code"]) == (409, "code_not_valid")


@pytest.mark.django_db(transaction=True)
def test_one_enrolment_sent_many_times_at_once_makes_one_person_and_one_phone() -> None:
    study = live_study()
    code = open_study_code(study=study, max_uses=50, now=NOW)
    phone = FakePhone(study)
    body = phone.enrolment(code, request_id=str(uuid4()))
    answers = at_once([lambda: phone.call("POST", "enrolments", body)] * 6)
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.json()["participant"] for answer in answers} == {"P001"}
    assert Device.objects.count() == Participant.objects.count() == EnrolmentCode.objects.get().uses == 1
    good = [a for a in answers if said(with_token(phone, a.json()["token"]))[0] == 200]
    assert good


def test_only_digests_are_kept() -> None:
    study = live_study()
    _, code = invite(study=study, pseudonym="P1", now=NOW)
    request_id = str(uuid4())
    phone = enrolled_with(FakePhone(study), code, request_id=request_id)
    kept = str(list(EnrolmentCode.objects.values())) + str(list(Device.objects.values()))
    assert code not in kept
    assert request_id not in kept
    assert phone.token not in kept
    assert Device.objects.get().token_digest == digest_of_secret(phone.token)
