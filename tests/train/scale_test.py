"""The latent scale factor, on a first stage that hands its images on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.train.scale import measure_scale
from ldm_jax.types import FirstStage

KEY = jax.random.key(0)


def encode(params, images, keys):
    return params["scale"] * images


STAGE = FirstStage(None, None, encode, None, factor=1, channels=3)


def batches(*stds, mean=2.0, each=8):
    """Gaussian images: `each` batches of each standard deviation."""
    rng = np.random.default_rng(0)
    for std in stds:
        for _ in range(each):
            yield {"image": rng.normal(mean, std, (16, 8, 8, 3)).astype(np.float32)}


@pytest.mark.parametrize("std", [0.2, 1.0, 30.0])
def test_scaled_latents_have_unit_variance(std, capsys):
    scale = measure_scale(STAGE, {"scale": jnp.array(5.0)}, batches(std), KEY, count=6)
    assert scale.shape == ()
    assert scale * std == pytest.approx(1.0, abs=0.01)
    out = capsys.readouterr().out
    assert f"latent scale factor {float(scale):.5f}" in out
    assert "warning" not in out


def test_data_of_another_variance_afterwards_is_noticed(capsys):
    measure_scale(STAGE, {"scale": jnp.array(1.0)}, batches(1.0, 3.0), KEY, count=8)
    assert "warning: scaled latents should have a std between" in capsys.readouterr().out


def test_only_the_batches_asked_for_are_measured():
    scale = measure_scale(STAGE, {"scale": jnp.array(1.0)}, batches(1.0, 3.0), KEY, count=8)
    assert scale == pytest.approx(1.0, abs=0.01)
    both = measure_scale(STAGE, {"scale": jnp.array(1.0)}, batches(1.0, 3.0, 3.0), KEY, count=16)
    assert 1 / both**2 == pytest.approx((1.0 + 9.0) / 2, rel=0.02)
