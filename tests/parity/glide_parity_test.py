"""GLIDE's small networks, noised CLIP and whole trajectories against the original's numbers.

The reference is made by `make/glide.py`.
"""

import pytest

from tests.parity import compare
from tests.parity.cases import glide

# of the largest reference; float32 on both sides, of which trajectories make more
TOLERANCE = {"networks": 2e-5, "clip": 2e-5, "trajectories": 2e-4}


@pytest.mark.parametrize("case", glide.CASES)
def test_outputs_are_the_originals(case):
    far = {
        array: relative
        for array, (_, relative) in compare.measured(glide.pairs(case)).items()
        if not relative < TOLERANCE[case]  # so that a NaN is far
    }
    assert not far
