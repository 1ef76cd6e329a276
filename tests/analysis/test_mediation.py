"""`analysis.mediate`: the stacked likelihood against dense algebra and nlme, the paths against a simulated truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert
from scipy.linalg import helmert

import analysis
from analysis.errors import DesignError, SpecError
from analysis.paths import Stacked, deviance, fit_paths
from analysis.stacking import stack
from tests.analysis.golden import FOLDER

TRUTH = {"a": 0.4, "b": 0.5, "direct": 0.2, "cov_ab": 0.06}
INDIRECT = TRUTH["a"] * TRUTH["b"] + TRUTH["cov_ab"]
NLME = 5e-5
"""Both stop near one optimum; log-likelihoods agree to 1e-6, and variances to the square root of what that leaves open."""


def diary(persons: int = 40, rows: int = 15, seed: int = 0) -> pd.DataFrame:
    """Own paths with covariances; residual SDs 1 and 2; levels of x, m and y that differ between persons."""
    rng = np.random.default_rng(seed)
    spread = np.array([[0.16, TRUTH["cov_ab"], 0.0], [TRUTH["cov_ab"], 0.16, 0.0], [0.0, 0.0, 0.09]])
    own = rng.multivariate_normal([TRUTH["a"], TRUTH["b"], TRUTH["direct"]], spread, persons)
    code = np.repeat(np.arange(persons), rows)
    x = rng.normal(size=persons)[code] + rng.normal(size=len(code))
    m = own[code, 0] * x + 2 * rng.normal(size=persons)[code] + rng.normal(size=len(code))
    y = own[code, 1] * m + own[code, 2] * x + rng.normal(size=persons)[code] + 2 * rng.normal(size=len(code))
    day, prompt = np.divmod(np.tile(np.arange(rows), persons), 5)
    return pd.DataFrame({"person": code, "day": day, "prompt": prompt, "x": x, "m": m, "y": y})


def stacked(frame: pd.DataFrame) -> Stacked:
    values = {name: frame[name].to_numpy() for name in "xmy"}
    return stack(frame, values, pd.factorize(frame["person"])[0], ("x", "m", "y"), [], None)[0]


def dense_deviance(frame: pd.DataFrame, g: np.ndarray, sigma_m: float, sigma_y: float) -> float:
    """−2 restricted log-likelihood of both equations' orthonormal within-person contrasts, from full matrices."""
    logs, information, moment, square, n = 0.0, np.zeros((3, 3)), np.zeros(3), 0.0, 0
    for _, own in frame.groupby("person"):
        contrast = helmert(len(own))
        x, m, y = (contrast @ own[name].to_numpy() for name in "xmy")
        nothing = np.zeros_like(x)
        design = np.vstack([np.column_stack([x, nothing, nothing]), np.column_stack([nothing, m, x])])
        outcome = np.concatenate([m, y])
        v = design @ g @ design.T + np.diag(np.repeat([sigma_m**2, sigma_y**2], len(x)))
        solved = np.linalg.solve(v, np.column_stack([design, outcome]))
        logs += np.linalg.slogdet(v)[1]
        information += design.T @ solved[:, :3]
        moment += design.T @ solved[:, 3]
        square += outcome @ solved[:, 3]
        n += len(outcome)
    rss = square - moment @ np.linalg.solve(information, moment)
    return float((n - 3) * np.log(2 * np.pi) + logs + np.linalg.slogdet(information)[1] + rss)


# ---------------------------------------------------------------------- the likelihood


@pytest.mark.parametrize(("sigma_m", "sigma_y"), [(1.0, 2.0), (0.7, 0.7), (3.0, 0.5)])
def test_multiplied_rows_have_the_likelihood_of_two_residual_variances(sigma_m: float, sigma_y: float) -> None:
    frame = diary(persons=7, rows=6).drop(index=[3, 8, 9])
    factor = np.array([[0.5, 0.0, 0.0], [0.2, 0.4, 0.0], [-0.1, 0.3, 0.2]])
    value = deviance(stacked(frame), factor, np.log(sigma_y), np.log(sigma_y / sigma_m))
    assert value == pytest.approx(dense_deviance(frame, factor @ factor.T, sigma_m, sigma_y), rel=1e-12)


