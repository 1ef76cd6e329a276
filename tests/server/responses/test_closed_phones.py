"""Whoever may send nothing more still hands in what they hold: it goes to quarantine, under a code of its own."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest

from ema_server.common import clock
from ema_server.participants.models import Device, Participant
from ema_server.participants.services import revoke_device
from ema_server.responses import services
from ema_server.responses.models import Conflict, Quarantined, Submission
from ema_server.sampling.services import withdraw_participant
from ema_server.studies.services import publish_sampling_plan
from tests.world import SAMPLING, FakePhone, live_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def phone() -> FakePhone:
    return FakePhone(live_study()).enrolled()


def close(how: str = "revoked") -> None:
    device = Device.objects.get()
    revoke_device(device=device, actor="server", reason="lost", now=clock.now())
    Device.objects.update(closed_because=how)


@pytest.mark.parametrize("how", ["revoked", "replaced"])
def test_a_closed_phones_backlog_is_quarantined_and_what_was_stored_stays_a_duplicate(
    phone: FakePhone, how: str
) -> None:
    stored, new, poison = phone.item(0), phone.item(1), phone.item(2, answers=5)
    changed = {**stored, "answers": {"support": 1, "stress": 1}}
    phone.submit(stored)
    close(how)
    receipts = phone.submit(stored, new, poison, changed)
    assert [receipt["status"] for receipt in receipts] == ["duplicate", "rejected", "rejected", "rejected"]
    assert {receipt["code"] for receipt in receipts[1:]} == {f"device_{how}"}
    assert (Submission.objects.count(), Conflict.objects.count(), Quarantined.objects.count()) == (1, 0, 3)
    kept = {row.client_id: json.loads(row.body) for row in Quarantined.objects.all()}
    assert kept[UUID(new["client_id"])] == new
    assert phone.submit(new)[0]["code"] == f"device_{how}"
    assert Quarantined.objects.count() == 3
    for method, path in (("GET", "sync"), ("POST", "prompt-events"), ("POST", "manifest")):
        answer = phone.call(method, path, {"events": []})
        assert (answer.status_code, answer.json()["code"]) == (401, how)


def test_what_a_closed_phone_can_fill_has_an_end(phone: FakePhone) -> None:
    close()
    first = [phone.item(n) for n in range(3)]
    with patch.object(services, "CLOSED_ITEMS", 4):
        assert len(phone.submit(*first)) == 3
        refused = phone.call("POST", "submissions", {"items": [phone.item(4), phone.item(5)]})
        assert (refused.status_code, refused.json()["code"]) == (401, "revoked")
        assert refused["WWW-Authenticate"].startswith("Bearer")
        assert len(phone.submit(*first)) == 3, "what is there already needs no room"
        assert len(phone.submit(phone.item(6))) == 1
    with patch.object(services, "CLOSED_BYTES", 3000):
        assert phone.call("POST", "submissions", {"items": [phone.item(7, more="x" * 3000)]}).status_code == 401
    assert Quarantined.objects.count() == 4


def leaving_study() -> FakePhone:
    study = live_study()
    rule = {"key": "goodbye", "questionnaire": "momentary", "open_minutes": 1440, "once": "withdrawal"}
    publish_sampling_plan(study=study, document={"rules": [*SAMPLING["rules"], rule]})
    return FakePhone(study, last_day=None).enrolled()


def test_who_has_left_is_asked_one_thing_more_and_all_else_is_quarantined() -> None:
    phone = leaving_study()
    kept = phone.item(0)
    phone.submit(kept)
    person = Participant.objects.get()
    withdraw_participant(participant=person, now=clock.now(), actor="server")
    asked = person.prompts.get(rule="goodbye")
    answer: dict[str, Any] = {**phone.item(1), "prompt": str(asked.pk), "answered_at": clock.now().isoformat()}
    elsewhere = {**phone.item(2), "prompt": str(uuid4())}
    receipts = phone.submit(kept, answer, phone.item(3), elsewhere)
    assert [receipt["status"] for receipt in receipts] == ["duplicate", "stored", "rejected", "rejected"]
    assert {receipt["code"] for receipt in receipts[2:]} == {"withdrawn"}
    assert Submission.objects.get(client_id=answer["client_id"]).prompt == asked
    assert Quarantined.objects.filter(code="withdrawn").count() == 2


def test_who_pauses_answers_as_ever(phone: FakePhone) -> None:
    Participant.objects.update(state=Participant.State.PAUSED)
    assert phone.submit(phone.item(0))[0]["status"] == "stored"


def test_the_manifest_tells_what_is_held_and_nobody_elses(phone: FakePhone) -> None:
    other = FakePhone(phone.study, pseudonym="P2").enrolled()
    stored, doubted, refused, theirs = phone.item(0), phone.item(1), phone.item(2, answers={}), other.item(0)
    phone.submit(stored, doubted, refused, {**doubted, "answers": {"support": 1, "stress": 2}})
    other.submit(theirs)
    event = {"id": str(uuid4()), "prompt": phone.prompts[0]["id"], "kind": "opened", "at": "2026-03-02T10:01:00+01:00"}
    phone.call("POST", "prompt-events", {"events": [event]})
    ids = [each["client_id"] for each in (stored, doubted, refused, theirs)]
    spelt = stored["client_id"].upper()
    asked = {"submissions": [*ids, spelt, "no uuid"], "events": [event["id"], ids[0]]}
    answer = phone.call("POST", "manifest", asked).json()
    assert answer["submissions"] == {
        ids[0]: "stored", ids[1]: "conflict", ids[2]: "quarantined", ids[3]: "unknown", spelt: "stored", "no uuid": "unknown",
    }  # fmt: skip
    assert answer["events"] == {event["id"]: "stored", ids[0]: "unknown"}
    held = phone.call("POST", "manifest", {}).json()["held"]
    assert {name: each["count"] for name, each in held.items()} == {
        "submissions": 2, "events": 1, "reports": 0, "quarantined": 1,
    }  # fmt: skip
    assert held["submissions"]["newest_received_at"]
    assert phone.call("POST", "manifest", {"submissions": ["x"] * 5001}).status_code == 413
    for body in (b"[]", b'{"submissions": 3}', b'{"submissions": [7]}', b"{", b'{"events": ["\\ud800"]}'):
        assert phone.call("POST", "manifest", raw=body).status_code == 400
    assert "submissions[0]: 7 was sent" in phone.call("POST", "manifest", {"submissions": [7]}).json()["detail"]


def test_response_times_and_the_order_are_kept_and_judged(phone: FakePhone) -> None:
    times = {"support": 2150, "stress": 0}
    item = phone.item(0, response_ms=times, shown=["stress", "support"])
    assert phone.submit(item)[0]["status"] == "stored"
    row = Submission.objects.get()
    assert (row.payload["response_ms"], row.payload["shown"], row.sealed) == (times, ["stress", "support"], None)
    for wrong, said in (
        ({"mood": 3}, "no item 'mood'"),
        ({"stress": -1}, "response_ms.stress: -1 is none; send whole milliseconds from 0 to 604800000."),
        ({"stress": 604_800_001}, "response_ms.stress: 604800001 is none"),
        ({"stress": 1.5}, "response_ms[...]: {'stress': 1.5} was sent. Expected `int`, got `float`."),
        ([3], "response_ms: [3] was sent."),
    ):
        (receipt,) = phone.submit(phone.item(1, response_ms=wrong))
        assert receipt["status"] == "rejected"
        assert said in receipt["detail"]
