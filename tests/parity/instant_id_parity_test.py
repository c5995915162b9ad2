"""InstantID against diffusers' networks, put together by `make/instant_id.py`."""

from tests.parity import compare
from tests.parity.cases import instant_id

TOLERANCE = 2e-5  # of the largest reference; float32 on both sides


def test_its_parts_and_the_denoiser_with_them_are_diffusers():
    far = {
        array: relative
        for array, (_, relative) in compare.measured(instant_id.pairs()).items()
        if not relative < TOLERANCE  # so that a NaN is far
    }
    assert not far