def test_the_optimum_is_the_dense_likelihoods_and_so_is_the_error_of_the_covariance() -> None:
    """The dense Hessian is taken in other parameters (the covariance itself); at an optimum errors do not depend on that."""
    frame = pd.read_csv(FOLDER / "mediation.csv")
    found = fit_paths(stacked(frame))
    assert found.converged
    assert not found.singular
    lower = np.tril_indices(3)

    def dense(point: np.ndarray) -> float:
        g = np.zeros((3, 3))
        g[lower] = point[:6]
        return dense_deviance(frame, g + np.tril(g, -1).T, float(np.exp(point[6])), float(np.exp(point[7])))

    at = np.append(found.g[lower], np.log([found.sigma_m, found.sigma_y]))
    assert dense(at) == pytest.approx(-2 * found.log_likelihood, rel=1e-12)
    steps = 1e-3 * np.eye(8)
    slope = np.array([(dense(at + step) - dense(at - step)) / 2e-3 for step in steps])
    hessian = np.array(
        [
            [(dense(at + i + j) - dense(at + i - j) - dense(at - i + j) + dense(at - i - j)) / 4e-6 for j in steps]
            for i in steps
        ]
    )
    assert slope @ np.linalg.solve(hessian, slope) < 1e-4  # the Newton decrement, less the differences' own error
    se = np.sqrt(2.0 * np.linalg.inv(hessian)[1, 1])
    assert found.covariance_se == pytest.approx(se, rel=0.01)  # differences of a long sum, in steep directions


def test_the_stacked_model_is_nlmes() -> None:
    """golden/make_mediation.R: lme with varIdent on orthonormal contrasts of 40 persons' 9 to 15 rows."""
    found = fit_paths(stacked(pd.read_csv(FOLDER / "mediation.csv")))
    assert found.log_likelihood == pytest.approx(-1459.504887, abs=1e-6)
    np.testing.assert_allclose(found.beta, [0.40113808, 0.41388605, 0.29297964], rtol=NLME)
    np.testing.assert_allclose(np.diag(found.vcov), [0.00590703590, 0.00735226203, 0.01012953565], rtol=NLME)
    assert found.vcov[0, 1] == pytest.approx(0.00087695223, rel=NLME)
    np.testing.assert_allclose(np.diag(found.g), [0.130495882, 0.0808390324, 0.1205419475], rtol=NLME)
    np.testing.assert_allclose(found.g[0, 1:], [0.034274375, 0.026827956], rtol=NLME)
    assert found.sigma_m == pytest.approx(0.97171695, rel=NLME)
    assert found.sigma_y / found.sigma_m == pytest.approx(1.54486447, rel=NLME)


# ---------------------------------------------------------------------- a simulated truth


def test_the_truth_is_found_without_bias_and_covered() -> None:
    """40 studies of 40 persons. Over 300 of 60 persons, 20 rows: bias 0.000 ± 0.004, coverage 93 % (total 96 %)."""
    estimates, covered = [], []
    for seed in range(40):
        table = analysis.mediate(diary(seed=100 + seed), "x", "m", "y", "person", draws=2000).table
        estimates.append(table.loc["indirect", "estimate"])
        covered.append(table.loc["indirect", "lower"] < INDIRECT < table.loc["indirect", "upper"])
    assert abs(np.mean(estimates) - INDIRECT) < 3 * np.std(estimates) / np.sqrt(40)
    assert np.mean(covered) >= 0.85  # 95 % less three binomial errors


def test_the_covariance_of_own_paths_is_part_of_the_indirect_path() -> None:
    found = analysis.mediate(diary(persons=400, seed=9), "x", "m", "y", "person")
    table = found.table["estimate"]
    assert table["indirect"] == pytest.approx(table["a"] * table["b"] + table["cov_ab"])
    assert table["total"] == pytest.approx(table["indirect"] + table["direct"])
    errors = found.table["se"]
    for name, value in {**TRUTH, "indirect": INDIRECT, "total": INDIRECT + TRUTH["direct"]}.items():
        assert abs(table[name] - value) < 3 * errors[name], name
    assert table["indirect"] - TRUTH["a"] * TRUTH["b"] > 2 * errors["indirect"] > 0  # a·b alone would miss


