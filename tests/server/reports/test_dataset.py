"""The rows that a night reads: one per prompt, every oddity labelled."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from django.core.management import call_command

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.participants.models import Device, Participant
from ema_server.participants.person_data import import_person_table
from ema_server.reports import dataset
from ema_server.reports.columns import derive
from ema_server.responses.compliance import compliance
from ema_server.sampling.models import Prompt, PromptEvent
from tests.world import PLAN, FakePhone, live_study

pytestmark = pytest.mark.django_db


def row(phone: FakePhone, prompt: int, **plan: object) -> pd.Series:
    frame = dataset.load(phone.study, clock.now(), {**PLAN, **plan})
    return frame.iloc[prompt]


@pytest.fixture
def phone() -> FakePhone:
    return FakePhone(live_study()).enrolled()


def test_every_planned_prompt_is_a_row_missed_ones_included(phone: FakePhone) -> None:
    phone.submit(phone.item(0))
    frame = dataset.load(phone.study, clock.now(), PLAN)
    assert len(frame) == 28
    assert list(frame["status"].value_counts().items()) == [("no_record", 27), ("answered", 1)]
    assert frame["stress"].notna().sum() == 1


@pytest.mark.parametrize(
    ("minutes", "status", "used"),
    [(5, "answered", True), (60, "answered", True), (75, "late", True), (91, "too_late", False)],
)
def test_lateness_is_derived_and_nothing_is_lost(phone: FakePhone, minutes: int, status: str, used: bool) -> None:
    phone.submit(phone.item(0, minutes=minutes))
    found = row(phone, 0)
    assert (found["status"], found["used"], found["latency_minutes"]) == (status, used, minutes)
    assert pd.notna(found["stress"]) == used
    assert found["held_items"] == (0 if used else 2)


def test_without_a_late_cut_off_every_late_answer_counts(phone: FakePhone) -> None:
    phone.submit(phone.item(0, minutes=900))
    assert row(phone, 0, late_cutoff_minutes=None)["status"] == "late"


def test_of_two_answers_to_one_prompt_the_first_counts_whatever_came_first(phone: FakePhone) -> None:
    later = phone.item(0, minutes=20, answers={"support": 1, "stress": 99})
    phone.submit(later)
    phone.submit(phone.item(0, minutes=10, answers={"support": 2, "stress": 11}))
    phone.report(0, "reissued")
    found = row(phone, 0)
    assert (found["stress"], found["repeats"], found["reissues"]) == (11, 1, 1)


def test_an_expired_prompt_that_holds_answers_is_labelled_and_not_used(phone: FakePhone) -> None:
    phone.submit(phone.item(0, complete=False, answers={"support": 5}))
    phone.report(0, "expired")
    found = row(phone, 0)
    assert (found["status"], found["held_items"]) == ("expired_with_answers", 1)
    assert pd.isna(found["support"])


def test_outcomes_without_answers(phone: FakePhone) -> None:
    phone.report(0, "expired")
    phone.report(1, "cancelled")
    phone.submit(phone.item(2))
    phone.report(2, "expired")  # a confused phone: the finished answer decides
    assert [row(phone, n)["status"] for n in range(3)] == ["expired", "cancelled", "answered"]


def test_only_what_was_known_at_the_cutoff_is_read(phone: FakePhone) -> None:
    before = clock.now()
    phone.submit(phone.item(0))
    assert (dataset.load(phone.study, before, PLAN)["status"] == "no_record").all()
    Participant.objects.update(enrolled_at=before)
    assert dataset.load(phone.study, datetime(2026, 3, 2, 12, tzinfo=UTC), PLAN).empty  # nobody had enrolled yet


def test_what_had_come_before_somebody_enrolled_is_no_miss_and_an_answer_to_it_stays(phone: FakePhone) -> None:
    """As compliance counts: who comes in at noon of their first day did not miss the prompt of 10:00."""
    noon = datetime(2026, 3, 2, 16, 0, 0, 400_000, tzinfo=ZoneInfo("Europe/Amsterdam"))
    Participant.objects.update(enrolled_at=noon)
    assert dataset.load(phone.study, clock.now(), PLAN)["slot"].iloc[:3].tolist() == [3, 4, 1]
    phone.submit(phone.item(1))
    assert dataset.load(phone.study, clock.now(), PLAN)["status"].iloc[:2].tolist() == ["answered", "no_record"]


def test_who_has_no_phone_misses_nothing_until_there_is_another_one_and_compliance_counts_the_same(
    phone: FakePhone,
) -> None:
    local = ZoneInfo("Europe/Amsterdam")
    lost, found = datetime(2026, 3, 3, 12, tzinfo=local), datetime(2026, 3, 5, 12, tzinfo=local)
    person = Participant.objects.get()
    Device.objects.update(created_at=person.enrolled_at, revoked_at=lost)
    Device.objects.create(participant=person, token_digest="2", platform="ios", created_at=found)
    days = dataset.load(phone.study, clock.now(), PLAN).groupby("day").size()
    assert days.to_dict() == {1: 4, 2: 1, 4: 3, 5: 4, 6: 4, 7: 4}
    counted = compliance(phone.study, cutoff=clock.now()).day
    assert {day: counts.scheduled for day, counts in counted.items()} == days.to_dict()


def test_of_an_imported_study_no_row_is_before_anybody_enrolled(phone: FakePhone) -> None:
    plan = phone.study.sampling_plans.get()
    plan.document["imported"] = True
    plan.save()
    Participant.objects.update(enrolled_at=clock.now())
    assert len(dataset.load(phone.study, clock.now(), PLAN)) == 28


def test_clock_terms_are_those_of_the_persons_own_wall(phone: FakePhone) -> None:
    frame = dataset.load(phone.study, clock.now(), PLAN)
    assert frame["hour"].iloc[:4].tolist() == [10, 13, 16, 19]
    assert frame["utc_offset_minutes"].iloc[0] == 60
    assert frame.groupby("day")["weekend"].first().tolist() == [0, 0, 0, 0, 0, 1, 1]


def test_the_person_table_and_derived_columns_join(phone: FakePhone) -> None:
    rows = {"P1": {"sex": "female", "treatment_start": "2026-03-04"}}
    import_person_table(study=phone.study, rows=rows)
    columns = {
        "time": {"days_since": "treatment_start"},
        "phase": {"of": "time", "breaks": [0, 2], "labels": ["before", "first days", "after"]},
    }
    frame = dataset.load(phone.study, clock.now(), {**PLAN, "columns": columns})
    by_day = frame.groupby("day")
    assert by_day["time"].first().tolist() == [-2, -1, 0, 1, 2, 3, 4]
    assert by_day["phase"].first().tolist() == ["before"] * 2 + ["first days"] * 2 + ["after"] * 3
    assert (frame["sex"] == "female").all()


def test_a_derived_column_of_nothing_is_refused_by_name(phone: FakePhone) -> None:
    with pytest.raises(DomainError, match=r"columns\.time: the data have no column 'surgery'"):
        derive(dataset.load(phone.study, clock.now(), PLAN), {"time": {"days_since": "surgery"}})


def test_another_studys_answers_are_never_read(phone: FakePhone) -> None:
    other = FakePhone(live_study()).enrolled()
    other.submit(other.item(0))
    assert (dataset.load(phone.study, clock.now(), PLAN)["status"] == "no_record").all()


def test_the_hash_is_that_of_the_exported_file_and_changes_with_any_answer(phone: FakePhone) -> None:
    phone.submit(phone.item(0))
    first = dataset.load(phone.study, clock.now(), PLAN)
    again = dataset.load(phone.study, clock.now() + timedelta(seconds=1), PLAN)
    assert dataset.as_csv(first) == dataset.as_csv(again)
    assert dataset.data_hash(first) == hashlib.sha256(dataset.as_csv(first)).hexdigest()
    back = pd.read_csv(BytesIO(dataset.as_csv(first)))
    assert list(back.columns) == list(first.columns)
    assert back["stress"].tolist()[0] == 30
    phone.submit(phone.item(1))
    assert dataset.data_hash(dataset.load(phone.study, clock.now(), PLAN)) != dataset.data_hash(first)


def test_the_exported_file_is_what_the_report_read(phone: FakePhone, tmp_path: Path) -> None:
    from ema_server.reports.services import produce_report

    for n in range(6):
        phone.submit(phone.item(n, answers={"support": 10 * n, "stress": 90 - 11 * n}))
    report = produce_report(study=phone.study, night=clock.now().date(), now=clock.now())
    phone.submit(phone.item(7))  # arrives after the night
    out = tmp_path / "rows.csv"
    call_command("export_dataset", phone.study.slug, out=out)
    assert hashlib.sha256(out.read_bytes()).hexdigest() == report.data_hash


def test_a_prompt_that_was_called_off_and_asked_for_again_was_not_cancelled(phone: FakePhone) -> None:
    prompt, events = Prompt.objects.get(pk=phone.prompts[0]["id"]), PromptEvent.objects
    events.create(study=phone.study, prompt=prompt, kind="cancelled", code="plan_changed", received_at=clock.now())
    events.create(study=phone.study, prompt=prompt, kind="restored", code="plan_changed", received_at=clock.now())
    assert row(phone, 0)["status"] == "no_record"
    phone.report(0, "cancelled")
    assert row(phone, 0)["status"] == "cancelled"
