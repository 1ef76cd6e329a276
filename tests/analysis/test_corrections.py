"""Nickell's and Lüdtke's biases: the formulas against simulation and METHODS' tables, the corrections against truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import DesignError, SpecError
from analysis.corrections import (
    corrected_between,
    half_panel_jackknife,
    latent_between,
    nickell_bias,
    nickell_corrected,
    observed_between,
    reliability_of_mean,
)

WITHIN, BETWEEN, SHARE = 0.2, 0.8, 0.30
"""METHODS §2.5: the true effects, and the predictor's share of variance between persons."""
PAIR = "y ~ within(x) + between(x) + (1 | id)"
MONTE_CARLO = 4.0
"""Standard errors that a simulated figure may miss by: one seed in 16,000 would."""


# ---------------------------------------------------------------------- Nickell


def series(persons: int, transitions: int, phi: float, seed: int) -> np.ndarray:
    """(persons, transitions + 1) stationary series with levels of their own."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(persons, transitions + 1))
    y[:, 0] /= np.sqrt(1.0 - phi**2)
    for t in range(1, transitions + 1):
        y[:, t] += phi * y[:, t - 1]
    return y + rng.normal(size=(persons, 1))


def slope(y: np.ndarray) -> float:
    """Inertia with person-mean centring: the pooled within slope on the lag."""
    before = y[:, :-1] - y[:, :-1].mean(axis=1, keepdims=True)
    return float((before * y[:, 1:]).sum() / (before**2).sum())


@pytest.mark.parametrize(("transitions", "published"), [(10, -0.135), (20, -0.066), (50, -0.026), (100, -0.013)])
def test_nickells_formula_gives_methods_table_and_a_simulation_agrees(transitions, published):
    bias = nickell_bias(0.3, transitions)
    assert bias == pytest.approx(published, abs=5e-4)  # three digits are printed
    persons = 200_000 // transitions
    error = 1.0 / np.sqrt(persons * transitions)  # of a pooled autoregression, √(1 − φ²) at most
    assert slope(series(persons, transitions, 0.3, seed=7)) - 0.3 == pytest.approx(bias, abs=MONTE_CARLO * error)


def test_nickells_bias_is_the_published_expression_and_reaches_the_unit_root():
    for transitions in (2, 3, 10, 45):
        for phi in (-0.9, -0.3, 0.0, 0.5, 0.95):
            part = 1.0 - (1.0 - phi**transitions) / (transitions * (1.0 - phi))
            rest = 1.0 - 2.0 * phi / ((1.0 - phi) * (transitions - 1.0)) * part
            published = -(1.0 + phi) / (transitions - 1.0) * part / rest
            assert nickell_bias(phi, transitions) == pytest.approx(published, rel=1e-9)  # its own cancellation
        assert nickell_bias(1.0, transitions) == pytest.approx(-3.0 / (transitions + 1.0), rel=1e-12)


@pytest.mark.parametrize(("phi", "transitions"), [(1.01, 10), (-1.0, 10), (0.3, 1)])
def test_nickells_bias_refuses_what_it_does_not_hold_for(phi, transitions):
    with pytest.raises(SpecError, match="Nickell"):
        nickell_bias(phi, transitions)


def test_the_analytic_correction_inverts_the_bias():
    for transitions in (3, 10, 45):
        for phi in (-0.6, 0.0, 0.3, 0.9):
            estimate = phi + nickell_bias(phi, transitions)
            assert nickell_corrected(estimate, transitions) == pytest.approx(phi, abs=1e-9)  # the solver's tolerance
    assert np.isnan(nickell_corrected(0.95, 10))  # no stationary series would give so much


@pytest.mark.parametrize(("transitions", "left"), [(10, 0.01), (20, 0.004)])
def test_both_corrections_leave_little_bias(transitions, left):
    """METHODS: the half-panel jackknife leaves .007 at T = 10 and .003 at T = 20; the analytic one leaves nothing."""
    y = series(400_000 // transitions, transitions, 0.3, seed=11)
    error = MONTE_CARLO / np.sqrt(400_000)
    half = transitions // 2
    jackknifed = half_panel_jackknife(slope(y), slope(y[:, : half + 1]), slope(y[:, half:]))
    assert abs(jackknifed - 0.3) < left + 2.0 * error  # three estimates, weighted 2, ½, ½
    assert nickell_corrected(slope(y), transitions) == pytest.approx(0.3, abs=1.5 * error)  # the inverse is steeper


def diary(transitions: int) -> pd.DataFrame:
    y = series(60, transitions, 0.3, seed=5)
    person, beep = (index.ravel() for index in np.indices(y.shape))
    return pd.DataFrame({"id": person, "day": 1, "beep": beep, "y": y.ravel()})


def test_a_lagged_outcome_over_few_transitions_says_which_bias_to_expect():
    fit = analysis.lmm("y ~ lag(within(y)) + (1 | id)", diary(10), day="day", prompt="beep")
    (message,) = fit.messages
    expected = nickell_bias(fit.fixed.loc["lag(within(y))", "estimate"], 10)
    assert "median of 10 transitions" in message
    assert f"−{-expected:.3f}" in message
    raw = analysis.lmm("y ~ lag(y) + (1 | id)", diary(10), day="day", prompt="beep")
    assert any("random intercepts" in message and "Nickell" in message for message in raw.messages)


def test_a_lagged_outcome_over_many_transitions_and_a_lagged_predictor_say_nothing():
    long = analysis.lmm("y ~ lag(within(y)) + (1 | id)", diary(60), day="day", prompt="beep")
    frame = diary(10).assign(x=np.random.default_rng(1).normal(size=660))
    predictor = analysis.lmm("y ~ lag(x) + (1 | id)", frame, day="day", prompt="beep")
    assert long.messages == predictor.messages == []


def test_a_lagged_event_is_flagged_without_a_figure_that_does_not_hold_for_it():
    frame = diary(10).assign(y=lambda d: (d["y"] > 0.0).astype(float))
    fit = analysis.glmm("y ~ lag(y) + (1 | id)", frame, day="day", prompt="beep")
    assert any("do not read it as inertia" in message for message in fit.messages)


# ---------------------------------------------------------------------- Lüdtke


def sampled_means(persons: int, rows: int, seed: int, *, missed: float = 0.0) -> pd.DataFrame:
    """y depends on usual levels, of which a person's mean of x is a sample."""
    rng = np.random.default_rng(seed)
    usual = np.sqrt(SHARE) * rng.normal(size=persons)
    person = np.repeat(np.arange(persons), rows)
    moment = np.sqrt(1.0 - SHARE) * rng.normal(size=len(person))
    y = BETWEEN * usual[person] + WITHIN * moment + 0.3 * rng.normal(size=persons)[person]
    frame = pd.DataFrame({"id": person, "x": 5.0 + usual[person] + moment, "y": y + rng.normal(size=len(person))})
    return frame[rng.random(len(frame)) >= missed]


