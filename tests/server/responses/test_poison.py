"""Whatever a phone sends, the server answers, its neighbours are stored, and every later night can still read."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection

from ema_server.common import clock
from ema_server.reports import dataset
from ema_server.responses import services
from ema_server.responses.models import Quarantined, Submission
from tests.world import PLAN, FakePhone, live_study

pytestmark = pytest.mark.django_db

HIGH, LOW = "\\ud83d", "\\ude00"
ANSWERS = [
    f'{{"support": 1, "stress": {value}}}'
    for value in (
        "1" + "0" * 400,
        "-1" + "0" * 4999,
        "1e999",
        "1e308",
        "NaN",
        "Infinity",
        "true",
        "null",
        '"12"',
        "[]",
        '{"a": 1}',
        "0.1e-400",
    )
] + [
    f'{{"support": 1, "stress": 2, "alone": "{HIGH}"}}',
    f'{{"support": 1, "stress": 2, "{HIGH}": 3}}',
    '{"support": 1, "stress": 2, "\\u0000": 3}',
    '{"support": 1, "stress": 2, "stress": 3}',
    '{"support": 1, "stress": 2, "alone": %s}' % ("[" * 900 + "]" * 900),
    "[]",
    '"text"',
]
FIELDS = [
    ("questionnaire", f'"{HIGH}"'),
    ("questionnaire", "7"),
    ("survey_version", "1" + "0" * 30),
    ("survey_version", "-1"),
    ("zone", f'"{HIGH}"'),
    ("zone", '"' + "x" * 5000 + '"'),
    ("prompt", '"no uuid"'),
    ("complete", '"yes"'),
    ("started_at", '"0001-01-01T00:00:00+23:59"'),
    ("started_at", '"9999-12-31T23:59:59-23:59"'),
    ("answered_at", '"0001-01-01T00:00:00+23:59"'),
    ("answered_at", '"9999-12-31T23:59:59-23:59"'),
    ("answered_at", '"2026-03-02T10:05:00+23:59:59"'),
    ("answered_at", '"2026-W10-1T10:00:00+01:00"'),
    ("something_new", f'"{HIGH}"'),
    ("something_new", f'"{HIGH}{LOW}"'),
]


@pytest.fixture
def phone() -> FakePhone:
    return FakePhone(live_study()).enrolled()


def send_with_a_neighbour(phone: FakePhone, poison: str) -> str:
    """The status of the poisoned item; its neighbour must be stored, and the study must stay readable."""
    good = phone.item(1)
    raw = f'{{"items": [{poison}, {json.dumps(good)}]}}'.encode()
    answer = phone.call("POST", "submissions", raw=raw)
    assert answer.status_code in (200, 400), answer.content
    if answer.status_code == 400:  # not JSON at all: nothing is stored, and the phone is told so
        assert Submission.objects.count() == 0
        return "400"
    first, second = answer.json()["receipts"]
    assert second["status"] == "stored"
    frame = dataset.load(phone.study, clock.now(), PLAN)
    dataset.as_csv(frame)
    assert frame["stress"].iloc[1] == 30
    status: str = first["status"]
    return status


@pytest.mark.parametrize("answers", ANSWERS)
def test_a_poisoned_answer_harms_nobody(phone: FakePhone, answers: str) -> None:
    item = {**phone.item(0), "answers": "@"}
    status = send_with_a_neighbour(phone, json.dumps(item).replace('"@"', answers))
    assert status in ("400", "rejected") or answers in (ANSWERS[11], ANSWERS[15])


@pytest.mark.parametrize(("field", "value"), FIELDS)
def test_a_poisoned_field_harms_nobody(phone: FakePhone, field: str, value: str) -> None:
    item = {**phone.item(0), field: "@"}
    assert send_with_a_neighbour(phone, json.dumps(item).replace('"@"', value)) in ("400", "rejected", "stored")


def test_a_broken_emoji_costs_its_own_item_alone(phone: FakePhone) -> None:
    bad = json.dumps({**phone.item(0), "zone": "@"}).replace("@", HIGH)
    assert send_with_a_neighbour(phone, bad) == "rejected"
    assert Quarantined.objects.get().code == "malformed"


@pytest.mark.parametrize("deep", [21, 200, 940])
def test_deep_nesting_is_refused_before_it_is_stored(phone: FakePhone, deep: int) -> None:
    bad = json.dumps({**phone.item(0), "more": "@"}).replace('"@"', "[" * deep + "]" * deep)
    assert send_with_a_neighbour(phone, bad) in ("rejected", "400")  # 400: too deep for any decoder


def test_one_unreadable_event_costs_no_other(phone: FakePhone) -> None:
    good = {"id": "0b0e7a3e-9a51-4d35-8a0e-3d9d1c1f5a11", "prompt": phone.prompts[0]["id"], "kind": "expired"}
    good["at"] = "2026-03-02T11:00:00+20:00"
    for bad in ('{"id": "no uuid"}', '{"reason": 5}', f'{{"reason": "{HIGH}"}}'):
        Submission.objects.all().delete()
        answer = phone.call("POST", "prompt-events", raw=f'{{"events": [{bad}, {json.dumps(good)}]}}'.encode())
        first, second = answer.json()["receipts"]
        assert first["status"] == "rejected"
        assert second["status"] in ("stored", "duplicate")


def test_what_only_the_database_refuses_is_refused_alone(phone: FakePhone) -> None:
    """The rules let no such item pass that we know of; the next one that they do must not cost its neighbours."""
    bad, insert = phone.item(0), services._insert_new

    def picky(accepted: Any, **more: Any) -> Any:
        if any(str(each.item.client_id) == bad["client_id"] for each in accepted):
            with connection.cursor() as cursor:
                cursor.execute("SELECT '\\u0000'::jsonb->>0, '\\ud800'::jsonb")
        return insert(accepted, **more)

    with patch.object(services, "_insert_new", picky):
        receipts = phone.submit(phone.item(1), bad, phone.item(2))
    assert [receipt["status"] for receipt in receipts] == ["stored", "rejected", "stored"]
    assert receipts[1]["code"] == "cannot_be_stored"
    assert Quarantined.objects.get().code == "cannot_be_stored"


@pytest.mark.parametrize(
    ("field", "value"),
    [("reason", HIGH), ("reason", "\\u0000"), ("kind", HIGH), ("at", HIGH), ("at", "9999-12-31T23:59:59-23:59")],
)
def test_a_poisoned_event_harms_nobody(phone: FakePhone, field: str, value: str) -> None:
    event = {
        "id": "0b0e7a3e-9a51-4d35-8a0e-3d9d1c1f5a11",
        "prompt": phone.prompts[0]["id"],
        "kind": "expired",
        "at": "2026-03-02T11:00:00+01:00",
        field: "@",
    }
    raw = json.dumps({"events": [event]}).replace("@", value).encode()
    assert phone.call("POST", "prompt-events", raw=raw).status_code in (200, 400)


@pytest.mark.parametrize("field", ["code", "zone"])
@pytest.mark.parametrize("value", [HIGH, "\\u0000", "x" * 3000])
def test_a_poisoned_enrolment_is_refused(field: str, value: str) -> None:
    phone = FakePhone(live_study())
    raw = json.dumps(phone.enrolment("ABCDEFGHJK", **{field: "@"})).replace("@", value).encode()
    assert phone.call("POST", "enrolments", raw=raw).status_code in (400, 409)


def test_a_time_is_no_place_for_a_long_number() -> None:
    phone = FakePhone(live_study()).enrolled()
    long = phone.item(0, answered_at="2026-03-02T10:05:00.0031612345678901234567890+01:00")
    nanoseconds = phone.item(1, answered_at="2026-03-02T13:05:00.123456789+01:00")
    refused, stored = phone.submit(long, nanoseconds)
    assert (refused["code"], stored["status"]) == ("malformed_time", "stored")
