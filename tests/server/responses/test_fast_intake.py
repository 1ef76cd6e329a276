"""The quick way in and the long one give the same receipts and the same rows; what is remembered is looked at again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any
from unittest.mock import patch
from uuid import UUID

import psycopg
import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ema_server.common import clock
from ema_server.erasure.services import ask_for_erasure, erase
from ema_server.participants.models import Device, Participant
from ema_server.participants.services import revoke_device
from ema_server.responses import fast_intake
from ema_server.responses.content import merge
from ema_server.responses.models import Conflict, Quarantined, Submission, Upload
from ema_server.studies.models import Study
from ema_server.studies.services import publish_sampling_plan, publish_survey
from ema_server.vault import services as vault
from tests.world import SAMPLING, FakePhone, live_study

pytestmark = pytest.mark.django_db
SURVEY = {
    "title": "Right now",
    "items": [
        {"name": "support", "type": "slider", "range": [0, 100], "text": "Support?"},
        {"name": "stress", "type": "slider", "range": [0, 100], "text": "Stress?"},
        {"name": "words", "type": "text", "text": "In your words?", "required": False},
    ],
}


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    """A test's rows are gone at its end, and the next one may get their numbers."""
    fast_intake.forget()
    yield
    fast_intake.forget()


@pytest.fixture
def phone() -> FakePhone:
    """One that has called before."""
    phone = FakePhone(live_study(survey=SURVEY)).enrolled()
    phone.submit(phone.item(9))
    return phone


def took_the_quick_way(call: Callable[[], Any]) -> bool:
    with patch("ema_server.responses.services.record_submissions", side_effect=RuntimeError("the long way")):
        return bool(call().status_code == 200)


@pytest.mark.django_db(transaction=True)
def test_a_batch_is_one_statement_and_asks_neither_cache_nor_broker(phone: FakePhone) -> None:
    body = {"items": [phone.item(n, answers={"support": 1, "stress": n, "words": "viel los 😅"}) for n in range(5)]}
    with (
        CaptureQueriesContext(connection) as main,
        CaptureQueriesContext(connections["keys"]) as keys,
        patch("redis.connection.Connection.connect", side_effect=AssertionError("the cache was asked")),
        patch("kombu.Connection.connect", side_effect=AssertionError("the broker was asked")),
        patch("psycopg.Cursor.execute", autospec=True, side_effect=_execute) as executed,
    ):
        assert phone.call("POST", "submissions", body).status_code == 200
    ours = [call for call in executed.call_args_list if "WITH caller" in str(call.args[1])]
    assert len(ours) == 1
    others = [query["sql"] for query in [*main, *keys] if "SAVEPOINT" not in query["sql"]]  # the test's own transaction
    assert others == []
    assert Submission.objects.count() == 6
    assert {row.seal.owner for row in Submission.objects.all()} == {Participant.objects.get().key_id}
    words = [merge(row.payload, row.sealed)["answers"].get("words") for row in Submission.objects.order_by("pk")]
    assert words == [None, *["viel los 😅"] * 5]


_execute = psycopg.Cursor.execute


CASES = (
    "good", "good", "good", "words", "again", "changed", "stolen", "no prompt", "unknown prompt", "another's prompt",
    "bad answer", "bad time", "old clock", "unknown version", "poison", "known",
)  # fmt: skip


def made_of(cases: list[str], phone: FakePhone, other: FakePhone, world: int) -> list[Any]:
    """The same batch for each world; ids differ in their first digits alone, so that both can be in one study."""
    items: list[Any] = []
    for n, case in enumerate(cases):
        item = phone.item(n % 20, client_id=str(UUID(int=(world << 100) + n + 1)), answers={"support": n, "stress": 50})
        if case == "words":
            item["answers"]["words"] = f"words {n}"
            item["answers"]["stress"] = 12.0
        elif case in ("again", "changed") and items and isinstance(items[-1], dict):
            item = dict(items[-1])
            if case == "changed":
                item["answers"] = {"support": 99, "stress": 99}
        elif case == "stolen":
            item["client_id"] = str(UUID(int=(world << 100) + 999))
        elif case == "known":
            item = phone.item(0, client_id=str(UUID(int=(world << 100) + 998)), answers={"support": 7, "stress": 7})
        elif case == "no prompt":
            item["prompt"] = None
        elif case == "unknown prompt":
            item["prompt"] = str(UUID(int=4))
        elif case == "another's prompt":
            item["prompt"] = other.prompts[n % 20]["id"]
        elif case == "bad answer":
            item["answers"]["stress"] = 400
        elif case == "bad time":
            item["answered_at"] = "yesterday"
        elif case == "old clock":
            item["answered_at"] = "1970-01-01T00:00:00+00:00"
        elif case == "unknown version":
            item["survey_version"] = 9
        elif case == "poison":
            item["zone"] = "\ud83d"
        items.append(item)
    return items


