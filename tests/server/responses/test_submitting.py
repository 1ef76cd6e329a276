"""What a phone sends is stored once, whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from unittest.mock import patch
from uuid import uuid4

import pytest
from django.db import OperationalError, connections

from ema_server.participants.models import Participant
from ema_server.responses.models import Conflict, Quarantined, Submission, Upload
from ema_server.studies.services import lock_data
from tests.world import NOW, FakePhone, live_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def phone() -> FakePhone:
    return FakePhone(live_study()).enrolled()


def statuses(receipts: list[dict[str, str]]) -> list[str]:
    return [receipt["status"] for receipt in receipts]


def test_second_upload_of_a_submission_is_stored_once(phone: FakePhone) -> None:
    item = phone.item()
    assert statuses(phone.submit(item)) == ["stored"]
    assert statuses(phone.submit(item)) == ["duplicate"]
    assert Submission.objects.count() == 1


def test_the_same_content_spelt_differently_is_a_duplicate(phone: FakePhone) -> None:
    item = phone.item()
    phone.submit(item)
    assert statuses(phone.submit(dict(reversed(item.items())))) == ["duplicate"]


def test_other_content_under_a_known_id_is_a_conflict_and_both_are_kept(phone: FakePhone) -> None:
    item = phone.item()
    changed = {**item, "answers": {"support": 60, "stress": 31}}
    phone.submit(item)
    assert statuses(phone.submit(changed, changed)) == ["conflict", "conflict"]
    assert Submission.objects.get().payload["answers"]["stress"] == 30
    assert Conflict.objects.get().payload["answers"]["stress"] == 31


def test_twice_and_changed_inside_one_batch(phone: FakePhone) -> None:
    item = phone.item()
    receipts = phone.submit(item, item, {**item, "answers": {"support": 1, "stress": 1}})
    assert statuses(receipts) == ["stored", "duplicate", "conflict"]


def test_a_poison_item_never_blocks_its_neighbours_and_is_quarantined(phone: FakePhone) -> None:
    good, bad = phone.item(0), phone.item(1, answers={"support": 140, "stress": 30})
    receipts = phone.submit(bad, good)
    assert statuses(receipts) == ["rejected", "stored"]
    assert receipts[0]["code"] == "invalid_answer"
    assert "support: 140 is outside 0 to 100" in receipts[0]["detail"]
    assert json.loads(Quarantined.objects.get().body)["answers"]["support"] == 140


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"answers": {"stress": 30}}, "invalid_answer"),
        ({"answers": {"support": 1, "stress": 1, "weather": 3}}, "invalid_answer"),
        ({"answers": {"support": "high", "stress": 1}}, "invalid_answer"),
        ({"survey_version": 7}, "unknown_survey_version"),
        ({"answered_at": "2026-03-02T10:05:00"}, "malformed_time"),
        ({"answered_at": "yesterday"}, "malformed_time"),
        ({"client_id": "not-a-uuid"}, "malformed"),
        ({"answers": {"support": 1, "stress": 1, "alone": "\0"}}, "malformed"),
    ],
)
def test_a_refused_item_says_why(phone: FakePhone, change: dict[str, object], code: str) -> None:
    receipt = phone.submit({**phone.item(), **change})[0]
    assert (receipt["status"], receipt["code"]) == ("rejected", code)
    assert Submission.objects.count() == 0
    assert Quarantined.objects.count() == 1


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"items": 3}', b'{"items": []}', b'{"items": [\xff]}', b"\xef\xbb\xbf{}"]
)
def test_a_malformed_body_is_a_problem_document(phone: FakePhone, body: bytes) -> None:
    answer = phone.call("POST", "submissions", raw=body)
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"answers": {"x": "\\ud800"}}',
        b'{"answers": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b"null",
        b"1e999",
        b'"text"',
    ],
)
def test_hostile_items_are_rejected_not_fatal(phone: FakePhone, raw: bytes) -> None:
    answer = phone.call("POST", "submissions", raw=b'{"items": [' + raw + b"]}")
    assert answer.status_code in (200, 400), answer.content
    assert Submission.objects.count() == 0


def test_too_large_a_body_or_batch_is_told_the_limit(phone: FakePhone) -> None:
    large = phone.call("POST", "submissions", raw=b'{"items": ["' + b"x" * (5 * 1024 * 1024) + b'"]}')
    assert (large.status_code, large.json()["limit_bytes"]) == (413, 5 * 1024 * 1024)
    many = phone.call("POST", "submissions", {"items": [{}] * 501})
    assert (many.status_code, many.json()["limit_items"]) == (413, 500)


def test_every_order_of_batches_gives_the_same_answers(phone: FakePhone) -> None:
    items = [phone.item(n, answers={"support": n, "stress": n}) for n in range(3)]
    seen = set()
    for order in permutations(items):
        Submission.objects.all().delete()
        for item in order:
            phone.submit(item)
        seen.add(tuple(sorted(Submission.objects.values_list("client_id", "digest"))))
    assert len(seen) == 1


def test_a_late_early_or_orphaned_answer_is_stored(phone: FakePhone) -> None:
    late, early = phone.item(0, minutes=500), phone.item(1, minutes=-30)
    orphan = {**phone.item(2), "prompt": str(uuid4())}
    assert statuses(phone.submit(late, early, orphan)) == ["stored"] * 3
    assert Submission.objects.filter(prompt__isnull=True).count() == 1


def test_a_clock_that_cannot_be_believed_is_kept_as_text_alone(phone: FakePhone) -> None:
    assert statuses(phone.submit(phone.item(answered_at="0001-01-01T00:00:00+14:00"))) == ["stored"]
    row = Submission.objects.get()
    assert row.answered_at is None
    assert row.payload["answered_at"] == "0001-01-01T00:00:00+14:00"


def test_another_persons_prompt_or_id_is_never_touched(phone: FakePhone) -> None:
    other = FakePhone(phone.study, pseudonym="P2").enrolled()
    mine = phone.item()
    phone.submit(mine)
    stolen = other.submit({**other.item(), "client_id": mine["client_id"]})[0]
    assert (stolen["status"], stolen["code"]) == ("rejected", "client_id_taken")
    other.submit({**other.item(), "prompt": phone.prompts[1]["id"]})
    assert Submission.objects.get(participant__pseudonym="P2").prompt is None


def test_locked_data_take_nothing_more_and_lose_nothing(phone: FakePhone) -> None:
    lock_data(study=phone.study, now=NOW)
    assert phone.submit(phone.item())[0]["code"] == "study_locked"
    assert (Submission.objects.count(), Quarantined.objects.count()) == (0, 1)


def test_a_retry_after_the_lock_is_still_a_duplicate(phone: FakePhone) -> None:
    item = phone.item()
    phone.submit(item)
    lock_data(study=phone.study, now=NOW)
    assert statuses(phone.submit(item, phone.item(1))) == ["duplicate", "rejected"]


def test_each_batch_leaves_a_line_of_what_became_of_it(phone: FakePhone) -> None:
    item = phone.item()
    phone.submit(item, phone.item(1, survey_version=9))
    phone.submit(item)
    lines = Upload.objects.order_by("id").values_list("stored", "duplicate", "rejected")
    assert list(lines) == [(1, 0, 1), (0, 1, 0)]


def test_without_a_credential_nothing_is_read(phone: FakePhone) -> None:
    phone.token = "wrong"
    answer = phone.call("POST", "submissions", {"items": []})
    assert answer.status_code == 401
    assert answer.json()["code"] == "unknown_credential"


def test_a_database_that_is_away_means_later_not_never(phone: FakePhone) -> None:
    with patch("ema_server.responses.services.record_submissions", side_effect=OperationalError("gone")):
        answer = phone.call("POST", "submissions", {"items": [phone.item()]})
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0


@pytest.mark.django_db(transaction=True)
def test_sixteen_threads_with_one_id_store_it_once() -> None:
    phone = FakePhone(live_study()).enrolled()
    item = phone.item()

    def send(_: int) -> Iterator[str]:
        try:
            return iter(statuses(phone.submit(item)))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(16) as pool:
        got = sorted(status for result in pool.map(send, range(16)) for status in result)
    assert got == ["duplicate"] * 15 + ["stored"]
    assert Submission.objects.count() == 1


def test_the_order_in_which_items_were_shown_is_stored_and_a_sensitive_answer_is_sealed() -> None:
    survey = {
        "title": "Right now",
        "pages": [{"key": "mood", "order": "random"}],
        "items": [
            {"name": "support", "type": "slider", "range": [0, 100], "text": "Support?", "page": "mood"},
            {"name": "stress", "type": "slider", "range": [0, 100], "text": "Stress?", "page": "mood"},
            {"name": "weight", "type": "number", "text": "Weight?", "sensitive": True, "show_if": "stress > 20"},
        ],
    }
    phone = FakePhone(live_study(survey=survey)).enrolled()
    answers = {"support": 60, "stress": 30, "weight": 71.5}
    assert statuses(phone.submit(phone.item(answers=answers, shown=["stress", "support", "weight"]))) == ["stored"]
    stored = Submission.objects.get()
    assert stored.payload["shown"] == ["stress", "support", "weight"]
    assert "weight" not in stored.payload["answers"]
    assert json.loads(stored.sealed or "")["answers"] == {"weight": 71.5}
    (refused,) = phone.submit(phone.item(answers=answers, shown=["stress", "mood"]))
    assert (refused["code"], "no item 'mood'" in refused["detail"]) == ("invalid_answer", True)
    (refused,) = phone.submit(phone.item(answers={"support": 60, "stress": 30}))
    assert refused["detail"] == "weight: an answer is required."


def test_a_condition_on_a_fact_is_judged_by_the_prompt_that_was_answered() -> None:
    survey = {
        "title": "Right now",
        "items": [
            {"name": "stress", "type": "slider", "range": [0, 100], "text": "Stress?"},
            {"name": "slept", "type": "duration", "text": "Slept?", "show_if": "@day >= 2 and @prompt == 1"},
        ],
    }
    phone = FakePhone(live_study(survey=survey)).enrolled()
    receipts = phone.submit(
        phone.item(0, answers={"stress": 1}),  # day 1: not asked
        phone.item(4, answers={"stress": 1}),  # day 2, first prompt: asked
        phone.item(5, answers={"stress": 1}),  # day 2, second prompt
        phone.item(None, answers={"stress": 1}),  # no prompt, so no day: may be asked, need not be
        phone.item(None, answers={"stress": 1, "slept": 400}),
    )
    assert statuses(receipts) == ["stored", "rejected", "stored", "stored", "stored"]
    assert receipts[1]["detail"] == "slept: an answer is required."


def test_what_was_stored_is_a_duplicate_also_where_the_fact_that_it_was_judged_by_has_changed() -> None:
    survey = {
        "title": "Right now",
        "items": [
            {"name": "stress", "type": "slider", "range": [0, 100], "text": "Stress?"},
            {"name": "breathing", "type": "yesno", "text": "Breathing?", "show_if": '@arm == "breathing"'},
        ],
    }
    phone = FakePhone(live_study(survey=survey)).enrolled()
    item = phone.item(answers={"stress": 1})
    assert statuses(phone.submit(item)) == ["stored"]
    Participant.objects.update(arm="breathing")
    assert statuses(phone.submit(item, phone.item(1, answers={"stress": 1}))) == ["duplicate", "rejected"]
