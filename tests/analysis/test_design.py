from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import SpecError
from analysis.design import build_design


@pytest.fixture
def frame(make_diary):
    data = make_diary(8, 10)
    return data.assign(arm=np.where(data["person"] < "p004", "care", "wait"), good=data["x"] > 0)


def test_rows_stand_person_by_person_and_missing_ones_are_counted(frame):
    frame = frame.sample(frac=1.0, random_state=1)
    frame.iloc[3, frame.columns.get_loc("x")] = np.nan
    frame.iloc[5, frame.columns.get_loc("y")] = np.nan
    design = build_design("y ~ within(x) + (1 | person)", frame)
    assert design.rows_dropped == 2
    assert design.missing == {"y": 1, "x": 1}
    assert list(design.levels) == sorted(frame["person"].unique())
    used = frame.iloc[design.positions]
    assert used["person"].is_monotonic_increasing
    np.testing.assert_array_equal(design.outcome, used["y"])


def test_splits_are_made_on_the_rows_that_the_model_uses(frame):
    frame.loc[frame.index[::3], "y"] = np.nan
    design = build_design("y ~ within(x) + between(x) + (1 | person)", frame)
    within, between = design.matrix(design.fixed)[:, 1:].T
    sums = np.add.reduceat(within, design.starts[:-1])
    assert np.abs(sums).max() < 1e-12
    assert abs(between[design.starts[:-1]].mean()) < 1e-12


@pytest.mark.parametrize(
    ("formula", "names"),
    [
        ("y ~ within(x) * arm + (1 | person)", ["Intercept", "within(x)", "arm[T.wait]", "within(x):arm[T.wait]"]),
        ("y ~ I(x ** 2) + C(good) + (1 | person)", ["Intercept", "I(x ** 2)", "C(good)[T.True]"]),
        ("y ~ 0 + arm + (1 | person)", ["arm[care]", "arm[wait]"]),
        ("y ~ 1 + (1 | person)", ["Intercept"]),
    ],
)
def test_terms_are_named_as_written(frame, formula, names):
    fit = analysis.lmm(formula, frame)
    assert sorted(fit.fixed.index) == sorted(names)


def test_an_interaction_uses_the_centred_column(frame):
    design = build_design("y ~ within(x) * day + (1 | person)", frame)
    by_hand = analysis.within_between(frame, ["x"], person="person")
    column = design.matrix(design.fixed)[:, design.fixed_names.index("within(x):day")]
    np.testing.assert_allclose(column, by_hand["x_within"] * by_hand["day"], atol=1e-13)


def test_dotted_names_odd_labels_and_nullable_types_change_nothing(frame):
    plain = analysis.lmm("y ~ x + day + (1 + x | person)", frame)
    odd = frame.rename(columns={"x": "x.raw", "person": "person.id"}).astype({"day": "Int64", "y": "Float64"})
    odd.index = pd.Index([f"row {k}" for k in range(len(odd), 0, -1)])
    dotted = analysis.lmm("y ~ x.raw + day + (1 + x.raw | person.id)", odd)
    np.testing.assert_array_equal(plain.fixed.to_numpy(), dotted.fixed.to_numpy())
    assert list(dotted.fixed.index) == ["Intercept", "x.raw", "day"]


def test_independent_terms_are_two_blocks(frame):
    bars = build_design("y ~ x + (x || person)", frame)
    written = build_design("y ~ x + (1 | person) + (0 + x | person)", frame)
    assert bars.blocks == written.blocks == (1, 1)
    assert bars.random_names == written.random_names == ["Intercept", "x"]


def test_the_public_calls_stay_functions_whatever_is_imported():
    import analysis.generalised
    import analysis.linear
    import analysis.models

    assert callable(analysis.lmm)
    assert callable(analysis.glmm)


def test_not_yet_available_arguments_say_so(frame):
    with pytest.raises(SpecError, match="residual"):
        analysis.lmm("y ~ x + (1 | person)", frame, residual="ar1")
