from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import DesignError, SpecError


def test_parts_add_up_and_the_anchor_counts_each_person_once():
    frame = pd.DataFrame({"id": ["a", "a", "a", "b"], "x": [1.0, 2.0, 3.0, 10.0]})
    out = analysis.within_between(frame, ["x"], person="id")
    assert out["x_within"].tolist() == [-1.0, 0.0, 1.0, 0.0]
    assert out["x_between"].tolist() == [-4.0, -4.0, -4.0, 4.0]  # the anchor is (2 + 10) / 2, not the mean of the rows
    assert list(frame.columns) == ["id", "x"]


def test_missing_answers_stay_missing_and_do_not_move_the_mean():
    frame = pd.DataFrame({"id": ["b", "a", "b", "a", None], "x": [1.0, np.nan, 3.0, 5.0, 9.0]})
    out = analysis.within_between(frame, ["x"], person="id")
    np.testing.assert_array_equal(out["x_within"], [-1.0, np.nan, 1.0, 0.0, np.nan])
    np.testing.assert_array_equal(out["x_between"], [-1.5, np.nan, -1.5, 1.5, np.nan])


def test_a_large_offset_costs_no_digits():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": np.repeat(np.arange(20), 30), "x": np.round(rng.normal(size=600) * 30.0)})
    near = analysis.within_between(frame, ["x"], person="id")
    far = analysis.within_between(frame.assign(x=frame["x"] + 1.7e9), ["x"], person="id")
    np.testing.assert_allclose(far["x_within"], near["x_within"], atol=1e-6)  # 1.7e9 itself is spaced 2.4e-7
    np.testing.assert_allclose(far["x_between"], near["x_between"], atol=1e-6)


def test_wrong_columns_are_named():
    frame = pd.DataFrame({"id": ["a", "b"], "x": ["low", "high"]})
    with pytest.raises(SpecError, match="'xx'"):
        analysis.within_between(frame, ["xx"], person="id")
    with pytest.raises(SpecError, match="list of columns"):
        analysis.within_between(frame, "x", person="id")
    with pytest.raises(DesignError, match="'x' holds"):
        analysis.within_between(frame, ["x"], person="id")
