"""The night's rows in parts of whole persons: the same bytes as at once, from one state of the database."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from django.db import connection

from ema_server.common import clock
from ema_server.common.snapshot import snapshot
from ema_server.participants.models import Participant
from ema_server.participants.person_data import import_person_table
from ema_server.reports import dataset
from ema_server.reports.asked import asked_columns
from ema_server.responses.models import Submission
from tests.server.exports.cast import crowded_study
from tests.world import PLAN, FakePhone, live_study

COLUMNS = {"phase": {"of": "age", "breaks": [45], "labels": ["young", "old"]}}


@pytest.mark.django_db
@pytest.mark.parametrize("rows", [1, 30, 10_000])
def test_parts_one_after_another_are_the_whole_file_byte_for_byte(rows: int) -> None:
    study, _ = crowded_study()
    plan: dict[str, Any] = {**PLAN, "columns": COLUMNS}
    now = clock.now()
    whole = dataset.load(study, now, plan)
    parts = list(dataset.chunks(study, now, plan, rows=rows))
    assert [len(part) for part in parts] == {1: [28] * 3, 30: [56, 28], 10_000: [84]}[rows]
    assert all((part.dtypes == whole.dtypes).all() for part in parts)
    together = b"".join(dataset.as_csv(part, header=not place) for place, part in enumerate(parts))
    assert together == dataset.as_csv(whole)
    assert hashlib.sha256(together).hexdigest() == dataset.data_hash(whole)
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)


@pytest.mark.django_db
def test_types_are_the_same_with_rows_and_without() -> None:
    study, _ = crowded_study()
    whole = dataset.load(study, clock.now(), PLAN)
    nobody = dataset.load(study, datetime(2026, 3, 1, tzinfo=UTC), PLAN)
    assert len(nobody) == 0
    assert set(nobody.columns) <= set(whole.columns)  # the person table came later
    assert (nobody.dtypes == whole[nobody.columns].dtypes).all()
    assert whole["age"].dtype == "float64", "somebody is not in the person table"
    assert whole["company"].dtype == whole["since"].dtype == "str"


@pytest.mark.django_db
def test_an_item_that_changed_its_type_keeps_every_versions_values() -> None:
    def survey(**item: Any) -> dict[str, Any]:
        return {"title": "T", "items": [{"name": "x", "text": "X?", **item}]}

    from ema_server.studies.services import publish_survey

    study = live_study(survey=survey(type="slider", range=[0, 10]))
    phone = FakePhone(study).enrolled()
    phone.submit(phone.item(0, answers={"x": 2.5}))
    publish_survey(study=study, questionnaire="momentary", document=survey(type="choice", options=["a", "b"]))
    phone.submit(phone.item(1, survey_version=2, answers={"x": "b"}))
    assert dataset.load(study, clock.now(), PLAN)["x"].tolist()[:2] == ["2.5", "b"]
    publish_survey(study=study, questionnaire="momentary", document=survey(type="yesno"))
    phone.submit(phone.item(2, survey_version=3, answers={"x": True}))
    frame = dataset.load(study, clock.now(), PLAN)
    assert frame["x"].tolist()[0] == 2.5
    assert pd.isna(frame["x"][1])
    assert frame["x"][2] == 1.0


@pytest.mark.django_db(transaction=True)
def test_what_arrives_while_parts_are_read_is_stored_at_once_and_is_not_in_them() -> None:
    study, phones = crowded_study()
    now = clock.now() + timedelta(hours=1)  # the snapshot decides, not the cutoff
    expected = dataset.as_csv(dataset.load(study, now, PLAN))
    parts = dataset.chunks(study, now, PLAN, rows=1)
    read = [next(parts)]
    before = Submission.objects.count()
    receipts: list[Any] = []

    def intake() -> None:  # a thread has a connection of its own, as another worker has
        from django_scopes import scopes_disabled

        with scopes_disabled():
            receipts.extend(phones[2].submit(phones[2].item(0, answers={"support": 1, "stress": 1})))
            receipts.append(Submission.objects.count())
        connection.close()

    other = threading.Thread(target=intake)
    other.start()
    other.join(timeout=20)
    assert not other.is_alive(), "intake waited for the reader"
    assert receipts[0]["status"] == "stored"
    assert receipts[1] == before + 1
    read.extend(parts)
    assert b"".join(dataset.as_csv(part, header=not n) for n, part in enumerate(read)) == expected
    assert dataset.as_csv(dataset.load(study, now, PLAN)) != expected


@pytest.mark.django_db(transaction=True)
def test_a_snapshot_takes_no_lock_that_a_writer_meets_and_cannot_write() -> None:
    study, _ = crowded_study()
    with snapshot():
        dataset.load(study, clock.now(), PLAN)
        with connection.cursor() as cursor:
            cursor.execute("SELECT DISTINCT mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'")
            modes = {row[0] for row in cursor.fetchall()}
            cursor.execute("SHOW transaction_read_only")
            assert cursor.fetchone() == ("on",)
    assert modes == {"AccessShareLock"}


@pytest.mark.django_db
@pytest.mark.parametrize("rows", [1, 10_000])
def test_places_are_columns_and_a_baseline_column_stands_in_for_one_that_nobody_has(rows: int) -> None:
    study, _ = crowded_study()
    import_person_table(study=study, rows={name: {"arm": "table", "site": "Leiden"} for name in ("P1", "P2")})
    Participant.objects.filter(pseudonym="P2").update(arm="treated")
    parts = list(dataset.chunks(study, clock.now(), PLAN, rows=rows))
    frame = pd.concat(parts, ignore_index=True).drop_duplicates("person").set_index("person")
    assert frame["arm"].to_dict() == {"=P3": "", "P1": "", "P2": "treated"}
    assert frame["site"].fillna("").to_dict() == {"=P3": "", "P1": "Leiden", "P2": "Leiden"}
    assert len({tuple(part.columns) for part in parts}) == 1


@pytest.mark.django_db
def test_a_condition_on_the_day_decides_what_counts() -> None:
    study = live_study(survey={"title": "T", "items": [
        {"name": "x", "type": "likert", "range": [1, 5], "text": "X?"},
        {"name": "later", "type": "likert", "range": [1, 5], "text": "Later?", "show_if": "@day >= 2", "required": False},
    ]})  # fmt: skip
    phone = FakePhone(study).enrolled()
    phone.submit(phone.item(0, answers={"x": 1, "later": 2}), phone.item(4, answers={"x": 1, "later": 3}))
    frame = dataset.load(study, clock.now(), PLAN)
    assert frame[frame["used"]]["later"].fillna(0).tolist() == [0, 3]


@pytest.mark.django_db
def test_another_questionnaires_item_of_the_same_name_is_not_this_one() -> None:
    from ema_server.studies.services import publish_sampling_plan, publish_survey

    def survey(high: int) -> dict[str, Any]:
        return {"title": "T", "items": [{"name": "x", "type": "slider", "range": [0, high], "text": "X?"}]}

    study = live_study(survey=survey(10))
    publish_survey(study=study, questionnaire="evening", document=survey(100))
    rules = [
        {"key": name, "questionnaire": name, "open_minutes": 60, "times": [time]}
        for name, time in (("momentary", "10:00"), ("evening", "20:00"))
    ]
    publish_sampling_plan(study=study, document={"rules": rules})
    phone = FakePhone(study).enrolled()
    phone.submit(phone.item(0, answers={"x": 7}), phone.item(1, questionnaire="evening", answers={"x": 70}))
    frame = dataset.load(study, clock.now(), PLAN)
    assert frame.loc[:1, "questionnaire"].tolist() == ["momentary", "evening"]
    assert frame.loc[:1, "used"].all()
    assert frame["x"].dropna().tolist() == [7]
    both = dataset.load(study, clock.now(), {**PLAN, "questionnaire": None})
    assert both["x"].dropna().tolist() == [7, 70]
    x = asked_columns(study, questionnaire=None).variables[0]
    assert (x.low, x.high, x.note) == (0, 100, "Ran from 0 to 100 in evening; the numbers are as they were given.")
    publish_survey(study=study, questionnaire="momentary", document=survey(20))
    x = asked_columns(study, questionnaire="momentary").variables[0]
    assert x.note == "Ran from 0 to 10 before version 2; the numbers are as they were given."
