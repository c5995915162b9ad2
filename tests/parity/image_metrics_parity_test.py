"""PSNR and SSIM against scikit-image, by way of numbers that `make/image_metrics.py` stored."""

import jax
import numpy as np
import pytest

from ldm_jax.metrics import reconstruction
from tests.parity.cases import image_pairs
from tests.parity.folders import ARRAYS

PAIRS = image_pairs.pairs()


@pytest.fixture(scope="module")
def found():
    """Ours, all pairs in one batch, float32."""
    images, others = np.float32(list(zip(*PAIRS.values(), strict=True)))
    return {name: jax.jit(getattr(reconstruction, name))(images, others) for name in METRICS}


METRICS = {"psnr": 1e-4, "ssim": 1e-5}  # name -> largest difference; dB, and of at most 1


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("metric", METRICS)
def test_equal_to_scikit_image(found, metric, pair):
    with np.load(ARRAYS / "image_metrics.npz") as reference:
        expected = float(reference[f"{metric} {pair}"])
    ours = float(found[metric][list(PAIRS).index(pair)])
    assert abs(ours - expected) < METRICS[metric]
