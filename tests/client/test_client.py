"""The reference client does with each answer of the server what an honest app has to do."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from ema_client import (
    Closed,
    DeviceReport,
    Later,
    NotUnderstood,
    Prompt,
    PromptEvent,
    Refused,
    Store,
    Submission,
    Sync,
    notifications,
)
from tests.client.fake_server import FakeServer, problem
from tests.client.phones import NOW, Slept, answer, enrolled, phone_of


def test_what_was_kept_is_sent_once_and_leaves_the_queue_with_its_receipt() -> None:
    phone = enrolled(server := FakeServer())
    for number in range(25):
        phone.keep(answer(number))
    assert phone.upload() == {"stored": 25}
    assert (phone.store.count(), phone.upload()) == (0, {})
    assert len(server.submissions) == 25


def test_a_lost_answer_is_asked_for_again_and_makes_duplicates() -> None:
    phone, losses = enrolled(server := FakeServer()), [1]

    def lose() -> None:
        if losses and losses.pop():
            raise httpx.ReadTimeout("no answer")

    server.after = lose
    phone.keep(answer(1))
    assert phone.upload() == {"duplicate": 1}
    assert len(server.submissions) == 1


def test_each_receipt_ends_the_items_wait_and_says_why() -> None:
    phone = enrolled(server := FakeServer())
    server.submissions[answer(2).client_id] = {"other": "content"}
    for each in (answer(1), answer(2), answer(3, stress=180)):
        phone.keep(each)
    assert phone.upload() == {"stored": 1, "conflict": 1, "rejected": 1}
    assert [(each.state, each.code) for each in phone.store.acknowledged("submission", most=9)] == [
        ("stored", ""),
        ("conflict", "other_content"),
        ("rejected", "invalid_answer"),
    ]


def test_an_outage_is_waited_out_with_patience_and_jitter() -> None:
    phone = enrolled(server := FakeServer(), slept=(slept := Slept()))
    phone.keep(answer(1))
    server.answer_next = [
        problem(503, "unavailable"),
        problem(429, "throttled"),
        httpx.Response(502, text="a proxy's page"),
    ]
    assert phone.upload() == {"stored": 1}
    assert slept[:2] == [10.0, 10.0]  # Retry-After
    assert 1.0 <= slept[2] <= 2.0  # 0.5 s · 2², and by chance down to half of it


def test_an_outage_that_lasts_loses_nothing() -> None:
    phone = enrolled(server := FakeServer())
    phone.keep(answer(1))
    server.answer_next = [problem(503, "unavailable")] * 4
    with pytest.raises(Later) as later:
        phone.upload()
    assert later.value.after == 10.0
    assert phone.store.count() == 1
    assert phone.upload() == {"stored": 1}


def test_a_long_wait_is_the_apps_and_not_ours() -> None:
    phone = enrolled(server := FakeServer(), slept=(slept := Slept()))
    server.answer_next = [httpx.Response(503, headers={"Retry-After": "Mon, 02 Mar 2026 12:10:00 GMT"})]
    with pytest.raises(Later) as later:
        phone.sync()
    assert (later.value.after, slept) == (600.0, [])


def test_smaller_batches_where_the_server_asks_for_them() -> None:
    phone = enrolled(server := FakeServer(limit_items=3), batch=20)
    for number in range(10):
        phone.keep(answer(number))
    assert phone.upload() == {"stored": 10}
    assert [status for path, status in server.calls if path == "submissions"].count(413) == 1


def test_one_item_that_is_too_large_costs_no_other() -> None:
    phone = enrolled(server := FakeServer(limit_bytes=2_000))
    huge = answer(3)
    phone.keep(answer(1))
    phone.keep(answer(2))
    phone.keep(Submission(**{**_members(huge), "answers": {"words": "x" * 5_000}}))
    phone.keep(answer(4))
    assert phone.upload() == {"stored": 3}
    assert [(each.id, each.code) for each in phone.store.set_aside()] == [(huge.client_id, "too_large")]
    assert len(server.submissions) == 3


def _members(item: Submission) -> dict[str, object]:
    return {name: getattr(item, name) for name in item.__struct_fields__}


@pytest.mark.parametrize("code", ["revoked", "replaced"])
def test_a_closed_phone_stops_and_keeps_everything(code: str) -> None:
    phone = enrolled(server := FakeServer(), slept=(slept := Slept()))
    phone.keep(answer(1))
    server.answer_next = [problem(401, code)]
    with pytest.raises(Closed) as closed:
        phone.sync()
    assert (closed.value.code, phone.store.count(), slept) == (code, 1, [])


def test_a_backlog_in_quarantine_is_settled() -> None:
    """A closed phone may hand over what it has: each item is rejected with the phone's code, and kept by the server."""
    phone = enrolled(server := FakeServer())
    phone.keep(answer(1))
    receipt = {"client_id": answer(1).client_id, "status": "rejected", "code": "device_replaced"}
    server.answer_next = [httpx.Response(200, json={"receipts": [receipt]})]
    assert phone.upload() == {"rejected": 1}
    assert phone.store.count() == 0