def corrected(frame: pd.DataFrame, formula: str = PAIR):
    fit = analysis.lmm(formula, frame)
    return latent_between(fit.design, fit.state, fit.fit, "x")


@pytest.mark.parametrize(("rows", "published"), [(5, 0.6091), (10, 0.6865), (30, 0.7567)])
def test_the_observed_between_effect_has_methods_limit(rows, published):
    reliability = float(reliability_of_mean(SHARE, 1.0 - SHARE, rows))
    assert observed_between(WITHIN, BETWEEN, reliability) == pytest.approx(published, abs=5e-5)  # digits printed
    assert corrected_between(WITHIN, published, reliability) == pytest.approx(BETWEEN, abs=1e-4)


@pytest.mark.parametrize(("rows", "published"), [(5, 0.6091), (10, 0.6865), (30, 0.7567)])
def test_a_simulation_shows_the_bias_and_the_correction_takes_it_away(rows, published):
    found = corrected(sampled_means(20_000, rows, seed=rows))
    between = found.table.loc["between(x)"]
    assert between["observed"] == pytest.approx(published, abs=MONTE_CARLO * between["observed_se"])
    assert between["corrected"] == pytest.approx(BETWEEN, abs=MONTE_CARLO * between["corrected_se"])
    assert found.reliability == pytest.approx(SHARE / (SHARE + (1.0 - SHARE) / rows), abs=0.01)


