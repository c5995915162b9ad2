"""Classifier-free guidance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion import process
from ldm_jax.diffusion.guidance import classifier_free
from ldm_jax.diffusion.prediction import noise_of
from ldm_jax.diffusion.processes import betas
from ldm_jax.diffusion.processes.ddpm import ddpm
from ldm_jax.types import Denoised

PROCESS = ddpm(betas.linear(1000))
Z = jax.random.normal(jax.random.key(0), (3, 2, 2, 1))
TIMES = jnp.array([10, 400, 1000])


def conditional(z, t):
    return Denoised(jnp.tanh(z) + 1.0)


def unconditional(z, t):
    return Denoised(0.5 * z)


def guided(scale):
    return classifier_free(conditional, unconditional, jnp.float32(scale))(Z, TIMES).x0


def test_scale_one_is_the_conditional_model():
    np.testing.assert_array_equal(guided(1.0), conditional(Z, TIMES).x0)


def test_scale_zero_is_the_unconditional_model():
    np.testing.assert_array_equal(guided(0.0), unconditional(Z, TIMES).x0)


@pytest.mark.parametrize("scale", [-1.0, 0.5, 2.0, 7.5])
def test_guidance_is_linear_in_its_scale(scale):
    told, untold = conditional(Z, TIMES).x0, unconditional(Z, TIMES).x0
    np.testing.assert_allclose(guided(scale), scale * told + (1 - scale) * untold, atol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 2.0, 7.5])
def test_guiding_x0_is_guiding_the_noise(scale):
    """eps = (1 + w) eps_c - w eps_u with w = scale - 1 (Ho and Salimans 2022, eq. 6)."""
    alpha, sigma = process.rates_like(PROCESS, TIMES, Z)
    told, untold = (
        noise_of(model(Z, TIMES).x0, Z, alpha, sigma) for model in (conditional, unconditional)
    )
    w = scale - 1
    found = noise_of(guided(scale), Z, alpha, sigma)
    np.testing.assert_allclose(found, (1 + w) * told - w * untold, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("scale", "calls"), [(1.0, 0), (2.0, 1)])
def test_no_guidance_does_not_pay_for_the_other_model(scale, calls):
    counted = []

    def costly(z, t):
        jax.debug.callback(lambda: counted.append(1))
        return unconditional(z, t)

    jax.block_until_ready(classifier_free(conditional, costly, jnp.float32(scale))(Z, TIMES))
    jax.effects_barrier()
    assert len(counted) == calls
