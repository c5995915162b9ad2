"""Schedules, grids and samplers against diffusers' schedulers.

The reference arrays are made by `make_reference.py`; diffusers keeps its tables in float32, ours
are rounded once, from float64.
"""

import compare
import pytest
import samplers
import walks

TOLERANCE = 2e-5  # of the largest reference


@pytest.fixture(scope="module")
def pairs():
    return samplers.pairs()


@pytest.mark.parametrize("schedule", walks.SCHEDULES)
def test_alpha_bar(pairs, schedule):
    assert compare.errors(*pairs[f"alpha_bar {schedule}"])[1] < 1e-6


@pytest.mark.parametrize("grid", ["uniform", "leading", "trailing"])
def test_the_network_is_told_the_same_steps(pairs, grid):
    ours, reference = pairs[f"steps {grid}"]
    assert ours.tolist() == reference.tolist()


@pytest.mark.parametrize("walk", walks.WALKS, ids=lambda walk: walk.name)
def test_z_after_every_step(pairs, walk):
    assert compare.errors(*pairs[walk.name])[1] < TOLERANCE
