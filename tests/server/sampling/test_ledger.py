"""The prompt ledger: what phones report of their prompts, and people who travel."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction

from ema_server.sampling.forgetting import events_may_go
from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.studies.services import lock_data
from tests.world import NOW, FakePhone, live_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def phone() -> FakePhone:
    return FakePhone(live_study()).enrolled()


def test_an_event_sent_twice_is_one_event(phone: FakePhone) -> None:
    event = {"id": str(uuid4()), "prompt": phone.prompts[0]["id"], "kind": "expired", "at": "2026-03-02T11:00:00+01:00"}
    for expected in ("stored", "duplicate"):
        answer = phone.call("POST", "prompt-events", {"events": [event]})
        assert [receipt["status"] for receipt in answer.json()["receipts"]] == [expected]
    assert PromptEvent.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kind": "exploded"}, "unknown_kind"),
        ({"code": "plan_changed"}, "unknown_code"),  # one of the server's own
        ({"prompt": str(uuid4())}, "unknown_prompt"),
        ({"at": "2026-03-02T11:00:00"}, "malformed_time"),
    ],
)
def test_a_refused_event_says_why(phone: FakePhone, change: dict[str, str], code: str) -> None:
    receipt = phone.report(0, "expired", **change)[0]
    assert (receipt["status"], receipt["code"]) == ("rejected", code)


def test_a_phone_back_in_1970_keeps_its_words_but_not_our_belief(phone: FakePhone) -> None:
    phone.report(0, "delivered", at="1970-01-01T01:00:00+01:00")
    event = PromptEvent.objects.get()
    assert (event.phone_at, event.phone_text) == (None, "1970-01-01T01:00:00+01:00")


def test_a_prompt_with_an_outcome_is_not_synced_again(phone: FakePhone) -> None:
    phone.report(0, "expired")
    phone.submit(phone.item(1))
    waiting = {prompt["id"] for prompt in phone.call("GET", "sync").json()["prompts"]}
    assert phone.prompts[0]["id"] not in waiting
    assert phone.prompts[1]["id"] not in waiting
    assert phone.prompts[2]["id"] in waiting


def test_an_unchanged_sync_answers_304(phone: FakePhone) -> None:
    first = phone.call("GET", "sync")
    assert phone.call("GET", "sync", **{"If-None-Match": first["ETag"]}).status_code == 304
    phone.report(0, "expired")
    assert phone.call("GET", "sync", **{"If-None-Match": first["ETag"]}).status_code == 200


def test_who_travels_is_asked_at_the_same_hour_of_the_clock_there(phone: FakePhone) -> None:
    before = {str(prompt.pk): prompt for prompt in Prompt.objects.all()}
    since = before[phone.prompts[6]["id"]].scheduled_at
    answer = phone.call("PUT", "device", {"zone": "Europe/Helsinki", "zone_since": since.isoformat()})
    assert answer.json() == {"prompts_moved": len(before) - 7}
    for place, planned in enumerate(phone.prompts):
        after = Prompt.objects.get(pk=planned["id"])
        moved = place > 6
        assert after.scheduled_at == before[planned["id"]].scheduled_at - timedelta(hours=1 if moved else 0)
        assert after.expires_at - after.scheduled_at == timedelta(hours=1)
        assert after.zone == ("Europe/Helsinki" if moved else "Europe/Amsterdam")
        assert after.local_time == before[planned["id"]].local_time
    assert PromptEvent.objects.filter(kind="rescheduled").count() == len(before) - 7
    called_off = PromptEvent.objects.get(kind="cancelled")  # its hour had passed in Helsinki when the person arrived
    assert (str(called_off.prompt_id), called_off.code) == (phone.prompts[6]["id"], "zone_changed")


def test_what_has_happened_is_not_moved_and_locked_data_not_at_all(phone: FakePhone) -> None:
    phone.submit(phone.item(0))
    phone.report(1, "expired")
    before = dict(Prompt.objects.values_list("id", "scheduled_at"))
    body = {"zone": "Pacific/Kiritimati", "zone_since": "2000-01-01T00:00:00Z"}
    assert phone.call("PUT", "device", body).json() == {"prompts_moved": len(before) - 2}
    for place in (0, 1):
        prompt = Prompt.objects.get(pk=phone.prompts[place]["id"])
        assert prompt.scheduled_at == before[prompt.pk]
    lock_data(study=phone.study, now=NOW)
    answer = phone.call("PUT", "device", {"zone": "Europe/Amsterdam"})
    assert (answer.status_code, answer.json()["code"]) == (409, "study_closed")
    assert phone.report(2, "expired")[0]["code"] == "study_locked"


def test_an_events_id_is_taken_once(phone: FakePhone) -> None:
    other = FakePhone(phone.study, pseudonym="P2").enrolled()
    identity = str(uuid4())
    assert phone.report(0, "expired", id=identity)[0]["status"] == "stored"
    assert other.report(0, "expired", id=identity)[0]["code"] == "id_taken"
    assert phone.report(0, "cancelled", id=identity)[0]["code"] == "id_taken"


def test_every_clock_of_a_prompt_agrees(phone: FakePhone) -> None:
    for prompt in Prompt.objects.all():
        local = datetime.combine(prompt.local_date, prompt.local_time)
        assert prompt.scheduled_at.replace(tzinfo=None) + timedelta(minutes=prompt.utc_offset_minutes) == local


def test_a_phones_reason_is_sealed_whatever_it_looks_like() -> None:
    phone = FakePhone(live_study()).enrolled()
    phone.report(0, "dismissed", reason="jan.jansen")
    event = PromptEvent.objects.select_related("prompt__participant").get(kind="dismissed")
    assert (event.reason, event.note) == ("", "jan.jansen")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM sampling_promptevent e WHERE e::text LIKE '%%jansen%%'")
        assert cursor.fetchone()[0] == 0


@pytest.mark.parametrize("kind", ["uploaded", "reminded", "undelivered", "available", "unavailable"])
def test_a_phone_tells_more_of_a_prompt_and_why_in_a_word(phone: FakePhone, kind: str) -> None:
    identity = str(uuid4())
    assert phone.report(0, kind, id=identity, code="driving")[0]["status"] == "stored"
    assert phone.report(0, kind, id=identity, code="driving")[0]["status"] == "duplicate"
    assert phone.report(0, kind, id=identity, code="battery")[0]["code"] == "id_taken"
    assert PromptEvent.objects.get().code == "driving"


def test_what_comes_in_an_impossible_order_is_stored(phone: FakePhone) -> None:
    for kind, at in (("completed", "2026-03-02T09:00:00+01:00"), ("expired", "2026-03-02T08:00:00+01:00")):
        assert phone.report(0, kind, at=at)[0]["status"] == "stored"


def test_the_database_lets_nobody_change_or_remove_an_event_but_with_its_person(phone: FakePhone) -> None:
    phone.report(0, "expired")
    events = PromptEvent.objects.all()
    for attempt in (lambda: events.update(kind="completed"), events.delete, Prompt.objects.all().delete):
        with pytest.raises(DatabaseError, match="only grows"), transaction.atomic():
            attempt()
    with pytest.raises(DatabaseError, match="only grows"), transaction.atomic(), events_may_go():
        events.update(kind="completed")
    assert events.get().kind == "expired"
    with transaction.atomic(), events_may_go():
        events.delete()
    phone.report(0, "expired")
    with pytest.raises(DatabaseError, match="only grows"), transaction.atomic():  # the way is closed again
        events.delete()


@pytest.mark.parametrize(
    ("table", "said"), [("sampling_promptevent", "only grows: TRUNCATE"), ("sampling_decision", "never edited")]
)
def test_nobody_empties_the_ledger_or_the_decisions(table: str, said: str) -> None:
    with pytest.raises(DatabaseError, match=said), transaction.atomic(), events_may_go():
        connection.cursor().execute(f"TRUNCATE {table} CASCADE")
