"""Features of photographs equal those of the networks that published numbers are made with.

The references (see `make/extractors.py`) are torch-fidelity's InceptionV3, pytorch-fid's, and
torch-fidelity's behind clean-fid's resize, and torchvision's MobileNetV2, all with drawn weights.
"""

import numpy as np
import pytest

from tests.parity import compare
from tests.parity.cases import extractor_cases as cases
from tests.parity.cases import extractors
from tests.parity.folders import ARRAYS

with np.load(ARRAYS / "extractors.npz") as file:
    STORED = dict(file)
PHOTOGRAPHS = STORED.pop("photographs")


@pytest.fixture(scope="module")
def ours():
    """Of both sizes, every n-th feature."""
    found = {}
    for size in cases.SIZES:
        images = PHOTOGRAPHS if size == cases.SIZES[0] else cases.enlarged(PHOTOGRAPHS, size)
        for name, x in extractors.features(images).items():
            found[f"{size[0]}x{size[1]} {name}"] = x[:, :: cases.KEPT]
    return found


@pytest.mark.parametrize("name", STORED)
def test_equal_to_the_reference(ours, name):
    _, relative = compare.errors(ours[name], STORED[name])
    assert relative < 1e-4


@pytest.mark.parametrize("name", STORED)
def test_the_references_tell_photographs_apart(name):
    """By far more than the tolerance."""
    x = STORED[name]
    assert np.abs(x[0] - x[1]).max() > 0.01 * np.abs(x).max()


def test_ways_of_resizing_are_not_the_same():
    for size in ("40x56", "320x310"):
        pools = [STORED[f"{size} {way} pool"] for way in ("tensorflow", "pytorch", "clean")]
        for n, pool in enumerate(pools):
            others = pools[:n]
            assert all(compare.errors(pool, other)[1] > 1e-3 for other in others)
