"""Guidance by a classifier, and by scores of clean data, against Gaussians by Bayes' rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion.guidance.classifier import classifier, clean_score
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.types import Denoised
from tests.support.every import PROCESSES, every_process

T = jnp.array([1, 30, 500, 900])
Z = jax.random.normal(jax.random.key(0), (4, 2, 2, 1))
M, S = 0.7, 0.4  # data ~ N(M, S^2)
Y, N = 1.5, 0.5  # y = data + N(0, N^2) was seen to be Y


def moments(p, z, t, mean=M, std=S):
    """E[x0 | z] and Var[x0 | z] of Gaussian data."""
    alpha, sigma = alpha_sigma_like(p, t, z)
    variance = jnp.square(alpha * std) + jnp.square(sigma)
    return mean + alpha * std**2 / variance * (z - alpha * mean), jnp.square(sigma * std) / variance


def log_y(p, z, t):
    """log p(y | z_t), exact, up to a constant in z."""
    x0, variance = moments(p, z, t)
    terms = jnp.square(Y - x0) / (variance + N**2)
    return -0.5 * jnp.sum(terms, axis=(1, 2, 3))


def posterior(p, z, t):
    """E[x0 | z, y]: data given y are Gaussian again."""
    precision = 1 / S**2 + 1 / N**2
    mean = (M / S**2 + Y / N**2) / precision
    return moments(p, z, t, mean, precision**-0.5)[0]


@every_process
def test_with_the_true_classifier_it_is_the_posterior(p):
    def denoise(z, t):
        return Denoised(moments(p, z, t)[0])

    guided = classifier(denoise, p, lambda z, t: log_y(p, z, t), 1.0)
    np.testing.assert_allclose(guided(Z, T).x0, posterior(p, Z, T), atol=1e-3)


def test_where_nothing_is_left_of_the_data_there_is_no_guidance():
    p = PROCESSES["rectified_flow"]
    at = jnp.full(4, 1000)
    guided = classifier(lambda z, t: Denoised(0 * z), p, lambda z, t: jnp.sum(z, (1, 2, 3)), 5.0)
    np.testing.assert_array_equal(guided(Z, at).x0, 0.0)


@pytest.mark.parametrize("scale", [0.0, 2.5])
def test_guidance_is_the_gradient_times_its_scale_on_the_noise(scale):
    """eps - scale sigma grad log p(y | z) (Dhariwal and Nichol 2021, algorithm 2)."""
    p = PROCESSES["linear"]
    guided = classifier(lambda z, t: Denoised(0.3 * z), p, lambda z, t: log_y(p, z, t), scale)
    alpha, sigma = alpha_sigma_like(p, T, Z)
    gradient = jax.grad(lambda z: jnp.sum(log_y(p, z, T)))(Z)
    before, after = (Z - alpha * 0.3 * Z) / sigma, (Z - alpha * guided(Z, T).x0) / sigma
    np.testing.assert_allclose(after, before - scale * sigma * gradient, atol=1e-4)


def test_a_score_of_clean_data_knows_nothing_of_noise():
    """Exact where x0 is certain given z; its own gradient is taken through the denoiser."""
    p = PROCESSES["linear"]

    def denoise(z, t):
        return Denoised(moments(p, z, t)[0])

    def score(x0):
        return -0.5 * jnp.sum(jnp.square(Y - x0), axis=(1, 2, 3)) / N**2

    judged = clean_score(denoise, p, score, 1.0)
    known = classifier(denoise, p, lambda z, t: score(denoise(z, t).x0), 1.0)
    np.testing.assert_allclose(judged(Z, T).x0, known(Z, T).x0, rtol=1e-5)
    early = jnp.full(4, 1)
    np.testing.assert_allclose(judged(Z, early).x0, posterior(p, Z, early), atol=1e-4)