def test_levels_of_persons_and_units_leave_the_paths_what_they_are() -> None:
    frame = diary(seed=4)
    first = analysis.mediate(frame, "x", "m", "y", "person").table["estimate"]
    moved = frame.assign(
        m=100.0 * (frame["m"] + 7.0 * frame["person"]),
        y=frame["y"] - 3.0 * frame["person"],
        x=frame["x"] + frame["person"],
    )
    second = analysis.mediate(moved.sample(frac=1, random_state=1), "x", "m", "y", "person").table["estimate"]
    np.testing.assert_allclose(
        second[["direct", "indirect", "total"]], first[["direct", "indirect", "total"]], rtol=1e-4
    )
    assert second["a"] == pytest.approx(100 * first["a"], rel=1e-4)


def test_what_is_held_equal_takes_its_part_out_of_the_paths() -> None:
    """A third thing moves x, m and y; x itself moves neither."""
    rng = np.random.default_rng(6)
    code = np.repeat(np.arange(60), 20)
    z, x, m, y = rng.normal(size=(4, len(code)))
    frame = pd.DataFrame({"person": code, "z": z, "x": x + z, "m": m + z, "y": y + z})
    open_ = analysis.mediate(frame, "x", "m", "y", "person").table
    held = analysis.mediate(frame, "x", "m", "y", "person", covariates=["z"]).table
    assert open_.loc["indirect", "lower"] > 0.1
    assert held.loc["indirect", "lower"] < 0.0 < held.loc["indirect", "upper"]


# ---------------------------------------------------------------------- lags


def test_lagged_equations_use_three_successive_prompts_of_a_day() -> None:
    frame = diary(persons=12, rows=20, seed=2).drop(index=[7, 33, 34, 120]).sample(frac=1, random_state=3)
    values = {name: frame[name].to_numpy() for name in "xmy"}
    found, rows, messages = stack(
        frame, values, pd.factorize(frame["person"])[0], ("x", "m", "y"), [], ("person", "day", "prompt")
    )
    keyed = frame.set_index(["person", "day", "prompt"])

    def back(name: str, steps: int) -> np.ndarray:
        keys = [(person, day, prompt - steps) for person, day, prompt in keyed.index]
        return keyed[name].reindex(keys).to_numpy()

    m = pd.DataFrame({"x1": back("x", 1), "m1": back("m", 1), "m": values["m"]}).dropna()
    y = pd.DataFrame({"m1": back("m", 1), "x2": back("x", 2), "y1": back("y", 1), "y": values["y"]})
    y = y[~np.isnan(back("m", 1) + back("x", 1))].dropna()  # a chain without a gap
    for equation, wanted in ((found.mediator, m), (found.outcome, y)):
        person = frame["person"].to_numpy()[wanted.index]
        left = wanted - wanted.groupby(person).transform("mean")
        np.testing.assert_allclose(equation.scatter.sum(axis=0), left.T @ left, rtol=1e-10)
        assert equation.n.sum() == len(wanted) - len(np.unique(person))
    assert rows == len(y)
    assert f"{len(m)} pairs of prompts" in messages[0]


def test_a_lagged_answer_says_so_and_warns_of_short_series() -> None:
    found = analysis.mediate(diary(rows=20), "x", "m", "y", "person", lagged=True, day="day", prompt="prompt")
    assert found.label == "lagged"
    assert found.sentences[0].startswith("Two prompts after moments when")
    assert "In time x comes first, then m, then y" in found.sentence
    assert any("Nickell" in message for message in found.messages)


# ---------------------------------------------------------------------- between persons


