"""The state is the data: however the rows came, in whatever order, the fit is the same."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis import DesignError, ModelState, SpecError
from analysis.linear import Criterion
from analysis.state import PersonState

FORMULA = "y ~ within(x) + between(x) + day + (1 + within(x) | person)"
SAME = 1e-12  # of the estimate, its SE or SD: rounding of sums in another order
seeds = st.integers(0, 2**32 - 1)


def same_fit(one: analysis.LinearModel, other: analysis.LinearModel, tolerance: float = SAME) -> None:
    assert one.n_obs == other.n_obs
    assert one.n_groups == other.n_groups
    scale = one.fixed["se"].to_numpy()
    np.testing.assert_allclose(
        other.fixed["estimate"] / scale, one.fixed["estimate"] / scale, atol=tolerance, rtol=tolerance
    )
    np.testing.assert_allclose(
        other.vcov / np.outer(scale, scale), one.vcov / np.outer(scale, scale), atol=tolerance * 10
    )
    spread = np.sqrt(np.diag(one.random["person"]) + 1e-6 * one.residual_sd**2)  # a variance may be zero
    np.testing.assert_allclose(
        other.random["person"] / np.outer(spread, spread),
        one.random["person"] / np.outer(spread, spread),
        atol=tolerance * 10,
    )
    assert other.residual_sd == pytest.approx(one.residual_sd, rel=tolerance)
    assert other.log_likelihood == pytest.approx(one.log_likelihood, rel=tolerance)


def pieces(frame: pd.DataFrame, rng: np.random.Generator, at_most: int = 6) -> list[pd.DataFrame]:
    """The rows, shuffled and dealt into heaps."""
    heap = rng.integers(0, rng.integers(2, at_most + 1), len(frame))
    shuffled = frame.iloc[rng.permutation(len(frame))]
    return [part for _, part in shuffled.groupby(heap[: len(shuffled)]) if part["person"].nunique() > 1]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=seeds)
def test_any_order_any_split_and_any_merge_tree_give_the_same_fit(make_diary, seed):
    frame, rng = make_diary(14, 12), np.random.default_rng(seed)
    parts = pieces(frame, rng)
    whole = pd.concat(parts)
    trunk = reduce(lambda state, part: state.add(part), parts[1:], analysis.collect(FORMULA, parts[0]))
    leaves = [analysis.collect(FORMULA, part) for part in parts]
    while len(leaves) > 1:
        a, b = rng.choice(len(leaves), 2, replace=False)
        joined = leaves[a] + leaves[b]
        leaves = [leaf for i, leaf in enumerate(leaves) if i not in (a, b)] + [joined]
    fit = analysis.lmm(FORMULA, whole)
    same_fit(fit, trunk.fit())
    same_fit(fit, leaves[0].fit())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=seeds)
def test_rows_taken_away_and_put_back_leave_no_trace(make_diary, seed):
    frame, rng = make_diary(14, 12), np.random.default_rng(seed)
    gone = frame.sample(frac=float(rng.uniform(0.05, 0.6)), random_state=int(seed))
    if rng.random() < 0.5:  # whole persons, too
        gone = frame[frame["person"].isin(gone["person"].unique()[:5])]
    state = analysis.collect(FORMULA, frame)
    less = state.remove(gone)
    same_fit(analysis.lmm(FORMULA, frame.drop(gone.index)), less.fit())
    same_fit(analysis.lmm(FORMULA, frame), less.add(gone).fit())
    same_fit(analysis.lmm(FORMULA, frame), state.fit())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=seeds)
def test_whole_numbers_are_exact(seed):
    rng = np.random.default_rng(seed)
    n = 120
    frame = pd.DataFrame(
        {
            "person": rng.integers(0, 9, n),
            "x": rng.integers(0, 101, n) + 1_700_000_000,
            "y": rng.integers(-7, 8, n),
        }
    )
    formula = "y ~ x + (1 + x | person)"
    parts = pieces(frame, rng)
    whole = analysis.collect(formula, pd.concat(parts)).people
    dealt = reduce(lambda state, part: state.add(part), parts[1:], analysis.collect(formula, parts[0])).people
    np.testing.assert_array_equal(whole.n, dealt.n)
    np.testing.assert_array_equal(whole.scatter, dealt.scatter)
    raw = pd.concat(parts).sort_values("person", kind="stable")
    exact = {
        level: np.cov(own[["x", "y"]].to_numpy(dtype=object).astype(float).T) for level, own in raw.groupby("person")
    }
    for level, scatter, size in zip(whole.levels, whole.scatter, whole.n, strict=True):
        if size > 1:
            np.testing.assert_allclose(
                scatter / (size - 1), exact[level], rtol=1e-6, atol=1e-6
            )  # numpy's own error at this offset


@pytest.mark.parametrize("offset", [1e3, 1e6, 1.7e9])
def test_offsets_do_no_harm(make_diary, offset):
    frame = make_diary(14, 12)
    frame["x"] = np.round(frame["x"] * 16) / 16  # both frames hold the same numbers, but for the offset
    near, far = (analysis.collect(FORMULA, data) for data in (frame, frame.assign(x=frame["x"] + offset)))
    far = far.remove(frame.iloc[:40].assign(x=lambda d: d["x"] + offset)).add(
        frame.iloc[:40].assign(x=lambda d: d["x"] + offset)
    )
    same_fit(near.fit(), far.fit())


def test_sites_that_share_sums_only_get_the_pooled_fit(make_diary):
    frame = make_diary(30, 15)
    sites = [own for _, own in frame.groupby(frame["person"].factorize()[0] % 3)]
    federated = reduce(ModelState.__add__, [analysis.collect(FORMULA, site) for site in sites])
    same_fit(analysis.lmm(FORMULA, frame), federated.fit())


def test_a_state_begins_where_an_earlier_fit_ended(make_diary):
    frame = make_diary(30, 15)
    night = analysis.collect(FORMULA, frame[frame["day"] <= 14])
    before = night.fit()
    after = night.add(frame[frame["day"] > 14])
    warm, cold = after.fit(start=before), after.fit()
    assert warm.converged
    assert warm.fit.minimum.evaluations < cold.fit.minimum.evaluations
    same_fit(cold, warm, tolerance=1e-9)  # two roads to one optimum


def test_categories_and_transforms_are_those_of_the_first_rows(make_diary):
    frame = make_diary(20, 12)
    frame["arm"] = np.where(frame["person"] < "p010", "care", "wait")
    formula = "y ~ arm * day + I(x ** 2) + (1 | person)"
    early, late = frame[frame["day"] <= 6], frame[frame["day"] > 6]
    same_fit(analysis.lmm(formula, frame), analysis.collect(formula, early).add(late).fit())
    with pytest.raises(DesignError, match="level"):
        analysis.collect(formula, early).add(late.assign(arm="new"))


def test_what_is_known_of_the_rows_is_kept_and_what_needs_them_says_so(make_diary):
    frame = make_diary(20, 12)
    fit, of_state = analysis.lmm(FORMULA, frame), analysis.collect(FORMULA, frame).fit()
    pd.testing.assert_frame_equal(fit.tests(), of_state.tests())
    pd.testing.assert_frame_equal(fit.conditional_modes("person"), of_state.conditional_modes("person"))
    pd.testing.assert_series_equal(fit.icc(), of_state.icc())
    new = frame.iloc[:5]
    pd.testing.assert_series_equal(fit.predict(new), of_state.predict(new))
    with pytest.raises(SpecError, match="no rows"):
        of_state.predict()
    assert "Estimates" in str(of_state.summary())


def test_taking_away_what_is_not_there_is_refused_and_changes_nothing(make_diary):
    frame = make_diary(6, 12)
    state = analysis.collect(FORMULA, frame)
    kept = state.people.products.copy()
    with pytest.raises(DesignError, match="'p999'"):
        state.remove(frame.assign(person="p999"))
    with pytest.raises(DesignError, match="cannot be taken away"):
        state.remove(pd.concat([frame, frame], ignore_index=True))
    with pytest.raises(DesignError, match="nothing would be left"):
        state.remove(frame)
    with pytest.raises(SpecError, match="cannot join"):
        state + analysis.collect("y ~ day + (1 | person)", frame)
    with pytest.raises(SpecError, match="start="):
        analysis.collect("y ~ day + (1 | person)", frame).fit(start=state.fit())
    np.testing.assert_array_equal(state.people.products, kept)


def test_a_person_whose_sums_lost_digits_is_named(make_diary):
    frame = make_diary(6, 12)
    wrong = frame.iloc[[3]].assign(x=1e9 + 0.1)
    state = analysis.collect(FORMULA, pd.concat([frame, wrong], ignore_index=True))
    corrected = state.remove(wrong)
    assert corrected.people.worn == (wrong["person"].iloc[0],)
    assert any(str(wrong["person"].iloc[0]) in message for message in corrected.fit().messages)


def test_more_persons_than_one_core_takes_give_the_same_bits_on_any_number_of_cores(monkeypatch):
    rng = np.random.default_rng(3)
    people = np.repeat(np.arange(6000), 4)
    frame = pd.DataFrame({"person": people, "x": rng.normal(size=len(people))})
    frame["y"] = rng.normal(size=6000)[people] + frame["x"] + rng.normal(size=len(people))
    fit = analysis.lmm("y ~ x + (1 | person)", frame)
    assert len(Criterion(fit.fit.moments, True)._parts) > 1
    monkeypatch.setattr("analysis.linear.each", lambda work, parts: [work(i) for i in range(parts)])
    monkeypatch.setattr("analysis.state.each", lambda work, parts: [work(i) for i in range(parts)])
    alone = analysis.lmm("y ~ x + (1 | person)", frame)
    assert alone.log_likelihood == fit.log_likelihood
    np.testing.assert_array_equal(alone.fixed, fit.fixed)


def test_a_state_of_one_column_is_that_column(make_diary):
    people: PersonState = analysis.collect(FORMULA, make_diary(6, 12)).people
    alone = people.column("x")
    j = people.names.index("x")
    np.testing.assert_array_equal(alone.scatter[:, 0, 0], people.scatter[:, j, j])
    np.testing.assert_array_equal(alone.means("x"), people.means("x"))


def test_columns_made_of_a_persons_other_rows_take_whole_persons_only(make_diary):
    frame = make_diary(20, 12)
    frame["day"], frame["prompt"] = (frame["day"] + 2) // 3, (frame["day"] + 2) % 3
    arguments = {"day": "day", "prompt": "prompt"}
    for formula in (
        "y ~ within(x) * day + (1 | person)",
        "y ~ within_day(x) + between_days(x) + (1 | person)",
        "y ~ within(x) + lag(x) + (1 | person)",
    ):
        some = analysis.collect(formula, frame[frame["person"] < "p010"], **arguments)
        fit = analysis.lmm(formula, frame, **arguments)
        same_fit(fit, some.add(frame[frame["person"] >= "p010"]).fit())
        same_fit(fit, (some + analysis.collect(formula, frame[frame["person"] >= "p010"], **arguments)).fit())
        same_fit(some.fit(), some.add(frame[frame["person"] >= "p010"]).remove(frame[frame["person"] >= "p010"]).fit())
        with pytest.raises(SpecError, match="whole persons only"):
            some.add(frame.iloc[:3])
        with pytest.raises(SpecError, match="whole persons only"):
            some.remove(frame.iloc[:3])
    with pytest.raises(SpecError, match="mean over all persons"):
        analysis.collect("y ~ between(x) * day + (1 | person)", frame[frame["person"] < "p010"]).add(frame)
