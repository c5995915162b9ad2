"""LPIPS against the original code: distances, and gradients by an image.

The reference arrays are made by `make_perceptual_reference.py`. Those of the published weights are
compared where the package that holds them (59 MB) is installed.
"""

import compare
import perceptual
import pytest

TOLERANCE = 1e-5  # of the largest reference


@pytest.mark.parametrize("name", perceptual.names())
def test_distances_and_gradients(name):
    if not perceptual.available(name):
        pytest.skip("its weights are not found: pip install --no-deps stlpips-pytorch==0.0.2")
    for key, (_, relative) in compare.measured(perceptual.pairs(name)).items():
        assert relative < TOLERANCE, key
