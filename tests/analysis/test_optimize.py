from __future__ import annotations

import numpy as np
import pytest

from analysis.covariance import Structure
from analysis.optimize import minimise, minimise_factor

FREE = np.full(2, -np.inf)


def rosenbrock(x):
    a, b = x
    return (1 - a) ** 2 + 100 * (b - a * a) ** 2, np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])


def test_a_curved_valley_is_followed_to_its_end():
    found = minimise(rosenbrock, np.array([-1.2, 1.0]), FREE)
    np.testing.assert_allclose(found.x, 1.0, atol=1e-9)
    assert found.is_proven(100)


def test_an_active_bound_is_kept_when_the_gradient_pushes_against_it():
    found = minimise(rosenbrock, np.array([2.0, 2.0]), np.array([1.5, -np.inf]))
    np.testing.assert_allclose(found.x, [1.5, 2.25], atol=1e-9)
    assert found.free.tolist() == [False, True]
    assert found.is_proven(100)


def test_a_saddle_on_a_bound_is_left():
    def saddle(x):  # like a variance that starts at zero: the gradient vanishes, the curvature falls
        return x[0] ** 4 - x[0] ** 2 + (x[1] - 1) ** 2, np.array([4 * x[0] ** 3 - 2 * x[0], 2 * (x[1] - 1)])

    found = minimise(saddle, np.zeros(2), np.array([0.0, -np.inf]))
    np.testing.assert_allclose(found.x, [np.sqrt(0.5), 1.0], atol=1e-9)
    assert found.is_proven(100)


def test_a_problem_without_a_minimum_is_not_called_converged():
    found = minimise(
        lambda x: (float(np.exp(-x[0])), np.array([-np.exp(-x[0])])), np.array([-5.0]), np.array([-np.inf])
    )
    falling = minimise(lambda x: (-float(x[0]), np.array([-1.0])), np.array([0.0]), np.array([-np.inf]))
    assert found.value < 1e-3
    assert not falling.is_proven(10)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_covariance_of_low_rank_is_found_from_a_stationary_point_on_the_boundary(seed):
    """Squared distance to a target of rank one, from Λ = 0 and from a wrong direction: θ's own gradient shows no way."""
    rng = np.random.default_rng(seed)
    structure = Structure.of_blocks((3,))
    own = rng.normal(size=3)
    target = np.outer(own, own)

    def distance(theta):
        lam = structure.lam(theta)
        gap = lam @ lam.T - target
        return float((gap**2).sum()), structure.theta(np.tril(4.0 * gap @ lam))

    start = structure.theta(np.diag([0.0, 0.0, 1.0])) if seed % 2 else np.zeros(6)
    found = minimise_factor(distance, start, structure)
    assert found.value < 1e-12
