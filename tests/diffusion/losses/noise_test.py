"""Variations of the noise."""

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.config import DiffusionLoss
from ldm_jax.diffusion.losses import noise as noises
from ldm_jax.diffusion.samplers.loop import normal_like

X = jnp.zeros((64, 8, 8, 4))
KEYS = jax.random.split(jax.random.key(0), (3, 64))
NOISE = normal_like(KEYS[0], X)


def drawn(**settings):
    return noises.drawn(DiffusionLoss(**settings), X, *KEYS)


def test_plain_noise_is_predicted_as_it_is_added():
    for found in drawn():
        np.testing.assert_array_equal(found, NOISE)


def test_offset_noise_adds_variance_to_the_mean_of_each_channel():
    found, added = drawn(offset_noise=0.1)
    np.testing.assert_array_equal(found, added)
    level = found - NOISE
    np.testing.assert_allclose(level, jnp.broadcast_to(level[:, :1, :1], X.shape), atol=1e-6)
    means = np.var(np.mean(found, axis=(1, 2)))
    assert abs(means / (1 / 64 + 0.01) - 1) < 5 * np.sqrt(2 / 256)


def test_perturbed_noise_has_the_larger_variance():
    target, found = drawn(input_perturbation=0.1)
    np.testing.assert_array_equal(target, NOISE)
    assert abs(np.var(found) / 1.01 - 1) < 0.03
    covariance = np.mean(found * NOISE)
    assert abs(covariance - 1) < 0.03
