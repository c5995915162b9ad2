"""LPIPS against the original code: distances, and gradients by an image.

The reference arrays are made by `make/perceptual_reference.py`. Those of the published weights are
compared where the package that holds them (59 MB) is installed.

Both sides compute in float64: in float32 a rectifier near its threshold may be on here and off
there, and then a few pixels' gradients differ, whatever the code.
"""

import pytest

from tests.parity import compare
from tests.parity.cases import perceptual

TOLERANCE = 1e-10  # of the largest reference


@pytest.mark.parametrize("name", perceptual.names())
def test_distances_and_gradients(name):
    if not perceptual.available(name):
        pytest.skip("its weights are not found: pip install --no-deps stlpips-pytorch==0.0.2")
    for key, (_, relative) in compare.measured(perceptual.pairs(name, "float64")).items():
        assert relative < TOLERANCE, key


def test_single_precision():
    pairs = perceptual.pairs("alex_shift_tolerant", "float32")
    assert compare.errors(*pairs["distance"])[1] < 1e-5
