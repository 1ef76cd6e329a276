"""Measurements by person and time: read from CSV, stored, and taken into the night by their window."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from ema_server.common import clock
from ema_server.common.csv_rows import CsvFault, open_csv
from ema_server.erasure.services import ask_for_erasure, erase
from ema_server.participants.models import Participant, Series, SeriesValues
from ema_server.participants.person_data import InvalidSeries, NobodyMatches, import_series
from ema_server.participants.queries import series_values
from ema_server.participants.series import ReadSeries, SeriesReading, read_series
from ema_server.reports import dataset
from ema_server.reports.columns import InvalidColumn
from tests.world import PLAN, FakePhone, live_study, researcher

pytestmark = pytest.mark.django_db


def read(content: str, *, known: tuple[str, ...] = ("P1", "P2"), **said: Any) -> ReadSeries:
    return read_series(open_csv(io.BytesIO(content.encode())), known, SeriesReading(**said))


def fault(content: str, **said: Any) -> str:
    with pytest.raises(CsvFault) as caught:
        read(content, **said)
    return caught.value.detail


def moments(series: ReadSeries, person: str = "P1") -> list[datetime]:
    return [datetime.fromtimestamp(at / 1e6, UTC) for at in series.people[person].at.tolist()]


def test_rows_are_put_in_order_and_those_of_nobody_counted() -> None:
    found = read("person,time,count\nP1,2026-03-02T10:00Z,5\nX,2026-03-02T10:00Z,1\nP1,2026-03-02T09:00+01:00,NA\n")
    assert [moment.hour for moment in moments(found)] == [8, 10]
    assert np.isnan(found.people["P1"].values[0][0])
    assert found.unknown == {"X": (1, 3)}
    assert (found.rows, found.missing) == (3, 1)


def test_times_without_an_offset_stand_in_the_zone_that_is_said() -> None:
    content = "person,time,count\nP1,2026-03-02 10:00,5\nP1,2026-07-02 10:00:30.5,5\n"
    assert "'2026-03-02 10:00' has no offset, so it could be anywhere; say" in fault(content)
    found = moments(read(content, zone="Europe/Amsterdam"))
    assert [(each.hour, each.second) for each in found] == [(9, 0), (8, 30)]
    day_first = "person,time,count\nP1,13/2/2026 10:00,5\n"
    assert moments(read(day_first, zone="UTC"))[0] == datetime(2026, 2, 13, 10, tzinfo=UTC)
    assert "say --dates" in fault("person,time,count\nP1,3/2/2026 10:00,5\n", zone="UTC")


def test_clock_changes_are_told() -> None:
    gap = "person,time,count\nP1,2026-03-29 02:30,5\n"
    assert fault(gap, zone="Europe/Amsterdam").startswith("row 2, column 'time': '2026-03-29 02:30' did not happen")
    twice = "person,time,count\nP1,2026-10-25 02:30,5\n"
    assert "happened twice in Europe/Amsterdam" in fault(twice, zone="Europe/Amsterdam")
    hours = {
        which: moments(read(twice, zone="Europe/Amsterdam", repeated=which))[0].hour for which in ("first", "second")
    }
    assert hours == {"first": 0, "second": 1}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("person,time,n\nP1,2026-03-02T10:00Z,1\nP1,2026-03-02T11:00+01:00,2\n", "row 3, column 'time': is a second row of 'P1' at the same moment as row 2"),
        ("who,time,n\nP1,2026-03-02T10:00Z,1\n", "Say --person with one of who, time, n"),
        ("person,when,n\nP1,2026-03-02T10:00Z,1\n", "Say --time with one of person, when, n"),
        ("person,time,n\nP1,2026-03-02T10:00Z,high\n", "row 2, column 'n': 'high' is not a number"),
        ("person,time,n\nP1,1772442000,1\n", "row 2, column 'time': '1772442000' is no date"),
        ("person,time,n\nP1,0001-01-01T00:00+01:00,1\n", "is out of reach"),
        ("person,time,n\nP1,2026-03-02,1\n", "is no date and time"),
        ("person,time,n\n,2026-03-02T10:00Z,1\n", "row 2, column 'person': has no person"),
        ("person,time\nP1,2026-03-02T10:00Z\n", "there is no column of values"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_series_is_refused_with_its_place(content: str, told: str) -> None:
    assert told in fault(content)


# Stored


@pytest.fixture
def phone() -> FakePhone:
    """Prompts at 10, 13, 16 and 19 o'clock in Amsterdam, from 2 March 2026."""
    return FakePhone(live_study(researcher())).enrolled()


STEPS = """person,time,count,pace
P1,2026-03-02T09:00:00+01:00,10,
P1,2026-03-02T09:30:00+01:00,20,0.1
P1,2026-03-02T09:59:59+01:00,30,0.2
P1,2026-03-02T10:00:00+01:00,1000,9
P1,2026-03-02T12:30:00+01:00,5,
"""


def store(phone: FakePhone, content: str = STEPS, name: str = "steps") -> Series:
    known = tuple(Participant.objects.values_list("pseudonym", flat=True))
    return import_series(study=phone.study, name=name, series=read(content, known=known), source="5" * 64)


def column(phone: FakePhone, rows: int = 3, **rule: Any) -> list[float]:
    rule = {"series": "steps", "column": "count", "take": "sum", "minutes": [-60, 0], **rule}
    frame = dataset.load(phone.study, clock.now(), {**PLAN, "columns": {"x": rule}})
    return [float(value) for value in frame["x"].head(rows)]


