"""Taking one's data along: all of it, nobody else's, as it was sent, and without filling memory."""

from __future__ import annotations

import base64
import csv
import io
import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from operator import itemgetter
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4
from zipfile import ZipFile

import pytest
from django.apps import apps
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from ema_server.common.phone_time import parse_phone_time
from ema_server.ledger.models import AuditEvent
from ema_server.participants.models import Device, Participant, Pause, Series, SeriesValues
from ema_server.participants.person_data import import_person_table
from ema_server.responses.models import Quarantined, Submission
from ema_server.rights import files
from ema_server.rights.own_data import ANSWERS, SECTIONS
from ema_server.sampling.services import withdraw_participant
from tests.planted import WITH_TEXT, plant_in
from tests.world import NOW, FakePhone, live_study, researcher

pytestmark = pytest.mark.django_db

TRICKY = [
    "😀👩‍👩‍👧‍👦 emoji", "\u202bשלום\u202c עולם, مرحبا", 'she said "no", then; left\nand\r\ncame back\ttwice', "=1+1", "a;=1+1", "'",
    "\\ud83d", "{}", "\u2028 and \u2029", "é vs e\u0301", "  blanks  ",
]  # fmt: skip


def export(phone: FakePhone) -> dict[str, Any]:
    answer = phone.call("GET", "me/export")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = json.loads(answer.getvalue())
    return found


def tables(phone: FakePhone, path: str = "me/export?form=csv", **headers: str) -> dict[str, list[dict[str, str]]]:
    answer = phone.call("GET", path, **headers)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/zip"
    archive = ZipFile(io.BytesIO(answer.getvalue()))
    assert archive.testzip() is None
    return {
        name: list(csv.DictReader(io.StringIO(archive.read(name).decode(), newline="")))
        for name in archive.namelist()
        if name.endswith(".csv")
    }


@pytest.fixture
def phone() -> FakePhone:
    return FakePhone(live_study(survey=WITH_TEXT)).enrolled()


def test_everything_that_somebody_left_is_in_their_export_and_nothing_of_anybody_else() -> None:
    study = live_study(researcher(), survey=WITH_TEXT)
    phone, planted = plant_in(study)
    other = FakePhone(study, pseudonym="P5").enrolled()
    other.submit(other.item(answers={"support": 1, "stress": 2, "words": "nobody else reads this"}))
    other.submit({**other.item(1), "answers": {"nobody": "else"}})
    answer = phone.call("GET", "me/export")
    text = answer.getvalue().decode()
    assert [each for each in planted.texts if each not in text] == planted.texts[4:5]  # a name that was corrected since
    together = json.dumps(tables(phone))
    assert [each for each in planted.texts if each not in together] == planted.texts[4:5]
    others = [other.token, "P5", "nobody", "other", *(each["id"] for each in other.prompts)]
    for device in Device.objects.all():
        others += [device.token_digest]
    assert [each for each in others if each in text or each in together] == []
    found = json.loads(text)
    assert found["participant"]["pseudonym"] == "P77"
    assert found["identity"]["email"] == planted.texts[5]
    assert [len(found[name]) for name in ("submissions", "conflicts", "quarantined", "consents", "devices")] == [
        16, 1, 3, 1, 1,
    ]  # fmt: skip
    assert len(found["prompts"]) == len(phone.prompts) == 28
    assert answer["Cache-Control"] == "no-store"
    assert answer["Content-Disposition"].startswith(f'attachment; filename="my-data-{study.slug}-')


def test_what_is_in_the_export_can_be_sent_again_and_is_a_duplicate(phone: FakePhone) -> None:
    sent = [
        phone.item(
            n, answers={"support": 60.5, "stress": n, "words": text, "alone": None}, started_at="2026-03-02T10:00:01+01:00",
            zone="Europe/Amsterdam", mood_board={"a": [1, {"b": text}]},
        )
        for n, text in enumerate(TRICKY)
    ]  # fmt: skip
    sent += [
        phone.item(None, complete=False, answers={}),
        {**phone.item(20, zone="nowhere"), "prompt": str(UUID(int=5))},
    ]
    assert {each["status"] for each in phone.submit(*sent)} == {"stored"}
    items = [each["item"] for each in export(phone)["submissions"]]
    assert sorted(items, key=itemgetter("client_id")) == sorted(sent, key=itemgetter("client_id"))
    assert {each["status"] for each in phone.submit(*items)} == {"duplicate"}
    assert Submission.objects.count() == len(sent)
    answers = [each for each in tables(phone)["answers.csv"] if each["item"] == "words"]
    neutral = {"=1+1": "'=1+1", "a;=1+1": "a;'=1+1"}
    assert {each["value"] for each in answers} == {neutral.get(each, each) for each in TRICKY}
    assert {each["question"] for each in answers} == {"?"}


