"""What a phone says of itself is kept once, as it came, and no fault of one report costs another."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, connections, transaction

from ema_server.common import clock
from ema_server.participants.models import Device, DeviceReport, Participant
from ema_server.studies.models import Study
from tests.world import FakePhone, live_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def phone() -> FakePhone:
    return FakePhone(live_study()).enrolled()


def report(**more: Any) -> dict[str, Any]:
    return {"id": str(uuid4()), "at": "2026-03-02T11:00:00+01:00", "battery": 0.62, "app_version": "1.4.0", **more}


FULL = {
    "charging": True,
    "platform": "android",
    "os_version": "16",
    "zone": "Europe/Amsterdam",
    "permissions": {"notifications": True, "exact_alarms": False},
    "queue": 3,
    "clock_ahead_ms": -1250,
}


def sent(phone: FakePhone, *reports: Any) -> list[dict[str, Any]]:
    answer = phone.call("POST", "device-reports", {"reports": list(reports)})
    assert answer.status_code == 200, answer.content
    receipts: list[dict[str, Any]] = answer.json()["receipts"]
    return receipts


def test_a_report_is_kept_once_and_the_newest_becomes_the_phones_facts(phone: FakePhone) -> None:
    newer = report(**FULL)
    older = report(at="2026-03-01T11:00:00+01:00", app_version="1.3.0", os_version="15")
    assert [each["status"] for each in sent(phone, newer, older, newer)] == ["stored", "stored", "duplicate"]
    assert sent(phone, older) == [{"id": older["id"], "status": "duplicate"}]
    device, kept = Device.objects.get(), DeviceReport.objects.get(client_id=newer["id"])
    assert (device.platform, device.os_version, device.app_version) == ("android", "16", "1.4.0")
    assert (kept.battery, kept.charging, kept.queue, kept.clock_ahead_ms) == (0.62, True, 3, -1250)
    assert kept.permissions == FULL["permissions"]
    assert kept.phone_text == "2026-03-02T11:00:00+01:00"
    assert kept.phone_at is not None
    assert kept.phone_at.isoformat() == "2026-03-02T10:00:00+00:00"
    sent(phone, report(at="2026-03-03T11:00:00+01:00", app_version=""))
    assert Device.objects.get().app_version == "1.4.0"  # what it left out is not news


def test_a_clock_that_is_ahead_or_wild_does_not_stay_the_newest(phone: FakePhone) -> None:
    ahead = (clock.now() + timedelta(days=200)).isoformat()
    sent(phone, report(at=ahead, app_version="1"), report(at="1970-01-01T00:00:00+00:00", app_version="0"))
    assert DeviceReport.objects.filter(phone_at__isnull=True).count() == 1
    sent(phone, report(at=clock.now().isoformat(), app_version="2"))
    assert Device.objects.get().app_version == "2"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"battery": 1.5}, "malformed"),
        ({"battery": -0.1}, "malformed"),
        ({"battery": "full"}, "malformed"),
        ({"queue": -1}, "malformed"),
        ({"queue": 10**20}, "malformed"),
        ({"clock_ahead_ms": 10**15}, "malformed"),
        ({"os_version": "x" * 41}, "malformed"),
        ({"os_version": "\x00"}, "malformed_text"),
        ({"app_version": "1\n2"}, "malformed_text"),
        ({"permissions": {str(n): True for n in range(21)}}, "malformed"),
        ({"permissions": {"x" * 41: True}}, "malformed_text"),
        ({"permissions": {"": True}}, "malformed_text"),
        ({"permissions": {"call me at home": True}}, "malformed_text"),
        ({"permissions": {"a": "yes"}}, "malformed"),
        ({"zone": "Europe/Atlantis"}, "unknown_zone"),
        ({"zone": "x" * 65}, "malformed"),
        ({"at": "2026-03-02T11:00:00"}, "malformed_time"),
        ({"at": "x" * 1000}, "malformed_time"),
        ({"charging": 1}, "malformed"),
    ],
)
def test_a_faulty_report_is_rejected_beside_its_stored_neighbour(
    phone: FakePhone, change: dict[str, Any], code: str
) -> None:
    bad, good = report(**change), report()
    refused, stored = sent(phone, bad, good)
    assert (refused["id"], refused["status"], refused["code"], stored["status"]) == (
        bad["id"], "rejected", code, "stored",
    )  # fmt: skip
    assert refused["detail"]
    assert DeviceReport.objects.count() == 1


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1583-01-01T00:00:00+00:00"])
def test_a_time_that_nobody_believes_is_kept_as_text(phone: FakePhone, at: str) -> None:
    assert sent(phone, report(at=at))[0]["status"] == "stored"
    kept = DeviceReport.objects.get()
    assert (kept.phone_at, kept.phone_text) == (None, at)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id": "\\ud800"}',
        b"7",
        b"null",
        b"[]",
        b'{"id": 5}',
        b'{"id": "00000000-0000-0000-0000-000000000001", "at": "2026-03-02T11:00:00Z", "battery": NaN}',
        b"[" * 900 + b"]" * 900,
        b'{"id": "00000000-0000-0000-0000-000000000001", "at": "2026-03-02T11:00:00Z", "battery": 1e999}',
    ],
)
def test_poison_is_a_rejected_receipt_or_a_4xx(phone: FakePhone, raw: bytes) -> None:
    good = json.dumps(report()).encode()
    answer = phone.call("POST", "device-reports", raw=b'{"reports": [%b, %b]}' % (raw, good))
    assert answer.status_code in {200, 400}, answer.content
    if answer.status_code == 200:
        assert [each["status"] for each in answer.json()["receipts"]] == ["rejected", "stored"]


def test_another_content_under_a_known_id_is_told(phone: FakePhone) -> None:
    first = report()
    receipts = sent(phone, first, {**first, "battery": 0.1})
    assert (receipts[1]["status"], receipts[1]["code"]) == ("rejected", "id_taken")
    other = FakePhone(live_study()).enrolled()
    assert sent(other, {**first, "battery": 0.1})[0]["status"] == "stored"  # somebody else's ids tell nobody anything


def test_the_size_of_a_batch_has_a_limit_that_is_said(phone: FakePhone) -> None:
    assert len(sent(phone, *(report() for _ in range(500)))) == 500
    assert sent(phone) == []
    answer = phone.call("POST", "device-reports", {"reports": [report()] * 501})
    assert (answer.status_code, answer.json()["code"], answer.json()["limit_items"]) == (413, "batch_size", 500)
    for raw in (b"", b"{}", b'{"reports": 5}', b"\xff"):
        assert phone.call("POST", "device-reports", raw=raw).status_code == 400


def test_a_locked_study_takes_none(phone: FakePhone) -> None:
    known = report()
    sent(phone, known)
    Study.objects.update(state=Study.State.LOCKED)
    receipts = sent(phone, known, report())
    assert [(each["status"], each.get("code", "")) for each in receipts] == [
        ("duplicate", ""),
        ("rejected", "study_locked"),
    ]


def test_reports_are_never_changed_and_go_with_their_person_alone(phone: FakePhone) -> None:
    sent(phone, report())
    for change in (lambda: DeviceReport.objects.update(battery=1), lambda: DeviceReport.objects.all().delete()):
        with pytest.raises(DatabaseError, match="only grows"), transaction.atomic():
            change()
    with pytest.raises(DatabaseError, match="a_battery_is_a_share"), transaction.atomic():
        DeviceReport.objects.create(
            participant=Participant.objects.get(),
            device=Device.objects.get(),
            client_id=uuid4(),
            received_at=clock.now(),
            battery=2,
        )


@pytest.mark.django_db(transaction=True)
def test_one_batch_sent_many_times_at_once_is_stored_once() -> None:
    phone = FakePhone(live_study()).enrolled()
    batch = [report() for _ in range(20)]

    def send(_: int) -> list[str]:
        try:
            return [each["status"] for each in sent(phone, *batch)]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(5) as pool:
        statuses = [status for receipts in pool.map(send, range(5)) for status in receipts]
    assert (statuses.count("stored"), statuses.count("duplicate")) == (20, 80)
    assert DeviceReport.objects.count() == 20
