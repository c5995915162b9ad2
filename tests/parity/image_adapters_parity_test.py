"""T2I-Adapters, IP-Adapters and pipelines with them against diffusers' numbers.

The reference is made by `make/image_adapters.py`.
"""

import pytest

from tests.parity import compare
from tests.parity.cases import image_adapters

TOLERANCE = 2e-5  # of the largest reference; float32 on both sides, measured below 1e-5


@pytest.mark.parametrize("case", image_adapters.CASES)
def test_outputs_are_diffusers(case):
    far = {
        array: relative
        for array, (_, relative) in compare.measured(image_adapters.pairs(case)).items()
        if not relative < TOLERANCE  # so that a NaN is far
    }
    assert not far
