"""Each oddity of a study is counted on purpose: clocks, zones, re-issued prompts, answers held but not used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import flow
from analysis.simulate import SupportStress, simulate_frame

PLAN = {"questionnaire": "momentary", "late_cutoff_minutes": 30}


@pytest.fixture
def frame() -> pd.DataFrame:
    return simulate_frame(SupportStress(), persons=4, days=6, prompts=4, seed=2).assign(
        status="answered", latency_minutes=5.0
    )


def found(frame: pd.DataFrame, uploads: dict[str, Any] | None = None) -> dict[str, int]:
    return {row["key"]: row["count"] for row in flow.oddities(frame, PLAN, uploads)}


def test_a_study_without_oddities_says_none(frame: pd.DataFrame) -> None:
    assert found(frame) == {}


def test_a_clock_change_is_one_inside_a_zone_and_a_move_is_another_zone(frame: pd.DataFrame) -> None:
    second = frame["day"] > 3
    changed = frame.copy()
    changed.loc[second & (frame["person"] == "P001"), "utc_offset_minutes"] += 60
    assert found(changed) == {"clock_change": 1}
    moved = changed.copy()
    moved.loc[second & (frame["person"] == "P001"), "zone"] = "Europe/Helsinki"
    assert found(moved) == {"zones": 2, "moved": 1}


def test_repeats_reissues_and_held_answers_are_counted_and_not_used(frame: pd.DataFrame) -> None:
    frame.loc[frame.index[:3], "reissues"] = [1, 2, 0]
    frame.loc[frame.index[:3], "repeats"] = [0, 2, 1]
    frame.loc[frame.index[3], ["status", "held_items"]] = ["expired_with_answers", 5]
    frame.loc[frame.index[4], ["status", "held_items"]] = ["cancelled_with_answers", 2]
    odd = {row["key"]: row for row in flow.oddities(frame, PLAN, {"duplicate": 7, "conflict": 0, "rejected": 1})}
    counts = {key: row["count"] for key, row in odd.items()}
    assert counts == {
        "expired_with_answers": 1, "cancelled_with_answers": 1, "reissued": 2, "repeats": 3, "upload_duplicate": 7, "upload_rejected": 1,
    }  # fmt: skip
    assert "7 item values" in odd["cancelled_with_answers"]["sentence"]


def test_compliance_names_both_denominators_and_every_persons_days(frame: pd.DataFrame) -> None:
    frame.loc[frame["person"] == "P002", "status"] = "no_record"
    frame.loc[(frame["person"] == "P003") & (frame["day"] == 2), "status"] = "expired"
    given = flow.compliance(frame)
    assert (given["planned"], given["recorded"], given["answered"]) == (96, 72, 68)
    assert given["of_planned"] == pytest.approx(68 / 96)
    assert given["of_recorded"] == pytest.approx(68 / 72)
    assert [one["person"] for one in given["persons"]] == ["P001", "P004", "P003", "P002"]
    days = {one["person"]: one["days"] for one in given["persons"]}
    assert days["P003"][1] == [0, 4, 4]
    assert days["P002"][0] == [0, 0, 4]


def test_latency_leaves_out_impossible_times_and_keeps_every_late_one(frame: pd.DataFrame) -> None:
    frame["latency_minutes"] = np.where(frame["slot"] == 1, 45.0, np.where(frame["slot"] == 2, 120.0, 5.0))
    frame.loc[frame.index[0], "latency_minutes"] = -3.0
    given = flow.latency(frame)
    assert given is not None
    assert given["n"] == len(frame) - 1
    assert sum(each["count"] for each in given["histogram"]) == given["n"]
    assert given["histogram"][-1]["count"] == (frame["slot"] == 2).sum()
    assert given["share_over_30"] == pytest.approx((frame["latency_minutes"] > 30).sum() / given["n"])
