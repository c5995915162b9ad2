"""Small networks against diffusers' numbers: outputs, and gradients by inputs and weights.

The reference arrays are made by `make/reference.py`, with weights drawn from their names.
"""

import pytest

from tests.parity import compare
from tests.parity.cases import network_cases as cases
from tests.parity.cases import small

TOLERANCE = 2e-5  # of the largest reference; float32 on both sides, measured below 1e-5


@pytest.mark.parametrize("name", cases.CASES)
def test_outputs_and_gradients_are_the_references(name):
    far = {
        array: relative
        for array, (_, relative) in compare.measured(small.pairs(name)).items()
        if not relative < TOLERANCE  # so that a NaN is far
    }
    assert not far
