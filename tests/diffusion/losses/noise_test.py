"""Variations of the noise."""

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.losses import noise as variations
from ldm_jax.diffusion.samplers.loop import normal_like

X = jnp.zeros((64, 8, 8, 4))
KEYS = jax.random.split(jax.random.key(0), (3, 64))
NOISE = normal_like(KEYS[0], X)


def test_offset_noise_adds_variance_to_the_mean_of_each_channel():
    level = variations.level_like(normal_like, KEYS[1], X)
    assert level.shape == (64, 1, 1, 4)
    found = variations.offset(NOISE, level, 0.1)
    np.testing.assert_allclose(found - NOISE, jnp.broadcast_to(0.1 * level, X.shape), atol=1e-6)
    means = np.var(np.mean(found, axis=(1, 2)))
    assert abs(means / (1 / 64 + 0.01) - 1) < 5 * np.sqrt(2 / 256)


def test_perturbed_noise_has_the_larger_variance():
    found = variations.perturbed(NOISE, normal_like(KEYS[2], X), 0.1)
    assert abs(np.var(found) / 1.01 - 1) < 0.03
    covariance = np.mean(found * NOISE)
    assert abs(covariance - 1) < 0.03
