"""Several conditions at once."""

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.guidance.classifier_free import classifier_free, composition
from ldm_jax.diffusion.guidance.joint import apart
from ldm_jax.diffusion.guidance.scale import constant
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.processes import betas
from ldm_jax.diffusion.processes.ddpm import ddpm
from ldm_jax.types import Denoised

P = ddpm(betas.linear(1000))
Z = jax.random.normal(jax.random.key(0), (3, 2, 2, 1))
T = jnp.array([10, 400, 1000])


def gaussian(mean, precision):
    """E[x0 | z] of data N(mean, 1 / precision)."""

    def denoise(z, t):
        alpha, sigma = alpha_sigma_like(P, t, z)
        variance = jnp.square(alpha) / precision + jnp.square(sigma)
        return Denoised(mean + alpha / precision / variance * (z - alpha * mean))

    return denoise


def test_one_condition_is_classifier_free_guidance():
    given, unconditional = gaussian(2.0, 4.0), gaussian(0.0, 1.0)
    one = composition(apart(unconditional, given), [3.0])(Z, T).x0
    np.testing.assert_allclose(
        one, classifier_free(given, apart(unconditional, given), constant(3.0))(Z, T).x0, rtol=1e-4
    )


def test_no_condition_is_no_guidance():
    unconditional = gaussian(0.0, 1.0)
    np.testing.assert_array_equal(
        composition(apart(unconditional), [])(Z, T).x0, unconditional(Z, T).x0
    )


def test_conditions_move_x0_each_by_its_scale():
    one, other, unconditional = gaussian(2.0, 4.0), gaussian(-1.0, 2.0), gaussian(0.0, 1.0)
    found = composition(apart(unconditional, one, other), [2.0, -0.5])(Z, T).x0
    base = unconditional(Z, T).x0
    expected = base + 2.0 * (one(Z, T).x0 - base) - 0.5 * (other(Z, T).x0 - base)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_independent_conditions_make_their_product_in_data():
    """Late in sampling the product of experts p(x) prod p(x | c) / p(x) is Gaussian, too."""
    one, other, unconditional = gaussian(2.0, 4.0), gaussian(-1.0, 3.0), gaussian(0.0, 1.0)
    precision = 4.0 + 3.0 - 1.0
    both = gaussian((2.0 * 4.0 - 1.0 * 3.0) / precision, precision)
    early = jnp.full(3, 1)
    found = composition(apart(unconditional, one, other), [1.0, 1.0])(Z, early).x0
    np.testing.assert_allclose(found, both(Z, early).x0, atol=1e-5)