def state_of(phone: FakePhone, prompts: dict[str, int]) -> Any:
    """All rows of one person's study, without what is drawn anew: numbers, keyed digests, sealed bytes."""

    def told(row: Any) -> Any:
        content = merge(row.payload, row.sealed)
        content["prompt"] = prompts.get(str(content.get("prompt")), content.get("prompt"))
        return json.dumps({**content, "client_id": content["client_id"][-6:]}, sort_keys=True)

    return (
        [
            (told(row), prompts.get(str(row.prompt_id)), row.complete, row.answered_at, row.utc_offset_minutes, row.survey_version.number)
            for row in Submission.objects.filter(participant__pseudonym="P1", study=phone.study).order_by("client_id")
        ],
        sorted(told(row) for row in Conflict.objects.filter(submission__study=phone.study)),
        sorted((row.code, row.client_id and str(row.client_id)[-6:]) for row in Quarantined.objects.filter(study=phone.study)),
        [
            (line.stored, line.duplicate, line.conflict, line.rejected)
            for line in Upload.objects.filter(study=phone.study).order_by("pk")
        ],
    )  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(st.lists(st.sampled_from(CASES), min_size=1, max_size=4), min_size=1, max_size=3))
def test_both_ways_give_the_same_receipts_and_rows(batches: list[list[str]]) -> None:
    results = []
    for world, quick in ((1, True), (2, False)):
        fast_intake.forget()
        study = live_study(survey=SURVEY)
        phone, other = FakePhone(study).enrolled(), FakePhone(study, pseudonym="P2").enrolled()
        other.submit(other.item(0, client_id=str(UUID(int=(world << 100) + 999)), answers={"support": 5, "stress": 5}))
        phone.submit(phone.item(0, client_id=str(UUID(int=(world << 100) + 998)), answers={"support": 7, "stress": 7}))
        prompts = {each["id"]: n for n, each in enumerate([*phone.prompts, *other.prompts])}
        receipts = []
        for number, cases in enumerate(batches):
            if not quick:
                fast_intake.forget()
            items = made_of(cases, phone, other, world + 16 * number)
            raw = json.dumps({"items": items}).encode()
            answer = phone.call("POST", "submissions", raw=raw)
            assert answer.status_code == 200, answer.content
            receipts.append(
                [(each["status"], each.get("code"), each.get("detail")) for each in answer.json()["receipts"]]
            )
        results.append((receipts, state_of(phone, prompts)))
    assert results[0] == results[1]


def close(phone: FakePhone) -> None:
    revoke_device(device=Device.objects.get(), actor="server", reason="lost", now=clock.now())


def leave(phone: FakePhone) -> None:
    Participant.objects.update(state=Participant.State.WITHDRAWN)


def lock(phone: FakePhone) -> None:
    Study.objects.update(state=Study.State.LOCKED)


def follow(phone: FakePhone) -> None:
    rule = {
        "key": "after", "questionnaire": "momentary", "open_minutes": 30,
        "after": {"questionnaire": "momentary", "minutes": 30, "at_most": 1},
    }  # fmt: skip
    publish_sampling_plan(study=phone.study, document={"rules": [*SAMPLING["rules"], rule]})


def move(phone: FakePhone) -> None:
    Study.objects.update(starts_on=date(2026, 3, 1))


def rotate(phone: FakePhone) -> None:
    Device.objects.update(token_digest="f" * 64)


