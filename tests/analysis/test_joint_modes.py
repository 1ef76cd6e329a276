"""Several grouping factors at once: value and slope of the Laplace approximation against a dense one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.design import build_design
from analysis.elimination import make_plan
from analysis.joint_modes import JointModes
from analysis.kernels import families
from analysis.marginal import Marginal
from analysis.ordinal import ordinal_responses, without_intercept
from analysis.responses import Responses, responses
from tests.analysis.dense_laplace import deviance

DESIGNS = {
    "nested": "y ~ x + (1 | a) + (1 | a:b)",
    "crossed": "y ~ x + (1 | b) + (1 | c)",
    "slopes": "y ~ x + (x | a) + (1 | c)",
    "three": "y ~ x + (1 | a) + (x || a:b) + (1 | c)",
}
KINDS = {
    "binomial": families.BINOMIAL_LOGIT,
    "poisson": families.POISSON,
    "negative binomial": families.NEGATIVE_BINOMIAL,
    "ordinal": families.ORDINAL_LOGIT,
}


def make(kind: str) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    n = 90
    frame = pd.DataFrame({"a": np.repeat(np.arange(6), 15), "b": rng.integers(0, 4, n), "c": rng.integers(0, 5, n)})
    frame["x"], frame["exposure"] = rng.normal(size=n), rng.normal(size=n) * 0.3
    eta = 0.2 + 0.5 * frame["x"] + rng.normal(size=6)[frame["a"]] + 0.5 * rng.normal(size=5)[frame["c"]]
    if kind == "binomial":
        frame["size"] = rng.integers(1, 6, n)
        return frame.assign(y=rng.binomial(frame["size"], 1.0 / (1.0 + np.exp(-eta))) / frame["size"])
    if kind == "ordinal":
        return frame.assign(y=np.digitize(eta + rng.logistic(size=n), [-1.0, 0.5, 1.5]))
    return frame.assign(y=rng.poisson(rng.gamma(3.0, np.exp(eta) / 3.0)))


def read(kind: str, formula: str) -> tuple[Responses, list]:
    columns = {"weights": "size"} if kind == "binomial" else {"offset": "exposure"}
    design = build_design(formula, make(kind), **({} if kind == "ordinal" else columns))
    if kind == "ordinal":
        design = without_intercept(design)
        return ordinal_responses(design, KINDS[kind], None)[0], list(design.factors)
    return responses(design, KINDS[kind]), list(design.factors)


def some_point(data: Responses, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    theta = np.where(data.structure.diagonal, 0.7, -0.3) + 0.2 * rng.normal(size=len(data.structure.rows))
    phi = rng.normal(size=data.n_extra) * 0.3
    return np.concatenate([rng.normal(size=data.n_fixed) * 0.3, phi, theta])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DESIGNS)
def test_value_and_slope_are_those_of_the_dense_approximation(kind, name):
    data, factors = read(kind, DESIGNS[name])
    joint = JointModes(data, make_plan(factors, 0))
    for seed in (1, 2):
        point = some_point(data, seed)
        value, gradient = joint(point)
        assert value == pytest.approx(deviance(data, factors, point), abs=1e-8)
        steps = 1e-5 * np.eye(len(point))
        slopes = [(deviance(data, factors, point + s) - deviance(data, factors, point - s)) / 2e-5 for s in steps]
        np.testing.assert_allclose(gradient, slopes, atol=2e-6)  # differences of numbers near 300 over 2e-5


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_factor_gives_what_the_persons_own_modes_give(kind):
    data, factors = read(kind, "y ~ x + (x | a)")
    point = some_point(data, 3)
    joint, alone = JointModes(data, make_plan(factors, 0))(point), Marginal(data, 1)(point)
    assert joint[0] == pytest.approx(alone[0], rel=1e-12)
    np.testing.assert_allclose(joint[1], alone[1], rtol=1e-8, atol=1e-8)