def test_a_series_is_stored_as_it_was_read(phone: FakePhone) -> None:
    series = store(phone)
    at, values = series_values(phone.study, "steps", "pace", people=["P1"], cutoff=clock.now())["P1"]
    assert values.tolist() == [0.1, 0.2, 9]
    assert datetime.fromtimestamp(at[0] / 1e6, UTC) == datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
    kept = SeriesValues.objects.get(column="pace")
    assert kept.at[0] == datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
    assert series.report["missing"] == 2
    assert series.source_digest != "5" * 64


@pytest.mark.parametrize(
    ("take", "expected"),
    [
        ("sum", [60, 5, np.nan]),
        ("mean", [20, 5, np.nan]),
        ("min", [10, 5, np.nan]),
        ("max", [30, 5, np.nan]),
        ("last", [30, 5, np.nan]),
        ("count", [3, 1, 0]),
    ],
)
def test_a_window_before_the_prompt_holds_what_was_measured_in_it(
    phone: FakePhone, take: str, expected: list[float]
) -> None:
    store(phone)
    np.testing.assert_array_equal(column(phone, take=take), expected)


def test_windows_lie_where_the_plan_says(phone: FakePhone) -> None:
    store(phone)
    assert column(phone, rows=1, minutes=[0, 30]) == [1000]
    assert column(phone, rows=1, minutes=[-30, 180]) == [1055]
    phone.submit(phone.item(0, minutes=6))
    np.testing.assert_array_equal(column(phone, rows=2, **{"from": "answered_at"}, minutes=[-10, 0]), [1030, np.nan])
    np.testing.assert_array_equal(
        column(phone, rows=2, **{"from": "answered_at"}, minutes=[-10, 0], take="count"), [2, np.nan]
    )
    np.testing.assert_array_equal(column(phone, rows=2, column="pace"), [0.1 + 0.2, np.nan])


def test_somebody_without_measurements_is_missing_and_counts_zero(phone: FakePhone) -> None:
    FakePhone(phone.study, pseudonym="P2").enrolled()
    store(phone)
    frame = dataset.load(
        phone.study,
        clock.now(),
        {
            **PLAN,
            "columns": {
                t: {"series": "steps", "column": "count", "take": t, "minutes": [-60, 0]} for t in ("sum", "count")
            },
        },
    )
    theirs = frame[frame["person"] == "P2"]
    assert theirs["sum"].isna().all()
    assert (theirs["count"] == 0).all()


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"series": "pulse"}, "columns.x: there is no series 'pulse'; there are steps."),
        ({"column": "n"}, "columns.x: the series 'steps' has no column 'n'; it has count, pace."),
        ({"take": "median"}, "columns.x.take: 'median' is not known; sum, mean, min, max, last, count are accepted."),
        ({"minutes": [0, -60]}, "columns.x.minutes: [0, -60] is no window"),
        ({"minutes": [-99999, 0]}, "is no window"),
        ({"from": "noon"}, "columns.x.from: 'noon' is not known"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_by_its_key(phone: FakePhone, rule: dict[str, Any], told: str) -> None:
    store(phone)
    with pytest.raises(InvalidColumn) as caught:
        column(phone, **rule)
    assert told in caught.value.detail


def test_a_new_version_is_what_the_next_night_reads_and_the_old_stays(phone: FakePhone) -> None:
    store(phone)
    before = clock.now()
    assert store(phone, STEPS.replace(",10,", ",11,")).number == 2
    assert column(phone, rows=1) == [61]
    frame = dataset.load(
        phone.study,
        before,
        {**PLAN, "columns": {"x": {"series": "steps", "column": "count", "take": "sum", "minutes": [-60, 0]}}},
    )
    assert frame["x"].iloc[0] == 60


def test_a_series_of_nobody_or_without_a_name_is_refused(phone: FakePhone) -> None:
    with pytest.raises(NobodyMatches, match="nobody of its 1 people takes part"):
        store(phone, STEPS.replace("P1", "X1"))
    with pytest.raises(InvalidSeries, match="name: 'Step count' is no series' name"):
        store(phone, name="Step count")
    assert not Series.objects.exists()


def test_erasing_a_person_removes_their_measurements(phone: FakePhone) -> None:
    FakePhone(phone.study, pseudonym="P2").enrolled()
    store(phone, STEPS + "P2,2026-03-02T10:00Z,5,\n")
    person = Participant.objects.get(pseudonym="P1")
    ask_for_erasure(participant=person, actor="server", now=clock.now())
    assert erase(participant=person, now=clock.now()).removed["series of measurements"] == 2
    assert [each.participant.pseudonym for each in SeriesValues.objects.all()] == ["P2"]


def test_the_command_tells_what_it_read_and_stores_it_unless_it_is_dry(
    phone: FakePhone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "steps.csv"
    file.write_text(STEPS + "X9,2026-03-02T10:00Z,5,\n")
    call_command("import_series", phone.study.slug, str(file), "--name", "steps", "--unit", "count=steps", "--dry-run")
    said = capsys.readouterr().out
    assert "6 rows read (utf-8, comma between cells): person person, time time, values count (steps), pace." in said
    assert "5 rows of 1 participants; 1 rows belong to nobody; 2 values are missing" in said
    assert "nobody: 'X9', 1 rows, the first is row 7" in said
    assert not Series.objects.exists()
    call_command("import_series", phone.study.slug, str(file), "--name", "steps")
    assert Series.objects.get().report["unknown_rows"] == [7]
    with pytest.raises(CommandError, match="--zone 'Amsterdam' is no IANA time zone"):
        call_command("import_series", phone.study.slug, str(file), "--name", "steps", "--zone", "Amsterdam")
    file.write_text("person,time,n\nP1,2026-03-02 10:00,1\n")
    with pytest.raises(CommandError, match=r"has no offset[\s\S]*Nothing was stored"):
        call_command("import_series", phone.study.slug, str(file), "--name", "steps")
