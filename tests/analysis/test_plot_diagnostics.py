"""`fit.plot_diagnostics()`: residuals, quantiles and memory that are what they say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert
from scipy import stats

import analysis
from analysis.errors import SpecError
from analysis.plots import residuals


def test_residuals_are_outcome_less_prediction_with_the_persons_own_part(sleepstudy: pd.DataFrame) -> None:
    frame = sleepstudy.sample(frac=1.0, random_state=1)
    fit = analysis.lmm("Reaction ~ Days + (1 + Days | Subject)", frame)
    rows = residuals.residual_rows(fit).set_index(fit.design.index)
    expected = frame["Reaction"] - fit.predict()
    pd.testing.assert_series_equal(rows["residual"].loc[frame.index], expected, check_names=False)
    assert rows["standard"].abs().max() == pytest.approx(expected.abs().max() / fit.residual_sd)


def test_a_binary_outcomes_residuals_are_pearsons_by_the_number_of_trials(cbpp: pd.DataFrame) -> None:
    fit = analysis.glmm("prop ~ period + (1 | herd)", cbpp, weights="size")
    rows = residuals.residual_rows(fit)
    p = fit.predict().to_numpy()
    expected = (cbpp["prop"] - p) / np.sqrt(p * (1 - p) / cbpp["size"])
    np.testing.assert_allclose(np.sort(rows["standard"]), np.sort(expected))


def test_without_rows_the_refusal_says_what_to_do(make_diary: Any) -> None:
    fit = analysis.collect("y ~ x + (1 | person)", make_diary()).fit()
    with pytest.raises(SpecError, match=r"needs the rows.*lmm\(formula, frame\)"):
        fit.plot_diagnostics()


def test_the_band_of_a_quantile_holds_normal_values_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    inside = [residuals.quantiles(rng.standard_normal(60)).eval("lower <= value <= upper").mean() for _ in range(400)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.01)  # 24,000 values that hang together: SE about 0.003


def test_many_values_keep_both_tails_whole() -> None:
    values = np.random.default_rng(1).standard_normal(5_000)
    frame = residuals.quantiles(values)
    assert len(frame) <= residuals.QUANTILES
    np.testing.assert_array_equal(frame["value"].tail(residuals.TAIL), np.sort(values)[-residuals.TAIL :])
    assert frame["normal"].iloc[-1] == pytest.approx(stats.norm.ppf(4999.625 / 5000.25))


def test_memory_of_residuals_is_recovered_and_never_crosses_persons() -> None:
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((200, 50))
    for t in range(1, 50):
        noise[:, t] = 0.5 * noise[:, t - 1] + np.sqrt(0.75) * noise[:, t]
    person = np.repeat(np.arange(200), 50)
    memory = residuals.autocorrelation(person, noise.ravel())
    assert memory["r"].head(3).to_numpy() == pytest.approx([0.5, 0.25, 0.125], abs=0.04)  # SE about 0.013
    assert memory["pairs"].tolist() == [200 * (50 - lag) for lag in range(1, 11)]
    alone = residuals.autocorrelation(np.arange(100), rng.standard_normal(100))
    assert alone.empty


def test_bins_hold_every_row_once() -> None:
    x = np.arange(1_000.0)
    frame = residuals.binned(x, 2.0 * x)
    assert frame["n"].sum() == 1_000
    np.testing.assert_allclose(frame["y"], 2.0 * frame["x"])


@pytest.mark.parametrize("binary", [False, True])
def test_charts_render_and_say_what_was_found(binary: bool, make_diary: Any) -> None:
    frame = make_diary(event=binary)
    formula = "y ~ within(x) + between(x) + (1 + within(x) | person)"
    fit = analysis.glmm(formula, frame) if binary else analysis.lmm(formula, frame)
    spec = fit.plot_diagnostics().to_dict()
    words = json.dumps(spec, ensure_ascii=False)
    assert "Fit sound: yes" in words
    assert f"{fit.n_obs} rows of 30 people" in words
    assert vl_convert.vegalite_to_png(spec, scale=0.5)[1:4] == b"PNG"


def test_above_5000_rows_a_sample_over_all_persons_is_drawn_and_the_chart_says_so(make_diary: Any) -> None:
    frame = make_diary(150, 60)
    fit = analysis.lmm("y ~ x + (1 | person)", frame)
    assert f"3,000 of {len(frame):,} rows drawn, evenly over people." in json.dumps(fit.plot_diagnostics().to_dict())
    rows = residuals.residual_rows(fit)
    taken = residuals.sample_of(rows).groupby("person").size() / rows.groupby("person").size()
    assert taken.to_numpy() == pytest.approx(np.full(150, 3_000 / len(frame)), abs=0.06)  # one row of 30
