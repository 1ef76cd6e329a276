"""AR1 and CAR1 residuals beside nested grouping factors: against nlme, a dense likelihood, and differences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.errors import SpecError
from analysis.serial_factors import JointRows

FORMULA = "y ~ x + (1 + x | id) + (1 | id:day)"
AR1 = analysis.AR1("beep", within="id:day")


@pytest.fixture(scope="module")
def diary() -> pd.DataFrame:
    """40 people, 8 days, 6 prompts of which four in five are answered; residuals of a day correlate by .5 a prompt."""
    rng, rows = np.random.default_rng(5), []
    for person in range(40):
        level, slope = rng.normal(), 0.3 * rng.normal()
        for day in range(8):
            here, noise = 0.6 * rng.normal(), 0.0
            for beep in range(6):
                noise = (0.5 * noise + rng.normal() * np.sqrt(0.75)) if beep else rng.normal()
                if rng.random() < 0.8:
                    x = rng.normal()
                    rows.append((person, day, beep, x, 2.0 + 0.5 * x + level + slope * x + here + noise))
    return pd.DataFrame(rows, columns=["id", "day", "beep", "x", "y"])


def test_it_agrees_with_nlme(diary):
    """nlme 3.1-162: lme(y ~ x, d, random = list(id = ~ x, day = ~ 1), correlation = corAR1(form = ~ beep | id/day))."""
    fit = analysis.lmm(FORMULA, diary, residual=AR1)
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(-2214.3215318, abs=1e-6)
    np.testing.assert_allclose(fit.fixed["estimate"], [2.048196, 0.410189], atol=1e-6)
    np.testing.assert_allclose(fit.fixed["se"], [0.14184506, 0.04662276], rtol=1e-4)
    np.testing.assert_allclose(np.diag(fit.random["id"]), [0.70366102, 0.06658993], rtol=2e-4)
    assert fit.random["id:day"].iloc[0, 0] == pytest.approx(0.33625493, rel=2e-4)
    assert fit.residual_correlation == pytest.approx(0.5395291, abs=1e-5)
    assert fit.serial_test()["p_value"] < 1e-30
    assert "random = list(id = ~ 1+x, day = ~ 1)" in fit.to_r()
    assert "corAR1(form = ~ beep | id/day)" in fit.to_r()
    assert "correlation of residuals" in str(fit.summary())


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("residual", [AR1, analysis.CAR1("hours", within="id:day")])
def test_its_likelihood_is_that_of_the_dense_covariance(diary, reml, residual):
    frame = diary.head(400).assign(hours=lambda d: d["beep"] * 2.5 + d["id"] % 3 * 0.1 * d["beep"] ** 2)
    fit = analysis.lmm(FORMULA, frame, reml=reml, residual=residual)
    time = frame[residual.time].to_numpy(float)
    same = (frame["id"].to_numpy()[:, None] == frame["id"].to_numpy()) & (
        frame["day"].to_numpy()[:, None] == frame["day"].to_numpy()
    )
    person = frame["id"].to_numpy()[:, None] == frame["id"].to_numpy()
    x = np.column_stack([np.ones(len(frame)), frame["x"]])
    g = fit.random["id"].to_numpy()
    v = np.where(person, x @ g @ x.T, 0.0) + np.where(same, fit.random["id:day"].iloc[0, 0], 0.0)
    v += np.where(same, fit.residual_sd**2 * fit.residual_correlation ** np.abs(time[:, None] - time), 0.0)
    inverse = np.linalg.inv(v)
    information = x.T @ inverse @ x
    left = frame["y"].to_numpy() - x @ np.linalg.solve(information, x.T @ inverse @ frame["y"].to_numpy())
    free = len(frame) - 2 * reml
    deviance = np.linalg.slogdet(v)[1] + left @ inverse @ left + free * np.log(2.0 * np.pi)
    deviance += np.linalg.slogdet(information)[1] if reml else 0.0
    assert fit.log_likelihood == pytest.approx(-0.5 * deviance, abs=1e-7)


@pytest.mark.parametrize("reml", [True, False])
def test_its_gradient_is_that_of_its_value(diary, reml, monkeypatch):
    seen: list[JointRows] = []
    start = JointRows.__init__
    monkeypatch.setattr(JointRows, "__init__", lambda self, *a: (start(self, *a), seen.append(self))[0])
    analysis.lmm(FORMULA, diary.head(400), reml=reml, residual=AR1)
    joint, point = seen[0], np.array([0.3, 0.7, 0.1, 0.2, 0.4])
    gradient = joint._evaluate(point)[1]
    for k in range(len(point)):
        step = np.zeros(len(point))
        step[k] = 1e-5
        slope = (joint._evaluate(point + step)[0] - joint._evaluate(point - step)[0]) / 2e-5
        assert gradient[k] == pytest.approx(slope, rel=1e-6, abs=1e-5)


def test_the_order_of_the_rows_does_not_matter(diary):
    shuffled = diary.sample(frac=1.0, random_state=3)
    one, other = (analysis.lmm(FORMULA, frame, residual=AR1) for frame in (diary, shuffled))
    assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-8)
    pd.testing.assert_frame_equal(one.fixed, other.fixed, rtol=1e-6)


def test_a_series_that_spans_days_is_refused_where_days_are_a_factor(diary):
    frame = diary.assign(prompt=diary["day"] * 6 + diary["beep"])
    with pytest.raises(SpecError, match=r"spans the levels '0:0' and '0:1' of 'id:day'.*within='id:day'"):
        analysis.lmm(FORMULA, frame, residual=analysis.AR1("prompt", within="id"))


@pytest.mark.parametrize("method", ["profile", "bootstrap"])
def test_intervals_that_would_hold_phi_are_refused(diary, method):
    fit = analysis.lmm(FORMULA, diary.head(400), residual=AR1)
    assert (fit.confint()["upper"] > fit.confint()["lower"]).all()
    with pytest.raises(SpecError, match="not available; method='wald' is"):
        fit.confint(method=method)
