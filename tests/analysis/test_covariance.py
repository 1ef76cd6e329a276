from __future__ import annotations

import numpy as np
import pytest

from analysis.covariance import Structure, canonical, deviations_and_correlations


@pytest.mark.parametrize("blocks", [(1,), (3,), (1, 1), (2, 1, 3)])
def test_theta_and_its_factor_are_one_thing(blocks):
    structure = Structure.of_blocks(blocks)
    theta = np.arange(1.0, len(structure.rows) + 1.0)
    lam = structure.lam(theta)
    np.testing.assert_array_equal(structure.theta(lam), theta)
    assert not np.triu(lam, 1).any()
    assert not lam[~structure.same_block()].any()
    assert (structure.lower[structure.diagonal] == 0.0).all()


def test_the_canonical_factor_keeps_the_covariance_and_empties_columns_without_variance():
    structure = Structure.of_blocks((3, 1))
    turned = np.array([[0.0, 0.0, 0.0, 0.0], [0.3, 0.4, 0.0, 0.0], [0.6, 0.8, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0]])
    lam = structure.lam(canonical(structure, turned))
    np.testing.assert_allclose(lam @ lam.T, turned @ turned.T, atol=1e-15)
    assert not lam[:, [0, 2]].any()
    assert structure.is_singular(structure.theta(lam))


def test_deviations_and_correlations_say_nothing_of_a_zero_variance():
    deviations, correlations = deviations_and_correlations(
        np.array([[4.0, 3.0, 0.0], [3.0, 9.0, 0.0], [0.0, 0.0, 0.0]])
    )
    assert deviations.tolist() == [2.0, 3.0, 0.0]
    assert correlations[0, 1] == 0.5
    assert np.isnan(correlations[2]).all()
