"""`to_r` writes R that gives the same model: the text here, and the figures where R and lme4 are installed."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

import analysis

NO_LME4 = 77
"""What the script ends with where R has no lme4."""
AGREE = {"rtol": 1e-4, "atol": 1e-5}
"""lme4's own tolerance on its deviance leaves five digits of an estimate."""


@pytest.fixture(scope="module")
def study() -> pd.DataFrame:
    """18 persons of 2 arms, 7 days of 5 prompts, some of them missed, answers and prompt numbers missing here and there."""
    rng = np.random.default_rng(6)
    person, day, beep = (index.ravel() for index in np.indices((18, 7, 5)))
    usual, own = rng.normal(size=18), rng.normal(size=(18, 7))
    x = usual[person] + own[person, day] + rng.normal(size=len(person))
    z = rng.normal(size=len(person))
    slope = 0.6 + 0.5 * rng.normal(size=18)
    y = slope[person] * x + 0.3 * z + rng.normal(size=18)[person] + rng.normal(size=len(person))
    frame = pd.DataFrame({"id": [f"p{k}" for k in person], "day": day, "beep": beep + 1.0, "x": x, "z": z, "y": y})
    frame = frame.assign(arm=np.where(person % 2 == 0, "care", "wait"))
    for name in ("x", "y", "beep"):
        frame[name] = frame[name].where(rng.random(len(frame)) > 0.04)
    return frame[rng.random(len(frame)) > 0.15]


def events(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(y=(frame["y"] > 0.0).astype(float).where(frame["y"].notna()), log_time=0.1 * frame["day"])


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (
            lambda d: analysis.lmm("y ~ within(x) + (1 | id)", d),
            "lmer(y ~ x_within + (1 | id), data = frame, REML = TRUE)",
        ),
        (
            lambda d: analysis.glmm("y ~ x + (1 | id)", events(d), offset="log_time", agq=5),
            "glmer(y ~ x + (1 | id), data = frame, family = binomial, offset = log_time, nAGQ = 5)",
        ),
        (
            lambda d: analysis.lmm("y ~ lag( within(x) ) + (1 | id)", d, reml=False, day="day", prompt="beep"),
            "lmer(y ~ x_lag_within + (1 | id), data = frame, REML = FALSE)",
        ),
    ],
)
def test_the_same_model_is_written_for_lme4(study, fit, words):
    code = fit(study).to_r()
    assert words in code
    assert code.startswith("library(lme4)")


def test_splits_are_made_on_complete_rows_and_lags_before_rows_go(study):
    formula = "y ~ within_day(x) + between(x) + lag(z) + (1 | id)"
    code = analysis.lmm(formula, study, day="day", prompt="beep").to_r().splitlines()
    complete = code.index('frame <- frame[complete.cases(frame[, c("y", "x", "z_lag", "id", "day")]), ]')
    assert code.index('frame[["z_lag"]] <- frame[["z"]][before]') < complete
    assert complete < code.index('frame[["x_within_day"]] <- frame[["x"]] - of_day')


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="no Rscript here: R's own figures are not compared")
@pytest.mark.parametrize(
    ("fit", "renamed"),
    [
        (
            lambda d: analysis.lmm(
                "y ~ within_day(x)*z + between_days(x) + between(x) + lag(within(y)) + (1 + within_day(x) | id)",
                d, day="day", prompt="beep",
            ),
            {},
        ),
        (
            lambda d: analysis.lmm(
                "y ~ within(x) + z + (1 + within(x) || id)", d, residual=analysis.AR1("beep", within="id:day")
            ),
            {},
        ),
        (
            lambda d: analysis.lmm(
                "log(y.sum ** 2) ~ within(lag(`x raw`)) + lag(`x raw`) + C(arm) + np.exp(z) + (1 | arm:id)",
                d, day="day", prompt="beep",
            ),
            {"x": "x raw", "y": "y.sum"},
        ),
        (
            lambda d: analysis.glmm(
                "y ~ within(x) + between(x) + lag(y) + (1 | id)",
                events(d), day="day", prompt="beep", offset="log_time", agq=7,
            ),
            {},
        ),
    ],
)  # fmt: skip
def test_r_finds_the_same_estimates(study, fit, renamed, tmp_path):
    frame = study.rename(columns=renamed)
    model = fit(frame)
    path = tmp_path / "frame.csv"
    (events(frame) if "log_time" in model.to_r() else frame).to_csv(path, index=False)
    script = "\n".join(
        [
            f'if (!requireNamespace("lme4", quietly = TRUE)) quit(status = {NO_LME4})',
            f'frame <- read.csv("{path}", check.names = FALSE)',
            model.to_r(),
            'cat(sprintf("%.12g\\n", c(nobs(fit), logLik(fit), fixef(fit))))',
        ]
    )
    done = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, check=False)
    if done.returncode == NO_LME4:
        pytest.skip("R has no lme4 here: its figures are not compared")
    assert done.returncode == 0, done.stderr
    rows, log_likelihood, *estimates = map(float, done.stdout.split())
    assert rows == model.n_obs
    assert log_likelihood == pytest.approx(model.log_likelihood, abs=1e-4)  # lme4 stops there
    np.testing.assert_allclose(estimates, model.fixed["estimate"], **AGREE)