def test_both_sides_of_a_conflict_and_what_was_refused_are_given_to_the_byte(phone: FakePhone) -> None:
    item = phone.item(answers={"support": 1, "stress": 1, "words": "first"})
    other = {**item, "answers": {**item["answers"], "words": "second"}}
    phone.submit(item)
    phone.submit(other)
    broken = b'{"client_id": "x", "words": "\xff\xfe"}'
    whole = '{"client_id":"y",   "words": "żółw"}'.encode()
    phone.call("POST", "submissions", raw=b'{"items": [' + whole + b"]}")
    device = Device.objects.get()
    Quarantined.objects.create(
        study=phone.study, participant=device.participant, device=device, digest="d", code="malformed", detail="\udcff",
        body=broken.decode(errors="surrogateescape"), received_at=NOW,
    )  # fmt: skip
    found = export(phone)
    assert [each["item"]["answers"]["words"] for each in (*found["submissions"], *found["conflicts"])] == [
        "first", "second",
    ]  # fmt: skip
    assert [each["body"] for each in found["quarantined"]] == [whole.decode(), None]
    assert base64.b64decode(found["quarantined"][1]["body_base64"]) == broken


def test_times_have_their_offset_and_nothing_secret_is_told(phone: FakePhone) -> None:
    phone.submit(phone.item())
    phone.report(2, "dismissed", reason="on the bike")
    Pause.objects.create(participant=Participant.objects.get(), since=NOW - timedelta(days=1), until=NOW)
    found = export(phone)
    moments = [
        (name, value)
        for section in SECTIONS
        for row in found[section.name]
        for name, value in row.items()
        if (name.endswith("_at") and value) or name in ("since", "until", "at")
    ]
    assert len(moments) > 60
    assert [each for each in moments if parse_phone_time(each[1]) is None] == []
    assert found["pauses"][0]["until"] == NOW.isoformat()
    assert found["prompt_events"][-1]["note"] == "on the bike"
    text = json.dumps(found)
    assert phone.token not in text
    assert str(Participant.objects.get().key_id) not in text
    assert Device.objects.get().token_digest not in text
    assert "user:" not in text  # which researcher did what is theirs


def test_baseline_and_measurements_are_in_it_one_person_alone(phone: FakePhone) -> None:
    FakePhone(phone.study, pseudonym="P2").enrolled()
    import_person_table(study=phone.study, rows={"P1": {"age": 42}, "P2": {"age": 77777}})
    import_person_table(study=phone.study, rows={"P1": {"age": 43}})
    series = Series.objects.create(
        study=phone.study, name="steps", number=1, columns=[{"name": "count"}], source_digest=""
    )
    start = datetime(2026, 3, 2, tzinfo=UTC)
    for pseudonym, first in (("P1", 0.5), ("P2", 77777.0)):
        SeriesValues.objects.create(
            series=series, participant=Participant.objects.get(pseudonym=pseudonym), column="count",
            at=[start + n * timedelta(minutes=1) for n in range(5000)], value=[first + n / 8 for n in range(5000)],
        )  # fmt: skip
    found = export(phone)
    assert [(each["version"], each["column"], each["value"]) for each in found["baseline"]] == [
        (1, "age", 42), (2, "age", 43),
    ]  # fmt: skip
    assert len(found["series"]) == 5000
    assert [each["value"] for each in found["series"]] == [0.5 + n / 8 for n in range(5000)]
    times = [parse_phone_time(each["at"]) for each in found["series"]]
    assert all(later - sooner == timedelta(minutes=1) for sooner, later in pairwise(times) if later and sooner)
    assert "77777" not in json.dumps(found)
    assert len(tables(phone)["series.csv"]) == 5000


