"""What a code leads to before anybody enrols, the limits of codes, and what stops a guesser and nobody else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connections

from ema_server.participants import throttle
from ema_server.participants.codes import close_code
from ema_server.participants.models import Consent, Device, EnrolmentCode, Participant
from ema_server.participants.services import (
    CODE_LIFETIME,
    InvalidCode,
    InvalidPlace,
    add_test_person,
    invite,
    open_study_code,
)
from ema_server.sampling.services import withdraw_participant
from ema_server.studies.models import Study
from ema_server.studies.services import publish_consent_text
from tests.world import NOW, SURVEY, FakePhone, live_study

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    cache.clear()


def preview(phone: FakePhone, code: str) -> Any:
    return phone.call("POST", "enrolments/preview", {"code": code})


# Preview


def test_a_preview_shows_the_study_and_its_consent_text_and_spends_nothing() -> None:
    study = live_study(survey={**SURVEY, "languages": ["en", "nl"], "title": {"en": "Now", "nl": "Nu"}})
    text = publish_consent_text(study=study, texts={"nl": "Ik stem in.", "de": "Ja."}, actor="user:1")
    phone = FakePhone(study)
    _, code = invite(study=study, pseudonym="P1", now=NOW)
    for _ in range(3):
        answer = preview(phone, code.lower())
        assert answer.status_code == 200, answer.content
    assert answer.json() == {
        "study": {
            "slug": study.slug,
            "title": "A study",
            "description": "",
            "starts_on": "2026-03-02",
            "ends_on": "2026-03-15",
            "languages": ["de", "nl", "en"],
        },
        "consent": {"version": "1", "digest": text.digest, "texts": {"nl": "Ik stem in.", "de": "Ja."}},
        "test": False,
        "replaces_phone": False,
    }
    assert EnrolmentCode.objects.get().uses == Device.objects.count() == 0
    consent = {"version": "1", "digest": answer.json()["consent"]["digest"], "given_at": "2026-03-01T09:00:00+01:00"}
    wrong = phone.call("POST", "enrolments", phone.enrolment(code, consent={**consent, "digest": "0" * 64}))
    assert (wrong.status_code, wrong.json()["code"]) == (409, "consent_outdated")
    assert wrong.json()["consent"]["digest"] == text.digest
    assert phone.call("POST", "enrolments", phone.enrolment(code, consent=consent)).status_code == 201
    assert Consent.objects.get().digest == text.digest


def test_a_digest_of_a_text_that_the_study_does_not_have_is_refused() -> None:
    phone = FakePhone(live_study())
    _, code = invite(study=phone.study, pseudonym="P1", now=NOW)
    assert preview(phone, code).json()["consent"] is None
    consent = {"version": "1", "digest": "0" * 64, "given_at": "2026-03-01T09:00:00+01:00"}
    answer = phone.call("POST", "enrolments", phone.enrolment(code, consent=consent))
    assert (answer.status_code, answer.json()["code"], answer.json()["consent"]) == (409, "consent_outdated", None)


def test_unknown_used_expired_and_closed_codes_get_one_answer() -> None:
    phone = FakePhone(live_study())
    codes = {name: invite(study=phone.study, pseudonym=name, now=NOW)[1] for name in ("used", "expired", "closed")}
    rows = {name: EnrolmentCode.objects.filter(participant__pseudonym=name) for name in codes}
    rows["used"].update(uses=1)
    rows["expired"].update(expires_at=NOW)
    assert close_code(code=rows["closed"].get(), actor="user:1", now=NOW)
    assert not close_code(code=rows["closed"].get(), actor="user:1", now=NOW)
    answers = [preview(phone, code) for code in (*codes.values(), "ABCDEFGHJK", "…")]
    assert {answer.status_code for answer in answers} == {409}
    assert len({answer.content for answer in answers}) == 1
    for code in codes.values():
        assert phone.call("POST", "enrolments", phone.enrolment(code)).json()["code"] == "code_not_valid"


def test_a_preview_says_what_an_enrolment_would() -> None:
    phone = FakePhone(live_study())
    person, code = invite(study=phone.study, pseudonym="P1", now=NOW)
    _, test_code = add_test_person(study=phone.study, now=NOW, actor="user:1")
    Study.objects.update(state=Study.State.PAUSED)
    assert preview(phone, code).json()["code"] == "study_closed"
    assert preview(phone, test_code).json()["test"] is True
    Study.objects.update(state=Study.State.LIVE)
    withdraw_participant(participant=person, now=NOW, actor="server")
    assert preview(phone, code).json()["code"] == "study_closed"
    assert preview(phone, "").status_code == 400


# Limits and expiry


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"max_uses": 0}, "uses: 0 is out of range; 1 to 10,000"),
        ({"max_uses": 10_001}, "uses: 10001 is out of range"),
        ({"max_uses": 5, "expires_at": NOW}, "is out of range; a code ends after now"),
        ({"max_uses": 5, "expires_at": NOW + timedelta(days=400)}, "within a year"),
    ],
)
def test_limits_are_checked_and_named(more: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidCode, match=said):
        open_study_code(study=live_study(), now=NOW, **more)
    assert not EnrolmentCode.objects.exists()


def test_a_code_ends_when_the_researcher_says_and_after_thirty_days_by_itself() -> None:
    study = live_study()
    open_study_code(study=study, max_uses=5, now=NOW, expires_at=NOW + timedelta(days=366))
    invite(study=study, pseudonym="P1", now=NOW)
    ends = EnrolmentCode.objects.order_by("pk").values_list("expires_at", flat=True)
    assert list(ends) == [NOW + timedelta(days=366), NOW + CODE_LIFETIME]


def test_a_code_of_a_site_brings_people_into_it() -> None:
    study = live_study(structure={"arms": [], "sites": [{"key": "Leiden", "title": ""}], "roles": []})
    with pytest.raises(InvalidPlace, match="no site 'Delft'"):
        open_study_code(study=study, max_uses=5, now=NOW, site="Delft")
    code = open_study_code(study=study, max_uses=5, now=NOW, site="Leiden")
    phone = FakePhone(study)
    assert phone.call("POST", "enrolments", phone.enrolment(code)).status_code == 201
    assert Participant.objects.get().site == "Leiden"


def test_a_code_is_read_with_hyphens_blanks_and_small_letters() -> None:
    phone = FakePhone(live_study())
    _, code = invite(study=phone.study, pseudonym="P1", now=NOW)
    typed = f" {code[:5].lower()}-{code[5:]} "
    assert phone.call("POST", "enrolments", phone.enrolment(typed)).status_code == 201


# Guessing


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "WRONG_CODES", 5)


def test_after_many_wrong_codes_an_address_waits_and_is_told_how_long(few: None) -> None:
    phone = FakePhone(live_study())
    _, code = invite(study=phone.study, pseudonym="P1", now=NOW)
    for n in range(3):
        assert preview(phone, f"WRONG{n}").status_code == 409
    for n in range(3, 5):
        assert phone.call("POST", "enrolments", phone.enrolment(f"WRONG{n}")).status_code == 409
    for answer in (preview(phone, code), phone.call("POST", "enrolments", phone.enrolment(code))):
        body = answer.json()
        assert (answer.status_code, body["code"], body["limit"], body["window_seconds"]) == (429, "throttled", 5, 600)
        assert 0 < int(answer["Retry-After"]) == body["retry_after_seconds"] <= 600
    assert EnrolmentCode.objects.get().uses == 0


def test_a_class_behind_one_address_comes_in_whatever_one_phone_repeats(few: None) -> None:
    phone = FakePhone(live_study())
    code = open_study_code(study=phone.study, max_uses=30, now=NOW)
    for _ in range(10):
        assert preview(phone, "ONESTALECODE").status_code == 409
        assert preview(phone, code).status_code == 200
        assert phone.call("POST", "enrolments", phone.enrolment(code)).status_code == 201


def test_other_refusals_are_no_guesses(few: None) -> None:
    phone = FakePhone(live_study())
    _, code = invite(study=phone.study, pseudonym="P1", now=NOW)
    Study.objects.update(state=Study.State.PAUSED)
    for _ in range(10):
        assert preview(phone, code).status_code == 409
        assert phone.call("POST", "enrolments", {"code": code}).status_code == 400
    assert preview(phone, "WRONG").json()["code"] == "code_not_valid"


def test_with_the_cache_away_everybody_who_has_a_code_comes_in(settings: Any) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
            "OPTIONS": {"socket_connect_timeout": 1},
        }
    }
    phone = FakePhone(live_study())
    _, code = invite(study=phone.study, pseudonym="P1", now=NOW)
    assert preview(phone, "WRONG").json()["code"] == "code_not_valid"
    assert preview(phone, code).status_code == 200
    assert phone.call("POST", "enrolments", phone.enrolment(code)).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_guesses_in_parallel_gain_nothing(few: None) -> None:
    phone = FakePhone(live_study())

    def guess(n: int) -> int:
        try:
            status: int = preview(phone, f"GUESS{n}").status_code
            return status
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(guess, range(40)))
    assert answers.count(409) <= 5 + 4  # those on their way when the limit was reached
    assert answers.count(429) >= 31
