"""A small Karlo, from a caption through prior, decoder and upsampler, against diffusers' numbers.

The reference is made by `make/unclip.py`.
"""

from tests.parity import compare
from tests.parity.cases import unclip


def test_each_stage_ends_where_diffusers_does():
    found = compare.measured(unclip.pairs())
    far = {stage: relative for stage, (_, relative) in found.items() if not relative < 1e-4}
    assert not far
