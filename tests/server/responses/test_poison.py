"""Whatever a phone sends, the server answers, its neighbours are stored, and every later night can still read."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction

from ema_server.common import clock
from ema_server.reports import dataset
from ema_server.responses import services
from ema_server.responses.models import Quarantined, Submission
from ema_server.sampling.models import PromptEvent
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


BODIES = {
    "no body": (b"", 400), "no object": (b"[]", 400), "null": (b"null", 400), "no items": (b"{}", 400), "not a list": (b'{"items": {}}', 400),
    "empty": (b'{"items": []}', 400), "two lists": (b'{"items": [1], "items": [2]}', 400), "cut off": (b'{"items": [{"a": 1', 400),
    "deep outside": (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b', "items": []}', 400),
    "too many": (b'{"items": [' + b",".join([b"{}"] * 501) + b"]}", 413), "too large": (b'{"items": ["' + b"x" * (6 << 20) + b'"]}', 413),
    "UTF-16": ('{"items": [{}]}'.encode("utf-16"), 400), "form": (b"items=1", 400),
}  # fmt: skip


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize("seen", [False, True], ids=["first call", "known phone"])
def test_a_fault_of_the_whole_body_is_told_in_words(phone: FakePhone, what: str, seen: bool) -> None:
    raw, status = BODIES[what]
    if seen:
        phone.submit(phone.item(5))
    before = Submission.objects.count()
    answer = phone.call("POST", "submissions", raw=raw)
    assert answer.status_code == status
    told = answer.json()
    assert told["code"] in ("malformed", "batch_size", "too_large")
    assert "limit_bytes" in told or "items" in told["detail"]
    assert Submission.objects.count() == before


def test_an_items_fault_beside_its_neighbours_names_what_is_wrong(phone: FakePhone) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    faults = {
        '{"answers": {"a": "\\u0000"}}': "NUL",
        '{"\\u0000": 1}': "NUL",
        '{"a": "\\ud83d"}': "surrogate",
        '{"a": "\xff"}': "UTF-8",
        f'{{"a": {deep}}}': "",
        '{"a": NaN}': "JSON",
        '{"a": 1e999}': "larger than a double",
        '{"a": 1%s}' % ("0" * 400): "larger than a double",
        '{"a": 1, "b": {"c": 1, "c": 1}}': "c: this key is there twice",
        '{"client_id": 7}': "client_id: 7 was sent",
        "7": "object",
        "null": "object",
        json.dumps({**phone.item(0), "survey_version": "1"}): "survey_version: '1' was sent",
        json.dumps({**phone.item(0), "answers": {"support": 1, "stress": 1, "mood": 1}}): "mood: this version",
        json.dumps({**phone.item(0), "answered_at": "2026-03-29T02:30:00"}): "is no time with an offset",
        json.dumps({**phone.item(0), "questionnaire": "other"}): "was never published",
        json.dumps({**phone.item(0), "more": "x" * 70_000}): "it may hold at most 65536",
    }
    good = phone.item(1)
    parts = [json.dumps(good), *faults]
    raw = b'{"items": [' + b",".join(part.encode("latin-1") for part in parts) + b"]}"
    answer = phone.call("POST", "submissions", raw=raw)
    assert answer.status_code == 200, answer.content
    first, *others = answer.json()["receipts"]
    assert first["status"] == "stored"
    for receipt, (text, said) in zip(others, faults.items(), strict=True):
        assert receipt["status"] == "rejected", text[:80]
        assert receipt["code"], text[:80]
        assert said in receipt["detail"], (text[:80], receipt["detail"])
    assert Quarantined.objects.count() == len(faults)
    kept = {row.body.encode(errors="surrogateescape") for row in Quarantined.objects.all()}
    assert kept == {part.encode("latin-1") for part in faults}, "byte for byte"


def test_packed_bodies_are_read_and_never_beyond_the_limit(phone: FakePhone) -> None:
    def send(raw: bytes, encoding: str = "gzip") -> Any:
        return phone.call("POST", "submissions", raw=raw, **{"Content-Encoding": encoding})

    item = json.dumps({"items": [phone.item(0)]}).encode()
    assert send(gzip.compress(item)).json()["receipts"][0]["status"] == "stored"
    bomb = gzip.compress(b'{"items": ["' + b"x" * (200 << 20) + b'"]}')
    assert len(bomb) < 300_000
    tracemalloc.start()
    refused = send(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (refused.status_code, refused.json()["limit_bytes"]) == (413, 5 << 20)
    assert peak < 16 << 20
    for broken in (item, gzip.compress(item)[:-9], gzip.compress(item) + b"more", b"", gzip.compress(item) * 2):
        assert (send(broken).status_code, send(broken).json()["code"]) == (400, "malformed")
    other = send(item, "br")
    assert (other.status_code, other.json()["accepted"]) == (415, ["gzip", "identity"])


@pytest.mark.parametrize("sent", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1970-01-01T00:00:00Z"])
def test_no_clock_of_a_phone_reaches_a_column_that_cannot_be_read_back(phone: FakePhone, sent: str) -> None:
    event = {"id": str(UUID(int=9)), "prompt": phone.prompts[0]["id"], "kind": "opened", "at": sent}
    assert phone.call("POST", "prompt-events", {"events": [event]}).status_code == 200
    assert phone.submit(phone.item(0, answered_at=sent, started_at=sent))[0]["status"] == "stored"
    given = phone.call("POST", "consents", {"version": "2", "given_at": sent})
    assert given.status_code == (200 if sent.startswith("1970") else 400)
    row = Submission.objects.get()
    assert (row.answered_at, row.payload["answered_at"]) == (None, sent)
    assert PromptEvent.objects.get(client_id=event["id"]).phone_at is None


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("responses_submission", "answered_at"),
        ("sampling_promptevent", "phone_at"),
        ("participants_consent", "given_at"),
    ],
)
def test_the_database_itself_takes_no_time_that_python_cannot_read(phone: FakePhone, table: str, column: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT convalidated, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c' AND conrelid = %s::regclass",
            [table],
        )
        found = [(valid, words) for valid, words in cursor.fetchall() if column in words]
    assert [valid for valid, _ in found] == [True]
    assert "1900" in found[0][1]
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO participants_consent (participant_id, version, digest, given_at, received_at)"
            " SELECT id, '9', '', '0001-01-01T00:00:00+14:00', now() FROM participants_participant"
        )


def test_a_time_is_no_place_for_a_long_number() -> None:
    phone = FakePhone(live_study()).enrolled()
    long = phone.item(0, answered_at="2026-03-02T10:05:00.0031612345678901234567890+01:00")
    nanoseconds = phone.item(1, answered_at="2026-03-02T13:05:00.123456789+01:00")
    refused, stored = phone.submit(long, nanoseconds)
    assert (refused["code"], stored["status"]) == ("malformed_time", "stored")
