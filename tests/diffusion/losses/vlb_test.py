"""The variational bound, against the formulas of improved diffusion written out in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.diffusion.losses import vlb
from ldm_jax.diffusion.processes import betas
from ldm_jax.types import Denoised, Gaussian
from tests.support.every import PROCESSES, every_process

LINEAR = PROCESSES["linear"]
T = np.array([1, 1, 2, 3, 400, 1000])
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 2, 2, 3))
X0 = (PIXELS / 127.5 - 1.0).astype(np.float64)
X0[0, 0, 0] = [-1.0, 1.0, 0.0]
NOISE, MISS, V = np.random.default_rng(1).normal(size=(3, *X0.shape)) * [[[[[1.0]]]]]
V = np.tanh(V)  # what the second half of the channels says, -1 ... 1


def reference(x0, noise, x0_hat, v, t, levels):
    """Nichol and Dhariwal 2021: posterior, range of variances, KL, discretised likelihood."""
    beta = betas.linear(1000)
    bar = np.cumprod(1.0 - beta)
    before = np.append(1.0, bar[:-1])
    tilde = beta * (1.0 - before) / (1.0 - bar)
    clipped = np.log(np.append(tilde[1], tilde[1:]))
    coefficient_x0 = beta * np.sqrt(before) / (1.0 - bar)
    coefficient_z = (1.0 - before) * np.sqrt(1.0 - beta) / (1.0 - bar)

    def at(table):
        return table[t - 1].reshape(-1, 1, 1, 1)

    z = np.sqrt(at(bar)) * x0 + np.sqrt(1.0 - at(bar)) * noise
    true_mean = at(coefficient_x0) * x0 + at(coefficient_z) * z
    mean = at(coefficient_x0) * x0_hat + at(coefficient_z) * z
    fraction = (v + 1.0) / 2.0
    log_variance = fraction * np.log(at(beta)) + (1.0 - fraction) * at(clipped)
    true_log_variance = at(clipped)
    kl = 0.5 * (
        -1.0
        + log_variance
        - true_log_variance
        + np.exp(true_log_variance - log_variance)
        + (true_mean - mean) ** 2 * np.exp(-log_variance)
    )

    def cdf(x):
        return 0.5 * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))

    inverse = np.exp(-0.5 * log_variance)
    if levels:
        plus = cdf(inverse * (x0 - mean + 1.0 / (levels - 1)))
        minus = cdf(inverse * (x0 - mean - 1.0 / (levels - 1)))
        mass = np.where(x0 < -0.999, plus, np.where(x0 > 0.999, 1.0 - minus, plus - minus))
        nll = -np.log(np.maximum(mass, 1e-12))
    else:
        nll = 0.5 * (log_variance + np.log(2 * np.pi) + ((x0 - mean) * inverse) ** 2)
    both = np.where(t.reshape(-1, 1, 1, 1) == 1, nll, kl)
    return z, both.mean(axis=(1, 2, 3)) / np.log(2.0)


@pytest.mark.parametrize("levels", [256, None])
@pytest.mark.parametrize("size", [0.0, 0.01, 0.5])
def test_every_term_is_the_references(levels, size):
    x0_hat = X0 + size * MISS
    z, expected = reference(X0, NOISE, x0_hat, V, T, levels)
    denoised = Denoised(jnp.float32(x0_hat), jnp.float32((V + 1) / 2))
    found = vlb.bound(LINEAR, denoised, jnp.float32(X0), jnp.float32(z), jnp.asarray(T), levels)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4)


@every_process
def test_a_denoiser_that_knows_the_data_loses_nothing_after_the_first_step(p):
    t = jnp.array([2, 3, 10, 500, 999, 1000])
    x0, z = jax.random.normal(jax.random.key(0), (2, 6, 4, 4, 2))
    np.testing.assert_allclose(vlb.bound(p, Denoised(x0), x0, z, t), 0.0, atol=1e-5)


def test_the_prior_term_is_small_where_nothing_is_left_of_the_data():
    x0 = jnp.float32(X0)
    np.testing.assert_allclose(vlb.prior(PROCESSES["zero_terminal_snr"], x0), 0.0, atol=1e-7)
    bar = np.prod(1.0 - betas.linear(1000))
    kl = 0.5 * (-1.0 - np.log1p(-bar) + (1.0 - bar) + bar * X0**2)
    expected = kl.mean(axis=(1, 2, 3)) / np.log(2.0)
    np.testing.assert_allclose(vlb.prior(LINEAR, x0), expected, rtol=1e-2, atol=1e-7)


def test_the_probabilities_of_all_levels_add_up_to_one():
    levels = jnp.linspace(-1.0, 1.0, 256)
    for mean, std in ((0.0, 0.1), (0.3, 0.004), (-0.98, 0.05), (1.0, 0.5)):
        p = Gaussian(jnp.float32(mean), jnp.float32(2 * np.log(std)))
        total = jnp.sum(jnp.exp(vlb.log_probability(levels, p, 256)))
        np.testing.assert_allclose(total, 1.0, rtol=1e-4)


def test_a_frozen_mean_lets_the_variance_learn():
    x0, z = jax.random.normal(jax.random.key(0), (2, 6, 4, 4, 2))

    def loss(denoised):
        return jnp.sum(vlb.bound(LINEAR, vlb.frozen(denoised), x0, z, jnp.asarray(T)))

    gradient = jax.grad(loss)(Denoised(x0 + 1.0, jnp.full_like(x0, 0.5)))
    assert np.all(gradient.x0 == 0.0)
    assert np.all(gradient.variance_fraction[2:] != 0.0)
