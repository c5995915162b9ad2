"""Inpainting by blending."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion import process
from ldm_jax.diffusion.guidance.blend import blend
from ldm_jax.diffusion.samplers.ddim import ddim
from ldm_jax.diffusion.samplers.ddpm import ddpm
from ldm_jax.types import Denoised
from tests.support.every import PROCESSES

KNOWN, Z = jax.random.normal(jax.random.key(0), (2, 2, 4, 4, 2))
MASK = jnp.zeros((2, 4, 4, 1)).at[:, 1:3, 1:3].set(1.0)
P = PROCESSES["linear"]
KEYS = jax.random.split(jax.random.key(1), 2)


def denoise(z, t):
    return Denoised(jnp.tanh(z) + 0.1)


def test_what_is_known_is_known_and_the_rest_expected():
    t = jnp.array([10, 500])
    found = blend(denoise, KNOWN, MASK)(Z, t).x0
    expected = np.where(MASK == 1.0, denoise(Z, t).x0, KNOWN)
    np.testing.assert_array_equal(found, expected)


def test_a_soft_mask_mixes():
    found = blend(denoise, KNOWN, jnp.full_like(MASK, 0.25))(Z, jnp.array([10, 500])).x0
    np.testing.assert_allclose(found, 0.25 * (jnp.tanh(Z) + 0.1) + 0.75 * KNOWN, rtol=1e-5)


def test_ddim_keeps_the_known_pixels_on_their_way():
    """They equal the known latents noised again with their own noise."""
    noise = Z
    t, s = jnp.full(2, 700), jnp.full(2, 300)
    z = process.add_noise(P, KNOWN, noise, t)
    found, _ = ddim().step(blend(denoise, KNOWN, MASK), P, KEYS, z, t, s, ())
    expected = process.add_noise(P, KNOWN, noise, s)
    np.testing.assert_allclose(np.where(MASK, 0, found), np.where(MASK, 0, expected), atol=1e-5)


@pytest.mark.parametrize("sampler", [ddim(1.0), ddpm()])
def test_every_sampler_ends_with_what_is_known(sampler):
    at = (jnp.full(2, 40), jnp.full(2, 0))
    found, _ = sampler.step(blend(denoise, KNOWN, MASK), P, KEYS, Z, *at, ())
    np.testing.assert_allclose(np.where(MASK, 0, found), np.where(MASK, 0, KNOWN), atol=1e-5)
