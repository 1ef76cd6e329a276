from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

import analysis
from analysis import DesignError, SpecError

SLOPES = "y ~ within(x) + between(x) + day + (1 + within(x) | person)"


def henderson(fit) -> tuple[np.ndarray, np.ndarray]:
    """Solution of Henderson's mixed model equations for (β, b), and its error covariance, with everything dense."""
    design, g = fit.design, fit.random[fit.design.factor].to_numpy()
    x, own = design.matrix(design.fixed), design.matrix(design.random)
    q, persons = own.shape[1], design.n_persons
    z = np.zeros((design.n_obs, q * persons))
    for i in range(persons):
        rows = slice(design.starts[i], design.starts[i + 1])
        z[rows, i * q : (i + 1) * q] = own[rows]
    w = np.hstack([x, z]) / fit.residual_sd
    left = w.T @ w
    left[x.shape[1] :, x.shape[1] :] += np.kron(np.eye(persons), np.linalg.inv(g))
    covariance = np.linalg.inv(left)
    return covariance @ (w.T @ design.outcome / fit.residual_sd), covariance


def test_modes_and_prediction_errors_solve_hendersons_equations(make_diary):
    fit = analysis.lmm(SLOPES, make_diary(15, 10))
    solution, covariance = henderson(fit)
    p = len(fit.fixed)
    np.testing.assert_allclose(fit.fixed["estimate"], solution[:p], rtol=1e-8)
    np.testing.assert_allclose(fit.conditional_modes("person").to_numpy().ravel(), solution[p:], atol=1e-8)
    design = fit.design
    rows = np.hstack([design.matrix(design.fixed), np.zeros((design.n_obs, len(solution) - p))])
    own = design.matrix(design.random)
    person = np.repeat(np.arange(design.n_persons), np.diff(design.starts))
    for j in range(own.shape[1]):
        rows[np.arange(design.n_obs), p + person * own.shape[1] + j] = own[:, j]
    expected = np.sqrt(np.einsum("ij,jk,ik->i", rows, covariance, rows))
    found = fit.predict(se=True)
    order = np.argsort(design.positions)
    np.testing.assert_allclose(found["se"], expected[order], rtol=1e-7)
    np.testing.assert_allclose(found["estimate"], (rows @ solution)[order], rtol=1e-8)


def test_conditional_sd_is_the_spread_given_the_data(make_diary):
    fit = analysis.lmm("y ~ x + (1 | person)", make_diary(10, 12))
    g, sigma = fit.random["person"].to_numpy()[0, 0], fit.residual_sd
    n = fit.state.n
    np.testing.assert_allclose(fit.conditional_sd()["Intercept"], np.sqrt(1.0 / (1.0 / g + n / sigma**2)), rtol=1e-10)


@pytest.mark.parametrize("event", [False, True])
def test_predictions_stand_on_the_frames_rows_and_equal_those_for_the_same_new_rows(make_diary, event):
    frame = make_diary(12, 10, event=event).sample(frac=1.0, random_state=1)
    frame.iloc[2, frame.columns.get_loc("y")] = np.nan
    fit = (analysis.glmm if event else analysis.lmm)(SLOPES, frame)
    used = frame.dropna()
    assert fit.predict().index.equals(used.index)
    for random in (True, False):
        own, new = (fit.predict(data, random=random, se=True) for data in (None, used))
        np.testing.assert_allclose(new, own, rtol=1e-10)


def test_new_rows_of_a_known_person_do_not_move_that_persons_mean(make_diary):
    fit = analysis.lmm(SLOPES, make_diary(12, 10))
    one = pd.DataFrame({"person": ["p003"], "x": [9.0], "day": [1]})
    two = pd.DataFrame({"person": ["p003"] * 2, "x": [9.0, -3.0], "day": [1, 2]})
    assert fit.predict(one).iloc[0] == pytest.approx(fit.predict(two).iloc[0], rel=1e-14)  # sums of another length


def test_splits_may_be_given_for_people_who_are_not_in_the_model(make_diary):
    fit = analysis.lmm(SLOPES, make_diary(12, 10))
    rows = pd.DataFrame({"within(x)": [0.0, 1.0], "between(x)": 0.5, "day": 3, "person": "new"})
    beta = fit.fixed["estimate"]
    expected = beta["Intercept"] + beta["between(x)"] * 0.5 + beta["day"] * 3 + beta["within(x)"] * np.array([0.0, 1.0])
    np.testing.assert_allclose(fit.predict(rows), expected)
    np.testing.assert_allclose(fit.predict(rows.drop(columns="person"), random=False), expected)
    assert (fit.predict(rows, se=True)["se"] > fit.predict(rows, random=False, se=True)["se"]).all()


def test_the_response_scale_of_a_logistic_model_is_a_probability(make_diary):
    fit = analysis.glmm("y ~ x + (1 | person)", make_diary(event=True))
    link, response = fit.predict(scale="link", se=True), fit.predict(se=True)
    np.testing.assert_allclose(response["estimate"], expit(link["estimate"]))
    p = response["estimate"]
    np.testing.assert_allclose(response["se"], p * (1 - p) * link["se"])


def test_a_new_group_has_the_published_spread(sleepstudy):
    """lme4's estimates put into METHODS §2.10."""
    row = (
        analysis.lmm("Reaction ~ Days + (Days | Subject)", sleepstudy)
        .predict_new_group(pd.DataFrame({"Days": [0]}))
        .iloc[0]
    )
    assert row["sd_between"] == pytest.approx(24.74045, rel=1e-4)
    assert row["sd_total"] == pytest.approx(35.59538, rel=1e-4)
    assert row["sd_predictive"] == pytest.approx(36.24370, rel=1e-4)
    assert row[["q025", "q50", "q975"]].tolist() == pytest.approx([181.6394, 251.4051, 321.1708], abs=1e-2)