def test_the_form_is_asked_for_by_name_or_by_accept(phone: FakePhone) -> None:
    phone.submit(phone.item())
    by_name, by_accept = tables(phone), tables(phone, "me/export", Accept="application/zip")
    assert set(by_name) == set(by_accept) == {
        "participant.csv", "answers.csv", *(f"{each.name}.csv" for each in SECTIONS),
    }  # fmt: skip
    assert by_name["answers.csv"] == by_accept["answers.csv"]
    assert [list(by_name[f"{each.name}.csv"][0]) for each in (ANSWERS, SECTIONS[0])] == [
        list(ANSWERS.columns), list(SECTIONS[0].columns),
    ]  # fmt: skip
    assert {each["name"]: each["value"] for each in by_name["participant.csv"]}["pseudonym"] == "P1"
    assert phone.call("GET", "me/export?form=json", Accept="application/json")["Content-Type"] == "application/json"
    for path, headers, status, code in (
        ("me/export?form=pdf", {}, 400, "unknown_form"), ("me/export", {"Accept": "text/html"}, 406, "not_acceptable"),
    ):  # fmt: skip
        answer = phone.call("GET", path, **headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_every_export_is_written_down_before_its_first_byte(phone: FakePhone) -> None:
    answer = phone.call("GET", "me/export?form=csv")
    event = AuditEvent.objects.get(action="participant.exported")
    assert (event.actor, event.changes) == (Device.objects.get().audit_name, {"form": "csv"})
    answer.getvalue()
    assert [each["action"] for each in export(phone)["trail"]][-2:] == ["participant.exported"] * 2


def test_whoever_has_withdrawn_may_take_their_data_along_and_whoever_is_invited_alone_has_a_small_one(
    phone: FakePhone,
) -> None:
    phone.submit(phone.item())
    withdraw_participant(participant=Participant.objects.get(), now=NOW, actor="server")
    found = export(phone)
    assert found["participant"]["state"] == "withdrawn"
    assert len(found["submissions"]) == 1
    assert found["identity"] is None
    assert "participant.withdrawn" in {each["action"] for each in found["trail"]}


def many(phone: FakePhone, count: int, words: str) -> None:
    """So many answers with a text each, sealed as phones' answers are."""
    items = [
        phone.item(None, client_id=str(uuid4()), answers={"support": 1, "stress": 2, "words": f"{n} {words}"})
        for n in range(count)
    ]
    for first in range(0, count, 500):
        phone.submit(*items[first : first + 500])


def test_two_thousand_answers_stream_within_little_memory(phone: FakePhone) -> None:
    many(phone, 2_000, "long " * 200)
    person = Participant.objects.select_related("study").get()
    peaks = {}
    for form in ("json", "csv"):
        list(files.written(person, form, now=NOW))  # type: ignore[arg-type]  # what is made once is there
        tracemalloc.start()
        size, parts = 0, 0
        for part in files.written(person, form, now=NOW):  # type: ignore[arg-type]
            size += len(part)
            parts += bool(part)
        peaks[form] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert parts > 15
    assert max(peaks.values()) < 4_000_000, peaks
    assert len(export(phone)["submissions"]) == 2_000


def test_the_number_of_queries_does_not_grow_with_the_answers(phone: FakePhone) -> None:
    person = Participant.objects.select_related("study").get()

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            list(files.written(person, "json", now=NOW))
        return len(found)

    few = queries()
    many(phone, 50, "")
    assert queries() <= few + 1


def test_one_export_is_one_state_of_the_database(phone: FakePhone) -> None:
    """In the suite everything is one transaction; that a snapshot is opened is what can be seen here."""
    with patch("ema_server.rights.delivery.snapshot") as opened:
        export(phone)
    assert opened.call_count == 1


# Nothing is left out ----------------------------------------------------------------------------------------------------

IN_IT = {
    "participants.Identity", "participants.EnrolmentCode", "participants.Consent", "participants.Pause", "participants.Device",
    "participants.DeviceReport", "ema_messages.Message",
    "participants.SeriesValues", "sampling.ScheduleChange", "sampling.Planning", "sampling.Prompt", "sampling.PromptEvent",
    "sampling.Decision", "responses.Submission", "responses.Conflict", "responses.Quarantined", "responses.Upload",
}  # fmt: skip


def test_whatever_table_knows_a_person_is_in_their_export() -> None:
    """A room that begins to keep something about people gives it to them: a section of `rights/own_data.py`."""
    known: set[Any] = {Participant}
    grown = True
    while grown:
        more = {
            model
            for model in apps.get_models()
            if model.__module__.startswith("ema_server.")
            and any(f.is_relation and f.concrete and f.related_model in known for f in model._meta.get_fields())
        }
        grown = not more <= known
        known |= more
    assert {each._meta.label for each in known if issubclass(each, models.Model)} - {
        "participants.Participant"
    } == IN_IT


def test_an_empty_person_has_every_section(phone: FakePhone) -> None:
    found = export(phone)
    assert list(found) == [
        "schema", "made_at", "study", "participant", "identity", *(each.name for each in SECTIONS),
    ]  # fmt: skip
    assert found["schema"] == "ema-own-data/1"