@pytest.mark.parametrize("change", [close, leave, lock, follow, move, rotate])
def test_whatever_was_remembered_and_has_changed_since_is_left_to_the_long_way(
    phone: FakePhone, change: Callable[[FakePhone], None]
) -> None:
    before = Submission.objects.count()
    assert took_the_quick_way(lambda: phone.call("POST", "submissions", {"items": [phone.item(1)]}))
    change(phone)
    assert not took_the_quick_way(lambda: phone.call("POST", "submissions", {"items": [phone.item(2)]}))
    assert Submission.objects.count() == before + 1


def test_a_new_version_of_a_questionnaire_is_known_from_its_first_answer_on(phone: FakePhone) -> None:
    publish_survey(study=phone.study, questionnaire="momentary", document={**SURVEY, "title": "Now"})
    assert phone.submit(phone.item(1, survey_version=2))[0]["status"] == "stored"
    assert took_the_quick_way(lambda: phone.call("POST", "submissions", {"items": [phone.item(2, survey_version=2)]}))


@pytest.mark.django_db(transaction=True)
def test_of_an_erased_person_nothing_is_stored_and_their_key_is_not_kept(phone: FakePhone) -> None:
    person = Participant.objects.get()
    assert took_the_quick_way(lambda: phone.call("POST", "submissions", {"items": [phone.item(1)]}))
    assert person.key_id in vault._lately
    ask_for_erasure(participant=person, actor="server", now=clock.now())
    item = {"items": [phone.item(2)]}
    assert phone.call("POST", "submissions", item).status_code in (401, 410)
    erase(participant=person, now=clock.now())
    assert person.key_id not in vault._lately
    assert phone.call("POST", "submissions", item).status_code == 401
    assert Submission.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_another_process_may_hold_a_key_for_a_minute_and_stores_nothing_by_it(phone: FakePhone) -> None:
    """As if the person were erased elsewhere, at the worst moment: the key is at hand, the row says that they are gone."""
    person = Participant.objects.get()
    assert took_the_quick_way(lambda: phone.call("POST", "submissions", {"items": [phone.item(1)]}))
    before = Submission.objects.count()
    Participant.objects.update(state=Participant.State.ERASED)
    assert phone.call("POST", "submissions", {"items": [phone.item(2)]}).status_code == 410
    assert Submission.objects.count() == before
    later = vault._lately[person.key_id][0] + vault.LATELY
    with patch("time.monotonic", return_value=later), vault.holding_keys(lately=person.key_id):
        assert vault._held.get() == {}


@pytest.mark.django_db(transaction=True)
def test_two_people_who_send_the_same_ids_in_opposite_orders_never_wait_for_each_other_for_ever() -> None:
    study = live_study(survey=SURVEY)
    phones = [FakePhone(study, pseudonym=f"P{n}").enrolled() for n in range(2)]
    for phone in phones:
        phone.submit(phone.item(9))
    for trial in range(6):
        ids = [str(UUID(int=(trial + 7) * 1000 + n)) for n in range(40)]

        def send(n: int, ids: list[str] = ids) -> Any:
            ordered = ids if n == 0 else list(reversed(ids))
            items = [phones[n].item(place % 20, client_id=each) for place, each in enumerate(ordered)]
            try:
                return phones[n].call("POST", "submissions", {"items": items})
            finally:
                connections.close_all()

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(send, range(2)))
        assert [answer.status_code for answer in answers] == [200, 200], answers[0].content + answers[1].content
        said = [receipt["status"] for answer in answers for receipt in answer.json()["receipts"]]
        assert sorted(said) == ["rejected"] * 40 + ["stored"] * 40


def test_the_first_call_of_a_phone_takes_the_long_way_and_the_second_the_quick_one() -> None:
    phone = FakePhone(live_study(survey=SURVEY)).enrolled()
    assert not took_the_quick_way(lambda: phone.call("POST", "submissions", {"items": [phone.item(0)]}))
    phone.submit(phone.item(0))
    assert took_the_quick_way(lambda: phone.call("POST", "submissions", {"items": [phone.item(0)]}))


def test_it_stays_within_bounds(phone: FakePhone) -> None:
    with patch.object(fast_intake, "MOST", 1):
        assert phone.submit(phone.item(1))[0]["status"] == "stored"
        other = FakePhone(phone.study, pseudonym="P2").enrolled()
        assert other.submit(other.item(1))[0]["status"] == "stored"
        assert len(fast_intake._callers) == 1