def test_two_one_one_is_the_product_of_the_paths_between_persons() -> None:
    rng = np.random.default_rng(7)
    persons, rows = 300, 25
    code = np.repeat(np.arange(persons), rows)
    culture = rng.normal(size=persons)
    usual = 0.5 * culture + 0.8 * rng.normal(size=persons)
    m = usual[code] + 0.5 * rng.normal(size=len(code))
    own = 0.6 * usual + 0.3 * culture + rng.normal(size=persons)
    y = own[code] - 0.4 * (m - usual[code]) + rng.normal(size=len(code))
    frame = pd.DataFrame({"id": code, "culture": culture[code], "m": m, "y": y})
    found = analysis.mediate(frame, "culture", "m", "y", "id", design="2-1-1")
    table = found.table
    wanted = {"a": 0.5, "b_within": -0.4, "b_between": 0.6, "direct": 0.3, "indirect": 0.3, "total": 0.6}
    for name, value in wanted.items():
        assert abs(table.loc[name, "estimate"] - value) < 3 * table.loc[name, "se"], name
    estimate = table["estimate"]
    assert estimate["indirect"] == pytest.approx(estimate["a"] * estimate["b_between"])
    tests = analysis.lmm("y ~ within(m) + between(m) + culture + (1 | id)", frame).tests()
    assert estimate["b_between"] == pytest.approx(tests.loc["between(m)", "estimate"])
    assert table.loc["direct", "lower"] == pytest.approx(tests.loc["culture", "lower"], abs=0.01)  # draws
    assert found.label == "between people"
    assert "may reflect other differences between them" in found.sentence


# ---------------------------------------------------------------------- words, pictures, wrong questions


def test_sentences_name_the_order_in_time_and_claim_no_cause() -> None:
    found = analysis.mediate(diary(), "x", "m", "y", "person")
    assert "Same moment: direction unknown." in found.sentence
    assert "is consistent with a path through m" in found.sentence
    for word in ("effect", "raises", "leads to", "significant", "because"):
        assert word not in found.sentence
    assert "indirect" in str(found)
    assert "direction unknown" in found._repr_html_()
    again = analysis.mediate(diary(), "x", "m", "y", "person")
    pd.testing.assert_frame_equal(found.table, again.table)


@pytest.mark.parametrize("design", ["1-1-1", "2-1-1"])
def test_the_picture_draws(design: str) -> None:
    frame = diary()
    if design == "2-1-1":
        frame["x"] = frame.groupby("person")["x"].transform("mean")
    spec = analysis.mediate(frame, "x", "m", "y", "person", design=design).plot().to_dict()
    assert vl_convert.vegalite_to_png(spec, scale=0.5)[1:4] == b"PNG"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"design": "1-2-1"}, "'1-1-1' or '2-1-1'"),
        ({"design": "2-1-1"}, "'x' varies in 40, first 0"),
        ({"lagged": True}, "needs day= and prompt="),
        ({"design": "2-1-1", "lagged": True, "day": "day", "prompt": "prompt"}, "is for design='1-1-1'"),
        ({"day": "day"}, "leave them out"),
        ({"covariates": "day"}, "must be a list"),
        ({"covariates": ["age"]}, "no column 'age'"),
        ({"covariates": ["x"]}, "different columns"),
        ({"covariates": ["arm"]}, "'arm' does not vary within any person"),
        ({"draws": 10}, "at least 1,000"),
        ({"level": 95}, "between 0 and 1"),
    ],
)
def test_wrong_questions_are_refused_in_words(options: dict[str, Any], said: str) -> None:
    frame = diary().assign(arm=lambda d: d["person"] % 2)
    with pytest.raises(SpecError, match=said):
        analysis.mediate(frame, "x", "m", "y", "person", **options)


def test_data_that_cannot_tell_are_refused_in_words() -> None:
    frame = diary()
    still = frame.assign(x=frame.groupby("person")["x"].transform("mean"))
    with pytest.raises(SpecError, match="'x' does not vary within any person"):
        analysis.mediate(still, "x", "m", "y", "person")
    with pytest.raises(DesignError, match="no row has all of"):
        analysis.mediate(frame.assign(m=np.nan), "x", "m", "y", "person")
    with pytest.raises(DesignError, match="no path to estimate"):
        analysis.mediate(frame.assign(m=frame["x"]), "x", "m", "y", "person")
