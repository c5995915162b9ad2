"""Twenty steps of DDIM, guided by 3, end where the original's end, with every kind of condition.

Weights, start and conditions are the same; networks, conditioner, schedule, grid, guidance and
sampler are each side's own. The reference is made by `make/trajectories.py`.
"""

import pytest

from tests.parity import compare
from tests.parity.cases import trajectories
from tests.parity.cases import trajectory_cases as cases

TOLERANCE = 1e-5  # of the largest latent; measured 1.4e-6


@pytest.mark.parametrize("name", cases.CASES)
def test_the_trajectory_ends_where_the_originals_does(name):
    (pair,) = trajectories.pairs(name).values()
    assert compare.errors(*pair)[1] < TOLERANCE


@pytest.mark.parametrize("name", cases.CASES)
def test_both_sides_have_the_same_weights(name):
    case = cases.CASES[name]
    assert trajectories.experiment(case).original_names() == cases.names(case)