def test_an_answer_that_does_not_match_settles_nothing() -> None:
    phone = enrolled(server := FakeServer())
    phone.keep(answer(1))
    phone.keep(answer(2))
    swapped = [{"client_id": answer(number).client_id, "status": "stored"} for number in (2, 1)]
    for receipts in (swapped, swapped[:1], [{"client_id": answer(1).client_id, "status": "eaten"}] * 2, {}):
        server.answer_next = [httpx.Response(200, json={"receipts": receipts})]
        with pytest.raises(NotUnderstood):
            phone.upload()
    assert phone.store.count() == 2


def test_only_what_a_manifest_proves_is_forgotten() -> None:
    phone = enrolled(server := FakeServer())
    for number in range(3):
        phone.keep(answer(number))
    phone.upload()
    del server.submissions[answer(1).client_id]  # against its word
    assert phone.verify() == {"proved": 2, "missing": 1}
    assert phone.upload() == {"stored": 1}
    assert phone.verify() == {"proved": 1, "missing": 0}
    assert phone.store.acknowledged("submission", most=9) == []


def test_what_was_refused_stays_where_no_quarantine_has_it() -> None:
    phone = enrolled(server := FakeServer())
    phone.keep(answer(1, stress=180))
    phone.keep(answer(2, stress=180))
    phone.keep_event(PromptEvent(id="e1", prompt="p", kind="opened", at=NOW.isoformat()))
    phone.upload()
    server.quarantine.pop()
    assert phone.verify() == {"proved": 2, "missing": 0}
    assert [each.id for each in phone.store.set_aside()] == [answer(2).client_id]
    assert phone.upload() == {}


def test_a_sync_that_has_not_changed_costs_nothing() -> None:
    phone = enrolled(server := FakeServer())
    first, second = phone.sync(), phone.sync()
    assert first == second == phone.kept_sync()
    server.version = 2
    assert phone.sync().surveys[0].version == 2
    assert [status for path, status in server.calls if path == "sync"] == [200, 304, 200]


def test_the_same_words_twice_are_kept_once() -> None:
    phone = enrolled(FakeServer())
    phone.keep(answer(1))
    phone.keep(answer(1))
    phone.keep_event(PromptEvent(id="e1", prompt="p", kind="opened", at=NOW.isoformat()))
    phone.keep_report(DeviceReport(id="r1", at=NOW.isoformat(), battery=0.5))
    assert phone.store.count() == 3
    assert phone.upload() == {"stored": 3}


def test_an_older_server_that_takes_no_reports_gets_the_answers() -> None:
    phone = enrolled(server := FakeServer())
    phone.keep_report(DeviceReport(id="r1", at=NOW.isoformat()))
    server.answer_next = [problem(404, "not_found")]
    assert phone.upload() == {}
    assert phone.upload() == {"stored": 1}


def test_a_credential_is_renewed_whichever_answer_is_lost() -> None:
    phone = enrolled(server := FakeServer())
    first = phone.token
    phone.rotate()
    assert (phone.token != first, phone.store.fact("old_token")) == (True, first)
    phone.sync()
    assert phone.store.fact("old_token") is None
    assert list(server.tokens) == [phone.token]


def test_the_old_credential_serves_where_the_new_one_is_unknown() -> None:
    phone = enrolled(FakeServer())
    good = phone.token
    phone.store.note({"token": "never heard of", "old_token": good})
    phone.sync()
    assert (phone.token, phone.store.fact("old_token")) == (good, None)


def test_a_wish_said_offline_is_carried_out_later_and_after_the_answers() -> None:
    phone = enrolled(server := FakeServer())
    phone.keep(answer(1))
    server.answer_next = [problem(503, "unavailable")] * 4
    with pytest.raises(Later):
        phone.pause()
    assert server.wishes == []
    phone.withdraw()
    assert server.wishes == ["pause", "withdraw keep"]
    assert len(server.submissions) == 1


def test_erasure_leaves_nothing_on_the_phone() -> None:
    phone = enrolled(server := FakeServer())
    phone.keep(answer(1))
    phone.withdraw(erase=True)
    assert server.wishes == ["withdraw erase"]
    assert (phone.token, phone.kept_sync(), phone.store.acknowledged("submission", most=9)) == (None, None, [])


def test_a_used_code_is_refused_in_words() -> None:
    server = FakeServer(people={"somebody else's request": "P0"})
    with pytest.raises(Refused, match="code_not_valid"):
        enrolled(server)


def test_sixty_four_notifications_the_nearest_first() -> None:
    def prompt(hours: int) -> Prompt:
        at = NOW + timedelta(hours=hours)
        remind = [(at + timedelta(minutes=minutes)).isoformat() for minutes in (15, 30, 90)]
        expires = (at + timedelta(hours=1)).isoformat()
        return Prompt(
            id=f"p{hours}", questionnaire="q", survey_version=1, day=1, slot=1, scheduled_at=at.isoformat(),
            expires_at=expires, remind_at=remind,
        )  # fmt: skip

    planned = notifications(Sync(prompts=[prompt(hours) for hours in range(-5, 40)]), now=NOW)
    assert len(planned) == 64
    assert planned == sorted(planned)
    assert [(at - NOW).total_seconds() / 60 for at, _ in planned[:4]] == [
        15,
        30,
        60,
        75,
    ]  # the reminder at 90 comes too late


def test_what_is_kept_outlives_the_process(tmp_path: object) -> None:
    path = f"{tmp_path}/phone.db"
    server = FakeServer()
    enrolled(server, path).keep(answer(1))
    again = phone_of(server, Store(path))
    assert again.upload() == {"stored": 1}