def test_with_equal_numbers_of_rows_calibration_is_the_formula():
    found = corrected(sampled_means(150, 6, seed=3))
    table, reliability = found.table, found.reliability
    expected = corrected_between(*table["observed"].iloc[:2], reliability)
    assert table.loc["between(x)", "corrected"] == pytest.approx(expected, rel=1e-6)  # both are exact; REML's tolerance
    assert table.loc["contextual", "corrected"] == pytest.approx(
        table.loc["contextual", "observed"] / reliability, rel=1e-6
    )
    assert table.loc["within(x)", "corrected"] == pytest.approx(table.loc["within(x)", "observed"], rel=1e-6)


def test_the_uncertainty_of_the_reliability_is_methods_and_enters_the_standard_error():
    persons, rows = 150, 6
    found = corrected(sampled_means(persons, rows, seed=3))
    levels, share = found.levels, found.reliability
    slope = share * (1.0 - share) * np.array([1.0 / levels.between, -1.0 / levels.within])
    of_reliability = 2.0 * (1.0 - share) ** 2 * (1.0 / (persons - 1) + 1.0 / (persons * rows - persons))
    assert slope @ levels.uncertainty[1:, 1:] @ slope == pytest.approx(of_reliability, rel=1e-6)  # REML's own tolerance
    table = found.table["observed"]
    naive = found.table.loc["contextual", "observed_se"] / share
    expected = np.sqrt(naive**2 + (table["contextual"] / share**2) ** 2 * of_reliability)
    assert found.table.loc["contextual", "corrected_se"] == pytest.approx(expected, rel=0.01)  # a secant for a slope
    assert expected > 1.04 * naive


def test_the_standard_error_is_the_spread_over_studies():
    studies = 50
    tables = [corrected(sampled_means(80, 6, seed=100 + k, missed=0.25)).table for k in range(studies)]
    for term, truth in (("between(x)", BETWEEN), ("contextual", BETWEEN - WITHIN)):
        estimates = np.array([table.loc[term, "corrected"] for table in tables])
        reported = np.array([table.loc[term, "corrected_se"] for table in tables])
        spread = estimates.std(ddof=1)
        assert estimates.mean() == pytest.approx(truth, abs=MONTE_CARLO * spread / np.sqrt(studies))
        assert np.sqrt((reported**2).mean()) == pytest.approx(spread, rel=0.30)  # an SD of 50 draws: three times 10 %
        covered = np.mean([table.loc[term, "lower"] < truth < table.loc[term, "upper"] for table in tables])
        assert covered >= 0.86  # three times the binomial .031 below .95


def test_a_model_fitted_from_a_state_is_corrected_without_its_rows():
    frame = sampled_means(60, 6, seed=4, missed=0.2)
    fit = analysis.collect(PAIR, frame).fit()
    assert not fit.design.has_rows
    table = latent_between(fit.design, fit.state, fit.fit, "x").table
    pd.testing.assert_frame_equal(table, corrected(frame).table)


def test_a_random_slope_and_another_predictor_may_be_in_the_model():
    frame = sampled_means(400, 6, seed=8, missed=0.2)
    frame = frame.assign(z=np.random.default_rng(0).normal(size=len(frame)))
    found = corrected(frame, "y ~ within(x) + between(x) + z + (1 + within(x) | id)").table
    for term, truth in (("within(x)", WITHIN), ("between(x)", BETWEEN), ("contextual", BETWEEN - WITHIN)):
        assert abs(found.loc[term, "corrected"] - truth) < MONTE_CARLO * found.loc[term, "corrected_se"]


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ within(x) + (1 | id)", r"no fixed effect 'between\(x\)'"),
        ("y ~ within(x)*z + between(x) + (1 | id)", r"the term 'within\(x\):z'"),
        ("y ~ x + (1 | id)", r"no fixed effect 'within\(x\)'"),
    ],
)
def test_a_model_without_both_parts_on_their_own_is_refused(formula, words):
    with pytest.raises(SpecError, match=words):
        corrected(sampled_means(20, 6, seed=1).assign(z=lambda d: d["y"] ** 2), formula)


def test_person_means_that_differ_by_chance_alone_are_refused():
    frame = sampled_means(30, 6, seed=2)
    frame["x"] = np.tile([1.0, 2.0, 3.0, 4.0, 5.0, 6.1], 30) + 1e-3 * frame["id"]
    with pytest.raises(DesignError, match="'x' differ no more than by chance"):
        corrected(frame)
