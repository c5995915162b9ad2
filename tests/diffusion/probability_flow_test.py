"""Likelihood by the probability flow, against densities that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion.probability_flow import bits_per_dim, flow_times, log_likelihood
from ldm_jax.diffusion.process import alpha_sigma_like, log_snr
from ldm_jax.types import Denoised
from tests.support.every import PROCESSES, every_process

M, S = 0.7, 0.4
SPREAD = jnp.array([[0.4, 0.3], [0.3, 0.8]])  # of the two channels of each place
X0 = M + S * jnp.linspace(-2.0, 2.0, 8).reshape(2, 2, 2, 1)
KEYS = jax.random.split(jax.random.key(0), 2)


def denoiser(p):
    """E[x0 | z] of data N(M, S^2)."""

    def denoise(z, t):
        alpha, sigma = alpha_sigma_like(p, t, z)
        variance = jnp.square(alpha * S) + jnp.square(sigma)
        return Denoised(M + alpha * S**2 / variance * (z - alpha * M))

    return denoise


def likelihood(p, K, x0=X0):
    times = flow_times(p, K, first=p.time_at(jnp.array(10.0)))
    return jax.jit(lambda x0: log_likelihood(denoiser(p), p, times, x0, KEYS))(x0)


def log_normal(x, mean=M, std=S):
    each = -0.5 * np.square((x - mean) / std) - np.log(std) - 0.5 * np.log(2 * np.pi)
    return np.sum(np.asarray(each, np.float64), axis=(1, 2, 3))


@every_process
def test_that_of_a_gaussian_is_its_density(p):
    """But for the prior, which knows nothing of what alpha_T leaves of the data."""
    (alpha, sigma), prior = p.alpha_sigma(jnp.array(p.T)), p.initial_noise_std(jnp.array(p.T))
    std = np.sqrt((alpha * S) ** 2 + sigma**2)
    z = alpha * M + std / S * (X0 - M)
    expected = log_normal(X0) + log_normal(z, 0.0, prior) - log_normal(z, alpha * M, std)
    found = likelihood(p, 128)
    np.testing.assert_allclose(found, expected, atol=0.03)
    np.testing.assert_allclose(expected, log_normal(X0), atol=0.2)
    np.testing.assert_allclose(bits_per_dim(found, X0), -expected / (4 * np.log(2)), atol=0.02)


def test_it_converges_with_the_square_of_the_step():
    p = PROCESSES["cosine_flow"]
    counts = np.array([16, 32, 64])
    errors = [np.abs(likelihood(p, K) - log_normal(X0)).max() for K in counts]
    slope, _ = np.polyfit(np.log(counts), np.log(errors), 1)
    assert -2.4 < slope < -1.6, errors


def test_hutchinsons_estimate_is_right_on_average():
    """Of data whose channels are correlated, so that one direction does not see the whole trace."""
    p = PROCESSES["cosine_flow"]

    def denoise(z, t):
        alpha, sigma = alpha_sigma_like(p, t[:1], z[0])
        total = jnp.square(alpha.ravel()[0]) * SPREAD + jnp.square(sigma.ravel()[0]) * jnp.eye(2)
        return Denoised(alpha.ravel()[0] * z @ jnp.linalg.solve(total, SPREAD))

    x0 = jnp.array([0.5, -0.8]).reshape(1, 1, 1, 2)
    x = np.ravel(x0)
    exact = -0.5 * (
        x @ np.linalg.solve(SPREAD, x) + np.log(np.linalg.det(SPREAD)) + 2 * np.log(2 * np.pi)
    )
    N = 512
    estimate = jax.jit(
        lambda keys: log_likelihood(
            denoise, p, flow_times(p, 48, 0.01), jnp.repeat(x0, N, axis=0), keys
        )
    )(jax.random.split(jax.random.key(1), N))
    assert jnp.std(estimate) > 0.05
    assert abs(jnp.mean(estimate) - exact) < 4 * jnp.std(estimate) / np.sqrt(N) + 0.01
    more = jax.jit(
        lambda keys: log_likelihood(denoise, p, flow_times(p, 48, 0.01), x0, keys, probes=256)
    )(KEYS[:1])
    assert abs(more[0] - exact) < 4 * jnp.std(estimate) / np.sqrt(256) + 0.01


@every_process
def test_times_are_evenly_spaced_in_log_snr(p):
    times = flow_times(p, 20, first=1.0)
    assert times.shape == (21,)
    assert (times[0], times[-1]) == (1.0, p.T)
    assert np.all(np.diff(times) > 0)
    gaps = np.diff(log_snr(p, times)[:-1])
    np.testing.assert_allclose(gaps, gaps.mean(), atol=2e-2)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_scaled_data_have_the_density_of_scaled_data(scale):
    """A change of variables: log p of scale * x is log p of x, less D log scale."""
    p = PROCESSES["cosine_flow"]

    def scaled(z, t):
        alpha, sigma = alpha_sigma_like(p, t, z)
        variance = jnp.square(alpha * S * scale) + jnp.square(sigma)
        mean = M * scale
        return Denoised(mean + alpha * (S * scale) ** 2 / variance * (z - alpha * mean))

    found = log_likelihood(scaled, p, flow_times(p, 64, 0.01), scale * X0, KEYS)
    np.testing.assert_allclose(found, log_normal(X0) - 4 * np.log(scale), atol=0.06)
