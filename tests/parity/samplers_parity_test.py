"""Schedules, grids and samplers against diffusers' schedulers and the original samplers.

The reference arrays are made by `make/sampler_reference.py`; diffusers keeps its tables in float32,
ours are rounded once, from float64.

On purpose ours differ in the following, which is not compared:
- 3M takes the whole second derivative, and so is of order 3; compared is `dpmpp_3m(curvature=1)`,
  which takes half of it like the published code (`diffusion/samplers/order_test.py`).
- PLMS and DDIM inversion extrapolate or keep the noise, also where the network predicts v;
  diffusers' PLMS extrapolates v, and its inversion reads x0 from v at another time than it asked.
- Churn calls the network at the level that it has raised z to, as Karras et al. do;
  diffusers' Euler does before.
- Solvers over the linspace and leading grids have the grid of K steps, diffusers' multistep
  solvers K of the K + 1 steps of a longer one.
"""

import numpy as np
import pytest

from tests.parity import compare
from tests.parity.cases import sampler_cases as cases
from tests.parity.cases import samplers

TOLERANCE = 1e-5  # of the largest reference
# the reference takes the root of sigma_s^2 - spread^2, which is a rounding error where alpha_t is 0
CANCELS = {"ddim eta 1 zero_terminal_snr v trailing": 3e-4}


@pytest.fixture(scope="module")
def pairs():
    return samplers.pairs()


@pytest.mark.parametrize("schedule", cases.SCHEDULES)
def test_alpha_bar(pairs, schedule):
    assert compare.errors(*pairs[f"alpha_bar {schedule}"])[1] < 1e-6


@pytest.mark.parametrize("grid", cases.GRIDS)
def test_the_timesteps_are_equal(pairs, grid):
    ours, reference = pairs[f"steps {grid}"]
    if grid in cases.BETWEEN:
        np.testing.assert_allclose(ours, reference, rtol=1e-6, atol=1e-4)
    else:
        assert ours.tolist() == reference.tolist()


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_z_after_every_step(pairs, case):
    assert compare.errors(*pairs[case.name])[1] < CANCELS.get(case.name, TOLERANCE)