def test_the_probability_of_a_new_group_is_averaged_over_groups(cbpp):
    fit = analysis.glmm("prop ~ period + (1 | herd)", cbpp, weights="size")
    row = fit.predict_new_group(pd.DataFrame({"period": ["1"]})).iloc[0]
    draws = expit(
        fit.fixed.loc["Intercept", "estimate"] + row["sd_between"] * np.random.default_rng(0).normal(size=400_000)
    )
    assert row["mean_marginal"] == pytest.approx(draws.mean(), abs=4 * draws.std() / np.sqrt(len(draws)))
    assert row["sd_of_group_mean"] == pytest.approx(draws.std(), abs=5e-4)
    assert row["q975"] == pytest.approx(np.quantile(draws, 0.975), abs=3e-3)
    assert row["mean_at_zero_effect"] == row["q50"] < row["mean_marginal"]


@pytest.mark.parametrize(
    ("rows", "random", "error", "words"),
    [
        ({"x": [1.0], "day": [1]}, True, SpecError, "'person'"),
        ({"person": ["p001"], "x": [1.0]}, True, SpecError, "'day'"),
        ({"person": ["p001"], "day": [1]}, True, SpecError, "neither"),
        ({"person": ["who"], "x": [1.0], "day": [1]}, True, DesignError, "no mean of 'x'"),
    ],
)
def test_incomplete_new_rows_are_refused(make_diary, rows, random, error, words):
    fit = analysis.lmm(SLOPES, make_diary(12, 10))
    with pytest.raises(error, match=words):
        fit.predict(pd.DataFrame(rows), random=random)


def test_a_level_not_seen_before_is_refused(make_diary):
    frame = make_diary(12, 10).assign(arm=lambda d: np.where(d["person"] < "p006", "a", "b"))
    fit = analysis.lmm("y ~ x * arm + (1 | person)", frame)
    with pytest.raises(DesignError, match="not seen"):
        fit.predict(pd.DataFrame({"x": [1.0], "arm": ["c"]}), random=False)


def test_degrees_of_freedom_of_one_new_outcome_are_those_of_the_classical_two_parts():
    """Balanced, N persons of n rows: the predictive variance is (1 + 1/N)·MSB/n + (1 − 1/n)·MSW, of independent parts."""
    rng = np.random.default_rng(3)
    persons, rows = 9, 5
    frame = pd.DataFrame({"id": np.repeat(np.arange(persons), rows)})
    frame["y"] = 2.0 * rng.normal(size=persons)[frame["id"]] + rng.normal(size=len(frame))
    fit = analysis.lmm("y ~ 1 + (1 | id)", frame)
    means = frame.groupby("id")["y"].mean()
    between = rows * means.var(ddof=1)
    within = ((frame["y"] - means[frame["id"]].to_numpy()) ** 2).sum() / (persons * (rows - 1))
    parts = np.array([between / rows * (1.0 + 1.0 / persons), within * (1.0 - 1.0 / rows)])
    df = parts.sum() ** 2 / (parts**2 / np.array([persons - 1, persons * (rows - 1)])).sum()
    row = fit.predict_new_group(pd.DataFrame({"none": [0]}), uncertainty=True).iloc[0]
    assert row["sd_predictive"] == pytest.approx(np.sqrt(parts.sum()), rel=1e-7)
    assert row["q975"] - row["mean"] == pytest.approx(stats.t.ppf(0.975, df) * np.sqrt(parts.sum()), rel=1e-6)
    assert row["q50"] == row["mean"]


def test_uncertainty_moves_the_quantiles_alone(make_diary):
    fit = analysis.lmm("y ~ x + day + (1 + x | person)", make_diary(14, 10))
    rows = pd.DataFrame({"x": [0.0, 2.0], "day": [1, 9]})
    known, uncertain = (fit.predict_new_group(rows, uncertainty=flag) for flag in (False, True))
    same = ["mean", "sd_between", "sd_total", "sd_predictive"]
    pd.testing.assert_frame_equal(uncertain[same], known[same])
    assert (uncertain["q025"] < known["q025"]).all()
    assert (uncertain["q975"] > known["q975"]).all()


def test_with_few_persons_the_uncertain_interval_covers_a_new_person_more_nearly():
    """10 persons of 6 rows, 300 studies: how often an interval of 95 % holds the outcome of one more person."""
    rng = np.random.default_rng(12)
    persons, rows, studies = 10, 6, 300
    person = np.repeat(np.arange(persons), rows)
    x = np.tile(np.arange(rows) - 2.5, persons)
    covered = {False: 0.0, True: 0.0}
    for _ in range(studies):
        own = rng.normal(size=(persons, 2)) * (1.0, 0.5)
        y = own[person, 0] + (0.3 + own[person, 1]) * x + rng.normal(size=len(x)) * 0.7
        fit = analysis.lmm("y ~ x + (1 + x | person)", pd.DataFrame({"person": person, "x": x, "y": y}))
        truth = stats.norm(0.3 * 1.5, np.sqrt(1.0 + 0.25 * 1.5**2 + 0.49))
        for flag in covered:
            row = fit.predict_new_group(pd.DataFrame({"x": [1.5]}), uncertainty=flag).iloc[0]
            covered[flag] += (truth.cdf(row["q975"]) - truth.cdf(row["q025"])) / studies
    assert covered[False] < 0.93
    assert covered[True] == pytest.approx(0.95, abs=0.01)  # mean coverage: SE below 0.003 with 300 studies
